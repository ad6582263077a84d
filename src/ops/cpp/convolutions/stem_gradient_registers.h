// The gradient of the weights of the stem's convolution, as products in vector registers.
#pragma once

#include <vector>

#include "convolutions/stem_conv.h"
#include "products/register_tiles.h"

namespace densenet {

template <class Number>
class RegisterStemGradient {
  using Value = typename Number::Value;
  static constexpr int kDepth = Number::kDepth;

 public:
  RegisterStemGradient(const ImageConv& conv, int threads)
      : conv_(conv),
        threads_(threads),
        shape_(conv, kLeastPieces),
        lines_(buffers(threads, line_floats())),
        tiles_(buffers<Value>(threads, tile_line() * shape_.image_lines(shape_.strips.max_height))),
        d_tiles_(buffers<Value>(threads, shape_.strips.max_height * d_line())) {}

  // d_output(thread, first pixel) is the gradient of a line of the output: pixel in the line -> channel -> values. What
  // it gives from `channels` on does not matter. d_weights: (channels, 3, kernel, kernel).
  template <class DOutput>
  void run(const float* images, const DOutput& d_output, float* d_weights) {
    const long columns = shape_.columns, width = shape_.width();
    const Parts parts = parts_for_sums(shape_.strips.count(), shape_.strips.extent.pixels());
    sums_.begin(parts, shape_.kernel * shape_.depth * columns);
    parallel(threads_, parts, [&](const Part& mine) {
      Value* d_tile = d_tiles_[mine.thread].get();
      float* sums = sums_.zeroed(mine);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const Value* tile = fill_tile(images, strip, mine.thread);
        const int height = shape_.strips.height(strip);
        for (int y = 0; y < height; y++) {
          const auto d_outputs = d_output(mine.thread, shape_.strips.first_pixel(strip) + y * width);
          interleave_pixels<Number>(0, width, shape_.columns, d_outputs, d_tile + y * d_line(), kDepth * columns);
        }
        for (int ky = 0; ky < shape_.kernel; ky++) {
          accumulate<Number>({tile + ky * tile_line(), kDepth * kDepth * shape_.apart, shape_.step * tile_line()},
                             shape_.depth, {d_tile, kDepth * columns, d_line()}, shape_.columns,
                             depth_steps<Number>(width), height, sums + ky * shape_.depth * columns);
        }
      }
    });
    copy_gradient(conv_, sums_.add_up(threads_), shape_.depth, d_weights);
  }

 private:
  long line_floats() const { return shape_.floats + shape_.apart; }
  // Of (lines of images, floats, kDepth): what two neighbouring pixels of the output see, side by side.
  long tile_line() const { return kDepth * shape_.floats; }
  // Of (lines, steps of pixels, columns, kDepth): gradients of outputs.
  long d_line() const { return static_cast<long>(depth_steps<Number>(shape_.width())) * kDepth * shape_.columns; }

  const Value* fill_tile(const float* images, long strip, int thread) const {
    float* line = lines_[thread].get();
    Value* out = tiles_[thread].get();
    for (int y = 0; y < shape_.image_lines(shape_.strips.height(strip)); y++, out += tile_line()) {
      fill_line(conv_, shape_.image(images, conv_, strip), shape_.first_line(strip) + y, line_floats(), line);
      for (long i = 0; i < shape_.floats; i += kLanes) {
        Number::interleave(out + kDepth * i, load(line + i), load(line + i + shape_.apart));
      }
    }
    return tiles_[thread].get();
  }

  ImageConv conv_;
  int threads_;
  StemShape shape_;
  std::vector<Buffer<>> lines_;
  std::vector<Buffer<Value>> tiles_, d_tiles_;
  SumsOfParts sums_;
};

}  // namespace densenet
