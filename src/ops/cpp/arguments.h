// The tensors of one call of an operator.
#pragma once

#include <cstdint>

#include "map/feature_map.h"
#include "map/statistics.h"

namespace densenet {

// The arguments of one call, in the order of its signature.
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
  // What operators make for each other, without statistics: an input, and an output to be made.
  template <class Value = float>
  Value* next_made() {
    const size_t bytes = sizeof(Value) * size();
    return values_from<Value>(next<void>(), bytes);
  }
  template <class Value = float>
  Value* next_to_make() {
    const size_t bytes = sizeof(Value) * size();
    return values_to<Value>(next<void>(), bytes);
  }
  // Maps of which nobody says how many channels they have, as no statistics follow.
  FeatureMap next_pixels() { return {extent_nhwc(), 0, next_made(), nullptr, nullptr}; }
  FeatureMap next_pixels_to_make() { return {extent_nhwc(), 0, next_to_make(), nullptr, nullptr}; }
  // The same with the statistics (2, channels) that follow.
  FeatureMap next_map() { return with_statistics(next_pixels()); }
  FeatureMap next_map_to_make() { return with_statistics(next_pixels_to_make()); }
  size_t size() const {
    size_t size = 1;
    for (int axis = 0; axis < ranks_[next_]; axis++) size *= shapes_[next_][axis];
    return size;
  }
  // Of the next one, channels last, and in MindSpore's layout.
  Extent extent_nhwc() const { return {dim(0), dim(1), dim(2)}; }
  Extent extent_nchw() const { return {dim(0), dim(2), dim(3)}; }
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
  void next_frozen(Norm& norm) {
    next_running(norm);
    norm.is_frozen = true;
  }

 private:
  FeatureMap with_statistics(FeatureMap map) {
    map.channels = dim(1);
    map.mean = next();
    map.variance = map.mean + map.channels;
    return map;
  }

  int count_, next_ = 0;
  void** data_;
  const int* ranks_;
  int64_t** shapes_;
};

}  // namespace densenet
