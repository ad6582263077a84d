// The 3x3 convolution of float32, forward, as products in vector registers of tiles that Winograd's filters transform
// in both directions: 1.7 to 1.9 times as fast as pairs along the lines (conv3x3_winograd.h) on one Zen 3 core,
// transforms included. bfloat16 has too few bits for the transforms' coefficients.
#pragma once

#include <vector>

#include "base/parallel.h"
#include "base/tiles.h"
#include "convolutions/conv3x3_shape.h"
#include "convolutions/winograd_tiles.h"
#include "map/dropout.h"
#include "map/statistics.h"
#include "products/register_tiles.h"

namespace densenet {

// The rows of tiles of all images, one image's after the other's, in runs that are multiplied at a time.
class TileRuns {
 public:
  // across: tiles of a row.
  TileRuns(long rows, long across, int least_pieces) : rows_(rows) {
    const long together = std::max(kTiles / across, 2L), runs = (rows + together - 1) / together;
    count_ = std::min((runs + least_pieces - 1) / least_pieces * least_pieces, rows);
  }
  long count() const { return count_; }
  Range rows(long run) const { return share(rows_, run, count_); }
  long most_rows() const { return (rows_ + count_ - 1) / count_; }

 private:
  static constexpr long kTiles = 28;
  long rows_, count_;
};

// out = conv(relu(affine(x))). Down, Across: the filters along the columns and the lines of an image.
template <class Down, class Across>
class TiledConv3x3 {
  static constexpr int kProducts = Down::kProducts * Across::kProducts;

 public:
  // Transformed weights in the order of the products.
  class Weights {
   public:
    Weights(int in_channels, int out_channels) : in_channels_(in_channels), out_channels_(out_channels) {
      for (int i = 0; i < kProducts; i++) panels_.emplace_back(1, in_channels, padded(out_channels));
    }
    // weights: (out_channels, in_channels, 3, 3).
    void pack(const float* weights, int threads) {
      NestedWeights<Down, Across> transformed(out_channels_, in_channels_);
      transformed.fill(weights, threads);
      for (int i = 0; i < kProducts; i++) {
        panels_[i].pack(1, in_channels_, padded(out_channels_), threads,
                        ByColumns{[&, i](int, int g, int k) { return transformed.load(i, g, k); }});
      }
    }
    const Panels<Fp32>& operator[](int product) const { return panels_[product]; }

   private:
    int in_channels_, out_channels_;
    std::vector<Panels<Fp32>> panels_;
  };

  TiledConv3x3(const Conv3x3Shape& shape, int threads, int least_pieces)
      : shape_(shape),
        threads_(threads),
        down_(pieces(shape.extent.height, Down::kOutputs)),
        across_(pieces(shape.extent.width, Across::kOutputs)),
        runs_(1L * shape.extent.batch * down_, across_, least_pieces),
        rings_(buffers(threads, Down::kProducts * ring_line())),
        tiles_(buffers(threads, kProducts * tiles_plane())),
        products_(buffers(threads, kProducts * products_plane())),
        lines_(buffers(threads, Down::kOutputs * out_line())) {}

  // x: (P, padded(in_channels)). out: rows of out_channels floats, of which some are dropped and whose moments are
  // taken unless that is null.
  void run(const Weights& weights, const float* x, const Affine& affine, const MutableRows& out, const DropMask* drop,
           OfParts<Moments>* moments) const {
    const int padded_in = padded(shape_.in_channels), padded_out = padded(shape_.out_channels);
    const Parts parts(runs_.count());
    if (moments) moments->begin(parts);
    parallel(threads_, parts, [&](const Part& mine) {
      float *ring = rings_[mine.thread].get(), *tiles = tiles_[mine.thread].get();
      float *products = products_[mine.thread].get(), *lines = lines_[mine.thread].get();
      for (long run = mine.begin; run < mine.end; run++) {
        const Range rows = runs_.rows(run);
        const int count = static_cast<int>(rows.end - rows.begin) * across_;
        fill_tiles(x, rows, affine, ring, tiles);
        for (int i = 0; i < kProducts; i++) {
          Prefetch ahead;
          if (run + 1 < runs_.count()) fetch_share(x, runs_.rows(run + 1), i, ahead);
          ahead.start(tile_count(count, padded_out));
          multiply(tiles + i * tiles_plane(), padded_in, 0, count, weights[i], products + i * products_plane(),
                   padded_out, &ahead);
        }
        for (long row = rows.begin; row < rows.end; row++) {
          add_up(products + (row - rows.begin) * across_ * padded_out, lines);
          store_lines(row, lines, out, drop, moments ? &(*moments)[mine] : nullptr);
        }
      }
    });
  }

