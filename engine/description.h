// What a manifest says of its network, and the tensors that such a network has.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace deployed {

using Shape = std::vector<int64_t>;

// A DenseNet as src/network/architecture.py describes it, for square images.
struct Description {
  int channels, image_size, classes;  // of the images; of the answer
  int stem_kernel, stem_features;
  bool stem_pads_both_sides;
  int growth, width;  // features of a layer; of its bottleneck
  std::vector<int> layers;
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
constexpr char kStem[] = "backbone.features.conv0.weight", kStemOffset[] = "backbone.features.norm0.offset";
constexpr char kFinal[] = "backbone.features.norm5", kClassifier[] = "head.fc";

// The name and the shape of each tensor. Normalisations are a scale and an offset for each channel; where a convolution
// comes right before one, the scale is in its weights.
std::vector<std::pair<std::string, Shape>> tensors_of(const Description& description);

}  // namespace deployed
