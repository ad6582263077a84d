// The numbers that convolutions multiply; their sums are float32. Integers, which only inference has, are in int8.h.
//
// kDepth values that follow each other in the summed dimension (channels in `multiply`, pixels in `accumulate`) lie
// side by side, as the instruction reads them: one for float32, a pair for bfloat16.
#pragma once

#include "base/simd.h"

namespace densenet {

// kLanes stored values as floats.
inline Vec load_values(const float* p) { return load(p); }

struct Fp32 {
  using Value = float;
  using Sums = Vec;
  using Operand = Vec;
  static constexpr int kDepth = 1;
  static constexpr auto& kTileRows = densenet::kTileRows;

  // sums + a * b for the value at `a` and the kLanes values at `b`.
  static Vec product(Vec sums, const float* a, Vec b) { return sums + *a * b; }
  static Vec load_operand(const float* p) { return load(p); }
  static Vec to_floats(Vec sums) { return sums; }
  static void store_values(float* p, Vec v, int count) { count >= kLanes ? store(p, v) : store_first(p, v, count); }
  static void stream_values(float* p, Vec v) { stream(p, v); }
  // `count` of them, a multiple of kLanes.
  static void store_values(const float* from, long count, float* to) { store_floats(from, count, to); }
  static void stream_values(const float* from, long count, float* to) { stream_floats(from, count, to); }
  static void interleave(float* p, Vec first, Vec) { store(p, first); }
  // kLanes words, each of kDepth values: all of `first`, then all of `second`.
  static Vec side_by_side(Vec first, Vec) { return first; }
};

#if defined(__AVX512BF16__)
inline Vec load_values(const uint16_t* p) {
  typedef uint16_t Halves __attribute__((vector_size(2 * kLanes), aligned(2), may_alias));
  typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
  return (Vec)(__builtin_convertvector(*reinterpret_cast<const Halves*>(p), Words) << 16);
}

// AVX512_BF16: two products a lane and instruction.
struct Bf16 {
  using Value = uint16_t;
  using Sums = Vec;
  using Operand = Vec;
  static constexpr int kDepth = 2;
  static constexpr auto& kTileRows = densenet::kTileRows;

  static Vec product(Vec sums, const Value* a, Vec b) {
    int32_t pair;
    std::memcpy(&pair, a, sizeof pair);
    return _mm512_dpbf16_ps(sums, (__m512bh)b, (__m512bh)_mm512_set1_epi32(pair));
  }
  static Vec load_operand(const Value* p) { return _mm512_loadu_ps(p); }
  static Vec to_floats(Vec sums) { return sums; }
  static void store_values(Value* p, Vec v, int count) {
    count = std::clamp(count, 0, kLanes);
    _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << count) - 1), (__m256i)_mm512_cvtneps_pbh(v));
  }
  static Vec side_by_side(Vec first, Vec second) { return (Vec)_mm512_cvtne2ps_pbh(second, first); }
  static void store_values(Value* p, Vec first, Vec second) {
    store(reinterpret_cast<float*>(p), side_by_side(first, second));
  }
  static void stream_values(Value* p, Vec v) { store_values(p, v, kLanes); }  // half a line
  static void stream_values(Value* p, Vec first, Vec second) { stream(p, side_by_side(first, second)); }
  // `count` of them, a multiple of kLanes.
  static void store_values(const float* from, long count, Value* to) {
    in_pairs(from, count, to, [](Value* p, Vec first, Vec second) { store_values(p, first, second); });
  }
  static void stream_values(const float* from, long count, Value* to) {
    in_pairs(from, count, to, [](Value* p, Vec first, Vec second) { stream_values(p, first, second); });
  }
  // The values of two pixels: first's and second's alternate.
  static void interleave(Value* p, Vec first, Vec second) {
    alignas(64) static constexpr Value kOrder[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                   8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i pairs = _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), (__m512i)side_by_side(first, second));
    std::memcpy(p, &pairs, sizeof pairs);
  }

 private:
  template <class Put>
  static void in_pairs(const float* from, long count, Value* to, const Put& put) {
    long i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) put(to + i, load(from + i), load(from + i + kLanes));
    if (i < count) store_values(to + i, load(from + i), kLanes);
  }
};
#endif

// Steps of kDepth that hold `values` of the summed dimension.
template <class Number>
constexpr int depth_steps(long values) {
  return static_cast<int>((values + Number::kDepth - 1) / Number::kDepth);
}

}  // namespace densenet
