// The network of one instruction set: compiled for each, with -Ddensenet=densenet_avx2 and so on, as the kernels are.
#include "network.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "base/number.h"
#include "base/parallel.h"
#include "base/tiles.h"
#include "parts/final_norm.h"
#include "parts/stem.h"
#include "parts_of_file.h"
#include "products/engine.h"
#include "products/register_tiles.h"

namespace densenet {
namespace {

using deployed::Description;
using deployed::ModelFile;

template <class Number>
class NetworkOf : public deployed::Network {
  using Value = typename Number::Value;

 public:
  explicit NetworkOf(const ModelFile& file);
  void predict(const float* images, int64_t count, float* logits, float* features) const override;

 private:
  using InStem = typename Kinds<Number>::InStem;
  struct Block {
    DenseBlock shape;  // its extent is each call's
    std::vector<typename Kinds<Number>::Layer> layers;
  };

  // What one call computes in, kept for the next one.
  struct Memory {
    Buffer<> maps[2]{Buffer<>(0), Buffer<>(0)}, colours{0}, means{0};
    Buffer<Value> bottlenecks{0};
    long images = 0;  // for so many
  };

  void predict_some(const float* images, int count, float* logits, float* features, Memory& memory) const;
  const float* in_colours(const float* images, int count, Memory& memory) const;
  void classify(const float* means, int count, float* logits) const;
  std::unique_ptr<Memory> take_memory(int images) const;

