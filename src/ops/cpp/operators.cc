// The operations as functions that MindSpore's ops.Custom(func_type="aot") calls. Everything but the stem's padding and
// the final pool follows from the shapes; src/ops/dense_ops.py passes the arguments in the order given here.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "dense_block.h"
#include "final_norm.h"
#include "number.h"
#include "sgd.h"
#include "stem.h"
#include "transition.h"

namespace densenet {
namespace {

// The arguments of one call: inputs, then outputs, contiguous; float32 but for Numbers and indices.
class Arguments {
 public:
  Arguments(int count, void** data, const int* ranks, int64_t** shapes)
      : count_(count), data_(data), ranks_(ranks), shapes_(shapes) {}
  int left() const { return count_ - next_; }
  int dim(int axis) const { return static_cast<int>(shapes_[next_][axis]); }  // of the next one
  template <class Value = float>
  Value* next() {
    return static_cast<Value*>(data_[next_++]);
  }
  // What operators make for each other: an input, and an output to be made. See kMark.
  template <class Value = float>
  Value* next_made() {
    const size_t bytes = sizeof(Value) * size();
    return static_cast<Value*>(start_of(next<void>(), bytes));
  }
  template <class Value = float>
  Value* next_to_make() {
    const size_t bytes = sizeof(Value) * size();
    return static_cast<Value*>(mark_start(next<void>(), bytes));
  }
  size_t size() const {
    size_t size = 1;
    for (int axis = 0; axis < ranks_[next_]; axis++) size *= shapes_[next_][axis];
    return size;
  }
  Norm next_norm() {  // gamma and beta; the running statistics come later
    Norm norm{};
    norm.gamma = next();
    norm.beta = next();
    return norm;
  }
  void next_running(Norm& norm) {
    norm.mean = next();
    norm.variance = next();
  }

