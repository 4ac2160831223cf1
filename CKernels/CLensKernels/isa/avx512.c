// AVX-512 (F, BW, DQ, VL): thirty-two registers of sixteen lanes.
#include "lens_isa.h"
#if defined(__x86_64__)

static bool runnable(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#define LENS_FN(name) name##_avx512
#define LENS_HAS_FMA 1
#define LENS_TILE_ROWS 6
#define LENS_TILE_VECTORS(rows) 4
#define LENS_ISA_TABLE lens_isa_avx512
#define LENS_ISA_NAME "avx512"
#define LENS_ISA_RUNNABLE runnable
#include "all_rows.h"
#pragma clang attribute pop

#else
typedef int lens_avx512_is_for_x86;
#endif
