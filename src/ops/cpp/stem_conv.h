// The stem's convolution, forward and the gradient of its weights, as products in vector registers.
#pragma once

#include <algorithm>
#include <vector>

#include "gemm.h"
#include "operands.h"
#include "parallel.h"
#include "stem.h"
#include "tiles.h"

namespace densenet {

constexpr int kColours = 3;

// A line of an image (3, H, W), channels last, with the convolution's zeros before and behind it; all zeros if there is
// no such line. out: floats of `StemShape::line`.
inline void fill_line(const Stem& stem, const float* image, int y, float* out) {
  const int height = stem.images.height, width = stem.images.width, padding = stem.kernel / 2;
  std::fill_n(out, (width + 2L * padding) * kColours, 0.0f);
  if (y < 0 || y >= height) return;
  for (int colour = 0; colour < kColours; colour++) {
    const float* source = image + (static_cast<long>(colour) * height + y) * width;
    float* target = out + padding * kColours + colour;
    for (long x = 0; x < width; x++) target[x * kColours] = source[x];
  }
}

// The numbers that a stem's convolution is cut into.
struct StemShape {
  StemShape(const Stem& stem, int least_pieces)
      : strips(stem.conv_extent(), stem.channels, least_pieces),
        columns(padded(stem.channels)),
        depth(stem.kernel * kColours),
        step(stem.step()),
        kernel(stem.kernel),
        line((stem.images.width + 2L * (stem.kernel / 2)) * kColours) {}
  int width() const { return strips.extent.width; }  // of the output
  // Lines of the image that `height` lines of the output see, and the first of them for a strip.
  int image_lines(int height) const { return (height - 1) * step + kernel; }
  int first_line(long strip) const { return strips.first(strip) * step - kernel / 2; }
  const float* image(const float* images, const Stem& stem, long strip) const {
    return images + strips.image(strip) * static_cast<long>(kColours) * stem.images.height * stem.images.width;
  }

  Strips strips;
  int columns, depth, step, kernel;  // depth: of the taps of a line
  long line;                         // floats of a line of an image
};

// The gradient of conv (channels, 3, kernel, kernel) from sums (kernel, `rows` of taps and colours, columns).
inline void copy_gradient(const Stem& stem, const float* sums, long rows, float* d_conv) {
  for (int c = 0; c < stem.channels; c++) {
    for (int colour = 0; colour < kColours; colour++) {
      for (int tap = 0; tap < stem.kernel * stem.kernel; tap++) {
        const long row = tap / stem.kernel * rows + tap % stem.kernel * kColours + colour;
        *d_conv++ = sums[row * padded(stem.channels) + c];
      }
    }
  }
}

// The right operand: taps are lines of the kernel, summed are its columns and the colours.
inline auto stem_weights(const Stem& stem) {
  return by_values([&stem](int ky, int kx_colour, int c) {
    if (c >= stem.channels) return 0.0f;
    const int kx = kx_colour / kColours, colour = kx_colour % kColours;
    return stem.conv[((static_cast<long>(c) * kColours + colour) * stem.kernel + ky) * stem.kernel + kx];
  });
}

template <class Number>
class StemConv {
  using Value = typename Number::Value;
  static constexpr int kDepth = Number::kDepth;

 public:
  StemConv(const Stem& stem, int threads, int least_pieces)
      : stem_(stem),
        threads_(threads),
        shape_(stem, least_pieces),
        apart_(shape_.step * kColours),
        floats_(padded(static_cast<int>(shape_.line + apart_))),
        lines_(buffers(threads, floats_ + apart_)),
        tiles_(buffers<Value>(threads, kDepth * floats_ * shape_.image_lines(shape_.strips.max_height))) {}

  // In which `forward` calls.
  Parts parts() const { return Parts(shape_.strips.count()); }

