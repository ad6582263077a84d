#include "model_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "error.h"
#include "json.h"
#include "sha256.h"

namespace deployed {
namespace {

constexpr uint64_t kMaxHeader = 1 << 26;   // a million class names and all tensors
constexpr uint64_t kMaxFile = 1ULL << 32;  // bytes; a DenseNet-201 takes 80 million
constexpr char kManifest[] = "densenet_manifest", kChecksum[] = "densenet_sha256";

class File {
 public:
  explicit File(const std::string& path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    struct stat found{};
    if (file_ < 0) throw Error(path + " cannot be read: " + std::strerror(errno) + "; give a model of export.py");
    if (fstat(file_, &found) || !S_ISREG(found.st_mode)) {
      ::close(file_);
      throw Error(path + " is no regular file; give a model of export.py");
    }
    size_ = static_cast<uint64_t>(found.st_size);
  }
  ~File() { ::close(file_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  uint64_t size() const { return size_; }

  void read(void* to, size_t bytes) {
    for (auto* at = static_cast<char*>(to); bytes > 0;) {
      const ssize_t got = ::read(file_, at, bytes);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw Error(path_ + " cannot be read: " + std::strerror(errno));
      if (got == 0) throw Error(path_ + " became shorter while it was read; export the model again");
      at += got, bytes -= static_cast<size_t>(got);
    }
  }

 private:
  const std::string& path_;
  int file_;
  uint64_t size_;
};

std::string words(const Shape& shape) {
  std::string text;
  for (const int64_t side : shape) text += (text.empty() ? "" : ", ") + std::to_string(side);
  return text;
}

const char* type_of(const Tensor& tensor) { return tensor.is_int8 ? "I8" : "F32"; }

uint64_t bytes_of_value(const Tensor& tensor) { return tensor.is_int8 ? 1 : sizeof(float); }

uint64_t bytes_of(const Tensor& tensor) {
  uint64_t bytes = bytes_of_value(tensor);
  for (const int64_t side : tensor.shape) bytes *= static_cast<uint64_t>(side);
  return bytes;
}

// What the file says of one tensor has to be the expected type and shape. Returns its first byte, a multiple of the
// type's.
uint64_t check_tensor(const Json* entry, const Tensor& tensor, uint64_t data_bytes, const std::string& path) {
  const auto refuse = [&](const std::string& what) {
    throw Error(path + ": the tensor " + tensor.name + " " + what + "; export the model again");
  };
  const Shape& expected = tensor.shape;
  const std::string expected_type = type_of(tensor);
  const uint64_t value_bytes = bytes_of_value(tensor), bytes = bytes_of(tensor);
  if (!entry) refuse("is missing");
  const Json *type = entry->find("dtype"), *shape = entry->find("shape"), *offsets = entry->find("data_offsets");
  if (!type || type->text != expected_type) refuse("should be of " + expected_type);
  bool fits = shape && shape->items.size() == expected.size();
  for (size_t axis = 0; fits && axis < expected.size(); axis++) {
    fits = shape->items[axis].is_integer(expected[axis], expected[axis]);
  }
  if (!fits) refuse("should have the shape (" + words(expected) + ")");
  const auto limit = static_cast<int64_t>(data_bytes);
  if (!offsets || offsets->items.size() != 2 || !offsets->items[0].is_integer(0, limit) ||
      !offsets->items[1].is_integer(0, limit)) {
    refuse("should lie within the file's " + std::to_string(data_bytes) + " bytes of numbers");
  }
  const auto first = static_cast<uint64_t>(offsets->items[0].integer());
  const auto end = static_cast<uint64_t>(offsets->items[1].integer());
  if (first % value_bytes || end != first + bytes) {
    refuse("should be " + std::to_string(bytes / value_bytes) + " numbers of " + std::to_string(value_bytes) +
           " bytes");
  }
  return first;
}

// Whether the products of these weights (out, in, height, width) can be added up in 16 bits: see base/int8.h.
bool fits_sums(const int8_t* weights, const Shape& shape) {
  constexpr int64_t kTogether = 8;
  constexpr int kMost = 128;
  const int64_t in_channels = shape[1], taps = shape[2] * shape[3];
  for (int64_t out_and_tap = 0; out_and_tap < shape[0] * taps; out_and_tap++) {
    const int8_t* first = weights + out_and_tap / taps * in_channels * taps + out_and_tap % taps;
    for (int64_t begin = 0; begin < in_channels; begin += kTogether) {
      int positive[2] = {}, negative[2] = {};
      for (int64_t k = begin; k < std::min(begin + kTogether, in_channels); k++) {
        const int weight = first[k * taps];
        int* sums = weight > 0 ? positive : negative;
        sums[k / 2 % 2] += weight;
      }
      for (int half = 0; half < 2; half++) {
        if (positive[half] > kMost || negative[half] < -kMost) return false;
      }
    }
  }
  return true;
}

}  // namespace

ModelFile::ModelFile(const std::string& path) {
  File file(path);
  uint64_t header_bytes = 0;
  if (file.size() <= sizeof header_bytes)
    throw Error(path + " is too short for an engine file; export the model again");
  if (file.size() > kMaxFile) {
    throw Error(path + " has " + std::to_string(file.size()) + " bytes, expected at most " + std::to_string(kMaxFile) +
                "; give a model of export.py");
  }
  unsigned char length[sizeof header_bytes];
  file.read(length, sizeof length);
  for (int i = 7; i >= 0; i--) header_bytes = header_bytes << 8 | length[i];
  const uint64_t rest = file.size() - sizeof header_bytes;
  if (header_bytes > rest || header_bytes > kMaxHeader) {
    throw Error(path + " is no engine file, or was cut short: its header would have " + std::to_string(header_bytes) +
                " bytes; export the model again");
  }
  std::string header(header_bytes, '\0');
  file.read(header.data(), header.size());
  const Json json = parse_json(header, path + "'s header");
  const Json* metadata = json.find("__metadata__");
  const Json* manifest = metadata ? metadata->find(kManifest) : nullptr;
  if (!manifest || !manifest->is_text()) {
    throw Error(path + " carries no manifest: it is no engine file; make one: export.py --file_format ENGINE");
  }
  manifest_ = manifest->text;
  description_ = read_description(manifest_, path + "'s manifest");

  const auto expected = tensors_of(description_);
  if (json.members.size() != expected.size() + 1) {
    throw Error(path + " holds " + std::to_string(json.members.size() - 1) + " tensors, expected " +
                std::to_string(expected.size()) + "; export the model again");
  }
  const uint64_t data_bytes = rest - header_bytes;
  std::map<uint64_t, std::pair<uint64_t, std::string>> places;  // first byte -> its end and whose it is
  for (const Tensor& tensor : expected) {
    const uint64_t first = check_tensor(json.find(tensor.name), tensor, data_bytes, path);
    const auto end = static_cast<uint64_t>(json.find(tensor.name)->find("data_offsets")->items[1].integer());
    if (!places.emplace(first, std::pair(end, tensor.name)).second) {
      throw Error(path + ": the tensor " + tensor.name + " overlaps another one; export the model again");
    }
    starts_[tensor.name] = first;
  }
  uint64_t at = 0;
  for (const auto& [first, end_and_name] : places) {
    if (first != at) {
      throw Error(path + ": the tensor " + end_and_name.second +
                  " should begin where the one before it ends; export the model again");
    }
    at = end_and_name.first;
  }
  if (at != data_bytes) {
    throw Error(path + " has " + std::to_string(data_bytes) + " bytes of numbers, expected " + std::to_string(at) +
                "; it is damaged, export the model again");
  }
  values_.resize((data_bytes + sizeof(float) - 1) / sizeof(float));
  file.read(values_.data(), data_bytes);
  for (const Tensor& tensor : expected) check_values(tensor, path);
  if (const Json* checksum = metadata->find(kChecksum)) check_sum(checksum->text, expected, path);  // older ones: none
}

void ModelFile::check_values(const Tensor& of, const std::string& path) const {
  if (of.is_int8) {
    if (fits_sums(integers(of.name), of.shape)) return;
    throw Error(path + ": the tensor " + of.name +
                " holds weights whose sums 16 bits do not hold; the file is damaged, export the model again");
  }
  const uint64_t values = bytes_of(of) / sizeof(float);
  for (uint64_t i = 0; i < values; i++) {
    if (std::isfinite(tensor(of.name)[i])) continue;
    throw Error(path + ": the tensor " + of.name +
                " holds numbers that are not finite; the file is damaged, or its training diverged");
  }
}

void ModelFile::check_sum(const std::string& checksum, std::vector<Tensor> tensors, const std::string& path) const {
  std::sort(tensors.begin(), tensors.end(),
            [](const Tensor& one, const Tensor& other) { return one.name < other.name; });
  Sha256 found;
  found.add(manifest_);
  for (const Tensor& tensor : tensors) {
    found.add(tensor.name + " " + type_of(tensor) + " [" + words(tensor.shape) + "]");
    found.add(integers(tensor.name), bytes_of(tensor));
  }
  if (found.digits() == checksum) return;
  throw Error(path + " is damaged or was changed since export.py wrote it: its " + kChecksum +
              " is another; export it again");
}

}  // namespace deployed
