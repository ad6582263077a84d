// From a picture to the network's input, bit for bit as src/datasets/preprocessing.py says: the seed's geometry as
// MindSpore's operators do it, the others as Pillow (pillow.h).
#ifndef DENSENET_PREPROCESSING_H_
#define DENSENET_PREPROCESSING_H_

#include <vector>

#include "decode.h"
#include "options.h"

namespace densenet {

// Bilinear, without anti-aliasing, to size x size.
Image Resize(Image image, int size);

// The size x size pixels in the middle; the picture is at least that large.
Image CenterCrop(const Image& image, int size);

// (3, height, width): each channel with its mean subtracted, divided by its std.
std::vector<float> Normalise(const Image& image, const Preprocessing& preprocessing);

// How pictures are decoded for this preprocessing.
Decoding DecodingFor(const Preprocessing& preprocessing);

// All of it: (channels, image_size, image_size).
std::vector<float> Preprocess(Image image, const Preprocessing& preprocessing);

}  // namespace densenet

#endif  // DENSENET_PREPROCESSING_H_
