// avx2.c: the generic bodies for AVX2 with FMA and float16 conversion (F16C), which every processor with AVX2 has but an
// emulator may not: this set is then not runnable. Same bits as AVX-512. A second set has the same functions, and VNNI for
// products of rounded activations.
#include "lens_isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define LENS_HAS_FMA 1
#define LENS_HAS_HALF 1
#define LENS_TILE_ROWS 6
// A vector is two ymm registers: 12 of 16 hold chains in the tall tiles. Few rows take wider tiles, so that a panel is
// read in long runs where memory sets the pace.
#define LENS_TILE_VECS(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)
#define LENS_WEIGHT_VECS 2 // 4 registers hold chains, 4 scales, 4 what is added to weights
#define LENS_CHAIN_VECS(rows) ((rows) == 1 ? 2 : 1)

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "all_rows.h"

// Products of rounded activations: bytes as sixteen bits, even and odd ones apart, multiplied and added in pairs; exact.
#define LENS_INT8(name) int8_##name
#define LENS_INT8_TILE_ROWS 2
#define LENS_INT8_TILE_VECS 1
typedef struct { __m256i even[2], odd[2]; } int8_dot_weights;
typedef struct { __m256i even, odd; } int8_dot_row;
typedef struct { __m256i half[2]; } int8_pair;
LENS_INLINE int8_dot_weights int8_weights_of(u16 w) {
  const int8_pair pair = __builtin_bit_cast(int8_pair, w);
  const __m256i mask = _mm256_set1_epi16(255);
  int8_dot_weights ready;
  for (int i = 0; i < 2; i++) {
    ready.even[i] = _mm256_and_si256(pair.half[i], mask);
    ready.odd[i] = _mm256_srli_epi16(pair.half[i], 8);
  }
  return ready;
}
LENS_INLINE int8_dot_row int8_row_of(int32_t x) {
  const __m256i all = _mm256_set1_epi32(x);
  return (int8_dot_row){_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8)};
}
LENS_INLINE i16 int8_dot_add(i16 sum, int8_dot_weights w, int8_dot_row x) {
  int8_pair pair = __builtin_bit_cast(int8_pair, sum);
  for (int i = 0; i < 2; i++) {
    pair.half[i] = _mm256_add_epi32(pair.half[i], _mm256_madd_epi16(w.even[i], x.even));
    pair.half[i] = _mm256_add_epi32(pair.half[i], _mm256_madd_epi16(w.odd[i], x.odd));
  }
  return __builtin_bit_cast(i16, pair);
}
#include "int8_rows.h"
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx2,avxvnni,fma,f16c"))), apply_to = function)
#define LENS_INT8(name) vnni_##name
#define LENS_INT8_TILE_ROWS 3 // 12 of 16 registers hold sums and chains
#define LENS_INT8_TILE_VECS 1
typedef int8_pair vnni_dot_weights;
typedef __m256i vnni_dot_row;
LENS_INLINE vnni_dot_weights vnni_weights_of(u16 w) { return __builtin_bit_cast(int8_pair, w); }
LENS_INLINE vnni_dot_row vnni_row_of(int32_t x) { return _mm256_set1_epi32(x); }
LENS_INLINE i16 vnni_dot_add(i16 sum, vnni_dot_weights w, vnni_dot_row x) {
  int8_pair pair = __builtin_bit_cast(int8_pair, sum);
  for (int i = 0; i < 2; i++) pair.half[i] = _mm256_dpbusd_avx_epi32(pair.half[i], w.half[i], x);
  return __builtin_bit_cast(i16, pair);
}
#include "int8_rows.h"
#pragma clang attribute pop

static bool runnable(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static bool vnni_runnable(void) { return runnable() && __builtin_cpu_supports("avxvnni"); }

const lens_isa lens_isa_avx2vnni = LENS_ISA_TABLE("avx2vnni", vnni_runnable, vnni_panel);
const lens_isa lens_isa_avx2 = LENS_ISA_TABLE("avx2", runnable, int8_panel);

#endif
