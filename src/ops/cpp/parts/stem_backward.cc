#include "base/parallel.h"
#include "convolutions/convolutions.h"
#include "map/operands.h"
#include "parts/stem.h"

namespace densenet {
namespace {

// d_relu = gradient of the ReLU's input at affine(x), of pixels of y; d_y is corrected with `correction` of y. Returns
// what it sums up to.
NormSums backward_activation(const Stem& stem, int threads, const float* x, const Affine& affine, const float* mean,
                             const float* d_y, const Correction& correction, float* d_relu) {
  const int columns = padded(stem.channels), width = stem.out_extent().width;
  const long stride = pixel_stride(stem.channels);
  const Parts parts(stem.out_extent().pixels() / width);
  OfParts<NormSums> sums(columns);
  sums.begin(parts);
  parallel(threads, parts, [&](const Part& lines) {
    for (long line = lines.begin; line < lines.end; line++) {
      for (int c = 0; c < columns; c += kLanes) {
        const Vec slope = load(correction.slope.get() + c), constant = load(correction.constant.get() + c);
        const Vec m = load_first(mean + c, stem.channels - c);
        Vec sum{}, centred{};
        for (long at = line * width * stride + c; at < (line + 1) * width * stride; at += stride) {
          const Vec y = normalised(x + at - c, affine, c), d = where_positive(y, load(d_y + at) + constant + slope * y);
          sum += d;
          centred += d * (load(x + at) - m);
          stream(d_relu + at, d);
        }
        sums[lines].add(c, sum, centred);
      }
    }
  });
  return sums.total();
}

// The gradient of the convolution's outputs: of what the normalisation makes of them, and of their statistics.
class ConvGradient {
 public:
  // d_relu: as backward_activation leaves it.
  ConvGradient(const Stem& stem, const StemActivations& saved, const MomentGradients& d_moments, const float* d_relu,
               int threads)
      : stem_(stem),
        convolved_(saved.convolved.pixels),
        pooled_{d_relu, saved.indices, pixel_stride(stem.channels), padded(stem.channels)},
        affine_(stem.channels),
        correction_(stem.channels),
        lines_(buffers(threads, stem.pool ? stem.conv_extent().width * pooled_.columns : 0)) {
    const Statistics applied = applied_by(stem, saved);
    affine_.set(stem.norm, applied, stem.channels);
    correction_.set(d_moments, applied.mean, stem.conv_extent().pixels(), 0, stem.channels);
  }

  static Statistics applied_by(const Stem& stem, const StemActivations& saved) {
    return stem.norm.applied({saved.convolved.mean, saved.convolved.variance});
  }

  // The line from pixel `first` on: pixel in the line -> channel -> values.
  auto operator()(int thread, long first) const {
    const long stride = pooled_.stride;
    Rows d_relu{pooled_.d + first * stride, stride};
    if (stem_.pool) {
      backward_line(stem_.windows(), pooled_, first / stem_.conv_extent().width, lines_[thread].get());
      d_relu = {lines_[thread].get(), pooled_.columns};
    }
    return [this, d_relu, stride, x = convolved_ + first * stride](long pixel) {
      return [this, d = d_relu.data + pixel * d_relu.stride, d_stride = d_relu.stride, stride,
              x = x + pixel * stride](int c) {
        fetch_ahead(d + c, d_stride);
        fetch_ahead(x + c, stride, 12);
        return load(affine_.scale.get() + c) * load(d + c) +
               (load(correction_.slope.get() + c) * load(x + c) + load(correction_.constant.get() + c));
      };
    };
  }

 private:
  const Stem& stem_;
  const float* convolved_;
  PoolGradients pooled_;
  Affine affine_;
  Correction correction_;
  std::vector<Buffer<>> lines_;
};

}  // namespace

template <class Number>
void backward(const Stem& stem, const float* images, const StemActivations& saved, const FeatureMap& y,
              const FeatureMap& d_y, float* d_relu, float* d_conv, float* d_gamma, float* d_beta) {
  const int threads = thread_count(), channels = stem.channels;
  const Statistics applied = ConvGradient::applied_by(stem, saved);
  Affine affine(channels);
  affine.set(stem.norm, applied, channels);
  Correction of_y(channels);
  of_y.set(MomentGradients(d_y), y.mean, stem.out_extent().pixels(), 0, channels);
  const NormSums sums =
      backward_activation(stem, threads, saved.before_norm(stem), affine, applied.mean, d_y.pixels, of_y, d_relu);
  MomentGradients d_moments(channels);
  norm_gradients(sums, stem.norm, applied.variance, channels, d_gamma, d_beta, d_moments);
  const ConvGradient gradient(stem, saved, d_moments, d_relu, threads);
  StemGradient<Number>(stem.image_conv(), threads).run(images, gradient, d_conv);
}

template <class Number>
void infer_backward(const Stem& stem, const float* images, const StemActivations& saved, const FeatureMap& d_y,
                    float* d_relu, float* d_conv, float* d_gamma, float* d_beta) {
  std::vector<float> y_stats(2L * stem.channels);
  const FeatureMap y{stem.out_extent(), stem.channels, d_relu, y_stats.data(), y_stats.data() + stem.channels};
  train_forward<Number>(stem, images, saved, y);
  std::copy_n(stem.norm.mean, stem.channels, saved.convolved.mean);
  std::copy_n(stem.norm.variance, stem.channels, saved.convolved.variance);
  backward<Number>(stem, images, saved, y, d_y, d_relu, d_conv, d_gamma, d_beta);
}

template <class Number>
void images_backward(const Stem& stem, const StemActivations& saved, const float* d_relu, const float* d_gamma,
                     const float* d_beta, float* d_images) {
  const int threads = thread_count();
  MomentGradients d_moments(stem.channels);
  moment_gradients(d_gamma, d_beta, stem.norm, saved.convolved.variance, stem.channels, d_moments);
  const ConvGradient gradient(stem, saved, d_moments, d_relu, threads);
  StemImageGradient<Number>(stem.image_conv(), threads).run(gradient, d_images);
}

#define DENSENET_INSTANTIATE(Number)                                                                                   \
  template void backward<Number>(const Stem&, const float*, const StemActivations&, const FeatureMap&,                 \
                                 const FeatureMap&, float*, float*, float*, float*);                                   \
  template void infer_backward<Number>(const Stem&, const float*, const StemActivations&, const FeatureMap&, float*,   \
                                       float*, float*, float*);                                                        \
  template void images_backward<Number>(const Stem&, const StemActivations&, const float*, const float*, const float*, \
                                        float*);

DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