 private:
  int count_, next_ = 0;
  void** data_;
  const int* ranks_;
  int64_t** shapes_;
};

// Extent of the next argument in MindSpore's layout or, channels last, in ours.
Extent extent_nchw(const Arguments& args) { return {args.dim(0), args.dim(2), args.dim(3)}; }
Extent extent_nhwc(const Arguments& args) { return {args.dim(0), args.dim(1), args.dim(2)}; }

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
int run(const char* name, int count, void** data, const int* ranks, int64_t** shapes, const Operation& operation) {
  try {
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
  stem.images = extent_nchw(args);
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

// images, conv, gamma, beta, mean, variance -> y, y_stats, convolved, conv_stats, extremes, indices
template <class Number>
void stem_train(Arguments& args, bool pads_both_sides) {
  const float* images;
  Stem stem = next_stem(args, pads_both_sides, &images);
  args.next_running(stem.norm);
  float *y = args.next_to_make(), *y_stats = args.next(), *convolved = args.next_to_make(), *conv_stats = args.next();
  float* extremes = args.next_to_make();
  train_forward<Number>(stem, images, {convolved, conv_stats, extremes, args.next<uint8_t>()}, y, y_stats);
}

// images, conv, gamma, beta, mean, variance -> y
template <class Number>
void stem_infer(Arguments& args, bool pads_both_sides) {
  const float* images;
  Stem stem = next_stem(args, pads_both_sides, &images);
  args.next_running(stem.norm);
  infer<Number>(stem, images, args.next_to_make());
}

// images, conv, gamma, beta, y_stats, convolved, conv_stats, extremes, indices, d_y, d_y_stats
//   -> d_conv, d_gamma, d_beta, scratch like y
template <class Number>
void stem_backward(Arguments& args, bool pads_both_sides) {
  const float* images;
  const Stem stem = next_stem(args, pads_both_sides, &images);
  float *y_stats = args.next(), *convolved = args.next_made(), *conv_stats = args.next(), *extremes = args.next_made();
  const StemActivations saved{convolved, conv_stats, extremes, args.next<uint8_t>()};
  const float *d_y = args.next_made(), *d_y_stats = args.next();
  float *d_conv = args.next(), *d_gamma = args.next(), *d_beta = args.next(), *scratch = args.next_to_make();
  backward<Number>(stem, images, saved, y_stats, d_y, d_y_stats, scratch, d_conv, d_gamma, d_beta);
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

// x, x_stats, parameters (6 a layer), running statistics (4 a layer)
//   -> features, stats, bottlenecks of Number, bottleneck_stats
template <class Number>
void block_train(Arguments& args) {
  const Extent extent = extent_nhwc(args);
  const float *x = args.next_made(), *x_stats = args.next();
  DenseBlock block = next_block(args, extent, (args.left() - 4) / 10);
  next_running(args, block);
  float *features = args.next_to_make(), *stats = args.next();
  auto* bottlenecks = args.next_to_make<typename Number::Value>();
  train_forward<Number>(block, x, x_stats, {features, stats, bottlenecks, args.next()});
}

// x, parameters, running statistics -> features, scratch of Number for the bottlenecks of one layer
template <class Number>
void block_infer(Arguments& args) {
  const Extent extent = extent_nhwc(args);
  const float* x = args.next_made();
  DenseBlock block = next_block(args, extent, (args.left() - 2) / 10);
  next_running(args, block);
  float* features = args.next_to_make();
  infer<Number>(block, x, features, args.next_to_make<typename Number::Value>());
}

// features, stats, bottlenecks, bottleneck_stats, d_features, d_stats, parameters
//   -> d_x, d_x_stats, gradients of the parameters, scratch like features and like the bottlenecks of one layer
template <class Number>
void block_backward(Arguments& args) {
  const Extent extent = extent_nhwc(args);
  float *features = args.next_made(), *stats = args.next();
  auto* bottlenecks = args.next_made<typename Number::Value>();
  float* bottleneck_stats = args.next();
  const float *d_features = args.next_made(), *d_stats = args.next();
  const DenseBlock block = next_block(args, extent, (args.left() - 4) / 12);
  float *d_x = args.next_to_make(), *d_x_stats = args.next();
  std::vector<DenseLayerGradients> gradients(block.layers.size());
  for (DenseLayerGradients& layer : gradients) {
    for (float** gradient : {&layer.gamma1, &layer.beta1, &layer.conv1, &layer.gamma2, &layer.beta2, &layer.conv2}) {
      *gradient = args.next();
    }
  }
  float* scratch = args.next_to_make();
  auto* scratch_bottlenecks = args.next_to_make<typename Number::Value>();
  backward<Number>(block, {features, stats, bottlenecks, bottleneck_stats}, d_features, d_stats, scratch,
                   scratch_bottlenecks, d_x, d_x_stats, gradients);
}

// The next arguments: gamma, beta, conv (out_channels, in_channels, 1, 1).
Transition next_transition(Arguments& args, const Extent& extent) {
  Transition transition{extent, args.dim(0), 0, args.next_norm(), nullptr};
  transition.out_channels = args.dim(0);
  transition.conv = args.next();
  return transition;
}

// x, stats, gamma, beta, conv, mean, variance -> y, y_stats
template <class Number>
void transition_train(Arguments& args) {
  const Extent extent = extent_nhwc(args);
  const float *x = args.next_made(), *stats = args.next();
  Transition transition = next_transition(args, extent);
  args.next_running(transition.norm);
  float* y = args.next_to_make();
  train_forward<Number>(transition, x, stats, y, args.next());
}

// x, gamma, beta, conv, mean, variance -> y
template <class Number>
void transition_infer(Arguments& args) {
  const Extent extent = extent_nhwc(args);
  const float* x = args.next_made();
  Transition transition = next_transition(args, extent);
  args.next_running(transition.norm);
  infer<Number>(transition, x, args.next_to_make());
}

// x, stats, y, y_stats, d_y, d_y_stats, gamma, beta, conv -> d_x, d_stats, d_gamma, d_beta, d_conv
template <class Number>
void transition_backward(Arguments& args) {
  const Extent extent = extent_nhwc(args);
  const float *x = args.next_made(), *stats = args.next(), *y = args.next_made(), *y_stats = args.next();
  const float *d_y = args.next_made(), *d_y_stats = args.next();
  const Transition transition = next_transition(args, extent);
  float *d_x = args.next_to_make(), *d_stats = args.next(), *d_gamma = args.next(), *d_beta = args.next();
  backward<Number>(transition, x, stats, y, y_stats, d_y, d_y_stats, d_x, d_stats, d_gamma, d_beta, args.next());
}

// x, stats, gamma, beta, mean, variance -> y
void final_train(Arguments& args, bool pools) {
  FinalNorm final{extent_nhwc(args), 0, pools, {}};
  const float *x = args.next_made(), *stats = args.next();
  final.channels = args.dim(0);
  final.norm = args.next_norm();
  args.next_running(final.norm);
  train_forward(final, x, stats, args.next());
}

// x, gamma, beta, mean, variance -> y
void final_infer(Arguments& args, bool pools) {
  FinalNorm final{extent_nhwc(args), 0, pools, {}};
  const float* x = args.next_made();
  final.channels = args.dim(0);
  final.norm = args.next_norm();
  args.next_running(final.norm);
  infer(final, x, args.next());
}

// x, stats, d_y, gamma, beta -> d_x, d_stats, d_gamma, d_beta
void final_backward(Arguments& args, bool pools) {
  FinalNorm final{extent_nhwc(args), 0, pools, {}};
  const float *x = args.next_made(), *stats = args.next(), *d_y = args.next();
  final.channels = args.dim(0);
  final.norm = args.next_norm();
  float *d_x = args.next_to_make(), *d_stats = args.next(), *d_gamma = args.next();
  backward(final, x, stats, d_y, d_x, d_stats, d_gamma, args.next());
}

// momentum, nesterov (0 or 1) and each parameter's weight decay in one tensor, learning rate (), gradients, parameters,
// velocities -> a value to wait for; changes the parameters and the velocities
void sgd_update(Arguments& args) {
  std::vector<Updated> parameters((args.left() - 3) / 3);
  const float* settings = args.next();
  const Sgd sgd{*args.next(), settings[0], settings[1] != 0.0f};
  for (size_t i = 0; i < parameters.size(); i++) {
    parameters[i].weight_decay = settings[2 + i];
    parameters[i].size = static_cast<long>(args.size());
    parameters[i].gradient = args.next();
  }
  for (Updated& tensor : parameters) tensor.parameter = args.next();
  for (Updated& tensor : parameters) tensor.velocity = args.next();
  update(sgd, parameters);
  *args.next() = 0.0f;
}

}  // namespace
}  // namespace densenet

// Seconds that all calls of the operators whose names begin so have taken.
extern "C" double operator_seconds(const char* prefix) { return densenet::times().total(prefix); }

#define DENSENET_OPERATOR(name, ...)                                                                                   \
  extern "C" int name(int count, void** data, int* ranks, int64_t** shapes, const char**, void*, void*) {              \
    return densenet::run(#name, count, data, ranks, shapes, [](densenet::Arguments& args) { densenet::__VA_ARGS__; }); \
  }

DENSENET_OPERATOR(stem_train_pad_fp32, stem_train<densenet::Fp32>(args, true))
DENSENET_OPERATOR(stem_train_same_fp32, stem_train<densenet::Fp32>(args, false))
DENSENET_OPERATOR(stem_infer_pad_fp32, stem_infer<densenet::Fp32>(args, true))
DENSENET_OPERATOR(stem_infer_same_fp32, stem_infer<densenet::Fp32>(args, false))
DENSENET_OPERATOR(stem_backward_pad_fp32, stem_backward<densenet::Fp32>(args, true))
DENSENET_OPERATOR(stem_backward_same_fp32, stem_backward<densenet::Fp32>(args, false))
DENSENET_OPERATOR(block_train_fp32, block_train<densenet::Fp32>(args))
DENSENET_OPERATOR(block_infer_fp32, block_infer<densenet::Fp32>(args))
DENSENET_OPERATOR(block_backward_fp32, block_backward<densenet::Fp32>(args))
DENSENET_OPERATOR(transition_train_fp32, transition_train<densenet::Fp32>(args))
DENSENET_OPERATOR(transition_infer_fp32, transition_infer<densenet::Fp32>(args))
DENSENET_OPERATOR(transition_backward_fp32, transition_backward<densenet::Fp32>(args))
#ifdef __AVX512BF16__
DENSENET_OPERATOR(stem_train_pad_bf16, stem_train<densenet::Bf16>(args, true))
DENSENET_OPERATOR(stem_train_same_bf16, stem_train<densenet::Bf16>(args, false))
DENSENET_OPERATOR(stem_infer_pad_bf16, stem_infer<densenet::Bf16>(args, true))
DENSENET_OPERATOR(stem_infer_same_bf16, stem_infer<densenet::Bf16>(args, false))
DENSENET_OPERATOR(stem_backward_pad_bf16, stem_backward<densenet::Bf16>(args, true))
DENSENET_OPERATOR(stem_backward_same_bf16, stem_backward<densenet::Bf16>(args, false))
DENSENET_OPERATOR(block_train_bf16, block_train<densenet::Bf16>(args))
DENSENET_OPERATOR(block_infer_bf16, block_infer<densenet::Bf16>(args))
DENSENET_OPERATOR(block_backward_bf16, block_backward<densenet::Bf16>(args))
DENSENET_OPERATOR(transition_train_bf16, transition_train<densenet::Bf16>(args))
DENSENET_OPERATOR(transition_infer_bf16, transition_infer<densenet::Bf16>(args))
DENSENET_OPERATOR(transition_backward_bf16, transition_backward<densenet::Bf16>(args))
#endif
DENSENET_OPERATOR(final_train, final_train(args, false))
DENSENET_OPERATOR(final_infer, final_infer(args, false))
DENSENET_OPERATOR(final_backward, final_backward(args, false))
DENSENET_OPERATOR(final_pool_train, final_train(args, true))
DENSENET_OPERATOR(final_pool_infer, final_infer(args, true))
DENSENET_OPERATOR(final_pool_backward, final_backward(args, true))
DENSENET_OPERATOR(sgd_update, sgd_update(args))
