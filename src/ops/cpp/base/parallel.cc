#include "base/parallel.h"

#include <omp.h>
#include <pthread.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/cgroup.h"

namespace densenet {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
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
  static constexpr std::chrono::microseconds kAwake{50};
  static constexpr int kPauses = 16;
  std::mutex mutex_;
  std::condition_variable condition_;
  std::atomic<int> sleepers_{0};
};

// What is left of a thread's share of a round: parts first .. end - 1, in one word, so that two threads never take the
// same part, nor one of a round that it did not see begin.
struct Share {
  explicit Share(uint64_t word) : word(word) {}
  Share(uint32_t round, const Range& parts)
      : word(static_cast<uint64_t>(round) << 32 | static_cast<uint64_t>(parts.begin) << 16 | parts.end) {}
  uint32_t round() const { return static_cast<uint32_t>(word >> 32); }
  int first() const { return static_cast<int>(word >> 16 & 0xffff); }
  int end() const { return static_cast<int>(word & 0xffff); }
  Share without_first() const { return Share(word + (1 << 16)); }
  Share without_last() const { return Share(word - 1); }
  uint64_t word;
};

// Threads that stay: thread 0 is the caller's. OpenMP's would do, but its team waits asleep when the process has
// another team, and MindSpore has one.
//
// Each thread begins with its own share, the same part of every feature map: that is in its core's cache. Who has
// finished it takes parts of others' shares from their ends. So nobody waits for a thread that has not begun, as when
// its core belongs to another process for a while, but only for parts that it has taken.
class Team {
 public:
  // Operators that MindSpore starts side by side take turns.
  void run(int threads, int parts, void (*call)(const void*, int, int), const void* work) {
    std::lock_guard lock(turn_);
    threads = std::min(threads, parts);
    grow(threads - 1);
    call_ = call, work_ = work;
    unfinished_ = parts;
    const Round round(static_cast<uint32_t>(Round(round_).number() + 1), threads);
    for (int thread = 0; thread < threads; thread++) {
      shares_[thread].word = Share(round.number(), share(parts, thread, threads)).word;
    }
    round_ = round.word;
    start_.send();
    do_parts(round, 0);
    end_.wait([&] { return unfinished_ == 0; });
  }

 private:
  struct Round {
    explicit Round(uint64_t word) : word(word) {}
    Round(uint32_t number, int threads) : word(static_cast<uint64_t>(number) << 32 | threads) {}
    uint32_t number() const { return static_cast<uint32_t>(word >> 32); }
    int threads() const { return static_cast<int>(word & 0xffffffff); }
    uint64_t word;
  };
  struct alignas(64) Word {
    std::atomic<uint64_t> word{0};
  };

  // With fewer workers than asked for, when the system refuses more, the others do their shares.
  void grow(int workers) {
    try {
      while (workers_ < workers) {
        std::thread([this, number = workers_ + 1, seen = round_.load()] { serve(number, seen); }).detach();
        workers_++;
      }
    } catch (const std::system_error&) {
    }
  }

  void serve(int number, uint64_t seen) {
    for (;;) {
      start_.wait([&] { return round_ != seen; });
      seen = round_;
      if (number < Round(seen).threads()) do_parts(Round(seen), number);
    }
  }

  void do_parts(const Round& round, int number) {
    for (int i = 0; i < round.threads(); i++) {
      std::atomic<uint64_t>& share = shares_[(number + i) % round.threads()].word;
      for (int part; (part = take(share, round.number(), i == 0)) >= 0;) {
        call_(work_, part, number);  // what `run` set stays: a part that is taken keeps the round from ending
        if (--unfinished_ == 0 && number != 0) end_.send();
      }
    }
  }

  // A part of a share, or -1.
  static int take(std::atomic<uint64_t>& word, uint32_t round, bool is_own) {
    Share share(word.load());
    while (share.round() == round && share.first() < share.end()) {
      const Share rest = is_own ? share.without_first() : share.without_last();
      if (word.compare_exchange_weak(share.word, rest.word)) return is_own ? share.first() : rest.end();
    }
    return -1;
  }

  std::mutex turn_;
  Signal start_, end_;
  Word shares_[Parts::kMost];
  alignas(64) std::atomic<uint64_t> round_{0};
  alignas(64) std::atomic<int> unfinished_{0};
  int workers_ = 0;
  void (*call_)(const void*, int, int) = nullptr;
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
  static const int quota = cores_of_cgroups("/proc/self/cgroup", "/proc/self/mountinfo");
  threads = std::min(threads, quota);
#endif
  return std::max(threads, 1);
#endif
}

void run_team(int threads, int parts, void (*call)(const void*, int, int), const void* work) {
  if (threads > 1 && parts > 1) return team().run(threads, parts, call, work);
  for (int part = 0; part < parts; part++) call(work, part, 0);
}

const float* SumsOfParts::add_up(int threads) const {
  constexpr long kBlock = 16L * kLineFloats;
  const Parts blocks((floats_ + kBlock - 1) / kBlock);
  parallel(threads, blocks, [&](const Part& mine) {
    for (long i = mine.begin * kBlock; i < std::min(mine.end * kBlock, floats_); i += kLanes) {
      const int lanes = static_cast<int>(std::min<long>(kLanes, floats_ - i));
      Vec sum = load_first(of(0) + i, lanes);
      for (int part = 1; part < parts_; part++) sum += load_first(of(part) + i, lanes);
      store_first(of(0) + i, sum, lanes);
    }
  });
  return data_.get();
}

}  // namespace densenet
