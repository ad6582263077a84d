#include "preprocessing.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "pillow.h"
#include "utils.h"

namespace densenet {
namespace {

constexpr int kChannels = 3;
constexpr float kOne = 2048;           // OpenCV's fixed-point weights have 11 bits
constexpr int kMaxEnlargement = 1000;  // MindSpore refuses more

// The two source rows or columns that a target one is mixed from.
struct Tap {
  int first, second;
  int first_weight, second_weight;  // times kOne
};

// `clamp_weights`: OpenCV gives a column beyond the border the border's value, but mixes rows there and only clips
// their numbers, which rounds differently.
std::vector<Tap> MakeTaps(int source, int target, bool clamp_weights) {
  std::vector<Tap> taps;
  const double scale = 1.0 / (static_cast<double>(target) / source);
  for (int i = 0; i < target; i++) {
    const float position = static_cast<float>((i + 0.5) * scale - 0.5);
    int first = static_cast<int>(std::floor(position));
    float fraction = position - static_cast<float>(first);
    if (clamp_weights && (first < 0 || first >= source - 1)) {
      first = std::clamp(first, 0, source - 1);
      fraction = 0;
    }
    const auto fixed_point = [](float weight) { return static_cast<int>(std::lrint(weight * kOne)); };
    taps.push_back({std::clamp(first, 0, source - 1), std::clamp(first + 1, 0, source - 1), fixed_point(1 - fraction),
                    fixed_point(fraction)});
  }
  return taps;
}

// OpenCV averages 2 x 2 pixels when both sides are halved.
Image Halve(const Image& image, int size) {
  Image half = {size, size, std::vector<uint8_t>(size_t{kChannels} * size * size), {}};
  const size_t row = size_t{kChannels} * image.width;
  for (int y = 0; y < size; y++) {
    for (int x = 0; x < size; x++) {
      const uint8_t* source = &image.rgb[2 * y * row + size_t{2 * kChannels} * x];
      uint8_t* target = &half.rgb[(static_cast<size_t>(y) * size + x) * kChannels];
      for (int c = 0; c < kChannels; c++) {
        const int sum = source[c] + source[c + kChannels] + source[row + c] + source[row + c + kChannels];
        target[c] = static_cast<uint8_t>((sum + 2) >> 2);
      }
    }
  }
  return half;
}

// A source row with its columns mixed; sums are times kOne.
std::vector<int> MixColumns(const uint8_t* row, const std::vector<Tap>& taps) {
  std::vector<int> mixed(kChannels * taps.size());
  auto* target = mixed.data();
  for (const Tap& tap : taps) {
    const uint8_t *first = row + kChannels * tap.first, *second = row + kChannels * tap.second;
    for (int c = 0; c < kChannels; c++) *target++ = first[c] * tap.first_weight + second[c] * tap.second_weight;
  }
  return mixed;
}

// (pixels, channels) -> (channels, pixels), normalised.
template <class Value>
std::vector<float> NormaliseChannels(const std::vector<Value>& values, const Preprocessing& preprocessing) {
  const size_t count = preprocessing.channels(), pixels = values.size() / count;
  std::vector<float> channels(values.size());
  for (size_t c = 0; c < count; c++) {
    const float mean = static_cast<float>(255 * preprocessing.mean[c]);
    const float std = static_cast<float>(255 * preprocessing.std[c]);
    for (size_t i = 0; i < pixels; i++) channels[c * pixels + i] = (values[count * i + c] - mean) / std;
  }
  return channels;
}

}  // namespace

Image Resize(Image image, int size) {
  if (image.height == size && image.width == size) return image;
  if (std::min(image.height, image.width) * static_cast<int64_t>(kMaxEnlargement) < size) {
    throw Error("a picture of " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                " pixels is too small to be enlarged to " + std::to_string(size) + " x " + std::to_string(size));
  }
  if (image.height == 2 * size && image.width == 2 * size) return Halve(image, size);
  const auto columns = MakeTaps(image.width, size, true);
  const auto rows = MakeTaps(image.height, size, false);
  const auto mix = [&](int y) { return MixColumns(&image.rgb[size_t{kChannels} * image.width * y], columns); };
  Image resized = {size, size, std::vector<uint8_t>(size_t{kChannels} * size * size), {}};
  uint8_t* target = resized.rgb.data();
  int first_row = -1, second_row = -1;
  std::vector<int> first, second;
  for (const Tap& tap : rows) {
    if (tap.first != first_row) first = tap.first == second_row ? second : mix(tap.first);
    if (tap.second != second_row) second = tap.second == tap.first ? first : mix(tap.second);
    first_row = tap.first;
    second_row = tap.second;
    for (size_t i = 0; i < first.size(); i++) {
      const int sum = ((tap.first_weight * (first[i] >> 4)) >> 16) + ((tap.second_weight * (second[i] >> 4)) >> 16);
      *target++ = static_cast<uint8_t>((sum + 2) >> 2);
    }
  }
  return resized;
}

Image CenterCrop(const Image& image, int size) {
  const int top = (image.height - size) / 2, left = (image.width - size) / 2;
  Image crop = {size, size, {}, {}};
  crop.rgb.reserve(size_t{kChannels} * size * size);
  for (int y = top; y < top + size; y++) {
    const uint8_t* start = &image.rgb[(static_cast<size_t>(y) * image.width + left) * kChannels];
    crop.rgb.insert(crop.rgb.end(), start, start + size_t{kChannels} * size);
  }
  return crop;
}

std::vector<float> Normalise(const Image& image, const Preprocessing& preprocessing) {
  return NormaliseChannels(image.rgb, preprocessing);
}

Decoding DecodingFor(const Preprocessing& preprocessing) {
  return {preprocessing.pixels == "shown", preprocessing.antialias(), preprocessing.channels() == 1};
}

std::vector<float> Preprocess(Image image, const Preprocessing& preprocessing) {
  const int size = preprocessing.image_size;
  if (!preprocessing.antialias()) {
    return Normalise(CenterCrop(Resize(std::move(image), preprocessing.resized_to()), size), preprocessing);
  }
  const int height = image.height, width = image.width;
  if (!image.deep.empty()) {
    Pixels<float> grey = {height, width, 1, {}};
    for (const uint16_t value : image.deep) grey.values.push_back(static_cast<float>(value) / 257.0F);
    return NormaliseChannels(Fit(std::move(grey), preprocessing).values, preprocessing);
  }
  Pixels<uint8_t> pixels = {height, width, kChannels, std::move(image.rgb)};
  if (preprocessing.channels() == 1) pixels = Grey(pixels);
  return NormaliseChannels(Fit(std::move(pixels), preprocessing).values, preprocessing);
}

}  // namespace densenet
