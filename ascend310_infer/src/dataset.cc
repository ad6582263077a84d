#include "dataset.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "file_kind.h"
#include "headers.h"
#include "utils.h"

namespace fs = std::filesystem;

namespace densenet {
namespace {

constexpr int kCifarSide = 32;
constexpr size_t kChannelBytes = kCifarSide * kCifarSide;
constexpr size_t kRecordBytes = 1 + 3 * kChannelBytes;  // label, then red, green, blue
constexpr int kCifarClasses = 10;

// As src/datasets/listing.py: what cannot be decoded is listed so that it is reported and not silently left out.
const std::vector<std::string> kExtensions = {".jpg",  ".jpeg", ".jpe",  ".jfif", ".png",  ".bmp",  ".dib", ".tif",
                                              ".tiff", ".gif",  ".webp", ".heic", ".heif", ".avif", ".jxl", ".jp2"};
const std::vector<std::string> kSystemFolders = {"__macosx",
                                                 "network trash folder",
                                                 "temporary items",
                                                 "__pycache__",
                                                 "@eadir",
                                                 "#recycle",
                                                 "#snapshot",
                                                 "lost+found",
                                                 "$recycle.bin",
                                                 "recycler",
                                                 "system volume information",
                                                 "found.000",
                                                 "@recycle",
                                                 "@recently-snapshot",
                                                 "~snapshot"};
const std::vector<std::string> kPictureSignatures = {"\xff\xd8\xff", "\x89PNG\r\n\x1a\n"};
// Of KindOfFile, what cameras and browsers leave.
const std::vector<std::string> kPhotos = {"a GIF picture",     "a WebP picture",      "a HEIC picture",
                                          "an AVIF picture",   "a HEIF picture",      "a BMP picture",
                                          "a JPEG XL picture", "a JPEG 2000 picture", "a TIFF picture"};

std::string Lower(std::string name) {
  for (char& c : name) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  return name;
}

bool BeginsAsPicture(const fs::path& path) {
  std::vector<uint8_t> head(16);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  // Nobody knows what it is: listed, so that whoever reads it says so.
  if (!file.is_open() || file.bad()) return true;
  head.resize(static_cast<size_t>(file.gcount()));
  const std::string kind = KindOfFile(head), text(head.begin(), head.end());
  const auto begins = [](const std::string& whole) {
    return [&whole](const std::string& start) { return whole.compare(0, start.size(), start) == 0; };
  };
  return std::any_of(kPictureSignatures.begin(), kPictureSignatures.end(), begins(text)) ||
         std::any_of(kPhotos.begin(), kPhotos.end(), begins(kind));
}

// A file without an ending is a picture if it begins as one.
bool IsPicture(const fs::directory_entry& entry) {
  const std::string name = Lower(entry.path().filename().string());
  if (name[0] == '.') return false;
  std::error_code ignored;
  if (name.find('.') == std::string::npos) return entry.is_regular_file(ignored) && BeginsAsPicture(entry.path());
  return std::any_of(kExtensions.begin(), kExtensions.end(), [&](const std::string& extension) {
    return name.size() > extension.size() &&
           name.compare(name.size() - extension.size(), extension.size(), extension) == 0;
  });
}

bool IsSystemFolder(const std::string& name) {
  return name[0] == '.' || std::find(kSystemFolders.begin(), kSystemFolders.end(), Lower(name)) != kSystemFolders.end();
}

// Names of the entries that `wanted` accepts, sorted.
template <class Wanted>
std::vector<std::string> SortedNames(const fs::path& folder, Wanted wanted) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (wanted(entry)) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The value of a class's name that is a number; nothing for others.
std::optional<unsigned long long> NumberOf(const std::string& name) {
  const bool digits = std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
  return !name.empty() && name.size() <= 9 && digits ? std::optional(std::stoull(name)) : std::nullopt;
}

// As in_order of src/datasets/class_names.py: by value when all are numbers, no two of one value, else by name.
std::vector<std::string> InOrder(const std::vector<std::string>& sorted) {
  std::map<unsigned long long, std::string> by_value;
  for (const auto& name : sorted) {
    if (const auto number = NumberOf(name)) by_value.emplace(*number, name);
  }
  if (by_value.size() != sorted.size()) return sorted;
  std::vector<std::string> names;
  for (const auto& [value, name] : by_value) names.push_back(name);
  return names;
}

// csv: their labels are in a CSV file, which only postprocess.py reads.
bool IsFolderOfPictures(const std::string& dataset) { return dataset == "pictures" || dataset == "csv"; }

// A picture, or a dangling link, which is reported when it is read.
bool IsListed(const fs::directory_entry& entry) {
  std::error_code ignored;
  return IsPicture(entry) && (entry.is_regular_file(ignored) || !entry.exists(ignored));
}

std::vector<Sample> ListPictures(const fs::path& path) {
  if (!fs::is_directory(path)) {
    const std::string name = path.filename().string();
    return {{name, path.stem().string(), path.string(), {}}};
  }
  std::vector<Sample> samples;
  for (const auto& name : SortedNames(path, IsListed)) {
    samples.push_back({name, fs::path(name).stem().string(), (path / name).string(), {}});
  }
  if (samples.empty()) throw Error(path.string() + " holds no pictures; expected them directly in it");
  return samples;
}

// Cameras number their pictures anew in each folder: where a stem is in several, each class has a folder of results.
void SeparateEqualStems(std::vector<Sample>* samples) {
  std::set<std::string> stems;
  for (const auto& sample : *samples) stems.insert(sample.stem);
  if (stems.size() == samples->size()) return;
  for (auto& sample : *samples) sample.stem = (fs::path(sample.name).parent_path() / sample.stem).string();
}

std::vector<Sample> ListClassFolders(const fs::path& root) {
  const auto classes = InOrder(SortedNames(root, [](const fs::directory_entry& entry) {
    std::error_code ignored;
    return entry.is_directory(ignored) && !IsSystemFolder(entry.path().filename().string());
  }));
  if (classes.empty()) {
    throw Error(root.string() + " has no class folders; expected one folder of pictures for each class");
  }
  std::vector<Sample> samples;
  for (const auto& name : classes) {
    for (const auto& file : SortedNames(root / name, IsListed)) {
      samples.push_back({name + "/" + file, fs::path(file).stem().string(), (root / name / file).string(), {}});
    }
  }
  if (samples.empty()) {
    throw Error("the " + std::to_string(classes.size()) + " class folders of " + root.string() + " hold no pictures");
  }
  SeparateEqualStems(&samples);
  return samples;
}

fs::path FindCifar10(const fs::path& path) {
  if (!fs::is_directory(path)) return path;
  const fs::path inner = path / "cifar-10-batches-bin";
  const fs::path file = (fs::is_directory(inner) ? inner : path) / "test_batch.bin";
  if (!fs::exists(file)) {
    throw Error(path.string() + " holds no test_batch.bin; expected the binary version of CIFAR-10, unpacked");
  }
  return file;
}

void CheckStems(const std::vector<Sample>& samples) {
  std::map<std::string, const Sample*> owners;
  for (const auto& sample : samples) {
    const auto [owner, added] = owners.emplace(sample.stem, &sample);
    if (!added) {
      throw Error(owner->second->name + " and " + sample.name + " would both be written to " + sample.stem +
                  "_0.bin; give each picture a name of its own");
    }
  }
}

Image ReadRecord(const Sample& sample) {
  std::ifstream file(sample.path, std::ios::binary);
  std::vector<char> channels(3 * kChannelBytes);
  file.seekg(static_cast<std::streamoff>(*sample.record * kRecordBytes + 1));
  if (!file.read(channels.data(), static_cast<std::streamsize>(channels.size()))) {
    throw Error(sample.name + " of " + sample.path + " cannot be read; the file changed while it was in use");
  }
  Image image = {kCifarSide, kCifarSide, std::vector<uint8_t>(channels.size()), {}};
  for (size_t i = 0; i < channels.size(); i++) {
    image.rgb[i] = static_cast<uint8_t>(channels[i % 3 * kChannelBytes + i / 3]);
  }
  return image;
}

}  // namespace

std::vector<Sample> ListCifar10(const std::string& path) {
  const fs::path file = FindCifar10(path);
  const size_t bytes = fs::file_size(file);
  if (bytes == 0 || bytes % kRecordBytes != 0) {
    throw Error(file.string() + " has " + std::to_string(bytes) + " bytes, not whole records of " +
                std::to_string(kRecordBytes) + " bytes; it is truncated or not CIFAR-10");
  }
  std::vector<Sample> samples;
  std::ifstream stream(file, std::ios::binary);
  for (size_t i = 0; i < bytes / kRecordBytes; i++) {
    stream.seekg(static_cast<std::streamoff>(i * kRecordBytes));
    const int label = stream.get();
    if (!stream) throw Error(file.string() + " cannot be read");
    if (label >= kCifarClasses) {
      throw Error(file.string() + " has the label " + std::to_string(label) + " in record " + std::to_string(i) +
                  "; expected 0 to 9, so this is not CIFAR-10");
    }
    char name[32];
    std::snprintf(name, sizeof name, "test_batch_%05zu", i);
    samples.push_back({name, name, file.string(), i});
  }
  return samples;
}

std::vector<Sample> ListSamples(const std::string& dataset, const std::string& path) {
  try {
    const auto samples = dataset == "cifar10"          ? ListCifar10(path)
                         : IsFolderOfPictures(dataset) ? ListPictures(path)
                                                       : ListClassFolders(path);
    CheckStems(samples);
    return samples;
  } catch (const fs::filesystem_error& error) {
    throw Error(error.path1().string() + " cannot be read: " + error.code().message() + "; expected " +
                (dataset == "cifar10"          ? "CIFAR-10's binary version"
                 : IsFolderOfPictures(dataset) ? "a picture or a folder of pictures"
                                               : "a folder of class folders"));
  }
}

Image ReadSample(const Sample& sample, const Decoding& how) {
  if (sample.record) return ReadRecord(sample);
  const std::vector<uint8_t> file = ReadFile(sample.path);
  try {
    return DecodeImage(file, how);
  } catch (const LimitError& error) {
    throw Error(sample.path + " " + error.what());
  } catch (const Error& error) {
    const std::string kind = KindOfFile(file);
    throw Error(sample.path + " should be a complete JPEG or PNG picture, found " +
                (kind.empty() ? std::to_string(file.size()) + " bytes: " + error.what() : kind));
  }
}

}  // namespace densenet
