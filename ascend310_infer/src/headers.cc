#include "headers.h"

#include <cstddef>
#include <cstring>
#include <string>

namespace densenet {
namespace {

// A picture of more pixels is refused, here and in Python (MAX_PIXELS of src/datasets/image_check.py).
constexpr uint64_t kMaxPixels = 178956970;
// The longest side that the decoders take: libjpeg's JPEG_MAX_DIMENSION, libpng's PNG_USER_WIDTH_MAX.
constexpr uint64_t kMaxSide = 1000000, kMaxJpegSide = 65500;
// What a stored byte can stand for at most, as there: 8 blocks of 8 x 8 and a factor of 2, and deflate's 1032 bytes.
constexpr uint64_t kJpegPixelsPerByte = 1024, kDeflateBytesPerByte = 1040;

uint64_t BigEndian(const std::vector<uint8_t>& file, size_t at, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value = value << 8 | file[at + static_cast<size_t>(i)];
  return value;
}

std::string Sides(uint64_t width, uint64_t height) { return std::to_string(width) + " x " + std::to_string(height); }

void CheckSize(uint64_t width, uint64_t height, uint64_t longest) {
  const std::string found = "has " + Sides(width, height) + " pixels, more than the limit of ";
  if (width * height > kMaxPixels) {
    throw LimitError(found + std::to_string(kMaxPixels) + " pixels; make it smaller");
  }
  if (width > longest || height > longest) {
    throw LimitError(found + std::to_string(longest) + " for a side; make it smaller");
  }
}

void CheckFits(uint64_t width, uint64_t height, uint64_t needed, uint64_t allowed) {
  if (needed > allowed) throw Error("they cannot hold the " + Sides(width, height) + " pixels that it claims");
}

bool BeginsFrame(uint8_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

}  // namespace

void CheckJpegSize(uint64_t width, uint64_t height, bool arithmetic, size_t bytes) {
  CheckSize(width, height, kMaxJpegSide);
  // Arithmetic coding's blocks may take less than a bit.
  if (!arithmetic) CheckFits(width, height, width * height, kJpegPixelsPerByte * bytes);
}

void CheckJpegHeader(const std::vector<uint8_t>& file) {
  for (size_t at = 2; at + 9 <= file.size() && file[at] == 0xff;) {
    const uint8_t marker = file[at + 1];
    if (marker == 0xff) {  // a fill byte
      at++;
    } else if (BeginsFrame(marker)) {
      const uint64_t height = BigEndian(file, at + 5, 2), width = BigEndian(file, at + 7, 2);
      CheckJpegSize(width, height, marker == 0xc9 || marker == 0xca, file.size());
      return;
    } else {
      at += 2 + BigEndian(file, at + 2, 2);
    }
  }
}

void CheckPngHeader(const std::vector<uint8_t>& file) {
  uint64_t compressed = 0;
  for (size_t at = 8;;) {
    if (at + 12 > file.size()) throw Error("it is truncated");
    const char* name = reinterpret_cast<const char*>(&file[at + 4]);
    const uint64_t length = BigEndian(file, at, 4) + 12;
    if (length > file.size() - at) throw Error("it is truncated, or a chunk's length is damaged");
    if (std::memcmp(name, "IDAT", 4) == 0) compressed += length;
    if (std::memcmp(name, "IEND", 4) == 0) break;
    at += length;
  }
  if (file.size() < 8 + 12 + 13) throw Error("it is truncated");
  const uint64_t width = BigEndian(file, 16, 4), height = BigEndian(file, 20, 4);
  CheckSize(width, height, kMaxSide);
  constexpr int kChannels[] = {1, 1, 3, 1, 2, 1, 4};
  const uint64_t bits = file[24] * static_cast<uint64_t>(kChannels[file[25] < 7 ? file[25] : 0]);
  CheckFits(width, height, height * (1 + width * bits / 8), kDeflateBytesPerByte * compressed);
}

}  // namespace densenet
