#include "description.h"

#include <algorithm>

#include "error.h"
#include "json.h"

namespace deployed {
namespace {

// The members of one JSON object, each asked for with what it may be.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (object.kind != Json::Kind::kObject) throw Error(where_ + " is no JSON object; export the model again");
  }
  int integer(const std::string& name, int low, int high) const {
    const Json* value = object_.find(name);
    if (!value || !value->is_integer(low, high)) {
      refuse(name, "an integer from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return static_cast<int>(value->integer());
  }
  int integer(const std::string& name, int low, int high, int otherwise) const {
    return object_.find(name) ? integer(name, low, high) : otherwise;
  }
  double number(const std::string& name, double low, double high) const {
    const Json* value = object_.find(name);
    if (!value || value->kind != Json::Kind::kNumber || value->number < low || value->number > high) {
      refuse(name, "a number from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return value->number;
  }
  // Whether it is the first of two words.
  bool is_first(const std::string& name, const std::string& first, const std::string& second) const {
    const Json* value = object_.find(name);
    if (!value || !value->is_text() || (value->text != first && value->text != second)) {
      refuse(name, second.empty() ? first : first + " or " + second);
    }
    return value->text == first;
  }
  const Json& list(const std::string& name, size_t least, size_t most) const {
    const Json* value = object_.find(name);
    if (!value || value->kind != Json::Kind::kList || value->items.size() < least || value->items.size() > most) {
      refuse(name, "a list of " + std::to_string(least) + " to " + std::to_string(most) + " values");
    }
    return *value;
  }
  Fields object(const std::string& name) const {
    static const Json kNothing;
    const Json* value = object_.find(name);
    return Fields(value ? *value : kNothing, where_ + "'s " + name);
  }
  [[noreturn]] void refuse(const std::string& name, const std::string& expected) const {
    throw Error(where_ + ": " + name + " should be " + expected + "; export the model again");
  }

 private:
  const Json& object_;
  std::string where_;
};

}  // namespace

int Description::compressed(int channels) const { return std::max(1, static_cast<int>(channels * compression)); }

int Description::feature_channels() const {
  int channels = stem_features;
  for (size_t block = 0; block < layers.size(); block++) {
    channels += layers[block] * growth;
    if (block + 1 < layers.size()) channels = compressed(channels);
  }
  return channels;
}

int Description::feature_size() const {
  const int size = has_pool() ? ((image_size + 1) / 2 + 1) / 2 : image_size;
  return size >> (layers.size() - 1);
}

Description read_description(const std::string& manifest, const std::string& where) {
  const Json json = parse_json(manifest, where);
  const Fields fields(json, where);
  fields.integer("format", 1, 1);
  fields.is_first("file_format", "ENGINE", "");
  const Fields network = fields.object("architecture"), pictures = fields.object("preprocessing");
  Description found{};
  found.is_int8 = !fields.is_first("precision", "float32", "int8");
  found.classes = network.integer("num_classes", 1, 1000000);
  const size_t names = fields.list("class_names", 1, 1000000).items.size();
  if (names != static_cast<size_t>(found.classes)) {
    throw Error(where + " carries " + std::to_string(names) + " class_names for " + std::to_string(found.classes) +
                " classes; export the model again");
  }
  found.channels = static_cast<int>(pictures.list("mean", 1, 3).items.size());
  if (found.channels == 2 || network.integer("input_channels", 1, 3, found.channels) != found.channels) {
    network.refuse("input_channels", "3 or 1, and as many as the preprocessing's mean has");
  }
  found.image_size = pictures.integer("image_size", 1, 8192);
  found.stem_kernel = network.is_first("stem", "conv7x7", "conv3x3") ? 7 : 3;
  found.stem_features = network.integer("stem_features", 1, 4096);
  found.stem_pads_both_sides = network.is_first("stem_pool", "pad", "same");
  found.transitions_take_largest = network.is_first("transition_pool", "max", "avg");
  if (found.is_int8 && found.transitions_take_largest) network.refuse("transition_pool", "avg for INT8");
  found.growth = network.integer("growth_rate", 1, 512);
  found.width = found.growth * network.integer("bn_size", 1, 64);
  found.compression = network.number("compression", 0.001, 1);
  for (const Json& layers : network.list("block_config", 1, 8).items) {
    if (!layers.is_integer(1, 256)) network.refuse("block_config", "integers from 1 to 256");
    found.layers.push_back(static_cast<int>(layers.integer()));
  }
  found.temperature = json.find("temperature") ? static_cast<float>(fields.number("temperature", 1e-3, 1e3)) : 1.0f;
  if (found.feature_size() < 1) throw Error(where + ": the network leaves no pixel of its images; export it again");
  return found;
}

std::string layer_name(int block, int layer) {
  return "backbone.features.denseblock" + std::to_string(block) + ".cell_list." + std::to_string(layer);
}

std::string transition_name(int block) { return "backbone.features.transition" + std::to_string(block) + ".features"; }

std::vector<Tensor> tensors_of(const Description& net) {
  std::vector<Tensor> found;
  const auto add = [&](const std::string& name, const Shape& shape) { found.push_back({name, shape, false}); };
  const auto norm = [&](const std::string& name, int channels) {
    add(name + ".scale", {channels});
    add(name + ".offset", {channels});
  };
  // A convolution, and `behind` the name of what is done to its sums.
  const auto conv = [&](const std::string& name, const Shape& shape, const std::string& behind) {
    found.push_back({name + ".weight", shape, net.is_int8});
    if (net.is_int8) norm(behind, static_cast<int>(shape[0]));
  };
  add(kStem, {net.stem_features, net.channels, net.stem_kernel, net.stem_kernel});
  add(std::string(kStemNorm) + ".offset", {net.stem_features});
  int channels = net.stem_features;
  for (int block = 1; block <= static_cast<int>(net.layers.size()); block++) {
    for (int layer = 0; layer < net.layers[block - 1]; layer++, channels += net.growth) {
      const std::string name = layer_name(block, layer);
      norm(name + ".norm1", channels);
      conv(name + ".conv1", {net.width, channels, 1, 1}, name + ".norm2");
      if (!net.is_int8) add(name + ".norm2.offset", {net.width});
      conv(name + ".conv2", {net.growth, net.width, 3, 3}, name + ".conv2");
    }
    if (block == static_cast<int>(net.layers.size())) break;
    const std::string name = transition_name(block);
    norm(name + ".norm", channels);
    conv(name + ".conv", {net.compressed(channels), channels, 1, 1}, name + ".conv");
    channels = net.compressed(channels);
  }
  norm(kFinal, channels);
  add(std::string(kClassifier) + ".weight", {net.classes, channels});
  add(std::string(kClassifier) + ".bias", {net.classes});
  return found;
}

}  // namespace deployed
