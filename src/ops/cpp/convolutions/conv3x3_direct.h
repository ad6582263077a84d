// The 3x3 convolution of 8-bit integers, as it is defined: Winograd's transforms would take a bit of their eight.
#pragma once

#include <algorithm>
#include <vector>

#include "base/int8.h"
#include "base/parallel.h"
#include "base/tiles.h"
#include "convolutions/conv3x3_shape.h"
#include "map/statistics.h"
#include "products/register_tiles.h"

namespace densenet {

// Where the activations lie that the convolution reads, in one row of pixels for all images: a zero pixel before each
// line pads that line and the one that ends there, a line of zeros before each image that image and the one before it.
// So the pixels that a tap of the kernel reads, for all outputs of some lines, are rows at one distance from each
// other, and the three taps of a line are one long row.
class BorderedMap {
 public:
  BorderedMap(const Extent& extent, int channels) : extent_(extent), stride_(padded(channels)) {}

  long stride() const { return stride_; }            // values of a pixel
  long pitch() const { return extent_.width + 1L; }  // pixels of a line
  long line() const { return pitch() * stride_; }    // values of one
  size_t values() const { return (lines() * pitch() + 1) * stride_; }
  // Of the zero pixel before line y of an image; y may be -1.
  long begin_of(int image, int y) const { return (image * (extent_.height + 1L) + y + 1) * line(); }

  // Makes the zeros.
  void clear_border(uint8_t* map) const {
    for (long at = 0; at < lines(); at++) {
      const bool is_between_images = at % (extent_.height + 1L) == 0;
      std::fill_n(map + at * line(), is_between_images ? line() : stride_, uint8_t{});
    }
    std::fill_n(map + lines() * line(), stride_, uint8_t{});
  }

  // Calls work(pixel of the map without borders, its first value here) for `count` pixels from `first` on.
  template <class Work>
  void for_pixels(long first, long count, const Work& work) const {
    const long line_number = first / extent_.width, height = extent_.height;
    long x = first % extent_.width, y = line_number % height;
    long at = begin_of(static_cast<int>(line_number / height), static_cast<int>(y)) + (x + 1) * stride_;
    for (long pixel = first; pixel < first + count; pixel++) {
      work(pixel, at);
      at += stride_;
      if (++x < extent_.width) continue;
      x = 0, at += stride_;
      if (++y < height) continue;
      y = 0, at += line();
    }
  }

 private:
  long lines() const { return extent_.batch * (extent_.height + 1L) + 1; }

  Extent extent_;
  int stride_;
};

class DirectConv3x3 {
 public:
  // Weights in the order of the products.
  class Weights {
   public:
    Weights(int in_channels, int out_channels)
        : in_channels_(in_channels),
          out_channels_(out_channels),
          panels_(3, 3 * padded(in_channels), padded(out_channels)) {}
    // weights: (out_channels, in_channels, 3, 3).
    void pack(const int8_t* weights, int threads) {
      panels_.pack(3, 3 * padded(in_channels_), padded(out_channels_), threads,
                   ByWeights{weights_by_line(weights, in_channels_, out_channels_)});
    }
    const Panels<Int8>& panels() const { return panels_; }

   private:
    int in_channels_, out_channels_;
    Panels<Int8> panels_;
  };

  DirectConv3x3(const Conv3x3Shape& shape, int threads, int least_pieces)
      : shape_(shape),
        threads_(threads),
        map_(shape.extent, shape.in_channels),
        strips_(shape.extent, padded(shape.in_channels) / 4 + padded(shape.out_channels), least_pieces),
        products_(buffers(threads, strips_.max_height * map_.pitch() * padded(shape.out_channels))) {}

  // x: a map of BorderedMap. out: rows of out_channels floats, `affine` of the sums.
  void run(const Weights& weights, const uint8_t* x, const Affine& affine, const MutableRows& out) const {
    const int out_channels = shape_.out_channels, padded_out = padded(out_channels);
    const long width = shape_.extent.width;
    parallel(threads_, Parts(strips_.count()), [&](const Part& mine) {
      float* products = products_[mine.thread].get();
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const int height = strips_.height(strip), rows = static_cast<int>(height * map_.pitch() - 1);
        const uint8_t* above = x + map_.begin_of(strips_.image(strip), strips_.first(strip) - 1);
        multiply(above, map_.stride(), map_.line(), rows, weights.panels(), products, padded_out);
        float* to = out.data + strips_.first_pixel(strip) * out.stride;
        for (int y = 0; y < height; y++) {
          float* pixel = products + y * map_.pitch() * padded_out;
          for (long column = 0; column < width; column++, pixel += padded_out, to += out.stride) {
            for (int g = 0; g < padded_out; g += kLanes) {
              store(pixel + g, load(pixel + g) * load(affine.scale.get() + g) + load(affine.offset.get() + g));
            }
            store_floats(pixel, out_channels, to);
          }
        }
      }
    });
  }

 private:
  Conv3x3Shape shape_;
  int threads_;
  BorderedMap map_;
  Strips strips_;
  std::vector<Buffer<>> products_;
};

}  // namespace densenet
