// SHA-256 (FIPS 180-4) of what comes piece by piece: a model's checksum, as export.py has computed it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace deployed {

class Sha256 {
 public:
  void add(const void* data, size_t bytes);
  void add(const std::string& text) { add(text.data(), text.size()); }
  // Of all that was added, as 64 hexadecimal digits; nothing can be added afterwards.
  std::string digits();

 private:
  static constexpr size_t kBlock = 64;

  void take(const unsigned char* block);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, kBlock> begun_{};  // a block of which `filled_` bytes are there
  size_t filled_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace deployed
