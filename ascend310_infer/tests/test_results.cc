#include "results.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "message.h"
#include "temporary_folder.h"
#include "utils.h"

using namespace densenet;

namespace {

std::string Text(const std::string& path) {
  const auto bytes = ReadFile(path);
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("every half survives the way to float and back") {
  int wrong = 0;
  for (int half = 0; half < 0x10000; half++) {
    const float value = HalfToFloat(static_cast<uint16_t>(half));
    wrong += std::isnan(value) ? !std::isnan(HalfToFloat(FloatToHalf(value))) : FloatToHalf(value) != half;
  }
  CHECK(wrong == 0);
}

TEST_CASE("floats between two halfs go to the nearer one, in the middle to the even one") {
  int wrong = 0;
  for (int half = 0; half < 0x7bff; half++) {  // up to the largest finite one but one
    const float low = HalfToFloat(static_cast<uint16_t>(half)), high = HalfToFloat(static_cast<uint16_t>(half + 1));
    const float middle = low + (high - low) / 2;  // exact: a float has 13 more bits
    wrong += FloatToHalf(middle) != (half % 2 ? half + 1 : half);
    wrong += FloatToHalf(std::nextafter(middle, low)) != half;
    wrong += FloatToHalf(-std::nextafter(middle, high)) != (0x8000 | (half + 1));
  }
  CHECK(wrong == 0);
}

TEST_CASE("known halfs, and the ends of their range") {
  CHECK(FloatToHalf(1) == 0x3c00);
  CHECK(FloatToHalf(-2.5F) == 0xc100);
  CHECK(FloatToHalf(-0.0F) == 0x8000);
  CHECK(FloatToHalf(1e-30F) == 0);
  CHECK(FloatToHalf(std::ldexp(1.0F, -24)) == 1);
  CHECK(FloatToHalf(65519) == 0x7bff);
  CHECK(FloatToHalf(65520) == 0x7c00);
  CHECK(FloatToHalf(-std::numeric_limits<float>::infinity()) == 0xfc00);
}

TEST_CASE("logits, predictions and the summary are written") {
  const TemporaryFolder folder;
  Results results(folder / "logits", folder / "reports", "float32");
  results.Add({"flower/a.jpg", "a", "", {}}, {1, 3, 3});
  results.Add({"x, y/b \"1\".jpg", "b", "", {}}, {5, -2, 0});
  results.Finish({"CPU", 2, 3, 32, 1, 0.5, 0.25, 1.0});
  const auto bytes = ReadFile(folder / "logits/a_0.bin");
  const float expected[] = {1, 3, 3};
  REQUIRE(bytes.size() == sizeof expected);
  CHECK(std::memcmp(bytes.data(), expected, sizeof expected) == 0);
  CHECK(Text(folder / "reports/predictions.csv") == "image,class\nflower/a.jpg,1\n\"x, y/b \"\"1\"\".jpg\",0\n");
  CHECK(Text(folder / "reports/test_perform_static.txt") ==
        "NN inference cost average time: 250.0000 ms of infer_count 1\n");
  CHECK(Text(folder / "reports/summary.json") ==
        "{\"dtype\": \"float32\", \"classes\": 3, \"images\": 2, \"batch\": 32, \"device\": \"CPU\", "
        "\"preprocess_seconds\": 0.5000, \"inference_seconds\": 0.2500, \"total_seconds\": 1.0000, "
        "\"images_per_second\": 2.00}\n");
}

TEST_CASE("of a yes or no to each class all that are probable are predicted") {
  const TemporaryFolder folder;
  Results results(folder / "logits", folder / "reports", "float32", true);
  results.Add({"a.png", "a", "", {}}, {0.5, -0.1F, 0, 9});
  results.Add({"b.png", "b", "", {}}, {-3, -1, -2, -9});
  results.Finish({"CPU", 2, 4, 1, 2, 1, 1, 1});
  CHECK(Text(folder / "reports/predictions.csv") == "image,classes\na.png,0|2|3\nb.png,\n");
}

TEST_CASE("a name that begins like a formula stays a name in a spreadsheet") {
  const TemporaryFolder folder;
  Results results(folder / "logits", folder / "reports", "float32");
  for (const auto* name : {"=1+1/a.jpg", "'-2/b.jpg", "'quoted/c.jpg", "@x, y/d.jpg"}) {
    results.Add({name, name + std::strlen(name) - 5, "", {}}, {1});
  }
  results.Finish({"CPU", 4, 1, 1, 4, 1, 1, 1});
  CHECK(Text(folder / "reports/predictions.csv") ==
        "image,class\n'=1+1/a.jpg,0\n''-2/b.jpg,0\n'quoted/c.jpg,0\n\"'@x, y/d.jpg\",0\n");
}

TEST_CASE("float16 logits have two bytes each, and must fit") {
  const TemporaryFolder folder;
  Results results(folder / "logits", folder / "reports", "float16");
  results.Add({"a", "a", "", {}}, {1, -2.5F});
  CHECK(ReadFile(folder / "logits/a_0.bin") == std::vector<uint8_t>{0x00, 0x3c, 0x00, 0xc1});
  CHECK(Contains(Message<Error>([&] { results.Add({"b", "b", "", {}}, {1e6F}); }), "of b are not finite as float16"));
}

TEST_CASE("folders in use are refused") {
  const TemporaryFolder folder;
  folder.Write("used/file", "x");
  const auto refusal = [&](const char* output_dir, const char* time_dir) {
    return Message<Error>([&] { Results(folder / output_dir, folder / time_dir, "float32"); });
  };
  CHECK(Contains(refusal("used", "reports"), "used holds files already"));
  CHECK(Contains(refusal("logits", "used"), "used holds files already"));
  CHECK(Contains(refusal("same", "same"), "choose two folders"));
}

TEST_CASE("answers are the most probable classes by their names") {
  const std::vector<float> logits = {0, std::log(6.0F), std::log(2.0F), 0};
  CHECK(Answers(logits, {"ant", "bee", "cat", "dog"}, 3) == "bee 60.00 %, cat 20.00 %, ant 10.00 %");
  CHECK(Answers(logits, {}, 1) == "class 1 60.00 %");
  CHECK(Answers({0, 2, -800}, {}, 3, true) == "class 1 88.08 %, class 0 50.00 %, class 2 0.00 %");
  CHECK(Answers({1000, -1000}, {}, 5) == "class 0 100.00 %, class 1 0.00 %");
}

TEST_CASE("class names are lines, as many as the model has classes") {
  const TemporaryFolder folder;
  const auto names = ReadClassNames(folder.Write("names", "ant\r\nbee \x1b[1m\n"), 2);
  CHECK(names == std::vector<std::string>{"ant", "bee ?[1m"});
  CHECK(Contains(Message<Error>([&] { ReadClassNames(folder / "names", 3); }), "names 2 classes, but the model has 3"));
}

TEST_CASE("a result may have a folder of its own") {
  const TemporaryFolder folder;
  Results results(folder / "out", folder / "time", "float32");
  results.Add({"cat/1.jpg", "cat/1", "", {}}, {1, 2});
  results.Add({"dog/1.jpg", "dog/1", "", {}}, {2, 1});
  CHECK(ReadFile(folder / "out/cat/1_0.bin").size() == 8);
  CHECK(ReadFile(folder / "out/dog/1_0.bin").size() == 8);
}
