// What the convolution of a transition reads: averages of normalised features.
#pragma once

#include "map/operands.h"
#include "parts/transition.h"

namespace densenet {

// The upper left one of the four input pixels of output pixel `pixel`.
inline long first_of_four(const Transition& transition, long pixel) {
  const Extent in = transition.extent, out = transition.out_extent();
  const long image = pixel / (out.height * out.width), in_image = pixel % (out.height * out.width);
  return (image * in.height + in_image / out.width * 2) * in.width + in_image % out.width * 2;
}

// pixel -> channel -> the average over the 2x2 window of relu(affine(x)) that an output pixel sees.
inline auto pooled_pixels(const Transition& transition, const float* x, const Affine& affine) {
  const long right = pixel_stride(transition.in_channels), below = transition.extent.width * right;
  return [=, &transition, &affine](long pixel) {
    return [=, &affine, four = x + first_of_four(transition, pixel) * right](int c) {
      const Vec above = normalised(four, affine, c) + normalised(four + right, affine, c);
      const Vec under = normalised(four + below, affine, c) + normalised(four + below + right, affine, c);
      return (above + under) * 0.25f;
    };
  };
}

}  // namespace densenet
