#include "map/statistics.h"

#include <cmath>

namespace densenet {

// Float sums about the first row's values, not about zero: E[x^2] - E[x]^2 would lose the digits of a variance that is
// small against the mean.
void Moments::add(const float* x, long stride, long rows, int first, int channels) {
  for (int c = 0; c < channels; c += kLanes) {
    const float* column = x + c;
    const Vec shift = load(column);
    Vec sums[4] = {}, squares[4] = {};  // four chains of additions: one would wait for itself
    long row = 0;
    for (; row + 4 <= rows; row += 4) {
      for (int i = 0; i < 4; i++) {
        const Vec d = load(column + (row + i) * stride) - shift;
        sums[i] += d;
        squares[i] += d * d;
      }
    }
    for (; row < rows; row++) {
      const Vec d = load(column + row * stride) - shift;
      sums[0] += d;
      squares[0] += d * d;
    }
    const Vec sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    const Vec square = (squares[0] + squares[1]) + (squares[2] + squares[3]);
    for (int lane = 0; lane < kLanes; lane++) {
      const double s = shift[lane], d = sum[lane], n = static_cast<double>(rows);
      sums_[first + c + lane] += n * s + d;
      squares_[first + c + lane] += square[lane] + 2 * s * d + n * s * s;
    }
  }
}

void Moments::add(const Moments& other) {
  for (size_t c = 0; c < sums_.size(); c++) {
    sums_[c] += other.sums_[c];
    squares_[c] += other.squares_[c];
  }
}

void Moments::mean_and_variance(long count, int first, int channels, float* mean, float* variance) const {
  for (int c = 0; c < channels; c++) {
    const double m = sums_[first + c] / count;
    mean[c] = static_cast<float>(m);
    variance[c] = static_cast<float>(std::max(squares_[first + c] / count - m * m, 0.0));
  }
}

void measure(const FeatureMap& map) {
  OfParts<Moments> moments(padded(map.channels));
  const Parts parts(map.extent.pixels());
  moments.begin(parts);
  parallel(thread_count(), parts, [&](const Part& part) {
    moments[part].add(map.pixels + part.begin * map.stride(), map.stride(), part.end - part.begin, 0,
                      padded(map.channels));
  });
  moments.total().mean_and_variance(map.extent.pixels(), 0, map.channels, map.mean, map.variance);
}

void follow(const Norm& norm, long count, int channels, const Statistics& of_batch) {
  if (norm.is_frozen) return;
  const float unbiased = static_cast<float>(count) / static_cast<float>(std::max(count - 1, 1L));
  for (int c = 0; c < channels; c++) {
    norm.mean[c] = kMomentum * norm.mean[c] + (1 - kMomentum) * of_batch.mean[c];
    norm.variance[c] = kMomentum * norm.variance[c] + (1 - kMomentum) * of_batch.variance[c] * unbiased;
  }
}

void Affine::set(const Norm& norm, const Statistics& applied, int channels) {
  for (int c = 0; c < padded(channels); c++) {
    scale[c] = c < channels ? norm.gamma[c] / std::sqrt(applied.variance[c] + kEpsilon) : 0.0f;
    offset[c] = c < channels ? norm.beta[c] - applied.mean[c] * scale[c] : 0.0f;
  }
}

MomentGradients::MomentGradients(const FeatureMap& d_map) : MomentGradients(d_map.channels) {
  if (!d_map.mean) return;
  mean.assign(d_map.mean, d_map.mean + d_map.channels);
  variance.assign(d_map.variance, d_map.variance + d_map.channels);
}

void MomentGradients::copy_to(const FeatureMap& d_map) const {
  if (!d_map.mean) return;
  for (int c = 0; c < d_map.channels; c++) {
    d_map.mean[c] = static_cast<float>(mean[c]);
    d_map.variance[c] = static_cast<float>(variance[c]);
  }
}

void NormSums::add(int first, Vec d_lanes, Vec d_centred_lanes) {
  for (int lane = 0; lane < kLanes; lane++) {
    d[first + lane] += d_lanes[lane];
    d_centred[first + lane] += d_centred_lanes[lane];
  }
}

void NormSums::add(const float* d_sums, const float* d_centred_sums, int channels) {
  for (int c = 0; c < channels; c += kLanes) add(c, load(d_sums + c), load(d_centred_sums + c));
}

void NormSums::add(const NormSums& other) {
  for (size_t c = 0; c < d.size(); c++) {
    d[c] += other.d[c];
    d_centred[c] += other.d_centred[c];
  }
}

// With r = 1 / sqrt(variance + eps) and y = gamma r (x - mean) + beta:
//   dgamma = r sum d (x - mean), dbeta = sum d, dmean = -gamma r sum d, dvariance = -gamma r^3 / 2 sum d (x - mean).
void norm_gradients(const NormSums& sums, const Norm& norm, const float* variance, int channels, float* d_gamma,
                    float* d_beta, MomentGradients& gradients) {
  for (int c = 0; c < channels; c++) {
    const double r = 1 / std::sqrt(static_cast<double>(variance[c]) + kEpsilon), scale = norm.gamma[c] * r;
    d_gamma[c] = static_cast<float>(r * sums.d_centred[c]);
    d_beta[c] = static_cast<float>(sums.d[c]);
    if (norm.is_frozen) continue;
    gradients.mean[c] -= scale * sums.d[c];
    gradients.variance[c] -= scale * r * r / 2 * sums.d_centred[c];
  }
}

void moment_gradients(const float* d_gamma, const float* d_beta, const Norm& norm, const float* variance, int channels,
                      MomentGradients& gradients) {
  NormSums sums(channels);
  for (int c = 0; c < channels; c++) {
    sums.d[c] = d_beta[c];
    sums.d_centred[c] = d_gamma[c] * std::sqrt(static_cast<double>(variance[c]) + kEpsilon);
  }
  std::vector<float> again(channels);
  norm_gradients(sums, norm, variance, channels, again.data(), again.data(), gradients);
}

void Correction::set(const MomentGradients& gradients, const float* mean, long count, int first, int channels) {
  for (int c = 0; c < padded(channels); c++) {
    const double s = c < channels ? 2 * gradients.variance[first + c] / count : 0;
    slope[c] = static_cast<float>(s);
    constant[c] =
        c < channels && mean ? static_cast<float>(gradients.mean[first + c] / count - s * mean[first + c]) : 0;
  }
}

}  // namespace densenet
