// 1x1 convolutions in bfloat16, as products of AMX's tiles.
//
// The gradient of the inputs is a product like the forward one. The gradient of the weights sums over pixels: its left
// tiles are gradients with pixels along their rows, transposed, its right tiles inputs with pairs of pixels
// interleaved.
#pragma once

#include "conv1x1.h"

#ifdef __AMX_BF16__

#include "amx.h"

namespace densenet {

// Pixels in runs of whole tile depths whose operands stay in the second-level cache, a multiple of `least_pieces`.
inline Chunks tile_chunks(long pixels, int channels, int least_pieces) {
  constexpr long kValues = 131072, kMinPixels = 64, kMaxPixels = 512;
  const long largest = std::clamp(kValues / padded(channels), kMinPixels, kMaxPixels);
  const long count = ((pixels + largest - 1) / largest + least_pieces - 1) / least_pieces * least_pieces;
  return Chunks(pixels, in_tile_depths((pixels + count - 1) / count) * kTileDepth);
}

// The largest of value(channels, pixels of a chunk) for any number of channels up to this.
template <class Value>
size_t largest_of_chunks(long pixels, int channels, int least_pieces, const Value& value) {
  size_t largest = 0;
  for (int c = 1; c <= channels; c++) {
    largest = std::max(largest, static_cast<size_t>(value(c, tile_chunks(pixels, c, least_pieces).size)));
  }
  return largest;
}

// values(c), but zero for the channels from `channels` on.
template <class Values>
Vec existing(const Values& values, int c, int channels) {
  if (c >= channels) return Vec{};
  return channels - c >= kLanes ? values(c) : first_lanes(values(c), channels - c);
}

template <>
class Conv1x1<Bf16> {
 public:
  Conv1x1(int threads, int least_pieces, long pixels, int in_channels, int out_channels)
      : threads_(threads),
        least_pieces_(least_pieces),
        pixels_(pixels),
        weights_(1, in_channels, padded(out_channels)),
        tiles_(buffers<uint16_t>(
            threads, largest_of_chunks(pixels, in_channels, least_pieces,
                                       [](int channels, long size) { return size * tile_stride(channels); }))),
        products_(buffers(threads, largest_of_chunks(pixels, in_channels, least_pieces,
                                                     [&](int, long size) { return size * padded(out_channels); }))) {
    request_tiles();
  }

  Parts parts(int in_channels) const { return Parts(tile_chunks(pixels_, in_channels, least_pieces_).count()); }

  template <class Input, class Take>
  void run(const float* weights, int in_channels, int out_channels, const Input& input, const Take& take) {
    const int columns = padded(out_channels);
    weights_.pack(1, in_channels, columns, threads_, ByColumns{weights_1x1(weights, in_channels, out_channels)});
    const Chunks chunks = tile_chunks(pixels_, in_channels, least_pieces_);
    const long stride = tile_stride(in_channels);
    const int whole = in_channels / kTileDepth * kTileDepth;
    parallel(threads_, parts(in_channels), [&](const Part& mine) {
      const TileRegisters registers;
      uint16_t* tile = tiles_[mine.thread].get();
      float* products = products_[mine.thread].get();
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        for (long row = 0; row < rows; row++) {
          uint16_t* out = tile + row * stride;
          const auto values = input(first + row);
          for (int c = 0; c < whole; c += kTileDepth) Bf16::store_values(out + c, values(c), values(c + kLanes));
          if (whole == in_channels) continue;
          Bf16::store_values(out + whole, existing(values, whole, in_channels),
                             existing(values, whole + kLanes, in_channels));
        }
        multiply({tile, stride, 0}, rows, weights_.tiles(), columns, products, columns);
        take(mine, first, rows, products);
      }
    });
  }

 private:
  int threads_, least_pieces_;
  long pixels_;
  TileWeights weights_;
  std::vector<Buffer<uint16_t>> tiles_;
  std::vector<Buffer<>> products_;
};

