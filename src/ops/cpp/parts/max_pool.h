// The stem's max pool: windows of 3 x 3, two apart.
//
// scale * x + offset grows with x where gamma is positive and falls where it is negative. So the largest normalised
// value of a window is that of its largest or its smallest x, and the pool can be taken of the convolution's lines
// while they are in the caches, before their statistics are known. Where gamma is 0 all values are equal, and the
// gradient goes to the largest x, not to the first as elsewhere: another subgradient of the same function.
#pragma once

#include <cmath>
#include <vector>

#include "base/indices.h"
#include "base/parallel.h"

namespace densenet {

// Windows along one axis.
struct Windows {
  int length, count, padding;  // of what is pooled; of the windows; before the first value
  // The first and the last of those that see position `at`.
  int first(int at) const { return std::max(at + padding - 1, 0) / kStep; }
  int last(int at) const { return std::min((at + padding) / kStep, count - 1); }
  // A window's index 0 is at `start`, which may be before the axis; what it sees of it is begin .. end - 1.
  int start(int window) const { return kStep * window - padding; }
  int begin(int window) const { return std::max(start(window), 0); }
  int end(int window) const { return std::min(start(window) + kSize, length); }
  static constexpr int kSize = 3, kStep = 2;
};

struct Windows2d {
  Windows lines, columns;
};

// What the windows have chosen, and the index of that in the window, 3 * line + column; `indices` may be null.
struct PoolOutput {
  float* x;          // `stride` floats a pixel
  uint8_t* indices;  // `columns` bytes a pixel
  long stride, columns;
  PoolOutput pixel(long at) const {
    return {x + at * stride, indices ? indices + at * columns : nullptr, stride, columns};
  }
};

class MaxPool {
 public:
  // out: of (batch, windows.lines.count, windows.columns.count) pixels; gamma: (channels).
  MaxPool(const Windows2d& windows, const float* gamma, int channels, const PoolOutput& out, int parts)
      : windows_(windows),
        signs_(out.columns),
        out_(out),
        edge_values_(buffers(parts, windows.columns.count * out.stride)),
        edge_indices_(buffers<uint8_t>(parts, windows.columns.count * out.columns)),
        states_(parts, {false, -1}) {
    for (long c = 0; c < out.columns; c++) signs_[c] = c < channels ? std::copysign(1.0f, gamma[c]) : 1.0f;
  }

  // x (length of a line, columns): a line of the batch. Each part adds one run of lines, in their order, and the runs
  // follow the parts' numbers. Windows that begin with another part's lines are put aside.
  void add(int part, long line, const float* x) {
    const Windows& lines = windows_.lines;
    const long before = line / lines.length * lines.count;  // windows of the images before this one
    const int at = static_cast<int>(line % lines.length), first = lines.first(at), last = lines.last(at);
    PartState& state = states_[part];
    const bool is_first = !state.has_lines;
    state.has_lines = true;
    if (is_first && lines.begin(first) < at) state.edge = before + first;
    for (int column = 0; column < windows_.columns.count; column++) {
      for (int c = 0; c < out_.columns; c += kLanes) {
        const Choice here = choose(x + c, column, c);
        for (int window = first; window <= last; window++) {
          const bool is_edge = before + window == state.edge;
          const PoolOutput target =
              is_edge ? edge(part).pixel(column) : out_.pixel((before + window) * windows_.columns.count + column);
          const Choice of_line{here.x, here.indices + Windows::kSize * (at - lines.start(window))};
          put(of_line, is_edge ? is_first : lines.begin(window) == at, target, c);
        }
      }
    }
  }

  // Call it when all parts have added theirs.
  void merge_edges() {
    for (size_t part = 0; part < states_.size(); part++) {
      if (states_[part].edge < 0) continue;
      const PoolOutput edge = this->edge(static_cast<int>(part));
      for (int column = 0; column < windows_.columns.count; column++) {
        const PoolOutput target = out_.pixel(states_[part].edge * windows_.columns.count + column);
        for (int c = 0; c < out_.columns; c += kLanes) put(get(edge.pixel(column), c), false, target, c);
      }
    }
  }

