// lens_formats.h: where things are in a packed panel of each format. Shared by the driver that writes panels and by the
// row kernels that read them.
//
// A panel is a row of blocks: the block of rows [b * rows, (b + 1) * rows) starts at b * bytes * LENS_PANEL. Inside it the
// bytes of ggml's own block stand transposed, so that sixteen columns are one vector load and nothing is larger than in
// the file:
//   float32 and its halves:   one element of each column                                     [LENS_PANEL]
//   quantised: first the block's float16 scales, one after another,                  uint16_t[scales][LENS_PANEL]
//   then the rest of its bytes in order, in units of 4 (Q8_0: 1): unit u of column c  uint32_t[units][LENS_PANEL]
#ifndef LENS_FORMATS_H
#define LENS_FORMATS_H
#include "lens_kernels.h"

/// One format, as its block lies in a file of ggml's.
typedef struct {
  int16_t rows;      // k values in a block
  int16_t bytes;     // of one column's block
  int16_t scales;    // float16 fields
  int16_t scales_at; // where they begin in ggml's block; the rest is what comes before and after
  int16_t unit;      // bytes that stay together
} lens_layout;

static const lens_layout lens_layouts[LENS_FORMAT_COUNT] = {
    [LENS_FORMAT_F32] = {1, 4, 0, 0, 4},       [LENS_FORMAT_BF16] = {1, 2, 0, 0, 2},
    [LENS_FORMAT_F16] = {1, 2, 0, 0, 2},       [LENS_FORMAT_Q8_0] = {32, 34, 1, 0, 1},
    [LENS_FORMAT_Q4_0] = {32, 18, 1, 0, 4},    [LENS_FORMAT_Q4_1] = {32, 20, 2, 0, 4},
    [LENS_FORMAT_Q5_0] = {32, 22, 1, 0, 4},    [LENS_FORMAT_Q5_1] = {32, 24, 2, 0, 4},
    [LENS_FORMAT_Q2_K] = {256, 84, 2, 80, 4},  [LENS_FORMAT_Q3_K] = {256, 110, 1, 108, 4},
    [LENS_FORMAT_Q4_K] = {256, 144, 2, 0, 4},  [LENS_FORMAT_Q5_K] = {256, 176, 2, 0, 4},
    [LENS_FORMAT_Q6_K] = {256, 210, 1, 208, 4},
};

/// Bytes of a panel of k rows.
static inline int64_t lens_panel_bytes(lens_format format, int64_t k) {
  return k / lens_layouts[format].rows * lens_layouts[format].bytes * LENS_PANEL;
}

#endif
