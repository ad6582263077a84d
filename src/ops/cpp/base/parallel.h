// Work for all cores that this process may use, in parts: a thread that has done its own takes those of others.
//
// The parts follow from the work alone and what is summed over them is added up in their order, so the bits depend
// neither on the number of threads nor on who took what.
#pragma once

#include <algorithm>
#include <vector>

#include "base/layout.h"
#include "base/simd.h"

namespace densenet {

// Cores in this process's affinity mask and its containers' quotas, no more than OMP_NUM_THREADS. Ranks of a job take
// their cores after they have joined it, so it is asked at each call.
int thread_count();

struct Range {
  long begin, end;
};

// Part `part` of `parts` nearly equal ones of 0 .. total - 1.
inline Range share(long total, long part, long parts) { return {total * part / parts, total * (part + 1) / parts}; }

// A run of neighbouring items, its number, and that of the thread which does it: whose scratch it may use.
struct Part {
  long begin, end;
  int number, thread;
};

// How many parts `items` are cut into, for any number of threads: few enough for a sum of each.
class Parts {
 public:
  explicit Parts(long items, int most = kMost) : items_(items), count_(static_cast<int>(std::min<long>(items, most))) {}
  int count() const { return count_; }
  Part part(int number, int thread) const {
    const Range items = share(items_, number, count_);
    return {items.begin, items.end, number, thread};
  }
  static constexpr int kMost = 128;

 private:
  long items_;
  int count_;
};

// Parts of `items`, which are so many pixels in all, for sums of the weights' gradients: to clear such a sum and to add
// it to the others takes as long as the products of a few pixels. With half as many pixels a part, training was 5 %
// slower in the last dense block of DenseNet-121 (two Zen 3 cores); with twice as many it was not faster.
inline Parts parts_for_sums(long items, long pixels) {
  constexpr long kPixels = 256, kLeast = 16;
  return Parts(items, static_cast<int>(std::clamp<long>(pixels / kPixels, kLeast, Parts::kMost)));
}

// Calls call(work, part, thread) once for each part below `parts`, by up to `threads` threads, and waits.
void run_team(int threads, int parts, void (*call)(const void* work, int part, int thread), const void* work);

// Calls work(part) once for each of `parts`, by up to `threads` threads, and waits. `work` must not throw, nor call
// `parallel`.
template <class Work>
void parallel(int threads, const Parts& parts, const Work& work) {
  struct Call {
    const Parts& parts;
    const Work& work;
  };
  const Call call{parts, work};
  run_team(
      threads, parts.count(),
      [](const void* of_all, int number, int thread) {
        const Call& call = *static_cast<const Call*>(of_all);
        call.work(call.parts.part(number, thread));
        finish_streams();
      },
      &call);
}

// One buffer a thread, allocated where an exception can still be thrown.
template <class Value = float>
std::vector<Buffer<Value>> buffers(int threads, size_t values) {
  std::vector<Buffer<Value>> result;
  for (int t = 0; t < threads; t++) result.emplace_back(values);
  return result;
}

// Sums of `floats` values, one of each part, which add_up() adds in the parts' order.
class SumsOfParts {
 public:
  // Outside of `parallel`: may allocate.
  void begin(const Parts& parts, long floats) {
    parts_ = parts.count(), floats_ = floats;
    if (const size_t all = static_cast<size_t>(parts_) * floats; all > capacity_) {
      data_ = Buffer<>(all);
      capacity_ = all;
    }
  }
  float* zeroed(const Part& part) const { return std::fill_n(of(part.number), floats_, 0.0f) - floats_; }
  const float* add_up(int threads) const;

 private:
  float* of(int part) const { return data_.get() + part * floats_; }

  int parts_ = 0;
  long floats_ = 0;
  size_t capacity_ = 0;
  Buffer<> data_{0};
};

}  // namespace densenet
