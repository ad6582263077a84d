#include "options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "utils.h"

namespace densenet {
namespace {

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

[[noreturn]] void Refuse(const std::string& name, const std::string& expected, const std::string& found) {
  throw UsageError("--" + name + " should be " + expected + ", found '" + found + "'");
}

}  // namespace

const std::vector<std::string> kPreprocessingFlags = {"image_size",  "resize",        "mean",  "std",
                                                      "resize_mode", "interpolation", "pixels"};
constexpr size_t kRequiredFlags = 4;

const char kHelp[] =
    R"(main --model_path FILE --dataset imagenet|folder|cifar10|csv|pictures --dataset_path PATH
     --image_size 224 --resize 256 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 [more flags]

Runs a MindIR model over a data set on MindSpore Lite and writes every picture's logits.

  --model_path      the model, a .mindir file
  --dataset         imagenet or folder: a folder of class folders; cifar10: the binary version's records; pictures: one
                    picture or a folder of pictures that nobody has labelled, whose answers are printed; csv: a folder
                    of pictures whose labels are in a CSV file
  --dataset_path    that folder or picture; for cifar10 the folder of test_batch.bin, or a file of records
  --activation      what makes probabilities of logits: softmax (default), or sigmoid for a yes or no to each class
  --class_names     a text file with the name of a class on each line, for the answers that are printed
  --image_size, --resize, --mean, --std
                    the preprocessing, as in the JSON beside the exported model
  --resize_mode, --interpolation, --pixels
                    the same; squash, bilinear and shown where they are left out
  --device_target   Ascend (default) or CPU
  --device_id       number of the Ascend device, 0 by default
  --precision_mode  of Ascend: enforce_fp32, preferred_fp32, enforce_fp16, enforce_origin or preferred_optimal
  --batch_size      only for a model that was exported for any batch size
  --output_dtype    of the written logits: float32 (default) or float16
  --output_dir      a new folder for NAME_0.bin, the logits of picture NAME; result_Files by default
  --time_dir        a new folder for test_perform_static.txt, predictions.csv and summary.json; time_Result by default
  --threads         how many threads decode pictures, by default as many as there are processors, at most 16
)";

Flags::Flags(const std::vector<std::string>& words, const std::vector<std::string>& names) {
  for (size_t i = 0; i < words.size(); i++) {
    if (words[i].rfind("--", 0) != 0) {
      rest_.push_back(words[i]);
      continue;
    }
    const size_t equals = words[i].find('=');
    const std::string name = words[i].substr(2, equals == std::string::npos ? equals : equals - 2);
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw UsageError("there is no flag --" + name + "; choose from " + Joined(names));
    }
    std::string value;
    if (equals != std::string::npos) {
      value = words[i].substr(equals + 1);
    } else if (i + 1 < words.size() && words[i + 1].rfind("--", 0) != 0) {
      value = words[++i];
    }
    if (value.empty()) throw UsageError("--" + name + " needs a value");
    if (!values_.emplace(name, value).second) throw UsageError("--" + name + " is given twice");
  }
}

std::string Flags::Required(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) throw UsageError("--" + name + " is missing; see --help");
  return found->second;
}

std::string Flags::Text(const std::string& name, const std::string& fallback) const {
  return Has(name) ? Required(name) : fallback;
}

std::string Flags::Choice(const std::string& name, const std::vector<std::string>& choices,
                          const std::string& fallback) const {
  const std::string value = Text(name, fallback);
  if (Has(name) && std::find(choices.begin(), choices.end(), value) == choices.end()) {
    Refuse(name, "one of " + Joined(choices), value);
  }
  return value;
}

int Flags::Integer(const std::string& name, int smallest, int largest, int fallback) const {
  if (!Has(name)) return fallback;
  const std::string text = Required(name);
  int value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < smallest || value > largest) {
    Refuse(name, "an integer from " + std::to_string(smallest) + " to " + std::to_string(largest), text);
  }
  return value;
}

