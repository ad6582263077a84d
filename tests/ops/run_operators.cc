// Calls every operator of src/ops/cpp on awkward shapes, with tensors that end where their shapes say and start at no
// rounder address than a float's: for the sanitizers (test_sanitizers.py).
//
// A line an output: its operator, the output's number, a checksum, and the sum of the absolute values.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/layout.h"
#include "map/feature_map.h"

using Function = int(int count, void** data, int* ranks, int64_t** shapes, const char** types, void*, void*);
#define DECLARE(part, kind) \
  Function part##_train_##kind, part##_infer_##kind, part##_backward_##kind, part##_infer_backward_##kind
#define DECLARE_OF(number)                                                                                   \
  DECLARE(stem, pad_##number);                                                                               \
  DECLARE(stem, same_##number);                                                                              \
  DECLARE(block, number);                                                                                    \
  DECLARE(transition, avg_##number);                                                                         \
  DECLARE(transition, max_##number);                                                                         \
  Function stem_images_backward_pad_##number, stem_images_backward_same_##number, block_train_drop_##number, \
      block_backward_drop_##number
extern "C" {
DECLARE_OF(fp32);
#ifdef __AVX512BF16__
DECLARE_OF(bf16);
#endif
Function final_train, final_infer, final_backward, final_infer_backward, final_pool_train, final_pool_infer,
    final_pool_backward, final_pool_infer_backward, sgd_update, average_update, map_measure;
}
#define OPERATOR(name, part, kind, ...)                                                                               \
  Operator {                                                                                                          \
    name, part##_train_##kind, part##_infer_##kind, part##_backward_##kind, part##_infer_backward_##kind, __VA_ARGS__ \
  }

namespace {

using Shape = std::vector<int64_t>;

// All bytes 255: NaN in float32 and in bfloat16.
class Tensor {
 public:
  explicit Tensor(Shape shape, size_t value_bytes = sizeof(float), bool is_integer = false) : shape_(std::move(shape)) {
    for (int64_t length : shape_) size_ *= length;
    type_ = is_integer ? "int32" : value_bytes == sizeof(float) ? "float32" : value_bytes == 2 ? "bfloat16" : "uint8";
    const size_t bytes = kStart + size_ * value_bytes;
    memory_.reset(new unsigned char[bytes]);
    std::memset(memory_.get(), 255, bytes);
  }
  const Shape& shape() const { return shape_; }
  int64_t* dims() { return shape_.data(); }
  size_t size() const { return size_; }
  const char* type() const { return type_; }
  float* data() const { return reinterpret_cast<float*>(memory_.get() + kStart); }

 private:
  static constexpr size_t kStart = 4;
  Shape shape_;
  size_t size_ = 1;
  const char* type_;
  std::shared_ptr<unsigned char[]> memory_;
};
using Tensors = std::vector<Tensor>;

uint32_t random_state = 1;

// Between -1 and 1.
float draw() {
  random_state = random_state * 1664525u + 1013904223u;
  return static_cast<float>(random_state >> 8) / 8388608.0f - 1;
}

Tensor drawn(Shape shape, float scale = 1, float offset = 0) {
  Tensor tensor(std::move(shape));
  for (size_t i = 0; i < tensor.size(); i++) tensor.data()[i] = scale * draw() + offset;
  return tensor;
}

Tensor integers(Shape shape, const std::vector<int32_t>& values) {
  Tensor tensor(std::move(shape), sizeof(int32_t), true);
  std::copy(values.begin(), values.end(), reinterpret_cast<int32_t*>(tensor.data()));
  return tensor;
}

using densenet::padded, densenet::pixel_stride;
Shape map_shape(int64_t batch, int64_t height, int64_t width, int64_t channels) {
  return {batch, height, width, pixel_stride(channels)};
}

Tensors joined(const std::vector<Tensors>& parts) {
  Tensors all;
  for (const Tensors& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Tensors made(const std::vector<Shape>& shapes) {
  Tensors tensors;
  for (const Shape& shape : shapes) tensors.emplace_back(shape);
  return tensors;
}

void call(const char* name, Function* function, const Tensors& inputs, Tensors& outputs) {
  Tensors all = joined({inputs, outputs});
  std::vector<void*> data;
  std::vector<int> ranks;
  std::vector<int64_t*> shapes;
  std::vector<const char*> types;
  for (Tensor& tensor : all) {
    types.push_back(tensor.type());
    data.push_back(tensor.data());
    ranks.push_back(static_cast<int>(tensor.shape().size()));
    shapes.push_back(tensor.dims());
  }
  const int count = static_cast<int>(all.size());
  if (function(count, data.data(), ranks.data(), shapes.data(), types.data(), nullptr, nullptr)) {
    std::fprintf(stderr, "error: %s failed\n", name);
    std::exit(1);
  }
}

// channels: of a map; 0: all of the tensor.
void print(const std::string& name, int number, const Tensor& tensor, int64_t channels = 0) {
  const int64_t row = tensor.shape().back();
  const size_t bytes = tensor.size() * sizeof(float);
  const float* data = channels ? densenet::values_from<float>(tensor.data(), bytes) : tensor.data();
  double sum = 0, absolute = 0;
  uint32_t weight = 1;
  for (size_t i = 0; i < tensor.size(); i++) {
    if (channels && static_cast<int64_t>(i) % row >= channels) continue;
    weight = weight * 1664525u + 1013904223u;
    sum += data[i] * (1 + static_cast<double>(weight >> 8) / 16777216);
    absolute += std::fabs(data[i]);
  }
  std::printf("%s %d %.9g %.9g\n", name.c_str(), number, sum, absolute);
}

Tensors norm(int64_t channels) { return {drawn({channels}, 0.5f, 1), drawn({channels})}; }
Tensors running(int64_t channels) { return {drawn({channels}), drawn({channels}, 0.5f, 1)}; }
Tensor convolution(int64_t out, int64_t in, int64_t kernel) {
  return drawn({out, in, kernel, kernel}, 2 / std::sqrt(static_cast<float>(in * kernel * kernel)));
}

// Of a map whose other channels are NaN: padding that nobody may rely on.
Tensors features(int64_t batch, int64_t height, int64_t width, int64_t channels) {
  Tensor x(map_shape(batch, height, width, channels)), stats({2, channels});
  const int64_t pixels = batch * height * width, stride = pixel_stride(channels);
  for (int64_t c = 0; c < channels; c++) {
    double sum = 0, squares = 0;
    for (int64_t p = 0; p < pixels; p++) {
      const float value = x.data()[p * stride + c] = draw();
      sum += value, squares += value * value;
    }
    stats.data()[c] = static_cast<float>(sum / pixels);
    stats.data()[channels + c] = static_cast<float>(squares / pixels - sum / pixels * (sum / pixels));
  }
  return {x, stats};
}

// An operator's functions for one kind of number, and the bytes of that. name: of what is printed.
struct Operator {
  std::string name;
  Function *train, *infer, *backward, *infer_backward;
  size_t bytes;
  Function* images_backward = nullptr;  // of a stem
  bool takes_largest = false;           // of a transition
  bool drops = false;                   // of a block
};

void run_stem(const Operator& stem, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t kernel) {
  const int64_t step = kernel == 7 ? 2 : 1;
  const int64_t h = (height - 1) / step + 1, w = (width - 1) / step + 1;
  const Shape conv = map_shape(batch, h, w, channels);
  const Shape y = map_shape(batch, (h - 1) / step + 1, (w - 1) / step + 1, channels);
  const Tensors inputs = joined({{drawn({batch, 3, height, width}), convolution(channels, 3, kernel)}, norm(channels)});
  const Tensors statistics = running(channels);
  const bool pool = kernel == 7;
  Tensors saved = made({y, {2, channels}, conv, {2, channels}, pool ? y : Shape{1}}), inferred = made({y});
  saved.emplace_back(pool ? Shape{batch, y[1], y[2], padded(channels)} : Shape{1}, 1);
  call("stem_train", stem.train, joined({inputs, statistics}), saved);
  call("stem_infer", stem.infer, joined({inputs, statistics}), inferred);
  Tensors gradients = made({inputs[1].shape(), {channels}, {channels}, y});
  const Tensors needed(saved.begin() + 1, saved.end());
  call("stem_backward", stem.backward, joined({inputs, needed, features(batch, y[1], y[2], channels)}), gradients);
  Tensors again = made({inputs[1].shape(), {channels}, {channels}, y, conv, {2, channels}, pool ? y : Shape{1}});
  again.emplace_back(saved.back().shape(), 1);
  call("stem_infer_backward", stem.infer_backward,
       joined({inputs, statistics, {features(batch, y[1], y[2], channels)[0]}}), again);
  Tensors of_images = made({inputs[0].shape()});
  call("stem_images_backward", stem.images_backward,
       joined({inputs, {saved[2], saved[3], saved[5]}, {gradients[1], gradients[2], gradients[3]}}), of_images);
  const std::string name = stem.name + std::to_string(kernel);
  print(name + "_train", 0, saved[0], channels);
  print(name + "_train", 1, saved[1]);
  print(name + "_running", 0, statistics[0]);
  print(name + "_running", 1, statistics[1]);
  print(name + "_infer", 0, inferred[0], channels);
  for (int i = 0; i < 3; i++) print(name + "_backward", i, gradients[i]);
  for (int i = 0; i < 3; i++) print(name + "_infer_backward", i, again[i]);
  print(name + "_images_backward", 0, of_images[0]);
}

void run_block(const Operator& block, int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t growth,
               int64_t bn_size, int layers) {
  const int64_t bottleneck = bn_size * growth, out = channels + layers * growth, pixels = batch * height * width;
  const Tensors x = features(batch, height, width, channels);
  Tensors parameters, statistics;
  for (int64_t in = channels; in < out; in += growth) {
    parameters = joined({parameters, norm(in), {convolution(bottleneck, in, 1)}});
    parameters = joined({parameters, norm(bottleneck), {convolution(growth, bottleneck, 3)}});
    statistics = joined({statistics, running(in), running(bottleneck)});
  }
  const Shape map = map_shape(batch, height, width, out), one = {pixels + 4, padded(bottleneck)};
  const Tensor bottlenecks({layers * pixels + 4, one[1]}, block.bytes);
  Tensors saved = joined({made({map, {2, out}}), {bottlenecks}, made({{layers, 2, bottleneck}})});
  Tensors inferred = {Tensor(map), Tensor(one, block.bytes)};
  Tensors dropout, states;
  if (block.drops) {
    dropout = {integers({1}, {-500000000}), drawn({1}, 0, 1.6f)};
    for (int layer = 0; layer < layers; layer++) states.push_back(integers({2}, {layer - 7, layer}));
    saved.push_back(integers({layers, 2}, {}));
  }
  call("block_train", block.train, joined({x, dropout, parameters, statistics, states}), saved);
  call("block_infer", block.infer, joined({{x[0]}, parameters, statistics}), inferred);
  Tensors gradients = made({x[0].shape(), x[1].shape()});
  for (const Tensor& parameter : parameters) gradients.emplace_back(parameter.shape());
  gradients.emplace_back(map);
  gradients.emplace_back(one, block.bytes);
  call("block_backward", block.backward, joined({saved, dropout, features(batch, height, width, out), parameters}),
       gradients);
  Tensors again = made({x[0].shape()});
  for (const Tensor& parameter : parameters) again.emplace_back(parameter.shape());
  again.emplace_back(map);
  for (int i = 0; i < 2; i++) again.emplace_back(one, block.bytes);
  call("block_infer_backward", block.infer_backward,
       joined({{inferred[0]}, {features(batch, height, width, out)[0]}, parameters, statistics}), again);
  print(block.name + "_train", 0, saved[0], out);
  print(block.name + "_train", 1, saved[1]);
  for (size_t i = 0; i < statistics.size(); i++) print(block.name + "_running", static_cast<int>(i), statistics[i]);
  print(block.name + "_infer", 0, inferred[0], out);
  print(block.name + "_backward", 0, gradients[0], channels);
  for (size_t i = 1; i < gradients.size() - 2; i++) print(block.name + "_backward", static_cast<int>(i), gradients[i]);
  print(block.name + "_infer_backward", 0, again[0], channels);
  for (size_t i = 1; i < again.size() - 3; i++) print(block.name + "_infer_backward", static_cast<int>(i), again[i]);
}

void run_blocks(const Operator& block) {
  run_block(block, 2, 7, 5, 24, 12, 4, 3);
  run_block(block, 5, 3, 9, 250, 7, 3, 2);
  run_block(block, 1, 45, 45, 64, 48, 1, 1);
  run_block(block, 5, 1, 1, 3, 1, 1, 1);
}

void run_transition(const Operator& transition, int64_t batch, int64_t height, int64_t width, int64_t channels,
                    int64_t out) {
  const Tensors x = features(batch, height, width, channels), statistics = running(channels);
  const Tensors parameters = joined({norm(channels), {convolution(out, channels, 1)}});
  const Shape map = map_shape(batch, height / 2, width / 2, out);
  Tensors saved = made({map, {2, out}}), inferred = made({map});
  saved.emplace_back(transition.takes_largest ? Shape{batch, map[1], map[2], padded(out)} : Shape{1}, 1);
  call("transition_train", transition.train, joined({x, parameters, statistics}), saved);
  call("transition_infer", transition.infer, joined({{x[0]}, parameters, statistics}), inferred);
  Tensors gradients = made({x[0].shape(), x[1].shape(), {channels}, {channels}, parameters[2].shape()});
  call("transition_backward", transition.backward,
       joined({x, saved, features(batch, height / 2, width / 2, out), parameters}), gradients);
  Tensors again = made({x[0].shape(), {channels}, {channels}, parameters[2].shape()});
  again.emplace_back(saved[2].shape(), 1);
  call("transition_infer_backward", transition.infer_backward,
       joined({{x[0], inferred[0], features(batch, height / 2, width / 2, out)[0]}, parameters, statistics}), again);
  print(transition.name + "_train", 0, saved[0], out);
  print(transition.name + "_train", 1, saved[1]);
  for (int i = 0; i < 2; i++) print(transition.name + "_running", i, statistics[i]);
  print(transition.name + "_infer", 0, inferred[0], out);
  print(transition.name + "_backward", 0, gradients[0], channels);
  for (int i = 1; i < 5; i++) print(transition.name + "_backward", i, gradients[i]);
  print(transition.name + "_infer_backward", 0, again[0], channels);
  for (int i = 1; i < 4; i++) print(transition.name + "_infer_backward", i, again[i]);
}

void run_transitions(const Operator& transition) {
  run_transition(transition, 2, 7, 5, 24, 12);
  run_transition(transition, 3, 6, 4, 250, 256);
  run_transition(transition, 5, 2, 3, 3, 1);
}

void run_final(int64_t batch, int64_t height, int64_t width, int64_t channels, bool pool) {
  const Tensors x = features(batch, height, width, channels);
  const Tensors statistics = running(channels), parameters = norm(channels);
  const Shape y = pool ? Shape{batch, channels} : Shape{batch, channels, height, width};
  Tensors trained = made({y}), inferred = made({y});
  call("final_train", pool ? final_pool_train : final_train, joined({x, parameters, statistics}), trained);
  call("final_infer", pool ? final_pool_infer : final_infer, joined({{x[0]}, parameters, statistics}), inferred);
  Tensors gradients = made({x[0].shape(), x[1].shape(), {channels}, {channels}});
  call("final_backward", pool ? final_pool_backward : final_backward, joined({x, {drawn(y)}, parameters}), gradients);
  Tensors again = made({x[0].shape(), {channels}, {channels}});
  call("final_infer_backward", pool ? final_pool_infer_backward : final_infer_backward,
       joined({{x[0], drawn(y)}, parameters, statistics}), again);
  Tensors measured = made({x[1].shape()});
  call("map_measure", map_measure, {x[0], parameters[0]}, measured);
  print("map_measure", 0, measured[0]);
  print("final_train", 0, trained[0]);
  for (int i = 0; i < 2; i++) print("final_running", i, statistics[i]);
  print("final_infer", 0, inferred[0]);
  print("final_backward", 0, gradients[0], channels);
  for (int i = 1; i < 4; i++) print("final_backward", i, gradients[i]);
  print("final_infer_backward", 0, again[0], channels);
  for (int i = 1; i < 3; i++) print("final_infer_backward", i, again[i]);
}

void run_sgd(bool nesterov) {
  const Tensors shapes = {Tensor({3, 70}), Tensor({1}), Tensor({2, 16}), Tensor({5})};
  Tensor settings = drawn({2 + 2 * static_cast<int64_t>(shapes.size())}, 0.1f);
  settings.data()[1] = nesterov;
  Tensors gradients, changed, done = made({{1}});
  for (const Tensor& like : shapes) gradients.push_back(drawn(like.shape()));
  for (int copies = 0; copies < 2; copies++) {  // parameters, velocities
    for (const Tensor& like : shapes) changed.push_back(drawn(like.shape()));
  }
  call("sgd_update", sgd_update, joined({{settings, drawn(Shape{})}, gradients, changed}), done);
  for (size_t i = 0; i < changed.size(); i++) print("sgd_update", static_cast<int>(i), changed[i]);
}

void run_average() {
  Tensors averages, values, done = made({{1}});
  for (const Shape& shape : {Shape{3, 70}, Shape{1}, Shape{2, 16}, Shape{5}}) {
    averages.push_back(drawn(shape));
    values.push_back(drawn(shape));
  }
  call("average_update", average_update, joined({{drawn(Shape{})}, averages, values}), done);
  for (size_t i = 0; i < averages.size(); i++) print("average_update", static_cast<int>(i), averages[i]);
}

}  // namespace

int main() {
  const Operator pad = OPERATOR("stem", stem, pad_fp32, 4, stem_images_backward_pad_fp32);
  const Operator same = OPERATOR("stem", stem, same_fp32, 4, stem_images_backward_same_fp32);
  run_stem(pad, 2, 7, 5, 24, 3);
  run_stem(pad, 2, 45, 37, 24, 7);
  run_stem(same, 3, 12, 10, 70, 7);
  run_stem(same, 5, 1, 1, 3, 7);
  run_blocks(OPERATOR("block", block, fp32, 4));
  run_transitions(OPERATOR("transition", transition, avg_fp32, 4));
  run_final(3, 7, 5, 250, false);
  run_final(3, 7, 5, 250, true);
  run_final(1, 1, 1, 3, false);
  run_sgd(false);
  run_sgd(true);
  // Last: what others draw does not depend on these.
  run_stem(same, 1, 26, 45, 24, 7);
  run_stem(pad, 1, 8, 9, 24, 7);  // a window sees lines of three of four threads
  run_average();
  run_transitions(OPERATOR("max_transition", transition, max_fp32, 4, nullptr, true));
  Operator dropping = OPERATOR("dropping_block", block, fp32, 4, nullptr, false, true);
  dropping.train = block_train_drop_fp32, dropping.backward = block_backward_drop_fp32;
  run_blocks(dropping);
#ifdef __AVX512BF16__
  dropping = OPERATOR("bf16_dropping_block", block, bf16, 2, nullptr, false, true);
  dropping.train = block_train_drop_bf16, dropping.backward = block_backward_drop_bf16;
  run_blocks(dropping);
  run_blocks(OPERATOR("bf16_block", block, bf16, 2));
  run_transitions(OPERATOR("bf16_transition", transition, avg_bf16, 2));
  run_stem(OPERATOR("bf16_stem", stem, pad_bf16, 2, stem_images_backward_pad_bf16), 2, 7, 5, 24, 3);
  run_stem(OPERATOR("bf16_stem", stem, same_bf16, 2, stem_images_backward_same_bf16), 3, 37, 45, 70, 7);
  run_transitions(OPERATOR("bf16_max_transition", transition, max_bf16, 2, nullptr, true));
#endif
}
