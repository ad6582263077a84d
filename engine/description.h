// What a manifest says of its network, and the tensors that such a network has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace deployed {

using Shape = std::vector<int64_t>;

// A DenseNet as src/network/architecture.py describes it, for square images.
struct Description {
  int channels, image_size, classes;  // of the images; of the answer
  int stem_kernel, stem_features;
  bool stem_pads_both_sides, transitions_take_largest;
  int growth, width;  // features of a layer; of its bottleneck
  std::vector<int> layers;
  bool is_int8;  // convolutions, but for the stem's
  double compression;
  float temperature;

  bool has_pool() const { return stem_kernel == 7; }  // behind the stem
  // Channels that the transition behind a block of `channels` leaves.
  int compressed(int channels) const;
  int feature_channels() const;  // of the last features
  int feature_size() const;      // their height and width; 0 if nothing is left of an image
};

// Of the manifest, found in `where`. Throws Error for a network that this engine does not have.
Description read_description(const std::string& manifest, const std::string& where);

// Names of tensors. Numbers of blocks start at 1, as in checkpoints, of layers at 0.
std::string layer_name(int block, int layer);
std::string transition_name(int block);
constexpr char kStem[] = "backbone.features.conv0.weight", kStemNorm[] = "backbone.features.norm0";
constexpr char kFinal[] = "backbone.features.norm5", kClassifier[] = "head.fc";

struct Tensor {
  std::string name;
  Shape shape;
  bool is_int8;  // else float32
};

// All tensors. Normalisations are a scale and an offset for each channel; where a convolution comes right before one,
// the scale is in its weights. With INT8 a convolution's scale and offset make of its sums what comes next: features,
// or the next convolution's integers.
std::vector<Tensor> tensors_of(const Description& description);

}  // namespace deployed
