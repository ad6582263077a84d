#include "amx_conv1x1.h"
#include "amx_conv3x3.h"
#include "dense_block.h"
#include "parallel.h"

namespace densenet {

template <class Number>
void backward(const DenseBlock& block, const BlockFeatures<Number>& saved, const float* d_features,
              const float* d_stats, float* scratch_features, typename Number::Value* scratch_bottlenecks, float* d_x,
              float* d_x_stats, const std::vector<DenseLayerGradients>& gradients) {
  const int threads = thread_count(), width = block.width, wide = padded(width), total_channels = block.out_channels();
  const long pixels = block.extent.pixels();
  const float *mean = saved.stats, *variance = saved.stats + total_channels;
  MomentGradients d_moments(d_stats, total_channels);

  Conv3x3Backward<Number> conv2(block, threads);
  Conv1x1Backward<Number> conv1(threads, pixels, total_channels, width);
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
    OfParts<NormSums> sums2(wide);
    conv2.run(i, saved.features, d_from, correction, bottlenecks, affine2, mean2, scratch_bottlenecks, sums2,
              d_layer.conv2);
    MomentGradients d_moments2(width);
    finish(sums2.total(), layer.norm2, variance2, width, d_layer.gamma2, d_layer.beta2, d_moments2);

    affine1.set(layer.norm1, mean, variance, channels);
    correction2.set(d_moments2, mean2, pixels, 0, width);
    OfParts<NormSums> sums1(padded(channels));
    const auto d_bottlenecks = [&](long pixel) {
      return [&, value = bottlenecks + pixel * wide, d_relu = scratch_bottlenecks + pixel * wide](int k) {
        return load(affine2.scale.get() + k) * load_values(d_relu + k) +
               (load(correction2.slope.get() + k) * load_values(value + k) + load(correction2.constant.get() + k));
      };
    };
    const long stride = block.stride(), to_stride = i == 0 ? pixel_stride(block.in_channels) : stride;
    conv1.run(
        layer.conv1, channels, width, normalised_pixels(saved.features, stride, affine1), d_bottlenecks,
        [&](long first, long rows, const float* d_inputs, float* sums, float* centred_sums) {
          mask_inputs({d_inputs, padded(channels)}, rows, channels, {saved.features + first * stride, stride}, affine1,
                      mean, {d_from + first * stride, stride}, d_to + first * to_stride, to_stride, sums, centred_sums);
        },
        sums1, d_layer.conv1);
    finish(sums1.total(), layer.norm1, variance, channels, d_layer.gamma1, d_layer.beta1, d_moments);
  }
  d_moments.copy_to(d_x_stats, block.in_channels);
}

#define DENSENET_INSTANTIATE(Number)                                                                                  \
  template void backward<Number>(const DenseBlock&, const BlockFeatures<Number>&, const float*, const float*, float*, \
                                 Number::Value*, float*, float*, const std::vector<DenseLayerGradients>&);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
