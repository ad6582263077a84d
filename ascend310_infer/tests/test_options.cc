#include "options.h"

#include <doctest/doctest.h>

#include "message.h"
#include "utils.h"

using namespace densenet;

namespace {

const std::vector<std::string> kValid = {
    "--model_path", "m.mindir", "--dataset",         "folder", "--dataset_path=d", "--image_size", "224", "--resize",
    "256",          "--mean",   "0.485,0.456,0.406", "--std",  "0.229,0.224,0.225"};

std::vector<std::string> With(std::vector<std::string> more) {
  more.insert(more.begin(), kValid.begin(), kValid.end());
  return more;
}

// The valid flags with the value of one changed.
std::vector<std::string> Changed(const std::string& flag, const std::string& value) {
  auto words = kValid;
  for (size_t i = 0; i + 1 < words.size(); i++) {
    if (words[i] == flag) words[i + 1] = value;
  }
  return words;
}

std::string Refusal(const std::vector<std::string>& words) {
  return Message<UsageError>([&] { ReadOptions(words); });
}

}  // namespace

TEST_CASE("flags and defaults") {
  const Options options = ReadOptions(With({"--device_target=CPU", "--batch_size", "7"}));
  CHECK(options.dataset_path == "d");
  CHECK(options.device_target == "CPU");
  CHECK(options.batch_size == 7);
  CHECK(options.output_dtype == "float32");
  CHECK(options.output_dir == "result_Files");
  CHECK(options.preprocessing.resize == 256);
  CHECK(options.preprocessing.std[2] == 0.225);
  CHECK(options.threads >= 1);
}

TEST_CASE("wrong flags are refused with the flag's name") {
  CHECK(Refusal({}) == "--model_path is missing; see --help");
  CHECK(Refusal({"--model_path", "m", "--dataset", "folder", "--dataset_path", "d"}) ==
        "--image_size is missing; see --help");
  CHECK(Contains(Refusal(With({"--imagesize", "3"})), "there is no flag --imagesize; choose from model_path, "));
  CHECK(Refusal(With({"--threads"})) == "--threads needs a value");
  CHECK(Refusal(With({"--threads", "--device_id", "1"})) == "--threads needs a value");
  CHECK(Refusal(With({"--resize", "0"})) == "--resize is given twice");
  CHECK(Refusal(With({"picture.jpg"})) == "'picture.jpg' is no flag; see --help");
  CHECK(Refusal(With({"--device_target", "GPU"})) == "--device_target should be one of Ascend, CPU, found 'GPU'");
  CHECK(Refusal(With({"--device_target", "CPU", "--precision_mode", "enforce_fp16"})) ==
        "--precision_mode is for --device_target Ascend; leave it out");
}

TEST_CASE("numbers are read whole and checked") {
  for (const std::string value : {"0", "4097", "3x", "0x10", "1.5", " 3", "99999999999999999999", "-1"}) {
    CHECK(Refusal(With({"--batch_size", value})) ==
          "--batch_size should be an integer from 1 to 4096, found '" + value + "'");
  }
  for (const std::string value : {"0.5", "0.5,0.5", "0.5,0.5,0.5,0.5", "0.5,,0.5", "0.5,0.5,0.5,", "a,b,c", "0,0,1.1",
                                  "0,0,-1", "nan,0,0", "inf,0,0", "0.5;0.5;0.5", "0.5 ,0.5,0.5"}) {
    CHECK(Contains(Refusal(Changed("--mean", value)), "--mean should be three numbers between 0 and 1"));
  }
  CHECK(Refusal(Changed("--std", "1,0,1")) == "--std should be three numbers above 0, found '1,0,1'");
  CHECK(Refusal(With({"--resize_mode", "crop"})) ==
        "--resize_mode should be one of squash, shorter_side, letterbox, found 'crop'");
  CHECK(Refusal(Changed("--resize", "200")) == "--resize should be 0 or at least --image_size 224, found '200'");
}
