// The 3x3 convolution, forward and backward, as products in vector registers of Winograd's transforms.
#pragma once

#include "base/parallel.h"
#include "base/tiles.h"
#include "convolutions/conv3x3_shape.h"
#include "convolutions/winograd.h"
#include "map/dropout.h"
#include "products/register_tiles.h"

namespace densenet {

// out = conv(relu(affine(x)))
template <class Number>
class WinogradConv3x3 {
  using Value = typename Number::Value;

 public:
  // Transformed weights in the order of the products.
  class Weights {
   public:
    Weights(int in_channels, int out_channels) : in_channels_(in_channels), out_channels_(out_channels) {
      for (int i = 0; i < kProducts; i++) panels_.emplace_back(3, padded(in_channels), padded(out_channels));
    }
    // weights: (out_channels, in_channels, 3, 3).
    void pack(const float* weights, int threads) {
      TransformedWeights transformed(out_channels_, in_channels_);
      transformed.fill(weights, threads);
      for (int i = 0; i < kProducts; i++) {
        panels_[i].pack(3, padded(in_channels_), padded(out_channels_), threads,
                        ByColumns{[&, i](int ky, int g, int k) { return transformed.load(i, ky, g, k); }});
      }
    }
    const Panels<Number>& operator[](int product) const { return panels_[product]; }

   private:
    int in_channels_, out_channels_;
    std::vector<Panels<Number>> panels_;
  };

  WinogradConv3x3(const Conv3x3Shape& shape, int threads, int least_pieces)
      : shape_(shape),
        threads_(threads),
        pairs_(pair_count(shape.extent.width)),
        // Of the inputs; transformed they are twice as many. Strips half as high were not faster.
        strips_(shape.extent, padded(shape.in_channels), least_pieces),
        tiles_(buffers<Value>(threads, kProducts * tile_plane())),
        products_(buffers(threads, kProducts * products_plane())),
        lines_(buffers(threads, 2 * products_plane())) {}

  // x: (P, padded(in_channels)). out: rows of out_channels floats, of which some are dropped and whose moments are
  // taken unless that is null.
  void run(const Weights& weights, const Value* x, const Affine& affine, const MutableRows& out, const DropMask* drop,
           OfParts<Moments>* moments) const {
    const int out_channels = shape_.out_channels, padded_out = padded(out_channels);
    const int padded_in = padded(shape_.in_channels);
    const long bytes = sizeof(Value) * padded_in;
    const int image_width = shape_.extent.width;
    const Parts parts(strips_.count());
    if (moments) moments->begin(parts);
    parallel(threads_, parts, [&](const Part& mine) {
      Value* tile = tiles_[mine.thread].get();
      float *products = products_[mine.thread].get(), *line = lines_[mine.thread].get();
      for (long strip = mine.begin; strip < mine.end; strip++) {
        fill_tile(x, strip, affine, tile);
        float* to = out.data + strips_.first_pixel(strip) * out.stride;
        Prefetch ahead;
        if (strip + 1 < strips_.count()) {  // also that of the next part, which this thread mostly takes
          ahead.add(x + strips_.first_pixel(strip + 1) * padded_in, 1, strips_.pixels(strip + 1) * bytes, 0);
          ahead.start(kProducts * strips_.height(strip) * tile_count(pairs_, padded_out));
        }
        for (int y = 0; y < strips_.height(strip); y++) {
          for (int i = 0; i < kProducts; i++) {
            multiply(tile + i * tile_plane() + y * tile_line(), padded_in, tile_line(), pairs_, weights[i],
                     products + i * products_plane(), padded_out, &ahead);
          }
          add_up(products, line);
          if (drop) drop->apply(line, padded_out, strips_.first_pixel(strip) + 1L * y * image_width, image_width);
          if (moments) (*moments)[mine].add(line, padded_out, image_width, 0, padded_out);
          for (int column = 0; column < image_width; column++, to += out.stride) {
            put_floats(line + static_cast<long>(column) * padded_out, out_channels, to, out.past_caches);
          }
        }
      }
    });
  }

 private:
  long tile_line() const { return static_cast<long>(pairs_) * padded(shape_.in_channels); }
  long tile_plane() const { return (strips_.max_height + 2) * tile_line(); }
  long products_plane() const { return static_cast<long>(pairs_) * padded(shape_.out_channels); }

