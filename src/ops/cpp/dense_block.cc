#include "dense_block.h"

#include "amx_conv1x1.h"
#include "amx_conv3x3.h"
#include "parallel.h"

namespace densenet {
namespace {

// x (P, pixel_stride(in_channels)) into the first channels of features (P, stride), whose lanes beyond the last
// channel become zero.
void copy_input(const DenseBlock& block, int threads, const float* x, float* features) {
  const int channels = block.out_channels();
  const long x_stride = pixel_stride(block.in_channels), stride = block.stride();
  parallel(threads, Parts(block.extent.pixels()), [&](const Part& pixels) {
    for (long p = pixels.begin; p < pixels.end; p++) {
      stream_floats(x + p * x_stride, block.in_channels, features + p * stride);
      std::fill(features + p * stride + channels, features + p * stride + padded(channels), 0.0f);
    }
  });
}

}  // namespace

template <class Number>
void train_forward(const DenseBlock& block, const float* x, const float* x_stats, const BlockFeatures<Number>& out) {
  const int threads = thread_count(), width = block.width, wide = padded(width), total_channels = block.out_channels();
  const long pixels = block.extent.pixels();
  copy_input(block, threads, x, out.features);
  float *mean = out.stats, *variance = out.stats + total_channels;
  std::copy(x_stats, x_stats + block.in_channels, mean);
  std::copy(x_stats + block.in_channels, x_stats + 2 * block.in_channels, variance);

  Conv1x1<Number> conv1(threads, kLeastPieces, pixels, total_channels, width);
  Conv3x3<Number> conv2(block, threads, kLeastPieces);
  OfParts<Moments> moments2(wide), moments(padded(block.growth));
  Affine affine1(total_channels), affine2(width);
  for (int i = 0; i < block.count(); i++) {
    const DenseLayer& layer = block.layers[i];
    const int channels = block.channels(i);
    auto* bottlenecks = out.bottlenecks + i * pixels * wide;
    float *mean2 = out.bottleneck_stats + 2L * i * width, *variance2 = mean2 + width;

    affine1.set(layer.norm1, mean, variance, channels);
    follow(layer.norm1, pixels, channels, mean, variance);
    moments2.begin(conv1.parts(channels));
    conv1.run(layer.conv1, channels, width, normalised_pixels(out.features, block.stride(), affine1),
              [&](const Part& part, long first, long rows, const float* products) {
                moments2[part].add(products, wide, rows, 0, wide);
                Number::stream_values(products, rows * wide, bottlenecks + first * wide);
              });
    moments2.total().finish(pixels, 0, width, mean2, variance2);

    affine2.set(layer.norm2, mean2, variance2, width);
    follow(layer.norm2, pixels, width, mean2, variance2);
    conv2.run(i, bottlenecks, affine2, out.features, &moments);
    moments.total().finish(pixels, 0, block.growth, mean + channels, variance + channels);
  }
}

template <class Number>
void infer(const DenseBlock& block, const float* x, float* features, typename Number::Value* bottlenecks) {
  const int threads = thread_count(), wide = padded(block.width);
  copy_input(block, threads, x, features);
  Conv1x1<Number> conv1(threads, threads, block.extent.pixels(), block.out_channels(), block.width);
  Conv3x3<Number> conv2(block, threads, threads);
  Affine affine1(block.out_channels()), affine2(block.width);
  for (int i = 0; i < block.count(); i++) {
    const DenseLayer& layer = block.layers[i];
    affine1.set(layer.norm1, layer.norm1.mean, layer.norm1.variance, block.channels(i));
    conv1.run(layer.conv1, block.channels(i), block.width, normalised_pixels(features, block.stride(), affine1),
              [&](const Part&, long first, long rows, const float* products) {
                Number::stream_values(products, rows * wide, bottlenecks + first * wide);
              });
    affine2.set(layer.norm2, layer.norm2.mean, layer.norm2.variance, block.width);
    conv2.run(i, bottlenecks, affine2, features, nullptr);
  }
}

#define DENSENET_INSTANTIATE(Number)                                                                                \
  template void train_forward<Number>(const DenseBlock&, const float*, const float*, const BlockFeatures<Number>&); \
  template void infer<Number>(const DenseBlock&, const float*, float*, Number::Value*);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
