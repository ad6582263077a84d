// The gradient of the weights of the stem's convolution in bfloat16, as products of AMX's tiles: rows are the taps and
// colours, each over all pixels of a line.
#pragma once

#include <vector>

#include "convolutions/stem_conv.h"
#include "products/amx_tiles.h"

#ifdef __AMX_BF16__

namespace densenet {

class AmxStemGradient {
 public:
  AmxStemGradient(const ImageConv& conv, int threads)
      : conv_(conv),
        threads_(threads),
        shape_(conv, kLeastPieces),
        lines_(buffers(threads, shape_.floats)),
        taps_(buffers<uint16_t>(threads, shape_.image_lines(shape_.strips.max_height) * taps_line())),
        d_tiles_(buffers<uint16_t>(threads, shape_.strips.max_height * d_line())) {}

  // As in stem_gradient_registers.h.
  template <class DOutput>
  void run(const float* images, const DOutput& d_output, float* d_weights) {
    const long columns = shape_.columns, width = shape_.width();
    const Parts parts = parts_for_sums(shape_.strips.count(), shape_.strips.extent.pixels());
    sums_.begin(parts, shape_.kernel * rows() * columns);
    parallel(threads_, parts, [&](const Part& mine) {
      const TileRegisters registers;
      uint16_t* d_tile = d_tiles_[mine.thread].get();
      float* sums = sums_.zeroed(mine);
      for (long strip = mine.begin; strip < mine.end; strip++) {
        const uint16_t* taps = fill_taps(images, strip, mine.thread);
        const int height = shape_.strips.height(strip);
        for (int y = 0; y < height; y++) {
          const long pairs = depth_steps<Bf16>(width);
          const auto d_outputs = d_output(mine.thread, shape_.strips.first_pixel(strip) + y * width);
          interleave_pixels<Bf16>(0, width, shape_.columns, d_outputs, d_tile + y * d_line(), pair_row());
          std::fill_n(d_tile + y * d_line() + pairs * pair_row(), d_line() - pairs * pair_row(), 0);
        }
        RightTiles gradients = interleaved(d_tile, pair_row(), all_pixels());
        gradients.taps = height;
        for (int ky = 0; ky < shape_.kernel; ky++) {
          accumulate({taps + ky * taps_line(), all_pixels(), shape_.step * taps_line()}, rows(), gradients, columns,
                     sums + ky * rows() * columns, columns);
        }
      }
    });
    copy_gradient(conv_, sums_.add_up(threads_), rows(), d_weights);
  }

 private:
  // Of a line of the output, in whole tile depths.
  long all_pixels() const { return in_tile_depths(shape_.width()) * kTileDepth; }
  // Taps and colours of a line of the kernel, in whole tiles.
  long rows() const { return (shape_.depth + kTile - 1) / kTile * kTile; }
  // Of (lines of images, rows, all_pixels).
  long taps_line() const { return rows() * all_pixels(); }
  // Of (lines, all_pixels / 2, pair_row): gradients of outputs.
  long pair_row() const { return tile_stride(2L * shape_.columns); }
  long d_line() const { return all_pixels() / 2 * pair_row(); }

  // The lines of the images around a strip of the output, each as what every tap and colour sees for all pixels of a
  // line of the output; zeros behind them.
  const uint16_t* fill_taps(const float* images, long strip, int thread) const {
    const int width = shape_.width();
    alignas(64) static constexpr int32_t kNumbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const __m512i pixels = _mm512_mullo_epi32(_mm512_load_si512(kNumbers), _mm512_set1_epi32(shape_.apart));
    float* line = lines_[thread].get();
    uint16_t *taps = taps_[thread].get(), *out = taps;
    for (int y = 0; y < shape_.image_lines(shape_.strips.height(strip)); y++, out += taps_line()) {
      fill_line(conv_, shape_.image(images, conv_, strip), shape_.first_line(strip) + y, shape_.floats, line);
      std::fill_n(out, taps_line(), 0);
      for (int row = 0; row < shape_.depth; row++) {
        for (int x = 0; x < width; x += kLanes) {
          const int lanes = std::min(width - x, kLanes);
          const float* first = line + x * shape_.apart + row;
          const Vec seen = _mm512_mask_i32gather_ps(Vec{}, static_cast<__mmask16>((1u << lanes) - 1), pixels, first, 4);
          Bf16::store_values(out + row * all_pixels() + x, seen, lanes);
        }
      }
    }
    return taps;
  }

  ImageConv conv_;
  int threads_;
  StemShape shape_;
  std::vector<Buffer<>> lines_;
  std::vector<Buffer<uint16_t>> taps_, d_tiles_;
  SumsOfParts sums_;
};

}  // namespace densenet

#endif
