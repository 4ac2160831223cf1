// avx512.c: the generic bodies for AVX-512 (F, BW, DQ, VL). Same bits as AVX2.
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
#pragma clang attribute pop

static bool runnable(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") &&
         __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

const lens_isa lens_isa_avx512 = LENS_ISA_TABLE("avx512");

#endif
