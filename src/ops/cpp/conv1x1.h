// 1x1 convolutions of features that are made while they are loaded, forward and backward, as products in vector
// registers. P pixels, C channels of the input, K of the output.
//
// Operands are functions: values(pixel) is a function of a channel, which gives kLanes values of that pixel.
#pragma once

#include <algorithm>
#include <vector>

#include "gemm.h"
#include "operands.h"
#include "parallel.h"
#include "statistics.h"
#include "tiles.h"

namespace densenet {

// products = weights * inputs
template <class Number>
class Conv1x1 {
  using Value = typename Number::Value;

 public:
  // in_channels, out_channels: the largest that there will be.
  Conv1x1(int threads, int least_pieces, long pixels, int in_channels, int out_channels)
      : threads_(threads),
        least_pieces_(least_pieces),
        pixels_(pixels),
        weights_(1, in_channels, padded(out_channels)),
        tiles_(buffers<Value>(threads, Chunks::scratch_values(in_channels))),
        products_(buffers(threads, static_cast<size_t>(Chunks::kMaxPixels) * padded(out_channels))) {}

  // In which `run` calls.
  Parts parts(int in_channels) const { return Parts(chunks(in_channels).count()); }

  // weights: (K, C). input(pixel)(channel): what it gives from C on does not matter. Calls take(part, first pixel,
  // rows, products) with products (rows, padded(K)).
  template <class Input, class Take>
  void run(const float* weights, int in_channels, int out_channels, const Input& input, const Take& take) {
    const int columns = padded(out_channels);
    weights_.pack(1, in_channels, columns, threads_, ByColumns{weights_1x1(weights, in_channels, out_channels)});
    const Chunks chunks = this->chunks(in_channels);
    const long stride = scratch_stride(in_channels);
    parallel(threads_, parts(in_channels), [&](const Part& mine) {
      Value* tile = tiles_[mine.thread].get();
      float* products = products_[mine.thread].get();
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        for (long row = 0; row < rows; row++) {
          Value* out = tile + row * stride;
          const auto values = input(first + row);
          for (int c = 0; c < padded(in_channels); c += kLanes) Number::store_values(out + c, values(c), kLanes);
          if (in_channels % Number::kDepth) out[in_channels] = Value{};
        }
        multiply(tile, stride, 0, static_cast<int>(rows), weights_, products, columns);
        take(mine, first, rows, products);
      }
    });
  }

 private:
  Chunks chunks(int in_channels) const { return Chunks(pixels_, in_channels, least_pieces_); }

  int threads_, least_pieces_;
  long pixels_;
  Panels<Number> weights_;
  std::vector<Buffer<Value>> tiles_;
  std::vector<Buffer<>> products_;
};

// d_inputs = weights^T * d_outputs and d_weights = sum over the pixels of d_outputs * inputs^T
template <class Number>
class Conv1x1Backward {
  using Value = typename Number::Value;
  static constexpr int kDepth = Number::kDepth;
  static constexpr long kRows = 2 * kTileRows[2];  // of gradients of inputs at a time

 public:
  // in_channels, out_channels: the largest that there will be.
  Conv1x1Backward(int threads, long pixels, int in_channels, int out_channels)
      : threads_(threads),
        pixels_(pixels),
        weights_(1, out_channels, padded(in_channels)),
        tiles_(buffers<Value>(threads, Chunks::scratch_values(in_channels))),
        d_tiles_(buffers<Value>(threads, Chunks::kMaxPixels * scratch_stride(out_channels))),
        d_steps_(buffers<Value>(threads, kDepth > 1 ? Chunks::kMaxPixels * scratch_stride(out_channels) : 0)),
        d_inputs_(buffers(threads, kRows * padded(in_channels))),
        sums_(buffers(threads, 2L * padded(in_channels))) {}

  // weights, d_weights: (K, C). input(pixel)(channel), d_output(pixel)(channel): what they give from C or K on does not
  // matter. Calls take(first pixel, rows, d_inputs, sums, centred_sums) with d_inputs (rows, padded(C)), which adds
  // what it sums per channel; what that comes to is added to norm_sums of each part.
  template <class Input, class DOutput, class Take>
  void run(const float* weights, int in_channels, int out_channels, const Input& input, const DOutput& d_output,
           const Take& take, OfParts<NormSums>& norm_sums, float* d_weights_out) {
    const int columns = padded(in_channels), wide = padded(out_channels);
    weights_.pack(1, out_channels, columns, threads_, ByRows{weights_1x1(weights, in_channels, out_channels)});
    const Chunks chunks(pixels_, in_channels, kLeastPieces);
    const long tile_step = scratch_stride(in_channels) * kDepth, d_stride = scratch_stride(out_channels);
    const long floats = static_cast<long>(in_channels) * wide;
    const Parts parts = parts_for_sums(chunks.count(), pixels_);
    norm_sums.begin(parts);
    d_weights_.begin(parts, floats);
    parallel(threads_, parts, [&](const Part& mine) {
      const int thread = mine.thread;
      Value *tile = tiles_[thread].get(), *d_tile = d_tiles_[thread].get();
      float *d_inputs = d_inputs_[thread].get(), *d_weights = d_weights_.zeroed(mine);
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        interleave_pixels<Number>(first, rows, columns, input, tile, tile_step);
        for (long row = 0; row < rows; row++) {
          const auto values = d_output(first + row);
          Value* out = d_tile + row * d_stride;
          for (int k = 0; k < wide; k += kLanes) Number::store_values(out + k, values(k), kLanes);
          if (out_channels % kDepth) out[out_channels] = Value{};
        }
        const Value* d_steps = d_tile;
        if (kDepth > 1) {
          interleave_pixels<Number>(first, rows, wide, d_output, d_steps_[thread].get(), d_stride * kDepth);
          d_steps = d_steps_[thread].get();
        }
        accumulate<Number>({tile, tile_step, 0}, in_channels, {d_steps, d_stride * kDepth, 0}, wide,
                           steps<Number>(rows), 1, d_weights);
        float *sums = sums_[thread].get(), *centred_sums = sums + columns;
        std::fill_n(sums, 2 * columns, 0.0f);
        for (long row = 0; row < rows; row += kRows) {
          const long count = std::min(rows - row, kRows);
          multiply(d_tile + row * d_stride, d_stride, 0, static_cast<int>(count), weights_, d_inputs, columns);
          take(first + row, count, d_inputs, sums, centred_sums);
        }
        norm_sums[mine].add(sums, centred_sums, columns);
      }
    });
    transpose_weights(d_weights_.add_up(threads_), wide, in_channels, out_channels, threads_, d_weights_out);
  }

 private:
  int threads_;
  long pixels_;
  Panels<Number> weights_;
  std::vector<Buffer<Value>> tiles_, d_tiles_, d_steps_;
  std::vector<Buffer<>> d_inputs_, sums_;
  SumsOfParts d_weights_;
};

}  // namespace densenet
