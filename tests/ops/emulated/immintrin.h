// AVX-512 with AVX512_BF16 for CPUs without it, one instruction of the kernels after the other: so their code for it is
// tested everywhere (test_emulated.py). Slow. Found before the compiler's own header, to which it adds.
#pragma once

#include_next <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#define __AVX512F__ 1
#define __AVX512BF16__ 1
#ifndef EMULATED_WITHOUT_VNNI
#define __AVX512VNNI__ 1
#endif
#ifndef EMULATED_WITHOUT_AMX
#define __AMX_BF16__ 1  // see products/amx_instructions.h
#endif

namespace emulated {

typedef float Floats __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint64_t Pairs __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(64)));
typedef uint16_t HalfOfHalves __attribute__((vector_size(32)));

template <class To, class From>
To bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

inline Floats load_first(uint32_t mask, const float* p) {
  Floats v{};
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) v[i] = p[i];
  }
  return v;
}

inline void store_first(float* p, uint32_t mask, Floats v) {
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) p[i] = v[i];
  }
}

inline Floats loadu(const void* p) {
  Floats v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline Words load_words(const void* p) { return bits<Words>(loadu(p)); }

// Round to nearest, ties to even; denormal numbers become zero.
inline uint16_t to_bf16(float value) {
  const uint32_t word = bits<uint32_t>(value);
  if (value != value) return static_cast<uint16_t>(word >> 16 | 0x40);
  if ((word & 0x7f800000) == 0) return static_cast<uint16_t>(word >> 16 & 0x8000);
  return static_cast<uint16_t>((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

inline float from_bf16(uint16_t value) { return bits<float>(static_cast<uint32_t>(value) << 16); }

inline HalfOfHalves to_halves(Floats v) {
  HalfOfHalves halves;
  for (int i = 0; i < 16; i++) halves[i] = to_bf16(v[i]);
  return halves;
}

inline Words to_halves(Floats high, Floats low) {
  Halves halves;
  for (int i = 0; i < 16; i++) halves[i] = to_bf16(low[i]), halves[16 + i] = to_bf16(high[i]);
  return bits<Words>(halves);
}

template <class A, class B>
Floats add_products(Floats sums, const A& a, const B& b) {
  const Halves left = bits<Halves>(a), right = bits<Halves>(b);
  for (int i = 0; i < 16; i++) {
    sums[i] += from_bf16(left[2 * i + 1]) * from_bf16(right[2 * i + 1]);
    sums[i] += from_bf16(left[2 * i]) * from_bf16(right[2 * i]);
  }
  return sums;
}

inline void store_halves(uint16_t* p, uint32_t mask, HalfOfHalves v) {
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) p[i] = v[i];
  }
}

template <class A, class B>
Words permute_halves(const A& order, const B& v) {
  const Halves from = bits<Halves>(v), index = bits<Halves>(order);
  Halves to;
  for (int i = 0; i < 32; i++) to[i] = from[index[i] & 31];
  return bits<Words>(to);
}

// Of each quarter of a and b, the lower or upper halves in turns.
template <class Vector, class A>
Words unpack(const A& a, const A& b, bool is_high) {
  constexpr int kPerQuarter = 16 / sizeof(Vector{}[0]);
  const Vector left = bits<Vector>(a), right = bits<Vector>(b);
  Vector to{};
  for (int quarter = 0; quarter < 4; quarter++) {
    for (int i = 0; i < kPerQuarter / 2; i++) {
      const int from = quarter * kPerQuarter + (is_high ? kPerQuarter / 2 : 0) + i;
      to[quarter * kPerQuarter + 2 * i] = left[from];
      to[quarter * kPerQuarter + 2 * i + 1] = right[from];
    }
  }
  return bits<Words>(to);
}

template <class A>
Words shuffle_quarters(const A& a, const A& b, int control) {
  const Words left = bits<Words>(a), right = bits<Words>(b);
  Words to;
  for (int quarter = 0; quarter < 4; quarter++) {
    const int from = control >> 2 * quarter & 3;
    for (int i = 0; i < 4; i++) to[4 * quarter + i] = (quarter < 2 ? left : right)[4 * from + i];
  }
  return to;
}

inline Floats gather(uint32_t mask, Words index, const float* p) {
  Floats v{};
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) v[i] = p[static_cast<int32_t>(index[i])];
  }
  return v;
}

inline Floats first(uint32_t mask, Floats v) {
  for (int i = 0; i < 16; i++) v[i] = mask >> i & 1 ? v[i] : 0.0f;
  return v;
}

inline Words set_words(uint32_t value) { return Words{} + value; }

typedef uint8_t Bytes __attribute__((vector_size(64)));

// VNNI: sums of four products each.
template <class A, class B, class C>
Words add_byte_products(const A& sums, const B& activations, const C& weights) {
  Words to = bits<Words>(sums);
  const Bytes left = bits<Bytes>(activations), right = bits<Bytes>(weights);
  for (int i = 0; i < 64; i++) to[i / 4] += static_cast<uint32_t>(left[i] * static_cast<int8_t>(right[i]));
  return to;
}

