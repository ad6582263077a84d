// Operands of convolutions, made from feature maps while they are loaded.
#pragma once

#include "number.h"
#include "statistics.h"

namespace densenet {

// kLanes channels from c on of relu(scale * x + offset).
template <class Value>
Vec normalised(const Value* x, const Affine& affine, int c) {
  return relu(load_values(x + c) * load(affine.scale.get() + c) + load(affine.offset.get() + c));
}

// Asks for the cache line of the pixel that comes four later: of short rows that lie apart the processor itself fetches
// too little ahead.
inline void fetch_ahead(const float* x, long stride) { __builtin_prefetch(x + 4 * stride, 0, 2); }

// Left operand of `multiply`: relu(affine(x)) of `rows` pixels, padded(channels) values each. What lies in x behind the
// channels does not matter: a depth is read up to a multiple of kDepth, and zero there.
template <class Number, class Value>
void normalise_rows(const Value* x, long x_stride, long rows, int channels, const Affine& affine,
                    typename Number::Value* out, long out_stride) {
  for (long row = 0; row < rows; row++, x += x_stride, out += out_stride) {
    for (int c = 0; c < padded(channels); c += kLanes) Number::store_values(out + c, normalised(x, affine, c), kLanes);
    if (channels % Number::kDepth) out[channels] = Number::from(0.0f);
  }
}

// Steps of kDepth pixels for an operand of `accumulate`: calls write(step, channel, values of its first pixel, of its
// second), with value(pixel, channel) of kLanes channels, and zeros for a pixel that the last step lacks.
template <class Number, class ValueAt, class Write>
void in_steps(long pixels, int channels, const ValueAt& value, const Write& write) {
  using Values = decltype(value(0L, 0));
  for (long p = 0; p < pixels; p += Number::kDepth) {
    const bool is_last = Number::kDepth == 1 || p + 1 == pixels;
    for (int c = 0; c < channels; c += kLanes) {
      write(p / Number::kDepth, c, value(p, c), is_last ? Values{} : value(p + 1, c));
    }
  }
}

// Operand of `accumulate`: value(pixel, channel) in steps, their pixels interleaved. out_step: values from one step to
// the next.
template <class Number, class ValueAt>
void interleave_pixels(long pixels, int channels, const ValueAt& value, typename Number::Value* out, long out_step) {
  in_steps<Number>(pixels, channels, value, [&](long step, int c, Vec first, Vec second) {
    Number::interleave(out + step * out_step + c * Number::kDepth, first, second);
  });
}

}  // namespace densenet
