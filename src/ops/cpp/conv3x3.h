// The 3x3 convolution of a dense layer, forward and backward, as products in vector registers of Winograd's transforms.
#pragma once

#include "dense_block.h"
#include "gemm.h"
#include "parallel.h"
#include "tiles.h"
#include "winograd.h"

namespace densenet {

// features behind those of the layer's input = conv2(relu(norm2(bottlenecks)))
template <class Number>
class Conv3x3 {
  using Value = typename Number::Value;

 public:
  Conv3x3(const DenseBlock& block, int threads, int least_pieces)
      : block_(block),
        threads_(threads),
        pairs_(pair_count(block.extent.width)),
        transformed_(block.growth, block.width),
        // Of the bottlenecks; transformed they are twice as many. Strips half as high were not faster.
        strips_(block.extent, padded(block.width), least_pieces),
        tiles_(buffers<Value>(threads, kProducts * tile_plane())),
        products_(buffers(threads, kProducts * products_plane())),
        lines_(buffers(threads, 2 * products_plane())) {
    for (int i = 0; i < kProducts; i++) weights_.emplace_back(3, padded(block.width), padded(block.growth));
  }

  void run(int layer, const Value* bottlenecks, const Affine& affine, float* features, OfParts<Moments>* moments) {
    const int growth = block_.growth, wide = padded(block_.width), columns = padded(growth);
    transformed_.fill(block_.layers[layer].conv2, threads_);
    for (int i = 0; i < kProducts; i++) {
      weights_[i].pack(3, wide, columns, threads_,
                       ByColumns{[&, i](int ky, int g, int k) { return transformed_.load(i, ky, g, k); }});
    }
    const long stride = block_.stride(), bytes = sizeof(Value) * wide;
    const int image_width = block_.extent.width;
    const Parts parts(strips_.count());
    if (moments) moments->begin(parts);
    parallel(threads_, parts, [&](const Part& mine) {
      Value* tile = tiles_[mine.thread].get();
      float *products = products_[mine.thread].get(), *line = lines_[mine.thread].get();
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
          if (moments) (*moments)[mine].add(line, columns, image_width, 0, columns);
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
  TransformedWeights transformed_;
  Strips strips_;
  std::vector<Panels<Number>> weights_;
  std::vector<Buffer<Value>> tiles_;
  std::vector<Buffer<>> products_, lines_;
};

// Backward through conv2(relu(norm2(bottlenecks))).
template <class Number>
class Conv3x3Backward {
  using Value = typename Number::Value;
  static constexpr int kDepth = Number::kDepth;

 public:
  Conv3x3Backward(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        pairs_(pair_count(block.extent.width)),
        transformed_(block.growth, block.width),
        // Of the bottlenecks and the gradients; transformed they are twice as many, as in the forward pass.
        strips_(block.extent, padded(block.width) + block.growth, kLeastPieces),
        tiles_(buffers<Value>(threads, kProducts * tile_plane())),
        d_tiles_(buffers<Value>(threads, kProducts * d_plane() + kDepth)),
        d_steps_(buffers<Value>(threads, kDepth > 1 ? kProducts * d_steps_plane() : 0)),
        d_inputs_(buffers(threads, kProducts * d_inputs_plane())) {
    for (int i = 0; i < kProducts; i++) weights_.emplace_back(3, block.growth, padded(block.width));
  }

  // d_features (P, stride) and, for what later normalisations add to it, correction * features. Out: d_relu
  // (P, padded(width)), the gradient of norm2's output, its sums of each part, and d_conv2.
  void run(int layer, const float* features, const float* d_features, const Correction& correction,
           const Value* bottlenecks, const Affine& affine, const float* mean, Value* d_relu, OfParts<NormSums>& sums,
           float* d_conv2) {
    const int growth = block_.growth, width = block_.width, wide = padded(width), image_width = block_.extent.width;
    transformed_.fill(block_.layers[layer].conv2, threads_);
    for (int i = 0; i < kProducts; i++) {  // the lines of the kernel from the last to the first
      weights_[i].pack(3, growth, wide, threads_,
                       ByRows{[&, i](int line, int g, int k) { return transformed_.load(i, 2 - line, g, k); }});
    }
    const Parts parts = parts_for_sums(strips_.count(), block_.extent.pixels());
    sums.begin(parts);
    d_weights_.begin(parts, weight_floats());
    parallel(threads_, parts, [&](const Part& mine) {
      const int thread = mine.thread;
      Value *tile = tiles_[thread].get(), *d_tile = d_tiles_[thread].get();
      float *d_weights = d_weights_.zeroed(mine), *d_inputs = d_inputs_[thread].get();
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const int height = strips_.height(strip);
        fill_tile(bottlenecks, strip, affine, tile);
        const auto gradient = [&](int y, int x, int g) {
          const long pixel = strips_.first_pixel(strip) + y * image_width + x;
          const long i = pixel * block_.stride() + block_.channels(layer) + g;
          const int lanes = growth - g;
          return load_first(d_features + i, lanes) + load(correction.constant.get() + g) +
                 load(correction.slope.get() + g) * load_first(features + i, lanes);
        };
        const auto d_products = [&](int y, int pair, int g) {
          const int x = 2 * pair;
          return gradients_of_products(gradient(y, x, g), x + 1 < image_width ? gradient(y, x + 1, g) : Vec{});
        };
        fill_gradient_tile(strip, d_products, d_tile);
        const Value* d_steps = kDepth > 1 ? d_steps_[thread].get() : d_tile + d_line();
        if constexpr (kDepth > 1) interleave_gradients(height, d_products, d_steps_[thread].get());
        for (int i = 0; i < kProducts; i++) {
          for (int ky = 0; ky < 3; ky++) {
            const Pixels<Number> d_pixels{d_steps + i * d_steps_plane(), d_step(), d_steps_line()};
            const Pixels<Number> inputs{tile + i * tile_plane() + ky * tile_line(), 1L * wide * kDepth, tile_line()};
            accumulate<Number>(d_pixels, growth, inputs, wide, steps<Number>(pairs_), height,
                               d_weights + (3L * i + ky) * growth * wide);
          }
        }
        Prefetch ahead;
        if (strip + 1 < mine.end) {
          const long next = strips_.first_pixel(strip + 1), count = strips_.pixels(strip + 1), bytes = 4L * growth;
          ahead.add(bottlenecks + next * wide, 1, count * wide * static_cast<long>(sizeof(Value)), 0);
          ahead.add(features + next * block_.stride() + block_.channels(layer), count, bytes, 4L * block_.stride());
          ahead.add(d_features + next * block_.stride() + block_.channels(layer), count, bytes, 4L * block_.stride());
          ahead.start(kProducts * height * tile_count(pairs_, wide));
        }
        for (int panel = 0; panel < weights_[0].count(); panel++) {
          const int column = weights_[0].first_column(panel), lanes = weights_[0].vectors(panel) * kLanes;
          for (int y = 0; y < height; y++) {
            for (int i = 0; i < kProducts; i++) {
              multiply(d_tile + i * d_plane() + y * d_line(), growth, d_line(), pairs_, weights_[i], panel,
                       d_inputs + i * d_inputs_plane(), lanes, &ahead);
            }
            const long first = (strips_.first_pixel(strip) + static_cast<long>(y) * image_width) * wide;
            mask(d_inputs, column, lanes, bottlenecks + first, affine, mean, d_relu + first, sums[mine]);
          }
        }
      }
    });
    const float* d_transformed = d_weights_.add_up(threads_);
    parallel(threads_, Parts(growth), [&](const Part& outputs) {
      float* d_g = d_conv2 + outputs.begin * width * 9;
      for (long g = outputs.begin; g < outputs.end; g++) {
        for (int k = 0; k < width; k++) {
          for (int ky = 0; ky < 3; ky++, d_g += 3) {
            float d[kProducts];
            for (int i = 0; i < kProducts; i++) d[i] = d_transformed[((3L * i + ky) * growth + g) * wide + k];
            transform_weights_back(d, d_g);
          }
        }
      }
    });
  }

 private:
  // Of a tile (kProducts, height + 2, steps of pairs, padded(width), kDepth): relu(affine(bottlenecks)), transformed.
  long tile_line() const { return static_cast<long>(steps<Number>(pairs_)) * kDepth * padded(block_.width); }
  long tile_plane() const { return (strips_.max_height + 2) * tile_line(); }
  // Of a tile (kProducts, height + 2, pairs, growth): gradients of the products of inputs and weights.
  long d_line() const { return static_cast<long>(pairs_) * block_.growth; }
  long d_plane() const { return (strips_.max_height + 2) * d_line(); }
  // The same inside of the strip as operand of `accumulate`, which for one value a step is the tile itself.
  long d_step() const { return kDepth == 1 ? block_.growth : static_cast<long>(padded(block_.growth)) * kDepth; }
  long d_steps_line() const { return kDepth == 1 ? d_line() : steps<Number>(pairs_) * d_step(); }
  long d_steps_plane() const { return kDepth == 1 ? d_plane() : strips_.max_height * d_steps_line(); }
  // Of (kProducts, pairs, columns of a panel): gradients of a line of transformed inputs.
  long d_inputs_plane() const { return static_cast<long>(pairs_) * kMaxVectors * kLanes; }
  long weight_floats() const { return 3L * kProducts * block_.growth * padded(block_.width); }

  // The transform of relu(affine(bottlenecks)) around the lines of a strip, zero outside of the image, with kDepth
  // pairs interleaved.
  void fill_tile(const Value* bottlenecks, long strip, const Affine& affine, Value* tile) const {
    const int wide = padded(block_.width);
    Products before{};
    const auto emit = [&](Value* line, int pair, int k, const Products& inputs) {
      const bool is_first = pair % kDepth == 0;
      if (kDepth > 1 && is_first && pair + 1 < pairs_) {
        before = inputs;
        return;
      }
      Value* out = line + (static_cast<long>(pair / kDepth) * wide + k) * kDepth;
      for (int i = 0; i < kProducts; i++) {
        const Vec second = is_first ? Vec{} : inputs.of[i];
        Number::interleave(out + i * tile_plane(), is_first ? inputs.of[i] : before.of[i], second);
      }
    };
    transform_strip<Number>(bottlenecks, wide, affine, strips_, strip, tile, {tile_line(), tile_plane()}, emit);
  }

  // d_products(y, pair, g) around a strip, zero outside of the image. The value behind the tile's end may be read, for
  // a weight of zero.
  template <class ProductsAt>
  void fill_gradient_tile(long strip, const ProductsAt& d_products, Value* d_tile) const {
    const int growth = block_.growth, first = strips_.first(strip);
    std::fill_n(d_tile + kProducts * d_plane(), kDepth, Value{});
    for (int y = -1; y <= strips_.height(strip); y++, d_tile += d_line()) {
      const bool is_inside = first + y >= 0 && first + y < block_.extent.height;
      for (int pair = 0; pair < pairs_; pair++) {
        for (int g = 0; g < growth; g += kLanes) {
          const Products d = is_inside ? d_products(y, pair, g) : Products{};
          for (int i = 0; i < kProducts; i++) {
            Number::store_values(d_tile + i * d_plane() + static_cast<long>(pair) * growth + g, d.of[i], growth - g);
          }
        }
      }
    }
  }

  // d_products(y, pair, g) inside of a strip, kDepth pairs interleaved.
  template <class ProductsAt>
  void interleave_gradients(int height, const ProductsAt& d_products, Value* d_steps) const {
    for (int y = 0; y < height; y++, d_steps += d_steps_line()) {
      in_steps<Number>(
          0, pairs_, block_.growth,
          [&](long pair) { return [&, pair](int g) { return d_products(y, static_cast<int>(pair), g); }; },
          [&](long step, int g, const Products& first, const Products& second) {
            Value* out = d_steps + step * d_step() + g * kDepth;
            for (int i = 0; i < kProducts; i++) {
              Number::interleave(out + i * d_steps_plane(), first.of[i], second.of[i]);
            }
          });
    }
  }

  // One line of pixels, `lanes` channels of them from `column` on: from the gradients of the transformed inputs those
  // of the inputs, d_relu = these where the ReLU's input was positive, and their sums.
  void mask(const float* d_inputs, int column, int lanes, const Value* x, const Affine& affine, const float* mean,
            Value* d_relu, NormSums& sums) const {
    const int wide = padded(block_.width);
    for (int j = 0; j < lanes; j += kLanes) {
      const int k = column + j;
      const Vec scale = load(affine.scale.get() + k), offset = load(affine.offset.get() + k);
      const Vec m = load_first(mean + k, block_.width - k);
      Vec sum{}, centred{};
      const auto add = [&](int p, Vec d) {
        const Vec value = load_values(x + static_cast<long>(p) * wide + k);
        const Vec masked = where_positive(value * scale + offset, d);
        Number::stream_values(d_relu + static_cast<long>(p) * wide + k, masked);
        sum += masked;
        centred += masked * (value - m);
      };
      Vec before{};
      for (int pair = 0; pair < pairs_; pair++) {
        const float* at = d_inputs + static_cast<long>(pair) * lanes + j;
        Products d;
        for (int i = 0; i < kProducts; i++) d.of[i] = load(at + i * d_inputs_plane());
        Vec even, odd;
        transform_back(d, before, pair + 1 < pairs_ ? load(at + lanes) : Vec{}, even, odd);
        add(2 * pair, even);
        if (2 * pair + 1 < block_.extent.width) add(2 * pair + 1, odd);
        before = d.of[3];
      }
      sums.add(k, sum, centred);
    }
  }

  const DenseBlock& block_;
  int threads_, pairs_;
  TransformedWeights transformed_;
  Strips strips_;
  std::vector<Panels<Number>> weights_;
  std::vector<Buffer<Value>> tiles_, d_tiles_, d_steps_;
  std::vector<Buffer<>> d_inputs_;
  SumsOfParts d_weights_;
};

}  // namespace densenet
