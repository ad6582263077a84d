// A model as export.py writes it: a safetensors file whose metadata hold the manifest. Nothing of it is trusted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "description.h"

namespace deployed {

class ModelFile {
 public:
  // Reads and checks all of it: each tensor of the described network is there, of its type and shape, finite or with
  // sums that 16 bits hold (base/int8.h), nothing else, and all as export.py wrote it. Throws Error.
  explicit ModelFile(const std::string& path);

  const std::string& manifest() const { return manifest_; }
  const Description& description() const { return description_; }
  const float* tensor(const std::string& name) const { return values_.data() + starts_.at(name) / sizeof(float); }
  const int8_t* integers(const std::string& name) const {
    return reinterpret_cast<const int8_t*>(values_.data()) + starts_.at(name);
  }

 private:
  // Throw Error.
  void check_values(const Tensor& of, const std::string& path) const;
  // checksum: the file's own, of the manifest and the tensors, whose names are in their order.
  void check_sum(const std::string& checksum, std::vector<Tensor> tensors, const std::string& path) const;

  std::string manifest_;
  Description description_;
  std::map<std::string, size_t> starts_;  // of each tensor in `values_`, its first byte
  std::vector<float> values_;             // and integers, as bytes
};

}  // namespace deployed
