// The parts of the network as a file holds them, in the order of the products, for each kind of numbers: compiled for
// each instruction set, as network.cc is.
#pragma once

#include <string>
#include <vector>

#include "model_file.h"
#include "parts/int8_layers.h"

namespace densenet {

// Statistics with which a normalisation's scale and offset are gamma and beta, bit for bit: 1 - kEpsilon + kEpsilon is
// 1 in float32.
class PlainStatistics {
 public:
  explicit PlainStatistics(int channels) : means_(channels), variances_(channels, 1 - kEpsilon), ones_(channels, 1.0f) {
    static_assert(1 - kEpsilon + kEpsilon == 1.0f);
  }
  // scale: null for ones, where it is in the weights of what comes before.
  Norm norm(const float* scale, const float* offset) {
    return {scale ? scale : ones_.data(), offset, means_.data(), variances_.data()};
  }

 private:
  std::vector<float> means_, variances_, ones_;
};

// What a file says, as the kernels take it. All that it gives is read while it and the file are there.
class FileParts {
 public:
  // widest: channels of a normalisation, at most.
  FileParts(const deployed::ModelFile& file, int widest, int threads)
      : threads(threads), file_(file), statistics_(widest) {}
  const float* tensor(const std::string& name) const { return file_.tensor(name); }
  const int8_t* integers(const std::string& name) const { return file_.integers(name); }
  // With a scale, or one whose scale is in the weights.
  Norm norm(const std::string& name) { return statistics_.norm(tensor(name + ".scale"), tensor(name + ".offset")); }
  Norm shift(const std::string& name) { return statistics_.norm(nullptr, tensor(name + ".offset")); }
  void read(const std::string& name, int channels, Affine& affine) {
    const Norm from = norm(name);
    affine.set(from, {from.mean, from.variance}, channels);
  }

  const int threads;

 private:
  const deployed::ModelFile& file_;
  PlainStatistics statistics_;
};

// What a network of Number is made of.
template <class Number>
struct Kinds {
  using InStem = Number;
  using Layer = PreparedLayer<Number>;
  using Between = PreparedTransition<Number>;
  // Of a block's bottlenecks, one layer's.
  static size_t bottleneck_values(const Extent& extent, int width) {
    return extent.pixels() * static_cast<size_t>(padded(width));
  }
};

// The first convolution stays float32, as the classifier: images have few channels, so it would gain little, and all
// that follows is made of its features.
template <>
struct Kinds<Int8> {
  using InStem = Fp32;
  using Layer = Int8Layer;
  using Between = Int8Transition;
  static size_t bottleneck_values(const Extent& extent, int width) { return BorderedMap(extent, width).values(); }
};

template <class Number>
void add_layer(FileParts& file, const std::string& name, const DenseBlock& block, int layer,
               std::vector<PreparedLayer<Number>>& layers) {
  DenseBlock whole = block;  // with this layer's weights
  whole.layers[layer] = {file.norm(name + ".norm1"), file.tensor(name + ".conv1.weight"), file.shift(name + ".norm2"),
                         file.tensor(name + ".conv2.weight")};
  layers.emplace_back(block, block.channels(layer));
  layers.back().set(whole, layer, file.threads);
}

inline void add_layer(FileParts& file, const std::string& name, const DenseBlock& block, int layer,
                      std::vector<Int8Layer>& layers) {
  const int channels = block.channels(layer);
  layers.emplace_back(block, channels);
  Int8Layer& made = layers.back();
  file.read(name + ".norm1", channels, made.norm1);
  file.read(name + ".norm2", block.width, made.norm2);
  file.read(name + ".conv2", block.growth, made.out);
  pack_1x1(file.integers(name + ".conv1.weight"), channels, block.width, file.threads, made.conv1);
  made.conv2.pack(file.integers(name + ".conv2.weight"), file.threads);
}

template <class Number>
void add_transition(FileParts& file, const std::string& name, const Transition& transition,
                    std::vector<PreparedTransition<Number>>& transitions) {
  Transition whole = transition;
  whole.norm = file.norm(name + ".norm"), whole.conv = file.tensor(name + ".conv.weight");
  transitions.emplace_back(whole, file.threads);
}

inline void add_transition(FileParts& file, const std::string& name, const Transition& transition,
                           std::vector<Int8Transition>& transitions) {
  transitions.emplace_back(transition.in_channels, transition.out_channels);
  Int8Transition& made = transitions.back();
  file.read(name + ".norm", transition.in_channels, made.norm);
  file.read(name + ".conv", transition.out_channels, made.out);
  pack_1x1(file.integers(name + ".conv.weight"), transition.in_channels, transition.out_channels, file.threads,
           made.conv);
}

}  // namespace densenet
