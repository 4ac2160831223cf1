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

// Products of rounded activations, byte by byte.
#define LENS_INT8(name) int8_##name
#define LENS_INT8_TILE_ROWS 2
#define LENS_INT8_TILE_VECS 1
typedef struct { i16 byte[4]; } int8_dot_weights;
typedef struct { int32_t byte[4]; } int8_dot_row;
LENS_INLINE int8_dot_weights int8_weights_of(u16 w) {
  int8_dot_weights ready;
  for (uint32_t i = 0; i < 4; i++) ready.byte[i] = (i16)(w >> (8 * i) & 255u);
  return ready;
}
LENS_INLINE int8_dot_row int8_row_of(int32_t x) {
  const uint32_t bits = (uint32_t)x;
  return (int8_dot_row){{(int8_t)bits, (int8_t)(bits >> 8), (int8_t)(bits >> 16), (int8_t)(bits >> 24)}};
}
LENS_INLINE i16 int8_dot_add(i16 sum, int8_dot_weights w, int8_dot_row x) {
  for (int i = 0; i < 4; i++) sum += w.byte[i] * x.byte[i];
  return sum;
}
#include "int8_rows.h"

static bool runnable(void) { return true; }

const lens_isa lens_isa_portable = LENS_ISA_TABLE("portable", runnable, int8_panel);
