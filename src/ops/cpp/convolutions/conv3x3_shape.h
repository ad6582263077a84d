// What a 3x3 convolution with one line and column of zeros around the image is made for.
#pragma once

#include "base/layout.h"

namespace densenet {

struct Conv3x3Shape {
  Extent extent;
  int in_channels, out_channels;
};

}  // namespace densenet
