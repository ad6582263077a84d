#include "parts/average.h"

#include <algorithm>

#include "base/parallel.h"

namespace densenet {
namespace {

// Values first .. end - 1 of one tensor.
void follow_part(float share, const Followed& tensor, long first, long end) {
  const auto follow_lanes = [&](long i, int lanes) {
    const Vec average = load_first(tensor.average + i, lanes);
    store_first(tensor.average + i, average + share * (load_first(tensor.value + i, lanes) - average), lanes);
  };
  for (; first + kLanes <= end; first += kLanes) follow_lanes(first, kLanes);
  if (first < end) follow_lanes(first, static_cast<int>(end - first));
}

}  // namespace

void follow(float share, const std::vector<Followed>& tensors) {
  long total = 0;
  for (const Followed& tensor : tensors) total += tensor.size;
  parallel(thread_count(), Parts(total), [&](const Part& mine) {  // of the tensors one behind the other
    long before = 0;
    for (const Followed& tensor : tensors) {
      follow_part(share, tensor, std::max(mine.begin - before, 0L), std::min(mine.end - before, tensor.size));
      before += tensor.size;
    }
  });
}

}  // namespace densenet
