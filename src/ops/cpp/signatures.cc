#include "signatures.h"

#include <sstream>
#include <stdexcept>
#include <vector>

namespace densenet {
namespace {

// The arguments' names and types, as `count` of them fit the signature. Throws std::invalid_argument if they do not.
std::vector<std::string> expected_arguments(const char* signature, int count) {
  std::vector<std::vector<std::string>> groups;  // a pair of brackets each, and what is between them
  std::vector<bool> repeats;
  int in_all = 0, repeated = 0;
  std::istringstream words(signature);
  bool is_new = true, in_brackets = false;
  for (std::string word; words >> word;) {
    if (word == "->") continue;
    if (word == "(" || word == ")") {
      is_new = true, in_brackets = word == "(";
      continue;
    }
    if (is_new) groups.emplace_back(), repeats.push_back(in_brackets);
    is_new = false;
    groups.back().push_back(word);
    (in_brackets ? repeated : in_all)++;
  }
  const int times = repeated ? (count - in_all) / repeated : 0;
  if (count < in_all || in_all + times * repeated != count) {
    throw std::invalid_argument("it was given " + std::to_string(count) + " tensors, expected " + signature);
  }
  std::vector<std::string> arguments;
  for (size_t i = 0; i < groups.size(); i++) {
    for (int time = 0; time < (repeats[i] ? times : 1); time++) {
      arguments.insert(arguments.end(), groups[i].begin(), groups[i].end());
    }
  }
  return arguments;
}

}  // namespace

void check_arguments(const char* signature, const std::string& number, int count, const char* const* types) {
  const std::vector<std::string> expected = expected_arguments(signature, count);
  for (int i = 0; types && i < count; i++) {
    const size_t colon = expected[i].find(':');
    std::string type = colon == std::string::npos ? "float32" : expected[i].substr(colon + 1);
    if (type == "number") type = number;
    if (type != types[i]) {
      throw std::invalid_argument("its " + expected[i].substr(0, colon) + " is " + types[i] + ", expected " + type);
    }
  }
}

}  // namespace densenet
