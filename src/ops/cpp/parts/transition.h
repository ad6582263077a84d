// A transition (Huang et al. 2017, section 3): BN-ReLU, 2x2 average pool, conv1x1. The paper convolves first; an
// average and a 1x1 convolution are both linear, so their order does not matter, and this is a quarter of the work.
// The model zoo's networks take the largest of the four instead, which has to come last: BN-ReLU, conv1x1, 2x2 max
// pool.
#pragma once

#include "base/layout.h"
#include "convolutions/convolutions.h"
#include "map/feature_map.h"
#include "map/statistics.h"

namespace densenet {

struct Transition {
  Extent extent;  // of the input
  int in_channels, out_channels;
  bool takes_largest;
  Norm norm;
  const float* conv;  // (out_channels, in_channels)

  Extent out_extent() const { return {extent.batch, extent.height / 2, extent.width / 2}; }  // an odd line is left out
};

// Number: Fp32 or Bf16, what the convolution multiplies; all else is float32.
//
// Makes y of x; updates the running statistics. chosen: (P', padded(out_channels)), which of its four pixels the
// largest was, line by line, the first of equals; unused with an average.
template <class Number>
void train_forward(const Transition& transition, const FeatureMap& x, const FeatureMap& y, uint8_t* chosen);

// The same with the running statistics and without those of the maps.
template <class Number>
void infer(const Transition& transition, const FeatureMap& x, const FeatureMap& y);

// As inference computes it: weights in the order of the products, the normalisation as scale and offset.
template <class Number>
struct PreparedTransition {
  PreparedTransition(const Transition& transition, int threads);

  Affine norm;
  typename Conv1x1<Number>::Weights conv;
};

// The same of a transition that was prepared before. x: pixels of a map of in_channels; y: room for
// padded(out_channels) in each row.
template <class Number>
void infer(const Transition& transition, const PreparedTransition<Number>& prepared, const float* x,
           const MutableRows& y);

// From the gradients of y those of x and of the parameters. Without the maps' statistics if the normalisation is
// frozen.
template <class Number>
void backward(const Transition& transition, const FeatureMap& x, const FeatureMap& y, const uint8_t* chosen,
              const FeatureMap& d_y, const FeatureMap& d_x, float* d_gamma, float* d_beta, float* d_conv);

// In evaluation: makes `chosen` again. Nothing for an average.
template <class Number>
void choose(const Transition& transition, const FeatureMap& x, uint8_t* chosen);

}  // namespace densenet
