#include "parts/final_norm.h"

#include "base/parallel.h"
#include "base/simd.h"

namespace densenet {
namespace {

void forward(const FinalNorm& final, const float* x, const Affine& affine, float* y) {
  const int threads = thread_count(), channels = final.channels;
  const long stride = pixel_stride(channels), area = final.area(), out_area = final.pool ? 1 : area;
  parallel(threads, Parts(final.extent.batch), [&](const Part& images) {
    for (long image = images.begin; image < images.end; image++) {
      for (int c = 0; c < channels; c += kLanes) {
        const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
        const int lanes = std::min(kLanes, channels - c);
        float* out = y + (image * channels + c) * out_area;
        Vec sum{};
        for (long p = 0; p < area; p++) {
          const Vec v = relu(load(x + (image * area + p) * stride + c) * scale + offset);
          sum += v;
          for (int lane = 0; lane < lanes && !final.pool; lane++) out[lane * area + p] = v[lane];
        }
        if (final.pool) store_first(out, sum / static_cast<float>(area), lanes);
      }
    }
  });
}

}  // namespace

void train_forward(const FinalNorm& final, const FeatureMap& x, float* y) {
  Affine affine(final.channels);
  const Statistics of_x{x.mean, x.variance};
  affine.set(final.norm, of_x, final.channels);
  follow(final.norm, final.extent.pixels(), final.channels, of_x);
  forward(final, x.pixels, affine, y);
}

void infer(const FinalNorm& final, const FeatureMap& x, float* y) {
  Affine affine(final.channels);
  affine.set(final.norm, {final.norm.mean, final.norm.variance}, final.channels);
  forward(final, x.pixels, affine, y);
}

void infer(const FinalNorm& final, const Affine& norm, const float* x, float* y) { forward(final, x, norm, y); }

void backward(const FinalNorm& final, const FeatureMap& x, const float* d_y, const FeatureMap& d_x, float* d_gamma,
              float* d_beta) {
  const int threads = thread_count(), channels = final.channels;
  const long stride = pixel_stride(channels), area = final.area(), d_area = final.pool ? 1 : area;
  const Statistics applied = final.norm.applied({x.mean, x.variance});
  Affine affine(channels);
  affine.set(final.norm, applied, channels);
  OfParts<NormSums> sums(padded(channels));
  const Parts parts(final.extent.batch);
  sums.begin(parts);
  parallel(threads, parts, [&](const Part& images) {
    for (long image = images.begin; image < images.end; image++) {
      for (int c = 0; c < channels; c += kLanes) {
        const int lanes = std::min(kLanes, channels - c);
        const Vec scale = load(affine.scale.get() + c), offset = load(affine.offset.get() + c);
        const Vec mean = load_first(applied.mean + c, lanes);
        const float* d_image = d_y + (image * channels + c) * d_area;
        const Vec d_mean = final.pool ? load_first(d_image, lanes) / static_cast<float>(area) : Vec{};
        Vec sum{}, centred{};
        for (long p = 0; p < area; p++) {
          Vec d = d_mean;
          for (int lane = 0; lane < lanes && !final.pool; lane++) d[lane] = d_image[lane * area + p];
          const long i = (image * area + p) * stride + c;
          const Vec value = load(x.pixels + i);
          d = where_positive(value * scale + offset, d);
          sum += d;
          centred += d * (value - mean);
          store(d_x.pixels + i, scale * d);
        }
        sums[images].add(c, sum, centred);
      }
    }
  });
  MomentGradients d_moments(channels);
  norm_gradients(sums.total(), final.norm, applied.variance, channels, d_gamma, d_beta, d_moments);
  d_moments.copy_to(d_x);
}

}  // namespace densenet
