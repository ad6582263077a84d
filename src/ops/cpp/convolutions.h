// The forward convolutions of a dense layer, as products in vector registers.
#pragma once

#include <type_traits>

#include "dense_block.h"
#include "gemm.h"
#include "parallel.h"
#include "tiles.h"
#include "winograd.h"

namespace densenet {

// bottlenecks = conv1(relu(norm1(features)))
template <class Number>
class Conv1x1 {
  using Value = typename Number::Value;
  static constexpr bool kIsFloat = std::is_same_v<Value, float>;

 public:
  Conv1x1(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        weights_(1, block.out_channels(), padded(block.width)),
        tiles_(buffers<Value>(threads, Chunks::scratch_values(block.out_channels()))),
        products_(buffers(threads, kIsFloat ? 0 : Chunks::kMaxPixels * padded(block.width))) {}

  // moments: null, or of each thread, to which those of the bottlenecks are added.
  void run(int layer, const float* features, const Affine& affine, Value* bottlenecks, std::vector<Moments>* moments) {
    const int channels = block_.channels(layer), width = block_.width, wide = padded(width);
    const float* weights = block_.layers[layer].conv1;
    weights_.pack(1, channels, wide, threads_, [&](int, int c, int k) {
      return k < width ? weights[static_cast<long>(k) * channels + c] : 0.0f;
    });
    const Chunks chunks(block_.extent.pixels(), channels, threads_);
    const long stride = block_.stride(), tile_stride = scratch_stride(channels);
    parallel(threads_, [&](int thread) {
      Value* tile = tiles_[thread].get();
      const Range mine = share(chunks.count(), thread, threads_);
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        normalise_rows<Number>(features + first * stride, stride, rows, channels, affine, tile, tile_stride);
        float* products = products_[thread].get();
        if constexpr (kIsFloat) products = bottlenecks + first * wide;
        Prefetch ahead;
        if (chunk + 1 < mine.end) {
          ahead.add(features + chunks.first(chunk + 1) * stride, chunks.length(chunk + 1), 4L * channels, 4 * stride);
          ahead.start(tile_count(rows, wide));
        }
        multiply(tile, tile_stride, 0, static_cast<int>(rows), weights_, products, wide, &ahead);
        if (moments) (*moments)[thread].add(products, wide, rows, 0, wide);
        if constexpr (!kIsFloat) {
          for (long i = 0; i < rows * wide; i += kLanes) {
            Number::store_values(bottlenecks + first * wide + i, load(products + i), kLanes);
          }
        }
      }
    });
  }

 private:
  const DenseBlock& block_;
  int threads_;
  Panels<Number> weights_;
  std::vector<Buffer<Value>> tiles_;
  std::vector<Buffer<>> products_;  // where the bottlenecks are no floats
};

// features behind those of the layer's input = conv2(relu(norm2(bottlenecks)))
template <class Number>
class Conv3x3 {
  using Value = typename Number::Value;

 public:
  Conv3x3(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        pairs_(pair_count(block.extent.width)),
        // Of the bottlenecks; transformed they are twice as many. Strips half as high were not faster.
        strips_(block.extent, padded(block.width), threads),
        tiles_(buffers<Value>(threads, kProducts * tile_plane())),
        products_(buffers(threads, kProducts * products_plane())),
        lines_(buffers(threads, 2 * products_plane())) {
    for (int i = 0; i < kProducts; i++) weights_.emplace_back(3, padded(block.width), padded(block.growth));
  }

  void run(int layer, const Value* bottlenecks, const Affine& affine, float* features, std::vector<Moments>* moments) {
    const int growth = block_.growth, width = block_.width, wide = padded(width), columns = padded(growth);
    const float* weights = block_.layers[layer].conv2;
    for (int i = 0; i < kProducts; i++) {
      weights_[i].pack(3, wide, columns, threads_, [&](int ky, int k, int g) {
        const bool is_weight = k < width && g < growth;
        return is_weight ? transform_weights(weights + ((static_cast<long>(g) * width + k) * 3 + ky) * 3, i) : 0.0f;
      });
    }
    const long stride = block_.stride(), bytes = sizeof(Value) * wide;
    const int image_width = block_.extent.width;
    parallel(threads_, [&](int thread) {
      Value* tile = tiles_[thread].get();
      float *products = products_[thread].get(), *line = lines_[thread].get();
      const Range mine = share(strips_.count(), thread, threads_);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        fill_tile(bottlenecks, strip, affine, tile);
        float* out = features + strips_.first_pixel(strip) * stride + block_.channels(layer);
        Prefetch ahead;
        if (strip + 1 < mine.end) {
          ahead.add(bottlenecks + strips_.first_pixel(strip + 1) * wide, 1, strips_.pixels(strip + 1) * bytes, 0);
          ahead.start(kProducts * strips_.height(strip) * tile_count(pairs_, columns));
        }
        for (int y = 0; y < strips_.height(strip); y++) {
          for (int i = 0; i < kProducts; i++) {
            multiply(tile + i * tile_plane() + y * tile_line(), wide, tile_line(), pairs_, weights_[i],
                     products + i * products_plane(), columns, &ahead);
          }
          add_up(products, line);
          if (moments) (*moments)[thread].add(line, columns, image_width, 0, columns);
          for (int x = 0; x < image_width; x++, out += stride) {
            stream_floats(line + static_cast<long>(x) * columns, growth, out);
          }
        }
      }
    });
  }

 private:
  long tile_line() const { return static_cast<long>(pairs_) * padded(block_.width); }
  long tile_plane() const { return (strips_.max_height + 2) * tile_line(); }
  long products_plane() const { return static_cast<long>(pairs_) * padded(block_.growth); }

  // tile (kProducts, height + 2, pairs, padded(width of the bottlenecks)) = the transform of relu(affine(bottlenecks))
  // around the lines of a strip; zero outside of the image.
  void fill_tile(const Value* bottlenecks, long strip, const Affine& affine, Value* tile) const {
    const int wide = padded(block_.width);
    const auto emit = [&](Value* line, int pair, int k, const Products& inputs) {
      Value* out = line + static_cast<long>(pair) * wide + k;
      for (int i = 0; i < kProducts; i++) Number::store_values(out + i * tile_plane(), inputs.of[i], kLanes);
    };
    transform_strip<Number>(bottlenecks, wide, affine, strips_, strip, tile, {tile_line(), tile_plane()}, emit);
  }

  // products (kProducts, pairs, padded(growth)) into a line of outputs (2 * pairs, padded(growth)).
  void add_up(const float* products, float* line) const {
    const int columns = padded(block_.growth);
    for (int pair = 0; pair < pairs_; pair++, products += columns, line += 2L * columns) {
      for (int g = 0; g < columns; g += kLanes) {
        Products m;
        for (int i = 0; i < kProducts; i++) m.of[i] = load(products + i * products_plane() + g);
        store(line + g, first_output(m));
        store(line + columns + g, second_output(m));
      }
    }
  }

  const DenseBlock& block_;
  int threads_, pairs_;
  Strips strips_;
  std::vector<Panels<Number>> weights_;
  std::vector<Buffer<Value>> tiles_;
  std::vector<Buffer<>> products_, lines_;
};

}  // namespace densenet
