// portable.c: the generic bodies for whatever the compiler targets by default. No fused multiply-add: a product rounds
// twice per step, so its bits differ from the other sets'.
#include "lens_isa.h"

#define LENS_HAS_FMA 0
#define LENS_HAS_HALF 0
#define LENS_TILE_ROWS 2
#define LENS_TILE_VECS(rows) ((rows) == 1 ? 2 : 1) // 8 of 16 registers hold chains
#define LENS_WEIGHT_VECS 1
#define LENS_CHAIN_VECS(rows) 1

#include "all_rows.h"

static bool runnable(void) { return true; }

const lens_isa lens_isa_portable = LENS_ISA_TABLE("portable");
