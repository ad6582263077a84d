// Operands of convolutions, made from feature maps while they are loaded, and what is made of their gradients.
#pragma once

#include <type_traits>

#include "base/number.h"
#include "map/statistics.h"

namespace densenet {

// kLanes channels from c on of relu(scale * x + offset).
template <class Value>
Vec normalised(const Value* x, const Affine& affine, int c) {
  return relu(load_values(x + c) * load(affine.scale.get() + c) + load(affine.offset.get() + c));
}

// pixel -> channel -> relu(affine(x)).
inline auto normalised_pixels(const Rows& x, const Affine& affine) {
  return [=, &affine](long pixel) {
    return [=, &affine, at = x.pixel(pixel), stride = x.stride](int c) {
      fetch_ahead(at + c, stride);
      return normalised(at, affine, c);
    };
  };
}

// Steps of kDepth pixels for an operand of `accumulate`: calls write(step, channel, values of its first pixel, of its
// second) for kLanes channels, and zeros for a pixel that the last step lacks. values(pixel)(channel) as in conv1x1.h.
template <class Number, class Pixel, class Write>
void in_steps(long first, long pixels, int channels, const Pixel& values, const Write& write) {
  for (long p = 0; p < pixels; p += Number::kDepth) {
    const auto values_of_first = values(first + p);
    if (Number::kDepth == 1 || p + 1 == pixels) {
      for (int c = 0; c < channels; c += kLanes) {
        write(p / Number::kDepth, c, values_of_first(c), decltype(values_of_first(0)){});
      }
    } else {
      const auto values_of_second = values(first + p + 1);
      for (int c = 0; c < channels; c += kLanes) {
        write(p / Number::kDepth, c, values_of_first(c), values_of_second(c));
      }
    }
  }
}

// Operand of `accumulate`: the pixels from `first` on in steps, their values interleaved. out_step: values from one
// step to the next.
template <class Number, class Pixel>
void interleave_pixels(long first, long pixels, int channels, const Pixel& values, typename Number::Value* out,
                       long out_step) {
  in_steps<Number>(first, pixels, channels, values, [&](long step, int c, Vec one, Vec other) {
    Number::interleave(out + step * out_step + c * Number::kDepth, one, other);
  });
}

// Of `count` pixels x: d_to = d_from + affine's scale * (d_inputs where the ReLU's input was positive), and what the
// latter sum up to, also times x - mean.
inline void mask_inputs(const Rows& d_inputs, long count, int channels, const Rows& x, const Affine& affine,
                        const float* mean, const Rows& d_from, float* d_to, long to_stride, float* sums,
                        float* centred_sums) {
  const auto mask_rows = [&](long first, auto together) {
    for (int c = 0; c < channels; c += kLanes) {
      const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
      const Vec m = load_first(mean + c, channels - c);
      Vec sum = load(sums + c), centred = load(centred_sums + c);
      for (long row = first; row < first + together; row++) {
        const float* from = d_from.data + row * d_from.stride + c;
        fetch_ahead(from, d_from.stride);
        const Vec value = load(x.data + row * x.stride + c);
        const Vec d = where_positive(value * scale + offset, load(d_inputs.data + row * d_inputs.stride + c));
        sum += d;
        centred += d * (value - m);
        store(d_to + row * to_stride + c, load(from) + scale * d);
      }
      store(sums + c, sum);
      store(centred_sums + c, centred);
    }
  };
  constexpr int kTogether = 4;
  long row = 0;
  for (; row + kTogether <= count; row += kTogether) mask_rows(row, std::integral_constant<int, kTogether>{});
  for (; row < count; row++) mask_rows(row, std::integral_constant<int, 1>{});
}

}  // namespace densenet