  // tile (kProducts, height + 2, pairs, padded(in_channels)) = the transform of relu(affine(x))
  // around the lines of a strip; zero outside of the image.
  void fill_tile(const Value* x, long strip, const Affine& affine, Value* tile) const {
    const int padded_in = padded(shape_.in_channels);
    const auto emit = [&](Value* line, int pair, int k, const FourProducts& inputs) {
      Value* out = line + static_cast<long>(pair) * padded_in + k;
      for (int i = 0; i < kProducts; i++) Number::store_values(out + i * tile_plane(), inputs.of[i], kLanes);
    };
    transform_strip<Number>(x, padded_in, affine, strips_, strip, tile, {tile_line(), tile_plane()}, emit);
  }

  // products (kProducts, pairs, padded(out_channels)) into a line of outputs (2 * pairs, padded(out_channels)).
  void add_up(const float* products, float* line) const {
    const int padded_out = padded(shape_.out_channels);
    for (int pair = 0; pair < pairs_; pair++, products += padded_out, line += 2L * padded_out) {
      for (int g = 0; g < padded_out; g += kLanes) {
        FourProducts m;
        for (int i = 0; i < kProducts; i++) m.of[i] = load(products + i * products_plane() + g);
        store(line + g, first_output(m));
        store(line + padded_out + g, second_output(m));
      }
    }
  }

  Conv3x3Shape shape_;
  int threads_, pairs_;
  Strips strips_;
  std::vector<Buffer<Value>> tiles_;
  std::vector<Buffer<>> products_, lines_;
};

// Backward through conv(relu(affine(x))).
template <class Number>
class WinogradConv3x3Backward {
  using Value = typename Number::Value;
  static constexpr int kDepth = Number::kDepth;

 public:
  WinogradConv3x3Backward(const Conv3x3Shape& shape, int threads)
      : shape_(shape),
        threads_(threads),
        pairs_(pair_count(shape.extent.width)),
        transformed_(shape.out_channels, shape.in_channels),
        // Of the inputs and the gradients; transformed they are twice as many, as in the forward pass.
        strips_(shape.extent, padded(shape.in_channels) + shape.out_channels, kLeastPieces),
        tiles_(buffers<Value>(threads, kProducts * tile_plane())),
        d_tiles_(buffers<Value>(threads, kProducts * d_plane() + kDepth)),
        d_steps_(buffers<Value>(threads, kDepth > 1 ? kProducts * d_steps_plane() : 0)),
        d_inputs_(buffers(threads, kProducts * d_inputs_plane())) {
    for (int i = 0; i < kProducts; i++) weights_.emplace_back(3, shape.out_channels, padded(shape.in_channels));
  }

