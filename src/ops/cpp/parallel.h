// Work for all cores that this process may use. The shares are fixed: the same number of threads gives the same bits.
#pragma once

#include <vector>

#include "layout.h"
#include "simd.h"

namespace densenet {

// Cores in this process's affinity mask, no more than OMP_NUM_THREADS. Ranks of a job take their cores after they
// have joined it, so it is asked at each call.
int thread_count();

struct Range {
  long begin, end;
};

// The part of 0 .. total - 1 that belongs to `thread`.
inline Range share(long total, int thread, int threads) {
  return {total * thread / threads, total * (thread + 1) / threads};
}

// Calls call(work, thread) once for each thread number below `threads`, side by side, and waits.
void run_team(int threads, void (*call)(const void* work, int thread), const void* work);

// Calls work(thread) once for each thread number below `threads`, side by side, and waits. `work` must not throw, nor
// call `parallel`.
template <class Work>
void parallel(int threads, const Work& work) {
  run_team(
      threads,
      [](const void* of_all, int thread) {
        (*static_cast<const Work*>(of_all))(thread);
        finish_streams();
      },
      &work);
}

// One buffer a thread, allocated where an exception can still be thrown.
template <class Value = float>
std::vector<Buffer<Value>> buffers(int threads, size_t values) {
  std::vector<Buffer<Value>> result;
  for (int t = 0; t < threads; t++) result.emplace_back(values);
  return result;
}

// results[0] += results[1] + ... over `floats` values.
void reduce(const std::vector<Buffer<>>& results, long floats);

}  // namespace densenet
