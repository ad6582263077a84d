#include "parts/sgd.h"

#include <algorithm>

#include "base/parallel.h"

namespace densenet {
namespace {

// Values first .. end - 1 of one tensor.
void update_part(const Sgd& sgd, const Updated& tensor, long first, long end) {
  const float momentum = sgd.momentum, rate = sgd.learning_rate * tensor.lr_factor;
  const float decay = tensor.weight_decay;
  const float ahead = sgd.nesterov ? momentum : 1.0f, direct = sgd.nesterov ? 1.0f : 0.0f;
  const auto update_lanes = [&](long i, int lanes) {
    const Vec p = load_first(tensor.parameter + i, lanes);
    const Vec d = load_first(tensor.gradient + i, lanes) + decay * p;
    const Vec v = momentum * load_first(tensor.velocity + i, lanes) + d;
    store_first(tensor.velocity + i, v, lanes);
    store_first(tensor.parameter + i, p - rate * (direct * d + ahead * v), lanes);
  };
  for (; first + kLanes <= end; first += kLanes) update_lanes(first, kLanes);
  if (first < end) update_lanes(first, static_cast<int>(end - first));
}

}  // namespace

void update(const Sgd& sgd, const std::vector<Updated>& parameters) {
  const int threads = thread_count();
  long total = 0;
  for (const Updated& tensor : parameters) total += tensor.size;
  parallel(threads, Parts(total), [&](const Part& mine) {  // of the tensors one behind the other
    long before = 0;
    for (const Updated& tensor : parameters) {
      update_part(sgd, tensor, std::max(mine.begin - before, 0L), std::min(mine.end - before, tensor.size));
      before += tensor.size;
    }
  });
}

}  // namespace densenet