 private:
  static int pieces(int length, int of) { return (length + of - 1) / of; }
  // Of (lines that a tile sees, tiles of a row, Across::kProducts, kLineFloats): lines of inputs, transformed along
  // them. What is made of a few channels stays in the first-level cache.
  long ring_line() const { return 1L * across_ * Across::kProducts * kLineFloats; }
  // Of (kProducts, tiles of a run, channels), a cache line apart so that planes lie in different sets of the caches.
  long most_tiles() const { return runs_.most_rows() * across_; }
  long tiles_plane() const { return most_tiles() * padded(shape_.in_channels) + kLineFloats; }
  long products_plane() const { return most_tiles() * padded(shape_.out_channels) + kLineFloats; }
  // Of (Down::kOutputs, outputs of a row of tiles, padded(out_channels)).
  long out_line() const { return 1L * across_ * Across::kOutputs * padded(shape_.out_channels); }
  // The first pixel that a row of tiles makes; that of the row behind the last is the end of the map.
  long first_pixel(long row) const {
    const long height = shape_.extent.height;
    return (row / down_ * height + std::min(row % down_ * Down::kOutputs, height)) * shape_.extent.width;
  }

  // A product's share of the pixels of a run.
  void fetch_share(const float* x, const Range& rows, int product, Prefetch& ahead) const {
    const long first = first_pixel(rows.begin), padded_in = padded(shape_.in_channels);
    const Range pixels = share(first_pixel(rows.end) - first, product, kProducts);
    const long bytes = static_cast<long>(sizeof(float)) * padded_in * (pixels.end - pixels.begin);
    ahead.add(x + (first + pixels.begin) * padded_in, 1, bytes, 0);
  }

  // tiles (kProducts, tiles of the rows, padded(in_channels)) = relu(affine(x)), transformed, which is zero outside of
  // the image.
  void fill_tiles(const float* x, const Range& rows, const Affine& affine, float* ring, float* tiles) const {
    const int padded_in = padded(shape_.in_channels), height = shape_.extent.height;
    const long x_line = 1L * shape_.extent.width * padded_in;
    for (int k = 0; k < padded_in; k += kLineFloats) {
      for (long row = rows.begin; row < rows.end; row++) {
        const float* image = x + row / down_ * height * x_line + k;
        const int first = static_cast<int>(row % down_) * Down::kOutputs - 1;
        const bool is_below_another = row > rows.begin && first > 0;  // which has left the lines that both see
        for (int i = is_below_another ? Down::kProducts - Down::kOutputs : 0; i < Down::kProducts; i++) {
          const int y = first + i;
          float* line = ring_of(ring, y);
          if (y < 0 || y >= height) {
            std::fill_n(line, ring_line(), 0.0f);
          } else {
            transform_line(image + y * x_line, affine, k, line);
          }
        }
        transform_columns(ring, first, tiles + (row - rows.begin) * across_ * padded_in + k);
      }
    }
  }

  float* ring_of(float* ring, int y) const { return ring + (y + 1) % Down::kProducts * ring_line(); }

  // kLineFloats channels of a line, from k on; x: the first of them.
  void transform_line(const float* x, const Affine& affine, int k, float* to) const {
    const int padded_in = padded(shape_.in_channels), width = shape_.extent.width;
    for (int j = 0; j < kLineFloats; j += kLanes) {
      const Vec scale = load(affine.scale.get() + k + j), offset = load(affine.offset.get() + k + j);
      const auto input = [&](int column) {
        return relu(load(x + static_cast<long>(column) * padded_in + j) * scale + offset);
      };
      constexpr int kShared = Across::kProducts - Across::kOutputs;
      static_assert(kShared == 2);  // of a tile and the next
      Vec d[Across::kProducts] = {Vec{}, input(0)}, v[Across::kProducts];
      float* out = to + j;
      for (int tile = 0; tile < across_; tile++) {
        const int column = tile * Across::kOutputs + kShared - 1;
        if (column + Across::kOutputs <= width) {
#pragma GCC unroll 8
          for (int i = 0; i < Across::kOutputs; i++) d[kShared + i] = input(column + i);
        } else {
#pragma GCC unroll 8
          for (int i = 0; i < Across::kOutputs; i++) d[kShared + i] = column + i < width ? input(column + i) : Vec{};
        }
        Across::of_inputs(d, v);
#pragma GCC unroll 8
        for (int i = 0; i < Across::kProducts; i++, out += kLineFloats) store(out, v[i]);
        d[0] = d[Across::kOutputs], d[1] = d[Across::kOutputs + 1];
      }
    }
  }

