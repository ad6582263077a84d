// 1x1 convolutions of features that are made while they are loaded, forward and backward. P pixels, C channels of the
// input, K of the output.
//
// Operands are functions: values(pixel) is a function of a channel, which gives kLanes values of that pixel.
#pragma once

#include <vector>

#include "base/parallel.h"
#include "map/operands.h"
#include "map/statistics.h"
#include "products/engine.h"
#include "products/pack.h"

namespace densenet {

// products = weights * inputs
template <class Number>
class Conv1x1 {
  using Products = Engine<Number>;
  using Value = typename Number::Value;

 public:
  // Weights in the order of the products.
  using Weights = typename Products::Weights;

  // in_channels, out_channels: the largest that there will be. together: pixels in runs that `run` does not cut.
  Conv1x1(int threads, int least_pieces, long pixels, int in_channels, int out_channels, long together = 1)
      : threads_(threads),
        least_pieces_(least_pieces),
        pixels_(pixels),
        together_(together),
        inputs_(
            buffers<Value>(threads, largest(in_channels, [](int channels) { return Products::row_stride(channels); }))),
        products_(buffers(threads, largest(in_channels, [&](int) { return padded(out_channels); }))) {}

  // In which `run` calls.
  Parts parts(int in_channels) const { return Parts(chunks(in_channels).count()); }

  // weights: (K, C). Those that change from call to call are packed into the same memory, for the largest of them.
  static Weights space(int in_channels, int out_channels) { return Weights(1, in_channels, padded(out_channels)); }
  static void pack(const float* weights, int in_channels, int out_channels, int threads, Weights& packed) {
    const ByColumns source{weights_1x1(weights, in_channels, out_channels)};
    packed.pack(1, in_channels, padded(out_channels), threads, source);
  }

  // input(pixel)(channel): what it gives from C on does not matter. Calls take(part, first pixel, rows, products) with
  // products (rows, padded(K)), which it may change.
  template <class Input, class Take>
  void run(const Weights& weights, int in_channels, int out_channels, const Input& input, const Take& take) const {
    const int padded_out = padded(out_channels);
    const Chunks chunks = this->chunks(in_channels);
    const long stride = Products::row_stride(in_channels);
    parallel(threads_, parts(in_channels), [&](const Part& mine) {
      [[maybe_unused]] const typename Products::Session session;
      Value* inputs = inputs_[mine.thread].get();
      float* products = products_[mine.thread].get();
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        for (long row = 0; row < rows; row++)
          Products::store_row(input(first + row), in_channels, inputs + row * stride);
        Products::multiply(inputs, stride, 0, static_cast<int>(rows), weights, padded_out, products);
        take(mine, first, rows, products);
      }
    });
  }

 private:
  Chunks chunks(int in_channels) const { return chunks_of<Products>(pixels_, in_channels, least_pieces_, together_); }
  // Of value(channels) times the pixels of a chunk.
  template <class PerPixel>
  size_t largest(int in_channels, const PerPixel& per_pixel) const {
    return largest_of_chunks<Products>(pixels_, in_channels, least_pieces_, together_,
                                       [&](int channels, long size) { return size * per_pixel(channels); });
  }

  int threads_, least_pieces_;
  long pixels_, together_;
  std::vector<Buffer<Value>> inputs_;
  std::vector<Buffer<>> products_;
};

// d_inputs = weights^T * d_outputs and d_weights = sum over the pixels of d_outputs * inputs^T
template <class Number>
class Conv1x1Backward {
  using Products = Engine<Number>;
  using Value = typename Number::Value;

 public:
  // As of Conv1x1. Engines make whole runs of gradients of inputs at a time too.
  Conv1x1Backward(int threads, long pixels, int in_channels, int out_channels, long together = 1)
      : threads_(threads),
        pixels_(pixels),
        together_(together),
        chunk_pixels_(largest_of_chunks<Products>(pixels, in_channels, kLeastPieces, together,
                                                  [](int, long size) { return size; })),
        weights_(1, out_channels, padded(in_channels)),
        gradient_(threads, chunk_pixels_, in_channels, out_channels),
        d_outputs_(buffers<Value>(threads, chunk_pixels_ * Products::row_stride(out_channels))),
        d_inputs_(buffers(threads, Products::kInputRows * padded(in_channels))),
        norm_sums_(buffers(threads, 2L * padded(in_channels))) {}

  // weights, d_weights: (K, C). input(pixel)(channel), d_output(pixel)(channel): what they give from C or K on does not
  // matter. Calls take(first pixel, rows, d_inputs, sums, centred_sums) with d_inputs (rows, padded(C)), which adds
  // what it sums per channel; what that comes to is added to norm_sums of each part.
  template <class Input, class DOutput, class Take>
  void run(const float* weights, int in_channels, int out_channels, const Input& input, const DOutput& d_output,
           const Take& take, OfParts<NormSums>& norm_sums, float* d_weights) {
    const int padded_in = padded(in_channels);
    weights_.pack(1, out_channels, padded_in, threads_, ByRows{weights_1x1(weights, in_channels, out_channels)});
    const Chunks chunks = chunks_of<Products>(pixels_, in_channels, kLeastPieces, together_);
    const long d_stride = Products::row_stride(out_channels);
    const Parts parts = parts_for_sums(chunks.count(), pixels_);
    norm_sums.begin(parts);
    weight_sums_.begin(parts, gradient_.floats(in_channels, out_channels));
    parallel(threads_, parts, [&](const Part& mine) {
      [[maybe_unused]] const typename Products::Session session;
      Value* d_outputs = d_outputs_[mine.thread].get();
      float *d_inputs = d_inputs_[mine.thread].get(), *weight_sums = weight_sums_.zeroed(mine);
      float *sums = norm_sums_[mine.thread].get(), *centred_sums = sums + padded_in;
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        for (long row = 0; row < rows; row++) {
          Products::store_row(d_output(first + row), out_channels, d_outputs + row * d_stride);
        }
        gradient_.add(mine.thread, first, rows, in_channels, out_channels, input, d_output, d_outputs, weight_sums);
        std::fill_n(sums, 2 * padded_in, 0.0f);
        for (long row = 0; row < rows; row += Products::kInputRows) {
          const long count = std::min(rows - row, Products::kInputRows);
          Products::multiply(d_outputs + row * d_stride, d_stride, 0, static_cast<int>(count), weights_, padded_in,
                             d_inputs);
          take(first + row, count, d_inputs, sums, centred_sums);
        }
        norm_sums[mine].add(sums, centred_sums, padded_in);
      }
    });
    gradient_.copy(weight_sums_.add_up(threads_), in_channels, out_channels, threads_, d_weights);
  }

 private:
  int threads_;
  long pixels_, together_, chunk_pixels_;
  typename Products::Weights weights_;
  typename Products::WeightGradient gradient_;
  std::vector<Buffer<Value>> d_outputs_;
  std::vector<Buffer<>> d_inputs_, norm_sums_;
  SumsOfParts weight_sums_;
};

}  // namespace densenet
