// lens_keep.h: float32 values into the formats weights are kept in. Rounding and quantising, one tile of a panel at a time.
#ifndef LENS_KEEP_H
#define LENS_KEEP_H
#include <math.h>
#include <string.h>

#include "lens_formats.h"

/// To float32, towards zero, the last bit set where that was not exact. Rounding this to fewer bits gives what rounding the
/// double would have given.
static inline float lens_odd_of_double(double wide) {
  float value = (float)wide;
  if ((double)value == wide || wide != wide) return value;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (fabs((double)value) > fabs(wide)) bits--;
  bits |= 1u;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/// Writes rows k ..< k + rows of columns begin ..< end of a panel that is not float32 from tile[rows][LENS_PANEL].
/// Quantised formats (Q8_0, Q4_0): k and rows are multiples of 32.
void lens_keep_tile(lens_format format, char *panel, int64_t k, int64_t rows, int64_t begin, int64_t end,
                    const float *tile);

/// One column's block between ggml's order and a panel's: `block` points at the panel's block.
void lens_place_block(lens_format format, char *block, int64_t column, const uint8_t *from);
void lens_take_block(lens_format format, const char *block, int64_t column, uint8_t *to);

#endif