  // From the lines of the ring from `first` on a row of tiles.
  void transform_columns(float* ring, int first, float* tiles) const {
    const int padded_in = padded(shape_.in_channels);
    const long plane = tiles_plane();
    const float* lines[Down::kProducts];
    for (int i = 0; i < Down::kProducts; i++) lines[i] = ring_of(ring, first + i);
    long at = 0;
    for (int tile = 0; tile < across_; tile++, tiles += padded_in) {
      float* to = tiles;
      for (int i = 0; i < Across::kProducts; i++, to += plane) {
        for (int j = 0; j < kLineFloats; j += kLanes, at += kLanes) {
          Vec d[Down::kProducts], v[Down::kProducts];
#pragma GCC unroll 8
          for (int line = 0; line < Down::kProducts; line++) d[line] = load(lines[line] + at);
          Down::of_inputs(d, v);
#pragma GCC unroll 8
          for (int line = 0; line < Down::kProducts; line++) store(to + line * Across::kProducts * plane + j, v[line]);
        }
      }
    }
  }

  // The products of a row of tiles into its lines of outputs.
  void add_up(const float* products, float* lines) const {
    const int padded_out = padded(shape_.out_channels);
    const long plane = products_plane();
    for (int tile = 0; tile < across_; tile++, products += padded_out) {
      for (int g = 0; g < padded_out; g += kLanes) {
        Vec of_columns[Down::kOutputs][Across::kProducts];
#pragma GCC unroll 8
        for (int i = 0; i < Across::kProducts; i++) {
          Vec m[Down::kProducts], outputs[Down::kOutputs];
#pragma GCC unroll 8
          for (int line = 0; line < Down::kProducts; line++) {
            m[line] = load(products + (line * Across::kProducts + i) * plane + g);
          }
          Down::of_products(m, outputs);
#pragma GCC unroll 8
          for (int y = 0; y < Down::kOutputs; y++) of_columns[y][i] = outputs[y];
        }
#pragma GCC unroll 8
        for (int y = 0; y < Down::kOutputs; y++) {
          Vec outputs[Across::kOutputs];
          Across::of_products(of_columns[y], outputs);
          float* to = lines + y * out_line() + static_cast<long>(tile) * Across::kOutputs * padded_out + g;
#pragma GCC unroll 8
          for (int x = 0; x < Across::kOutputs; x++) store(to + static_cast<long>(x) * padded_out, outputs[x]);
        }
      }
    }
  }

  // The lines that a row of tiles has made, as far as they are in the image.
  void store_lines(long row, float* lines, const MutableRows& out, const DropMask* drop, Moments* moments) const {
    const int out_channels = shape_.out_channels, padded_out = padded(out_channels), width = shape_.extent.width;
    const long first = first_pixel(row), count = (first_pixel(row + 1) - first) / width;
    float* to = out.data + first * out.stride;
    for (long y = 0; y < count; y++, lines += out_line()) {
      if (drop) drop->apply(lines, padded_out, first + y * width, width);
      if (moments) moments->add(lines, padded_out, width, 0, padded_out);
      for (int x = 0; x < width; x++, to += out.stride) {
        put_floats(lines + static_cast<long>(x) * padded_out, out_channels, to, out.past_caches);
      }
    }
  }

  Conv3x3Shape shape_;
  int threads_, down_, across_;  // rows of tiles of an image, and tiles of a row
  TileRuns runs_;
  std::vector<Buffer<>> rings_, tiles_, products_, lines_;
};

}  // namespace densenet