  // out, d_out: rows of out_channels floats, and for what later normalisations add to d_out, correction * out. Makes
  // d_relu (P, padded(in_channels)), the gradient of what the ReLU gives, its sums of each part, and d_weights.
  void run(const float* weights, const Rows& out, const Rows& d_out, const Correction& correction, const Value* x,
           const Affine& affine, const float* mean, Value* d_relu, OfParts<NormSums>& sums, float* d_weights_out) {
    const int out_channels = shape_.out_channels, in_channels = shape_.in_channels, padded_in = padded(in_channels);
    const int image_width = shape_.extent.width;
    transformed_.fill(weights, threads_);
    for (int i = 0; i < kProducts; i++) {  // the lines of the kernel from the last to the first
      weights_[i].pack(3, out_channels, padded_in, threads_,
                       ByRows{[&, i](int line, int g, int k) { return transformed_.load(i, 2 - line, g, k); }});
    }
    const Parts parts = parts_for_sums(strips_.count(), shape_.extent.pixels());
    sums.begin(parts);
    d_weights_.begin(parts, weight_floats());
    parallel(threads_, parts, [&](const Part& mine) {
      const int thread = mine.thread;
      Value *tile = tiles_[thread].get(), *d_tile = d_tiles_[thread].get();
      float *d_weights = d_weights_.zeroed(mine), *d_inputs = d_inputs_[thread].get();
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const int height = strips_.height(strip);
        fill_tile(x, strip, affine, tile);
        const auto gradient = [&](int y, int column, int g) {
          const long pixel = strips_.first_pixel(strip) + y * image_width + column;
          const int lanes = out_channels - g;
          constexpr long kAhead = 12;  // pixels; one cache line of each is read
          fetch_ahead(d_out.pixel(pixel) + g, d_out.stride, kAhead);
          fetch_ahead(out.pixel(pixel) + g, out.stride, kAhead);
          return load_first(d_out.pixel(pixel) + g, lanes) + load(correction.constant.get() + g) +
                 load(correction.slope.get() + g) * load_first(out.pixel(pixel) + g, lanes);
        };
        const auto d_products = [&](int y, int pair, int g) {
          const int column = 2 * pair;
          return gradients_of_products(gradient(y, column, g),
                                       column + 1 < image_width ? gradient(y, column + 1, g) : Vec{});
        };
        fill_gradient_tile(strip, d_products, d_tile);
        const Value* d_steps = kDepth > 1 ? d_steps_[thread].get() : d_tile + d_line();
        if constexpr (kDepth > 1) interleave_gradients(height, d_products, d_steps_[thread].get());
        for (int i = 0; i < kProducts; i++) {
          for (int ky = 0; ky < 3; ky++) {
            const Pixels<Number> d_pixels{d_steps + i * d_steps_plane(), d_step(), d_steps_line()};
            const Pixels<Number> inputs{tile + i * tile_plane() + ky * tile_line(), 1L * padded_in * kDepth,
                                        tile_line()};
            accumulate<Number>(d_pixels, out_channels, inputs, padded_in, depth_steps<Number>(pairs_), height,
                               d_weights + (3L * i + ky) * out_channels * padded_in);
          }
        }
        Prefetch ahead;
        if (strip + 1 < strips_.count()) {
          const long next = strips_.first_pixel(strip + 1), count = strips_.pixels(strip + 1),
                     bytes = 4L * out_channels;
          ahead.add(x + next * padded_in, 1, count * padded_in * static_cast<long>(sizeof(Value)), 0);
          ahead.add(out.pixel(next), count, bytes, 4L * out.stride);
          ahead.add(d_out.pixel(next), count, bytes, 4L * d_out.stride);
          ahead.start(kProducts * height * tile_count(pairs_, padded_in));
        }
        for (int panel = 0; panel < weights_[0].count(); panel++) {
          const int column = weights_[0].first_column(panel), lanes = weights_[0].vectors(panel) * kLanes;
          for (int y = 0; y < height; y++) {
            for (int i = 0; i < kProducts; i++) {
              multiply(d_tile + i * d_plane() + y * d_line(), out_channels, d_line(), pairs_, weights_[i], panel,
                       d_inputs + i * d_inputs_plane(), lanes, &ahead);
            }
            const long first = (strips_.first_pixel(strip) + static_cast<long>(y) * image_width) * padded_in;
            mask(d_inputs, column, lanes, x + first, affine, mean, d_relu + first, sums[mine]);
          }
        }
      }
    });
    const float* d_transformed = d_weights_.add_up(threads_);
    parallel(threads_, Parts(out_channels), [&](const Part& outputs) {
      float* d_g = d_weights_out + outputs.begin * in_channels * 9;
      for (long g = outputs.begin; g < outputs.end; g++) {
        for (int k = 0; k < in_channels; k++) {
          for (int ky = 0; ky < 3; ky++, d_g += 3) {
            float d[kProducts];
            for (int i = 0; i < kProducts; i++)
              d[i] = d_transformed[((3L * i + ky) * out_channels + g) * padded_in + k];
            transform_weights_back(d, d_g);
          }
        }
      }
    });
  }

 private:
  // Of a tile (kProducts, height + 2, steps of pairs, padded(in_channels), kDepth): relu(affine(x)), transformed.
  long tile_line() const {
    return static_cast<long>(depth_steps<Number>(pairs_)) * kDepth * padded(shape_.in_channels);
  }
  long tile_plane() const { return (strips_.max_height + 2) * tile_line(); }
  // Of a tile (kProducts, height + 2, pairs, out_channels): gradients of the products of inputs and weights.
  long d_line() const { return static_cast<long>(pairs_) * shape_.out_channels; }
  long d_plane() const { return (strips_.max_height + 2) * d_line(); }
  // The same inside of the strip as operand of `accumulate`, which for one value a step is the tile itself.
  long d_step() const {
    return kDepth == 1 ? shape_.out_channels : static_cast<long>(padded(shape_.out_channels)) * kDepth;
  }
  long d_steps_line() const { return kDepth == 1 ? d_line() : depth_steps<Number>(pairs_) * d_step(); }
  long d_steps_plane() const { return kDepth == 1 ? d_plane() : strips_.max_height * d_steps_line(); }
  // Of (kProducts, pairs, columns of a panel): gradients of a line of transformed inputs.
  long d_inputs_plane() const { return static_cast<long>(pairs_) * kMaxVectors * kLanes; }
  long weight_floats() const { return 3L * kProducts * shape_.out_channels * padded(shape_.in_channels); }

