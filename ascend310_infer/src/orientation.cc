#include "orientation.h"

#include <cstddef>
#include <cstring>
#include <utility>

namespace densenet {
namespace {

constexpr size_t kMaxExifBytes = 1 << 20;  // as MAX_EXIF_BYTES in Python
constexpr uint64_t kOrientation = 0x0112, kShort = 3;

struct Bytes {
  const uint8_t* data;
  size_t size;

  bool Begins(const char* text, size_t length) const { return size >= length && std::memcmp(data, text, length) == 0; }
  Bytes From(size_t at) const { return {data + at, size - at}; }
};

uint64_t Number(const uint8_t* data, int bytes, bool big_endian) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value = value << 8 | data[big_endian ? i : bytes - 1 - i];
  return value;
}

int ExifOrientation(Bytes exif) {
  const bool big_endian = exif.Begins("MM\0*", 4);
  if ((!big_endian && !exif.Begins("II*\0", 4)) || exif.size > kMaxExifBytes || exif.size < 8) return 1;
  const uint64_t directory = Number(exif.data + 4, 4, big_endian);
  if (directory + 2 > exif.size) return 1;
  const uint64_t count = Number(exif.data + directory, 2, big_endian);
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t entry = directory + 2 + 12 * i;
    if (entry + 10 > exif.size) return 1;
    const uint8_t* at = exif.data + entry;
    if (Number(at, 2, big_endian) != kOrientation) continue;
    const uint64_t value = Number(at + 8, 2, big_endian);
    return Number(at + 2, 2, big_endian) == kShort && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

int JpegOrientation(Bytes file) {
  for (size_t at = 2; at + 10 <= file.size;) {
    const uint8_t marker = file.data[at + 1];
    if (file.data[at] != 0xff || marker == 0xff) {  // stray bytes, over which decoders go, or a fill byte
      at++;
      continue;
    }
    if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) break;  // the frame
    const size_t end = at + 2 + Number(file.data + at + 2, 2, true);
    if (marker == 0xe1 && file.From(at + 4).Begins("Exif\0\0", 6)) {
      const size_t start = at + 10, stop = end < file.size ? end : file.size;
      return start < stop ? ExifOrientation({file.data + start, stop - start}) : 1;
    }
    at = end;
  }
  return 1;
}

int PngOrientation(Bytes file) {
  for (size_t at = 8; at + 12 <= file.size;) {
    const uint64_t length = Number(file.data + at, 4, true);
    if (at + 12 + length > file.size) break;
    if (file.From(at + 4).Begins("eXIf", 4)) return ExifOrientation({file.data + at + 8, length});
    at += 12 + length;
  }
  return 1;
}

// Pixels of `size` values each: target(y, x) is source(x, y) if `transposed`, read backwards if `down` or `right`.
template <class T>
std::vector<T> Turned(const std::vector<T>& source, const Image& image, int size, bool transposed, bool down,
                      bool right) {
  if (source.empty()) return {};
  std::vector<T> target;
  target.reserve(source.size());
  const int height = transposed ? image.width : image.height, width = transposed ? image.height : image.width;
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++) {
      const int from_y = transposed ? x : y, from_x = transposed ? y : x;
      const size_t row = static_cast<size_t>(down ? image.height - 1 - from_y : from_y);
      const size_t column = static_cast<size_t>(right ? image.width - 1 - from_x : from_x);
      const T* pixel = &source[(row * static_cast<size_t>(image.width) + column) * static_cast<size_t>(size)];
      target.insert(target.end(), pixel, pixel + size);
    }
  }
  return target;
}

}  // namespace

int OrientationOf(const std::vector<uint8_t>& file) {
  const Bytes bytes = {file.data(), file.size()};
  if (bytes.Begins("\xff\xd8\xff", 3)) return JpegOrientation(bytes);
  return bytes.Begins("\x89PNG\r\n\x1a\n", 8) ? PngOrientation(bytes) : 1;
}

Image Turn(Image image, int orientation) {
  if (orientation == 1) return image;
  const bool transposed = orientation >= 5;
  // Of the stored rows and columns, which are read backwards.
  const bool down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  Image turned = {image.height, image.width, Turned(image.rgb, image, 3, transposed, down, right),
                  Turned(image.deep, image, 1, transposed, down, right)};
  if (transposed) std::swap(turned.height, turned.width);
  return turned;
}

}  // namespace densenet
