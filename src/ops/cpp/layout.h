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

// MindSpore's tensors start anywhere, and vectors that cross two cache lines are slow to load and must not go past the
// caches. What an operator makes for other operators therefore starts at the first cache line of its tensor, which has
// a line to spare, and the tensor's last four bytes say where: kMark, a NaN, and the bytes before. They hold if
// MindSpore copies the tensor. One that says nothing is MindSpore's own, such as a gradient of zeros, and starts at its
// start.
constexpr uint32_t kMark = 0x7fc5a500, kMarkMask = 63;

inline uint32_t* mark_of(void* tensor, size_t bytes) {
  return reinterpret_cast<uint32_t*>(static_cast<char*>(tensor) + bytes - sizeof(uint32_t));
}

// Where the values of a tensor of `bytes` start.
inline void* start_of(void* tensor, size_t bytes) {
  const uint32_t mark = *mark_of(tensor, bytes);
  return static_cast<char*>(tensor) + ((mark & ~kMarkMask) == kMark ? mark & kMarkMask : 0);
}

// The same of one that is to be made, where it is left.
inline void* mark_start(void* tensor, size_t bytes) {
  const uint32_t before = static_cast<uint32_t>(-reinterpret_cast<uintptr_t>(tensor) & kMarkMask);
  *mark_of(tensor, bytes) = kMark | before;
  return start_of(tensor, bytes);
}

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
