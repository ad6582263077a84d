// A network of one instruction set, behind an interface that all of them share.
#pragma once

#include <memory>

#include "model_file.h"

namespace deployed {

class Network {
 public:
  virtual ~Network() = default;
  // As densenet_engine_predict. By any number of threads at once.
  virtual void predict(const float* images, int64_t count, float* logits, float* features) const = 0;
};

// The network of `file`, whose numbers are not needed afterwards. bf16: the convolutions of a float32 file multiply
// bfloat16. Throws.
using MakeNetwork = std::unique_ptr<Network>(const ModelFile& file, bool bf16);

}  // namespace deployed
