// Decoding JPEG and PNG with the pixels of MindSpore's vision.Decode.
#ifndef DENSENET_DECODE_H_
#define DENSENET_DECODE_H_

#include <cstdint>
#include <vector>

namespace densenet {

struct Image {
  int height, width;
  std::vector<uint8_t> rgb;  // (height, width, 3)
};

// Orientation marks, gamma and transparency are ignored, as in MindSpore.
// LimitError for a picture that is too large, Error for anything but a complete JPEG or PNG.
Image DecodeImage(const std::vector<uint8_t>& file);

}  // namespace densenet

#endif  // DENSENET_DECODE_H_
