// What is wrong with a file or a call, as a sentence for its user.
#pragma once

#include <stdexcept>

namespace deployed {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace deployed
