// Batch normalisation (Ioffe and Szegedy 2015): statistics of features, and the numbers that apply it.
#pragma once

#include <vector>

#include "base/layout.h"
#include "base/number.h"
#include "base/parallel.h"
#include "map/feature_map.h"

namespace densenet {

constexpr float kEpsilon = 1e-5f;  // as in src/network/densenet.py
constexpr float kMomentum = 0.9f;

// What is summed, one of each part, and its total in the parts' order.
template <class Sums>
class OfParts {
 public:
  explicit OfParts(int channels) : channels_(channels) {}
  // Outside of `parallel`: allocates.
  void begin(const Parts& parts) { sums_.assign(parts.count(), Sums(channels_)); }
  Sums& operator[](const Part& part) { return sums_[part.number]; }
  const Sums& total() {
    for (size_t part = 1; part < sums_.size(); part++) sums_[0].add(sums_[part]);
    return sums_[0];
  }

 private:
  int channels_;
  std::vector<Sums> sums_;
};

// Sums and sums of squares of one part's rows of pixels, per channel, in float64.
class Moments {
 public:
  explicit Moments(int channels) : sums_(channels), squares_(channels) {}
  // x: `rows` pixels, `stride` floats apart, of `channels` channels, a multiple of kLanes; the first one counts for
  // channel `first` of these moments.
  void add(const float* x, long stride, long rows, int first, int channels);
  void add(const Moments& other);
  // Mean and biased variance of `count` pixels in channels first .. first + channels - 1.
  void mean_and_variance(long count, int first, int channels, float* mean, float* variance) const;

 private:
  std::vector<double> sums_, squares_;
};

// What a normalisation subtracts, and the biased variance by whose root it divides.
struct Statistics {
  const float *mean, *variance;
};

// One normalisation's trained parameters and its running statistics, all (channels).
struct Norm {
  const float *gamma, *beta;
  float *mean, *variance;
  // It applies its running statistics, as in evaluation: they stay, and have no gradients.
  bool is_frozen = false;

  Statistics applied(const Statistics& of_batch) const { return is_frozen ? Statistics{mean, variance} : of_batch; }
};

// Fills in the mean and the biased variance of a map whose pixels are there.
void measure(const FeatureMap& map);

// running = kMomentum * running + (1 - kMomentum) * batch, with the unbiased variance, as nn.BatchNorm2d does.
void follow(const Norm& norm, long count, int channels, const Statistics& of_batch);

// scale * x + offset = gamma * (x - mean) / sqrt(variance + kEpsilon) + beta; zero from `channels` to padded(channels).
struct Affine {
  explicit Affine(int channels) : scale(padded(channels)), offset(padded(channels)) {}
  void set(const Norm& norm, const Statistics& applied, int channels);
  Buffer<> scale, offset;
};

// Gradients of the loss with respect to the mean and the biased variance of a feature over `count` pixels, and from
// them of the feature itself:  dx = direct + dmean / count + dvariance * 2 (x - mean) / count.
// This is how the terms of all the normalisations that read a feature add up before its gradient is needed.
struct MomentGradients {
  explicit MomentGradients(int channels) : mean(channels), variance(channels) {}
  // Of a map of gradients, and back; zero, and nowhere, if the map's statistics have none.
  explicit MomentGradients(const FeatureMap& d_map);
  void copy_to(const FeatureMap& d_map) const;
  std::vector<double> mean, variance;
};

// What a normalisation's backward pass sums over the pixels, per channel: d and d * (x - mean), d the gradient of its
// output behind the ReLU.
struct NormSums {
  explicit NormSums(int channels) : d(channels), d_centred(channels) {}
  void add(int first, Vec d_lanes, Vec d_centred_lanes);                     // to channels first .. first + kLanes - 1
  void add(const float* d_sums, const float* d_centred_sums, int channels);  // padded to whole vectors
  void add(const NormSums& other);
  std::vector<double> d, d_centred;
};

// From the sums: gradients of gamma and beta, and the terms for mean and variance, which are added to `gradients`.
// variance: that which is applied.
void norm_gradients(const NormSums& sums, const Norm& norm, const float* variance, int channels, float* d_gamma,
                    float* d_beta, MomentGradients& gradients);
// The latter alone, from the former.
void moment_gradients(const float* d_gamma, const float* d_beta, const Norm& norm, const float* variance, int channels,
                      MomentGradients& gradients);

// slope * x + constant is what `gradients` add to the gradient of x in channels first .. first + channels - 1. mean:
// null for a map whose statistics have no gradients.
struct Correction {
  explicit Correction(int channels) : slope(padded(channels)), constant(padded(channels)) {}
  void set(const MomentGradients& gradients, const float* mean, long count, int first, int channels);
  Buffer<> slope, constant;
};

}  // namespace densenet
