// The stem's convolution in bfloat16, as products of AMX's tiles.
//
// A row of a left tile is what a line of the kernel sees of an image, one run of taps and colours, and what follows it
// in the image, for which the weights are zero. For the gradient of the weights the rows are the taps and colours, each
// over all pixels of a line.
#pragma once

#include "stem_conv.h"

#ifdef __AMX_BF16__

#include "amx.h"

namespace densenet {

template <>
class StemConv<Bf16> {
 public:
  StemConv(const Stem& stem, int threads, int least_pieces)
      : stem_(stem),
        threads_(threads),
        shape_(stem, least_pieces),
        lines_(buffers(threads, shape_.line)),
        tiles_(buffers<uint16_t>(threads, std::max(tile_values(), tap_values()))) {
    request_tiles();
  }

  Parts parts() const { return Parts(shape_.strips.count()); }

  template <class Take>
  void forward(const float* images, const Take& take) {
    TileWeights weights(shape_.kernel, shape_.depth, shape_.columns);
    weights.pack(shape_.kernel, shape_.depth, shape_.columns, threads_, stem_weights(stem_));
    const std::vector<Buffer<>> products = buffers(threads_, static_cast<size_t>(all_pixels()) * shape_.columns);
    parallel(threads_, parts(), [&](const Part& mine) {
      const TileRegisters registers;
      const int thread = mine.thread;
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const uint16_t* tile = fill_tile(images, strip, thread);
        for (int y = 0; y < shape_.strips.height(strip); y++) {
          multiply({tile + y * shape_.step * shape_.line, shape_.step * kColours, shape_.line}, shape_.width(),
                   weights.tiles(), shape_.columns, products[thread].get(), shape_.columns);
          take(mine, shape_.strips.first_pixel(strip) + static_cast<long>(y) * shape_.width(), products[thread].get());
        }
      }
    });
  }

  template <class DOutput>
  void backward(const float* images, const DOutput& d_output, float* d_conv) {
    const long columns = shape_.columns, width = shape_.width(), floats = shape_.kernel * rows() * columns;
    const long pair_row = tile_stride(2 * columns), d_line = all_pixels() / 2 * pair_row;
    const std::vector<Buffer<uint16_t>> d_tiles = buffers<uint16_t>(threads_, shape_.strips.max_height * d_line);
    const Parts parts = parts_for_sums(shape_.strips.count(), shape_.strips.extent.pixels());
    SumsOfParts all_sums;
    all_sums.begin(parts, floats);
    parallel(threads_, parts, [&](const Part& mine) {
      const TileRegisters registers;
      const int thread = mine.thread;
      uint16_t* d_tile = d_tiles[thread].get();
      float* sums = all_sums.zeroed(mine);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const uint16_t* taps = fill_taps(images, strip, thread);
        const int height = shape_.strips.height(strip);
        for (int y = 0; y < height; y++) {
          const long pairs = steps<Bf16>(width);
          const auto d_outputs = d_output(thread, shape_.strips.first_pixel(strip) + y * width);
          interleave_pixels<Bf16>(0, width, shape_.columns, d_outputs, d_tile + y * d_line, pair_row);
          std::fill_n(d_tile + y * d_line + pairs * pair_row, d_line - pairs * pair_row, 0);
        }
        RightTiles gradients = interleaved(d_tile, pair_row, all_pixels());
        gradients.taps = height;
        for (int ky = 0; ky < shape_.kernel; ky++) {
          accumulate({taps + ky * taps_line(), all_pixels(), shape_.step * taps_line()}, rows(), gradients, columns,
                     sums + ky * rows() * columns, columns);
        }
      }
    });
    copy_gradient(stem_, all_sums.add_up(threads_), rows(), d_conv);
  }

 private:
  // Of a line of the output, in whole tile depths.
  long all_pixels() const { return in_tile_depths(shape_.width()) * kTileDepth; }
  // Taps and colours of a line of the kernel, in whole tiles.
  long rows() const { return (shape_.depth + kTile - 1) / kTile * kTile; }
  // Of a tile of lines of images, and all that the products read behind it.
  long tile_values() const {
    return shape_.line * shape_.image_lines(shape_.strips.max_height) + kTile * shape_.step * kColours + kTileDepth;
  }
  // Of (lines of images, rows, all_pixels).
  long taps_line() const { return rows() * all_pixels(); }
  long tap_values() const { return shape_.image_lines(shape_.strips.max_height) * taps_line(); }

  // The lines of the images around a strip of the output, and zeros.
  const uint16_t* fill_tile(const float* images, long strip, int thread) const {
    float* line = lines_[thread].get();
    uint16_t *tile = tiles_[thread].get(), *out = tile;
    for (int y = 0; y < shape_.image_lines(shape_.strips.height(strip)); y++, out += shape_.line) {
      fill_line(stem_, shape_.image(images, stem_, strip), shape_.first_line(strip) + y, line);
      for (long i = 0; i < shape_.line; i += kLanes) {
        Bf16::store_values(out + i, load(line + i), static_cast<int>(std::min<long>(shape_.line - i, kLanes)));
      }
    }
    std::fill(out, tile + tile_values(), 0);
    return tile;
  }

  // The same lines, each as what every tap and colour sees for all pixels of a line of the output; zeros behind them.
  const uint16_t* fill_taps(const float* images, long strip, int thread) const {
    const int width = shape_.width(), step = shape_.step;
    alignas(64) static constexpr int32_t kNumbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const __m512i pixels = _mm512_mullo_epi32(_mm512_load_si512(kNumbers), _mm512_set1_epi32(step * kColours));
    float* line = lines_[thread].get();
    uint16_t *taps = tiles_[thread].get(), *out = taps;
    for (int y = 0; y < shape_.image_lines(shape_.strips.height(strip)); y++, out += taps_line()) {
      fill_line(stem_, shape_.image(images, stem_, strip), shape_.first_line(strip) + y, line);
      std::fill_n(out, taps_line(), 0);
      for (int row = 0; row < shape_.depth; row++) {
        for (int x = 0; x < width; x += kLanes) {
          const int lanes = std::min(width - x, kLanes);
          const float* first = line + x * step * kColours + row;
          const Vec seen = _mm512_mask_i32gather_ps(Vec{}, static_cast<__mmask16>((1u << lanes) - 1), pixels, first, 4);
          Bf16::store_values(out + row * all_pixels() + x, seen, lanes);
        }
      }
    }
    return taps;
  }

  const Stem& stem_;
  int threads_;
  StemShape shape_;
  std::vector<Buffer<>> lines_;
  std::vector<Buffer<uint16_t>> tiles_;
};

}  // namespace densenet

#endif
