// The two matrix products that every convolution here is made of, in register tiles.
#pragma once

#include "layout.h"
#include "parallel.h"
#include "simd.h"

namespace densenet {

// Right operand of `multiply`, B (taps, depth, columns), packed into panels of one to three vectors so that a tile
// reads it as one stream: panel, tap, depth, column. `columns` is a multiple of kLanes.
class Panels {
 public:
  // Space for the largest operand that the buffer will hold.
  explicit Panels(size_t floats) : data_(floats) {}

  // Fills it from value(tap, k, column), by `threads` threads.
  template <class Value>
  void pack(int taps, int depth, int columns, int threads, const Value& value);

  int taps() const { return taps_; }
  int depth() const { return depth_; }
  int count() const { return vectors_ == 1 ? 1 : vectors_ / 2; }
  // Panels are two vectors wide, but an odd number of vectors needs one of three, or of one if it is alone.
  int vectors(int panel) const { return panel == 0 && vectors_ % 2 ? std::min(vectors_, 3) : 2; }
  int first_column(int panel) const {
    return panel == 0 ? 0 : (2 * panel + (vectors_ % 2 ? 1 : 0)) * kLanes;
  }
  float* data(int panel) const { return data_.get() + static_cast<size_t>(first_column(panel)) * taps_ * depth_; }

 private:
  Buffer data_;
  int taps_ = 0, depth_ = 0, vectors_ = 0;
};

// out[i][j] = sum over t, k of a[t * a_tap + i * a_row + k] * B[t][k][j], i < rows, for the columns j of one panel.
void multiply(const float* a, long a_row, long a_tap, int rows, const Panels& b, int panel, float* out, long out_row);

// The same for all panels: `out` has all columns.
inline void multiply(const float* a, long a_row, long a_tap, int rows, const Panels& b, float* out, long out_row) {
  for (int panel = 0; panel < b.count(); panel++) {
    multiply(a, a_row, a_tap, rows, b, panel, out + b.first_column(panel), out_row);
  }
}

// Pixels of a left or right operand of `accumulate`: where one starts, and the floats to the next pixel and line.
struct Pixels {
  const float* data;
  long pixel, line;
};

// sums[i * columns + j] += sum over the lines and the pixels in them of a[i] * b[j], i < rows, j < columns, a
// multiple of kLanes.
void accumulate(Pixels a, int rows, Pixels b, int columns, int pixels, int lines, float* sums);

template <class Value>
void Panels::pack(int taps, int depth, int columns, int threads, const Value& value) {
  taps_ = taps, depth_ = depth, vectors_ = columns / kLanes;
  parallel(threads, [&](int thread) {
    for (int panel = 0; panel < count(); panel++) {
      const int first = first_column(panel), width = vectors(panel) * kLanes;
      const Range mine = share(static_cast<long>(taps) * depth, thread, threads);
      float* out = data(panel) + mine.begin * width;
      for (long row = mine.begin; row < mine.end; row++) {
        const int tap = static_cast<int>(row / depth), k = static_cast<int>(row % depth);
        for (int j = 0; j < width; j++) *out++ = value(tap, k, first + j);
      }
    }
  });
}

}  // namespace densenet
