// A transition (Huang et al. 2017, section 3): BN-ReLU, 2x2 average pool, conv1x1. The paper convolves first; an
// average and a 1x1 convolution are both linear, so their order does not matter, and this is a quarter of the work.
#pragma once

#include "layout.h"
#include "statistics.h"

namespace densenet {

struct Transition {
  Extent extent;  // of the input
  int in_channels, out_channels;
  Norm norm;
  const float* conv;  // (out_channels, in_channels)

  Extent out_extent() const { return {extent.batch, extent.height / 2, extent.width / 2}; }  // an odd line is left out
};

// Number: Fp32 or Bf16, what the convolution multiplies; all else is float32.
//
// x: (P, pixel_stride(in_channels)); stats: (2, in_channels), mean and biased variance of x. Out: y
// (P', pixel_stride(out_channels)) and y_stats (2, out_channels). Updates the running statistics.
template <class Number>
void train_forward(const Transition& transition, const float* x, const float* stats, float* y, float* y_stats);

// The same with the running statistics.
template <class Number>
void infer(const Transition& transition, const float* x, float* y);

// d_y, d_y_stats: gradients of y and y_stats. Out: gradients of x, of stats, and of the parameters.
template <class Number>
void backward(const Transition& transition, const float* x, const float* stats, const float* y, const float* y_stats,
              const float* d_y, const float* d_y_stats, float* d_x, float* d_stats, float* d_gamma, float* d_beta,
              float* d_conv);

}  // namespace densenet