// Of pairs of bytes: the sums saturate, as the instruction's.
template <class A, class B>
Words add_pairs_of_bytes(const A& activations, const B& weights) {
  const Bytes left = bits<Bytes>(activations), right = bits<Bytes>(weights);
  Halves to{};
  for (int i = 0; i < 32; i++) {
    int sum = 0;
    for (int k = 2 * i; k < 2 * i + 2; k++) sum += left[k] * static_cast<int8_t>(right[k]);
    to[i] = static_cast<uint16_t>(std::min(std::max(sum, -32768), 32767));
  }
  return bits<Words>(to);
}

template <class A, class B>
Words add_pairs_of_halves(const A& a, const B& b) {
  const Halves left = bits<Halves>(a), right = bits<Halves>(b);
  Words to{};
  for (int i = 0; i < 32; i++) {
    to[i / 2] += static_cast<uint32_t>(static_cast<int16_t>(left[i]) * static_cast<int16_t>(right[i]));
  }
  return to;
}

// max(a, b), and b if one is NaN.
inline Floats largest(Floats a, Floats b) { return a > b ? a : b; }

// The nearest integers, and the largest negative one for what is none of 32 bits.
inline Words to_words(Floats v) {
  Words words;
  for (int i = 0; i < 16; i++) {
    const bool fits = v[i] >= -2147483648.0f && v[i] < 2147483648.0f;
    words[i] = fits ? static_cast<uint32_t>(static_cast<int32_t>(std::nearbyint(v[i]))) : 0x80000000u;
  }
  return words;
}

inline __m128i to_bytes(Words v) {
  uint8_t bytes[16];
  for (int i = 0; i < 16; i++) bytes[i] = static_cast<uint8_t>(std::min(v[i], 255u));
  return bits<__m128i>(bytes);
}

}  // namespace emulated

#undef _mm512_maskz_shuffle_i32x4
#undef _mm512_mask_i32gather_ps
#define __m512i emulated::Words
#define __m512bh emulated::Words
#define _mm512_maskz_loadu_ps(mask, p) emulated::load_first(mask, p)
#define _mm512_mask_storeu_ps(p, mask, v) emulated::store_first(p, mask, v)
#define _mm512_maskz_mov_ps(mask, v) emulated::first(mask, v)
#define _mm512_loadu_ps(p) emulated::loadu(p)
#define _mm512_load_si512(p) emulated::load_words(p)
#define _mm512_stream_ps(p, v) std::memcpy(p, &(v), 64), void()
#define _mm512_set1_epi32(value) emulated::set_words(value)
#define _mm512_mullo_epi32(a, b) ((a) * (b))
#define _mm512_cvtneps_pbh(v) emulated::to_halves(v)
#define _mm512_cvtne2ps_pbh(high, low) emulated::to_halves(high, low)
#define _mm512_dpbf16_ps(sums, a, b) emulated::add_products(sums, a, b)
#define _mm256_mask_storeu_epi16(p, mask, v) emulated::store_halves(p, mask, emulated::bits<emulated::HalfOfHalves>(v))
#define _mm512_permutexvar_epi16(order, v) emulated::permute_halves(order, v)
#define _mm512_maskz_unpacklo_epi32(mask, a, b) emulated::unpack<emulated::Words>(a, b, false)
#define _mm512_maskz_unpackhi_epi32(mask, a, b) emulated::unpack<emulated::Words>(a, b, true)
#define _mm512_maskz_unpacklo_epi64(mask, a, b) emulated::unpack<emulated::Pairs>(a, b, false)
#define _mm512_maskz_unpackhi_epi64(mask, a, b) emulated::unpack<emulated::Pairs>(a, b, true)
#define _mm512_maskz_shuffle_i32x4(mask, a, b, control) emulated::shuffle_quarters(a, b, control)
#define _mm512_mask_i32gather_ps(old, mask, index, p, scale) emulated::gather(mask, index, p)
#define _mm512_dpbusd_epi32(sums, a, b) emulated::add_byte_products(sums, a, b)
#define _mm512_maddubs_epi16(a, b) emulated::add_pairs_of_bytes(a, b)
#define _mm512_madd_epi16(a, b) emulated::add_pairs_of_halves(a, b)
#define _mm512_maskz_max_ps(mask, a, b) emulated::largest(a, b)
#define _mm512_maskz_cvtps_epi32(mask, v) emulated::to_words(v)
#define _mm512_maskz_cvtusepi32_epi8(mask, v) emulated::to_bytes(v)
#define _mm512_add_epi16(a, b) \
  emulated::bits<emulated::Words>(emulated::bits<emulated::Halves>(a) + emulated::bits<emulated::Halves>(b))
#define _mm512_set1_epi16(value) emulated::set_words(0x10001u * (value))
