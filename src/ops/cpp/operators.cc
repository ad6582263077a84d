// The parts as functions that MindSpore's ops.Custom(func_type="aot") calls, and the only file that knows MindSpore.
// Everything but the kinds of pools and the stem's padding follows from the shapes. What an operator takes and makes is
// in signatures.h; src/ops/signatures.py has the same table, dense_ops.py compares.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "arguments.h"
#include "base/number.h"
#include "map/feature_map.h"
#include "parts/average.h"
#include "parts/dense_block.h"
#include "parts/final_norm.h"
#include "parts/sgd.h"
#include "parts/stem.h"
#include "parts/transition.h"
#include "products/engine.h"
#include "signatures.h"

namespace densenet {
namespace {

// Seconds that each operator has taken.
class Times {
 public:
  void add(const char* name, double seconds) {
    const std::lock_guard<std::mutex> guard(mutex_);
    seconds_[name] += seconds;
  }
  double total(const std::string& prefix) {
    const std::lock_guard<std::mutex> guard(mutex_);
    double total = 0;
    for (const auto& [name, seconds] : seconds_) total += name.rfind(prefix, 0) == 0 ? seconds : 0;
    return total;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, double> seconds_;
};

Times& times() {
  static Times times;
  return times;
}

template <class Operation>
int run(const char* name, const char* signature, int count, void** data, const int* ranks, int64_t** shapes,
        const char** types, const Operation& operation) {
  try {
    const size_t end = std::strlen(name);
    const bool is_bf16 = end > 5 && std::strcmp(name + end - 5, "_bf16") == 0;
    check_arguments(signature, is_bf16 ? "bfloat16" : "float32", count, types);
#ifdef __AVX512BF16__
    if (is_bf16) Engine<Bf16>::prepare();
#endif
    Arguments args(count, data, ranks, shapes);
    const auto start = std::chrono::steady_clock::now();
    operation(args);
    times().add(name, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s failed: %s\n", name, error.what());
    return 1;
  }
}

// The next arguments: images, conv (channels, 3, k, k), gamma, beta.
Stem next_stem(Arguments& args, bool pads_both_sides, const float** images) {
  Stem stem{};
  stem.images = args.extent_nchw();
  *images = args.next();
  stem.channels = args.dim(0), stem.kernel = args.dim(2);
  stem.pool = stem.kernel == 7;
  stem.conv = args.next();
  stem.norm = args.next_norm();
  // TensorFlow's and MindSpore's `same` pads an even length at its end only.
  const Extent conv = stem.conv_extent();
  stem.pool_top = pads_both_sides || conv.height % 2;
  stem.pool_left = pads_both_sides || conv.width % 2;
  return stem;
}

template <class Number>
void stem_train(Arguments& args, bool pads_both_sides) {
  const float* images;
  Stem stem = next_stem(args, pads_both_sides, &images);
  args.next_running(stem.norm);
  const FeatureMap y = args.next_map_to_make(), convolved = args.next_map_to_make();
  float* extremes = args.next_to_make();
  train_forward<Number>(stem, images, {convolved, extremes, args.next<uint8_t>()}, y);
}

template <class Number>
void stem_infer(Arguments& args, bool pads_both_sides) {
  const float* images;
  Stem stem = next_stem(args, pads_both_sides, &images);
  args.next_running(stem.norm);
  infer<Number>(stem, images, {stem.out_extent(), stem.channels, args.next_to_make(), nullptr, nullptr});
}

template <class Number>
void stem_backward(Arguments& args, bool pads_both_sides) {
  const float* images;
  const Stem stem = next_stem(args, pads_both_sides, &images);
  float* mean = args.next();
  const FeatureMap y{stem.out_extent(), stem.channels, nullptr, mean, mean + stem.channels};
  const FeatureMap convolved = args.next_map();
  float* extremes = args.next_made();
  const StemActivations saved{convolved, extremes, args.next<uint8_t>()};
  const FeatureMap d_y = args.next_map();
  float *d_conv = args.next(), *d_gamma = args.next(), *d_beta = args.next();
  backward<Number>(stem, images, saved, y, d_y, args.next_to_make(), d_conv, d_gamma, d_beta);
}

// What is made of the stem's activations and d_relu is for stem_images_backward, which is called where it is needed.
template <class Number>
void stem_infer_backward(Arguments& args, bool pads_both_sides) {
  const float* images;
  Stem stem = next_stem(args, pads_both_sides, &images);
  args.next_frozen(stem.norm);
  FeatureMap d_y = args.next_pixels();
  d_y.channels = stem.channels;
  float *d_conv = args.next(), *d_gamma = args.next(), *d_beta = args.next(), *d_relu = args.next_to_make();
  const FeatureMap convolved = args.next_map_to_make();
  float* extremes = args.next_to_make();
  infer_backward<Number>(stem, images, {convolved, extremes, args.next<uint8_t>()}, d_y, d_relu, d_conv, d_gamma,
                         d_beta);
}

template <class Number>
void stem_images_backward(Arguments& args, bool pads_both_sides) {
  const float* images;
  const Stem stem = next_stem(args, pads_both_sides, &images);
  const FeatureMap convolved = args.next_map();
  const StemActivations saved{convolved, nullptr, args.next<uint8_t>()};
  const float *d_gamma = args.next(), *d_beta = args.next(), *d_relu = args.next_made();
  images_backward<Number>(stem, saved, d_relu, d_gamma, d_beta, args.next());
}

// The next arguments: of each layer gamma1, beta1, conv1 (width, channels, 1, 1), gamma2, beta2, conv2
// (growth, width, 3, 3).
DenseBlock next_block(Arguments& args, const Extent& extent, int layers) {
  DenseBlock block{extent, args.dim(0), 0, 0, std::vector<DenseLayer>(layers)};
  for (DenseLayer& layer : block.layers) {
    layer.norm1 = args.next_norm();
    block.width = args.dim(0);
    layer.conv1 = args.next();
    layer.norm2 = args.next_norm();
    block.growth = args.dim(0);
    layer.conv2 = args.next();
  }
  return block;
}

// The next arguments: of each layer mean1, variance1, mean2, variance2.
void next_running(Arguments& args, DenseBlock& block) {
  for (DenseLayer& layer : block.layers) {
    args.next_running(layer.norm1);
    args.next_running(layer.norm2);
  }
}

// The next arguments: of each layer d_gamma1, d_beta1, d_conv1, d_gamma2, d_beta2, d_conv2.
std::vector<DenseLayerGradients> next_gradients(Arguments& args, const DenseBlock& block) {
  std::vector<DenseLayerGradients> gradients(block.layers.size());
  for (DenseLayerGradients& layer : gradients) {
    for (float** gradient : {&layer.gamma1, &layer.beta1, &layer.conv1, &layer.gamma2, &layer.beta2, &layer.conv2}) {
      *gradient = args.next();
    }
  }
  return gradients;
}

// The next arguments: what the layers' dropouts share.
Dropout next_dropout(Arguments& args) {
  const int32_t lowest_kept = *args.next<int32_t>();
  return {lowest_kept, *args.next()};
}

// draws: of each layer the key and the number of calls before this one.
void set_dropout(DenseBlock& block, const Dropout& dropout, const int32_t* draws) {
  for (DenseLayer& layer : block.layers) {
    layer.drop.emplace(dropout, block.extent, block.growth, draws[0], draws[1]);
    draws += 2;
  }
}

template <class Number>
void block_train(Arguments& args) {
  const FeatureMap x = args.next_map();
  DenseBlock block = next_block(args, x.extent, (args.left() - 4) / 10);
  next_running(args, block);
  const FeatureMap features = args.next_map_to_make();
  auto* bottlenecks = args.next_to_make<typename Number::Value>();
  train_forward<Number>(block, x, features, {bottlenecks, args.next()});
}

// Counts the calls in each layer's random_state.
template <class Number>
void block_train_drop(Arguments& args) {
  const FeatureMap x = args.next_map();
  const Dropout dropout = next_dropout(args);
  DenseBlock block = next_block(args, x.extent, (args.left() - 5) / 11);
  next_running(args, block);
  std::vector<int32_t> draws;
  for (int i = 0; i < block.count(); i++) {
    int32_t* random_state = args.next<int32_t>();
    draws.insert(draws.end(), random_state, random_state + 2);
    random_state[1] = static_cast<int32_t>(static_cast<uint32_t>(random_state[1]) + 1);
  }
  set_dropout(block, dropout, draws.data());
  const FeatureMap features = args.next_map_to_make();
  auto* bottlenecks = args.next_to_make<typename Number::Value>();
  const Bottlenecks<Number> kept{bottlenecks, args.next()};
  std::copy(draws.begin(), draws.end(), args.next<int32_t>());
  train_forward<Number>(block, x, features, kept);
}

template <class Number>
void block_infer(Arguments& args) {
  FeatureMap x = args.next_pixels();
  DenseBlock block = next_block(args, x.extent, (args.left() - 2) / 10);
  x.channels = block.in_channels;
  next_running(args, block);
  const FeatureMap features{x.extent, block.out_channels(), args.next_to_make(), nullptr, nullptr};
  infer<Number>(block, x, features, args.next_to_make<typename Number::Value>());
}

template <class Number>
void block_backward(Arguments& args, bool drops) {
  const FeatureMap features = args.next_map();
  auto* bottlenecks = args.next_made<typename Number::Value>();
  const Bottlenecks<Number> kept{bottlenecks, args.next()};
  const int32_t* draws = drops ? args.next<int32_t>() : nullptr;
  const Dropout dropout = drops ? next_dropout(args) : Dropout{};
  const FeatureMap d_features = args.next_map();
  DenseBlock block = next_block(args, features.extent, (args.left() - 4) / 12);
  if (drops) set_dropout(block, dropout, draws);
  const FeatureMap d_x = args.next_map_to_make();
  const std::vector<DenseLayerGradients> gradients = next_gradients(args, block);
  float* scratch = args.next_to_make();
  auto* scratch_bottlenecks = args.next_to_make<typename Number::Value>();
  backward<Number>(block, features, kept, d_features, scratch, scratch_bottlenecks, d_x, gradients);
}

template <class Number>
void block_infer_backward(Arguments& args) {
  FeatureMap features = args.next_pixels(), d_features = args.next_pixels();
  DenseBlock block = next_block(args, features.extent, (args.left() - 4) / 16);
  features.channels = d_features.channels = block.out_channels();
  next_running(args, block);
  for (DenseLayer& layer : block.layers) layer.norm1.is_frozen = layer.norm2.is_frozen = true;
  FeatureMap d_x = args.next_pixels_to_make();
  d_x.channels = block.in_channels;
  const std::vector<DenseLayerGradients> gradients = next_gradients(args, block);
  float* scratch = args.next_to_make();
  const Bottlenecks<Number> again{args.next_to_make<typename Number::Value>(), nullptr};
  auto* scratch_bottlenecks = args.next_to_make<typename Number::Value>();
  backward<Number>(block, features, again, d_features, scratch, scratch_bottlenecks, d_x, gradients);
}

// The next arguments: gamma, beta, conv (out_channels, in_channels, 1, 1).
Transition next_transition(Arguments& args, const Extent& extent, bool takes_largest) {
  Transition transition{extent, args.dim(0), 0, takes_largest, args.next_norm(), nullptr};
  transition.out_channels = args.dim(0);
  transition.conv = args.next();
  return transition;
}

template <class Number>
void transition_train(Arguments& args, bool takes_largest) {
  const FeatureMap x = args.next_map();
  Transition transition = next_transition(args, x.extent, takes_largest);
  args.next_running(transition.norm);
  const FeatureMap y = args.next_map_to_make();
  train_forward<Number>(transition, x, y, args.next<uint8_t>());
}

template <class Number>
void transition_infer(Arguments& args, bool takes_largest) {
  FeatureMap x = args.next_pixels();
  Transition transition = next_transition(args, x.extent, takes_largest);
  x.channels = transition.in_channels;
  args.next_running(transition.norm);
  const FeatureMap y{transition.out_extent(), transition.out_channels, args.next_to_make(), nullptr, nullptr};
  infer<Number>(transition, x, y);
}

template <class Number>
void transition_backward(Arguments& args, bool takes_largest) {
  const FeatureMap x = args.next_map(), y = args.next_map();
  const auto* chosen = args.next<uint8_t>();
  const FeatureMap d_y = args.next_map();
  const Transition transition = next_transition(args, x.extent, takes_largest);
  const FeatureMap d_x = args.next_map_to_make();
  float *d_gamma = args.next(), *d_beta = args.next();
  backward<Number>(transition, x, y, chosen, d_y, d_x, d_gamma, d_beta, args.next());
}

template <class Number>
void transition_infer_backward(Arguments& args, bool takes_largest) {
  FeatureMap x = args.next_pixels(), y = args.next_pixels(), d_y = args.next_pixels();
  Transition transition = next_transition(args, x.extent, takes_largest);
  x.channels = transition.in_channels;
  y.channels = d_y.channels = transition.out_channels;
  args.next_frozen(transition.norm);
  FeatureMap d_x = args.next_pixels_to_make();
  d_x.channels = x.channels;
  float *d_gamma = args.next(), *d_beta = args.next(), *d_conv = args.next();
  auto* chosen = args.next<uint8_t>();
  choose<Number>(transition, x, chosen);
  backward<Number>(transition, x, y, chosen, d_y, d_x, d_gamma, d_beta, d_conv);
}

FinalNorm next_final(Arguments& args, const Extent& extent, bool pools) {
  FinalNorm final{extent, args.dim(0), pools, {}};
  final.norm = args.next_norm();
  return final;
}

void final_train(Arguments& args, bool pools) {
  const FeatureMap x = args.next_map();
  FinalNorm final = next_final(args, x.extent, pools);
  args.next_running(final.norm);
  train_forward(final, x, args.next());
}

void final_infer(Arguments& args, bool pools) {
  FeatureMap x = args.next_pixels();
  FinalNorm final = next_final(args, x.extent, pools);
  x.channels = final.channels;
  args.next_running(final.norm);
  infer(final, x, args.next());
}

void final_backward(Arguments& args, bool pools) {
  const FeatureMap x = args.next_map();
  const float* d_y = args.next();
  const FinalNorm final = next_final(args, x.extent, pools);
  const FeatureMap d_x = args.next_map_to_make();
  float* d_gamma = args.next();
  backward(final, x, d_y, d_x, d_gamma, args.next());
}

void final_infer_backward(Arguments& args, bool pools) {
  FeatureMap x = args.next_pixels();
  const float* d_y = args.next();
  FinalNorm final = next_final(args, x.extent, pools);
  args.next_frozen(final.norm);
  FeatureMap d_x = args.next_pixels_to_make();
  x.channels = d_x.channels = final.channels;
  float* d_gamma = args.next();
  backward(final, x, d_y, d_x, d_gamma, args.next());
}

// gamma: of a normalisation that reads x, as whose channels x's are.
void map_measure(Arguments& args) {
  FeatureMap x = args.next_pixels();
  x.channels = args.dim(0);
  args.next();
  x.mean = args.next();
  x.variance = x.mean + x.channels;
  measure(x);
}

// settings: momentum, nesterov (0 or 1), each parameter's weight decay and then each one's factor of the learning rate.
// Changes the parameters and the velocities; done is a value to wait for.
void sgd_update(Arguments& args) {
  std::vector<Updated> parameters((args.left() - 3) / 3);
  const float* settings = args.next();
  const Sgd sgd{*args.next(), settings[0], settings[1] != 0.0f};
  for (size_t i = 0; i < parameters.size(); i++) {
    parameters[i].weight_decay = settings[2 + i];
    parameters[i].lr_factor = settings[2 + parameters.size() + i];
    parameters[i].size = static_cast<long>(args.size());
    parameters[i].gradient = args.next();
  }
  for (Updated& tensor : parameters) tensor.parameter = args.next();
  for (Updated& tensor : parameters) tensor.velocity = args.next();
  update(sgd, parameters);
  *args.next() = 0.0f;
}

// Changes the averages; done is a value to wait for.
void average_update(Arguments& args) {
  std::vector<Followed> tensors((args.left() - 2) / 2);
  const float share = *args.next();
  for (Followed& tensor : tensors) {
    tensor.size = static_cast<long>(args.size());
    tensor.average = args.next();
  }
  for (Followed& tensor : tensors) tensor.value = args.next();
  follow(share, tensors);
  *args.next() = 0.0f;
}

}  // namespace
}  // namespace densenet

// Seconds that all calls of the operators whose names begin so have taken.
extern "C" double operator_seconds(const char* prefix) { return densenet::times().total(prefix); }

// OPERATOR(name, signature, call)
#define DENSENET_STEMS(OPERATOR, kind, Number, pads_both_sides)                                                \
  OPERATOR(stem_train_##kind, kStemTrain, stem_train<Number>(args, pads_both_sides))                           \
  OPERATOR(stem_infer_##kind, kStemInfer, stem_infer<Number>(args, pads_both_sides))                           \
  OPERATOR(stem_backward_##kind, kStemBackward, stem_backward<Number>(args, pads_both_sides))                  \
  OPERATOR(stem_infer_backward_##kind, kStemInferBackward, stem_infer_backward<Number>(args, pads_both_sides)) \
  OPERATOR(stem_images_backward_##kind, kStemImagesBackward, stem_images_backward<Number>(args, pads_both_sides))

#define DENSENET_TRANSITIONS(OPERATOR, kind, Number, takes_largest)                                           \
  OPERATOR(transition_train_##kind, kTransitionTrain, transition_train<Number>(args, takes_largest))          \
  OPERATOR(transition_infer_##kind, kTransitionInfer, transition_infer<Number>(args, takes_largest))          \
  OPERATOR(transition_backward_##kind, kTransitionBackward, transition_backward<Number>(args, takes_largest)) \
  OPERATOR(transition_infer_backward_##kind, kTransitionInferBackward,                                        \
           transition_infer_backward<Number>(args, takes_largest))

#define DENSENET_OPERATORS_OF(OPERATOR, number, Number)                                            \
  DENSENET_STEMS(OPERATOR, pad_##number, Number, true)                                             \
  DENSENET_STEMS(OPERATOR, same_##number, Number, false)                                           \
  OPERATOR(block_train_##number, kBlockTrain, block_train<Number>(args))                           \
  OPERATOR(block_infer_##number, kBlockInfer, block_infer<Number>(args))                           \
  OPERATOR(block_backward_##number, kBlockBackward, block_backward<Number>(args, false))           \
  OPERATOR(block_train_drop_##number, kBlockTrainDrop, block_train_drop<Number>(args))             \
  OPERATOR(block_backward_drop_##number, kBlockBackwardDrop, block_backward<Number>(args, true))   \
  OPERATOR(block_infer_backward_##number, kBlockInferBackward, block_infer_backward<Number>(args)) \
  DENSENET_TRANSITIONS(OPERATOR, avg_##number, Number, false)                                      \
  DENSENET_TRANSITIONS(OPERATOR, max_##number, Number, true)

#ifdef __AVX512BF16__
#define DENSENET_OPERATORS_OF_BF16(OPERATOR) DENSENET_OPERATORS_OF(OPERATOR, bf16, Bf16)
#else
#define DENSENET_OPERATORS_OF_BF16(OPERATOR)
#endif

#define DENSENET_FINALS(OPERATOR, kind, pools)                           \
  OPERATOR(kind##_train, kFinalTrain, final_train(args, pools))          \
  OPERATOR(kind##_infer, kFinalInfer, final_infer(args, pools))          \
  OPERATOR(kind##_backward, kFinalBackward, final_backward(args, pools)) \
  OPERATOR(kind##_infer_backward, kFinalInferBackward, final_infer_backward(args, pools))

#define DENSENET_OPERATORS(OPERATOR)                    \
  DENSENET_OPERATORS_OF(OPERATOR, fp32, Fp32)           \
  DENSENET_OPERATORS_OF_BF16(OPERATOR)                  \
  DENSENET_FINALS(OPERATOR, final, false)               \
  DENSENET_FINALS(OPERATOR, final_pool, true)           \
  OPERATOR(map_measure, kMapMeasure, map_measure(args)) \
  OPERATOR(sgd_update, kSgdUpdate, sgd_update(args))    \
  OPERATOR(average_update, kAverageUpdate, average_update(args))

#define DENSENET_FUNCTION(name, signature, ...)                                                                 \
  extern "C" int name(int count, void** data, int* ranks, int64_t** shapes, const char** types, void*, void*) { \
    return densenet::run(#name, densenet::signature, count, data, ranks, shapes, types,                         \
                         [](densenet::Arguments& args) {                                                        \
                           using namespace densenet;                                                            \
                           densenet::__VA_ARGS__;                                                               \
                         });                                                                                    \
  }
DENSENET_OPERATORS(DENSENET_FUNCTION)

// What an operator takes and makes; null if there is none of this name.
extern "C" const char* operator_signature(const char* name) {
#define DENSENET_ENTRY(operator_name, signature, ...) {#operator_name, densenet::signature},
  static const std::map<std::string, const char*> signatures = {DENSENET_OPERATORS(DENSENET_ENTRY)};
  const auto found = signatures.find(name);
  return found == signatures.end() ? nullptr : found->second;
}
