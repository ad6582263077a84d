#include "decode.h"

#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include <jpeglib.h>
#include <png.h>

#include "headers.h"
#include "orientation.h"
#include "utils.h"

// libjpeg and libpng leave a failed call by longjmp, which runs no destructors and may undo changes of local variables:
// ReadJpeg and ReadPng, to which it leads, own nothing and change only what their callers own.

namespace densenet {
namespace {

// MindSpore's libjpeg-turbo is built without SIMD instructions. With them sound pictures are the same, but the sums of
// a damaged one overflow in another way. Set before there are threads; libjpeg-turbo reads it at its first picture.
[[maybe_unused]] const int kPortableDecoder = setenv("JSIMD_FORCENONE", "1", 1);

struct JpegReader {
  JpegReader();
  ~JpegReader() { jpeg_destroy_decompress(&decompress); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  jpeg_decompress_struct decompress = {};
  jpeg_error_mgr errors = {};
  jpeg_source_mgr source = {};
  std::jmp_buf failed;
  char message[JMSG_LENGTH_MAX] = "";
};

[[noreturn]] void FailJpeg(j_common_ptr common) {
  auto* reader = static_cast<JpegReader*>(common->client_data);
  common->err->format_message(common, reader->message);
  std::longjmp(reader->failed, 1);
}

// libjpeg's own source makes up an end of the picture, so that a truncated file decodes, in part grey.
[[noreturn]] void FailTruncated(j_decompress_ptr decompress) {
  auto* reader = static_cast<JpegReader*>(decompress->client_data);
  std::snprintf(reader->message, sizeof reader->message, "it is truncated");
  std::longjmp(reader->failed, 1);
}

void Skip(j_decompress_ptr decompress, long bytes) {
  if (bytes <= 0) return;
  if (static_cast<size_t>(bytes) > decompress->src->bytes_in_buffer) FailTruncated(decompress);
  decompress->src->next_input_byte += bytes;
  decompress->src->bytes_in_buffer -= static_cast<size_t>(bytes);
}

JpegReader::JpegReader() {
  decompress.err = jpeg_std_error(&errors);
  decompress.client_data = this;
  errors.error_exit = FailJpeg;
  errors.output_message = [](j_common_ptr) {};
  source.init_source = [](j_decompress_ptr) {};
  source.fill_input_buffer = [](j_decompress_ptr decompress) -> boolean { FailTruncated(decompress); };
  source.skip_input_data = Skip;
  source.resync_to_restart = jpeg_resync_to_restart;
  source.term_source = [](j_decompress_ptr) {};
}

// a * b / 255, rounded, as Pillow's MULDIV255.
int Scaled(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

// One row of CMYK to RGB. Adobe's programs store it inverted; without their marker nobody knows, and it is taken for
// inverted too, as the Python pipeline, browsers and Pillow do.
void CmykToRgb(const uint8_t* cmyk, int width, bool like_pillow, uint8_t* rgb) {
  for (int x = 0; x < width; x++, cmyk += 4, rgb += 3) {
    for (int c = 0; c < 3; c++) {
      const int black = cmyk[3];
      rgb[c] = static_cast<uint8_t>(like_pillow ? black - Scaled(255 - cmyk[c], black) : cmyk[c] * black / 255);
    }
  }
}

void ReadJpeg(const std::vector<uint8_t>& file, bool like_pillow, JpegReader* reader, Image* image,
              std::vector<uint8_t>* cmyk) {
  if (setjmp(reader->failed)) throw Error(reader->message);
  jpeg_decompress_struct* jpeg = &reader->decompress;
  jpeg_create_decompress(jpeg);
  reader->source.next_input_byte = file.data();
  reader->source.bytes_in_buffer = file.size();
  jpeg->src = &reader->source;
  jpeg_read_header(jpeg, TRUE);
  // It finds frames that CheckJpegHeader does not, behind bytes that belong nowhere.
  CheckJpegSize(jpeg->image_width, jpeg->image_height, jpeg->arith_code != 0, file.size());
  const bool is_cmyk = jpeg->num_components == 4;
  jpeg->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(jpeg);
  image->height = static_cast<int>(jpeg->output_height);
  image->width = static_cast<int>(jpeg->output_width);
  const size_t row_bytes = size_t{3} * jpeg->output_width;
  // Grown row by row: a small file that claims to be huge fails before its memory is touched.
  image->rgb.reserve(row_bytes * jpeg->output_height);
  cmyk->resize(is_cmyk ? size_t{4} * jpeg->output_width : 0);
  while (jpeg->output_scanline < jpeg->output_height) {
    const size_t start = image->rgb.size();
    image->rgb.resize(start + row_bytes);
    JSAMPROW rgb = &image->rgb[start];
    JSAMPROW row = is_cmyk ? cmyk->data() : rgb;
    jpeg_read_scanlines(jpeg, &row, 1);
    if (is_cmyk) CmykToRgb(row, image->width, like_pillow, rgb);
  }
  jpeg_finish_decompress(jpeg);
}

Image DecodeJpeg(const std::vector<uint8_t>& file, bool like_pillow) {
  Image image = {};
  std::vector<uint8_t> cmyk;
  JpegReader reader;
  ReadJpeg(file, like_pillow, &reader, &image, &cmyk);
  return image;
}

// Names of chunks, each with the zero that libpng wants.
constexpr char kMetadata[] = "iCCP\0tEXt\0zTXt\0iTXt\0eXIf\0sPLT";

struct PngReader {
  explicit PngReader(const std::vector<uint8_t>& file);
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  png_structp png = nullptr;
  png_infop info = nullptr;
  const uint8_t* next;
  size_t left;
  char message[200] = "";
};

PngReader::PngReader(const std::vector<uint8_t>& file) : next(file.data()), left(file.size()) {
  const auto fail = [](png_structp png, png_const_charp text) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->message, sizeof reader->message, "%s", text);
    png_longjmp(png, 1);
  };
  const auto read = [](png_structp png, png_bytep target, size_t bytes) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (bytes > reader->left) png_error(png, "it is truncated");
    std::memcpy(target, reader->next, bytes);
    reader->next += bytes;
    reader->left -= bytes;
  };
  png = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, [](png_structp, png_const_charp) {});
  info = png ? png_create_info_struct(png) : nullptr;
  if (!info) throw std::bad_alloc();
  png_set_read_fn(png, this, read);
}

