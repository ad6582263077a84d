#include "results.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <numeric>
#include <sstream>

#include "utils.h"

namespace densenet {
namespace {

// A field of a CSV line, quoted where it has to be. A name that a spreadsheet would take for a formula gets an
// apostrophe in front, as in src/utils/csv_text.py.
std::string Field(std::string text) {
  const size_t start = text.find_first_not_of('\'');
  if (start != std::string::npos && std::strchr("=+-@\t\r", text[start])) text = "'" + text;
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

template <class... Values>
std::string Format(const char* format, Values... values) {
  char text[1000];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

void WriteText(const std::string& path, const std::string& text) { WriteFile(path, text.data(), text.size()); }

}  // namespace

uint16_t FloatToHalf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = (bits >> 16) & 0x8000;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520) return static_cast<uint16_t>(sign | 0x7c00);  // would round above the largest half: infinity
  // The distance of halfs at this magnitude is 2^(exponent - 10); below 2^-14 they are subnormal, 2^-24 apart.
  const int exponent = std::max(magnitude > 0 ? std::ilogb(magnitude) : -14, -14);
  const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  // `steps` has the implicit leading bit 1024 in it, which adds 1 to the exponent field; so does a carry to 2048.
  return static_cast<uint16_t>(sign | ((static_cast<uint32_t>(exponent + 14) << 10) + steps));
}

float HalfToFloat(uint16_t half) {
  const int exponent = (half >> 10) & 31, fraction = half & 1023;
  float magnitude;
  if (exponent == 31) {
    magnitude = fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  } else {
    magnitude = std::ldexp(static_cast<float>(exponent ? fraction + 1024 : fraction), std::max(exponent, 1) - 25);
  }
  return half & 0x8000 ? -magnitude : magnitude;
}

std::string Answers(const std::vector<float>& logits, const std::vector<std::string>& class_names, size_t count,
                    bool sigmoid) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  count = std::min(count, order.size());
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - logits[order[0]]);
  std::string text;
  for (size_t i = 0; i < count; i++) {
    const size_t at = order[i];
    const double logit = logits[at];
    const double probability = sigmoid ? 1 / (1 + std::exp(-logit)) : std::exp(logit - logits[order[0]]) / sum;
    text += (i ? ", " : "") + (class_names.empty() ? "class " + std::to_string(at) : class_names[at]) +
            Format(" %.2f %%", 100 * probability);
  }
  return text;
}

std::vector<std::string> ReadClassNames(const std::string& path, size_t classes) {
  const auto bytes = ReadFile(path);
  std::istringstream lines(std::string(bytes.begin(), bytes.end()));
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    names.push_back(Printable(line));
  }
  if (names.size() != classes) {
    throw Error(path + " names " + std::to_string(names.size()) + " classes, but the model has " +
                std::to_string(classes) + "; give a file with the name of each class on a line of its own");
  }
  return names;
}

Results::Results(const std::string& output_dir, const std::string& time_dir, const std::string& output_dtype,
                 bool sigmoid)
    : output_dir_(output_dir),
      time_dir_(time_dir),
      output_dtype_(output_dtype),
      sigmoid_(sigmoid),
      predictions_(sigmoid ? "image,classes\n" : "image,class\n") {
  MakeEmptyFolder(output_dir);
  MakeEmptyFolder(time_dir);
  if (std::filesystem::equivalent(output_dir, time_dir)) {
    throw UsageError("--output_dir and --time_dir are both " + output_dir + "; choose two folders");
  }
}

void Results::Add(const Sample& sample, const std::vector<float>& logits) {
  const std::string file = output_dir_ + "/" + sample.stem + "_0.bin";
  MakeFolder(std::filesystem::path(file).parent_path().string());
  const bool half = output_dtype_ == "float16";
  const auto fits = [half](float logit) { return std::isfinite(half ? HalfToFloat(FloatToHalf(logit)) : logit); };
  if (!std::all_of(logits.begin(), logits.end(), fits)) {
    throw Error("the logits of " + sample.name + " are not finite as " + output_dtype_ +
                "; the precision is too low or the model is broken");
  }
  if (half) {
    std::vector<uint16_t> halves(logits.size());
    std::transform(logits.begin(), logits.end(), halves.begin(), FloatToHalf);
    WriteFile(file, halves.data(), halves.size() * sizeof halves[0]);
  } else {
    WriteFile(file, logits.data(), logits.size() * sizeof logits[0]);
  }
  predictions_ += Field(sample.name) + "," + Answer(logits) + "\n";
}

std::string Results::Answer(const std::vector<float>& logits) const {
  if (!sigmoid_) {
    return std::to_string(std::max_element(logits.begin(), logits.end()) - logits.begin());  // of equal ones the first
  }
  std::string shown;
  for (size_t i = 0; i < logits.size(); i++) {
    if (logits[i] >= 0) shown += (shown.empty() ? "" : "|") + std::to_string(i);
  }
  return shown;
}

void Results::Finish(const Summary& summary) const {
  const double milliseconds = 1000 * summary.inference_seconds / static_cast<double>(summary.inferences);
  WriteText(time_dir_ + "/test_perform_static.txt",
            Format("NN inference cost average time: %.4f ms of infer_count %zu\n", milliseconds, summary.inferences));
  WriteText(time_dir_ + "/predictions.csv", predictions_);
  WriteText(time_dir_ + "/summary.json",
            Format("{\"dtype\": \"%s\", \"classes\": %zu, \"images\": %zu, \"batch\": %d, \"device\": \"%s\", "
                   "\"preprocess_seconds\": %.4f, \"inference_seconds\": %.4f, \"total_seconds\": %.4f, "
                   "\"images_per_second\": %.2f}\n",
                   output_dtype_.c_str(), summary.classes, summary.images, summary.batch, summary.device.c_str(),
                   summary.preprocess_seconds, summary.inference_seconds, summary.total_seconds,
                   static_cast<double>(summary.images) / summary.total_seconds));
}

}  // namespace densenet
