#include "parts/transition.h"

#include "base/indices.h"
#include "base/parallel.h"
#include "convolutions/convolutions.h"
#include "parts/pooled_pixels.h"

namespace densenet {
namespace {

// From the first of the four input pixels of a window to each of them, in floats, line by line.
struct Window {
  explicit Window(const Transition& transition)
      : stride(pixel_stride(transition.in_channels)), below(transition.extent.width * stride) {}
  long operator[](int pixel) const { return (pixel & 1) * stride + (pixel >> 1) * below; }
  long stride, below;
};

// A pool says what the rows of the convolution are: kRows for each window, one after the other, of kOfRow pixels each.
// inputs: row -> channel -> values. after: makes one of each window's rows of products, in place, from window `first`
// on. d_row: of the gradient of an output what the row of `pixel` gets.

// One row a window: the average over its four pixels of relu(affine(x)).
struct AveragePool {
  static constexpr int kRows = 1, kOfRow = 4;
  static constexpr float kShare = 0.25f;  // of a row that a pixel gets

  static auto inputs(const Transition& transition, const float* x, const Affine& affine) {
    return pooled_pixels(transition, x, affine);
  }

  static void after(float*, long, long, int, uint8_t*) {}
  static Vec d_row(Vec d, const uint8_t*, long, long) { return d; }
};

// A row for each of the four pixels, as the largest of their products is taken.
struct LargestPool {
  static constexpr int kRows = 4, kOfRow = 1;
  static constexpr float kShare = 1.0f;

  static auto inputs(const Transition& transition, const float* x, const Affine& affine) {
    return [=, &transition, &affine, window = Window(transition)](long row) {
      const float* first = x + first_of_four(transition, row / kRows) * window.stride;
      return [=, &affine, pixel = first + window[static_cast<int>(row % kRows)]](int c) {
        fetch_ahead(pixel + c, window.stride);
        return normalised(pixel, affine, c);
      };
    };
  }

  // The first of the largest stays, and NaN, so that a diverging training shows. chosen may be null.
  static void after(float* products, long first, long windows, int columns, uint8_t* chosen) {
    for (long window = 0; window < windows; window++) {
      for (int c = 0; c < columns; c += kLanes) {
        const float* four = products + window * kRows * columns + c;
        Vec largest = load(four);
        Indices which{};
        for (int pixel = 1; pixel < kRows; pixel++) {
          const Vec other = load(four + static_cast<long>(pixel) * columns);
          const auto stays = (other <= largest) | (largest != largest);
          largest = stays ? largest : other;
          which = stays ? which : Indices{} + pixel;
        }
        store(products + window * columns + c, largest);
        if (chosen) store_indices(chosen + (first + window) * columns + c, which);
      }
    }
  }

