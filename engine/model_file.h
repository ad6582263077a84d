// A model as export.py writes it: a safetensors file whose metadata hold the manifest. Nothing of it is trusted.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "description.h"

namespace deployed {

class ModelFile {
 public:
  // Reads and checks all of it: each tensor of the described network is there, of its shape and finite, and nothing
  // else. Throws Error.
  explicit ModelFile(const std::string& path);

  const std::string& manifest() const { return manifest_; }
  const Description& description() const { return description_; }
  const float* tensor(const std::string& name) const { return values_.data() + starts_.at(name); }

 private:
  std::string manifest_;
  Description description_;
  std::map<std::string, size_t> starts_;  // of each tensor in `values_`
  std::vector<float> values_;
};

}  // namespace deployed
