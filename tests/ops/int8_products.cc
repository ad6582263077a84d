// Sums of products of 8-bit integers (base/int8.h) beside the same one by one: prints how many differ, and of how many.
// The weights are as extreme as the engine lets in. test_int8.py compiles it for several instruction sets.
#include <immintrin.h>

#include <cstdio>
#include <cstring>
#include <vector>

#ifdef EMULATED_AVX_VNNI
#define __AVXVNNI__ 1
static __m256i dpbusd(__m256i sums, __m256i activations, __m256i weights) {
  unsigned char left[32];
  signed char right[32];
  int to[8];
  std::memcpy(to, &sums, sizeof to);
  std::memcpy(left, &activations, sizeof left);
  std::memcpy(right, &weights, sizeof right);
  for (int i = 0; i < 32; i++) to[i / 4] += left[i] * right[i];
  std::memcpy(&sums, to, sizeof to);
  return sums;
}
#define _mm256_dpbusd_avx_epi32(sums, a, b) dpbusd(sums, a, b)
#endif

#include "base/int8.h"

using namespace densenet;

namespace {

unsigned state = 1;
int random_below(int limit) {
  state = state * 1664525u + 1013904223u;
  return static_cast<int>(state >> 8) % limit;
}

// Weights of eight inputs: of 0, 1, 4, 5 and of 2, 3, 6, 7 no more than 128 of one sign.
void fill_eight(signed char* weights, int count) {
  static const signed char kFours[][4] = {{127, 1, -128, 0},    {-128, 127, 1, 0}, {64, 64, -64, -64}, {32, 32, 32, 32},
                                          {-32, -32, -32, -32}, {0, -127, 0, -1},  {1, 0, 127, 0},     {-1, 2, -3, 4}};
  for (int half = 0; half < 2; half++) {
    const signed char* four = kFours[random_below(8)];
    const int at[] = {2 * half, 2 * half + 1, 2 * half + 4, 2 * half + 5};
    for (int i = 0; i < 4; i++) {
      if (at[i] < count) weights[at[i]] = four[i];
    }
  }
}

// Sums over `depth` inputs for kLanes outputs.
void compare(int depth, long& wrong, long& all) {
  const int steps = (depth + Int8::kDepth - 1) / Int8::kDepth;
  std::vector<unsigned char> a(static_cast<size_t>(steps) *
                               Int8::kDepth);  // what lies behind the inputs counts nothing
  for (unsigned char& value : a) value = static_cast<unsigned char>(random_below(3) ? random_below(256) : 255);
  std::vector<signed char> weights(static_cast<size_t>(kLanes) * depth);
  for (int column = 0; column < kLanes; column++) {
    for (int k = 0; k < depth; k += Int8::kDepth) fill_eight(&weights[column * depth + k], depth - k);
  }
  constexpr int kStep = kLanes * Int8::kDepth;
  std::vector<unsigned char> packed(static_cast<size_t>(steps) * kStep);
  const ByWeights source{[&](int, int k, int column) { return weights[column * depth + k]; }};
  source.square<Int8>(0, 0, 0, depth, steps, packed.data(), kStep);
  Int8::Sums sums{};
  for (int step = 0; step < steps; step++) {
    sums = Int8::product(sums, &a[step * Int8::kDepth], Int8::load_operand(&packed[step * kStep]));
  }
  const Vec found = Int8::to_floats(sums);
  for (int column = 0; column < kLanes; column++) {
    int sum = 0;
    for (int k = 0; k < depth; k++) sum += a[k] * weights[column * depth + k];
    wrong += found[column] != static_cast<float>(sum), all++;
  }
}

// Rounded to the nearest, ties to even, and no more than 255.
void store_all(long& wrong, long& all) {
  for (int i = 0; i < 4 * 256; i++) {
    const float value = static_cast<float>(i) / 4;
    unsigned char stored[kLanes];
    Int8::store_values(stored, Vec{} + value, kLanes);
    const int down = i / 4, quarters = i % 4;
    const int expected = down + (quarters == 3 || (quarters == 2 && down % 2));
    for (const unsigned char one : stored) wrong += one != (expected > 255 ? 255 : expected), all++;
  }
  for (const float value : {255.1f, 1e9f, 3e38f, __builtin_inff(), __builtin_nanf("")}) {
    unsigned char stored[kLanes];
    Int8::store_values(stored, Vec{} + value, kLanes);
    for (const unsigned char one : stored) wrong += one != 255, all++;
  }
}

}  // namespace

int main() {
  long wrong = 0, all = 0;
  for (int time = 0; time < 1000; time++) {
    for (const int depth : {1, 8, 13, 1000}) compare(depth, wrong, all);
  }
  store_all(wrong, all);
  std::printf("%ld of %ld differ\n", wrong, all);
}
