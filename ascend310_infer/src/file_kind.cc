#include "file_kind.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace densenet {
namespace {

using std::string_view_literals::operator""sv;

constexpr const char kToPng[] = "convert it to PNG or JPEG";
constexpr const char kAgain[] = "download it again";

struct Signature {
  std::string_view start;  // of the file
  const char *kind, *remedy;
};

constexpr Signature kSignatures[] = {
    {"GIF87a"sv, "a GIF picture", kToPng},
    {"GIF89a"sv, "a GIF picture", kToPng},
    {"BM"sv, "a BMP picture", kToPng},  // which Python decodes, as it does TIFF
    {"II*\0"sv, "a TIFF picture", kToPng},
    {"MM\0*"sv, "a TIFF picture", kToPng},
    {"II+\0"sv, "a TIFF picture", kToPng},
    {"MM\0+"sv, "a TIFF picture", kToPng},
    {"8BPS"sv, "a Photoshop document (PSD)", kToPng},
    {"gimp xcf"sv, "a GIMP document (XCF)", kToPng},
    {"%PDF"sv, "a PDF document", kToPng},
    {"%!PS"sv, "a PostScript document", kToPng},
    {"\xff\x0a"sv, "a JPEG XL picture", kToPng},
    {"\0\0\0\x0cJXL \r\n\x87\n"sv, "a JPEG XL picture", kToPng},
    {"\0\0\0\x0cjP  \r\n\x87\n"sv, "a JPEG 2000 picture", kToPng},
    {"\xff\x4f\xff\x51"sv, "a JPEG 2000 picture", kToPng},
    {"\0\0\1\0"sv, "an icon (ICO)", kToPng},
    {"v/1\1"sv, "an OpenEXR picture", kToPng},
    {"#?RADIANCE"sv, "a Radiance HDR picture", kToPng},
    {"DDS "sv, "a DirectDraw surface (DDS)", kToPng},
    {"qoif"sv, "a QOI picture", kToPng},
    {"\x93NUMPY"sv, "a NumPy array", "save it as PNG"},
    {"\x89HDF"sv, "an HDF5 file", "save its pictures as PNG"},
    {"PK\3\4"sv, "a ZIP archive", "unpack it"},
    {"\x1f\x8b"sv, "a gzip archive", "unpack it"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive", "unpack it"},
    {"Rar!"sv, "a RAR archive", "unpack it"},
    {"version https://git-lfs.github.com/spec/"sv, "a Git LFS pointer instead of the file", "run git lfs pull"},
};

std::string MediaKind(std::string_view brand) {
  const auto is_one_of = [&](std::string_view brands) { return brands.find(brand) % 4 == 0; };
  if (is_one_of("heicheixheimheishevchevxhevmhevs")) return std::string("a HEIC picture; ") + kToPng;
  if (is_one_of("avifavis")) return std::string("an AVIF picture; ") + kToPng;
  if (is_one_of("mif1msf1")) return std::string("a HEIF picture; ") + kToPng;
  return "a video (MP4 or QuickTime); remove it";
}

std::string TextKind(std::string_view head) {
  if (head.substr(0, 3) == "\xef\xbb\xbf") head.remove_prefix(3);
  while (!head.empty() && std::isspace(static_cast<unsigned char>(head[0]))) head.remove_prefix(1);
  std::string text(head.substr(0, 400));
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto starts = [&](const std::string& word) { return text.compare(0, word.size(), word) == 0; };
  if (starts("<!doctype html") || starts("<html")) {
    return std::string("an HTML page, which a server sent instead of the file; ") + kAgain;
  }
  const bool names_svg = text.find("<svg") != std::string::npos;
  if (starts("<svg") || starts("<!doctype svg") || ((starts("<?xml") || starts("<!--")) && names_svg)) {
    return std::string("an SVG drawing; ") + kToPng;
  }
  if (starts("{\"")) return std::string("a JSON text, as servers send for an error; ") + kAgain;
  return starts("<?xml") ? std::string("an XML text, as servers send for an error; ") + kAgain : "";
}

}  // namespace

std::string KindOfFile(const std::vector<uint8_t>& file) {
  const std::string_view head(reinterpret_cast<const char*>(file.data()), std::min<size_t>(file.size(), 4096));
  for (const auto& [start, kind, remedy] : kSignatures) {
    if (head.substr(0, start.size()) == start) return std::string(kind) + "; " + remedy;
  }
  const auto at = [&](size_t first, size_t count) {
    return head.size() >= first + count ? head.substr(first, count) : std::string_view();
  };
  if (at(0, 4) == "RIFF") {
    return at(8, 4) == "WEBP" ? std::string("a WebP picture; ") + kToPng : "a sound or video file (RIFF); remove it";
  }
  if (at(4, 4) == "ftyp") return MediaKind(at(8, 4).empty() ? "none" : at(8, 4));
  if (at(128, 4) == "DICM") return std::string("a DICOM picture; ") + kToPng;
  if (head.size() > 2 && head[0] == 'P' && head[1] >= '1' && head[1] <= '6' &&
      std::isspace(static_cast<unsigned char>(head[2]))) {
    return std::string("a Netpbm picture (PBM, PGM, PPM); ") + kToPng;
  }
  if (!head.empty() && head.find_first_not_of('\0') == std::string_view::npos) {
    return "nothing but zero bytes; copy or download it again";
  }
  return TextKind(head);
}

}  // namespace densenet
