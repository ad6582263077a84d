#include "utils.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <new>

namespace fs = std::filesystem;

namespace densenet {
namespace {

// The largest picture that DecodeImage accepts needs less, even uncompressed.
constexpr off_t kMaxFileBytes = off_t{1} << 31;

// What Python's str.isprintable says no to, apart from characters that are not assigned: control characters, those that
// steer the layout or are not seen, white space other than the space, private ones.
constexpr uint32_t kUnprintable[][2] = {
    {0x0, 0x1f},        {0x7f, 0xa0},       {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
    {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},     {0x1680, 0x1680},
    {0x180e, 0x180e},   {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},   {0x3000, 0x3000},
    {0xe000, 0xf8ff},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd},
    {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}, {0xf0000, 0x10ffff},
};

bool IsPrintable(uint32_t character) {
  return std::none_of(std::begin(kUnprintable), std::end(kUnprintable),
                      [=](const uint32_t (&range)[2]) { return character >= range[0] && character <= range[1]; });
}

// The length of the character at `at` in UTF-8, 0 when there is none.
size_t ReadUtf8(const std::string& text, size_t at, uint32_t* character) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const uint32_t first = byte(at);
  if (first < 0x80) {
    *character = first;
    return 1;
  }
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  *character = first & (0x7fU >> length);
  for (size_t i = 1; i < length; i++) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
    *character = *character << 6 | (byte(at + i) & 0x3f);
  }
  const bool valid = first >= 0xc0 && first < 0xf8 && *character >= kSmallest[length] && *character <= 0x10ffff &&
                     (*character < 0xd800 || *character > 0xdfff);
  return valid ? length : 0;
}

}  // namespace

int RunReported(const std::function<void()>& body) {
  const auto report = [](const std::string& message, int status) {
    std::cout << std::flush;
    std::cerr << "error: " << Printable(message) << std::endl;
    return status;
  };
  std::signal(SIGXFSZ, SIG_IGN);  // beyond the limit of a file's size a write fails, which is reported
  try {
    body();
    std::cout << std::flush;
    return 0;
  } catch (const UsageError& error) {
    return report(error.what(), 2);
  } catch (const std::bad_alloc&) {
    return report("out of memory; use fewer --threads or a smaller batch", 1);
  } catch (const std::exception& error) {
    return report(error.what(), 1);
  }
}

std::string Printable(const std::string& text) {
  std::string shown;
  for (size_t at = 0; at < text.size();) {
    uint32_t character = 0;
    const size_t length = ReadUtf8(text, at, &character);
    if (length == 0) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(text[at]));
      shown += escaped;
    } else {
      shown += IsPrintable(character) ? text.substr(at, length) : "?";
    }
    at += std::max<size_t>(length, 1);
  }
  return shown;
}

std::vector<uint8_t> ReadFile(const std::string& path) {
  const auto fail = [&](const std::string& reason) { throw Error(path + " cannot be read: " + reason); };
  const int descriptor = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) fail(std::strerror(errno));
  const std::unique_ptr<const int, void (*)(const int*)> closer(&descriptor, [](const int* open) { close(*open); });
  struct stat status;
  if (fstat(descriptor, &status) != 0) fail(std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail(std::strerror(EISDIR));
  if (!S_ISREG(status.st_mode)) fail("it is no regular file but a pipe, socket or device");
  if (status.st_size > kMaxFileBytes) {
    fail("it has " + std::to_string(status.st_size) + " bytes, more than the limit of " +
         std::to_string(kMaxFileBytes));
  }
  std::vector<uint8_t> data(static_cast<size_t>(status.st_size));
  for (size_t filled = 0; filled < data.size();) {
    const ssize_t count = read(descriptor, data.data() + filled, data.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(std::strerror(errno));
    if (count == 0) fail("it was cut while it was in use");
    filled += static_cast<size_t>(count);
  }
  return data;
}

void WriteFile(const std::string& path, const void* data, size_t bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
  file.close();
  if (!file) {
    throw Error("cannot write " + path + ": " + std::strerror(errno) + "; free the disk or choose another folder");
  }
}

void MakeFolder(const std::string& path) {
  std::error_code problem;
  fs::create_directories(path, problem);
  if (problem || !fs::is_directory(path, problem)) {
    throw Error("the folder " + path + " cannot be made: " + problem.message() + "; choose another one");
  }
}

void MakeEmptyFolder(const std::string& path) {
  std::error_code problem;
  MakeFolder(path);
  const bool empty = fs::is_empty(path, problem);
  if (problem) throw Error("the folder " + path + " cannot be read: " + problem.message() + "; choose another one");
  if (!empty) {
    throw Error("the folder " + path + " holds files already, which are not overwritten; remove it or choose another");
  }
}

}  // namespace densenet
