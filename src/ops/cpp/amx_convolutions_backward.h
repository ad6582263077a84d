// The backward passes through the convolutions of a dense layer in bfloat16, as products of AMX's tiles.
//
// The gradient of the inputs is a product like the forward one. The gradient of the weights sums over pixels: its left
// tiles are gradients with pixels along their rows, transposed, its right tiles inputs with pairs of pixels
// interleaved.
#pragma once

#ifdef __AMX_BF16__

#include "amx_convolutions.h"
#include "convolutions_backward.h"

namespace densenet {

// Right tiles of `pixels`, whole tile depths of them, of which pairs are interleaved in rows `pair_row` values apart.
inline RightTiles interleaved(const uint16_t* data, long pair_row, long pixels) {
  return {data, pair_row, kTile * pair_row, 2 * kTile, 1, pixels / kTileDepth};
}

template <>
class Conv3x3Backward<Bf16> {
 public:
  Conv3x3Backward(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        strips_(block.extent, padded(block.width) + padded(block.growth), threads),
        d_lines_(strips_, padded(block.growth)),
        weights_(3, 3 * padded(block.growth), padded(block.width)),
        d_tiles_(buffers<uint16_t>(threads, d_lines_.all_values(strips_.max_height))),
        d_rows_(buffers<uint16_t>(threads, padded(block.growth) * d_row(strips_.max_height))),
        tiles_(buffers<uint16_t>(threads, input_pixels(strips_.max_height) / 2 * pair_row())),
        d_inputs_(buffers(threads, input_pixels(strips_.max_height) * kColumns)),
        d_weights_(buffers(threads, weight_floats())) {}

  void run(int layer, const float* features, const float* d_features, const Correction& correction,
           const uint16_t* bottlenecks, const Affine& affine, const float* mean, uint16_t* d_relu,
           std::vector<NormSums>& sums, float* d_conv2) {
    const int growth = block_.growth, width = block_.width, wide = padded(width), rows = padded(growth);
    const long stride = block_.stride(), image_width = block_.extent.width;
    const float* weights = block_.layers[layer].conv2;
    weights_.pack(3, 3 * rows, wide, threads_, [&](int line, int kx_g, int k) {  // the kernel turned by 180 degrees
      const int kx = 2 - kx_g / rows, g = kx_g % rows;
      return k < width && g < growth ? weights[((static_cast<long>(g) * width + k) * 3 + 2 - line) * 3 + kx] : 0.0f;
    });
    parallel(threads_, [&](int thread) {
      const TileRegisters registers;
      uint16_t *d_tile = d_tiles_[thread].get(), *d_transposed = d_rows_[thread].get(), *tile = tiles_[thread].get();
      float *d_inputs = d_inputs_[thread].get(), *d_weights = d_weights_[thread].get();
      std::fill_n(d_weights, weight_floats(), 0.0f);
      const Range mine = share(strips_.count(), thread, threads_);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const int height = strips_.height(strip);
        const long first = strips_.first_pixel(strip);
        d_lines_.fill(strips_, strip, d_tile, [&](int y, int x, uint16_t* out) {
          const long i = (first + y * image_width + x) * stride + block_.channels(layer);
          for (int g = 0; g < growth; g += kLanes) {
            const int lanes = growth - g;
            const Vec d = load_first(d_features + i + g, lanes) + load(correction.constant.get() + g) +
                          load(correction.slope.get() + g) * load_first(features + i + g, lanes);
            Bf16::store_values(out + g, d, kLanes);
          }
        });
        transpose(d_tile, rows, d_lines_.all_pixels(height), rows, d_transposed, d_row(height));
        interleave_inputs(bottlenecks + first * wide, height, affine, tile);
        for (int column = 0; column < wide; column += kColumns) {
          const int columns = std::min(wide - column, kColumns);
          const RightTiles inputs = interleaved(tile + column * 2, pair_row(), input_pixels(height));
          for (int tap = 0; tap < 9; tap++) {
            const long offset = (2 - tap / 3) * d_lines_.pitch() + 2 - tap % 3;
            accumulate({d_transposed + offset, d_row(height), 0}, rows, inputs, columns,
                       d_weights + static_cast<long>(tap) * rows * wide + column, wide);
          }
        }
        for (int column = 0; column < wide; column += kColumns) {
          const int columns = std::min(wide - column, kColumns);
          multiply({d_tile, rows, d_lines_.line()}, d_lines_.pixels(height), weights_.tiles(column), columns, d_inputs,
                   kColumns);
          mask(d_inputs, column, columns, height, bottlenecks + first * wide, affine, mean, d_relu + first * wide,
               sums[thread]);
        }
      }
    });
    reduce(d_weights_, weight_floats());
    for (int g = 0; g < growth; g++) {
      for (int k = 0; k < width; k++) {
        for (int tap = 0; tap < 9; tap++) *d_conv2++ = d_weights_[0][(static_cast<size_t>(tap) * rows + g) * wide + k];
      }
    }
  }

