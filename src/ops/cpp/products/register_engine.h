// Products in vector registers (register_tiles.h), as engine.h offers them to the convolutions.
#pragma once

#include <vector>

#include "base/tiles.h"
#include "map/operands.h"
#include "products/register_tiles.h"

namespace densenet {

template <class Number>
class RegisterEngine {
  static constexpr int kDepth = Number::kDepth;

 public:
  using Value = typename Number::Value;
  // Packed right operand of `multiply`.
  using Weights = Panels<Number>;
  // A thread may multiply while it has one.
  struct Session {};
  // Once before the first Session of an operator: throws std::runtime_error if the system is in the way.
  static void prepare() {}

  static constexpr long kInputRows = 2 * kTileRows[2];  // of gradients of inputs that are made at a time

  static constexpr long kRowsTogether = 1;  // `multiply` writes whole multiples of so many rows

  // Pixels in runs whose operands stay in the caches.
  static Chunks chunks(long pixels, int channels, int least_pieces) { return Chunks(pixels, channels, least_pieces); }
  // Values from one row of a left operand in scratch to the next.
  static long row_stride(int channels) { return scratch_stride(channels); }
  // Values that `multiply` may read behind the last row of a left operand.
  static long behind_rows(long) { return 0; }

  // One row of a left operand: values(channel) gives kLanes of them, where it does not matter what comes from
  // `channels` on.
  template <class Values>
  static void store_row(const Values& values, int channels, Value* out) {
    for (int c = 0; c < padded(channels); c += kLanes) Number::store_values(out + c, values(c), kLanes);
    if (channels % kDepth) out[channels] = Value{};
  }

  // out (rows, columns) = the sum over taps of rows of a, `row` and `tap` values apart, times the weights.
  static void multiply(const Value* a, long row, long tap, int rows, const Weights& weights, int columns, float* out) {
    densenet::multiply(a, row, tap, rows, weights, out, columns);
  }

  // The gradient of the weights of a 1x1 convolution (K, C), which sums over pixels: sums (C, padded(K)).
  class WeightGradient {
   public:
    // pixels: of a chunk, at most. in_channels, out_channels: the largest that there will be.
    WeightGradient(int threads, long pixels, int in_channels, int out_channels)
        : inputs_(buffers<Value>(threads, (pixels + kDepth) * scratch_stride(in_channels))),
          d_steps_(buffers<Value>(threads, kDepth > 1 ? (pixels + kDepth) * scratch_stride(out_channels) : 0)) {}
    static long floats(int in_channels, int out_channels) {
      return static_cast<long>(in_channels) * padded(out_channels);
    }

    // Adds to `sums` what `rows` pixels from `first` on give; d_rows: their gradients as store_row left them.
    template <class Input, class DOutput>
    void add(int thread, long first, long rows, int in_channels, int out_channels, const Input& input,
             const DOutput& d_output, Value* d_rows, float* sums) const {
      const int padded_out = padded(out_channels);
      const long step = scratch_stride(in_channels) * kDepth, d_stride = scratch_stride(out_channels);
      Value* inputs = inputs_[thread].get();
      interleave_pixels<Number>(first, rows, padded(in_channels), input, inputs, step);
      const Value* d_steps = d_rows;
      if constexpr (kDepth > 1) {
        interleave_pixels<Number>(first, rows, padded_out, d_output, d_steps_[thread].get(), d_stride * kDepth);
        d_steps = d_steps_[thread].get();
      }
      accumulate<Number>({inputs, step, 0}, in_channels, {d_steps, d_stride * kDepth, 0}, padded_out,
                         depth_steps<Number>(rows), 1, sums);
    }

    static void copy(const float* sums, int in_channels, int out_channels, int threads, float* d_weights) {
      transpose_weights(sums, padded(out_channels), in_channels, out_channels, threads, d_weights);
    }

   private:
    std::vector<Buffer<Value>> inputs_, d_steps_;
  };
};

}  // namespace densenet
