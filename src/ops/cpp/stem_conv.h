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
  StemShape(const Stem& stem, int threads)
      : strips(stem.conv_extent(), stem.channels, threads),
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

// Bf16 computes as Fp32 does where there is no AMX: the operands are too narrow to be worth more.
template <class Number>
class StemConv {
 public:
  StemConv(const Stem& stem, int threads)
      : stem_(stem),
        threads_(threads),
        shape_(stem, threads),
        tiles_(buffers(threads, shape_.line * shape_.image_lines(shape_.strips.max_height))) {}

  // Calls take(thread, first pixel, products) with products (width, columns) for each line of the output; a thread's
  // lines come in their order.
  template <class Take>
  void forward(const float* images, const Take& take) {
    Panels<Fp32> weights(shape_.kernel, shape_.depth, shape_.columns);
    weights.pack(shape_.kernel, shape_.depth, shape_.columns, threads_, stem_weights(stem_));
    const std::vector<Buffer<>> lines = buffers(threads_, static_cast<size_t>(shape_.width()) * shape_.columns);
    parallel(threads_, [&](int thread) {
      float* line = lines[thread].get();
      const Range mine = share(shape_.strips.count(), thread, threads_);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const float* tile = fill_tile(images, strip, thread);
        for (int y = 0; y < shape_.strips.height(strip); y++) {
          multiply(tile + y * shape_.step * shape_.line, shape_.step * kColours, shape_.line, shape_.width(), weights,
                   line, shape_.columns);
          take(thread, shape_.strips.first_pixel(strip) + static_cast<long>(y) * shape_.width(), line);
        }
      }
    });
  }

  // d_output(pixel)(channel): what it gives from `channels` on does not matter.
  template <class DOutput>
  void backward(const float* images, const DOutput& d_output, float* d_conv) {
    const long columns = shape_.columns, width = shape_.width(), floats = shape_.kernel * shape_.depth * columns;
    const std::vector<Buffer<>> d_tiles = buffers(threads_, shape_.strips.max_height * width * columns);
    const std::vector<Buffer<>> sums = buffers(threads_, floats);
    parallel(threads_, [&](int thread) {
      float* d_tile = d_tiles[thread].get();
      std::fill_n(sums[thread].get(), floats, 0.0f);
      const Range mine = share(shape_.strips.count(), thread, threads_);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const float* tile = fill_tile(images, strip, thread);
        const int height = shape_.strips.height(strip);
        interleave_pixels<Fp32>(shape_.strips.first_pixel(strip), height * width, shape_.columns, d_output, d_tile,
                                columns);
        for (int ky = 0; ky < shape_.kernel; ky++) {
          accumulate<Fp32>({tile + ky * shape_.line, shape_.step * kColours, shape_.step * shape_.line}, shape_.depth,
                           {d_tile, columns, width * columns}, shape_.columns, shape_.width(), height,
                           sums[thread].get() + ky * shape_.depth * columns);
        }
      }
    });
    reduce(sums, floats);
    copy_gradient(stem_, sums[0].get(), shape_.depth, d_conv);
  }

 private:
  // The lines of the images around a strip of the output.
  const float* fill_tile(const float* images, long strip, int thread) const {
    float* tile = tiles_[thread].get();
    for (int y = 0; y < shape_.image_lines(shape_.strips.height(strip)); y++) {
      fill_line(stem_, shape_.image(images, stem_, strip), shape_.first_line(strip) + y, tile + y * shape_.line);
    }
    return tile;
  }

  const Stem& stem_;
  int threads_;
  StemShape shape_;
  std::vector<Buffer<>> tiles_;
};

}  // namespace densenet
