// A dense block (Huang et al. 2017, arXiv:1608.06993, section 3) as one operation, forward and backward.
//
// All features lie in one map, channels last; each layer writes its own behind those of the earlier ones, so nothing
// is ever concatenated. The statistics of a feature are the same for all normalisations that read it, so they are
// taken once, when it is made. Normalised features are made while they are loaded and never stored: the backward pass
// makes them again (Pleiss et al. 2017, arXiv:1707.06990). Only the outputs of the 1x1 convolutions are kept.
#pragma once

#include <vector>

#include "layout.h"
#include "statistics.h"

namespace densenet {

// BN-ReLU-conv1x1 (width, channels), BN-ReLU-conv3x3 (growth, width, 3, 3).
struct DenseLayer {
  Norm norm1;
  const float* conv1;
  Norm norm2;
  const float* conv2;
};

struct DenseLayerGradients {
  float *gamma1, *beta1, *conv1, *gamma2, *beta2, *conv2;
};

struct DenseBlock {
  Extent extent;
  int in_channels, growth, width;
  std::vector<DenseLayer> layers;

  int count() const { return static_cast<int>(layers.size()); }
  int channels(int layer) const { return in_channels + layer * growth; }  // that `layer` reads
  int out_channels() const { return channels(count()); }
  int stride() const { return pixel_stride(out_channels()); }
};

// What the forward pass leaves, P = pixels. The convolutions multiply Number, Fp32 or Bf16, and sum in float32; outputs
// of the 1x1 convolutions, which only convolutions read, are stored as Number too.
template <class Number>
struct BlockFeatures {
  float* features;                      // (P, stride): zero beyond out_channels
  float* stats;                         // (2, out_channels): mean and biased variance
  typename Number::Value* bottlenecks;  // (layers, P, padded(width))
  float* bottleneck_stats;              // (layers, 2, width)
};

// x: (P, pixel_stride(in_channels)); x_stats: (2, in_channels). Updates the running statistics.
template <class Number>
void train_forward(const DenseBlock& block, const float* x, const float* x_stats, const BlockFeatures<Number>& out);

// The same with the running statistics. bottlenecks: (P, padded(width)) of scratch.
template <class Number>
void infer(const DenseBlock& block, const float* x, float* features, typename Number::Value* bottlenecks);

// d_features, d_stats: gradients of features and of stats. scratch_features and scratch_bottlenecks: like features and
// one layer of bottlenecks. Out: d_x (P, pixel_stride(in_channels)) and d_x_stats (2, in_channels), the gradients of x
// and of its statistics, and the parameters' gradients.
template <class Number>
void backward(const DenseBlock& block, const BlockFeatures<Number>& saved, const float* d_features,
              const float* d_stats, float* scratch_features, typename Number::Value* scratch_bottlenecks, float* d_x,
              float* d_x_stats, const std::vector<DenseLayerGradients>& gradients);

}  // namespace densenet