template <>
class Conv1x1Backward<Bf16> {
 public:
  Conv1x1Backward(int threads, long pixels, int in_channels, int out_channels)
      : threads_(threads),
        pixels_(pixels),
        max_size_(largest_of_chunks(pixels, in_channels, kLeastPieces, [](int, long size) { return size; })),
        weights_(1, padded(out_channels), padded(in_channels)),
        d_tiles_(buffers<uint16_t>(threads, max_size_ * tile_stride(padded(out_channels)))),
        d_rows_(buffers<uint16_t>(threads, padded(out_channels) * tile_stride(max_size_))),
        tiles_(buffers<uint16_t>(threads, largest_of_chunks(pixels, in_channels, kLeastPieces,
                                                            [](int channels, long size) {
                                                              return size / 2 * tile_stride(2L * padded(channels));
                                                            }))),
        d_inputs_(buffers(threads, static_cast<size_t>(kTileDepth) * padded(in_channels))),
        sums_(buffers(threads, 2L * padded(in_channels))) {
    request_tiles();
  }

  template <class Input, class DOutput, class Take>
  void run(const float* weights, int in_channels, int out_channels, const Input& input, const DOutput& d_output,
           const Take& take, OfParts<NormSums>& norm_sums, float* d_weights_out) {
    const int columns = padded(in_channels), wide = padded(out_channels);
    weights_.pack(1, wide, columns, threads_, ByRows{weights_1x1(weights, in_channels, out_channels)});
    const Chunks chunks = tile_chunks(pixels_, in_channels, kLeastPieces);
    const long pair_row = tile_stride(2L * columns), d_row = tile_stride(wide), transposed_row = tile_stride(max_size_);
    const long floats = static_cast<long>(wide) * columns;
    const Parts parts = parts_for_sums(chunks.count(), pixels_);
    norm_sums.begin(parts);
    d_weights_.begin(parts, floats);
    parallel(threads_, parts, [&](const Part& mine) {
      const TileRegisters registers;
      const int thread = mine.thread;
      uint16_t *d_tile = d_tiles_[thread].get(), *d_transposed = d_rows_[thread].get(), *tile = tiles_[thread].get();
      float *d_inputs = d_inputs_[thread].get(), *d_weights = d_weights_.zeroed(mine);
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        const long all_rows = in_tile_depths(rows) * kTileDepth;
        for (long row = 0; row < rows; row++) {
          uint16_t* out = d_tile + row * d_row;
          const auto values = d_output(first + row);
          for (int k = 0; k < wide; k += kLanes) Bf16::store_values(out + k, existing(values, k, out_channels), kLanes);
          if (wide % kTileDepth) Bf16::store_values(out + wide, Vec{}, kLanes);
        }
        std::fill_n(d_tile + rows * d_row, (all_rows - rows) * d_row, 0);
        transpose(d_tile, d_row, all_rows, wide, d_transposed, transposed_row);
        interleave_pixels<Bf16>(first, rows, columns, input, tile, pair_row);
        const long pairs = steps<Bf16>(rows);
        std::fill_n(tile + pairs * pair_row, (all_rows / 2 - pairs) * pair_row, 0);
        accumulate({d_transposed, transposed_row, 0}, wide, interleaved(tile, pair_row, all_rows), columns, d_weights,
                   columns);
        float *sums = sums_[thread].get(), *centred_sums = sums + columns;
        std::fill_n(sums, 2 * columns, 0.0f);
        for (long row = 0; row < rows; row += kTileDepth) {
          const long count = std::min<long>(rows - row, kTileDepth);
          multiply({d_tile + row * d_row, d_row, 0}, count, weights_.tiles(), columns, d_inputs, columns);
          take(first + row, count, d_inputs, sums, centred_sums);
        }
        norm_sums[mine].add(sums, centred_sums, columns);
      }
    });
    const float* d_padded = d_weights_.add_up(threads_);
    for (int k = 0; k < out_channels; k++, d_weights_out += in_channels) {
      std::copy_n(d_padded + static_cast<long>(k) * columns, in_channels, d_weights_out);
    }
  }

 private:
  int threads_;
  long pixels_;
  size_t max_size_;
  TileWeights weights_;
  std::vector<Buffer<uint16_t>> d_tiles_, d_rows_, tiles_;
  std::vector<Buffer<>> d_inputs_, sums_;
  SumsOfParts d_weights_;
};

}  // namespace densenet

#endif
