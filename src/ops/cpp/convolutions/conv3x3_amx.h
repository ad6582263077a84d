// The 3x3 convolution in bfloat16, as products of AMX's tiles.
//
// A tile's product takes so little time that Winograd's transforms would cost more than they save: the convolution is
// computed as it is defined. The lines of a strip lie one after the other with one zero pixel before each, which pads
// both the line that it begins and the one that ends there. So the pixels that a tap of the kernel reads, for all
// outputs of the strip, are rows at one distance from each other, and the three taps of a line are one long row.
#pragma once

#include "convolutions/conv3x3_shape.h"
#include "products/amx_tiles.h"

#ifdef __AMX_BF16__

#include <cstring>

#include "base/tiles.h"
#include "map/dropout.h"
#include "map/operands.h"

namespace densenet {

// Lines of a strip with the lines around it, each with a zero pixel before it: (height + 2, pitch, values of a pixel).
// The last line's padding and the values that whole tiles read behind it follow.
struct FlatLines {
  FlatLines(const Strips& strips, int values) : width(strips.extent.width), values(values) {}
  long pitch() const { return width + 1; }
  long line() const { return pitch() * values; }  // values
  // Pixels of `height` lines as they lie, those between the lines too.
  long pixels(int height) const { return height * pitch(); }
  // From the first pixel of the tile: all that products of tiles over these lines read.
  long all_pixels(int height) const {
    return (in_tile_depths(in_tile_depths(pixels(height)) * kTileDepth + 2 * pitch() + 2) + 1) * kTileDepth;
  }
  size_t all_values(int height) const { return static_cast<size_t>(all_pixels(height)) * values; }

  // Fills tile from pixel(y, x, out), y from -1 to height, for the lines inside of the image; the rest becomes zero.
  template <class Pixel>
  void fill(const Strips& strips, long strip, uint16_t* tile, const Pixel& pixel) const {
    const int first = strips.first(strip), height = strips.height(strip);
    for (int y = -1; y <= height; y++, tile += line()) {
      const bool is_inside = first + y >= 0 && first + y < strips.extent.height;
      std::fill_n(tile, is_inside ? values : line(), 0);
      for (int x = 0; is_inside && x < width; x++) pixel(y, x, tile + (x + 1L) * values);
    }
    std::fill_n(tile, (all_pixels(height) - (height + 2) * pitch()) * values, 0);
  }

  int width, values;
};

class AmxConv3x3 {
 public:
  // Weights in the order of the products.
  class Weights {
   public:
    Weights(int in_channels, int out_channels)
        : in_channels_(in_channels),
          out_channels_(out_channels),
          tiles_(3, 3 * padded(in_channels), padded(out_channels)) {}
    // weights: (out_channels, in_channels, 3, 3).
    void pack(const float* weights, int threads) {
      tiles_.pack(3, 3 * padded(in_channels_), padded(out_channels_), threads,
                  by_values(weights_by_line(weights, in_channels_, out_channels_)));
    }
    RightTiles tiles() const { return tiles_.tiles(); }

   private:
    int in_channels_, out_channels_;
    TileWeights tiles_;
  };

  AmxConv3x3(const Conv3x3Shape& shape, int threads, int least_pieces)
      : shape_(shape),
        threads_(threads),
        strips_(shape.extent, padded(shape.in_channels), least_pieces),
        lines_(strips_, padded(shape.in_channels)),
        tiles_(buffers<uint16_t>(threads, lines_.all_values(strips_.max_height))),
        products_(buffers(threads, lines_.all_pixels(strips_.max_height) * padded(shape.out_channels))) {}

