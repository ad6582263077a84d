// What all cores can do at most: multiply-adds from registers, and a triad over arrays that no cache holds.
//
//   peak THREADS SECONDS      prints lines of a name and a number: fp32 GFLOP/s, bf16 GFLOP/s, triad GB/s
//
// Compiled once for each instruction set (machine.py), whose registers the macros below tell.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif
#ifdef __AMX_BF16__
#include "products/amx_instructions.h"
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kBytes = 64;
#elif defined(__AVX__)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
using Vector = float __attribute__((vector_size(kBytes)));
constexpr int kLanes = kBytes / sizeof(float);
constexpr int kChains = 12;   // two units of latency four are busy with eight; AVX2 has 16 registers
constexpr int kRepeats = 10;  // the best one counts: other work on the machine only slows

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Calls work(thread number) on all threads at once.
template <typename Work>
void OnAll(int threads, const Work& work) {
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back(work, i);
  work(0);
  for (std::thread& other : others) other.join();
}

volatile float g_sink[1024];

// Operations a second of `block`, which does `flops` of them, called for `seconds`.
template <typename Block>
double Rate(double seconds, double flops, const Block& block) {
  const double start = Now();
  double blocks = 0, elapsed = 0;
  while (elapsed < seconds) {
    block();
    ++blocks;
    elapsed = Now() - start;
  }
  return blocks * flops / elapsed;
}

// The best sum of measure(thread) over all threads at once.
template <typename Measure>
double Best(int threads, const Measure& measure) {
  double best = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    std::vector<double> rates(threads);
    OnAll(threads, [&](int thread) { rates[thread] = measure(thread); });
    double total = 0;
    for (double rate : rates) total += rate;
    best = std::max(best, total);
  }
  return best;
}

constexpr int kBlock = 10000;  // rounds of independent instructions between two looks at the clock

// `multiply(accumulator)` is one instruction of `flops` operations; returns the operations a second of all threads,
// measured for `seconds` at a time.
template <typename Accumulator, typename Multiply>
double Peak(int threads, double seconds, double flops, const Multiply& multiply) {
  return Best(threads, [&](int thread) {
    Accumulator chains[kChains];
    for (int chain = 0; chain < kChains; ++chain) {
      chains[chain] = Accumulator{} + static_cast<float>(chain + thread);  // equal ones would be computed once
    }
    const double rate = Rate(seconds, kBlock * kChains * flops, [&] {
      for (int i = 0; i < kBlock; ++i) {
#pragma GCC unroll 12
        for (int chain = 0; chain < kChains; ++chain) chains[chain] = multiply(chains[chain]);
      }
    });
    float sum = 0;
    for (const Accumulator& chain : chains) sum += chain[0];
    g_sink[thread % 1024] = sum;
    return rate;
  });
}

#ifdef __AMX_BF16__
// The same of products of whole tiles of bfloat16, in four chains; 0 where the system does not grant the registers.
double TilePeak(int threads, double seconds) {
  if (!densenet::request_tile_registers()) return 0;
  return Best(threads, [&](int) {
    struct alignas(64) {
      unsigned char palette = 1, start = 0, reserved[14] = {};
      unsigned short row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      unsigned char rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } shapes;
    asm volatile("ldtilecfg %0" ::"m"(shapes));
    constexpr double kFlops = 4 * 2.0 * 16 * 16 * 32;
    const double rate = Rate(seconds, kBlock * kFlops, [] {
      for (int i = 0; i < kBlock; ++i) {
        asm volatile(
            "tdpbf16ps %tmm7, %tmm6, %tmm0\n\ttdpbf16ps %tmm7, %tmm6, %tmm1\n\t"
            "tdpbf16ps %tmm7, %tmm6, %tmm2\n\ttdpbf16ps %tmm7, %tmm6, %tmm3");
      }
    });
    asm volatile("tilerelease");
    return rate;
  });
}
#endif

// a = b + s * c, counted as STREAM does: three arrays are moved.
double Triad(int threads) {
  constexpr size_t kCount = size_t{1} << 25;  // floats an array: 128 MiB
  std::vector<float> a(kCount), b(kCount, 1.0f), c(kCount, 2.0f);
  double best = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const double start = Now();
    OnAll(threads, [&](int thread) {
      const size_t first = kCount * thread / threads, last = kCount * (thread + 1) / threads;
      float* to = a.data();
      const float *from = b.data(), *factor = c.data();
      for (size_t i = first; i < last; ++i) to[i] = from[i] + 3.0f * factor[i];
    });
    best = std::max(best, 3.0 * sizeof(float) * kCount / (Now() - start));
    g_sink[repeat] = a[kCount / 2];
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc == 3 ? std::atoi(argv[1]) : 0;
  const double seconds = argc == 3 ? std::atof(argv[2]) : 0;
  if (threads < 1 || !(seconds > 0)) {
    std::fprintf(stderr, "usage: peak THREADS SECONDS\n");
    return 2;
  }
  const Vector factor = Vector{} + 0.5f, term = Vector{} + 1.0f;
  const auto fp32 = [&](Vector x) { return x * factor + term; };
  std::printf("fp32 %.1f\n", 1e-9 * Peak<Vector>(threads, seconds, 2 * kLanes, fp32));
#if defined(__AMX_BF16__)
  std::printf("bf16 %.1f\n", 1e-9 * TilePeak(threads, seconds));
#elif defined(__AVX512BF16__)
  const __m512bh ones = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0f), _mm512_set1_ps(1.0f));
  const auto bf16 = [&](__m512 x) { return _mm512_dpbf16_ps(x, ones, ones); };
  std::printf("bf16 %.1f\n", 1e-9 * Peak<__m512>(threads, seconds, 4 * kLanes, bf16));
#endif
  std::printf("triad %.2f\n", 1e-9 * Triad(threads));
}
