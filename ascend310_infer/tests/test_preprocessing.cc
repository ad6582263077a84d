#include "preprocessing.h"

#include <doctest/doctest.h>

#include "message.h"
#include "utils.h"

using namespace densenet;

namespace {

// Grey pixels, three channels each.
Image Grey(int height, int width, const std::vector<uint8_t>& values) {
  Image image = {height, width, {}, {}};
  for (const uint8_t value : values) image.rgb.insert(image.rgb.end(), 3, value);
  return image;
}

std::vector<int> FirstChannel(const Image& image) {
  std::vector<int> values;
  for (size_t i = 0; i < image.rgb.size(); i += 3) values.push_back(image.rgb[i]);
  return values;
}

}  // namespace

TEST_CASE("resize keeps the size it already has, and a uniform picture uniform") {
  CHECK(FirstChannel(Resize(Grey(2, 2, {1, 2, 3, 4}), 2)) == std::vector<int>{1, 2, 3, 4});
  CHECK(FirstChannel(Resize(Grey(1, 1, {255}), 5)) == std::vector<int>(25, 255));
  CHECK(FirstChannel(Resize(Grey(3, 7, std::vector<uint8_t>(21, 255)), 5)) == std::vector<int>(25, 255));
}

TEST_CASE("resize mixes neighbours and repeats the border") {
  CHECK(FirstChannel(Resize(Grey(2, 2, {0, 100, 0, 100}), 4)) ==
        std::vector<int>{0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100, 0, 25, 75, 100});
  CHECK(FirstChannel(Resize(Grey(2, 2, {0, 1, 1, 0}), 1)) == std::vector<int>{1});  // (2 + 2) >> 2
}

TEST_CASE("resize refuses what MindSpore refuses") {
  CHECK(FirstChannel(Resize(Grey(1, 1, {9}), 1000)) == std::vector<int>(1000 * 1000, 9));
  CHECK(Contains(Message<Error>([] { Resize(Grey(1, 1, {9}), 1001); }), "1 x 1 pixels is too small"));
}

TEST_CASE("the crop is centred, rounded towards the top left") {
  CHECK(FirstChannel(CenterCrop(Grey(3, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9}), 2)) == std::vector<int>{1, 2, 4, 5});
  CHECK(FirstChannel(CenterCrop(Grey(3, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9}), 1)) == std::vector<int>{5});
}

TEST_CASE("normalised channels come one after another") {
  Image image = {1, 2, {0, 51, 102, 255, 204, 153}, {}};
  const Preprocessing preprocessing = {1, 0, {0, 0.2, 0.4}, {1, 0.5, 0.2}};
  const auto channels = Normalise(image, preprocessing);
  const std::vector<float> expected = {0, 1, 0, 1.2F, 0, 1};
  REQUIRE(channels.size() == expected.size());
  for (size_t i = 0; i < expected.size(); i++) CHECK(channels[i] == doctest::Approx(expected[i]));
}

TEST_CASE("resize 0 stands for the image size") {
  const Preprocessing preprocessing = {2, 0, {0, 0, 0}, {1, 1, 1}};
  CHECK(Preprocess(Grey(4, 4, std::vector<uint8_t>(16, 255)), preprocessing) == std::vector<float>(12, 1));
}
