#include "parallel.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>

#include "simd.h"

namespace densenet {

int thread_count() {
#ifdef DENSENET_STD_THREADS
  int threads = 4;
#else
  int threads = omp_get_max_threads();
#ifdef __linux__
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) threads = std::min(threads, CPU_COUNT(&cores));
#endif
#endif
  return std::max(threads, 1);
}

void reduce(const std::vector<Buffer<>>& results, long floats) {
  const int threads = static_cast<int>(results.size());
  parallel(threads, [&](int thread) {
    const Range lines = share((floats + kLineFloats - 1) / kLineFloats, thread, threads);
    for (int other = 1; other < threads; other++) {
      for (long i = lines.begin * kLineFloats; i < std::min(lines.end * kLineFloats, floats); i++) {
        results[0][i] += results[other][i];
      }
    }
  });
}

}  // namespace densenet
