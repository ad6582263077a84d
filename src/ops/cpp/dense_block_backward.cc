#include "dense_block.h"
#include "gemm.h"
#include "operands.h"
#include "parallel.h"
#include "tiles.h"

namespace densenet {
namespace {

// Backward through conv2(relu(norm2(bottlenecks))).
template <class Number>
class Conv3x3Backward {
  using Value = typename Number::Value;
  static constexpr int kDepth = Number::kDepth;

 public:
  Conv3x3Backward(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        strips_(block.extent, padded(block.width) + block.growth, threads),
        weights_(3, 3 * block.growth, padded(block.width)),
        tiles_(buffers<Value>(threads, kDepth * tile_size())),
        d_tiles_(buffers<Value>(threads, d_tile_size() + kDepth)),
        d_steps_(buffers<Value>(threads, strips_.max_height * d_steps_line())),
        lines_(buffers(threads, static_cast<size_t>(block.extent.width) * kMaxVectors * kLanes)),
        d_weights_(buffers(threads, weight_floats())) {}

  // d_features (P, stride) and, for what later normalisations add to it, correction * features. Out: d_relu
  // (P, padded(width)), the gradient of norm2's output, its sums of each thread, and d_conv2.
  void run(int layer, const float* features, const float* d_features, const Correction& correction,
           const Value* bottlenecks, const Affine& affine, const float* mean, Value* d_relu,
           std::vector<NormSums>& sums, float* d_conv2) {
    const int growth = block_.growth, width = block_.width, wide = padded(width), image_width = block_.extent.width;
    const float* weights = block_.layers[layer].conv2;
    weights_.pack(3, 3 * growth, wide, threads_, [&](int ky, int kx_g, int k) {  // turned by 180 degrees
      const int kx = kx_g / growth, g = kx_g % growth;
      return k < width ? weights[((static_cast<long>(g) * width + k) * 3 + 2 - ky) * 3 + 2 - kx] : 0.0f;
    });
    parallel(threads_, [&](int thread) {
      Value *tile = tiles_[thread].get(), *d_tile = d_tiles_[thread].get();
      float *d_weights = d_weights_[thread].get(), *line = lines_[thread].get();
      std::fill(d_weights, d_weights + weight_floats(), 0.0f);
      const Range mine = share(strips_.count(), thread, threads_);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const int height = strips_.height(strip);
        for (int shift = 0; shift < kDepth; shift++) {
          fill_tile(bottlenecks, strip, affine, shift, tile + shift * tile_size());
        }
        const auto gradient = [&](int y, int x, int g) {
          const long pixel = strips_.first_pixel(strip) + y * image_width + x;
          const long i = pixel * block_.stride() + block_.channels(layer) + g;
          const int lanes = growth - g;
          return load_first(d_features + i, lanes) + load(correction.constant.get() + g) +
                 load(correction.slope.get() + g) * load_first(features + i, lanes);
        };
        fill_gradient_tile(strip, gradient, d_tile);
        const Pixels<Number> d_pixels = gradient_pixels(height, gradient, d_tile, d_steps_[thread].get());
        for (int tap = 0; tap < 9; tap++) {
          const int ky = tap / 3, kx = tap % 3;
          const Value* shifted = tile + kx % kDepth * tile_size() + ky * tile_line() + kx / kDepth * kDepth * wide;
          accumulate<Number>(d_pixels, growth, {shifted, wide * kDepth, tile_line()}, wide,
                             steps<Number>(image_width), height,
                             d_weights + static_cast<long>(tap) * growth * wide);
        }
        Prefetch ahead;
        if (strip + 1 < mine.end) {
          const long next = strips_.first_pixel(strip + 1), count = strips_.pixels(strip + 1), bytes = 4L * growth;
          ahead.add(bottlenecks + next * wide, 1, count * wide * static_cast<long>(sizeof(Value)), 0);
          ahead.add(features + next * block_.stride() + block_.channels(layer), count, bytes, 4L * block_.stride());
          ahead.add(d_features + next * block_.stride() + block_.channels(layer), count, bytes, 4L * block_.stride());
          ahead.start(height * tile_count(image_width, wide));
        }
        for (int panel = 0; panel < weights_.count(); panel++) {
          const int column = weights_.first_column(panel), lanes = weights_.vectors(panel) * kLanes;
          for (int y = 0; y < height; y++) {
            multiply(d_tile + y * d_line(), growth, d_line(), image_width, weights_, panel, line, lanes, &ahead);
            const long first = (strips_.first_pixel(strip) + static_cast<long>(y) * image_width) * wide;
            mask(line, column, lanes, bottlenecks + first, affine, mean, d_relu + first, sums[thread]);
          }
        }
      }
    });
    reduce(d_weights_, static_cast<long>(weight_floats()));
    for (int g = 0; g < growth; g++) {
      for (int k = 0; k < width; k++) {
        for (int tap = 0; tap < 9; tap++) {
          *d_conv2++ = d_weights_[0][(static_cast<size_t>(tap) * growth + g) * wide + k];
        }
      }
    }
  }