 private:
  struct Choice {
    Vec x;
    Indices indices;
  };
  // Whether a part has had lines, and the line of windows that another one began with its own, or -1.
  struct PartState {
    bool has_lines;
    long edge;
  };

  // The first of the largest stays, and NaN, so that a diverging training shows.
  void keep_larger(const Choice& other, int c, Choice& best) const {
    const Vec sign = load(signs_.get() + c);
    const auto stays = (other.x * sign <= best.x * sign) | (best.x != best.x);
    best = {stays ? best.x : other.x, stays ? best.indices : other.indices};
  }

  Choice choose(const float* x, int window, int c) const {
    const Windows& columns = windows_.columns;
    const auto at = [&](int column) {
      return Choice{load(x + column * out_.columns), Indices{} + (column - columns.start(window))};
    };
    Choice best = at(columns.begin(window));
    for (int column = columns.begin(window) + 1; column < columns.end(window); column++) {
      keep_larger(at(column), c, best);
    }
    return best;
  }

  PoolOutput edge(int part) const {
    return {edge_values_[part].get(), out_.indices ? edge_indices_[part].get() : nullptr, out_.stride, out_.columns};
  }

  static Choice get(const PoolOutput& pixel, int c) {
    return {load(pixel.x + c), pixel.indices ? load_indices(pixel.indices + c) : Indices{}};
  }

  void put(const Choice& choice, bool is_first, const PoolOutput& pixel, int c) const {
    Choice best = choice;
    if (!is_first) {
      best = get(pixel, c);
      keep_larger(choice, c, best);
    }
    store(pixel.x + c, best.x);
    if (pixel.indices) store_indices(pixel.indices + c, best.indices);
  }

  Windows2d windows_;
  Buffer<> signs_;
  PoolOutput out_;
  std::vector<Buffer<>> edge_values_;
  std::vector<Buffer<uint8_t>> edge_indices_;
  std::vector<PartState> states_;
};

// Gradients of what the windows have chosen, and the indices of that.
struct PoolGradients {
  const float* d;          // `stride` floats a pixel
  const uint8_t* indices;  // `columns` bytes a pixel
  long stride, columns;
};

// d_x (length of a line, columns) = of each value of line `line` of the batch, the sum of the gradients of the windows
// that chose it.
inline void backward_line(const Windows2d& windows, const PoolGradients& pooled, long line, float* d_x) {
  const Windows &lines = windows.lines, &across = windows.columns;
  const long before = line / lines.length * lines.count, columns = pooled.columns;
  const int at = static_cast<int>(line % lines.length), first = lines.first(at), last = lines.last(at);
  for (int window = 0; window < across.count; window++) {
    const int start = across.start(window);  // its first value is the last one of the window before
    for (long c = 0; c < columns; c += kLanes) {
      const long out = start * columns + c;
      Vec d_first = window > 0 ? load(d_x + out) : Vec{}, d_second{}, d_third{};
      for (int y = first; y <= last; y++) {
        const long pixel = (before + y) * across.count + window;
        const float* d_pixel = pooled.d + pixel * pooled.stride + c;
        fetch_ahead(d_pixel, pooled.stride);
        const Vec d = load(d_pixel);
        const Indices chosen = load_indices(pooled.indices + pixel * columns + c);
        const Indices in_line = chosen - Windows::kSize * (at - lines.start(y));
        d_first += in_line == 0 ? d : Vec{};
        d_second += in_line == 1 ? d : Vec{};
        d_third += in_line == 2 ? d : Vec{};
      }
      if (start >= 0) store(d_x + out, d_first);
      if (start + 1 < across.length) store(d_x + out + columns, d_second);
      if (start + 2 < across.length) store(d_x + out + 2 * columns, d_third);
    }
  }
}

}  // namespace densenet
