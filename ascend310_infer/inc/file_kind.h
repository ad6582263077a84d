// What a file is that is no usable picture.
#ifndef DENSENET_FILE_KIND_H_
#define DENSENET_FILE_KIND_H_

#include <cstdint>
#include <string>
#include <vector>

namespace densenet {

// "a GIF picture; convert it to PNG or JPEG", as src/utils/file_kind.py says it; empty for what is not known.
std::string KindOfFile(const std::vector<uint8_t>& file);

}  // namespace densenet

#endif  // DENSENET_FILE_KIND_H_