  void run(const Weights& weights, const uint16_t* x, const Affine& affine, const MutableRows& out,
           const DropMask* drop, OfParts<Moments>* moments) const {
    const int out_channels = shape_.out_channels;
    const int padded_in = padded(shape_.in_channels), padded_out = padded(out_channels);
    const long image_width = shape_.extent.width;
    const Parts parts(strips_.count());
    if (moments) moments->begin(parts);
    parallel(threads_, parts, [&](const Part& mine) {
      const TileRegisters registers;
      uint16_t* tile = tiles_[mine.thread].get();
      float* products = products_[mine.thread].get();
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const int height = strips_.height(strip);
        const long first = strips_.first_pixel(strip), pixels = strips_.pixels(strip);
        lines_.fill(strips_, strip, tile, [&](int y, int column, uint16_t* to) {
          const uint16_t* in = x + (first + y * image_width + column) * padded_in;
          for (int k = 0; k < padded_in; k += kLanes) Bf16::store_values(to + k, normalised(in, affine, k), kLanes);
        });
        multiply({tile, padded_in, lines_.line()}, lines_.pixels(height), weights.tiles(), padded_out, products,
                 padded_out);
        for (int y = 1; y < height; y++) {  // leave out what is between the lines
          std::memmove(products + y * image_width * padded_out, products + lines_.pixels(y) * padded_out,
                       sizeof(float) * image_width * padded_out);
        }
        if (drop) drop->apply(products, padded_out, first, pixels);
        if (moments) (*moments)[mine].add(products, padded_out, pixels, 0, padded_out);
        float* to = out.data + first * out.stride;
        for (long p = 0; p < pixels; p++) {
          put_floats(products + p * padded_out, out_channels, to + p * out.stride, out.past_caches);
        }
      }
    });
  }

 private:
  Conv3x3Shape shape_;
  int threads_;
  Strips strips_;
  FlatLines lines_;
  std::vector<Buffer<uint16_t>> tiles_;
  std::vector<Buffer<>> products_;
};

class AmxConv3x3Backward {
 public:
  AmxConv3x3Backward(const Conv3x3Shape& shape, int threads)
      : shape_(shape),
        threads_(threads),
        strips_(shape.extent, padded(shape.in_channels) + padded(shape.out_channels), kLeastPieces),
        d_lines_(strips_, padded(shape.out_channels)),
        weights_(3, 3 * padded(shape.out_channels), padded(shape.in_channels)),
        d_tiles_(buffers<uint16_t>(threads, d_lines_.all_values(strips_.max_height))),
        d_rows_(buffers<uint16_t>(threads, padded(shape.out_channels) * d_row(strips_.max_height))),
        tiles_(buffers<uint16_t>(threads, input_pixels(strips_.max_height) / 2 * pair_row())),
        d_inputs_(buffers(threads, input_pixels(strips_.max_height) * kColumns)) {}

