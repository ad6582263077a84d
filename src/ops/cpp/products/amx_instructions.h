// The instructions of Intel's AMX. The registers' numbers are template arguments, for which GCC's intrinsics take
// literals only. tests/ops/emulated has the same for CPUs without them.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace densenet {

struct alignas(64) TileShapes {  // as LDTILECFG takes them
  uint8_t palette, first_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

inline TileShapes tile_shapes() {
  TileShapes shapes;
  asm volatile("sttilecfg %0" : "=m"(shapes));
  return shapes;
}
inline void set_tile_shapes(const TileShapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes)); }

template <int REGISTER>
void clear_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(REGISTER));
}
template <int REGISTER>
void load_tile(const void* data, long row_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(data), "r"(row_bytes), "i"(REGISTER) : "memory");
}
template <int REGISTER>
void store_tile(void* data, long row_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(data), "r"(row_bytes), "i"(REGISTER) : "memory");
}
template <int SUMS, int A, int B>
void add_product() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUMS), "i"(A), "i"(B));
}

// Asks Linux for the tile registers, for all threads and children of this process. Whether it grants them.
inline bool request_tile_registers() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace densenet
