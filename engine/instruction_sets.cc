#include "instruction_sets.h"

#include <cstdint>
#include <cstdlib>
#include <vector>
#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "error.h"

// Which sets are compiled: a flag of the build for each. network.cc is compiled for each of them, in a namespace of its
// own.
#define DENSENET_DECLARE(set)           \
  namespace densenet_##set {            \
    deployed::MakeNetwork make_network; \
  }
#ifdef DENSENET_HAS_amx_bf16
DENSENET_DECLARE(amx_bf16)
#endif
#ifdef DENSENET_HAS_avx512_bf16
DENSENET_DECLARE(avx512_bf16)
#endif
#ifdef DENSENET_HAS_avx512_vnni
DENSENET_DECLARE(avx512_vnni)
#endif
#ifdef DENSENET_HAS_avx512
DENSENET_DECLARE(avx512)
#endif
#ifdef DENSENET_HAS_avx_vnni
DENSENET_DECLARE(avx_vnni)
#endif
#ifdef DENSENET_HAS_avx2
DENSENET_DECLARE(avx2)
#endif
#ifdef DENSENET_HAS_neon
DENSENET_DECLARE(neon)
#endif

namespace deployed {
namespace {

#ifdef __x86_64__
struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers found;
  if (!__get_cpuid_count(leaf, subleaf, &found.eax, &found.ebx, &found.ecx, &found.edx)) return {};
  return found;
}

bool has(uint32_t word, std::initializer_list<int> bits) {
  for (const int bit : bits) {
    if (!(word >> bit & 1)) return false;
  }
  return true;
}

// Whether the operating system saves these registers when it changes threads (XCR0).
bool saves(uint32_t wanted) {
  if (!has(cpuid(1, 0).ecx, {27})) return false;  // OSXSAVE
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & wanted) == wanted;
}

constexpr uint32_t kVectors = 0x6, kMasksAndWideVectors = 0xe0, kTiles = 0x60000;

// Bits as Intel's manual of the instruction CPUID has them; the sets are those of src/ops/cpu.py.
[[maybe_unused]] bool has_avx2() {
  return has(cpuid(7, 0).ebx, {5}) && has(cpuid(1, 0).ecx, {12, 28}) && saves(kVectors);
}
[[maybe_unused]] bool has_avx512() {  // F, DQ, BW, VL
  return has_avx2() && has(cpuid(7, 0).ebx, {16, 17, 30, 31}) && saves(kVectors | kMasksAndWideVectors);
}
[[maybe_unused]] bool has_avx_vnni() { return has_avx2() && has(cpuid(7, 1).eax, {4}); }
[[maybe_unused]] bool has_avx512_vnni() { return has_avx512() && has(cpuid(7, 0).ecx, {11}); }
[[maybe_unused]] bool has_avx512_bf16() { return has_avx512_vnni() && has(cpuid(7, 1).eax, {5}); }
[[maybe_unused]] bool has_amx_bf16() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return has_avx512_bf16() && has(cpuid(7, 0).edx, {22, 24}) && saves(kTiles) &&
         syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}
#else
[[maybe_unused]] bool has_neon() { return true; }
#endif

#define DENSENET_SET(set, has_bf16) {#set, has_bf16, has_##set, densenet_##set::make_network},
const std::vector<InstructionSet>& compiled() {
  static const std::vector<InstructionSet> sets = {
#ifdef DENSENET_HAS_amx_bf16
      DENSENET_SET(amx_bf16, true)
#endif
#ifdef DENSENET_HAS_avx512_bf16
          DENSENET_SET(avx512_bf16, true)
#endif
#ifdef DENSENET_HAS_avx512_vnni
              DENSENET_SET(avx512_vnni, false)
#endif
#ifdef DENSENET_HAS_avx512
                  DENSENET_SET(avx512, false)
#endif
#ifdef DENSENET_HAS_avx_vnni
                      DENSENET_SET(avx_vnni, false)
#endif
#ifdef DENSENET_HAS_avx2
                          DENSENET_SET(avx2, false)
#endif
#ifdef DENSENET_HAS_neon
                              DENSENET_SET(neon, false)
#endif
  };
  return sets;
}

}  // namespace

const InstructionSet& choose_instruction_set() {
  const char* asked = std::getenv("DENSENET_KERNELS_ISA");
  std::string known, usable;
  for (const InstructionSet& set : compiled()) {
    known += std::string(known.empty() ? "" : ", ") + set.name;
    if (asked && *asked && std::string(asked) != set.name) continue;
    if (set.is_usable()) return set;
  }
  if (asked && *asked) {
    throw Error(std::string("DENSENET_KERNELS_ISA is '") + asked +
                "', which this CPU has not or this library, compiled for " + known + ", does not know; unset it");
  }
  throw Error("this CPU has none of the instruction sets that this library is compiled for (" + known + ")");
}

}  // namespace deployed
