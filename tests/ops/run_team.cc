// Uses of parallel.h that must hold, each a command: prints nothing when they do (test_parallel.py).
//
//   run_team rounds            every part is done once, by a thread that exists, for many shapes of work
//   run_team callers           the same from two threads at once
//   run_team fork              in a child too, and in its parent afterwards
//   run_team sums THREADS      prints the sum of floats over parts, all bits of it
//   run_team cores OWN_GROUPS MOUNTS    prints cores_of_cgroups
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "base/cgroup.h"
#include "base/parallel.h"

namespace {

using densenet::Part, densenet::Parts;

void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

// All items of one round are done once, and no thread does two parts at a time.
void check_round(int threads, long items, int most) {
  const std::unique_ptr<std::atomic<int>[]> done(new std::atomic<int>[items]());
  const std::unique_ptr<std::atomic<int>[]> busy(new std::atomic<int>[threads]());
  const Parts parts(items, most);
  densenet::parallel(threads, parts, [&](const Part& part) {
    if (part.thread < 0 || part.thread >= threads) fail("a thread that the caller has no scratch for");
    if (busy[part.thread]++ != 0) fail("a thread's scratch is used twice");
    for (long i = part.begin; i < part.end; i++) done[i]++;
    busy[part.thread]--;
  });
  for (long i = 0; i < items; i++) {
    if (done[i] != 1) fail("an item was done another number of times than once");
  }
}

void check_rounds(int repeats) {
  for (int repeat = 0; repeat < repeats; repeat++) {
    for (int threads : {4, 1, 3, 2}) {
      for (long items : {1, 2, 3, 7, 64, 1000}) check_round(threads, items, repeat % 2 ? Parts::kMost : 5);
    }
  }
}

void check_fork() {
  check_rounds(5);
  const pid_t child = fork();
  if (child == 0) {
    check_rounds(5);
    _exit(0);
  }
  check_rounds(5);
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0) fail("the child failed");
}

void print_sum(int threads) {
  constexpr long kItems = 1000, kFloats = 37;
  densenet::SumsOfParts sums;
  const Parts parts(kItems);
  sums.begin(parts, kFloats);
  densenet::parallel(threads, parts, [&](const Part& part) {
    float* sum = sums.zeroed(part);
    for (long i = part.begin; i < part.end; i++) {
      for (long j = 0; j < kFloats; j++) sum[j] += 1.0f / static_cast<float>(3 * i + j + 1);
    }
  });
  const float* total = sums.add_up(threads);
  for (long j = 0; j < kFloats; j++) std::printf("%a\n", static_cast<double>(total[j]));
}

}  // namespace

int main(int count, char** words) {
  const std::string command = count > 1 ? words[1] : "";
  if (command == "rounds") {
    check_rounds(20);
  } else if (command == "callers") {
    std::thread other([] { check_rounds(10); });
    check_rounds(10);
    other.join();
  } else if (command == "fork") {
    check_fork();
  } else if (command == "sums" && count == 3) {
    print_sum(std::atoi(words[2]));
  } else if (command == "cores" && count == 4) {
    std::printf("%d\n", densenet::cores_of_cgroups(words[2], words[3]));
  } else {
    fail("no such command");
  }
}
