// The two matrix products that every convolution here is made of, in register tiles. Number: Fp32 or Bf16.
#pragma once

#include "base/layout.h"
#include "base/number.h"
#include "base/parallel.h"
#include "products/pack.h"

namespace densenet {

// Memory that will be read next, fetched a little at each tile: products leave the path to memory idle. What follows
// them would otherwise wait for it.
class Prefetch {
 public:
  // `rows` rows of `bytes` each, `stride` bytes apart; to be fetched in `calls` calls of step().
  void add(const void* start, long rows, long bytes, long stride) {
    if (count_ == kRegions || rows <= 0) return;
    regions_[count_++] = {static_cast<const char*>(start), rows, bytes, stride};
    lines_ += rows * ((bytes + kLineBytes - 1) / kLineBytes + 1);
  }
  void start(long calls) { per_step_ = lines_ / std::max(calls, 1L) + 1; }
  void step() {
    for (long left = per_step_; left > 0 && region_ < count_; left--) {
      const Region& region = regions_[region_];
      __builtin_prefetch(region.start + row_ * region.stride + byte_, 0, 2);
      byte_ += kLineBytes;
      if (byte_ < region.bytes) continue;
      byte_ = 0;
      if (++row_ < region.rows) continue;
      row_ = 0, region_++;
    }
  }

 private:
  static constexpr int kRegions = 4, kLineBytes = 64;
  struct Region {
    const char* start;
    long rows, bytes, stride;
  };
  Region regions_[kRegions];
  int count_ = 0, region_ = 0;
  long lines_ = 0, per_step_ = 0, row_ = 0, byte_ = 0;
};

// Right operand of `multiply`, B (taps, depth, columns), packed into panels of one to three vectors so that a tile
// reads it as one stream: panel, tap, depth / kDepth, column, kDepth. `columns` is a multiple of kLanes; a depth that
// is no multiple of kDepth is filled up with zeros.
template <class Number>
class Panels {
 public:
  // Space for the largest operand that the buffer will hold.
  Panels(int taps, int depth, int columns)
      : data_(static_cast<size_t>(taps) * densenet::depth_steps<Number>(depth) * kDepth * columns) {}

  // Fills it from a source of pack.h, by `threads` threads.
  template <class Source>
  void pack(int taps, int depth, int columns, int threads, const Source& source);

  int taps() const { return taps_; }
  int depth_steps() const { return steps_; }  // of kDepth
  // Panels are two vectors wide, but an odd number of vectors needs one of three, or of one if it is alone.
  int count() const { return vectors_ == 1 ? 1 : vectors_ / 2; }
  int vectors(int panel) const { return panel == 0 && vectors_ % 2 ? std::min(vectors_, kMaxVectors) : 2; }
  int first_column(int panel) const { return panel == 0 ? 0 : (2 * panel + vectors_ % 2) * kLanes; }
  typename Number::Value* data(int panel) const {
    return data_.get() + static_cast<size_t>(first_column(panel)) * taps_ * steps_ * kDepth;
  }

 private:
  static constexpr int kDepth = Number::kDepth;

  Buffer<typename Number::Value> data_;
  int taps_ = 0, steps_ = 0, vectors_ = 0;
};

// out[i][j] = sum over t, k of a[t * a_tap + i * a_row + k] * B[t][k][j], i < rows, for the columns j of one panel.
template <class Number>
void multiply(const typename Number::Value* a, long a_row, long a_tap, int rows, const Panels<Number>& b, int panel,
              float* out, long out_row, Prefetch* ahead = nullptr);

// The same for all panels: `out` has all columns.
template <class Number>
void multiply(const typename Number::Value* a, long a_row, long a_tap, int rows, const Panels<Number>& b, float* out,
              long out_row, Prefetch* ahead = nullptr) {
  for (int panel = 0; panel < b.count(); panel++) {
    multiply(a, a_row, a_tap, rows, b, panel, out + b.first_column(panel), out_row, ahead);
  }
}

// Tiles that `multiply` makes of `rows` rows and `columns` columns, about.
inline long tile_count(long rows, int columns) { return rows / kTileRows[2] * (columns / kLanes / 2) + 1; }

// Pixels of a left or right operand of `accumulate`, kDepth of them interleaved: where the first is, and the values to
// the next kDepth pixels and to the next line.
template <class Number>
struct Pixels {
  const typename Number::Value* data;
  long step, line;
};

// sums[i * columns + j] += sum over the lines and the pixels in them of a[i] * b[j], i < rows, j < columns, a
// multiple of kLanes. steps: pixels / kDepth.
template <class Number>
void accumulate(Pixels<Number> a, int rows, Pixels<Number> b, int columns, int steps, int lines, float* sums);

template <class Number>
template <class Source>
void Panels<Number>::pack(int taps, int depth, int columns, int threads, const Source& source) {
  taps_ = taps, steps_ = densenet::depth_steps<Number>(depth), vectors_ = columns / kLanes;
  const int squares = (steps_ + kLanes - 1) / kLanes;  // along the depth
  const Parts parts(static_cast<long>(count()) * taps * squares);
  parallel(threads, parts, [&](const Part& mine) {
    for (long i = mine.begin; i < mine.end; i++) {
      const int panel = static_cast<int>(i / squares / taps), tap = static_cast<int>(i / squares % taps);
      const int step = static_cast<int>(i % squares) * kLanes, width = vectors(panel) * kLanes;
      auto* out = data(panel) + (static_cast<long>(tap) * steps_ + step) * width * kDepth;
      for (int j = 0; j < width; j += kLanes) {
        source.template square<Number>(tap, step * kDepth, first_column(panel) + j, depth,
                                       std::min(kLanes, steps_ - step), out + j * kDepth, width * kDepth);
      }
    }
  });
}

}  // namespace densenet
