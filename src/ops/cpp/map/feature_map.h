// What lies between the parts of the network: a feature map with its statistics, and where it starts in its tensor.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/layout.h"

namespace densenet {

// MindSpore's tensors start anywhere, and vectors that cross two cache lines are slow to load and must not go past the
// caches. What an operator makes for other operators therefore starts at the first cache line of its tensor, which has
// a line to spare, and the tensor's last four bytes say where: kMark, a NaN, and the bytes before. They hold if
// MindSpore copies the tensor. One that says nothing is MindSpore's own, such as a gradient of zeros, and starts at its
// start.
constexpr uint32_t kMark = 0x7fc5a500, kMarkMask = 63;

// The values of a tensor of `bytes` that an operator made.
template <class Value>
Value* values_from(void* tensor, size_t bytes) {
  uint32_t mark;
  std::memcpy(&mark, static_cast<char*>(tensor) + bytes - sizeof mark, sizeof mark);
  const uint32_t before = (mark & ~kMarkMask) == kMark ? mark & kMarkMask : 0;
  return reinterpret_cast<Value*>(static_cast<char*>(tensor) + before);
}

// The same of a tensor that an operator is to make, where it is left.
template <class Value>
Value* values_to(void* tensor, size_t bytes) {
  const uint32_t mark = kMark | (static_cast<uint32_t>(-reinterpret_cast<uintptr_t>(tensor)) & kMarkMask);
  std::memcpy(static_cast<char*>(tensor) + bytes - sizeof mark, &mark, sizeof mark);
  return values_from<Value>(tensor, bytes);
}

// Features, channels last, with the mean and the biased variance of each over all pixels; or the gradients of all of
// that. Where nobody needs the statistics, as in evaluation, they are null.
struct FeatureMap {
  Extent extent;
  int channels;
  float* pixels;  // (P, stride()); what lies behind the channels does not matter
  float *mean, *variance;

  long stride() const { return pixel_stride(channels); }
  // The pixels of `count` images from `first` on, without statistics.
  FeatureMap images(int first, int count) const {
    const long before = static_cast<long>(first) * extent.height * extent.width * stride();
    return {{count, extent.height, extent.width}, channels, pixels + before, nullptr, nullptr};
  }
  // All pixels' channels from `first` on.
  Rows from(int first) const { return {pixels + first, stride()}; }
};

}  // namespace densenet