// What becomes of a PNG's pixels.
struct PngLayout {
  int bytes;  // of a pixel as it is read: 3 red, green, blue; 4 and how opaque it is; 2 grey, big-endian
  bool has_key;
  int key[3];  // what is transparent, of 16-bit grey or colours
};

PngLayout SetPngLayout(png_structp png, png_infop info, const Decoding& how) {
  PngLayout layout = {3, false, {}};
  const bool is_grey = png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY,
             is_deep = png_get_bit_depth(png, info) == 16;
  png_color_16p key = nullptr;
  const bool has_key = how.shown && png_get_valid(png, info, PNG_INFO_tRNS);
  if (is_deep && has_key && png_get_tRNS(png, info, nullptr, nullptr, &key) && key) {
    layout.has_key = true;
    layout.key[0] = is_grey ? key->gray : key->red & 255;  // of colours as Pillow compares them
    layout.key[1] = key->green & 255;
    layout.key[2] = key->blue & 255;
  }
  if (is_deep && is_grey && (how.keeps_deep || layout.has_key)) {
    layout.bytes = 2;
    return layout;
  }
  png_set_strip_16(png);
  png_set_palette_to_rgb(png);
  if (is_grey) png_set_expand_gray_1_2_4_to_8(png);
  if (has_key && !is_deep) png_set_tRNS_to_alpha(png);
  png_set_gray_to_rgb(png);
  const bool has_alpha = (png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) || (has_key && !is_deep);
  if (how.shown && has_alpha) {
    layout.bytes = 4;
  } else {
    png_set_strip_alpha(png);
  }
  return layout;
}

