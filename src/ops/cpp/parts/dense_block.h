// A dense block (Huang et al. 2017, arXiv:1608.06993, section 3) as one operation, forward and backward.
//
// All features lie in one map, channels last; each layer writes its own behind those of the earlier ones, so nothing
// is ever concatenated. The statistics of a feature are the same for all normalisations that read it, so they are
// taken once, when it is made. Normalised features are made while they are loaded and never stored: the backward pass
// makes them again (Pleiss et al. 2017, arXiv:1707.06990). Only the outputs of the 1x1 convolutions are kept.
#pragma once

#include <optional>
#include <vector>

#include "base/layout.h"
#include "convolutions/convolutions.h"
#include "map/dropout.h"
#include "map/feature_map.h"
#include "map/statistics.h"

namespace densenet {

// BN-ReLU-conv1x1 (width, channels), BN-ReLU-conv3x3 (growth, width, 3, 3), and in training dropout.
struct DenseLayer {
  Norm norm1;
  const float* conv1;
  Norm norm2;
  const float* conv2;
  std::optional<DropMask> drop = std::nullopt;

  const DropMask* drop_mask() const { return drop ? &*drop : nullptr; }
};

struct DenseLayerGradients {
  float *gamma1, *beta1, *conv1, *gamma2, *beta2, *conv2;
};

struct DenseBlock {
  Extent extent;
  int in_channels, growth, width;
  std::vector<DenseLayer> layers;

  int count() const { return static_cast<int>(layers.size()); }
  Conv3x3Shape conv2_shape() const { return {extent, width, growth}; }
  int channels(int layer) const { return in_channels + layer * growth; }  // that `layer` reads
  int out_channels() const { return channels(count()); }
};

// The outputs of the 1x1 convolutions, which only convolutions read: stored as Number, P = pixels. Of evaluation
// nothing is kept: room for those of one layer, without statistics.
template <class Number>
struct Bottlenecks {
  typename Number::Value* values;  // (layers, P, padded(width))
  float* stats;                    // (layers, 2, width): mean and biased variance
};

// The convolutions multiply Number, Fp32 or Bf16, and sum in float32. x: (P, in_channels). Makes the features, zero up
// to padded(out_channels), and what the backward pass needs; updates the running statistics.
template <class Number>
void train_forward(const DenseBlock& block, const FeatureMap& x, const FeatureMap& features,
                   const Bottlenecks<Number>& kept);

// The same with the running statistics and without those of the maps. scratch: the bottlenecks of one layer.
template <class Number>
void infer(const DenseBlock& block, const FeatureMap& x, const FeatureMap& features, typename Number::Value* scratch);

// A layer as inference computes it: weights in the order of the products, normalisations as scales and offsets.
template <class Number>
struct PreparedLayer {
  // Space for layers that read up to `channels`.
  PreparedLayer(const DenseBlock& block, int channels)
      : norm1(channels),
        norm2(block.width),
        conv1(Conv1x1<Number>::space(channels, block.width)),
        conv2(block.width, block.growth) {}
  void set(const DenseBlock& block, int layer, int threads);

  Affine norm1, norm2;
  typename Conv1x1<Number>::Weights conv1;
  typename Conv3x3InInference<Number>::Weights conv2;
};

// The same of layers that were prepared before. The first in_channels of the features are there already.
template <class Number>
void infer(const DenseBlock& block, const std::vector<PreparedLayer<Number>>& layers, const FeatureMap& features,
           typename Number::Value* scratch);

// From the gradients of the features those of x and of the parameters. scratch: like the features' pixels, and like the
// bottlenecks of one layer. Without the maps' statistics if the normalisations are frozen; then the bottlenecks are
// made again.
template <class Number>
void backward(const DenseBlock& block, const FeatureMap& features, const Bottlenecks<Number>& kept,
              const FeatureMap& d_features, float* scratch, typename Number::Value* scratch_bottlenecks,
              const FeatureMap& d_x, const std::vector<DenseLayerGradients>& gradients);

}  // namespace densenet
