// Resizing as Pillow does it, antialiased, bit for bit, and the sizes and offsets of src/datasets/geometry.py.
#ifndef DENSENET_PILLOW_H_
#define DENSENET_PILLOW_H_

#include <cstdint>
#include <vector>

#include "options.h"

namespace densenet {

// (height, width, channels): uint8_t, or float for what keeps more than 8 bits.
template <class Value>
struct Pixels {
  int height, width, channels;
  std::vector<Value> values;
};

// To width x height with the filter "bilinear" or "bicubic". Value: uint8_t or float.
template <class Value>
Pixels<Value> Resample(Pixels<Value> pixels, int width, int height, const std::string& filter);

// Resized and cropped to image_size x image_size as the preprocessing says. Error for a picture that is too thin for
// it.
template <class Value>
Pixels<Value> Fit(Pixels<Value> pixels, const Preprocessing& preprocessing);

// The luma of (height, width, 3), ITU-R 601-2.
Pixels<uint8_t> Grey(const Pixels<uint8_t>& rgb);

}  // namespace densenet

#endif  // DENSENET_PILLOW_H_
