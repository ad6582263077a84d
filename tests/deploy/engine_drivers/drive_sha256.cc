// Prints the digests of the first 0, 1, 2, ... bytes of a text, added in pieces of 1, 2, 3, ... bytes.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "sha256.h"

int main(int, char** arguments) {
  const std::string text(static_cast<size_t>(std::atoi(arguments[1])), 'x');
  for (size_t length = 0; length <= text.size(); length++) {
    deployed::Sha256 digest;
    for (size_t at = 0, piece = 1; at < length; at += piece++) {
      digest.add(text.substr(at, std::min(piece, length - at)));
    }
    std::puts(digest.digits().c_str());
  }
}