  // Calls take(part, first pixel, products) with products (width, columns) for each line of the output; a part's lines
  // come in their order.
  template <class Take>
  void forward(const float* images, const Take& take) {
    Panels<Number> weights(shape_.kernel, shape_.depth, shape_.columns);
    weights.pack(shape_.kernel, shape_.depth, shape_.columns, threads_, stem_weights(stem_));
    const std::vector<Buffer<>> lines = buffers(threads_, static_cast<size_t>(shape_.width()) * shape_.columns);
    parallel(threads_, parts(), [&](const Part& mine) {
      float* line = lines[mine.thread].get();
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const Value* tile = fill_tile(images, strip, mine.thread, floats_, [](const float* from, long i, Value* to) {
          Number::store_values(to + i, load(from + i), kLanes);
        });
        for (int y = 0; y < shape_.strips.height(strip); y++) {
          multiply(tile + y * shape_.step * floats_, apart_, floats_, shape_.width(), weights, line, shape_.columns);
          take(mine, shape_.strips.first_pixel(strip) + static_cast<long>(y) * shape_.width(), line);
        }
      }
    });
  }

  // d_output(thread, first pixel) is the gradient of a line of the output: pixel in the line -> channel -> values. What
  // it gives from `channels` on does not matter.
  template <class DOutput>
  void backward(const float* images, const DOutput& d_output, float* d_conv) {
    const long columns = shape_.columns, width = shape_.width(), floats = shape_.kernel * shape_.depth * columns;
    const int steps = densenet::steps<Number>(width);
    const long tile_line = kDepth * floats_, d_step = kDepth * columns, d_line = steps * d_step;
    const std::vector<Buffer<Value>> d_tiles = buffers<Value>(threads_, shape_.strips.max_height * d_line);
    const Parts parts = parts_for_sums(shape_.strips.count(), shape_.strips.extent.pixels());
    SumsOfParts all_sums;
    all_sums.begin(parts, floats);
    parallel(threads_, parts, [&](const Part& mine) {
      const int thread = mine.thread;
      Value* d_tile = d_tiles[thread].get();
      float* sums = all_sums.zeroed(mine);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const Value* tile = fill_tile(images, strip, thread, tile_line, [this](const float* from, long i, Value* to) {
          Number::interleave(to + kDepth * i, load(from + i), load(from + i + apart_));
        });
        const int height = shape_.strips.height(strip);
        for (int y = 0; y < height; y++) {
          const auto d_outputs = d_output(thread, shape_.strips.first_pixel(strip) + y * width);
          interleave_pixels<Number>(0, width, shape_.columns, d_outputs, d_tile + y * d_line, d_step);
        }
        for (int ky = 0; ky < shape_.kernel; ky++) {
          accumulate<Number>({tile + ky * tile_line, kDepth * kDepth * apart_, shape_.step * tile_line}, shape_.depth,
                             {d_tile, d_step, d_line}, shape_.columns, steps, height,
                             sums + ky * shape_.depth * columns);
        }
      }
    });
    copy_gradient(stem_, all_sums.add_up(threads_), shape_.depth, d_conv);
  }

 private:
  // The lines of the images around a strip of the output, `stride` values apart, as write(line, i, out) writes kLanes
  // floats of each from i on.
  template <class Write>
  const Value* fill_tile(const float* images, long strip, int thread, long stride, const Write& write) const {
    float* line = lines_[thread].get();
    std::fill(line + shape_.line, line + floats_ + apart_, 0.0f);
    for (int y = 0; y < shape_.image_lines(shape_.strips.height(strip)); y++) {
      fill_line(stem_, shape_.image(images, stem_, strip), shape_.first_line(strip) + y, line);
      for (long i = 0; i < floats_; i += kLanes) write(line, i, tiles_[thread].get() + y * stride);
    }
    return tiles_[thread].get();
  }

  const Stem& stem_;
  int threads_;
  StemShape shape_;
  long apart_;   // between what a pixel of the output sees first of a line and what the next one does
  long floats_;  // of a line and of what its last pixel and a partner that it lacks see behind it
  std::vector<Buffer<>> lines_;
  std::vector<Buffer<Value>> tiles_;
};

}  // namespace densenet
