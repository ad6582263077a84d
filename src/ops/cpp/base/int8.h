// Integers of 8 bits as what convolutions multiply: unsigned activations times signed weights, added up in 32 bits.
//
// VNNI adds four products to a sum at once. AVX2 and AVX-512 without it add two in 16 bits, which saturate, and here
// two such pairs before they go on in 32: of the weights of eight inputs, 0, 1, 4 and 5 meet in one sum, 2, 3, 6 and 7
// in another. export.py therefore makes weights of which no four such are more than kMostTogether together, the
// positive and the negative ones each: 255 * 128 < 2^15. The engine refuses all others (engine/model_file.cc), so that
// every instruction set computes the same sums. By the count of multiplying instructions AVX2 has 2.7 times as many
// products as of float32; with one pair it would be twice.
#pragma once

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "base/simd.h"

namespace densenet {

struct Int8 {
  using Value = uint8_t;  // an activation; a weight is the bits of an int8_t
  typedef int32_t Sums __attribute__((vector_size(4 * kLanes)));
  struct Operand {
    Sums first, second;  // of kLanes columns the weights 0 to 3, and 4 to 7
  };
  static constexpr int kDepth = 8;
  static constexpr float kLevels = 255;
  static constexpr int kMostTogether = 128;
#if defined(__AVX512F__)
  static constexpr int kTileRows[] = {0, 16, 12, 8};
#elif defined(__AVX2__)
  static constexpr int kTileRows[] = {0, 8, 3, 2};
#else
  static constexpr int kTileRows[] = {0, 8, 4, 2};
#endif

  static Operand load_operand(const Value* p) {
    typedef int32_t Unaligned __attribute__((vector_size(4 * kLanes), aligned(1), may_alias));
    return {*reinterpret_cast<const Unaligned*>(p), *reinterpret_cast<const Unaligned*>(p + 4 * kLanes)};
  }
  static Vec to_floats(Sums sums) { return __builtin_convertvector(sums, Vec); }

  // sums + the products of the eight values at `a` with those of `b`.
  static Sums product(Sums sums, const Value* a, const Operand& b) {
#if defined(__AVX512F__) || defined(__AVX2__)
    int32_t first, second;
    std::memcpy(&first, a, sizeof first);
    std::memcpy(&second, a + sizeof first, sizeof second);
#endif
#if defined(__AVX512VNNI__)
    sums = (Sums)_mm512_dpbusd_epi32((__m512i)sums, _mm512_set1_epi32(first), (__m512i)b.first);
    return (Sums)_mm512_dpbusd_epi32((__m512i)sums, _mm512_set1_epi32(second), (__m512i)b.second);
#elif defined(__AVX512F__)
    const __m512i pairs = _mm512_add_epi16(_mm512_maddubs_epi16(_mm512_set1_epi32(first), (__m512i)b.first),
                                           _mm512_maddubs_epi16(_mm512_set1_epi32(second), (__m512i)b.second));
    return sums + (Sums)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#elif defined(__AVXVNNI__)
    sums = (Sums)_mm256_dpbusd_avx_epi32((__m256i)sums, _mm256_set1_epi32(first), (__m256i)b.first);
    return (Sums)_mm256_dpbusd_avx_epi32((__m256i)sums, _mm256_set1_epi32(second), (__m256i)b.second);
#elif defined(__AVX2__)
    const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_set1_epi32(first), (__m256i)b.first),
                                           _mm256_maddubs_epi16(_mm256_set1_epi32(second), (__m256i)b.second));
    return sums + (Sums)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#else
    int8_t weights[2][kLanes][4];
    std::memcpy(weights, &b, sizeof weights);
    for (int lane = 0; lane < kLanes; lane++) {
      for (int k = 0; k < kDepth; k++) sums[lane] += a[k] * weights[k / 4][lane][k % 4];
    }
    return sums;
#endif
  }

  // kLanes activations: v rounded to the nearest integer, to the even one of two; above kLevels and NaN are kLevels.
  // v: not below 0.
  static void store_values(Value* p, Vec v, int) {
#if defined(__AVX512F__)
    // What is no 32-bit integer becomes 2^31 of the unsigned ones, and therefore kLevels.
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm512_maskz_cvtusepi32_epi8(0xffff, _mm512_maskz_cvtps_epi32(0xffff, v)));
#elif defined(__AVX2__)
    v = v < kLevels ? v : Vec{} + kLevels;
    const __m256i words = _mm256_cvtps_epi32(v);
    const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(halves, halves));
#else
    v = v < kLevels ? v : Vec{} + kLevels;
    typedef uint8_t Bytes __attribute__((vector_size(kLanes)));
    constexpr float kNoFractions = 1 << 23;  // its sum with a small number has that, rounded, in its lowest bits
    const Bytes bytes = __builtin_convertvector((Sums)(v + kNoFractions), Bytes);
    std::memcpy(p, &bytes, sizeof bytes);
#endif
  }
};

// Source of `Panels::pack` for Int8. value(tap, k, column): a weight.
template <class Value>
struct ByWeights {
  template <class Number>
  void square(int tap, int k, int column, int depth, int steps, uint8_t* out, long out_step) const {
    for (int step = 0; step < steps; step++, k += Int8::kDepth, out += out_step) {
      for (int i = 0; i < Int8::kDepth; i++) {
        for (int lane = 0; lane < kLanes; lane++) {
          out[(i / 4 * kLanes + lane) * 4 + i % 4] =
              k + i < depth ? static_cast<uint8_t>(value(tap, k + i, column + lane)) : uint8_t{};
        }
      }
    }
  }
  Value value;
};
template <class Value>
ByWeights(Value) -> ByWeights<Value>;

}  // namespace densenet
