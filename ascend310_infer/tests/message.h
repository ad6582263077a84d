#ifndef DENSENET_TESTS_MESSAGE_H_
#define DENSENET_TESTS_MESSAGE_H_

#include <string>

// What `call` throws as an `Exception`, or "" when it throws nothing.
template <class Exception, class Call>
std::string Message(Call call) {
  try {
    call();
    return "";
  } catch (const Exception& error) {
    return error.what();
  }
}

inline bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

#endif  // DENSENET_TESTS_MESSAGE_H_
