#include "transition.h"

#include "amx_conv1x1.h"
#include "conv1x1.h"
#include "operands.h"
#include "parallel.h"

namespace densenet {
namespace {

// The upper left one of the four input pixels of output pixel `pixel`.
long first_of_four(const Transition& transition, long pixel) {
  const Extent in = transition.extent, out = transition.out_extent();
  const long image = pixel / (out.height * out.width), in_image = pixel % (out.height * out.width);
  return (image * in.height + in_image / out.width * 2) * in.width + in_image % out.width * 2;
}

// pixel -> channel -> the average over the 2x2 window of relu(affine(x)) that an output pixel sees.
auto pooled_pixels(const Transition& transition, const float* x, const Affine& affine) {
  const long right = pixel_stride(transition.in_channels), below = transition.extent.width * right;
  return [=, &transition, &affine](long pixel) {
    return [=, &affine, four = x + first_of_four(transition, pixel) * right](int c) {
      const Vec above = normalised(four, affine, c) + normalised(four + right, affine, c);
      const Vec under = normalised(four + below, affine, c) + normalised(four + below + right, affine, c);
      return (above + under) * 0.25f;
    };
  };
}

// y = conv(pool(relu(affine(x)))); its moments are added to those of each part unless they are null.
template <class Number>
void forward(const Transition& transition, int threads, const float* x, const Affine& affine, float* y,
             OfParts<Moments>* moments) {
  const int in_channels = transition.in_channels, out_channels = transition.out_channels, wide = padded(out_channels);
  const long stride = pixel_stride(out_channels);
  const int least_pieces = moments ? kLeastPieces : threads;
  Conv1x1<Number> conv(threads, least_pieces, transition.out_extent().pixels(), in_channels, out_channels);
  if (moments) moments->begin(conv.parts(in_channels));
  conv.run(transition.conv, in_channels, out_channels, pooled_pixels(transition, x, affine),
           [&](const Part& part, long first, long rows, const float* products) {
             if (moments) (*moments)[part].add(products, wide, rows, 0, wide);
             for (long row = 0; row < rows; row++) {
               stream_floats(products + row * wide, wide, y + (first + row) * stride);
             }
           });
}

// Of output pixels from `first` on: d_x = affine's scale * (a quarter of d_pooled where the ReLU's input was positive),
// for the four input pixels of each, and what the latter sum up to, also times x - mean.
void mask_windows(const Transition& transition, long first, long rows, const float* d_pooled, const float* x,
                  const Affine& affine, const float* mean, float* d_x, float* sums, float* centred_sums) {
  const int channels = transition.in_channels, wide = padded(channels);
  const long stride = pixel_stride(channels), below = transition.extent.width * stride;
  const long window[] = {0, stride, below, below + stride};
  for (long row = 0; row < rows; row++) {
    const long four = first_of_four(transition, first + row) * stride;
    for (int c = 0; c < wide; c += kLanes) {
      const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
      const Vec m = load_first(mean + c, channels - c), d = load(d_pooled + row * wide + c) * 0.25f;
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
void train_forward(const Transition& transition, const float* x, const float* stats, float* y, float* y_stats) {
  const int threads = thread_count(), in_channels = transition.in_channels, out_channels = transition.out_channels;
  Affine affine(in_channels);
  affine.set(transition.norm, stats, stats + in_channels, in_channels);
  follow(transition.norm, transition.extent.pixels(), in_channels, stats, stats + in_channels);
  OfParts<Moments> moments(padded(out_channels));
  forward<Number>(transition, threads, x, affine, y, &moments);
  moments.total().finish(transition.out_extent().pixels(), 0, out_channels, y_stats, y_stats + out_channels);
}

template <class Number>
void infer(const Transition& transition, const float* x, float* y) {
  Affine affine(transition.in_channels);
  affine.set(transition.norm, transition.norm.mean, transition.norm.variance, transition.in_channels);
  forward<Number>(transition, thread_count(), x, affine, y, nullptr);
}

template <class Number>
void backward(const Transition& transition, const float* x, const float* stats, const float* y, const float* y_stats,
              const float* d_y, const float* d_y_stats, float* d_x, float* d_stats, float* d_gamma, float* d_beta,
              float* d_conv) {
  const int threads = thread_count(), in_channels = transition.in_channels, out_channels = transition.out_channels;
  const int in_width = padded(in_channels);
  const Extent &in = transition.extent, out = transition.out_extent();
  const long stride = pixel_stride(in_channels), out_stride = pixel_stride(out_channels);
  Affine affine(in_channels);
  affine.set(transition.norm, stats, stats + in_channels, in_channels);
  MomentGradients d_y_moments(d_y_stats, out_channels), d_moments(in_channels);
  Correction correction(out_channels);
  correction.set(d_y_moments, y_stats, out.pixels(), 0, out_channels);
  if (in.height % 2 || in.width % 2) {  // what no window covers
    std::fill(d_x, d_x + (in.pixels() - 1) * stride + in_width, 0.0f);
  }
  const auto d_products = [&](long pixel) {
    return [&, at = pixel * out_stride](int k) {
      return load(d_y + at + k) + load(correction.constant.get() + k) +
             load(correction.slope.get() + k) * load(y + at + k);
    };
  };
  OfParts<NormSums> sums(in_width);
  Conv1x1Backward<Number> conv(threads, out.pixels(), in_channels, out_channels);
  conv.run(
      transition.conv, in_channels, out_channels, pooled_pixels(transition, x, affine), d_products,
      [&](long first, long rows, const float* d_pooled, float* chunk_sums, float* centred_sums) {
        mask_windows(transition, first, rows, d_pooled, x, affine, stats, d_x, chunk_sums, centred_sums);
      },
      sums, d_conv);
  finish(sums.total(), transition.norm, stats + in_channels, in_channels, d_gamma, d_beta, d_moments);
  d_moments.copy_to(d_stats, in_channels);
}

#define DENSENET_INSTANTIATE(Number)                                                                        \
  template void train_forward<Number>(const Transition&, const float*, const float*, float*, float*);       \
  template void infer<Number>(const Transition&, const float*, float*);                                     \
  template void backward<Number>(const Transition&, const float*, const float*, const float*, const float*, \
                                 const float*, const float*, float*, float*, float*, float*, float*);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
