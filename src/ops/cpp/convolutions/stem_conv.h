// The stem's convolution of images; stem_gradient_*.h have the gradient of its weights.
#pragma once

#include <algorithm>
#include <vector>

#include "base/parallel.h"
#include "base/tiles.h"
#include "map/operands.h"
#include "products/engine.h"

namespace densenet {

constexpr int kColours = 3;

// A convolution of images (N, 3, H, W) with kernel / 2 zeros on each side.
struct ImageConv {
  Extent images;
  int channels, kernel, step;
  const float* weights;  // (channels, 3, kernel, kernel)

  Extent out_extent() const { return {images.batch, (images.height - 1) / step + 1, (images.width - 1) / step + 1}; }
};

// A line of an image (3, H, W), channels last, with the convolution's zeros before and behind it, up to `floats` of
// them; all zeros if there is no such line.
inline void fill_line(const ImageConv& conv, const float* image, int y, long floats, float* out) {
  const int height = conv.images.height, width = conv.images.width, padding = conv.kernel / 2;
  std::fill_n(out, floats, 0.0f);
  if (y < 0 || y >= height) return;
  for (int colour = 0; colour < kColours; colour++) {
    const float* source = image + (static_cast<long>(colour) * height + y) * width;
    float* target = out + padding * kColours + colour;
    for (long x = 0; x < width; x++) target[x * kColours] = source[x];
  }
}

// The numbers that it is cut into.
struct StemShape {
  StemShape(const ImageConv& conv, int least_pieces)
      : strips(conv.out_extent(), conv.channels, least_pieces),
        columns(padded(conv.channels)),
        depth(conv.kernel * kColours),
        step(conv.step),
        kernel(conv.kernel),
        apart(conv.step * kColours),
        floats(padded((conv.images.width + conv.kernel / 2 * 2) * kColours + apart)) {}
  int width() const { return strips.extent.width; }  // of the output
  // Lines of the image that `height` lines of the output see, and the first of them for a strip.
  int image_lines(int height) const { return (height - 1) * step + kernel; }
  int first_line(long strip) const { return strips.first(strip) * step - kernel / 2; }
  const float* image(const float* images, const ImageConv& conv, long strip) const {
    return images + strips.image(strip) * static_cast<long>(kColours) * conv.images.height * conv.images.width;
  }

  Strips strips;
  int columns, depth, step, kernel;  // depth: of the taps of a line
  int apart;    // floats between what a pixel of the output sees first of a line and what the next one does
  long floats;  // of a line of an image with its zeros, and of what a partner of its last pixel would see behind it
};

// The gradient of conv (channels, 3, kernel, kernel) from sums (kernel, `rows` of taps and colours, columns).
inline void copy_gradient(const ImageConv& conv, const float* sums, long rows, float* d_conv) {
  for (int c = 0; c < conv.channels; c++) {
    for (int colour = 0; colour < kColours; colour++) {
      for (int tap = 0; tap < conv.kernel * conv.kernel; tap++) {
        const long row = tap / conv.kernel * rows + tap % conv.kernel * kColours + colour;
        *d_conv++ = sums[row * padded(conv.channels) + c];
      }
    }
  }
}

// The right operand: taps are lines of the kernel, summed are its columns and the colours.
inline auto image_weights(const ImageConv& conv) {
  return by_values([conv](int ky, int kx_colour, int c) {
    if (c >= conv.channels) return 0.0f;
    const int kx = kx_colour / kColours, colour = kx_colour % kColours;
    return conv.weights[((static_cast<long>(c) * kColours + colour) * conv.kernel + ky) * conv.kernel + kx];
  });
}

// Rows of which an engine writes whole multiples.
template <class Products>
long whole_rows(long rows) {
  return (rows + Products::kRowsTogether - 1) / Products::kRowsTogether * Products::kRowsTogether;
}

// A row of the left operand is what a line of the kernel sees of a line of the image, one run of taps and colours;
// AMX's whole tiles read what follows it too, for which the weights are zero.
template <class Number>
class StemConv {
  using Products = Engine<Number>;
  using Value = typename Number::Value;

 public:
  // Weights in the order of the products.
  using Weights = typename Products::Weights;

  StemConv(const ImageConv& conv, int threads, int least_pieces)
      : conv_(conv),
        threads_(threads),
        shape_(conv, least_pieces),
        lines_(buffers(threads, shape_.floats)),
        tiles_(buffers<Value>(threads, tile_values())),
        products_(buffers(threads, static_cast<size_t>(whole_rows<Products>(shape_.width())) * shape_.columns)) {}

  // In which `run` calls.
  Parts parts() const { return Parts(shape_.strips.count()); }

  static Weights packed(const ImageConv& conv, int threads) {
    const int depth = conv.kernel * kColours, columns = padded(conv.channels);
    Weights weights(conv.kernel, depth, columns);
    weights.pack(conv.kernel, depth, columns, threads, image_weights(conv));
    return weights;
  }

  // Calls take(part, first pixel, products) with products (width, columns) for each line of the output; a part's lines
  // come in their order.
  template <class Take>
  void run(const Weights& weights, const float* images, const Take& take) const {
    parallel(threads_, parts(), [&](const Part& mine) {
      [[maybe_unused]] const typename Products::Session session;
      float* products = products_[mine.thread].get();
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const Value* tile = fill_tile(images, strip, mine.thread);
        for (int y = 0; y < shape_.strips.height(strip); y++) {
          Products::multiply(tile + y * shape_.step * shape_.floats, shape_.apart, shape_.floats, shape_.width(),
                             weights, shape_.columns, products);
          take(mine, shape_.strips.first_pixel(strip) + static_cast<long>(y) * shape_.width(), products);
        }
      }
    });
  }

 private:
  long lines_values(int height) const { return shape_.floats * shape_.image_lines(height); }
  size_t tile_values() const { return lines_values(shape_.strips.max_height) + Products::behind_rows(shape_.apart); }

  // The lines of the images around a strip of the output, and the zeros that whole tiles read behind them.
  const Value* fill_tile(const float* images, long strip, int thread) const {
    float* line = lines_[thread].get();
    Value *tile = tiles_[thread].get(), *out = tile;
    const int count = shape_.image_lines(shape_.strips.height(strip));
    for (int y = 0; y < count; y++, out += shape_.floats) {
      fill_line(conv_, shape_.image(images, conv_, strip), shape_.first_line(strip) + y, shape_.floats, line);
      for (long i = 0; i < shape_.floats; i += kLanes) Number::store_values(out + i, load(line + i), kLanes);
    }
    std::fill_n(out, Products::behind_rows(shape_.apart), Value{});
    return tile;
  }

  ImageConv conv_;
  int threads_;
  StemShape shape_;
  std::vector<Buffer<>> lines_;
  std::vector<Buffer<Value>> tiles_;
  std::vector<Buffer<>> products_;
};

}  // namespace densenet
