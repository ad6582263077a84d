#include "parts/transition.h"

#include "base/parallel.h"
#include "convolutions/convolutions.h"
#include "parts/pooled_pixels.h"

namespace densenet {
namespace {

template <class Number>
typename Conv1x1<Number>::Weights packed(const Transition& transition, int threads) {
  auto weights = Conv1x1<Number>::space(transition.in_channels, transition.out_channels);
  Conv1x1<Number>::pack(transition.conv, transition.in_channels, transition.out_channels, threads, weights);
  return weights;
}

// y = conv(pool(relu(affine(x)))); its moments are added to those of each part unless they are null.
template <class Number>
void forward(const Transition& transition, int threads, const typename Conv1x1<Number>::Weights& weights,
             const float* x, const Affine& affine, const MutableRows& y, OfParts<Moments>* moments) {
  const int in_channels = transition.in_channels, out_channels = transition.out_channels,
            padded_out = padded(out_channels);
  const int least_pieces = moments ? kLeastPieces : threads;
  Conv1x1<Number> conv(threads, least_pieces, transition.out_extent().pixels(), in_channels, out_channels);
  if (moments) moments->begin(conv.parts(in_channels));
  conv.run(weights, in_channels, out_channels, pooled_pixels(transition, x, affine),
           [&](const Part& part, long first, long rows, const float* products) {
             if (moments) (*moments)[part].add(products, padded_out, rows, 0, padded_out);
             for (long row = 0; row < rows; row++) {
               stream_floats(products + row * padded_out, padded_out, y.data + (first + row) * y.stride);
             }
           });
}

// Of output pixels from `first` on: d_x = affine's scale * (a quarter of d_pooled where the ReLU's input was positive),
// for the four input pixels of each, and what the latter sum up to, also times x - mean.
void mask_windows(const Transition& transition, long first, long rows, const float* d_pooled, const float* x,
                  const Affine& affine, const float* mean, float* d_x, float* sums, float* centred_sums) {
  const int channels = transition.in_channels, padded_in = padded(channels);
  const long stride = pixel_stride(channels), below = transition.extent.width * stride;
  const long window[] = {0, stride, below, below + stride};
  for (long row = 0; row < rows; row++) {
    const long four = first_of_four(transition, first + row) * stride;
    for (int c = 0; c < padded_in; c += kLanes) {
      const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
      const Vec m = load_first(mean + c, channels - c), d = load(d_pooled + row * padded_in + c) * 0.25f;
      Vec sum = load(sums + c), centred = load(centred_sums + c);
      for (long pixel : window) {
        const Vec value = load(x + four + pixel + c), masked = where_positive(value * scale + offset, d);
        sum += masked;
        centred += masked * (value - m);
        stream(d_x + four + pixel + c, scale * masked);
      }
      store(sums + c, sum);
      store(centred_sums + c, centred);
    }
  }
}

}  // namespace

template <class Number>
void train_forward(const Transition& transition, const FeatureMap& x, const FeatureMap& y) {
  Affine affine(x.channels);
  affine.set(transition.norm, x.mean, x.variance, x.channels);
  follow(transition.norm, x.extent.pixels(), x.channels, x.mean, x.variance);
  OfParts<Moments> moments(padded(y.channels));
  const int threads = thread_count();
  const auto weights = packed<Number>(transition, threads);
  forward<Number>(transition, threads, weights, x.pixels, affine, {y.pixels, y.stride()}, &moments);
  moments.total().mean_and_variance(y.extent.pixels(), 0, y.channels, y.mean, y.variance);
}

template <class Number>
PreparedTransition<Number>::PreparedTransition(const Transition& transition, int threads)
    : norm(transition.in_channels), conv(packed<Number>(transition, threads)) {
  norm.set(transition.norm, transition.norm.mean, transition.norm.variance, transition.in_channels);
}

template <class Number>
void infer(const Transition& transition, const FeatureMap& x, const FeatureMap& y) {
  const PreparedTransition<Number> prepared(transition, thread_count());
  infer(transition, prepared, x.pixels, {y.pixels, y.stride()});
}

template <class Number>
void infer(const Transition& transition, const PreparedTransition<Number>& prepared, const float* x,
           const MutableRows& y) {
  forward<Number>(transition, thread_count(), prepared.conv, x, prepared.norm, y, nullptr);
}

template <class Number>
void backward(const Transition& transition, const FeatureMap& x, const FeatureMap& y, const FeatureMap& d_y,
              const FeatureMap& d_x, float* d_gamma, float* d_beta, float* d_conv) {
  Affine affine(x.channels);
  affine.set(transition.norm, x.mean, x.variance, x.channels);
  Correction correction(y.channels);
  correction.set(MomentGradients(d_y), y.mean, y.extent.pixels(), 0, y.channels);
  const int padded_in = padded(x.channels);
  if (x.extent.height % 2 || x.extent.width % 2) {  // what no window covers
    std::fill(d_x.pixels, d_x.pixels + (x.extent.pixels() - 1) * x.stride() + padded_in, 0.0f);
  }
  const long stride = y.stride();
  const auto d_products = [&](long pixel) {
    return [&, at = pixel * stride](int k) {
      return load(d_y.pixels + at + k) + load(correction.constant.get() + k) +
             load(correction.slope.get() + k) * load(y.pixels + at + k);
    };
  };
  OfParts<NormSums> sums(padded_in);
  Conv1x1Backward<Number> conv(thread_count(), y.extent.pixels(), x.channels, y.channels);
  conv.run(
      transition.conv, x.channels, y.channels, pooled_pixels(transition, x.pixels, affine), d_products,
      [&](long first, long rows, const float* d_pooled, float* chunk_sums, float* centred_sums) {
        mask_windows(transition, first, rows, d_pooled, x.pixels, affine, x.mean, d_x.pixels, chunk_sums, centred_sums);
      },
      sums, d_conv);
  MomentGradients d_moments(x.channels);
  norm_gradients(sums.total(), transition.norm, x.variance, x.channels, d_gamma, d_beta, d_moments);
  d_moments.copy_to(d_x);
}

#define DENSENET_INSTANTIATE(Number)                                                                                   \
  template void train_forward<Number>(const Transition&, const FeatureMap&, const FeatureMap&);                        \
  template void infer<Number>(const Transition&, const FeatureMap&, const FeatureMap&);                                \
  template void infer<Number>(const Transition&, const PreparedTransition<Number>&, const float*, const MutableRows&); \
  template struct PreparedTransition<Number>;                                                                          \
  template void backward<Number>(const Transition&, const FeatureMap&, const FeatureMap&, const FeatureMap&,           \
                                 const FeatureMap&, float*, float*, float*);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
