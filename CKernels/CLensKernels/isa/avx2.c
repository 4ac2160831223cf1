// AVX2 with fused multiply-add: sixteen registers of eight lanes.
#include "lens_isa.h"
#if defined(__x86_64__)

static bool runnable(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define LENS_FN(name) name##_avx2
#define LENS_HAS_FMA 1
#define LENS_TILE_ROWS 6
// A vector of sixteen takes two registers: at most twelve for sums.
#define LENS_TILE_VECTORS(rows) ((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)
#define LENS_ISA_TABLE lens_isa_avx2
#define LENS_ISA_NAME "avx2"
#define LENS_ISA_RUNNABLE runnable
#include "all_rows.h"
#pragma clang attribute pop

#else
typedef int lens_avx2_is_for_x86;
#endif