  const Description net_;
  Stem stem_;
  std::unique_ptr<PreparedStem<InStem>> prepared_stem_;
  std::vector<Block> blocks_;
  std::vector<Transition> transitions_;  // their shapes
  std::vector<typename Kinds<Number>::Between> prepared_transitions_;
  Affine final_norm_;
  Panels<Fp32> classifier_;
  std::vector<float> bias_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Memory>> idle_;
};

template <class Number>
NetworkOf<Number>::NetworkOf(const ModelFile& file)
    : net_(file.description()),
      final_norm_(net_.feature_channels()),
      classifier_(1, net_.feature_channels(), padded(net_.classes)) {
  const int threads = thread_count();
  int widest = std::max(net_.width, net_.stem_features), channels = net_.stem_features;
  for (const int layers : net_.layers) widest = std::max(widest, channels += layers * net_.growth);
  FileParts parts(file, widest, threads);

  stem_ = {
      {1, net_.image_size, net_.image_size}, net_.stem_features, net_.stem_kernel, net_.has_pool(), 1, 1, nullptr, {}};
  const int conv_size = stem_.conv_extent().height;
  stem_.pool_top = stem_.pool_left = net_.stem_pads_both_sides || conv_size % 2;
  stem_.norm = parts.shift(deployed::kStemNorm);
  // The kernels' images have three colours: of grey ones the first is the grey, the others weigh nothing.
  const long taps = static_cast<long>(net_.stem_kernel) * net_.stem_kernel;
  std::vector<float> stem_weights(net_.stem_features * kColours * taps);
  for (long out = 0; out < net_.stem_features; out++) {
    std::copy_n(parts.tensor(deployed::kStem) + out * net_.channels * taps, net_.channels * taps,
                stem_weights.data() + out * kColours * taps);
  }
  stem_.conv = stem_weights.data();
  prepared_stem_ = std::make_unique<PreparedStem<InStem>>(stem_, threads);
  stem_.conv = nullptr, stem_.norm = {};

  channels = net_.stem_features;
  for (int number = 1; number <= static_cast<int>(net_.layers.size()); number++) {
    Block block{{{}, channels, net_.growth, net_.width, std::vector<DenseLayer>(net_.layers[number - 1])}, {}};
    for (int i = 0; i < block.shape.count(); i++) {
      add_layer(parts, deployed::layer_name(number, i), block.shape, i, block.layers);
    }
    channels = block.shape.out_channels();
    blocks_.push_back(std::move(block));
    if (number == static_cast<int>(net_.layers.size())) break;
    transitions_.push_back({{}, channels, net_.compressed(channels), net_.transitions_take_largest, {}, nullptr});
    add_transition(parts, deployed::transition_name(number), transitions_.back(), prepared_transitions_);
    channels = transitions_.back().out_channels;
  }
  parts.read(deployed::kFinal, channels, final_norm_);
  const std::string head = deployed::kClassifier;
  Conv1x1<Fp32>::pack(parts.tensor(head + ".weight"), channels, net_.classes, threads, classifier_);
  bias_.assign(parts.tensor(head + ".bias"), parts.tensor(head + ".bias") + net_.classes);
}

template <class Number>
std::unique_ptr<typename NetworkOf<Number>::Memory> NetworkOf<Number>::take_memory(int images) const {
  std::unique_ptr<Memory> memory;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!idle_.empty()) {
      memory = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (memory && memory->images >= images) return memory;
  memory = std::make_unique<Memory>();  // after the old one is gone
  Stem stem = stem_;
  stem.images.batch = images;
  Extent extent = stem.out_extent();
  size_t values[2] = {}, bottlenecks = 0;
  for (size_t i = 0; i < blocks_.size(); i++) {
    values[i % 2] =
        std::max(values[i % 2], extent.pixels() * static_cast<size_t>(pixel_stride(blocks_[i].shape.out_channels())));
    bottlenecks = std::max(bottlenecks, Kinds<Number>::bottleneck_values(extent, net_.width));
    extent.height /= 2, extent.width /= 2;
  }
  for (int i = 0; i < 2; i++) memory->maps[i] = Buffer<>(values[i]);
  memory->bottlenecks = Buffer<Value>(bottlenecks);
  memory->means = Buffer<>(static_cast<size_t>(images) * padded(net_.feature_channels()));
  if (net_.channels != kColours) {
    const size_t image = static_cast<size_t>(kColours) * net_.image_size * net_.image_size;
    memory->colours = Buffer<>(images * image);
    std::fill_n(memory->colours.get(), images * image, 0.0f);
  }
  memory->images = images;
  return memory;
}

template <class Number>
void NetworkOf<Number>::predict(const float* images, int64_t count, float* logits, float* features) const {
  const int together = images_together(thread_count());  // what memory a call takes does not grow with more
  auto memory = take_memory(static_cast<int>(std::min<int64_t>(count, together)));
  const long image = static_cast<long>(net_.channels) * net_.image_size * net_.image_size;
  const long feature = static_cast<long>(net_.feature_channels()) * net_.feature_size() * net_.feature_size();
  for (int64_t first = 0; first < count; first += together) {
    const int some = static_cast<int>(std::min<int64_t>(count - first, together));
    predict_some(images + first * image, some, logits + first * net_.classes,
                 features ? features + first * feature : nullptr, *memory);
  }
  const std::lock_guard<std::mutex> guard(mutex_);
  idle_.push_back(std::move(memory));
}

template <class Number>
void NetworkOf<Number>::predict_some(const float* images, int count, float* logits, float* features,
                                     Memory& memory) const {
  Stem stem = stem_;
  stem.images.batch = count;
  Extent extent = stem.out_extent();
  const auto map_of = [&](size_t block) {
    return FeatureMap{extent, blocks_[block].shape.out_channels(), memory.maps[block % 2].get(), nullptr, nullptr};
  };
  FeatureMap map = map_of(0);
  infer(stem, *prepared_stem_, in_colours(images, count, memory), {map.pixels, map.stride()});
  for (size_t i = 0; i < blocks_.size(); i++) {
    DenseBlock block = blocks_[i].shape;
    block.extent = extent;
    infer(block, blocks_[i].layers, map, memory.bottlenecks.get());
    if (i + 1 == blocks_.size()) break;
    Transition transition = transitions_[i];
    transition.extent = extent;
    extent = transition.out_extent();
    const FeatureMap next = map_of(i + 1);
    infer(transition, prepared_transitions_[i], map.pixels, {next.pixels, next.stride()});
    map = next;
  }
  float* means = memory.means.get();
  const FinalNorm final{extent, map.channels, features == nullptr, {}};
  infer(final, final_norm_, map.pixels, features ? features : means);
  if (features) {
    const long area = final.area();
    parallel(thread_count(), Parts(static_cast<long>(count) * map.channels), [&](const Part& mine) {
      for (long i = mine.begin; i < mine.end; i++) {
        float sum = 0;
        for (long p = 0; p < area; p++) sum += features[i * area + p];
        means[i] = sum / static_cast<float>(area);
      }
    });
  }
  classify(means, count, logits);
}

template <class Number>
const float* NetworkOf<Number>::in_colours(const float* images, int count, Memory& memory) const {
  if (net_.channels == kColours) return images;
  const long plane = static_cast<long>(net_.image_size) * net_.image_size;
  for (long i = 0; i < count; i++) {
    std::copy_n(images + i * plane, plane, memory.colours.get() + i * kColours * plane);
  }
  return memory.colours.get();
}

// means: (count, feature channels). The threads share the classes, as a single image has one row.
template <class Number>
void NetworkOf<Number>::classify(const float* means, int count, float* logits) const {
  const int channels = net_.feature_channels(), columns = padded(net_.classes);
  const float factor = 1 / net_.temperature;
  const Buffer<> products(static_cast<size_t>(count) * columns);
  parallel(thread_count(), Parts(classifier_.count()), [&](const Part& mine) {
    for (int panel = static_cast<int>(mine.begin); panel < mine.end; panel++) {
      const int first = classifier_.first_column(panel);
      const int end = std::min(first + classifier_.vectors(panel) * kLanes, net_.classes);
      multiply(means, channels, 0, count, classifier_, panel, products.get() + first, columns);
      for (long row = 0; row < count; row++) {
        for (int k = first; k < end; k++) {
          logits[row * net_.classes + k] = (products[row * columns + k] + bias_[k]) * factor;
        }
      }
    }
  });
}

}  // namespace

std::unique_ptr<deployed::Network> make_network(const ModelFile& file, [[maybe_unused]] bool bf16) {
  if (file.description().is_int8) return std::make_unique<NetworkOf<Int8>>(file);
#ifdef __AVX512BF16__
  if (bf16) {
    Engine<Bf16>::prepare();
    return std::make_unique<NetworkOf<Bf16>>(file);
  }
#endif
  return std::make_unique<NetworkOf<Fp32>>(file);
}

}  // namespace densenet
