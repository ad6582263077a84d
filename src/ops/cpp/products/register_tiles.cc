#include "products/register_tiles.h"

#include <array>
#include <utility>

#include "base/int8.h"

namespace densenet {
namespace {

template <class Number>
using MultiplyTile = void (*)(const typename Number::Value* a, long a_row, long a_tap, const typename Number::Value* b,
                              int steps, int taps, float* out, long out_row);
template <class Number>
using AccumulateTile = void (*)(Pixels<Number> a, Pixels<Number> b, int steps, int lines, float* sums, long sums_row);

template <class Number, int ROWS, int VECTORS>
void multiply_tile(const typename Number::Value* a, long a_row, long a_tap, const typename Number::Value* b, int steps,
                   int taps, float* out, long out_row) {
  constexpr int kDepth = Number::kDepth;
  typename Number::Sums sums[ROWS][VECTORS] = {};
  for (int tap = 0; tap < taps; tap++) {
    const typename Number::Value* a_k = a + tap * a_tap;
    for (int k = 0; k < steps; k++) {
      typename Number::Operand b_k[VECTORS];
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; j++) b_k[j] = Number::load_operand(b + j * kLanes * kDepth);
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < VECTORS; j++) sums[i][j] = Number::product(sums[i][j], a_k + i * a_row, b_k[j]);
      }
      a_k += kDepth;
      b += VECTORS * kLanes * kDepth;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) store(out + i * out_row + j * kLanes, Number::to_floats(sums[i][j]));
  }
}

template <class Number, int ROWS, int VECTORS>
void accumulate_tile(Pixels<Number> a, Pixels<Number> b, int steps, int lines, float* sums, long sums_row) {
  constexpr int kDepth = Number::kDepth;
  Vec tile[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) tile[i][j] = load(sums + i * sums_row + j * kLanes);
  }
  for (int line = 0; line < lines; line++) {
    const typename Number::Value *a_p = a.data + line * a.line, *b_p = b.data + line * b.line;
    for (int step = 0; step < steps; step++) {
      Vec b_j[VECTORS];
#pragma GCC unroll 4
      for (int j = 0; j < VECTORS; j++) b_j[j] = Number::load_operand(b_p + j * kLanes * kDepth);
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < VECTORS; j++) tile[i][j] = Number::product(tile[i][j], a_p + i * kDepth, b_j[j]);
      }
      a_p += a.step, b_p += b.step;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < VECTORS; j++) store(sums + i * sums_row + j * kLanes, tile[i][j]);
  }
}

// The two kinds of tiles, each for any height and width.
template <class Number>
struct Multiply {
  static constexpr auto& kRows = Number::kTileRows;
  using Tile = MultiplyTile<Number>;
  template <int ROWS, int VECTORS>
  static constexpr Tile tile = multiply_tile<Number, ROWS, VECTORS>;
};
template <class Number>
struct Accumulate {
  static constexpr auto& kRows = Number::kTileRows;
  using Tile = AccumulateTile<Number>;
  template <int ROWS, int VECTORS>
  static constexpr Tile tile = accumulate_tile<Number, ROWS, VECTORS>;
};

// [rows - 1] for each height that a tile of VECTORS vectors may have.
template <class Kind, int VECTORS, int... I>
constexpr auto heights(std::integer_sequence<int, I...>) {
  return std::array<typename Kind::Tile, sizeof...(I)>{Kind::template tile<I + 1, VECTORS>...};
}
template <class Kind, int VECTORS>
constexpr auto kHeights = heights<Kind, VECTORS>(std::make_integer_sequence<int, Kind::kRows[VECTORS]>{});

template <class Kind>
typename Kind::Tile find_tile(int vectors, int rows) {
  if (vectors == 1) return kHeights<Kind, 1>[rows - 1];
  return vectors == 2 ? kHeights<Kind, 2>[rows - 1] : kHeights<Kind, 3>[rows - 1];
}

// Calls tile(first, height) for pieces of `rows`, of the same height but for one row.
template <class Number, class Tile>
void in_tiles(int rows, int vectors, const Tile& tile) {
  const int most = Number::kTileRows[vectors], pieces = (rows + most - 1) / most;
  for (int piece = 0; piece < pieces; piece++) {
    const int first = rows * piece / pieces;
    tile(first, rows * (piece + 1) / pieces - first);
  }
}

}  // namespace

template <class Number>
void multiply(const typename Number::Value* a, long a_row, long a_tap, int rows, const Panels<Number>& b, int panel,
              float* out, long out_row, Prefetch* ahead) {
  const int vectors = b.vectors(panel);
  in_tiles<Number>(rows, vectors, [&](int first, int height) {
    if (ahead) ahead->step();
    const auto tile = find_tile<Multiply<Number>>(vectors, height);
    tile(a + first * a_row, a_row, a_tap, b.data(panel), b.depth_steps(), b.taps(), out + first * out_row, out_row);
  });
}

template <class Number>
void accumulate(Pixels<Number> a, int rows, Pixels<Number> b, int columns, int steps, int lines, float* sums) {
  constexpr int kDepth = Number::kDepth;
  int left = columns / kLanes;
  for (int column = 0; left > 0;) {
    const int vectors = left % 2 == 0 ? 2 : std::min(left, kMaxVectors);
    const Pixels<Number> b_part{b.data + column * kDepth, b.step, b.line};
    in_tiles<Number>(rows, vectors, [&](int first, int height) {
      const Pixels<Number> a_part{a.data + first * kDepth, a.step, a.line};
      const auto tile = find_tile<Accumulate<Number>>(vectors, height);
      tile(a_part, b_part, steps, lines, sums + static_cast<long>(first) * columns + column, columns);
    });
    column += vectors * kLanes;
    left -= vectors;
  }
}

#define DENSENET_INSTANTIATE_MULTIPLY(Number)                                                                     \
  template void multiply<Number>(const Number::Value*, long, long, int, const Panels<Number>&, int, float*, long, \
                                 Prefetch*);
#define DENSENET_INSTANTIATE(Number)    \
  DENSENET_INSTANTIATE_MULTIPLY(Number) \
  template void accumulate<Number>(Pixels<Number>, int, Pixels<Number>, int, int, int, float*);

DENSENET_INSTANTIATE_MULTIPLY(Int8)
DENSENET_INSTANTIATE(Fp32)
#ifdef __AVX512BF16__
DENSENET_INSTANTIATE(Bf16)
#endif

}  // namespace densenet
