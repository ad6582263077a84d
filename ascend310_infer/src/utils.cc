#include "utils.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <new>

namespace fs = std::filesystem;

namespace densenet {
namespace {

// The largest picture that DecodeImage accepts needs less, even uncompressed.
constexpr uintmax_t kMaxFileBytes = uintmax_t{1} << 31;

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

std::string Printable(std::string text) {
  std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::vector<uint8_t> ReadFile(const std::string& path) {
  std::error_code problem;
  const auto bytes = fs::file_size(path, problem);  // fails for a folder, which could be opened
  if (problem) throw Error(path + " cannot be read: " + problem.message());
  if (bytes > kMaxFileBytes) {
    throw Error(path + " has " + std::to_string(bytes) + " bytes, more than any picture; remove it");
  }
  std::vector<uint8_t> data(bytes);
  std::ifstream file(path, std::ios::binary);
  if (!file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(bytes))) {
    throw Error(path + " cannot be read: " + (file.eof() ? "it was cut while it was in use" : std::strerror(errno)));
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

void MakeEmptyFolder(const std::string& path) {
  std::error_code problem;
  fs::create_directories(path, problem);
  if (problem || !fs::is_directory(path, problem)) {
    throw Error("the folder " + path + " cannot be made: " + problem.message() + "; choose another one");
  }
  const bool empty = fs::is_empty(path, problem);
  if (problem) throw Error("the folder " + path + " cannot be read: " + problem.message() + "; choose another one");
  if (!empty) {
    throw Error("the folder " + path + " holds files already, which are not overwritten; remove it or choose another");
  }
}

}  // namespace densenet