 private:
  // Lines hold the columns that the last step of the last tap reads.
  long tile_line() const { return (steps<Number>(block_.extent.width) * kDepth + 2L) * padded(block_.width); }
  long tile_size() const { return (strips_.max_height + 2) * tile_line(); }
  long d_line() const { return (block_.extent.width + 2L) * block_.growth; }
  long d_tile_size() const { return (strips_.max_height + 2) * d_line(); }
  long d_steps_line() const {
    return static_cast<long>(steps<Number>(block_.extent.width)) * kDepth * padded(block_.growth);
  }
  size_t weight_floats() const { return 9ul * block_.growth * padded(block_.width); }

  // relu(affine(bottlenecks)) around the lines of a strip, zero outside of the image, with kDepth columns interleaved
  // from column `shift` on: taps begin at even and odd columns.
  void fill_tile(const Value* bottlenecks, long strip, const Affine& affine, int shift, Value* tile) const {
    const int first = strips_.first(strip), width = block_.extent.width, wide = padded(block_.width);
    const Value* x = bottlenecks + strips_.first_pixel(strip) * wide;
    const long columns = tile_line() / wide;
    for (int y = first - 1; y <= first + strips_.height(strip); y++, tile += tile_line()) {
      if (y < 0 || y >= block_.extent.height) {
        std::fill(tile, tile + tile_line(), Number::from(0.0f));
        continue;
      }
      const Value* line = x + static_cast<long>(y - first) * width * wide;
      const auto value = [&](long column, int k) {
        const long source = column + shift - 1;
        return source < 0 || source >= width ? Vec{} : normalised(line + source * wide, affine, k);
      };
      interleave_pixels<Number>(columns, wide, value, tile, static_cast<long>(wide) * kDepth);
    }
  }

  // d_tile (height + 2, width + 2, growth): gradient(y, x, g) of the layer's output around a strip, zero outside of
  // the image. The value behind its end may be read, for a weight of zero.
  template <class GradientAt>
  void fill_gradient_tile(long strip, const GradientAt& gradient, Value* d_tile) const {
    const int growth = block_.growth, width = block_.extent.width, first = strips_.first(strip);
    for (int y = -1; y <= strips_.height(strip); y++, d_tile += d_line()) {
      std::fill(d_tile, d_tile + d_line(), Number::from(0.0f));
      if (first + y < 0 || first + y >= block_.extent.height) continue;
      for (int x = 0; x < width; x++) {
        for (int g = 0; g < growth; g += kLanes) {
          Number::store_values(d_tile + (x + 1L) * growth + g, gradient(y, x, g), growth - g);
        }
      }
    }
    std::fill(d_tile, d_tile + kDepth, Number::from(0.0f));
  }

  // The gradient inside of the strip as operand of `accumulate`.
  template <class GradientAt>
  Pixels<Number> gradient_pixels(int height, const GradientAt& gradient, const Value* d_tile, Value* d_steps) const {
    if (kDepth == 1) return {d_tile + d_line() + block_.growth, block_.growth, d_line()};
    const int wide = padded(block_.growth);
    for (int y = 0; y < height; y++) {
      interleave_pixels<Number>(
          block_.extent.width, wide,
          [&](long x, int g) { return g < block_.growth ? gradient(y, static_cast<int>(x), g) : Vec{}; },
          d_steps + y * d_steps_line(), static_cast<long>(wide) * kDepth);
    }
    return {d_steps, static_cast<long>(wide) * kDepth, d_steps_line()};
  }

  // One line of pixels, `lanes` channels of them from `column` on: d_relu = d where the ReLU's input was positive, and
  // its sums.
  void mask(const float* d, int column, int lanes, const Value* x, const Affine& affine, const float* mean,
            Value* d_relu, NormSums& sums) const {
    const int wide = padded(block_.width);
    for (int j = 0; j < lanes; j += kLanes) {
      const int k = column + j;
      const Vec scale = load(affine.scale.get() + k), offset = load(affine.offset.get() + k);
      const Vec m = load_first(mean + k, block_.width - k);
      Vec sum{}, centred{};
      for (long p = 0; p < block_.extent.width; p++) {
        const Vec value = load_values(x + p * wide + k);
        const Vec masked = where_positive(value * scale + offset, load(d + p * lanes + j));
        Number::store_values(d_relu + p * wide + k, masked, kLanes);
        sum += masked;
        centred += masked * (value - m);
      }
      sums.add(k, sum, centred);
    }
  }

