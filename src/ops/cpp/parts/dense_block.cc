#include "parts/dense_block.h"

#include "base/parallel.h"
#include "convolutions/convolutions.h"

namespace densenet {
namespace {

// x into the first channels of the features, whose lanes behind the last channel become zero.
void copy_input(int threads, const FeatureMap& x, const FeatureMap& features) {
  const long x_stride = x.stride(), stride = features.stride();
  parallel(threads, Parts(x.extent.pixels()), [&](const Part& pixels) {
    for (long p = pixels.begin; p < pixels.end; p++) {
      float* to = features.pixels + p * stride;
      stream_floats(x.pixels + p * x_stride, x.channels, to);
      std::fill(to + features.channels, to + padded(features.channels), 0.0f);
    }
  });
}

}  // namespace

template <class Number>
void train_forward(const DenseBlock& block, const FeatureMap& x, const FeatureMap& features,
                   const Bottlenecks<Number>& kept) {
  const int threads = thread_count(), width = block.width, padded_width = padded(width);
  const long pixels = block.extent.pixels();
  copy_input(threads, x, features);
  std::copy_n(x.mean, x.channels, features.mean);
  std::copy_n(x.variance, x.channels, features.variance);

  Conv1x1<Number> conv1(threads, kLeastPieces, pixels, block.out_channels(), width);
  Conv3x3<Number> conv2(block.conv2_shape(), threads, kLeastPieces);
  OfParts<Moments> moments2(padded_width), moments(padded(block.growth));
  Affine affine1(block.out_channels()), affine2(width);
  for (int i = 0; i < block.count(); i++) {
    const DenseLayer& layer = block.layers[i];
    const int channels = block.channels(i);
    auto* bottlenecks = kept.values + i * pixels * padded_width;
    float *mean2 = kept.stats + 2L * i * width, *variance2 = mean2 + width;

    affine1.set(layer.norm1, features.mean, features.variance, channels);
    follow(layer.norm1, pixels, channels, features.mean, features.variance);
    moments2.begin(conv1.parts(channels));
    conv1.run(layer.conv1, channels, width, normalised_pixels(features.from(0), affine1),
              [&](const Part& part, long first, long rows, const float* products) {
                moments2[part].add(products, padded_width, rows, 0, padded_width);
                Number::stream_values(products, rows * padded_width, bottlenecks + first * padded_width);
              });
    moments2.total().mean_and_variance(pixels, 0, width, mean2, variance2);

    affine2.set(layer.norm2, mean2, variance2, width);
    follow(layer.norm2, pixels, width, mean2, variance2);
    conv2.run(layer.conv2, bottlenecks, affine2, {features.pixels + channels, features.stride()}, &moments);
    moments.total().mean_and_variance(pixels, 0, block.growth, features.mean + channels, features.variance + channels);
  }
}

template <class Number>
void infer(const DenseBlock& block, const FeatureMap& x, const FeatureMap& features, typename Number::Value* scratch) {
  const int threads = thread_count(), padded_width = padded(block.width);
  copy_input(threads, x, features);
  Conv1x1<Number> conv1(threads, threads, block.extent.pixels(), block.out_channels(), block.width);
  Conv3x3<Number> conv2(block.conv2_shape(), threads, threads);
  Affine affine1(block.out_channels()), affine2(block.width);
  for (int i = 0; i < block.count(); i++) {
    const DenseLayer& layer = block.layers[i];
    const int channels = block.channels(i);
    affine1.set(layer.norm1, layer.norm1.mean, layer.norm1.variance, channels);
    conv1.run(layer.conv1, channels, block.width, normalised_pixels(features.from(0), affine1),
              [&](const Part&, long first, long rows, const float* products) {
                Number::stream_values(products, rows * padded_width, scratch + first * padded_width);
              });
    affine2.set(layer.norm2, layer.norm2.mean, layer.norm2.variance, block.width);
    conv2.run(layer.conv2, scratch, affine2, {features.pixels + channels, features.stride()}, nullptr);
  }
}

#define DENSENET_INSTANTIATE(Number)                                                           \
  template void train_forward<Number>(const DenseBlock&, const FeatureMap&, const FeatureMap&, \
                                      const Bottlenecks<Number>&);                             \
  template void infer<Number>(const DenseBlock&, const FeatureMap&, const FeatureMap&, Number::Value*);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