  static Vec d_row(Vec d, const uint8_t* chosen, long at, long pixel) {
    return load_indices(chosen + at) == static_cast<int>(pixel) ? d : Vec{};
  }
};

// Calls call(pool) with that of the transition.
template <class Call>
void with_pool(const Transition& transition, const Call& call) {
  transition.takes_largest ? call(LargestPool{}) : call(AveragePool{});
}

template <class Number>
typename Conv1x1<Number>::Weights packed(const Transition& transition, int threads) {
  auto weights = Conv1x1<Number>::space(transition.in_channels, transition.out_channels);
  Conv1x1<Number>::pack(transition.conv, transition.in_channels, transition.out_channels, threads, weights);
  return weights;
}

// y = the transition of relu(affine(x)); its moments are added to those of each part unless they are null. y and
// `chosen` are made unless they are.
template <class Number>
void forward(const Transition& transition, int threads, const typename Conv1x1<Number>::Weights& weights,
             const float* x, const Affine& affine, const MutableRows& y, uint8_t* chosen, OfParts<Moments>* moments) {
  with_pool(transition, [&]([[maybe_unused]] auto pool) {
    using Pool = decltype(pool);
    const int in_channels = transition.in_channels, out_channels = transition.out_channels,
              padded_out = padded(out_channels);
    const int least_pieces = moments ? kLeastPieces : threads;
    const long all_rows = Pool::kRows * transition.out_extent().pixels();
    Conv1x1<Number> conv(threads, least_pieces, all_rows, in_channels, out_channels, Pool::kRows);
    if (moments) moments->begin(conv.parts(in_channels));
    conv.run(weights, in_channels, out_channels, Pool::inputs(transition, x, affine),
             [&](const Part& part, long first_row, long rows, float* products) {
               const long first = first_row / Pool::kRows, windows = rows / Pool::kRows;
               Pool::after(products, first, windows, padded_out, chosen);
               if (moments) (*moments)[part].add(products, padded_out, windows, 0, padded_out);
               for (long window = 0; y.data && window < windows; window++) {
                 put_floats(products + window * padded_out, padded_out, y.data + (first + window) * y.stride,
                            y.past_caches);
               }
             });
  });
}

// Of the convolution's rows from `first` on: d_x = affine's scale * (each pixel's share of its row's gradient where the
// ReLU's input was positive), and what the latter sum up to, also times x - mean.
template <class Pool>
void mask_rows(const Transition& transition, long first, long rows, const float* d_rows, const float* x,
               const Affine& affine, const float* mean, float* d_x, float* sums, float* centred_sums) {
  const int channels = transition.in_channels, padded_in = padded(channels);
  const Window window(transition);
  for (long row = 0; row < rows; row += Pool::kRows) {
    const long four = first_of_four(transition, (first + row) / Pool::kRows) * window.stride;
    for (int c = 0; c < padded_in; c += kLanes) {
      const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
      const Vec m = load_first(mean + c, channels - c);
      Vec sum = load(sums + c), centred = load(centred_sums + c);
      for (int of_window = 0; of_window < Pool::kRows; of_window++) {
        const Vec d = load(d_rows + (row + of_window) * padded_in + c) * Pool::kShare;
        for (int pixel = of_window; pixel < of_window + Pool::kOfRow; pixel++) {
          const Vec value = load(x + four + window[pixel] + c), masked = where_positive(value * scale + offset, d);
          sum += masked;
          centred += masked * (value - m);
          stream(d_x + four + window[pixel] + c, scale * masked);
        }
      }
      store(sums + c, sum);
      store(centred_sums + c, centred);
    }
  }
}

}  // namespace

template <class Number>
void train_forward(const Transition& transition, const FeatureMap& x, const FeatureMap& y, uint8_t* chosen) {
  Affine affine(x.channels);
  const Statistics of_x{x.mean, x.variance};
  affine.set(transition.norm, of_x, x.channels);
  follow(transition.norm, x.extent.pixels(), x.channels, of_x);
  OfParts<Moments> moments(padded(y.channels));
  const int threads = thread_count();
  const auto weights = packed<Number>(transition, threads);
  forward<Number>(transition, threads, weights, x.pixels, affine, {y.pixels, y.stride(), kPastCaches}, chosen,
                  &moments);
  moments.total().mean_and_variance(y.extent.pixels(), 0, y.channels, y.mean, y.variance);
}

template <class Number>
PreparedTransition<Number>::PreparedTransition(const Transition& transition, int threads)
    : norm(transition.in_channels), conv(packed<Number>(transition, threads)) {
  norm.set(transition.norm, {transition.norm.mean, transition.norm.variance}, transition.in_channels);
}

template <class Number>
void infer(const Transition& transition, const FeatureMap& x, const FeatureMap& y) {
  const PreparedTransition<Number> prepared(transition, thread_count());
  infer(transition, prepared, x.pixels, {y.pixels, y.stride(), kPastCaches});
}

template <class Number>
void infer(const Transition& transition, const PreparedTransition<Number>& prepared, const float* x,
           const MutableRows& y) {
  forward<Number>(transition, thread_count(), prepared.conv, x, prepared.norm, y, nullptr, nullptr);
}

template <class Number>
void backward(const Transition& transition, const FeatureMap& x, const FeatureMap& y, const uint8_t* chosen,
              const FeatureMap& d_y, const FeatureMap& d_x, float* d_gamma, float* d_beta, float* d_conv) {
  const Statistics applied = transition.norm.applied({x.mean, x.variance});
  Affine affine(x.channels);
  affine.set(transition.norm, applied, x.channels);
  Correction correction(y.channels);
  correction.set(MomentGradients(d_y), y.mean, y.extent.pixels(), 0, y.channels);
  const int padded_in = padded(x.channels), padded_out = padded(y.channels);
  if (x.extent.height % 2 || x.extent.width % 2) {  // what no window covers
    std::fill(d_x.pixels, d_x.pixels + (x.extent.pixels() - 1) * x.stride() + padded_in, 0.0f);
  }
  OfParts<NormSums> sums(padded_in);
  with_pool(transition, [&]([[maybe_unused]] auto pool) {
    using Pool = decltype(pool);
    const auto d_products = [&](long row) {
      const long window = row / Pool::kRows;
      return [&, at = window * y.stride(), which = window * padded_out, pixel = row % Pool::kRows](int k) {
        const Vec d = load(d_y.pixels + at + k) + load(correction.constant.get() + k) +
                      load(correction.slope.get() + k) * load(y.pixels + at + k);
        return Pool::d_row(d, chosen, which + k, pixel);
      };
    };
    Conv1x1Backward<Number> conv(thread_count(), Pool::kRows * y.extent.pixels(), x.channels, y.channels, Pool::kRows);
    conv.run(
        transition.conv, x.channels, y.channels, Pool::inputs(transition, x.pixels, affine), d_products,
        [&](long first, long rows, const float* d_rows, float* chunk_sums, float* centred_sums) {
          mask_rows<Pool>(transition, first, rows, d_rows, x.pixels, affine, applied.mean, d_x.pixels, chunk_sums,
                          centred_sums);
        },
        sums, d_conv);
  });
  MomentGradients d_moments(x.channels);
  norm_gradients(sums.total(), transition.norm, applied.variance, x.channels, d_gamma, d_beta, d_moments);
  d_moments.copy_to(d_x);
}

template <class Number>
void choose(const Transition& transition, const FeatureMap& x, uint8_t* chosen) {
  if (!transition.takes_largest) return;
  const PreparedTransition<Number> prepared(transition, thread_count());
  forward<Number>(transition, thread_count(), prepared.conv, x.pixels, prepared.norm, {nullptr, 0}, chosen, nullptr);
}

#define DENSENET_INSTANTIATE(Number)                                                                                   \
  template void train_forward<Number>(const Transition&, const FeatureMap&, const FeatureMap&, uint8_t*);              \
  template void infer<Number>(const Transition&, const FeatureMap&, const FeatureMap&);                                \
  template void infer<Number>(const Transition&, const PreparedTransition<Number>&, const float*, const MutableRows&); \
  template void choose<Number>(const Transition&, const FeatureMap&, uint8_t*);                                        \
  template struct PreparedTransition<Number>;                                                                          \
  template void backward<Number>(const Transition&, const FeatureMap&, const FeatureMap&, const uint8_t*,              \
                                 const FeatureMap&, const FeatureMap&, float*, float*, float*);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
