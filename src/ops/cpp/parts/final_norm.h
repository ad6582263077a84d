// BN-ReLU behind the last dense block, and the way back to MindSpore's layout: (N, C, H, W), or with a global average
// pool (N, C).
#pragma once

#include "base/layout.h"
#include "map/feature_map.h"
#include "map/statistics.h"

namespace densenet {

struct FinalNorm {
  Extent extent;
  int channels;
  bool pool;
  Norm norm;

  long area() const { return static_cast<long>(extent.height) * extent.width; }
};

// y: (N, channels, H, W), or with a pool (N, channels). Updates the running statistics.
void train_forward(const FinalNorm& final, const FeatureMap& x, float* y);

// The same with the running statistics.
void infer(const FinalNorm& final, const FeatureMap& x, float* y);

// The same with a scale and an offset that were made of them before. x: pixels of a map of `channels`.
void infer(const FinalNorm& final, const Affine& norm, const float* x, float* y);

// Gradients of x and of the parameters from that of y. Without the maps' statistics if the normalisation is frozen.
void backward(const FinalNorm& final, const FeatureMap& x, const float* d_y, const FeatureMap& d_x, float* d_gamma,
              float* d_beta);

}  // namespace densenet
