// What comes before the first dense block: conv7x7 of stride 2, BN-ReLU and a 3x3 max pool of stride 2 (ImageNet), or
// conv3x3 and BN-ReLU (CIFAR).
#pragma once

#include "layout.h"
#include "max_pool.h"
#include "statistics.h"

namespace densenet {

struct Stem {
  Extent images;  // (batch, 3, height, width)
  int channels, kernel;
  bool pool;
  int pool_top, pool_left;  // padding of the pool before the first line and column; at the end as much as it needs
  const float* conv;        // (channels, 3, kernel, kernel)
  Norm norm;

  int step() const { return pool ? 2 : 1; }
  Extent conv_extent() const {  // the padding is kernel / 2 on each side
    return {images.batch, (images.height - 1) / step() + 1, (images.width - 1) / step() + 1};
  }
  Extent out_extent() const {
    const Extent conv = conv_extent();
    return pool ? Extent{conv.batch, (conv.height + 1) / 2, (conv.width + 1) / 2} : conv;
  }
  Windows2d windows() const {  // of the pool
    const Extent in = conv_extent(), out = out_extent();
    return {{in.height, out.height, pool_top}, {in.width, out.width, pool_left}};
  }
};

// What the backward pass needs.
struct StemActivations {
  float* convolved;   // (P, pixel_stride(channels))
  float* conv_stats;  // (2, channels)
  float* extremes;    // (P', pixel_stride(channels)), what the pool chose of `convolved`; unused without a pool
  uint8_t* indices;   // (P', padded(channels)), where in its window
  // What y is made of, pixel by pixel.
  const float* before_norm(const Stem& stem) const { return stem.pool ? extremes : convolved; }
};

// Number: Fp32 or Bf16, what the convolution multiplies; all else is float32.
//
// images: (N, 3, H, W). Out: what is saved, and y (P', pixel_stride(channels)) with y_stats (2, channels). Updates the
// running statistics.
template <class Number>
void train_forward(const Stem& stem, const float* images, const StemActivations& saved, float* y, float* y_stats);

// The same with the running statistics.
template <class Number>
void infer(const Stem& stem, const float* images, float* y);

// Gradients of the parameters from those of y and y_stats. scratch: like y.
template <class Number>
void backward(const Stem& stem, const float* images, const StemActivations& saved, const float* y_stats,
              const float* d_y, const float* d_y_stats, float* scratch, float* d_conv, float* d_gamma, float* d_beta);

}  // namespace densenet
