// Vectors of floats through GCC's and clang's vector extensions: one source for AVX-512, AVX2 and NEON.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>  // with AVX2 few sources need it, and it takes half a second of each one's compilation
#endif

namespace densenet {

// Of AVX-512's intrinsics those masked by ones are used, which costs nothing, where GCC warns of what the plain ones
// leave undefined.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
constexpr int kTileRows[] = {0, 16, 14, 9};  // of a tile of 1, 2 or 3 vectors: what 32 registers hold
#elif defined(__AVX2__)
constexpr int kLanes = 8;
constexpr int kTileRows[] = {0, 12, 6, 4};  // 16 registers
#else
constexpr int kLanes = 4;
constexpr int kTileRows[] = {0, 16, 12, 8};  // 32 registers
#endif
constexpr int kMaxVectors = 3;

typedef float Vec __attribute__((vector_size(4 * kLanes)));
typedef float UnalignedVec __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
inline void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }

// Asks for the cache line of the pixel that comes four later, or `pixels`: of short rows that lie apart the processor
// itself fetches too little ahead.
inline void fetch_ahead(const float* x, long stride, long pixels = 4) { __builtin_prefetch(x + pixels * stride, 0, 2); }

// The first `count` floats; the other lanes are zero. A count above kLanes is all of them, below zero none.
inline Vec load_first(const float* p, int count) {
  count = std::clamp(count, 0, kLanes);
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
#else
  if (count == kLanes) return load(p);
  Vec v{};
  std::memcpy(&v, p, 4 * static_cast<size_t>(count));
  return v;
#endif
}

inline void store_first(float* p, Vec v, int count) {
  count = std::clamp(count, 0, kLanes);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), v);
#else
  std::memcpy(p, &v, 4 * static_cast<size_t>(count));
#endif
}

// The first `count` lanes of v; the others are zero. count: 0 to kLanes.
inline Vec first_lanes(Vec v, int count) {
#if defined(__AVX512F__)
  return _mm512_maskz_mov_ps(static_cast<__mmask16>((1u << count) - 1), v);
#else
  for (int lane = count; lane < kLanes; lane++) v[lane] = 0.0f;
  return v;
#endif
}

// Stores what is not soon read again. A whole cache line goes past the caches, which would read it from memory first.
// `parallel` waits for these stores.
inline void stream(void* p, Vec v) {
#if defined(__AVX512F__)
  if (reinterpret_cast<uintptr_t>(p) % sizeof v == 0) return _mm512_stream_ps(static_cast<float*>(p), v);
#endif
  std::memcpy(p, &v, sizeof v);
}

// `count` floats that are soon read again.
inline void store_floats(const float* from, long count, float* to) {
  long i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, load(from + i));
  if (i < count) store_first(to + i, load_first(from + i, static_cast<int>(count - i)), static_cast<int>(count - i));
}

// `count` that are not.
inline void stream_floats(const float* from, long count, float* to) {
  long i = 0;
  for (; i + kLanes <= count; i += kLanes) stream(to + i, load(from + i));
  std::memcpy(to + i, from + i, sizeof(float) * (count - i));
}

// The same, past the caches or not.
inline void put(float* p, Vec v, bool past_caches) { past_caches ? stream(p, v) : store(p, v); }
inline void put_floats(const float* from, long count, float* to, bool past_caches) {
  past_caches ? stream_floats(from, count, to) : store_floats(from, count, to);
}

// rows[i][j] becomes rows[j][i], bit by bit.
inline void transpose_square(Vec (&rows)[kLanes]) {
#if defined(__AVX512F__)
  // Halves of two vectors.
  typedef __m512i Words;
  const auto low_words = [](Words a, Words b) { return _mm512_maskz_unpacklo_epi32(0xffff, a, b); };
  const auto high_words = [](Words a, Words b) { return _mm512_maskz_unpackhi_epi32(0xffff, a, b); };
  const auto low_pairs = [](Words a, Words b) { return _mm512_maskz_unpacklo_epi64(0xff, a, b); };
  const auto high_pairs = [](Words a, Words b) { return _mm512_maskz_unpackhi_epi64(0xff, a, b); };
  const auto even_quarters = [](Words a, Words b) { return _mm512_maskz_shuffle_i32x4(0xffff, a, b, 0x88); };
  const auto odd_quarters = [](Words a, Words b) { return _mm512_maskz_shuffle_i32x4(0xffff, a, b, 0xdd); };
  Words quarters[kLanes], other[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    other[i] = low_words((Words)rows[i], (Words)rows[i + 1]);
    other[i + 1] = high_words((Words)rows[i], (Words)rows[i + 1]);
  }
  for (int i = 0; i < kLanes; i += 4) {  // a quarter: the same word of four rows
    for (int half = 0; half < 2; half++) {
      quarters[i + 2 * half] = low_pairs(other[i + half], other[i + half + 2]);
      quarters[i + 2 * half + 1] = high_pairs(other[i + half], other[i + half + 2]);
    }
  }
  for (int i = 0; i < 4; i++) {
    const Words even = even_quarters(quarters[i], quarters[i + 4]), odd = odd_quarters(quarters[i], quarters[i + 4]);
    const Words even_below = even_quarters(quarters[i + 8], quarters[i + 12]);
    const Words odd_below = odd_quarters(quarters[i + 8], quarters[i + 12]);
    rows[i] = (Vec)even_quarters(even, even_below);
    rows[i + 4] = (Vec)even_quarters(odd, odd_below);
    rows[i + 8] = (Vec)odd_quarters(even, even_below);
    rows[i + 12] = (Vec)odd_quarters(odd, odd_below);
  }
#else
  float from[kLanes][kLanes], to[kLanes][kLanes];
  std::memcpy(from, rows, sizeof from);
  for (int i = 0; i < kLanes; i++) {
    for (int j = 0; j < kLanes; j++) to[i][j] = from[j][i];
  }
  std::memcpy(rows, to, sizeof to);
#endif
}

inline void finish_streams() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

// max(v, 0); NaN stays NaN, so that a diverging training shows.
inline Vec relu(Vec v) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(0xffff, Vec{}, v);  // v if it is NaN
#else
  return v < 0.0f ? Vec{} : v;
#endif
}

// v where y > 0, else 0: the gradient of y = relu(...).
inline Vec where_positive(Vec y, Vec v) { return y > 0.0f ? v : Vec{}; }

}  // namespace densenet
