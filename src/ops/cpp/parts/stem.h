// What comes before the first dense block: conv7x7 of stride 2, BN-ReLU and a 3x3 max pool of stride 2 (ImageNet), or
// conv3x3 and BN-ReLU (CIFAR).
#pragma once

#include "base/layout.h"
#include "convolutions/convolutions.h"
#include "map/feature_map.h"
#include "map/statistics.h"
#include "parts/max_pool.h"

namespace densenet {

struct Stem {
  Extent images;  // (batch, 3, height, width)
  int channels, kernel;
  bool pool;
  int pool_top, pool_left;  // padding of the pool before the first line and column; at the end as much as it needs
  const float* conv;        // (channels, 3, kernel, kernel)
  Norm norm;

  ImageConv image_conv() const { return {images, channels, kernel, pool ? 2 : 1, conv}; }
  Extent conv_extent() const { return image_conv().out_extent(); }
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
  FeatureMap convolved;
  float* extremes;   // like y's pixels: what the pool chose of `convolved`; unused without a pool
  uint8_t* indices;  // (P', padded(channels)), where in its window
  // What y is made of, pixel by pixel.
  const float* before_norm(const Stem& stem) const { return stem.pool ? extremes : convolved.pixels; }
};

// Number: Fp32 or Bf16, what the convolution multiplies; all else is float32.
//
// images: (N, 3, H, W). Makes what is saved, and y; updates the running statistics.
template <class Number>
void train_forward(const Stem& stem, const float* images, const StemActivations& saved, const FeatureMap& y);

// The same with the running statistics and without those of y.
template <class Number>
void infer(const Stem& stem, const float* images, const FeatureMap& y);

// As inference computes it: weights in the order of the products, the normalisation as scale and offset.
template <class Number>
struct PreparedStem {
  PreparedStem(const Stem& stem, int threads);

  Affine norm;
  typename StemConv<Number>::Weights conv;
};

// The same of a stem that was prepared before. y: room for padded(channels) in each row.
template <class Number>
void infer(const Stem& stem, const PreparedStem<Number>& prepared, const float* images, const MutableRows& y);

// Gradients of the parameters from those of y, of whose pixels nothing is needed; d_relu, like them, is that of what
// the ReLU gets.
template <class Number>
void backward(const Stem& stem, const float* images, const StemActivations& saved, const FeatureMap& y,
              const FeatureMap& d_y, float* d_relu, float* d_conv, float* d_gamma, float* d_beta);

// The same in evaluation, where the normalisation is frozen and nothing was saved: what is needed is made again, and
// the running statistics take the place of the convolution's.
template <class Number>
void infer_backward(const Stem& stem, const float* images, const StemActivations& saved, const FeatureMap& d_y,
                    float* d_relu, float* d_conv, float* d_gamma, float* d_beta);

// The gradient of the images from what either of them left. d_gamma, d_beta: zeros after evaluation, where the
// convolution's statistics have no gradients.
template <class Number>
void images_backward(const Stem& stem, const StemActivations& saved, const float* d_relu, const float* d_gamma,
                     const float* d_beta, float* d_images);

}  // namespace densenet
