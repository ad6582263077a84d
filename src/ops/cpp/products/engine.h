// Which products a Number's convolutions are made of: decided here and nowhere else.
//
// Both engines have the same static members, as RegisterEngine explains them.
#pragma once

#include "products/amx_engine.h"
#include "products/register_engine.h"

namespace densenet {

template <class Number>
struct EngineOf {
  using Type = RegisterEngine<Number>;
};

#ifdef __AMX_BF16__
template <>
struct EngineOf<Bf16> {
  using Type = AmxEngine;
};
#endif

template <class Number>
using Engine = typename EngineOf<Number>::Type;

// An engine's chunks of pixels, which do not cut runs of `together` of them.
template <class Engine>
Chunks chunks_of(long pixels, int channels, int least_pieces, long together) {
  const long size = Engine::chunks(pixels, channels, least_pieces).size;
  return Chunks(pixels, (size + together - 1) / together * together);
}

// The largest of value(channels, pixels of a chunk) for any number of channels up to this: what scratch has to hold.
template <class Engine, class Value>
size_t largest_of_chunks(long pixels, int channels, int least_pieces, long together, const Value& value) {
  size_t largest = 0;
  for (int c = 1; c <= channels; c++) {
    const Chunks chunks = chunks_of<Engine>(pixels, c, least_pieces, together);
    largest = std::max(largest, static_cast<size_t>(value(c, chunks.size)));
  }
  return largest;
}

}  // namespace densenet
