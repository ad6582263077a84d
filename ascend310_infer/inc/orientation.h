// How a picture has to be turned to stand upright.
#ifndef DENSENET_ORIENTATION_H_
#define DENSENET_ORIENTATION_H_

#include <cstdint>
#include <vector>

#include "decode.h"

namespace densenet {

// The EXIF orientation of a JPEG or PNG, 1 (upright) to 8; 1 for what is damaged or says none. As orientation_of in
// src/datasets/shown.py.
int OrientationOf(const std::vector<uint8_t>& file);

// The picture turned upright.
Image Turn(Image image, int orientation);

}  // namespace densenet

#endif  // DENSENET_ORIENTATION_H_
