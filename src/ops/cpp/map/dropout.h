// Dropout (Srivastava et al. 2014) of a layer's new features, bit for bit that of src/network/dropout.py: whether a
// number is kept is a hash of its index in (N, C, H, W), of the layer's key and of how many calls there were before. So
// it does not matter which thread asks, nor how often.
#pragma once

#include "base/indices.h"
#include "base/layout.h"
#include "base/simd.h"

namespace densenet {

// What all layers share: the lowest hash that keeps its number, and what numbers that are kept are multiplied by.
struct Dropout {
  int32_t lowest_kept;
  float scale;
};

class DropMask {
 public:
  // Of a map of `channels`. key, calls: the layer's random_state.
  DropMask(const Dropout& dropout, const Extent& extent, int channels, int32_t key, int32_t calls)
      : dropout_(dropout),
        area_(static_cast<uint32_t>(extent.height) * extent.width),
        channels_(channels),
        call_hash_(mix(mix(static_cast<uint32_t>(key)) + static_cast<uint32_t>(calls))) {}

  // The index of channel 0 of a pixel of the map. Those of neighbours in an image follow each other.
  uint32_t first_index(long pixel) const {
    const long image = pixel / area_;
    return static_cast<uint32_t>(pixel + image * (channels_ - 1) * area_);
  }

  // What kLanes channels from c on are multiplied by: the scale or zero.
  Vec factors(uint32_t first_index, int c) const {
    const Words indices = first_index + (numbers() + static_cast<uint32_t>(c)) * area_;
    const Indices hashes = (Indices)mix(mix(mix(indices) ^ call_hash_));
    return hashes >= dropout_.lowest_kept ? Vec{} + dropout_.scale : Vec{};
  }

  // Multiplies `pixels` rows, of a line of the map from pixel `first` on or of several lines of one image.
  void apply(float* rows, long stride, long first, long pixels) const {
    const uint32_t index = first_index(first);
    for (long pixel = 0; pixel < pixels; pixel++, rows += stride) {
      for (int c = 0; c < channels_; c += kLanes) {
        store(rows + c, load(rows + c) * factors(index + static_cast<uint32_t>(pixel), c));
      }
    }
  }

 private:
  typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));

  static Words numbers() {
    Words numbers;
    for (int lane = 0; lane < kLanes; lane++) numbers[lane] = static_cast<uint32_t>(lane);
    return numbers;
  }
  template <class Word>
  static Word mix(Word x) {
    x *= 0x7FEB352Du;
    return x ^ (x >> 15);
  }

  Dropout dropout_;
  uint32_t area_;
  int channels_;
  uint32_t call_hash_;
};

}  // namespace densenet
