#include "pillow.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "utils.h"

namespace densenet {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // of the fixed-point weights for 8-bit pixels
constexpr int kLongestSide = 65500;         // as MAX_LONGER_SIDE in Python

double Bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double Bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

// The source pixels that a target one is mixed from.
struct Mix {
  int first;
  std::vector<double> weights;
  std::vector<int> fixed_point;
};

std::vector<Mix> MakeMixes(int source, int target, const std::string& filter) {
  const auto weight = filter == "bicubic" ? Bicubic : Bilinear;
  const double scale = static_cast<double>(source) / target, filter_scale = std::max(scale, 1.0);
  const double support = (filter == "bicubic" ? 2.0 : 1.0) * filter_scale, step = 1.0 / filter_scale;
  std::vector<Mix> mixes(static_cast<size_t>(target));
  for (int i = 0; i < target; i++) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), source);
    Mix& mix = mixes[static_cast<size_t>(i)];
    mix.first = first;
    double sum = 0;
    for (int x = 0; x < last - first; x++) {
      mix.weights.push_back(weight((x + first - center + 0.5) * step));
      sum += mix.weights.back();
    }
    for (double& w : mix.weights) {
      if (sum != 0.0) w /= sum;
      mix.fixed_point.push_back(static_cast<int>((w < 0 ? -0.5 : 0.5) + w * (1 << kPrecisionBits)));
    }
  }
  return mixes;
}

// The mix of values `stride` apart.
uint8_t Mixed(const Mix& mix, const uint8_t* source, size_t stride) {
  int sum = 1 << (kPrecisionBits - 1);
  for (const int weight : mix.fixed_point) {
    sum += *source * weight;
    source += stride;
  }
  return static_cast<uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

float Mixed(const Mix& mix, const float* source, size_t stride) {
  double sum = 0;
  for (const double weight : mix.weights) {
    sum += *source * weight;
    source += stride;
  }
  return static_cast<float>(sum);
}

template <class Value>
Pixels<Value> MixColumns(const Pixels<Value>& pixels, int width, const std::string& filter) {
  Pixels<Value> mixed = {pixels.height, width, pixels.channels, {}};
  const auto mixes = MakeMixes(pixels.width, width, filter);
  const auto channels = static_cast<size_t>(pixels.channels);
  mixed.values.reserve(static_cast<size_t>(pixels.height) * mixes.size() * channels);
  for (int y = 0; y < pixels.height; y++) {
    const Value* row = &pixels.values[static_cast<size_t>(y) * static_cast<size_t>(pixels.width) * channels];
    for (const Mix& mix : mixes) {
      const Value* first = row + static_cast<size_t>(mix.first) * channels;
      for (size_t c = 0; c < channels; c++) mixed.values.push_back(Mixed(mix, first + c, channels));
    }
  }
  return mixed;
}

template <class Value>
Pixels<Value> MixRows(const Pixels<Value>& pixels, int height, const std::string& filter) {
  Pixels<Value> mixed = {height, pixels.width, pixels.channels, {}};
  const auto mixes = MakeMixes(pixels.height, height, filter);
  const size_t row = static_cast<size_t>(pixels.width) * static_cast<size_t>(pixels.channels);
  mixed.values.reserve(mixes.size() * row);
  for (const Mix& mix : mixes) {
    const Value* first = &pixels.values[static_cast<size_t>(mix.first) * row];
    for (size_t i = 0; i < row; i++) mixed.values.push_back(Mixed(mix, first + i, row));
  }
  return mixed;
}

// Half to even, as Python's round.
int Rounded(double value) { return static_cast<int>(std::nearbyint(value)); }

// `size` pixels around the middle; outside of the picture they are black.
template <class Value>
Pixels<Value> Window(const Pixels<Value>& pixels, int left, int top, int size) {
  Pixels<Value> window = {size, size, pixels.channels, {}};
  const auto channels = static_cast<size_t>(pixels.channels);
  window.values.resize(static_cast<size_t>(size) * static_cast<size_t>(size) * channels);
  const int begin = std::max(0, -left), end = std::min(size, pixels.width - left);
  for (int y = std::max(0, -top); y < std::min(size, pixels.height - top) && begin < end; y++) {
    const size_t from =
        static_cast<size_t>(y + top) * static_cast<size_t>(pixels.width) + static_cast<size_t>(left + begin);
    const size_t to = static_cast<size_t>(y) * static_cast<size_t>(size) + static_cast<size_t>(begin);
    std::copy_n(&pixels.values[from * channels], static_cast<size_t>(end - begin) * channels,
                &window.values[to * channels]);
  }
  return window;
}

template <class Value>
Pixels<Value> ShorterSide(Pixels<Value> pixels, int shorter, const std::string& filter) {
  const int height = pixels.height, width = pixels.width;
  const double longer =
      static_cast<double>(static_cast<int64_t>(shorter) * std::max(height, width)) / std::min(height, width);
  if (longer > kLongestSide) {
    throw Error("a picture of " + std::to_string(width) + " x " + std::to_string(height) +
                " pixels is too thin to be resized to a shorter side of " + std::to_string(shorter));
  }
  const int rest = static_cast<int>(longer);
  return width <= height ? Resample(std::move(pixels), shorter, rest, filter)
                         : Resample(std::move(pixels), rest, shorter, filter);
}

template <class Value>
Pixels<Value> Letterbox(Pixels<Value> pixels, int size, const std::string& filter) {
  const double height = pixels.height, width = pixels.width;
  int new_height = size, new_width = size;
  if (width > height) new_height = std::max(1, Rounded(height / width * size));
  if (width < height) new_width = std::max(1, Rounded(width / height * size));
  pixels = Resample(std::move(pixels), new_width, new_height, filter);
  return Window(pixels, -Rounded((size - new_width) * 0.5), -Rounded((size - new_height) * 0.5), size);
}

}  // namespace

