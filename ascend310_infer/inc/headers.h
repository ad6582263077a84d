// What a picture's file says of itself, held against limits and its bytes before anything is decoded.
#ifndef DENSENET_HEADERS_H_
#define DENSENET_HEADERS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "utils.h"

namespace densenet {

// A picture is not damaged but beyond a limit: the message follows its name.
struct LimitError : Error {
  using Error::Error;
};

// LimitError or Error when the frame of a JPEG is too large, or cannot be in so few bytes. What is damaged passes:
// libjpeg says it better.
void CheckJpegHeader(const std::vector<uint8_t>& file);

// The same for the frame that libjpeg found in so many bytes.
void CheckJpegSize(uint64_t width, uint64_t height, bool arithmetic, size_t bytes);

// The same for a PNG; Error also when a chunk is longer than the file.
void CheckPngHeader(const std::vector<uint8_t>& file);

}  // namespace densenet

#endif  // DENSENET_HEADERS_H_
