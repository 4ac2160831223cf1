// all_rows.h: every generic body, and the table that names them. An isa/*.c file sets the LENS_… macros, opens its target
// region, includes this, closes the region, and fills its table with LENS_ISA_TABLE.
#ifndef LENS_ALL_ROWS_H
#define LENS_ALL_ROWS_H

#include "lanes_rows.h"

#include "exp_rows.h"

#include "act_rows.h"

#include "product_rows.h"

#include "weight_rows.h"

#include "finish_rows.h"

#include "linear_rows.h"

#include "int8_weights_rows.h" // int8_rows.h, which multiplies what this makes, is the isa/*.c file's own to include
#include "norm_rows.h"
#include "rotary_rows.h"
#include "softmax_rows.h"
#include "transpose_rows.h"

#include "attention_gradient_rows.h"

#include "training_rows.h"
#include "act_backward_rows.h"
#include "arithmetic_rows.h"
#include "norm_backward_rows.h" // after softmax_rows.h

/// RUNNABLE: whether the machine has what is used; INT8_PANEL: one of int8_rows.h.
#define LENS_ISA_TABLE(NAME, RUNNABLE, INT8_PANEL)                                                                  \
  {                                                                                                                 \
    .name = NAME, .runnable = RUNNABLE, .tile_rows = LENS_TILE_ROWS, .product = product,                            \
    .product_fetching = product_fetching, .product_ragged = product_ragged,                                         \
    .expand = expand, .linear_panel = linear_panel, .round_row = round_row, .int8_panel = INT8_PANEL,               \
    .activation = activation_row, .xielu = xielu_row,                                                               \
    .gated = gated_row, .clamped_gate = clamped_gate_row, .add_weighted = add_weighted_row,                         \
    .scale = scale_row, .sum_parts_row = sum_parts_row, .norm_row = norm_row, .affine_row = affine_row,             \
    .softmax_row = softmax_row, .log_softmax_row = log_softmax_row, .cross_entropy_row = cross_entropy_row,         \
    .rotary_row = rotary_row, .score_rows = score_rows, .pattern_rows = pattern_rows,                                   \
    .transpose = transpose, .pattern_gradient_row = pattern_gradient_row,                                           \
    .softcap_gradient_row = softcap_gradient_row, .dot_row = dot_row,                                               \
    .adam = adam_row, .sgd = sgd_row, .square_sum = square_sum_row, .log_sum_exp_double = log_sum_exp_double_row,   \
    .cross_entropy_double_gradient = cross_entropy_double_gradient_row,                                             \
    .activation_backward = activation_backward_row, .gated_backward = gated_backward_row,                           \
    .clamped_gate_backward = clamped_gate_backward_row, .xielu_backward = xielu_backward_row,                       \
    .norm_backward_row = norm_backward_row, .affine_backward_row = affine_backward_row,                             \
    .softmax_backward_row = softmax_backward_row, .log_softmax_backward_row = log_softmax_backward_row,             \
    .cross_entropy_backward_row = cross_entropy_backward_row, .arithmetic_row = arithmetic_row, .map_row = map_row, \
    .clamp_row = clamp_row, .clamp_backward_row = clamp_backward_row, .sum_row = sum_row,                           \
    .sum_columns = sum_columns,                                                                                     \
  }

#endif
