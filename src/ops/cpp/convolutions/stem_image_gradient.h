// The gradient of the images that the stem's convolution sees, written once over both engines.
//
// A line of the output hands on, from each of its pixels, a number to every tap and colour of the kernel: a product of
// its gradients and the weights. A line of an image adds up what the lines of the output that see it hand on.
#pragma once

#include <vector>

#include "convolutions/stem_conv.h"

namespace densenet {

template <class Number>
class StemImageGradient {
  using Products = Engine<Number>;
  using Value = typename Number::Value;

 public:
  StemImageGradient(const ImageConv& conv, int threads)
      : conv_(conv),
        threads_(threads),
        out_(conv.out_extent()),
        row_(Products::row_stride(conv.channels)),
        columns_(padded(conv.kernel * conv.kernel * kColours)),
        weights_(1, conv.channels, columns_),
        d_lines_(buffers<Value>(threads, out_.width * row_ + Products::behind_rows(row_))),
        products_(buffers(threads, static_cast<size_t>(seeing() * products_line()))),
        sums_(buffers(threads, line_floats())) {}

  // d_output: as in stem_gradient_registers.h. d_images: (N, 3, H, W).
  template <class DOutput>
  void run(const DOutput& d_output, float* d_images) {
    const int height = conv_.images.height, step = conv_.step, padding = conv_.kernel / 2;
    const auto weight = [this](int, int c, int tap_colour) {
      const int tap = tap_colour / kColours, colour = tap_colour % kColours, taps = conv_.kernel * conv_.kernel;
      return tap < taps ? conv_.weights[(static_cast<long>(c) * kColours + colour) * taps + tap] : 0.0f;
    };
    weights_.pack(1, conv_.channels, columns_, threads_, by_values(weight));
    const long lines = static_cast<long>(conv_.images.batch) * height;
    // Each part makes the first lines again that it shares with the one before: some, for any number of threads.
    const Parts parts(lines, static_cast<int>(std::clamp(lines / kLeastLines, 1L, static_cast<long>(Parts::kMost))));
    parallel(threads_, parts, [&](const Part& mine) {
      [[maybe_unused]] const typename Products::Session session;
      float* sums = sums_[mine.thread].get();
      int made = 0;  // lines of the output, of this image
      for (long line = mine.begin; line < mine.end; line++) {
        const long image = line / height;
        const int y = static_cast<int>(line % height), below = y + padding;
        const int first = below < conv_.kernel ? 0 : (below - conv_.kernel) / step + 1;
        const int last = std::min(below / step, out_.height - 1);
        if (line == mine.begin || y == 0) made = first;
        for (; made <= last; made++) multiply(d_output, image, made, mine.thread);
        std::fill_n(sums, line_floats(), 0.0f);
        for (int seen = first; seen <= last; seen++) {
          add(products(mine.thread, seen) + (below - step * seen) * conv_.kernel * kColours, sums);
        }
        store_line(sums + padding * kColours, image, y, d_images);
      }
    });
  }

 private:
  static constexpr long kLeastLines = 16;  // of a part, but for small images

  // Lines of the output, at most, that see a line of an image.
  int seeing() const { return (conv_.kernel + conv_.step - 1) / conv_.step; }
  long products_line() const { return whole_rows<Products>(out_.width) * columns_; }
  long line_floats() const { return static_cast<long>(conv_.images.width + conv_.kernel) * kColours; }
  // (pixels, columns) of a line of the output; of those that see the same line of an image, each has its own place.
  float* products(int thread, int line) const { return products_[thread].get() + line % seeing() * products_line(); }

  template <class DOutput>
  void multiply(const DOutput& d_output, long image, int line, int thread) const {
    Value* d_line = d_lines_[thread].get();
    const auto pixels = d_output(thread, (image * out_.height + line) * out_.width);
    for (int x = 0; x < out_.width; x++) Products::store_row(pixels(x), conv_.channels, d_line + x * row_);
    Products::multiply(d_line, row_, 0, out_.width, weights_, columns_, products(thread, line));
  }

  // What a line of the kernel hands on, to the image's pixels and those of its zeros.
  void add(const float* handed, float* sums) const {
    const int taps = conv_.kernel * kColours, apart = conv_.step * kColours;
    for (int x = 0; x < out_.width; x++, handed += columns_, sums += apart) {
      for (int i = 0; i < taps; i++) sums[i] += handed[i];
    }
  }

  void store_line(const float* sums, long image, int y, float* d_images) const {
    const int height = conv_.images.height, width = conv_.images.width;
    for (int colour = 0; colour < kColours; colour++) {
      float* to = d_images + ((image * kColours + colour) * height + y) * width;
      for (int x = 0; x < width; x++) to[x] = sums[x * kColours + colour];
    }
  }

  ImageConv conv_;
  int threads_;
  Extent out_;
  long row_;
  int columns_;
  typename Products::Weights weights_;
  std::vector<Buffer<Value>> d_lines_;
  std::vector<Buffer<>> products_, sums_;
};

}  // namespace densenet
