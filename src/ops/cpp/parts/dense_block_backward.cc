#include <optional>

#include "base/parallel.h"
#include "convolutions/convolutions.h"
#include "parts/bottlenecks.h"
#include "parts/dense_block.h"

namespace densenet {
namespace {

// Makes the bottlenecks of a layer again, of which evaluation keeps none.
template <class Number>
class Again {
 public:
  Again(const DenseBlock& block, int threads)
      : block_(block),
        conv_(block, threads, kLeastPieces),
        weights_(Conv1x1<Number>::space(block.out_channels(), block.width)) {}
  void make(int layer, const Rows& features, const Affine& affine1, typename Number::Value* bottlenecks) {
    conv_.pack(block_.layers[layer].conv1, block_.channels(layer), weights_);
    conv_.run(weights_, block_.channels(layer), features, affine1, nullptr, bottlenecks);
  }

 private:
  const DenseBlock& block_;
  BottleneckConv<Number> conv_;
  typename BottleneckConv<Number>::Weights weights_;
};

// d (P, padded(growth)) = the gradient of new features before some were dropped; of those that are left it is d_out and
// correction * out.
void backward_dropout(const DenseBlock& block, int threads, const DropMask& drop, const Rows& out, const Rows& d_out,
                      const Correction& correction, float* d) {
  const int padded_growth = padded(block.growth), width = block.extent.width;
  parallel(threads, Parts(block.extent.pixels() / width), [&](const Part& lines) {
    for (long line = lines.begin; line < lines.end; line++) {
      const long first = line * width;
      const uint32_t index = drop.first_index(first);
      for (int x = 0; x < width; x++) {
        const float *value = out.pixel(first + x), *from = d_out.pixel(first + x);
        for (int g = 0; g < block.growth; g += kLanes) {
          fetch_ahead(value + g, out.stride);
          fetch_ahead(from + g, d_out.stride);
          const int lanes = block.growth - g;  // a tensor may end behind its last pixel's
          const Vec d_value = load_first(from + g, lanes) + load(correction.constant.get() + g) +
                              load(correction.slope.get() + g) * load_first(value + g, lanes);
          store(d + (first + x) * padded_growth + g, d_value * drop.factors(index + static_cast<uint32_t>(x), g));
        }
      }
    }
  });
}

}  // namespace

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
  Correction none(block.growth);
  none.set(MomentGradients(block.growth), nullptr, pixels, 0, block.growth);
  const Buffer<> d_dropped(block.layers[0].drop ? pixels * padded(block.growth) : 0);
  std::optional<Again<Number>> again;
  if (!kept.stats) again.emplace(block, threads);
  for (int i = block.count() - 1; i >= 0; i--) {
    const DenseLayer& layer = block.layers[i];
    const DenseLayerGradients& d_layer = gradients[i];
    const int channels = block.channels(i);
    auto* bottlenecks = kept.values + (again ? 0 : i * pixels * padded_width);
    const float* stats2 = again ? nullptr : kept.stats + 2L * i * width;
    const Statistics applied1 = layer.norm1.applied({features.mean, features.variance});
    const Statistics applied2 = layer.norm2.applied({stats2, stats2 + (again ? 0 : width)});
    const Rows d_from{i == block.count() - 1 ? d_features.pixels : scratch, stride};
    const MutableRows d_to{i == 0 ? d_x.pixels : scratch, i == 0 ? d_x.stride() : stride};

    affine1.set(layer.norm1, applied1, channels);
    if (again) again->make(i, features.from(0), affine1, bottlenecks);
    affine2.set(layer.norm2, applied2, width);
    correction.set(d_moments, features.mean, pixels, channels, block.growth);
    OfParts<NormSums> sums2(padded_width);
    Rows d_new{d_from.data + channels, stride};
    if (layer.drop) {
      backward_dropout(block, threads, *layer.drop, features.from(channels), d_new, correction, d_dropped.get());
      d_new = {d_dropped.get(), padded(block.growth)};
    }
    conv2.run(layer.conv2, features.from(channels), d_new, layer.drop ? none : correction, bottlenecks, affine2,
              applied2.mean, scratch_bottlenecks, sums2, d_layer.conv2);
    MomentGradients d_moments2(width);
    norm_gradients(sums2.total(), layer.norm2, applied2.variance, width, d_layer.gamma2, d_layer.beta2, d_moments2);

    correction2.set(d_moments2, applied2.mean, pixels, 0, width);
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
                      applied1.mean, {d_from.pixel(first), stride}, d_to.data + first * d_to.stride, d_to.stride, sums,
                      centred_sums);
        },
        sums1, d_layer.conv1);
    norm_gradients(sums1.total(), layer.norm1, applied1.variance, channels, d_layer.gamma1, d_layer.beta1, d_moments);
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
