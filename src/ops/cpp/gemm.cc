#include "gemm.h"

#include <array>
#include <utility>

namespace densenet {
namespace {

using MultiplyTile = void (*)(const float* a, long a_row, long a_tap, const float* b, int depth, int taps, float* out,
                              long out_row);
using AccumulateTile = void (*)(Pixels a, Pixels b, int pixels, int lines, float* sums, long sums_row);

template <int ROWS, int VECTORS>
void multiply_tile(const float* a, long a_row, long a_tap, const float* b, int depth, int taps, float* out,
                   long out_row) {
  Vec sums[ROWS][VECTORS] = {};
  for (int tap = 0; tap < taps; tap++) {
    const float* a_k = a + tap * a_tap;
    for (int k = 0; k < depth; k++) {
      Vec b_k[VECTORS];
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; j++) b_k[j] = load(b + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < VECTORS; j++) sums[i][j] += a_k[i * a_row] * b_k[j];
      }
      a_k++;
      b += VECTORS * kLanes;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) store(out + i * out_row + j * kLanes, sums[i][j]);
  }
}

template <int ROWS, int VECTORS>
void accumulate_tile(Pixels a, Pixels b, int pixels, int lines, float* sums, long sums_row) {
  Vec tile[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) tile[i][j] = load(sums + i * sums_row + j * kLanes);
  }
  for (int line = 0; line < lines; line++) {
    const float *a_p = a.data + line * a.line, *b_p = b.data + line * b.line;
    for (int pixel = 0; pixel < pixels; pixel++) {
      Vec b_j[VECTORS];
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; j++) b_j[j] = load(b_p + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < VECTORS; j++) tile[i][j] += a_p[i] * b_j[j];
      }
      a_p += a.pixel, b_p += b.pixel;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) store(sums + i * sums_row + j * kLanes, tile[i][j]);
  }
}

// kernels[rows - 1] for each height that a tile of VECTORS vectors may have.
template <int VECTORS, int... I>
constexpr auto multiply_tiles(std::integer_sequence<int, I...>) {
  return std::array<MultiplyTile, sizeof...(I)>{multiply_tile<I + 1, VECTORS>...};
}
template <int VECTORS, int... I>
constexpr auto accumulate_tiles(std::integer_sequence<int, I...>) {
  return std::array<AccumulateTile, sizeof...(I)>{accumulate_tile<I + 1, VECTORS>...};
}
template <int VECTORS>
using Heights = std::make_integer_sequence<int, kTileRows[VECTORS]>;

MultiplyTile find_multiply(int vectors, int rows) {
  static constexpr auto one = multiply_tiles<1>(Heights<1>{});
  static constexpr auto two = multiply_tiles<2>(Heights<2>{});
  static constexpr auto three = multiply_tiles<3>(Heights<3>{});
  return vectors == 1 ? one[rows - 1] : vectors == 2 ? two[rows - 1] : three[rows - 1];
}

AccumulateTile find_accumulate(int vectors, int rows) {
  static constexpr auto one = accumulate_tiles<1>(Heights<1>{});
  static constexpr auto two = accumulate_tiles<2>(Heights<2>{});
  static constexpr auto three = accumulate_tiles<3>(Heights<3>{});
  return vectors == 1 ? one[rows - 1] : vectors == 2 ? two[rows - 1] : three[rows - 1];
}

// Calls tile(first, height) for pieces of `rows`, of the same height but for one row.
template <class Tile>
void in_tiles(int rows, int vectors, const Tile& tile) {
  const int pieces = (rows + kTileRows[vectors] - 1) / kTileRows[vectors];
  for (int piece = 0; piece < pieces; piece++) {
    const int first = rows * piece / pieces;
    tile(first, rows * (piece + 1) / pieces - first);
  }
}

}  // namespace

void multiply(const float* a, long a_row, long a_tap, int rows, const Panels& b, int panel, float* out, long out_row) {
  const int vectors = b.vectors(panel);
  in_tiles(rows, vectors, [&](int first, int height) {
    find_multiply(vectors, height)(a + first * a_row, a_row, a_tap, b.data(panel), b.depth(), b.taps(),
                                   out + first * out_row, out_row);
  });
}

void accumulate(Pixels a, int rows, Pixels b, int columns, int pixels, int lines, float* sums) {
  int left = columns / kLanes;
  for (int column = 0; left > 0;) {
    const int vectors = left % 2 == 0 ? 2 : left == 1 ? 1 : 3;
    const Pixels b_part{b.data + column, b.pixel, b.line};
    in_tiles(rows, vectors, [&](int first, int height) {
      const Pixels a_part{a.data + first, a.pixel, a.line};
      find_accumulate(vectors, height)(a_part, b_part, pixels, lines, sums + static_cast<long>(first) * columns + column,
                                       columns);
    });
    column += vectors * kLanes;
    left -= vectors;
  }
}

}  // namespace densenet
