// avx512.c: the generic bodies for AVX-512 (F, BW, DQ, VL). Same bits as AVX2. A second set has the same functions, and VNNI
// for products of rounded activations, with the same bits again.
#include "lens_isa.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define LENS_HAS_FMA 1
#define LENS_HAS_HALF 1
#define LENS_TILE_ROWS 6
#define LENS_TILE_VECS(rows) 4 // 24 of 32 registers hold chains, a whole panel at a time
#define LENS_WEIGHT_VECS 4
#define LENS_CHAIN_VECS(rows) 4 // 16 of 32 registers hold chains
/// table[index % 16], lane by lane.
#define LENS_LOOKUP(table, index) ((v16)_mm512_permutexvar_ps((__m512i)(index), (__m512)(table)))

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#include "all_rows.h"

// Products of rounded activations: bytes as sixteen bits, even and odd ones apart, multiplied and added in pairs; exact.
#define LENS_INT8(name) int8_##name
#define LENS_INT8_TILE_ROWS 2 // 16 of 32 registers hold sums and chains, 8 weights
#define LENS_INT8_TILE_VECS 4
typedef struct { __m512i even, odd; } int8_dot_weights;
typedef struct { __m512i even, odd; } int8_dot_row;
LENS_INLINE int8_dot_weights int8_weights_of(u16 w) {
  return (int8_dot_weights){_mm512_and_si512((__m512i)w, _mm512_set1_epi16(255)), _mm512_srli_epi16((__m512i)w, 8)};
}
LENS_INLINE int8_dot_row int8_row_of(int32_t x) {
  const __m512i all = _mm512_set1_epi32(x);
  return (int8_dot_row){_mm512_srai_epi16(_mm512_slli_epi16(all, 8), 8), _mm512_srai_epi16(all, 8)};
}
LENS_INLINE i16 int8_dot_add(i16 sum, int8_dot_weights w, int8_dot_row x) {
  return sum + (i16)_mm512_madd_epi16(w.even, x.even) + (i16)_mm512_madd_epi16(w.odd, x.odd);
}
#include "int8_rows.h"
#pragma clang attribute pop

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
                             apply_to = function)
#define LENS_INT8(name) vnni_##name
#define LENS_INT8_TILE_ROWS 3 // 24 of 32 registers hold sums and chains
#define LENS_INT8_TILE_VECS 4
typedef __m512i vnni_dot_weights, vnni_dot_row;
LENS_INLINE vnni_dot_weights vnni_weights_of(u16 w) { return (__m512i)w; }
LENS_INLINE vnni_dot_row vnni_row_of(int32_t x) { return _mm512_set1_epi32(x); }
LENS_INLINE i16 vnni_dot_add(i16 sum, vnni_dot_weights w, vnni_dot_row x) {
  return (i16)_mm512_dpbusd_epi32((__m512i)sum, w, x);
}
#include "int8_rows.h"
#pragma clang attribute pop

static bool runnable(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static bool vnni_runnable(void) { return runnable() && __builtin_cpu_supports("avx512vnni"); }

const lens_isa lens_isa_avx512 = LENS_ISA_TABLE("avx512", runnable, int8_panel);
const lens_isa lens_isa_avx512vnni = LENS_ISA_TABLE("avx512vnni", vnni_runnable, vnni_panel);

#endif
