// The parts as functions that MindSpore's ops.Custom(func_type="aot") calls, and the only file that knows MindSpore.
// Everything but the stem's padding and the final pool follows from the shapes. What an operator takes and makes is in
// signatures.h; src/ops/dense_ops.py has the same table and compares.
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

template <class Number>
void block_train(Arguments& args) {
  const FeatureMap x = args.next_map();
  DenseBlock block = next_block(args, x.extent, (args.left() - 4) / 10);
  next_running(args, block);
  const FeatureMap features = args.next_map_to_make();
  auto* bottlenecks = args.next_to_make<typename Number::Value>();
  train_forward<Number>(block, x, features, {bottlenecks, args.next()});
}

template <class Number>
void block_infer(Arguments& args) {
  FeatureMap x{args.extent_nhwc(), 0, args.next_made(), nullptr, nullptr};
  DenseBlock block = next_block(args, x.extent, (args.left() - 2) / 10);
  x.channels = block.in_channels;
  next_running(args, block);
  const FeatureMap features{x.extent, block.out_channels(), args.next_to_make(), nullptr, nullptr};
  infer<Number>(block, x, features, args.next_to_make<typename Number::Value>());
}

template <class Number>
void block_backward(Arguments& args) {
  const FeatureMap features = args.next_map();
  auto* bottlenecks = args.next_made<typename Number::Value>();
  const Bottlenecks<Number> kept{bottlenecks, args.next()};
  const FeatureMap d_features = args.next_map();
  const DenseBlock block = next_block(args, features.extent, (args.left() - 4) / 12);
  const FeatureMap d_x = args.next_map_to_make();
  std::vector<DenseLayerGradients> gradients(block.layers.size());
  for (DenseLayerGradients& layer : gradients) {
    for (float** gradient : {&layer.gamma1, &layer.beta1, &layer.conv1, &layer.gamma2, &layer.beta2, &layer.conv2}) {
      *gradient = args.next();
    }
  }
  float* scratch = args.next_to_make();
  auto* scratch_bottlenecks = args.next_to_make<typename Number::Value>();
  backward<Number>(block, features, kept, d_features, scratch, scratch_bottlenecks, d_x, gradients);
}

// The next arguments: gamma, beta, conv (out_channels, in_channels, 1, 1).
Transition next_transition(Arguments& args, const Extent& extent) {
  Transition transition{extent, args.dim(0), 0, args.next_norm(), nullptr};
  transition.out_channels = args.dim(0);
  transition.conv = args.next();
  return transition;
}

template <class Number>
void transition_train(Arguments& args) {
  const FeatureMap x = args.next_map();
  Transition transition = next_transition(args, x.extent);
  args.next_running(transition.norm);
  train_forward<Number>(transition, x, args.next_map_to_make());
}

template <class Number>
void transition_infer(Arguments& args) {
  FeatureMap x{args.extent_nhwc(), args.dim(3), args.next_made(), nullptr, nullptr};
  Transition transition = next_transition(args, x.extent);
  x.channels = transition.in_channels;
  args.next_running(transition.norm);
  const FeatureMap y{transition.out_extent(), transition.out_channels, args.next_to_make(), nullptr, nullptr};
  infer<Number>(transition, x, y);
}

template <class Number>
void transition_backward(Arguments& args) {
  const FeatureMap x = args.next_map(), y = args.next_map(), d_y = args.next_map();
  const Transition transition = next_transition(args, x.extent);
  const FeatureMap d_x = args.next_map_to_make();
  float *d_gamma = args.next(), *d_beta = args.next();
  backward<Number>(transition, x, y, d_y, d_x, d_gamma, d_beta, args.next());
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
  FeatureMap x{args.extent_nhwc(), 0, args.next_made(), nullptr, nullptr};
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

// gamma: of a normalisation that reads x, as whose channels x's are.
void map_measure(Arguments& args) {
  FeatureMap x{args.extent_nhwc(), 0, args.next_made(), nullptr, nullptr};
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
#define DENSENET_OPERATORS_OF(OPERATOR, number, Number)                                    \
  OPERATOR(stem_train_pad_##number, kStemTrain, stem_train<Number>(args, true))            \
  OPERATOR(stem_train_same_##number, kStemTrain, stem_train<Number>(args, false))          \
  OPERATOR(stem_infer_pad_##number, kStemInfer, stem_infer<Number>(args, true))            \
  OPERATOR(stem_infer_same_##number, kStemInfer, stem_infer<Number>(args, false))          \
  OPERATOR(stem_backward_pad_##number, kStemBackward, stem_backward<Number>(args, true))   \
  OPERATOR(stem_backward_same_##number, kStemBackward, stem_backward<Number>(args, false)) \
  OPERATOR(block_train_##number, kBlockTrain, block_train<Number>(args))                   \
  OPERATOR(block_infer_##number, kBlockInfer, block_infer<Number>(args))                   \
  OPERATOR(block_backward_##number, kBlockBackward, block_backward<Number>(args))          \
  OPERATOR(transition_train_##number, kTransitionTrain, transition_train<Number>(args))    \
  OPERATOR(transition_infer_##number, kTransitionInfer, transition_infer<Number>(args))    \
  OPERATOR(transition_backward_##number, kTransitionBackward, transition_backward<Number>(args))

#ifdef __AVX512BF16__
#define DENSENET_OPERATORS_OF_BF16(OPERATOR) DENSENET_OPERATORS_OF(OPERATOR, bf16, Bf16)
#else
#define DENSENET_OPERATORS_OF_BF16(OPERATOR)
#endif

#define DENSENET_OPERATORS(OPERATOR)                                        \
  DENSENET_OPERATORS_OF(OPERATOR, fp32, Fp32)                               \
  DENSENET_OPERATORS_OF_BF16(OPERATOR)                                      \
  OPERATOR(final_train, kFinalTrain, final_train(args, false))              \
  OPERATOR(final_infer, kFinalInfer, final_infer(args, false))              \
  OPERATOR(final_backward, kFinalBackward, final_backward(args, false))     \
  OPERATOR(final_pool_train, kFinalTrain, final_train(args, true))          \
  OPERATOR(final_pool_infer, kFinalInfer, final_infer(args, true))          \
  OPERATOR(final_pool_backward, kFinalBackward, final_backward(args, true)) \
  OPERATOR(map_measure, kMapMeasure, map_measure(args))                     \
  OPERATOR(sgd_update, kSgdUpdate, sgd_update(args))                        \
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
