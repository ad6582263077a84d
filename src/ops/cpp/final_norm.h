// BN-ReLU behind the last dense block, and the way back to MindSpore's layout: (N, C, H, W), or with a global average
// pool (N, C).
#pragma once

#include "layout.h"
#include "statistics.h"

namespace densenet {

struct FinalNorm {
  Extent extent;
  int channels;
  bool pool;
  Norm norm;

  long area() const { return static_cast<long>(extent.height) * extent.width; }
};

// x: (P, pixel_stride(channels)); stats: (2, channels) of x. y: (N, channels, H, W), or with a pool
// (N, channels). Updates the running statistics.
void train_forward(const FinalNorm& final, const float* x, const float* stats, float* y);

// The same with the running statistics.
void infer(const FinalNorm& final, const float* x, float* y);

// Gradients of x, of stats and of the parameters from that of y.
void backward(const FinalNorm& final, const float* x, const float* stats, const float* d_y, float* d_x, float* d_stats,
              float* d_gamma, float* d_beta);

}  // namespace densenet
