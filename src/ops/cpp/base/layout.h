// How tensors lie in memory: channels last, rows of pixels padded to whole cache lines.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace densenet {

constexpr int kLineFloats = 16;  // 64 bytes: a cache line, and a multiple of every vector

// `channels` rounded up to whole cache lines.
inline int padded(int channels) { return (channels + kLineFloats - 1) / kLineFloats * kLineFloats; }

// Floats between two pixels of a feature map: one line more than its channels take, so that the map may start later in
// its tensor. Rows a multiple of 1 KiB apart would compete for the same few sets of the first-level cache, so such a
// row gets another line. src/ops/dense_ops.py computes the same.
inline int pixel_stride(int channels) {
  const int width = padded(channels) + kLineFloats;
  return width % 256 == 0 ? width + kLineFloats : width;
}

// Rows of pixels: floats from one to the next.
struct Rows {
  const float* data;
  long stride;
  const float* pixel(long at) const { return data + at * stride; }
};
struct MutableRows {
  float* data;
  long stride;
  bool past_caches = false;  // how they are stored
};
// Of a whole batch's map, which is made before it is read again.
constexpr bool kPastCaches = true;

// Batch, height and width of a feature map.
struct Extent {
  int batch, height, width;
  long pixels() const { return static_cast<long>(batch) * height * width; }
};

// Uninitialised values at the start of a cache line. Frees itself; throws std::bad_alloc.
template <class Value = float>
class Buffer {
 public:
  explicit Buffer(size_t values)
      : data_(static_cast<Value*>(::operator new(sizeof(Value) * values + kLineBytes, kAlignment))) {}
  ~Buffer() { ::operator delete(data_, kAlignment); }
  Buffer(Buffer&& other) noexcept : data_(other.data_) { other.data_ = nullptr; }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Value* get() const { return data_; }
  Value& operator[](size_t i) const { return data_[i]; }

 private:
  static constexpr size_t kLineBytes = 64;  // a vector may read that far beyond the last value
  static constexpr std::align_val_t kAlignment{kLineBytes};
  Value* data_;
};

}  // namespace densenet
