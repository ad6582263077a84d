// Errors, and files read and written so that no failure goes unnoticed.
#ifndef DENSENET_UTILS_H_
#define DENSENET_UTILS_H_

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace densenet {

// The program cannot go on for a reason outside the code: a file, an image, a device. Exit status 1.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The program was asked for something it cannot mean: a flag, a value. Exit status 2.
struct UsageError : Error {
  using Error::Error;
};

// Calls `body` and returns the exit status. What it throws becomes one `error: ...` line, the last one on stderr.
int RunReported(const std::function<void()>& body);

// The text as it can be printed, as src/datasets/image_files.py does it: characters that a terminal would obey or not
// show, such as line breaks and escapes in a file's name, become '?', and what is no UTF-8 becomes \xff.
std::string Printable(const std::string& text);

// The whole file; Error when it cannot be read, is larger than any picture, or is no regular file: a pipe would keep
// the reader waiting, a device never end.
std::vector<uint8_t> ReadFile(const std::string& path);

// Writes a new file; Error when the disk refuses.
void WriteFile(const std::string& path, const void* data, size_t bytes);

// Makes the folder, if there is none. Error when that cannot be.
void MakeFolder(const std::string& path);

// Makes the folder. Error when it already holds something: nothing is ever overwritten.
void MakeEmptyFolder(const std::string& path);

}  // namespace densenet

#endif  // DENSENET_UTILS_H_
