// Stochastic gradient descent with momentum: one update of all parameters, as src/optimizers/sgd.py defines it.
#pragma once

#include <vector>

namespace densenet {

// One parameter tensor of `size` values, what it is changed by and what it keeps; lr_factor: its own share of the rate.
struct Updated {
  const float* gradient;
  float *parameter, *velocity;
  float weight_decay, lr_factor;
  long size;
};

struct Sgd {
  float learning_rate, momentum;
  bool nesterov;
};

// d = g + weight_decay * p;  v = momentum * v + d;  p -= learning_rate * lr_factor *
// (nesterov ? d + momentum * v : v).
void update(const Sgd& sgd, const std::vector<Updated>& parameters);

}  // namespace densenet