PngLayout ReadPng(PngReader* reader, const Decoding& how, Image* image) {
  if (setjmp(png_jmpbuf(reader->png))) throw Error(reader->message);
  const png_structp png = reader->png;
  const png_infop info = reader->info;
  // Colour profile and text do not change pixels; libpng would refuse large ones.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, reinterpret_cast<png_const_bytep>(kMetadata),
                              sizeof kMetadata / 5);
  png_set_chunk_malloc_max(png, 0);
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);  // Pillow checks all that comes before the pixels,
  png_read_info(png, info);
  png_set_crc_action(png, PNG_CRC_DEFAULT, PNG_CRC_DEFAULT);  // and OpenCV, which decodes, only what it needs
  const PngLayout layout = SetPngLayout(png, info, how);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  image->height = static_cast<int>(png_get_image_height(png, info));
  image->width = static_cast<int>(png_get_image_width(png, info));
  const size_t row_bytes = static_cast<size_t>(layout.bytes) * png_get_image_width(png, info);
  if (png_get_rowbytes(png, info) != row_bytes) png_error(png, "its pixels have an unknown layout");
  image->rgb.reserve(row_bytes * png_get_image_height(png, info));  // and grown row by row, as for a JPEG
  for (int pass = 0; pass < passes; pass++) {
    for (int y = 0; y < image->height; y++) {
      if (pass == 0) image->rgb.resize(image->rgb.size() + row_bytes);
      png_read_row(png, &image->rgb[static_cast<size_t>(y) * row_bytes], nullptr);
    }
  }
  png_read_end(png, nullptr);
  return layout;
}

// A colour under an opacity over white, rounded as Pillow's alpha_composite.
uint8_t OverWhite(int colour, int alpha) {
  const int own = alpha << 7, sum = colour * own + 255 * ((255 << 7) - own) + (128 << 7);
  return static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

// Pixels of layout.bytes in image->rgb become those that `Image` describes.
void FinishPng(const PngLayout& layout, bool keeps_deep, Image* image) {
  std::vector<uint8_t>& bytes = image->rgb;
  const size_t pixels = bytes.size() / static_cast<size_t>(layout.bytes);
  if (layout.bytes == 4) {
    for (size_t i = 0; i < pixels; i++) {
      const uint8_t alpha = bytes[4 * i + 3];
      for (size_t c = 0; c < 3; c++) bytes[3 * i + c] = OverWhite(bytes[4 * i + c], alpha);
    }
    bytes.resize(3 * pixels);
  } else if (layout.bytes == 2) {
    image->deep.reserve(pixels);
    for (size_t i = 0; i < pixels; i++) {
      const int value = bytes[2 * i] << 8 | bytes[2 * i + 1];
      image->deep.push_back(static_cast<uint16_t>(layout.has_key && value == layout.key[0] ? 65535 : value));
    }
    bytes.clear();
    if (keeps_deep) return;
    for (const uint16_t value : image->deep) bytes.insert(bytes.end(), 3, static_cast<uint8_t>(value >> 8));
    image->deep.clear();
  } else if (layout.has_key) {
    for (size_t i = 0; i < pixels; i++) {
      uint8_t* pixel = &bytes[3 * i];
      if (pixel[0] == layout.key[0] && pixel[1] == layout.key[1] && pixel[2] == layout.key[2]) {
        std::memset(pixel, 255, 3);
      }
    }
  }
}

Image DecodePng(const std::vector<uint8_t>& file, const Decoding& how) {
  Image image = {};
  PngReader reader(file);
  FinishPng(ReadPng(&reader, how, &image), how.keeps_deep, &image);
  return image;
}

Image DecodeStored(const std::vector<uint8_t>& file, const Decoding& how) {
  if (file.size() > 3 && std::memcmp(file.data(), "\xff\xd8\xff", 3) == 0) {
    CheckJpegHeader(file);
    return DecodeJpeg(file, how.like_pillow);
  }
  if (file.size() > 8 && png_sig_cmp(file.data(), 0, 8) == 0) {
    CheckPngHeader(file);
    return DecodePng(file, how);
  }
  throw Error(file.empty() ? "it is empty" : "it is neither JPEG nor PNG; convert it");
}

}  // namespace

Image DecodeImage(const std::vector<uint8_t>& file, const Decoding& how) {
  Image image = DecodeStored(file, how);
  return how.shown ? Turn(std::move(image), OrientationOf(file)) : image;
}

}  // namespace densenet