template <class Value>
Pixels<Value> Resample(Pixels<Value> pixels, int width, int height, const std::string& filter) {
  // Between the passes 8-bit pixels are rounded: Pillow 13 begins with the rows where enough of them go.
  const bool rows_first = pixels.height > height && 2 * (pixels.width - width) < pixels.height - height;
  if (rows_first) pixels = MixRows(pixels, height, filter);
  if (pixels.width != width) pixels = MixColumns(pixels, width, filter);
  if (pixels.height != height) pixels = MixRows(pixels, height, filter);
  return pixels;
}

template <class Value>
Pixels<Value> Fit(Pixels<Value> pixels, const Preprocessing& preprocessing) {
  const int size = preprocessing.resized_to(), crop = preprocessing.image_size;
  const std::string& filter = preprocessing.interpolation;
  if (preprocessing.resize_mode == "squash") {
    pixels = Resample(std::move(pixels), size, size, filter);
  } else if (preprocessing.resize_mode == "shorter_side") {
    pixels = ShorterSide(std::move(pixels), size, filter);
  } else {
    pixels = Letterbox(std::move(pixels), size, filter);
  }
  return Window(pixels, Rounded((pixels.width - crop) / 2.0), Rounded((pixels.height - crop) / 2.0), crop);
}

Pixels<uint8_t> Grey(const Pixels<uint8_t>& rgb) {
  Pixels<uint8_t> grey = {rgb.height, rgb.width, 1, {}};
  grey.values.reserve(rgb.values.size() / 3);
  for (size_t i = 0; i < rgb.values.size(); i += 3) {
    const uint8_t* pixel = &rgb.values[i];
    grey.values.push_back(static_cast<uint8_t>((pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16));
  }
  return grey;
}

template Pixels<uint8_t> Resample(Pixels<uint8_t>, int, int, const std::string&);
template Pixels<float> Resample(Pixels<float>, int, int, const std::string&);
template Pixels<uint8_t> Fit(Pixels<uint8_t>, const Preprocessing&);
template Pixels<float> Fit(Pixels<float>, const Preprocessing&);

}  // namespace densenet
