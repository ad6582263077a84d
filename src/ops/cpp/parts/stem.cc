#include "parts/stem.h"

#include "base/parallel.h"
#include "convolutions/convolutions.h"
#include "map/operands.h"

namespace densenet {
namespace {

// Calls take(part, first pixel, products) with products (width, padded(channels)) for each line of conv(images), and
// gives the lines to the pool if there is one, with the signs of gamma. The moments are begun if they are not null.
template <class Number, class Take>
void convolve(const Stem& stem, int threads, const typename StemConv<Number>::Weights& weights, const float* gamma,
              const float* images, const PoolOutput& pooled, OfParts<Moments>* moments, const Take& take) {
  const int width = stem.conv_extent().width;
  StemConv<Number> conv(stem.image_conv(), threads, moments ? kLeastPieces : threads);
  if (moments) moments->begin(conv.parts());
  if (!stem.pool) return conv.run(weights, images, take);
  MaxPool pool(stem.windows(), gamma, stem.channels, pooled, conv.parts().count());
  conv.run(weights, images, [&](const Part& part, long first, const float* products) {
    take(part, first, products);
    pool.add(part.number, first / width, products);
  });
  pool.merge_edges();
}

// y = relu(affine(x)), pixel by pixel; y may be x. Its moments are taken unless they are null.
void activate(const Stem& stem, int threads, const Rows& x, const Affine& affine, const MutableRows& y,
              OfParts<Moments>* moments) {
  const int columns = padded(stem.channels), width = stem.out_extent().width;
  const Parts parts(stem.out_extent().pixels() / width);
  if (moments) moments->begin(parts);
  parallel(threads, parts, [&](const Part& lines) {
    for (long line = lines.begin; line < lines.end; line++) {
      const auto pixels = normalised_pixels({x.pixel(line * width), x.stride}, affine);
      float* to = y.data + line * width * y.stride;
      for (int pixel = 0; pixel < width; pixel++) {
        for (int c = 0; c < columns; c += kLanes) store(to + pixel * y.stride + c, pixels(pixel)(c));
      }
      if (moments) (*moments)[lines].add(to, y.stride, width, 0, columns);
    }
  });
}

}  // namespace

template <class Number>
void train_forward(const Stem& stem, const float* images, const StemActivations& saved, const FeatureMap& y) {
  const int threads = thread_count(), channels = stem.channels, columns = padded(channels);
  const int width = stem.conv_extent().width;
  const long stride = pixel_stride(channels), pixels = stem.conv_extent().pixels();
  float *mean = saved.convolved.mean, *variance = saved.convolved.variance;
  OfParts<Moments> moments(columns), y_moments(columns);
  const PoolOutput pooled{saved.extremes, saved.indices, stride, columns};
  const auto weights = StemConv<Number>::packed(stem.image_conv(), threads);
  const auto take = [&](const Part& part, long first, const float* products) {
    moments[part].add(products, columns, width, 0, columns);
    float* to = saved.convolved.pixels + first * stride;
    for (int x = 0; x < width; x++) stream_floats(products + x * columns, columns, to + x * stride);
  };
  convolve<Number>(stem, threads, weights, stem.norm.gamma, images, pooled, &moments, take);
  moments.total().mean_and_variance(pixels, 0, channels, mean, variance);
  follow(stem.norm, pixels, channels, {mean, variance});
  Affine affine(channels);
  affine.set(stem.norm, stem.norm.applied({mean, variance}), channels);
  activate(stem, threads, {saved.before_norm(stem), stride}, affine, {y.pixels, stride}, &y_moments);
  y_moments.total().mean_and_variance(stem.out_extent().pixels(), 0, channels, y.mean, y.variance);
}

template <class Number>
PreparedStem<Number>::PreparedStem(const Stem& stem, int threads)
    : norm(stem.channels), conv(StemConv<Number>::packed(stem.image_conv(), threads)) {
  norm.set(stem.norm, {stem.norm.mean, stem.norm.variance}, stem.channels);
}

template <class Number>
void infer(const Stem& stem, const float* images, const FeatureMap& y) {
  const PreparedStem<Number> prepared(stem, thread_count());
  infer(stem, prepared, images, {y.pixels, y.stride(), kPastCaches});
}

template <class Number>
void infer(const Stem& stem, const PreparedStem<Number>& prepared, const float* images, const MutableRows& y) {
  const int threads = thread_count(), columns = padded(stem.channels), width = stem.conv_extent().width;
  const PoolOutput pooled{y.data, nullptr, y.stride, columns};
  const auto take = [&](const Part&, long first, const float* products) {
    if (stem.pool) return;
    const auto pixels = normalised_pixels({products, columns}, prepared.norm);
    for (int x = 0; x < width; x++) {
      for (int c = 0; c < columns; c += kLanes) put(y.data + (first + x) * y.stride + c, pixels(x)(c), y.past_caches);
    }
  };
  // The scale has gamma's sign.
  convolve<Number>(stem, threads, prepared.conv, prepared.norm.scale.get(), images, pooled, nullptr, take);
  if (stem.pool) activate(stem, threads, {y.data, y.stride}, prepared.norm, y, nullptr);
}

#define DENSENET_INSTANTIATE(Number)                                                                         \
  template void train_forward<Number>(const Stem&, const float*, const StemActivations&, const FeatureMap&); \
  template void infer<Number>(const Stem&, const float*, const FeatureMap&);                                 \
  template void infer<Number>(const Stem&, const PreparedStem<Number>&, const float*, const MutableRows&);   \
  template struct PreparedStem<Number>;

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
