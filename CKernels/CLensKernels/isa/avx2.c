// avx2.c: the generic bodies for AVX2 with FMA and float16 conversion (F16C), which every processor with AVX2 has but an
// emulator may not: this set is then not runnable. Same bits as AVX-512.
#include "lens_isa.h"

#if defined(__x86_64__)

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
#pragma clang attribute pop

static bool runnable(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

const lens_isa lens_isa_avx2 = LENS_ISA_TABLE("avx2");

#endif