 private:
  static constexpr int kColumns = 2 * kTile;  // of a panel of inputs

  // Pixels of the strip's own lines, those between the lines too, in whole tile depths.
  long input_pixels(int height) const { return in_tile_depths(d_lines_.pixels(height)) * kTileDepth; }
  long pair_row() const { return tile_stride(2L * padded(block_.width)); }
  long d_row(int height) const { return tile_stride(d_lines_.all_pixels(height)); }
  long weight_floats() const { return 9L * padded(block_.growth) * padded(block_.width); }

  // relu(affine(bottlenecks)) of the strip's own lines, zero between them and behind them, pairs of pixels interleaved.
  void interleave_inputs(const uint16_t* bottlenecks, int height, const Affine& affine, uint16_t* tile) const {
    const int wide = padded(block_.width);
    const long pitch = d_lines_.pitch(), pixels = d_lines_.pixels(height);
    long flat = 0, column = 0;
    const auto next = [&]() -> const uint16_t* {
      const bool is_pixel = flat++ < pixels && column + 1 < pitch;
      const uint16_t* pixel = is_pixel ? bottlenecks : nullptr;
      column = column + 1 < pitch ? column + 1 : 0;
      if (is_pixel) bottlenecks += wide;
      return pixel;
    };
    for (long pair = 0; pair < input_pixels(height) / 2; pair++, tile += pair_row()) {
      const uint16_t *first = next(), *second = next();
      for (int k = 0; k < wide; k += kLanes) {
        Bf16::interleave(tile + 2 * k, first ? normalised(first, affine, k) : Vec{},
                         second ? normalised(second, affine, k) : Vec{});
      }
    }
  }

  // `columns` channels from k on of the strip's pixels x: d_relu = their gradients where the ReLU's input was positive,
  // and their sums.
  void mask(const float* d_inputs, int k, int columns, int height, const uint16_t* x, const Affine& affine,
            const float* mean, uint16_t* d_relu, NormSums& sums) const {
    const int wide = padded(block_.width);
    Vec scale[2], offset[2], m[2], sum[2] = {}, centred[2] = {};
    for (int j = 0; j < columns / kLanes; j++) {
      scale[j] = load(affine.scale.get() + k + j * kLanes), offset[j] = load(affine.offset.get() + k + j * kLanes);
      m[j] = load_first(mean + k + j * kLanes, block_.width - k - j * kLanes);
    }
    const auto masked = [&](int j, long i, const float* d_input) {
      const Vec value = load_values(x + i + j * kLanes);
      const Vec d = where_positive(value * scale[j] + offset[j], load(d_input + j * kLanes));
      sum[j] += d;
      centred[j] += d * (value - m[j]);
      return d;
    };
    long i = k;
    for (int y = 0; y < height; y++, d_inputs += d_lines_.pitch() * kColumns) {
      for (int column = 0; column < block_.extent.width; column++, i += wide) {
        const float* d_input = d_inputs + column * kColumns;
        if (columns == kColumns) {
          const Vec first = masked(0, i, d_input);
          Bf16::stream_values(d_relu + i, first, masked(1, i, d_input));
        } else {
          Bf16::store_values(d_relu + i, masked(0, i, d_input), kLanes);
        }
      }
    }
    for (int j = 0; j < columns / kLanes; j++) sums.add(k + j * kLanes, sum[j], centred[j]);
  }

