// Products of tiles of bfloat16, summed in float32, by the tile registers of Intel's AMX (AMX-TILE and AMX-BF16).
//
// A left tile has 16 rows of 32 values, a right tile 16 rows of 16 pairs: its values (2 i, j) and (2 i + 1, j) lie side
// by side. One instruction adds their product to a tile of 16 x 16 floats.
#pragma once

#include "base/number.h"
#include "base/parallel.h"
#include "products/pack.h"

#ifdef __AMX_BF16__

#include "products/amx_instructions.h"

namespace densenet {

constexpr int kTile = 16;       // rows of a left tile and of sums, columns of a right tile and of sums
constexpr int kTileDepth = 32;  // values that a product of tiles sums over

constexpr long in_tile_depths(long count) { return (count + kTileDepth - 1) / kTileDepth; }

// Stride of rows of `values` in scratch: whole tile depths, and an odd number of cache lines, so that the rows of a
// tile lie in different sets of the first-level cache.
constexpr long tile_stride(long values) { return (in_tile_depths(values) | 1) * kTileDepth; }

// Asks the operating system to let this process use the tiles. Throws std::runtime_error when it refuses.
void request_tiles();

// The calling thread may multiply tiles while this lives. Afterwards they are as they were: another library in this
// process may count on its own shapes.
class TileRegisters {
 public:
  TileRegisters();
  ~TileRegisters();
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

 private:
  TileShapes before_;
};

// Left operand: values from one row to the next, and from one tap to the next.
struct LeftTiles {
  const uint16_t* data;
  long row, tap;
};

// Right operand of `taps` times `depths` tiles: values from one row of pairs to the next, from one depth to the next
// and from 16 columns to the next. A tap follows the one before like a depth.
struct RightTiles {
  const uint16_t* data;
  long row, depth, column, taps, depths;
};

// Right tiles of `pixels`, whole tile depths of them, of which pairs are interleaved in rows `pair_row` values apart.
inline RightTiles interleaved(const uint16_t* data, long pair_row, long pixels) {
  return {data, pair_row, kTile * pair_row, 2 * kTile, 1, pixels / kTileDepth};
}

// sums[i * sums_row + j] = sum over t < taps, k < depths * kTileDepth of a[t][i][k] * b[t][k][j], in whole tiles:
// `rows` and `columns` are rounded up to multiples of kTile.
void multiply(const LeftTiles& a, long rows, const RightTiles& b, long columns, float* sums, long sums_row);

// The same, added to what the sums are.
void accumulate(const LeftTiles& a, long rows, const RightTiles& b, long columns, float* sums, long sums_row);

// Right operand (taps, depth, columns) packed tile by tile; what the depth lacks to whole tiles is zero. columns: a
// multiple of kTile.
class TileWeights {
 public:
  // Space for the largest operand that it will hold.
  TileWeights(int taps, int depth, int columns)
      : data_(static_cast<size_t>(taps) * in_tile_depths(depth) * (columns / kTile) * kTileValues) {}

  // Fills it from a source of pack.h, by `threads` threads.
  template <class Source>
  void pack(int taps, int depth, int columns, int threads, const Source& source) {
    taps_ = taps, depths_ = in_tile_depths(depth);
    parallel(threads, Parts(columns / kTile * taps * depths_), [&](const Part& mine) {
      uint16_t* out = data_.get() + mine.begin * kTileValues;
      for (long tile = mine.begin; tile < mine.end; tile++) {
        const int tap = static_cast<int>(tile / depths_ % taps);
        const int first_k = static_cast<int>(tile % depths_) * kTileDepth;
        const int first_column = static_cast<int>(tile / depths_ / taps) * kTile;
        source.template square<Bf16>(tap, first_k, first_column, depth, kTile, out, 2 * kTile);
        out += kTileValues;
      }
    });
  }

  // From `column` on, a multiple of kTile.
  RightTiles tiles(long column = 0) const {
    const long all_depths = taps_ * depths_ * kTileValues;
    return {data_.get() + column / kTile * all_depths, 2 * kTile, kTileValues, all_depths, taps_, depths_};
  }

 private:
  static constexpr long kTileValues = kTile * kTileDepth;

  Buffer<uint16_t> data_;
  long taps_ = 0, depths_ = 0;
};

// out[c * out_row + p] = in[p * in_row + c], c < channels, a multiple of kTile, p < pixels, a multiple of kTileDepth.
void transpose(const uint16_t* in, long in_row, long pixels, int channels, uint16_t* out, long out_row);

}  // namespace densenet

#endif