std::vector<double> Flags::OfChannels(const std::string& name) const {
  const std::string text = Required(name);
  std::vector<double> numbers;
  bool valid = text.back() != ',';
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    char* end = nullptr;
    numbers.push_back(std::strtod(part.c_str(), &end));
    valid = valid && !part.empty() && *end == '\0' && numbers.back() >= 0 && numbers.back() <= 1;
  }
  if (!valid || (numbers.size() != 3 && numbers.size() != 1)) {
    Refuse(name, "three numbers between 0 and 1 with commas between them, or one for grey", text);
  }
  return numbers;
}

Preprocessing ReadPreprocessing(const Flags& flags) {
  for (size_t i = 0; i < kRequiredFlags; i++) flags.Required(kPreprocessingFlags[i]);
  const Preprocessing preprocessing = {flags.Integer("image_size", 1, 8192, 0),
                                       flags.Integer("resize", 0, 8192, 0),
                                       flags.OfChannels("mean"),
                                       flags.OfChannels("std"),
                                       flags.Choice("resize_mode", {"squash", "shorter_side", "letterbox"}, "squash"),
                                       flags.Choice("interpolation", {"bilinear", "bicubic"}, "bilinear"),
                                       flags.Choice("pixels", {"shown", "stored"}, "shown")};
  if (preprocessing.resize != 0 && preprocessing.resize < preprocessing.image_size) {
    Refuse("resize", "0 or at least --image_size " + std::to_string(preprocessing.image_size),
           flags.Required("resize"));
  }
  if (*std::min_element(preprocessing.std.begin(), preprocessing.std.end()) == 0) {
    Refuse("std", "three numbers above 0", flags.Required("std"));
  }
  if (preprocessing.mean.size() != preprocessing.std.size()) {
    Refuse("mean", "three numbers between 0 and 1 with commas between them, or one for grey, as many as --std has",
           flags.Required("mean"));
  }
  return preprocessing;
}

Options ReadOptions(const std::vector<std::string>& words) {
  std::vector<std::string> names = {"model_path", "dataset",        "dataset_path", "device_target", "device_id",
                                    "batch_size", "precision_mode", "output_dtype", "output_dir",    "time_dir",
                                    "threads",    "class_names",    "activation"};
  names.insert(names.end(), kPreprocessingFlags.begin(), kPreprocessingFlags.end());
  const Flags flags(words, names);
  if (!flags.rest().empty()) throw UsageError("'" + flags.rest().front() + "' is no flag; see --help");

  Options options;
  options.model_path = flags.Required("model_path");
  flags.Required("dataset");
  options.dataset = flags.Choice("dataset", {"imagenet", "folder", "cifar10", "csv", "pictures"}, "");
  options.dataset_path = flags.Required("dataset_path");
  options.class_names = flags.Text("class_names", "");
  options.sigmoid = flags.Choice("activation", {"softmax", "sigmoid"}, "softmax") == "sigmoid";
  options.device_target = flags.Choice("device_target", {"Ascend", "CPU"}, "Ascend");
  options.device_id = flags.Integer("device_id", 0, 1023, 0);
  options.batch_size = flags.Integer("batch_size", 1, 4096, 0);
  options.precision_mode = flags.Choice(
      "precision_mode", {"enforce_fp32", "preferred_fp32", "enforce_fp16", "enforce_origin", "preferred_optimal"}, "");
  if (!options.precision_mode.empty() && options.device_target != "Ascend") {
    throw UsageError("--precision_mode is for --device_target Ascend; leave it out");
  }
  options.output_dtype = flags.Choice("output_dtype", {"float32", "float16"}, "float32");
  options.preprocessing = ReadPreprocessing(flags);
  options.output_dir = flags.Text("output_dir", "result_Files");
  options.time_dir = flags.Text("time_dir", "time_Result");
  const int processors = static_cast<int>(std::thread::hardware_concurrency());
  options.threads = flags.Integer("threads", 1, 256, std::clamp(processors, 1, 16));
  return options;
}

}  // namespace densenet
