#include "products/amx_tiles.h"

#ifdef __AMX_BF16__

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

namespace densenet {
namespace {

// Calls visit(std::integral_constant<int, i>) for i = 0 .. COUNT - 1.
template <class Visit, int... I>
void visit_all(const Visit& visit, std::integer_sequence<int, I...>) {
  (visit(std::integral_constant<int, I>{}), ...);
}
template <int COUNT, class Visit>
void for_each(const Visit& visit) {
  visit_all(visit, std::make_integer_sequence<int, COUNT>{});
}

// Sums of ROWS x COLUMNS tiles in registers 0 to 3; left tiles in 4 to 6, right ones in 6 and 7.
template <int ROWS, int COLUMNS>
void multiply_tiles(const LeftTiles& a, const RightTiles& b, float* sums, long sums_row, bool is_added) {
  static_assert(ROWS * COLUMNS <= 4 && COLUMNS <= 2);
  constexpr int kLeft = 4, kLefts = COLUMNS == 1 ? 3 : 2, kLastRight = 7, kValueBytes = sizeof(uint16_t);
  const auto for_each_sum = [&](const auto& visit) {
    for_each<ROWS>([&](auto r) {
      for_each<COLUMNS>([&](auto c) {
        visit(std::integral_constant<int, r * COLUMNS + c>{}, sums + r * kTile * sums_row + c * kTile);
      });
    });
  };
  const long sums_bytes = sums_row * static_cast<long>(sizeof(float));
  if (is_added) {
    for_each_sum([&](auto i, float* tile) { load_tile<i>(tile, sums_bytes); });
  } else {
    for_each_sum([](auto i, float*) { clear_tile<i>(); });
  }
  // Copies: the tiles' instructions tell the compiler that all memory may have changed.
  const uint16_t *lefts = a.data, *right = b.data;
  const long left_row = a.row, left_tap = a.tap, right_row = b.row, right_depth = b.depth, right_column = b.column;
  const long taps = b.taps, depths = b.depths;
  for (long tap = 0; tap < taps; tap++) {
    const uint16_t* left = lefts + tap * left_tap;
    for (long depth = 0; depth < depths; depth++, left += kTileDepth, right += right_depth) {
      for_each<COLUMNS>([&](auto c) { load_tile<kLastRight - c>(right + c * right_column, right_row * kValueBytes); });
      for_each<ROWS>([&](auto r) {
        constexpr int kRow = r, kA = kLeft + kRow % kLefts;
        load_tile<kA>(left + kRow * kTile * left_row, left_row * kValueBytes);
        for_each<COLUMNS>([](auto c) { add_product<kRow * COLUMNS + c, kA, kLastRight - c>(); });
      });
    }
  }
  for_each_sum([&](auto i, float* tile) { store_tile<i>(tile, sums_bytes); });
}

using MultiplyTiles = void (*)(const LeftTiles&, const RightTiles&, float* sums, long sums_row, bool is_added);
constexpr MultiplyTiles kOneColumn[] = {multiply_tiles<1, 1>, multiply_tiles<2, 1>, multiply_tiles<3, 1>,
                                        multiply_tiles<4, 1>};
constexpr MultiplyTiles kTwoColumns[] = {multiply_tiles<1, 2>, multiply_tiles<2, 2>};

void multiply_all(const LeftTiles& a, long rows, const RightTiles& b, long columns, float* sums, long sums_row,
                  bool is_added) {
  const long row_tiles = (rows + kTile - 1) / kTile, column_tiles = (columns + kTile - 1) / kTile;
  for (long column = 0; column < column_tiles; column += 2) {
    const bool is_alone = column + 1 == column_tiles;
    RightTiles right = b;
    right.data += column * b.column;
    for (long row = 0; row < row_tiles; row += is_alone ? 4 : 2) {
      const LeftTiles left{a.data + row * kTile * a.row, a.row, a.tap};
      const long left_over = row_tiles - row;
      const MultiplyTiles tiles =
          is_alone ? kOneColumn[std::min(left_over, 4L) - 1] : kTwoColumns[std::min(left_over, 2L) - 1];
      tiles(left, right, sums + row * kTile * sums_row + column * kTile, sums_row, is_added);
    }
  }
}

// Words of kTile values at `first` and at `second`.
__m512i pairs_of(const uint16_t* first, const uint16_t* second) {
  typedef uint16_t Halves __attribute__((vector_size(2 * kTile), aligned(2), may_alias));
  typedef uint32_t Words __attribute__((vector_size(4 * kTile)));
  const auto words = [](const uint16_t* p) {
    return __builtin_convertvector(*reinterpret_cast<const Halves*>(p), Words);
  };
  return (__m512i)(words(first) | words(second) << 16);
}

}  // namespace

void request_tiles() {
  if (!request_tile_registers()) {
    throw std::runtime_error(std::string("the operating system does not grant AMX: ") + std::strerror(errno));
  }
}

TileRegisters::TileRegisters() : before_(tile_shapes()) {
  constexpr int kRegisters = 8;
  TileShapes shapes{};
  shapes.palette = 1;
  for (int i = 0; i < kRegisters; i++) {
    shapes.row_bytes[i] = kTileDepth * sizeof(uint16_t);
    shapes.rows[i] = kTile;
  }
  set_tile_shapes(shapes);
}

TileRegisters::~TileRegisters() { set_tile_shapes(before_); }

void multiply(const LeftTiles& a, long rows, const RightTiles& b, long columns, float* sums, long sums_row) {
  multiply_all(a, rows, b, columns, sums, sums_row, false);
}

void accumulate(const LeftTiles& a, long rows, const RightTiles& b, long columns, float* sums, long sums_row) {
  multiply_all(a, rows, b, columns, sums, sums_row, true);
}

void transpose(const uint16_t* in, long in_row, long pixels, int channels, uint16_t* out, long out_row) {
  for (int c = 0; c < channels; c += kTile) {
    for (long p = 0; p < pixels; p += kTileDepth) {
      Vec words[kTile];
      for (int i = 0; i < kTile; i++) {
        const uint16_t* pair = in + (p + 2 * i) * in_row + c;
        words[i] = (Vec)pairs_of(pair, pair + in_row);
      }
      transpose_square(words);
      for (int i = 0; i < kTile; i++) std::memcpy(out + (c + i) * out_row + p, &words[i], sizeof words[i]);
    }
  }
}

}  // namespace densenet

#endif
