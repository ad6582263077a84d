#include "parts/dense_block.h"

#include "base/parallel.h"
#include "convolutions/convolutions.h"
#include "parts/bottlenecks.h"

namespace densenet {
namespace {

// x into the first channels of the features, whose lanes behind the last channel become zero.
void copy_input(int threads, const FeatureMap& x, const FeatureMap& features, bool past_caches) {
  const long x_stride = x.stride(), stride = features.stride();
  parallel(threads, Parts(x.extent.pixels()), [&](const Part& pixels) {
    for (long p = pixels.begin; p < pixels.end; p++) {
      float* to = features.pixels + p * stride;
      put_floats(x.pixels + p * x_stride, x.channels, to, past_caches);
      std::fill(to + features.channels, to + padded(features.channels), 0.0f);
    }
  });
}

// Computes layers of a block one after the other.
template <class Number>
class Inference {
 public:
  Inference(const DenseBlock& block, int threads, const FeatureMap& features, typename Number::Value* scratch)
      : block_(block),
        features_(features),
        scratch_(scratch),
        conv1_(block, threads, threads),
        conv2_(block.conv2_shape(), threads, threads) {}

  void run(int layer, const PreparedLayer<Number>& prepared) const {
    const int channels = block_.channels(layer);
    conv1_.run(prepared.conv1, channels, features_.from(0), prepared.norm1, nullptr, scratch_);
    conv2_.run(prepared.conv2, scratch_, prepared.norm2, {features_.pixels + channels, features_.stride()}, nullptr,
               nullptr);
  }

 private:
  const DenseBlock& block_;
  FeatureMap features_;
  typename Number::Value* scratch_;
  BottleneckConv<Number> conv1_;
  Conv3x3InInference<Number> conv2_;
};

}  // namespace

template <class Number>
void PreparedLayer<Number>::set(const DenseBlock& block, int layer, int threads) {
  const DenseLayer& from = block.layers[layer];
  const int channels = block.channels(layer);
  norm1.set(from.norm1, {from.norm1.mean, from.norm1.variance}, channels);
  Conv1x1<Number>::pack(from.conv1, channels, block.width, threads, conv1);
  norm2.set(from.norm2, {from.norm2.mean, from.norm2.variance}, block.width);
  conv2.pack(from.conv2, threads);
}

template <class Number>
void train_forward(const DenseBlock& block, const FeatureMap& x, const FeatureMap& features,
                   const Bottlenecks<Number>& kept) {
  const int threads = thread_count(), width = block.width, padded_width = padded(width);
  const long pixels = block.extent.pixels();
  copy_input(threads, x, features, kPastCaches);
  std::copy_n(x.mean, x.channels, features.mean);
  std::copy_n(x.variance, x.channels, features.variance);

  const BottleneckConv<Number> conv1(block, threads, kLeastPieces);
  Conv3x3<Number> conv2(block.conv2_shape(), threads, kLeastPieces);
  auto weights1 = Conv1x1<Number>::space(block.out_channels(), width);
  typename Conv3x3<Number>::Weights weights2(width, block.growth);
  OfParts<Moments> moments2(padded_width), moments(padded(block.growth));
  Affine affine1(block.out_channels()), affine2(width);
  for (int i = 0; i < block.count(); i++) {
    const DenseLayer& layer = block.layers[i];
    const int channels = block.channels(i);
    auto* bottlenecks = kept.values + i * pixels * padded_width;
    float *mean2 = kept.stats + 2L * i * width, *variance2 = mean2 + width;

    const Statistics of_features{features.mean, features.variance};
    affine1.set(layer.norm1, of_features, channels);
    follow(layer.norm1, pixels, channels, of_features);
    conv1.pack(layer.conv1, channels, weights1);
    conv1.run(weights1, channels, features.from(0), affine1, &moments2, bottlenecks);
    moments2.total().mean_and_variance(pixels, 0, width, mean2, variance2);

    affine2.set(layer.norm2, {mean2, variance2}, width);
    follow(layer.norm2, pixels, width, {mean2, variance2});
    weights2.pack(layer.conv2, threads);
    conv2.run(weights2, bottlenecks, affine2, {features.pixels + channels, features.stride(), kPastCaches},
              layer.drop_mask(), &moments);
    moments.total().mean_and_variance(pixels, 0, block.growth, features.mean + channels, features.variance + channels);
  }
}

template <class Number>
void infer(const DenseBlock& block, const FeatureMap& x, const FeatureMap& features, typename Number::Value* scratch) {
  const int threads = thread_count(), batch = block.extent.batch, together = images_together(threads);
  if (batch <= together) {  // weights in the order of the products take the same memory layer by layer
    copy_input(threads, x, features, !kPastCaches);
    const Inference<Number> inference(block, threads, features, scratch);
    PreparedLayer<Number> prepared(block, block.out_channels());
    for (int i = 0; i < block.count(); i++) {
      prepared.set(block, i, threads);
      inference.run(i, prepared);
    }
    return;
  }
  std::vector<PreparedLayer<Number>> layers;  // for all images
  for (int i = 0; i < block.count(); i++) {
    layers.emplace_back(block, block.channels(i));
    layers.back().set(block, i, threads);
  }
  DenseBlock some = block;
  for (int first = 0; first < batch; first += together) {
    some.extent.batch = std::min(together, batch - first);
    const FeatureMap of_some = features.images(first, some.extent.batch);
    copy_input(threads, x.images(first, some.extent.batch), of_some, !kPastCaches);
    infer(some, layers, of_some, scratch);
  }
}

template <class Number>
void infer(const DenseBlock& block, const std::vector<PreparedLayer<Number>>& layers, const FeatureMap& features,
           typename Number::Value* scratch) {
  const Inference<Number> inference(block, thread_count(), features, scratch);
  for (int i = 0; i < block.count(); i++) inference.run(i, layers[i]);
}

#define DENSENET_INSTANTIATE(Number)                                                                           \
  template void train_forward<Number>(const DenseBlock&, const FeatureMap&, const FeatureMap&,                 \
                                      const Bottlenecks<Number>&);                                             \
  template void infer<Number>(const DenseBlock&, const FeatureMap&, const FeatureMap&, Number::Value*);        \
  template void infer<Number>(const DenseBlock&, const std::vector<PreparedLayer<Number>>&, const FeatureMap&, \
                              Number::Value*);                                                                 \
  template struct PreparedLayer<Number>;

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
