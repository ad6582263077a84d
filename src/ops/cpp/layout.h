// How tensors lie in memory: channels last, rows of pixels padded to whole cache lines.
#pragma once

#include <algorithm>
#include <cstddef>
#include <new>

namespace densenet {

constexpr int kLineFloats = 16;  // 64 bytes: a cache line, and a multiple of every vector

// `channels` rounded up to whole cache lines.
inline int padded(int channels) { return (channels + kLineFloats - 1) / kLineFloats * kLineFloats; }

// Floats between two pixels of a feature map. Rows a multiple of 1 KiB apart would compete for the same few sets of
// the first-level cache, so such a row gets one line more. src/ops/dense_ops.py computes the same.
inline int pixel_stride(int channels) {
  const int width = padded(channels);
  return width % 256 == 0 ? width + kLineFloats : width;
}

// Batch, height and width of a feature map.
struct Extent {
  int batch, height, width;
  long pixels() const { return static_cast<long>(batch) * height * width; }
};

// Uninitialised floats at the start of a cache line. Frees itself; throws std::bad_alloc.
class Buffer {
 public:
  explicit Buffer(size_t floats) : data_(static_cast<float*>(::operator new(4 * floats + 64, kAlignment))) {}
  ~Buffer() { ::operator delete(data_, kAlignment); }
  Buffer(Buffer&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* get() const { return data_; }
  float& operator[](size_t i) const { return data_[i]; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  float* data_;
};

}  // namespace densenet
