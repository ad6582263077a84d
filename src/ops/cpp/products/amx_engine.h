// Products of AMX's tiles (amx_tiles.h), as engine.h offers them to the convolutions. What the members do is said in
// register_engine.h.
#pragma once

#include <vector>

#include "base/tiles.h"
#include "map/operands.h"
#include "products/amx_tiles.h"

#ifdef __AMX_BF16__

namespace densenet {

class AmxEngine {
 public:
  using Value = uint16_t;
  using Weights = TileWeights;
  using Session = TileRegisters;
  static void prepare() { request_tiles(); }

  static constexpr long kInputRows = kTileDepth, kRowsTogether = kTile;

  // In whole tile depths, and a multiple of `least_pieces` chunks.
  static Chunks chunks(long pixels, int channels, int least_pieces) {
    constexpr long kValues = 131072, kMinPixels = 64, kMaxPixels = 512;
    const long largest = std::clamp(kValues / padded(channels), kMinPixels, kMaxPixels);
    const long count = ((pixels + largest - 1) / largest + least_pieces - 1) / least_pieces * least_pieces;
    return Chunks(pixels, in_tile_depths((pixels + count - 1) / count) * kTileDepth);
  }
  static long row_stride(int channels) { return tile_stride(channels); }
  static long behind_rows(long row) { return kTile * row + kTileDepth; }

  // What the channels lack to whole tile depths becomes zero.
  template <class Values>
  static void store_row(const Values& values, int channels, Value* out) {
    const int whole = channels / kTileDepth * kTileDepth;
    for (int c = 0; c < whole; c += kTileDepth) Bf16::store_values(out + c, values(c), values(c + kLanes));
    if (whole == channels) return;
    Bf16::store_values(out + whole, existing(values, whole, channels), existing(values, whole + kLanes, channels));
  }

  static void multiply(const Value* a, long row, long tap, int rows, const Weights& weights, int columns, float* out) {
    densenet::multiply({a, row, tap}, rows, weights.tiles(), columns, out, columns);
  }

  // Sums (padded(K), padded(C)): left tiles are gradients with pixels along their rows, transposed, right tiles inputs
  // with pairs of pixels interleaved.
  class WeightGradient {
   public:
    WeightGradient(int threads, long pixels, int in_channels, int out_channels)
        : pixels_(pixels),
          inputs_(buffers<Value>(threads, pixels / 2 * tile_stride(2L * padded(in_channels)))),
          d_transposed_(buffers<Value>(threads, padded(out_channels) * tile_stride(pixels))) {}
    static long floats(int in_channels, int out_channels) {
      return static_cast<long>(padded(in_channels)) * padded(out_channels);
    }

    template <class Input, class DOutput>
    void add(int thread, long first, long rows, int in_channels, int out_channels, const Input& input, const DOutput&,
             Value* d_rows, float* sums) const {
      const int padded_in = padded(in_channels), padded_out = padded(out_channels);
      const long pair_row = tile_stride(2L * padded_in), d_row = tile_stride(out_channels);
      const long transposed_row = tile_stride(pixels_), all_rows = in_tile_depths(rows) * kTileDepth;
      Value *inputs = inputs_[thread].get(), *d_transposed = d_transposed_[thread].get();
      std::fill_n(d_rows + rows * d_row, (all_rows - rows) * d_row, 0);
      transpose(d_rows, d_row, all_rows, padded_out, d_transposed, transposed_row);
      interleave_pixels<Bf16>(first, rows, padded_in, input, inputs, pair_row);
      const long pairs = depth_steps<Bf16>(rows);
      std::fill_n(inputs + pairs * pair_row, (all_rows / 2 - pairs) * pair_row, 0);
      accumulate({d_transposed, transposed_row, 0}, padded_out, interleaved(inputs, pair_row, all_rows), padded_in,
                 sums, padded_in);
    }

    static void copy(const float* sums, int in_channels, int out_channels, int, float* d_weights) {
      for (int k = 0; k < out_channels; k++, d_weights += in_channels) {
        std::copy_n(sums + static_cast<long>(k) * padded(in_channels), in_channels, d_weights);
      }
    }

   private:
    long pixels_;
    std::vector<Buffer<Value>> inputs_, d_transposed_;
  };

 private:
  // values(c), but zero for the channels from `channels` on.
  template <class Values>
  static Vec existing(const Values& values, int c, int channels) {
    if (c >= channels) return Vec{};
    return channels - c >= kLanes ? values(c) : first_lanes(values(c), channels - c);
  }
};

}  // namespace densenet

#endif