  // The transform of relu(affine(x)) around the lines of a strip, zero outside of the image, with kDepth
  // pairs interleaved.
  void fill_tile(const Value* x, long strip, const Affine& affine, Value* tile) const {
    const int padded_in = padded(shape_.in_channels);
    FourProducts before{};
    const auto emit = [&](Value* line, int pair, int k, const FourProducts& inputs) {
      const bool is_first = pair % kDepth == 0;
      if (kDepth > 1 && is_first && pair + 1 < pairs_) {
        before = inputs;
        return;
      }
      Value* out = line + (static_cast<long>(pair / kDepth) * padded_in + k) * kDepth;
      for (int i = 0; i < kProducts; i++) {
        const Vec second = is_first ? Vec{} : inputs.of[i];
        Number::interleave(out + i * tile_plane(), is_first ? inputs.of[i] : before.of[i], second);
      }
    };
    transform_strip<Number>(x, padded_in, affine, strips_, strip, tile, {tile_line(), tile_plane()}, emit);
  }

  // d_products(y, pair, g) around a strip, zero outside of the image. The value behind the tile's end may be read, for
  // a weight of zero.
  template <class ProductsAt>
  void fill_gradient_tile(long strip, const ProductsAt& d_products, Value* d_tile) const {
    const int out_channels = shape_.out_channels, first = strips_.first(strip);
    std::fill_n(d_tile + kProducts * d_plane(), kDepth, Value{});
    for (int y = -1; y <= strips_.height(strip); y++, d_tile += d_line()) {
      const bool is_inside = first + y >= 0 && first + y < shape_.extent.height;
      for (int pair = 0; pair < pairs_; pair++) {
        for (int g = 0; g < out_channels; g += kLanes) {
          const FourProducts d = is_inside ? d_products(y, pair, g) : FourProducts{};
          for (int i = 0; i < kProducts; i++) {
            Number::store_values(d_tile + i * d_plane() + static_cast<long>(pair) * out_channels + g, d.of[i],
                                 out_channels - g);
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
          0, pairs_, shape_.out_channels,
          [&](long pair) { return [&, pair](int g) { return d_products(y, static_cast<int>(pair), g); }; },
          [&](long step, int g, const FourProducts& first, const FourProducts& second) {
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
    const int padded_in = padded(shape_.in_channels);
    for (int j = 0; j < lanes; j += kLanes) {
      const int k = column + j;
      const Vec scale = load(affine.scale.get() + k), offset = load(affine.offset.get() + k);
      const Vec m = load_first(mean + k, shape_.in_channels - k);
      Vec sum{}, centred{};
      const auto add = [&](int p, Vec d) {
        const Vec value = load_values(x + static_cast<long>(p) * padded_in + k);
        const Vec masked = where_positive(value * scale + offset, d);
        Number::stream_values(d_relu + static_cast<long>(p) * padded_in + k, masked);
        sum += masked;
        centred += masked * (value - m);
      };
      Vec before{};
      for (int pair = 0; pair < pairs_; pair++) {
        const float* at = d_inputs + static_cast<long>(pair) * lanes + j;
        FourProducts d;
        for (int i = 0; i < kProducts; i++) d.of[i] = load(at + i * d_inputs_plane());
        Vec even, odd;
        transform_back(d, before, pair + 1 < pairs_ ? load(at + lanes) : Vec{}, even, odd);
        add(2 * pair, even);
        if (2 * pair + 1 < shape_.extent.width) add(2 * pair + 1, odd);
        before = d.of[3];
      }
      sums.add(k, sum, centred);
    }
  }

  Conv3x3Shape shape_;
  int threads_, pairs_;
  TransformedWeights transformed_;
  Strips strips_;
  std::vector<Panels<Number>> weights_;
  std::vector<Buffer<Value>> tiles_, d_tiles_, d_steps_;
  std::vector<Buffer<>> d_inputs_;
  SumsOfParts d_weights_;
};

}  // namespace densenet
