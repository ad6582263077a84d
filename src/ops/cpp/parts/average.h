// The exponential moving average of the weights: one update of all of them, as src/optimizers/average.py defines it.
#pragma once

#include <vector>

namespace densenet {

// One tensor of `size` values, and what it follows.
struct Followed {
  float* average;
  const float* value;
  long size;
};

// average += share * (value - average).
void follow(float share, const std::vector<Followed>& tensors);

}  // namespace densenet
