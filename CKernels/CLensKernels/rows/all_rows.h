// Every row body, then the table. An isa/*.c file includes this once inside its region, having defined LENS_FN (the suffix
// of its functions), LENS_HAS_FMA, LENS_TILE_ROWS, LENS_TILE_VECTORS and LENS_ISA_TABLE, LENS_ISA_NAME, LENS_ISA_RUNNABLE.
#include "vector_rows.h"

#include "math_rows.h"

#include "product_rows.h"

#include "linear_rows.h"

#include "elementwise_rows.h"

#include "softmax_rows.h"

#include "attention_rows.h"

const lens_isa LENS_ISA_TABLE = {
    .name = LENS_ISA_NAME,
    .runnable = LENS_ISA_RUNNABLE,
    .linear = LENS_FN(linear),
    .norm = LENS_FN(norm),
    .affine = LENS_FN(affine),
    .activation = LENS_FN(activation),
    .gated = LENS_FN(gated),
    .add = LENS_FN(add),
    .scale = LENS_FN(scale),
    .sum_parts = LENS_FN(sum_parts),
    .softmax = LENS_FN(softmax),
    .log_softmax = LENS_FN(log_softmax),
    .cross_entropy = LENS_FN(cross_entropy),
    .rotary = LENS_FN(rotary),
    .attend = LENS_FN(attend),
};
