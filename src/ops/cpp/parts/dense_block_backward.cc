#include "base/parallel.h"
#include "convolutions/convolutions.h"
#include "parts/dense_block.h"

namespace densenet {

template <class Number>
void backward(const DenseBlock& block, const FeatureMap& features, const Bottlenecks<Number>& kept,
              const FeatureMap& d_features, float* scratch, typename Number::Value* scratch_bottlenecks,
              const FeatureMap& d_x, const std::vector<DenseLayerGradients>& gradients) {
  const int threads = thread_count(), width = block.width, padded_width = padded(width);
  const long pixels = block.extent.pixels(), stride = features.stride();
  MomentGradients d_moments(d_features);

  Conv3x3Backward<Number> conv2(block.conv2_shape(), threads);
  Conv1x1Backward<Number> conv1(threads, pixels, block.out_channels(), width);
  Affine affine1(block.out_channels()), affine2(width);
  Correction correction(block.growth), correction2(width);
  for (int i = block.count() - 1; i >= 0; i--) {
    const DenseLayer& layer = block.layers[i];
    const DenseLayerGradients& d_layer = gradients[i];
    const int channels = block.channels(i);
    const auto* bottlenecks = kept.values + i * pixels * padded_width;
    const float *mean2 = kept.stats + 2L * i * width, *variance2 = mean2 + width;
    const Rows d_from{i == block.count() - 1 ? d_features.pixels : scratch, stride};
    const MutableRows d_to{i == 0 ? d_x.pixels : scratch, i == 0 ? d_x.stride() : stride};

    affine2.set(layer.norm2, mean2, variance2, width);
    correction.set(d_moments, features.mean, pixels, channels, block.growth);
    OfParts<NormSums> sums2(padded_width);
    conv2.run(layer.conv2, features.from(channels), {d_from.data + channels, stride}, correction, bottlenecks, affine2,
              mean2, scratch_bottlenecks, sums2, d_layer.conv2);
    MomentGradients d_moments2(width);
    norm_gradients(sums2.total(), layer.norm2, variance2, width, d_layer.gamma2, d_layer.beta2, d_moments2);

    affine1.set(layer.norm1, features.mean, features.variance, channels);
    correction2.set(d_moments2, mean2, pixels, 0, width);
    OfParts<NormSums> sums1(padded(channels));
    const auto d_bottlenecks = [&](long pixel) {
      return
          [&, value = bottlenecks + pixel * padded_width, d_relu = scratch_bottlenecks + pixel * padded_width](int k) {
            return load(affine2.scale.get() + k) * load_values(d_relu + k) +
                   (load(correction2.slope.get() + k) * load_values(value + k) + load(correction2.constant.get() + k));
          };
    };
    conv1.run(
        layer.conv1, channels, width, normalised_pixels(features.from(0), affine1), d_bottlenecks,
        [&](long first, long rows, const float* d_inputs, float* sums, float* centred_sums) {
          mask_inputs({d_inputs, padded(channels)}, rows, channels, {features.pixels + first * stride, stride}, affine1,
                      features.mean, {d_from.pixel(first), stride}, d_to.data + first * d_to.stride, d_to.stride, sums,
                      centred_sums);
        },
        sums1, d_layer.conv1);
    norm_gradients(sums1.total(), layer.norm1, features.variance, channels, d_layer.gamma1, d_layer.beta1, d_moments);
  }
  d_moments.copy_to(d_x);
}

#define DENSENET_INSTANTIATE(Number)                                                                                  \
  template void backward<Number>(const DenseBlock&, const FeatureMap&, const Bottlenecks<Number>&, const FeatureMap&, \
                                 float*, Number::Value*, const FeatureMap&, const std::vector<DenseLayerGradients>&);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