  const DenseBlock& block_;
  int threads_;
  Strips strips_;
  Panels<Number> weights_;
  std::vector<Buffer<Value>> tiles_, d_tiles_, d_steps_;
  std::vector<Buffer<>> lines_, d_weights_;
};

// Backward through conv1(relu(norm1(features))).
template <class Number>
class Conv1x1Backward {
  using Value = typename Number::Value;
  static constexpr int kDepth = Number::kDepth;

 public:
  Conv1x1Backward(const DenseBlock& block, int threads)
      : block_(block),
        threads_(threads),
        weights_(1, block.width, padded(block.out_channels())),
        tiles_(buffers<Value>(threads, Chunks::scratch_values(block.out_channels()))),
        d_tiles_(buffers<Value>(threads, Chunks::kMaxPixels * scratch_stride(block.width))),
        d_steps_(buffers<Value>(threads, Chunks::kMaxPixels * scratch_stride(block.width))),
        panels_(buffers(threads, Chunks::kMaxPixels * kMaxVectors * kLanes)),
        d_weights_(buffers(threads, static_cast<size_t>(block.out_channels()) * padded(block.width))) {}

  // d_relu2: of norm2's output; its gradient of the bottlenecks is affine2.scale * d_relu2 + correction2 of them.
  // d_to (P, to_stride) = d_from (P, stride) + the gradient of this layer's input, in the input's channels.
  void run(int layer, const float* features, const Affine& affine, const float* mean, const Value* bottlenecks,
           const Value* d_relu2, const Affine& affine2, const Correction& correction2, const float* d_from,
           float* d_to, long to_stride, std::vector<NormSums>& sums, float* d_conv1) {
    const int channels = block_.channels(layer), width = block_.width, wide = padded(width);
    const float* weights = block_.layers[layer].conv1;
    weights_.pack(1, width, padded(channels), threads_, [&](int, int k, int c) {
      return c < channels ? weights[static_cast<long>(k) * channels + c] : 0.0f;
    });
    const Chunks chunks(block_.extent.pixels(), channels, threads_);
    const long stride = block_.stride(), tile_step = scratch_stride(channels) * kDepth;
    const long d_stride = scratch_stride(width);
    parallel(threads_, [&](int thread) {
      Value *tile = tiles_[thread].get(), *d_tile = d_tiles_[thread].get();
      float *panel_d = panels_[thread].get(), *d_weights = d_weights_[thread].get();
      std::fill(d_weights, d_weights + static_cast<long>(channels) * wide, 0.0f);
      const Range mine = share(chunks.count(), thread, threads_);
      for (long chunk = mine.begin; chunk < mine.end; chunk++) {
        const long first = chunks.first(chunk), rows = chunks.length(chunk);
        const auto input = [&](long p, int c) { return normalised(features + (first + p) * stride, affine, c); };
        interleave_pixels<Number>(rows, padded(channels), input, tile, tile_step);
        const auto gradient = [&](long p, int k) {
          const long i = (first + p) * wide + k;
          return load(affine2.scale.get() + k) * load_values(d_relu2 + i) +
                 (load(correction2.slope.get() + k) * load_values(bottlenecks + i) +
                  load(correction2.constant.get() + k));
        };
        for (long p = 0; p < rows; p++) {
          for (int k = 0; k < wide; k += kLanes) {
            Number::store_values(d_tile + p * d_stride + k, gradient(p, k), kLanes);
          }
        }
        const Value* d_steps = d_tile;
        if (kDepth > 1) {
          interleave_pixels<Number>(rows, wide, gradient, d_steps_[thread].get(), d_stride * kDepth);
          d_steps = d_steps_[thread].get();
        }
        accumulate<Number>({tile, tile_step, 0}, channels, {d_steps, d_stride * kDepth, 0}, wide,
                           steps<Number>(rows), 1, d_weights);
        Prefetch ahead;
        if (chunk + 1 < mine.end) {
          const long next = chunks.first(chunk + 1), count = chunks.length(chunk + 1), bytes = sizeof(Value) * wide;
          ahead.add(features + next * stride, count, 4L * channels, 4 * stride);
          ahead.add(d_from + next * stride, count, 4L * channels, 4 * stride);
          ahead.add(d_relu2 + next * wide, 1, count * bytes, 0);
          ahead.add(bottlenecks + next * wide, 1, count * bytes, 0);
          ahead.start(tile_count(rows, padded(channels)));
        }
        for (int panel = 0; panel < weights_.count(); panel++) {
          const int column = weights_.first_column(panel), lanes = weights_.vectors(panel) * kLanes;
          multiply(d_tile, d_stride, 0, static_cast<int>(rows), weights_, panel, panel_d, lanes, &ahead);
          for (int j = 0; j < lanes; j += kLanes) {
            const int c = column + j;
            const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
            const Vec m = load_first(mean + c, channels - c);
            Vec sum{}, centred{};
            for (long p = 0; p < rows; p++) {
              const long i = (first + p) * stride + c;
              const Vec value = load(features + i);
              const Vec d = where_positive(value * scale + offset, load(panel_d + p * lanes + j));
              sum += d;
              centred += d * (value - m);
              store(d_to + (first + p) * to_stride + c, load(d_from + i) + scale * d);
            }
            sums[thread].add(c, sum, centred);
          }
        }
      }
    });
    reduce(d_weights_, static_cast<long>(channels) * wide);
    for (int k = 0; k < width; k++) {
      for (int c = 0; c < channels; c++) *d_conv1++ = d_weights_[0][static_cast<size_t>(c) * wide + k];
    }
  }

