// The stem's max pool: windows of 3 x 3, two apart.
//
// scale * x + offset grows with x where gamma is positive and falls where it is negative. So the largest normalised
// value of a window is that of its largest or its smallest x, and the pool can be taken of the convolution's lines
// while they are in the caches, before their statistics are known.
#pragma once

#include <cmath>
#include <vector>

#include "parallel.h"

namespace densenet {

// Windows along one axis.
struct Windows {
  int length, count, padding;  // of what is pooled; of the windows; before the first value
  // The first and the last of those that see position `at`.
  int first(int at) const { return (at + padding - 1) / kStep; }
  int last(int at) const { return std::min((at + padding) / kStep, count - 1); }
  // A window's place 0 is at `start`; what it sees of the axis is begin .. end - 1.
  int start(int window) const { return kStep * window - padding; }
  int begin(int window) const { return std::max(start(window), 0); }
  int end(int window) const { return std::min(start(window) + kSize, length); }
  static constexpr int kSize = 3, kStep = 2;
};

struct Windows2d {
  Windows lines, columns;
};

typedef int32_t Places __attribute__((vector_size(4 * kLanes)));
typedef uint16_t PlaceWords __attribute__((vector_size(2 * kLanes)));  // GCC converts by factors of two
typedef uint8_t PlaceBytes __attribute__((vector_size(kLanes)));

inline Places load_places(const uint8_t* p) {
  PlaceBytes bytes;
  std::memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(__builtin_convertvector(bytes, PlaceWords), Places);
}

inline void store_places(uint8_t* p, Places places) {
  const PlaceBytes bytes = __builtin_convertvector(__builtin_convertvector(places, PlaceWords), PlaceBytes);
  std::memcpy(p, &bytes, sizeof bytes);
}

// What the windows have chosen: its values, and 3 * line + column of its place in the window unless that is null.
struct Chosen {
  float* x;         // `stride` floats a pixel
  uint8_t* places;  // `columns` bytes a pixel
  long stride, columns;
  Chosen pixel(long at) const { return {x + at * stride, places ? places + at * columns : nullptr, stride, columns}; }
};

class MaxPool {
 public:
  // chosen: of (batch, windows.lines.count, windows.columns.count) pixels; gamma: (channels).
  MaxPool(const Windows2d& windows, const float* gamma, int channels, const Chosen& chosen, int threads)
      : windows_(windows),
        signs_(chosen.columns),
        chosen_(chosen),
        edge_values_(buffers(threads, windows.columns.count * chosen.stride)),
        edge_places_(buffers<uint8_t>(threads, windows.columns.count * chosen.columns)),
        starts_(threads, {false, -1}) {
    for (long c = 0; c < chosen.columns; c++) signs_[c] = c < channels ? std::copysign(1.0f, gamma[c]) : 1.0f;
  }

  // x (length of a line, columns): the line that is next of those of the batch that this thread adds, one behind the
  // other. Windows that begin with another thread's lines are put aside.
  void add(int thread, long line, const float* x) {
    const Windows& lines = windows_.lines;
    const long before = line / lines.length * lines.count;  // windows of the images before this one
    const int at = static_cast<int>(line % lines.length), first = lines.first(at), last = lines.last(at);
    Start& start = starts_[thread];
    const bool is_first = !start.has_lines;
    start.has_lines = true;
    if (is_first && lines.begin(first) < at) start.edge = before + first;
    for (int column = 0; column < windows_.columns.count; column++) {
      for (int c = 0; c < chosen_.columns; c += kLanes) {
        const Choice here = choose(x + c, column, c);
        for (int window = first; window <= last; window++) {
          const bool is_edge = before + window == start.edge;
          const Chosen target = is_edge ? edge(thread).pixel(column)
                                        : chosen_.pixel((before + window) * windows_.columns.count + column);
          const Choice of_line{here.x, here.places + Windows::kSize * (at - lines.start(window))};
          put(of_line, is_edge ? is_first : lines.begin(window) == at, target, c);
        }
      }
    }
  }

  // Call it when all threads have added theirs.
  void finish() {
    for (size_t thread = 0; thread < starts_.size(); thread++) {
      if (starts_[thread].edge < 0) continue;
      const Chosen edge = this->edge(static_cast<int>(thread));
      for (int column = 0; column < windows_.columns.count; column++) {
        const Chosen target = chosen_.pixel(starts_[thread].edge * windows_.columns.count + column);
        for (int c = 0; c < chosen_.columns; c += kLanes) put(get(edge.pixel(column), c), false, target, c);
      }
    }
  }

 private:
  struct Choice {
    Vec x;
    Places places;
  };
  // What a thread has had, and the line of windows that another one began.
  struct Start {
    bool has_lines;
    long edge;
  };

  // The first of the largest stays, and NaN, so that a diverging training shows.
  void take(const Choice& other, int c, Choice& best) const {
    const Vec sign = load(signs_.get() + c);
    const auto stays = (other.x * sign <= best.x * sign) | (best.x != best.x);
    best = {stays ? best.x : other.x, stays ? best.places : other.places};
  }

  Choice choose(const float* x, int window, int c) const {
    const Windows& columns = windows_.columns;
    const auto at = [&](int column) {
      return Choice{load(x + column * chosen_.columns), Places{} + (column - columns.start(window))};
    };
    Choice best = at(columns.begin(window));
    for (int column = columns.begin(window) + 1; column < columns.end(window); column++) take(at(column), c, best);
    return best;
  }

  Chosen edge(int thread) const {
    return {edge_values_[thread].get(), chosen_.places ? edge_places_[thread].get() : nullptr, chosen_.stride,
            chosen_.columns};
  }

  static Choice get(const Chosen& pixel, int c) {
    return {load(pixel.x + c), pixel.places ? load_places(pixel.places + c) : Places{}};
  }

  void put(const Choice& choice, bool is_first, const Chosen& pixel, int c) const {
    Choice best = choice;
    if (!is_first) {
      best = get(pixel, c);
      take(choice, c, best);
    }
    store(pixel.x + c, best.x);
    if (pixel.places) store_places(pixel.places + c, best.places);
  }

  Windows2d windows_;
  Buffer<> signs_;
  Chosen chosen_;
  std::vector<Buffer<>> edge_values_;
  std::vector<Buffer<uint8_t>> edge_places_;
  std::vector<Start> starts_;
};

}  // namespace densenet
