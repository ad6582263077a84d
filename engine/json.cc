#include "json.h"

#include <cctype>
#include <cmath>
#include <cstdio>
#include <locale>
#include <sstream>

#include "error.h"

namespace deployed {
namespace {

constexpr int kMaxDepth = 16;  // what export.py writes has five

class Parser {
 public:
  Parser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Json whole() {
    Json value = parse(0);
    skip_space();
    if (at_ != text_.size()) fail("something follows its end");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(where_ + " is no JSON that export.py writes (" + what + " at byte " + std::to_string(at_) + ")");
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      at_++;
  }
  bool take(char wanted) {
    skip_space();
    if (peek() != wanted) return false;
    at_++;
    return true;
  }
  void need(char wanted) {
    if (!take(wanted)) fail(std::string("no '") + wanted + "'");
  }

  Json parse(int depth) {
    if (depth > kMaxDepth) fail("too deep");
    skip_space();
    Json value;
    switch (peek()) {
      case '{':
        object(depth, value);
        break;
      case '[':
        list(depth, value);
        break;
      case '"':
        value.kind = Json::Kind::kText;
        value.text = string();
        break;
      case 't':
        word("true", Json::Kind::kBool, value), value.flag = true;
        break;
      case 'f':
        word("false", Json::Kind::kBool, value);
        break;
      case 'n':
        word("null", Json::Kind::kNull, value);
        break;
      default:
        number(value);
    }
    return value;
  }

  void word(std::string_view wanted, Json::Kind kind, Json& value) {
    if (text_.substr(at_, wanted.size()) != wanted) fail("an unknown word");
    at_ += wanted.size();
    value.kind = kind;
  }

  void object(int depth, Json& value) {
    value.kind = Json::Kind::kObject;
    need('{');
    if (take('}')) return;
    do {
      skip_space();
      if (peek() != '"') fail("no name");
      std::string name = string();
      need(':');
      if (!value.members.emplace(std::move(name), parse(depth + 1)).second) fail("a name twice");
    } while (take(','));
    need('}');
  }

  void list(int depth, Json& value) {
    value.kind = Json::Kind::kList;
    need('[');
    if (take(']')) return;
    do value.items.push_back(parse(depth + 1));
    while (take(','));
    need(']');
  }

  void number(Json& value) {
    const size_t start = at_;
    while (at_ < text_.size() && (std::isdigit(static_cast<unsigned char>(text_[at_])) || text_[at_] == '-' ||
                                  text_[at_] == '+' || text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E'))
      at_++;
    std::istringstream digits(std::string(text_.substr(start, at_ - start)));
    digits.imbue(std::locale::classic());  // the program may have set one with decimal commas
    value.kind = Json::Kind::kNumber;
    if (!(digits >> value.number) || digits.peek() != EOF || !std::isfinite(value.number)) fail("no number");
  }

  std::string string() {
    std::string out;
    for (at_++; peek() != '"';) {
      if (at_ >= text_.size()) fail("a text without an end");
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c < 0x20) fail("a control character");
      if (c != '\\') {
        out += text_[at_++];
        continue;
      }
      at_++;
      escape(out);
    }
    at_++;
    return out;
  }

  void escape(std::string& out) {
    static constexpr char kFrom[] = "\"\\/bfnrt", kTo[] = "\"\\/\b\f\n\r\t";
    const char c = peek();
    at_++;
    if (c == 'u') return utf8(code_point(), out);
    for (int i = 0; kFrom[i]; i++) {
      if (kFrom[i] == c) {
        out += kTo[i];
        return;
      }
    }
    fail("an unknown escape");
  }

  uint32_t hex() {
    uint32_t value = 0;
    for (int i = 0; i < 4; i++, at_++) {
      const char c = peek();
      if (!std::isxdigit(static_cast<unsigned char>(c))) fail("an incomplete escape");
      value = value * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return value;
  }

  uint32_t code_point() {
    const uint32_t first = hex();
    if (first < 0xd800 || first > 0xdfff) return first;
    if (first > 0xdbff || peek() != '\\') return 0xfffd;
    at_++;
    if (peek() != 'u') fail("half of a pair");
    at_++;
    const uint32_t second = hex();
    if (second < 0xdc00 || second > 0xdfff) return 0xfffd;
    return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
  }

  static void utf8(uint32_t code, std::string& out) {
    if (code < 0x80) {
      out += static_cast<char>(code);
      return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    out += static_cast<char>((0xff00 >> (more + 1) & 0xff) | code >> (6 * more));
    for (int i = more - 1; i >= 0; i--) out += static_cast<char>(0x80 | (code >> (6 * i) & 0x3f));
  }

  std::string_view text_;
  const std::string& where_;
  size_t at_ = 0;
};

}  // namespace

const Json* Json::find(const std::string& name) const {
  const auto found = members.find(name);
  return found == members.end() ? nullptr : &found->second;
}

bool Json::is_integer(int64_t low, int64_t high) const {
  return kind == Kind::kNumber && number == std::floor(number) && number >= static_cast<double>(low) &&
         number <= static_cast<double>(high);
}

Json parse_json(std::string_view text, const std::string& where) { return Parser(text, where).whole(); }

}  // namespace deployed