  void run(const float* weights, const Rows& out, const Rows& d_out, const Correction& correction, const uint16_t* x,
           const Affine& affine, const float* mean, uint16_t* d_relu, OfParts<NormSums>& sums, float* d_weights_out) {
    const int out_channels = shape_.out_channels, in_channels = shape_.in_channels;
    const int padded_in = padded(in_channels), padded_out = padded(out_channels);
    const long image_width = shape_.extent.width;
    const auto weight = [=](int line, int kx_g, int k) {  // the kernel turned by 180 degrees
      const int kx = 2 - kx_g / padded_out, g = kx_g % padded_out;
      return k < in_channels && g < out_channels
                 ? weights[((static_cast<long>(g) * in_channels + k) * 3 + 2 - line) * 3 + kx]
                 : 0.0f;
    };
    weights_.pack(3, 3 * padded_out, padded_in, threads_, by_values(weight));
    const Parts parts = parts_for_sums(strips_.count(), shape_.extent.pixels());
    sums.begin(parts);
    d_weights_.begin(parts, weight_floats());
    parallel(threads_, parts, [&](const Part& mine) {
      const TileRegisters registers;
      const int thread = mine.thread;
      uint16_t *d_tile = d_tiles_[thread].get(), *d_transposed = d_rows_[thread].get(), *tile = tiles_[thread].get();
      float *d_inputs = d_inputs_[thread].get(), *d_weights = d_weights_.zeroed(mine);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const int height = strips_.height(strip);
        const long first = strips_.first_pixel(strip);
        d_lines_.fill(strips_, strip, d_tile, [&](int y, int column, uint16_t* to) {
          const long pixel = first + y * image_width + column;
          for (int g = 0; g < out_channels; g += kLanes) {
            const int lanes = out_channels - g;
            const Vec d = load_first(d_out.pixel(pixel) + g, lanes) + load(correction.constant.get() + g) +
                          load(correction.slope.get() + g) * load_first(out.pixel(pixel) + g, lanes);
            Bf16::store_values(to + g, d, kLanes);
          }
        });
        transpose(d_tile, padded_out, d_lines_.all_pixels(height), padded_out, d_transposed, d_row(height));
        interleave_inputs(x + first * padded_in, height, affine, tile);
        for (int column = 0; column < padded_in; column += kColumns) {
          const int columns = std::min(padded_in - column, kColumns);
          const RightTiles inputs = interleaved(tile + column * 2, pair_row(), input_pixels(height));
          for (int tap = 0; tap < 9; tap++) {
            const long offset = (2 - tap / 3) * d_lines_.pitch() + 2 - tap % 3;
            accumulate({d_transposed + offset, d_row(height), 0}, padded_out, inputs, columns,
                       d_weights + static_cast<long>(tap) * padded_out * padded_in + column, padded_in);
          }
        }
        for (int column = 0; column < padded_in; column += kColumns) {
          const int columns = std::min(padded_in - column, kColumns);
          multiply({d_tile, padded_out, d_lines_.line()}, d_lines_.pixels(height), weights_.tiles(column), columns,
                   d_inputs, kColumns);
          mask(d_inputs, column, columns, height, x + first * padded_in, affine, mean, d_relu + first * padded_in,
               sums[mine]);
        }
      }
    });
    const float* d_taps = d_weights_.add_up(threads_);
    parallel(threads_, Parts(out_channels), [&](const Part& outputs) {
      float* d_g = d_weights_out + outputs.begin * in_channels * 9;
      for (long g = outputs.begin; g < outputs.end; g++) {
        for (int k = 0; k < in_channels; k++) {
          for (long tap = 0; tap < 9; tap++) *d_g++ = d_taps[(tap * padded_out + g) * padded_in + k];
        }
      }
    });
  }

 private:
  static constexpr int kColumns = 2 * kTile;  // of a panel of inputs

  // Pixels of the strip's own lines, those between the lines too, in whole tile depths.
  long input_pixels(int height) const { return in_tile_depths(d_lines_.pixels(height)) * kTileDepth; }
  long pair_row() const { return tile_stride(2L * padded(shape_.in_channels)); }
  long d_row(int height) const { return tile_stride(d_lines_.all_pixels(height)); }
  long weight_floats() const { return 9L * padded(shape_.out_channels) * padded(shape_.in_channels); }

  // relu(affine(x)) of the strip's own lines, zero between them and behind them, pairs of pixels interleaved.
  void interleave_inputs(const uint16_t* x, int height, const Affine& affine, uint16_t* tile) const {
    const int padded_in = padded(shape_.in_channels);
    const long pitch = d_lines_.pitch(), pixels = d_lines_.pixels(height);
    long flat = 0, column = 0;
    const auto next = [&]() -> const uint16_t* {
      const bool is_pixel = flat++ < pixels && column + 1 < pitch;
      const uint16_t* pixel = is_pixel ? x : nullptr;
      column = column + 1 < pitch ? column + 1 : 0;
      if (is_pixel) x += padded_in;
      return pixel;
    };
    for (long pair = 0; pair < input_pixels(height) / 2; pair++, tile += pair_row()) {
      const uint16_t *first = next(), *second = next();
      for (int k = 0; k < padded_in; k += kLanes) {
        Bf16::interleave(tile + 2 * k, first ? normalised(first, affine, k) : Vec{},
                         second ? normalised(second, affine, k) : Vec{});
      }
    }
  }

  // `columns` channels from k on of the strip's pixels x: d_relu = their gradients where the ReLU's input was positive,
  // and their sums.
  void mask(const float* d_inputs, int k, int columns, int height, const uint16_t* x, const Affine& affine,
            const float* mean, uint16_t* d_relu, NormSums& sums) const {
    const int padded_in = padded(shape_.in_channels);
    Vec scale[2], offset[2], m[2], sum[2] = {}, centred[2] = {};
    for (int j = 0; j < columns / kLanes; j++) {
      scale[j] = load(affine.scale.get() + k + j * kLanes), offset[j] = load(affine.offset.get() + k + j * kLanes);
      m[j] = load_first(mean + k + j * kLanes, shape_.in_channels - k - j * kLanes);
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
      for (int column = 0; column < shape_.extent.width; column++, i += padded_in) {
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

  Conv3x3Shape shape_;
  int threads_;
  Strips strips_;
  FlatLines d_lines_;
  TileWeights weights_;
  std::vector<Buffer<uint16_t>> d_tiles_, d_rows_, tiles_;
  std::vector<Buffer<>> d_inputs_;
  SumsOfParts d_weights_;
};

}  // namespace densenet

#endif
