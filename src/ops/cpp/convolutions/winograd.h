// Winograd's minimal filtering F(2, 3) along the lines of an image (Lavin and Gray 2016, arXiv:1509.09308, section 4):
// a pair of neighbouring outputs of three taps takes four products instead of six.
//
// From inputs d0..d3 and taps g0..g2 the outputs are o0 = d0 g0 + d1 g1 + d2 g2 and o1 = d1 g0 + d2 g1 + d3 g2. With
//   V = (d0 - d2, d1 + d2, d2 - d1, d1 - d3),  U = (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2),  M = U * V
// they are o0 = M0 + M1 + M2 and o1 = M1 - M2 - M3. All of this is linear, so the sums over channels and lines are
// taken of M, and the gradients pass backwards through the same three transforms.
#pragma once

#include "base/parallel.h"
#include "base/tiles.h"
#include "map/operands.h"

namespace densenet {

constexpr int kProducts = 4;

// One vector for each product.
struct FourProducts {
  Vec of[kProducts];
};

// Pairs of outputs that cover a line; the second output of the last one is left over if `width` is odd.
inline int pair_count(int width) { return (width + 1) / 2; }

// V of all pairs of a line for kLanes channels at a time: calls emit(pair, channel, V). The inputs, which begin one
// column before the pair, are relu(affine(line)) with `padded_in` values a pixel, and zero beside the line.
template <class Value, class Emit>
void transform_inputs(const Value* line, int width, int padded_in, const Affine& affine, const Emit& emit) {
  const auto input = [&](int x, int k) { return normalised(line + static_cast<long>(x) * padded_in, affine, k); };
  for (int k = 0; k < padded_in; k += kLanes) {
    Vec d0{}, d1 = input(0, k);
    for (int pair = 0; pair < pair_count(width); pair++) {
      const int x = 2 * pair + 1;
      const Vec d2 = x < width ? input(x, k) : Vec{}, d3 = x + 1 < width ? input(x + 1, k) : Vec{};
      emit(pair, k, FourProducts{{d0 - d2, d1 + d2, d2 - d1, d1 - d3}});
      d0 = d2, d1 = d3;
    }
  }
}

// A tile of (kProducts, lines, values of a line).
struct TileShape {
  long line, plane;  // values from one line to the next, and from one product to the next
};

// The transformed inputs around the lines of a strip of `maps` (P, padded_in), from the one above it to the one below:
// calls emit(line of the tile, pair, channel, V) for those inside of the image; the others become zero.
template <class Number, class Emit>
void transform_strip(const typename Number::Value* maps, int padded_in, const Affine& affine, const Strips& strips,
                     long strip, typename Number::Value* tile, const TileShape& shape, const Emit& emit) {
  const int first = strips.first(strip), width = strips.extent.width;
  const auto* x = maps + strips.first_pixel(strip) * padded_in;
  for (int y = -1; y <= strips.height(strip); y++, tile += shape.line) {
    if (first + y >= 0 && first + y < strips.extent.height) {
      transform_inputs(x + static_cast<long>(y) * width * padded_in, width, padded_in, affine,
                       [&](int pair, int k, const FourProducts& inputs) { emit(tile, pair, k, inputs); });
    } else {
      for (int i = 0; i < kProducts; i++) std::fill_n(tile + i * shape.plane, shape.line, typename Number::Value{});
    }
  }
}

// The gradients of the inputs at columns 2 * pair and 2 * pair + 1 of a line, from those of V: dV of the pair, of the
// pair before (its last product) and of the one after (its first), both zero beside the line.
inline void transform_back(const FourProducts& d, Vec before, Vec after, Vec& even, Vec& odd) {
  even = d.of[1] - d.of[2] + d.of[3] - before;
  odd = d.of[1] + d.of[2] - d.of[0] + after;
}

// Outputs from M, and M's gradients from those of the outputs.
inline Vec first_output(const FourProducts& m) { return m.of[0] + m.of[1] + m.of[2]; }
inline Vec second_output(const FourProducts& m) { return m.of[1] - m.of[2] - m.of[3]; }
inline FourProducts gradients_of_products(Vec d_first, Vec d_second) {
  return {{d_first, d_first + d_second, d_first - d_second, -d_second}};
}

// U[product] of the taps g[0..2], each of kLanes inputs.
inline Vec transform_weights(const Vec* g, int product) {
  if (product == 0 || product == 3) return g[product == 0 ? 0 : 2];
  return (g[0] + g[2] + (product == 1 ? g[1] : -g[1])) / 2;
}

// The gradients of the taps from those of U.
inline void transform_weights_back(const float* d, float* d_g) {
  d_g[0] = d[0] + (d[1] + d[2]) / 2;
  d_g[1] = (d[1] - d[2]) / 2;
  d_g[2] = d[3] + (d[1] + d[2]) / 2;
}

// taps[j]: tap j of line ky of the weights (growth, width, 3, 3), of output g and kLanes inputs from k on; zero from
// `width` on.
inline void load_taps(const float* weights, int width, int g, int k, int ky, Vec (&taps)[kLanes]) {
  std::fill_n(taps, kLanes, Vec{});
  for (int i = 0; i < std::min(kLanes, width - k); i++) {
    taps[i] = load_first(weights + ((static_cast<long>(g) * width + k + i) * 3 + ky) * 3, 3);
  }
  transpose_square(taps);
}

// U of all weights of a convolution (growth, width, 3, 3): (kProducts, 3, growth, padded(width)), zero from `width` on.
class TransformedWeights {
 public:
  TransformedWeights(int growth, int width)
      : growth_(growth), width_(width), data_(3L * kProducts * growth * padded(width)) {}

  void fill(const float* weights, int threads) {
    parallel(threads, Parts(growth_), [&](const Part& outputs) {
      for (int g = static_cast<int>(outputs.begin); g < outputs.end; g++) {
        for (int k = 0; k < padded(width_); k += kLanes) {
          for (int ky = 0; ky < 3; ky++) {
            Vec taps[kLanes];
            load_taps(weights, width_, g, k, ky, taps);
            for (int i = 0; i < kProducts; i++) store(data_.get() + at(i, ky, g, k), transform_weights(taps, i));
          }
        }
      }
    });
  }

  // kLanes inputs from k on of a product, a line of the kernel and an output; zero where there are none.
  Vec load(int product, int ky, int g, int k) const {
    return g < growth_ && k < padded(width_) ? densenet::load(data_.get() + at(product, ky, g, k)) : Vec{};
  }

 private:
  long at(int product, int ky, int g, int k) const { return ((3L * product + ky) * growth_ + g) * padded(width_) + k; }

  int growth_, width_;
  Buffer<> data_;
};

}  // namespace densenet
