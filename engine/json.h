// JSON from files that nobody vouches for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace deployed {

// One value. Numbers are float64; of an object's names each occurs once.
struct Json {
  enum class Kind { kNull, kBool, kNumber, kText, kList, kObject };
  Kind kind = Kind::kNull;
  bool flag = false;
  double number = 0;
  std::string text;
  std::vector<Json> items;
  std::map<std::string, Json> members;

  // The member of an object, or null if there is none or this is no object.
  const Json* find(const std::string& name) const;
  // Whether it is a whole number from `low` to `high`.
  bool is_integer(int64_t low, int64_t high) const;
  int64_t integer() const { return static_cast<int64_t>(number); }
  bool is_text() const { return kind == Kind::kText; }
};

// The value that is all of `text`. Throws Error, which names `where`.
Json parse_json(std::string_view text, const std::string& where);

}  // namespace deployed
