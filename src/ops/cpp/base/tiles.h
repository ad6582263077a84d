// How the pixels of a feature map are cut so that each piece's scratch stays in the caches.
//
// Operations that take statistics of what they make cut it in the same way for any number of threads, into kLeastPieces
// or more; others may cut a small map into as many pieces as there are threads.
#pragma once

#include <numeric>

#include "base/layout.h"

namespace densenet {

constexpr long kScratchFloats = 65536;  // 256 KiB of a second-level cache of 1 MiB or more

constexpr int kLeastPieces = 4;

// Images that inference takes through all layers together: what a layer makes is then in the caches when the next ones
// read it. Measured on two Zen 5 cores, batches of 32: DenseNet-121 1.2 times as fast in bf16 as all at once, 1.05 in
// float32, DenseNet-100 1.25 times in bf16.
inline int images_together(int threads) { return std::min(2 * threads, 32); }

// Stride of `channels` floats in scratch: an odd number of cache lines, so that the rows of a tile lie in different
// sets of the first-level cache.
inline int scratch_stride(int channels) {
  const int width = padded(channels);
  return width / kLineFloats % 2 ? width : width + kLineFloats;
}

// Pixels in runs of `size`, for operations that see one pixel at a time. As many runs as all of least_pieces threads
// get the same number of, and as long.
struct Chunks {
  Chunks(long pixels, int channels, int least_pieces) : pixels(pixels) {
    const long most = std::clamp(kScratchFloats / padded(channels), kMinPixels, kMaxPixels);
    const long pieces = (pixels + most - 1) / most, rounds = (pieces + least_pieces - 1) / least_pieces;
    size = (pixels + rounds * least_pieces - 1) / (rounds * least_pieces);
  }
  Chunks(long pixels, long size) : pixels(pixels), size(size) {}
  long count() const { return (pixels + size - 1) / size; }
  long first(long chunk) const { return chunk * size; }
  long length(long chunk) const { return std::min(size, pixels - first(chunk)); }
  static constexpr long kMinPixels = 42, kMaxPixels = 168;  // several tiles high
  long pixels, size;
};

// Lines of images in strips of about `height`, for operations that look at neighbours.
struct Strips {
  // channels: floats of scratch a pixel.
  Strips(const Extent& extent, int channels, int least_pieces) : extent(extent) {
    const long line = static_cast<long>(extent.width + 2) * channels;
    long height = std::clamp(kScratchFloats / line, 4L, static_cast<long>(std::max(extent.height, 4)));
    height = std::min(height, (static_cast<long>(extent.batch) * extent.height + least_pieces - 1) / least_pieces);
    const long of_image = least_pieces / std::gcd(extent.batch, least_pieces);  // for threads to get the same number
    per_image = (extent.height + height - 1) / height;
    per_image = std::min((per_image + of_image - 1) / of_image * of_image, static_cast<long>(extent.height));
    max_height = static_cast<int>((extent.height + per_image - 1) / per_image);
  }
  long count() const { return extent.batch * per_image; }
  int image(long strip) const { return static_cast<int>(strip / per_image); }
  int first(long strip) const { return static_cast<int>(extent.height * (strip % per_image) / per_image); }
  int height(long strip) const {
    return static_cast<int>(extent.height * (strip % per_image + 1) / per_image) - first(strip);
  }
  long pixels(long strip) const { return static_cast<long>(height(strip)) * extent.width; }
  // Of the strip's first pixel in the whole map.
  long first_pixel(long strip) const {
    return (static_cast<long>(image(strip)) * extent.height + first(strip)) * extent.width;
  }
  Extent extent;
  long per_image;
  int max_height;
};

}  // namespace densenet