  const DenseBlock& block_;
  int threads_;
  Strips strips_;
  FlatLines d_lines_;
  TileWeights weights_;
  std::vector<Buffer<uint16_t>> d_tiles_, d_rows_, tiles_;
  std::vector<Buffer<>> d_inputs_, d_weights_;
};

template <>
class Conv1x1Backward<Bf16> {
 public:
  Conv1x1Backward(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        max_pixels_(largest_of_layers(block, threads, [](int, long pixels) { return pixels; })),
        weights_(1, padded(block.width), padded(block.out_channels())),
        d_tiles_(buffers<uint16_t>(threads, max_pixels_ * tile_stride(padded(block.width)))),
        d_rows_(buffers<uint16_t>(threads, padded(block.width) * tile_stride(max_pixels_))),
        tiles_(buffers<uint16_t>(threads, largest_of_layers(block, threads, [](int channels, long pixels) {
          return pixels / 2 * tile_stride(2L * padded(channels));
        }))),
        d_inputs_(buffers(threads, static_cast<size_t>(kTileDepth) * padded(block.out_channels()))),
        sums_(buffers(threads, 2L * padded(block.out_channels()))),
        d_weights_(buffers(threads, static_cast<size_t>(padded(block.width)) * padded(block.out_channels()))) {
    request_tiles();
  }

  void run(int layer, const float* features, const Affine& affine, const float* mean, const uint16_t* bottlenecks,
           const uint16_t* d_relu2, const Affine& affine2, const Correction& correction2, const float* d_from,
           float* d_to, long to_stride, std::vector<NormSums>& sums, float* d_conv1) {
    const int channels = block_.channels(layer), columns = padded(channels), width = block_.width, wide = padded(width);
    const float* weights = block_.layers[layer].conv1;
    weights_.pack(1, wide, columns, threads_, [&](int, int k, int c) {
      return k < width && c < channels ? weights[static_cast<long>(k) * channels + c] : 0.0f;
    });
    const Chunks chunks = tile_chunks(block_.extent.pixels(), channels, threads_);
    const long stride = block_.stride(), pair_row = tile_stride(2L * columns), d_row = tile_stride(wide);
    const long transposed_row = tile_stride(max_pixels_);
    parallel(threads_, [&](int thread) {
      const TileRegisters registers;
      uint16_t *d_tile = d_tiles_[thread].get(), *d_transposed = d_rows_[thread].get(), *tile = tiles_[thread].get();
      float *d_inputs = d_inputs_[thread].get(), *d_weights = d_weights_[thread].get();
      std::fill_n(d_weights, static_cast<long>(wide) * columns, 0.0f);
      const Range mine = share(chunks.count(), thread, threads_);
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), pixels = chunks.length(chunk);
        const long all_pixels = in_tile_depths(pixels) * kTileDepth;
        for (long p = 0; p < all_pixels; p++) {
          uint16_t* out = d_tile + p * d_row;
          for (int k = 0; k < wide; k += kLanes) {
            const long i = (first + p) * wide + k;
            const Vec d = p < pixels ? load(affine2.scale.get() + k) * load_values(d_relu2 + i) +
                                           (load(correction2.slope.get() + k) * load_values(bottlenecks + i) +
                                            load(correction2.constant.get() + k))
                                     : Vec{};
            Bf16::store_values(out + k, d, kLanes);
          }
          if (wide % kTileDepth) Bf16::store_values(out + wide, Vec{}, kLanes);
        }
        transpose(d_tile, d_row, all_pixels, wide, d_transposed, transposed_row);
        const auto input = [&](long p, int c) {
          const float* x = features + (first + p) * stride;
          fetch_ahead(x + c, stride);
          return p < pixels ? normalised(x, affine, c) : Vec{};
        };
        interleave_pixels<Bf16>(all_pixels, columns, input, tile, pair_row);
        accumulate({d_transposed, transposed_row, 0}, wide, interleaved(tile, pair_row, all_pixels), columns, d_weights,
                   columns);
        float *sum = sums_[thread].get(), *centred = sum + columns;
        std::fill_n(sum, 2 * columns, 0.0f);
        for (long p = 0; p < pixels; p += kTileDepth) {
          const long rows = std::min<long>(pixels - p, kTileDepth);
          multiply({d_tile + p * d_row, d_row, 0}, rows, weights_.tiles(), columns, d_inputs, columns);
          const long i = (first + p) * stride;
          mask_inputs({d_inputs, columns}, rows, channels, {features + i, stride}, affine, mean, {d_from + i, stride},
                      d_to + (first + p) * to_stride, to_stride, sum, centred);
        }
        for (int c = 0; c < columns; c += kLanes) sums[thread].add(c, load(sum + c), load(centred + c));
      }
    });
    reduce(d_weights_, static_cast<long>(wide) * columns);
    for (int k = 0; k < width; k++, d_conv1 += channels) {
      std::copy_n(d_weights_[0].get() + static_cast<long>(k) * columns, channels, d_conv1);
    }
  }

 private:
  const DenseBlock& block_;
  int threads_;
  size_t max_pixels_;
  TileWeights weights_;
  std::vector<Buffer<uint16_t>> d_tiles_, d_rows_, tiles_;
  std::vector<Buffer<>> d_inputs_, sums_, d_weights_;
};

}  // namespace densenet

#endif
