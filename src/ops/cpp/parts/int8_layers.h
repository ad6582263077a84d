// Dense layers and transitions whose convolutions multiply integers of 8 bits, for inference.
//
// Features stay float32, so nothing is rounded twice where a block's features meet: each convolution makes its own
// integers of them. Activations are relu(scale * x + offset), rounded, where a channel's step is in the scale and the
// offset and taken back by the weights; a convolution's sums become the next one's activations, or features, by another
// scale and offset.
#pragma once

#include <vector>

#include "parts/dense_block.h"
#include "parts/transition.h"

namespace densenet {

struct Int8Layer {
  // Of a layer that reads `channels` channels.
  Int8Layer(const DenseBlock& block, int channels)
      : norm1(channels),
        norm2(block.width),
        out(block.growth),
        conv1(Conv1x1<Int8>::space(channels, block.width)),
        conv2(block.width, block.growth) {}

  Affine norm1, norm2, out;  // from features to integers, from sums to integers, from sums to features
  Conv1x1<Int8>::Weights conv1;
  Conv3x3<Int8>::Weights conv2;
};

// As `infer` of dense_block.h. scratch: BorderedMap's values for the block's extent and width.
void infer(const DenseBlock& block, const std::vector<Int8Layer>& layers, const FeatureMap& features, uint8_t* scratch);

struct Int8Transition {
  Int8Transition(int in_channels, int out_channels)
      : norm(in_channels), out(out_channels), conv(Conv1x1<Int8>::space(in_channels, out_channels)) {}

  Affine norm, out;
  Conv1x1<Int8>::Weights conv;
};

// As `infer` of transition.h.
void infer(const Transition& transition, const Int8Transition& prepared, const float* x, const MutableRows& y);

// weights: (out_channels, in_channels).
void pack_1x1(const int8_t* weights, int in_channels, int out_channels, int threads, Conv1x1<Int8>::Weights& packed);

}  // namespace densenet
