#include "parallel.h"

#include <omp.h>
#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace densenet {
namespace {

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A wait for another thread's store: awake for a moment, as a step has hundreds of waits of some microseconds and to
// wake a thread takes longer than that, then asleep, as the cores belong to others too.
class Signal {
 public:
  // Returns when changed() is true; what it reads must be changed before `send` is called.
  template <class Changed>
  void wait(const Changed& changed) {
    const auto end = std::chrono::steady_clock::now() + kAwake;
    do {
      for (int i = 0; i < kPauses; i++) {
        if (changed()) return;
        pause();
      }
    } while (std::chrono::steady_clock::now() < end);
    std::unique_lock lock(mutex_);
    sleepers_++;
    condition_.wait(lock, changed);
    sleepers_--;
  }

  void send() {
    if (sleepers_ == 0) return;
    std::lock_guard lock(mutex_);
    condition_.notify_all();
  }

 private:
  static constexpr std::chrono::microseconds kAwake{100};
  static constexpr int kPauses = 16;
  std::mutex mutex_;
  std::condition_variable condition_;
  std::atomic<int> sleepers_{0};
};

// Threads that stay: thread 0 is the caller's. OpenMP's would do, but its team waits asleep when the process has
// another team, and MindSpore has one.
class Team {
 public:
  // Operators that MindSpore starts side by side take turns.
  void run(int threads, void (*call)(const void*, int), const void* work) {
    std::lock_guard lock(turn_);
    grow(threads - 1);
    call_ = call, work_ = work, threads_ = threads;
    unfinished_ = workers_;
    round_++;
    start_.send();
    call_shares(0);
    end_.wait([&] { return unfinished_ == 0; });
  }

 private:
  // With fewer workers than asked for, when the system refuses more, each does the work of several.
  void grow(int workers) {
    try {
      while (workers_ < workers) {
        std::thread([this, number = workers_ + 1, seen = round_.load()] { serve(number, seen); }).detach();
        workers_++;
      }
    } catch (const std::system_error&) {
    }
  }

  void serve(int number, unsigned seen) {
    for (;;) {
      start_.wait([&] { return round_ != seen; });
      seen++;  // the next round does not begin before this thread has finished this one
      call_shares(number);
      if (--unfinished_ == 0) end_.send();
    }
  }

  void call_shares(int number) const {
    for (int thread = number; thread < threads_; thread += workers_ + 1) call_(work_, thread);
  }

  std::mutex turn_;
  Signal start_, end_;
  std::atomic<unsigned> round_{0};
  std::atomic<int> unfinished_{0};
  int workers_ = 0, threads_ = 0;
  void (*call_)(const void*, int) = nullptr;
  const void* work_ = nullptr;
};

// Never destroyed: its threads wait in it until the process ends. A fork's child has none of them and starts anew.
Team* of_process = nullptr;

Team& team() {
  static const int handler = [] {
    of_process = new Team;
    return pthread_atfork(nullptr, nullptr, [] { of_process = new Team; });
  }();
  static_cast<void>(handler);
  return *of_process;
}

}  // namespace

int thread_count() {
#ifdef DENSENET_THREADS  // for the thread sanitizer on a small machine
  return DENSENET_THREADS;
#else
  // OpenMP has read the environment before MindSpore writes a 1 there.
  int threads = omp_get_max_threads();
#ifdef __linux__
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) threads = std::min(threads, CPU_COUNT(&cores));
#endif
  return std::max(threads, 1);
#endif
}

void run_team(int threads, void (*call)(const void*, int), const void* work) {
  if (threads == 1) return call(work, 0);
  team().run(threads, call, work);
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
