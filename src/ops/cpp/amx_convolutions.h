// The forward convolutions of a dense layer in bfloat16, as products of AMX's tiles.
//
// A tile's product takes so little time that Winograd's transforms would cost more than they save: the 3x3 convolution
// is computed as it is defined. The lines of a strip lie one after the other with one zero pixel before each, which
// pads both the line that it begins and the one that ends there. So the pixels that a tap of the kernel reads, for all
// outputs of the strip, are rows at one distance from each other, and the three taps of a line are one long row.
#pragma once

#ifdef __AMX_BF16__

#include <cstring>

#include "amx.h"
#include "convolutions.h"

namespace densenet {

// Pixels in runs of whole tile depths whose operands stay in the second-level cache, of equal numbers for the threads.
inline Chunks tile_chunks(long pixels, int channels, int threads) {
  constexpr long kValues = 131072, kMinPixels = 64, kMaxPixels = 512;
  const long largest = std::clamp(kValues / padded(channels), kMinPixels, kMaxPixels);
  const long count = ((pixels + largest - 1) / largest + threads - 1) / threads * threads;
  return Chunks(pixels, in_tile_depths((pixels + count - 1) / count) * kTileDepth);
}

// The largest of value(channels, pixels of a chunk) over the layers of a block.
template <class Value>
size_t largest_of_layers(const DenseBlock& block, int threads, const Value& value) {
  size_t largest = 0;
  for (int i = 0; i < block.count(); i++) {
    const Chunks chunks = tile_chunks(block.extent.pixels(), block.channels(i), threads);
    largest = std::max(largest, static_cast<size_t>(value(block.channels(i), chunks.size)));
  }
  return largest;
}

// Left tiles: relu(affine(x)) of `rows` pixels, zero from `channels` to whole tile depths, whatever x has there.
inline void normalise_tiles(const float* x, long x_stride, long rows, int channels, const Affine& affine, uint16_t* out,
                            long out_stride) {
  const int whole = channels / kTileDepth * kTileDepth;
  const auto first_of = [&](int c) {
    if (c >= channels) return Vec{};
    return relu(load_first(x + c, channels - c) * load(affine.scale.get() + c) + load(affine.offset.get() + c));
  };
  for (long row = 0; row < rows; row++, x += x_stride, out += out_stride) {
    for (int c = 0; c < whole; c += kTileDepth) {
      fetch_ahead(x + c, x_stride);
      fetch_ahead(x + c + kLanes, x_stride);
      Bf16::store_values(out + c, normalised(x, affine, c), normalised(x, affine, c + kLanes));
    }
    if (whole < channels) Bf16::store_values(out + whole, first_of(whole), first_of(whole + kLanes));
  }
}

template <>
class Conv1x1<Bf16> {
 public:
  Conv1x1(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        weights_(1, block.out_channels(), padded(block.width)),
        tiles_(buffers<uint16_t>(threads, largest_of_layers(block, threads, [](int channels, long pixels) {
          return pixels * tile_stride(channels);
        }))),
        products_(buffers(threads, largest_of_layers(block, threads, [&](int, long pixels) {
          return pixels * padded(block.width);
        }))) {
    request_tiles();
  }

  void run(int layer, const float* features, const Affine& affine, uint16_t* bottlenecks,
           std::vector<Moments>* moments) {
    const int channels = block_.channels(layer), width = block_.width, wide = padded(width);
    const float* weights = block_.layers[layer].conv1;
    weights_.pack(1, channels, wide, threads_, [&](int, int c, int k) {
      return k < width ? weights[static_cast<long>(k) * channels + c] : 0.0f;
    });
    const Chunks chunks = tile_chunks(block_.extent.pixels(), channels, threads_);
    const long stride = block_.stride(), row = tile_stride(channels);
    parallel(threads_, [&](int thread) {
      const TileRegisters registers;
      uint16_t* tile = tiles_[thread].get();
      float* products = products_[thread].get();
      const Range mine = share(chunks.count(), thread, threads_);
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        normalise_tiles(features + first * stride, stride, rows, channels, affine, tile, row);
        multiply({tile, row, 0}, rows, weights_.tiles(), wide, products, wide);
        if (moments) (*moments)[thread].add(products, wide, rows, 0, wide);
        stream_values(products, rows * wide, bottlenecks + first * wide);
      }
    });
  }

 private:
  // `count` floats, a multiple of kLanes, as bfloat16.
  static void stream_values(const float* from, long count, uint16_t* to) {
    long i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
      Bf16::stream_values(to + i, load(from + i), load(from + i + kLanes));
    }
    if (i < count) Bf16::store_values(to + i, load(from + i), kLanes);
  }

  const DenseBlock& block_;
  int threads_;
  TileWeights weights_;
  std::vector<Buffer<uint16_t>> tiles_;
  std::vector<Buffer<>> products_;
};

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

template <>
class Conv3x3<Bf16> {
 public:
  Conv3x3(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        strips_(block.extent, padded(block.width), threads),
        lines_(strips_, padded(block.width)),
        weights_(3, 3 * padded(block.width), padded(block.growth)),
        tiles_(buffers<uint16_t>(threads, lines_.all_values(strips_.max_height))),
        products_(buffers(threads, lines_.all_pixels(strips_.max_height) * padded(block.growth))) {}

  void run(int layer, const uint16_t* bottlenecks, const Affine& affine, float* features,
           std::vector<Moments>* moments) {
    const int growth = block_.growth, width = block_.width, wide = padded(width), columns = padded(growth);
    const float* weights = block_.layers[layer].conv2;
    weights_.pack(3, 3 * wide, columns, threads_, [&](int ky, int kx_k, int g) {
      const int kx = kx_k / wide, k = kx_k % wide;
      return k < width && g < growth ? weights[((static_cast<long>(g) * width + k) * 3 + ky) * 3 + kx] : 0.0f;
    });
    const long stride = block_.stride(), image_width = block_.extent.width;
    parallel(threads_, [&](int thread) {
      const TileRegisters registers;
      uint16_t* tile = tiles_[thread].get();
      float* products = products_[thread].get();
      const Range mine = share(strips_.count(), thread, threads_);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const int height = strips_.height(strip);
        const long first = strips_.first_pixel(strip), pixels = strips_.pixels(strip);
        lines_.fill(strips_, strip, tile, [&](int y, int x, uint16_t* out) {
          const uint16_t* in = bottlenecks + (first + y * image_width + x) * wide;
          for (int k = 0; k < wide; k += kLanes) Bf16::store_values(out + k, normalised(in, affine, k), kLanes);
        });
        multiply({tile, wide, lines_.line()}, lines_.pixels(height), weights_.tiles(), columns, products, columns);
        for (int y = 1; y < height; y++) {  // leave out what is between the lines
          std::memmove(products + y * image_width * columns, products + lines_.pixels(y) * columns,
                       sizeof(float) * image_width * columns);
        }
        if (moments) (*moments)[thread].add(products, columns, pixels, 0, columns);
        float* out = features + first * stride + block_.channels(layer);
        for (long p = 0; p < pixels; p++) stream_floats(products + p * columns, growth, out + p * stride);
      }
    });
  }

 private:
  const DenseBlock& block_;
  int threads_;
  Strips strips_;
  FlatLines lines_;
  TileWeights weights_;
  std::vector<Buffer<uint16_t>> tiles_;
  std::vector<Buffer<>> products_;
};

}  // namespace densenet

#endif
