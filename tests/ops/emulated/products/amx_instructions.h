// As src/ops/cpp/products/amx_instructions.h, with memory for tile registers.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "immintrin.h"

namespace densenet {

struct alignas(64) TileShapes {
  uint8_t palette, first_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

inline thread_local TileShapes shapes_of_tiles{};
inline thread_local char tiles[8][16][64];

inline TileShapes tile_shapes() { return shapes_of_tiles; }
inline void set_tile_shapes(const TileShapes& shapes) { shapes_of_tiles = shapes; }

// As the instructions, which fault on registers without a shape. All of the kernels' tiles are whole.
inline void need_shape(int number) {
  if (shapes_of_tiles.palette != 1 || shapes_of_tiles.rows[number] != 16 || shapes_of_tiles.row_bytes[number] != 64) {
    std::abort();
  }
}

template <int REGISTER>
void clear_tile() {
  need_shape(REGISTER);
  std::memset(tiles[REGISTER], 0, sizeof tiles[REGISTER]);
}
template <int REGISTER>
void load_tile(const void* data, long row_bytes) {
  need_shape(REGISTER);
  for (int row = 0; row < 16; row++)
    std::memcpy(tiles[REGISTER][row], static_cast<const char*>(data) + row * row_bytes, 64);
}
template <int REGISTER>
void store_tile(void* data, long row_bytes) {
  need_shape(REGISTER);
  for (int row = 0; row < 16; row++) std::memcpy(static_cast<char*>(data) + row * row_bytes, tiles[REGISTER][row], 64);
}
template <int SUMS, int A, int B>
void add_product() {
  for (int i = 0; i < 16; i++) {
    float sums[16];
    uint16_t a[32];
    std::memcpy(sums, tiles[SUMS][i], 64);
    std::memcpy(a, tiles[A][i], 64);
    for (int k = 0; k < 16; k++) {
      uint16_t b[32];
      std::memcpy(b, tiles[B][k], 64);
      for (int j = 0; j < 16; j++) {
        sums[j] += emulated::from_bf16(a[2 * k]) * emulated::from_bf16(b[2 * j]);
        sums[j] += emulated::from_bf16(a[2 * k + 1]) * emulated::from_bf16(b[2 * j + 1]);
      }
    }
    std::memcpy(tiles[SUMS][i], sums, 64);
  }
}

inline bool request_tile_registers() { return true; }

}  // namespace densenet
