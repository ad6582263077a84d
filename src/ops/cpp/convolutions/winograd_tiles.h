// Winograd's minimal filtering in both directions (Lavin and Gray 2016, arXiv:1509.09308, section 4.1): one filter of
// three taps nested in another. What is summed over channels is the product of transformed tiles of the inputs and
// transformed weights, number by number.
#pragma once

#include "base/parallel.h"
#include "base/simd.h"
#include "convolutions/winograd.h"

namespace densenet {

// Both filters have the same static members. With inputs d of kProducts neighbouring pixels and taps g, the kOutputs
// outputs are of_products(m), m[i] = v[i] * of_weights(g, i), v = of_inputs(d).

// F(2, 3), as winograd.h explains it: 2 products an output instead of 3.
struct FilterOfTwo {
  static constexpr int kOutputs = 2, kProducts = 4;

  static void of_inputs(const Vec* d, Vec* v) {
    v[0] = d[0] - d[2], v[1] = d[1] + d[2], v[2] = d[2] - d[1], v[3] = d[1] - d[3];
  }
  static Vec of_weights(const Vec* g, int product) { return transform_weights(g, product); }
  static void of_products(const Vec* m, Vec* outputs) {
    const FourProducts four{{m[0], m[1], m[2], m[3]}};
    outputs[0] = first_output(four), outputs[1] = second_output(four);
  }
};

// F(4, 3): 1.5 products an output. The products are values of polynomials at 0, P, -P, Q, -Q and infinity. P and Q are
// those of few bits, so that all coefficients are exact, which add least to the rounding errors: 2.2 times those of the
// convolution as it is defined, where 1 and 2, the usual ones, add up to 3.3 times.
struct FilterOfFour {
  static constexpr int kOutputs = 4, kProducts = 6;
  static constexpr float kP = 11.0f / 16, kQ = 1.5f, kPP = kP * kP, kQQ = kQ * kQ;

  static void of_inputs(const Vec* d, Vec* v) {
    const Vec even_p = d[4] - kQQ * d[2], odd_p = d[3] - kQQ * d[1];
    const Vec even_q = d[4] - kPP * d[2], odd_q = d[3] - kPP * d[1];
    v[0] = kPP * kQQ * d[0] + (d[4] - (kPP + kQQ) * d[2]);
    v[1] = even_p + kP * odd_p, v[2] = even_p - kP * odd_p;
    v[3] = even_q + kQ * odd_q, v[4] = even_q - kQ * odd_q;
    v[5] = kPP * kQQ * d[1] + (d[5] - (kPP + kQQ) * d[3]);
  }
  static Vec of_weights(const Vec* g, int product) {
    if (product == 0) return g[0] * (1 / (kPP * kQQ));
    if (product == kProducts - 1) return g[2];
    constexpr float kPoints[] = {0, kP, -kP, kQ, -kQ};
    const float point = kPoints[product], other = product < 3 ? kQQ : kPP, square = point * point;
    return (g[0] + square * g[2] + point * g[1]) * (0.5f / (square * (square - other)));
  }
  static void of_products(const Vec* m, Vec* outputs) {
    const Vec even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
    outputs[0] = m[0] + even_p + even_q;
    outputs[1] = kP * odd_p + kQ * odd_q;
    outputs[2] = kPP * even_p + kQQ * even_q;
    outputs[3] = kPP * kP * odd_p + kQQ * kQ * odd_q + m[5];
  }
};

// The transform of all weights of a convolution (growth, width, 3, 3): (products, growth, padded(width)), zero from
// `width` on.
template <class Down, class Across>
class NestedWeights {
 public:
  static constexpr int kProducts = Down::kProducts * Across::kProducts;

  NestedWeights(int growth, int width)
      : growth_(growth), width_(width), data_(1L * kProducts * growth * padded(width)) {}

  void fill(const float* weights, int threads) {
    parallel(threads, Parts(growth_), [&](const Part& outputs) {
      for (int g = static_cast<int>(outputs.begin); g < outputs.end; g++) {
        for (int k = 0; k < padded(width_); k += kLanes) {
          Vec taps[3][kLanes];
          for (int ky = 0; ky < 3; ky++) load_taps(weights, width_, g, k, ky, taps[ky]);
          for (int i = 0; i < Across::kProducts; i++) {
            Vec column[3];
            for (int ky = 0; ky < 3; ky++) column[ky] = Across::of_weights(taps[ky], i);
            for (int line = 0; line < Down::kProducts; line++) {
              store(data_.get() + at(line * Across::kProducts + i, g, k), Down::of_weights(column, line));
            }
          }
        }
      }
    });
  }

  // kLanes inputs from k on of a product and an output; zero where there are none.
  Vec load(int product, int g, int k) const {
    return g < growth_ && k < padded(width_) ? densenet::load(data_.get() + at(product, g, k)) : Vec{};
  }

 private:
  long at(int product, int g, int k) const { return (1L * product * growth_ + g) * padded(width_) + k; }

  int growth_, width_;
  Buffer<> data_;
};

}  // namespace densenet
