// What a 3x3 convolution with one line and column of zeros around the image is made for.
#pragma once

#include "base/layout.h"

namespace densenet {

struct Conv3x3Shape {
  Extent extent;
  int in_channels, out_channels;
};

// weights (out_channels, in_channels, 3, 3) as a matrix for each line ky of the kernel, whose rows are the padded
// channels of its three taps, one tap after the other: (ky, row, output) -> weight, zero in the padding.
template <class Weight>
auto weights_by_line(const Weight* weights, int in_channels, int out_channels) {
  return [=, padded_in = padded(in_channels)](int ky, int kx_k, int g) {
    const int kx = kx_k / padded_in, k = kx_k % padded_in;
    const long at = ((static_cast<long>(g) * in_channels + k) * 3 + ky) * 3 + kx;
    return k < in_channels && g < out_channels ? weights[at] : Weight{};
  };
}

}  // namespace densenet