 private:
  const DenseBlock& block_;
  int threads_;
  Panels<Number> weights_;
  std::vector<Buffer<Value>> tiles_, d_tiles_, d_steps_;
  std::vector<Buffer<>> panels_, d_weights_;
};

}  // namespace

template <class Number>
void backward(const DenseBlock& block, const BlockFeatures<Number>& saved, const float* d_features,
              const float* d_stats, float* scratch_features, typename Number::Value* scratch_bottlenecks,
              float* d_x, float* d_x_stats, const std::vector<DenseLayerGradients>& gradients) {
  const int threads = thread_count(), width = block.width, wide = padded(width), total_channels = block.out_channels();
  const long pixels = block.extent.pixels();
  const float *mean = saved.stats, *variance = saved.stats + total_channels;
  MomentGradients d_moments(d_stats, total_channels);

  Conv3x3Backward<Number> conv2(block, threads);
  Conv1x1Backward<Number> conv1(block, threads);
  Affine affine1(total_channels), affine2(width);
  Correction correction(block.growth), correction2(width);
  for (int i = block.count() - 1; i >= 0; i--) {
    const DenseLayer& layer = block.layers[i];
    const DenseLayerGradients& d_layer = gradients[i];
    const int channels = block.channels(i);
    const auto* bottlenecks = saved.bottlenecks + i * pixels * wide;
    const float *mean2 = saved.bottleneck_stats + 2L * i * width, *variance2 = mean2 + width;
    const float* d_from = i == block.count() - 1 ? d_features : scratch_features;
    float* d_to = i == 0 ? d_x : scratch_features;

    affine2.set(layer.norm2, mean2, variance2, width);
    correction.set(d_moments, mean, pixels, channels, block.growth);
    std::vector<NormSums> sums2(threads, NormSums(wide));
    conv2.run(i, saved.features, d_from, correction, bottlenecks, affine2, mean2, scratch_bottlenecks, sums2,
              d_layer.conv2);
    MomentGradients d_moments2(width);
    finish(total(sums2), layer.norm2, variance2, width, d_layer.gamma2, d_layer.beta2, d_moments2);

    affine1.set(layer.norm1, mean, variance, channels);
    correction2.set(d_moments2, mean2, pixels, 0, width);
    std::vector<NormSums> sums1(threads, NormSums(padded(channels)));
    conv1.run(i, saved.features, affine1, mean, bottlenecks, scratch_bottlenecks, affine2, correction2, d_from, d_to,
              i == 0 ? pixel_stride(block.in_channels) : block.stride(), sums1, d_layer.conv1);
    finish(total(sums1), layer.norm1, variance, channels, d_layer.gamma1, d_layer.beta1, d_moments);
  }
  d_moments.copy_to(d_x_stats, block.in_channels);
}

#define DENSENET_INSTANTIATE(Number)                                                                           \
  template void backward<Number>(const DenseBlock&, const BlockFeatures<Number>&, const float*, const float*,  \
                                 float*, Number::Value*, float*, float*, const std::vector<DenseLayerGradients>&);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
