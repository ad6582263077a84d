// Decoding JPEG and PNG with the pixels of MindSpore's vision.Decode, or of src/datasets/shown.py.
#ifndef DENSENET_DECODE_H_
#define DENSENET_DECODE_H_

#include <cstdint>
#include <vector>

namespace densenet {

struct Image {
  int height, width;
  std::vector<uint8_t> rgb;    // (height, width, 3)
  std::vector<uint16_t> deep;  // (height, width): 16-bit grey that is kept; rgb is empty then
};

struct Decoding {
  bool shown;        // turned as EXIF says, transparency over white; else neither, as MindSpore's decoder does it
  bool like_pillow;  // CMYK is rounded as Pillow does it, not MindSpore
  bool keeps_deep;   // 16-bit grey is kept; else of 16 bits the upper 8
};

// Gamma and colour profiles are ignored. LimitError for a picture that is too large, Error for anything but a complete
// JPEG or PNG.
Image DecodeImage(const std::vector<uint8_t>& file, const Decoding& how);

}  // namespace densenet

#endif  // DENSENET_DECODE_H_
