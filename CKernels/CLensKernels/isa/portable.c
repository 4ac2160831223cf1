// Plain C for any processor: no fused multiply-add, whatever vectors the compiler's baseline has.
#include "lens_isa.h"

static bool runnable(void) { return true; }

#define LENS_FN(name) name##_portable
#define LENS_HAS_FMA 0
#define LENS_TILE_ROWS 2
#define LENS_TILE_VECTORS(rows) ((rows) == 1 ? 2 : 1)
#define LENS_ISA_TABLE lens_isa_portable
#define LENS_ISA_NAME "portable"
#define LENS_ISA_RUNNABLE runnable
#include "all_rows.h"
