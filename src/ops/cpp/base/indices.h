// A number from 0 to 255 beside each float of a vector, kept in a byte.
#pragma once

#include "base/simd.h"

namespace densenet {

typedef int32_t Indices __attribute__((vector_size(4 * kLanes)));
typedef uint16_t IndexWords __attribute__((vector_size(2 * kLanes)));  // GCC converts by factors of two
typedef uint8_t IndexBytes __attribute__((vector_size(kLanes)));

inline Indices load_indices(const uint8_t* p) {
  IndexBytes bytes;
  std::memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(__builtin_convertvector(bytes, IndexWords), Indices);
}

inline void store_indices(uint8_t* p, Indices indices) {
  const IndexBytes bytes = __builtin_convertvector(__builtin_convertvector(indices, IndexWords), IndexBytes);
  std::memcpy(p, &bytes, sizeof bytes);
}

}  // namespace densenet
