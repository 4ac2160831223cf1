// The micro-kernel: `mr` rows times nv·16 columns, one multiply-add chain over k for each element. Every product in the
// package (linear layers, scores, pattern times values) is this body, so tiles of any shape give the same bits.

/// sums[i][j] = Σ_k x[i·ld_x + k] · panel[k·ld_panel + 16j ..], from zero, k ascending. mr ≤ 6, nv ≤ 4, constants at each
/// place of use, so that the sums live in registers.
LENS_INLINE void multiply_tile(const int mr, const int nv, int64_t count, const float *x, int64_t ld_x, const float *panel,
                               int64_t ld_panel, v16 sums[6][4]) {
  v16 acc[6][4];
#pragma clang loop unroll(full)
  for (int i = 0; i < mr; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < nv; j++) acc[i][j] = splat16(0.0f);
  for (int64_t k = 0; k < count; k++) {
    v16 column[4];
#pragma clang loop unroll(full)
    for (int j = 0; j < nv; j++) column[j] = load16(panel + k * ld_panel + 16 * j);
#pragma clang loop unroll(full)
    for (int i = 0; i < mr; i++) {
      v16 a = splat16(x[i * ld_x + k]);
#pragma clang loop unroll(full)
      for (int j = 0; j < nv; j++) acc[i][j] = fma16(a, column[j], acc[i][j]);
    }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < mr; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < nv; j++) sums[i][j] = acc[i][j];
}

/// One block's sums into the totals: the first block starts them.
LENS_INLINE void multiply_into(const int mr, const int nv, int64_t count, const float *x, int64_t ld_x, const float *panel,
                               int64_t ld_panel, bool starts, float *total, int64_t ld_total) {
  v16 sums[6][4];
  multiply_tile(mr, nv, count, x, ld_x, panel, ld_panel, sums);
#pragma clang loop unroll(full)
  for (int i = 0; i < mr; i++)
#pragma clang loop unroll(full)
    for (int j = 0; j < nv; j++) {
      float *place = total + i * ld_total + 16 * j;
      store16(place, starts ? sums[i][j] : load16(place) + sums[i][j]);
    }
}

/// `mr` rows over `nv` vectors of columns, as tiles that fit this instruction set's registers.
LENS_INLINE void multiply_rows(const int mr, int nv, int64_t count, const float *x, int64_t ld_x, const float *panel,
                               int64_t ld_panel, bool starts, float *total, int64_t ld_total) {
  const int step = LENS_TILE_VECTORS(mr);
  int j = 0;
  for (; j + step <= nv; j += step)
    multiply_into(mr, step, count, x, ld_x, panel + 16 * j, ld_panel, starts, total + 16 * j, ld_total);
  for (; j < nv; j++) multiply_into(mr, 1, count, x, ld_x, panel + 16 * j, ld_panel, starts, total + 16 * j, ld_total);
}

/// Any number of rows.
static void multiply_block(int64_t rows, int nv, int64_t count, const float *x, int64_t ld_x, const float *panel,
                           int64_t ld_panel, bool starts, float *total, int64_t ld_total) {
  int64_t i = 0;
  for (; i + LENS_TILE_ROWS <= rows; i += LENS_TILE_ROWS)
    multiply_rows(LENS_TILE_ROWS, nv, count, x + i * ld_x, ld_x, panel, ld_panel, starts, total + i * ld_total, ld_total);
  const float *rest = x + i * ld_x;
  float *end = total + i * ld_total;
  switch (rows - i) {
  case 1: multiply_rows(1, nv, count, rest, ld_x, panel, ld_panel, starts, end, ld_total); break;
#if LENS_TILE_ROWS > 2
  case 2: multiply_rows(2, nv, count, rest, ld_x, panel, ld_panel, starts, end, ld_total); break;
  case 3: multiply_rows(3, nv, count, rest, ld_x, panel, ld_panel, starts, end, ld_total); break;
  case 4: multiply_rows(4, nv, count, rest, ld_x, panel, ld_panel, starts, end, ld_total); break;
  case 5: multiply_rows(5, nv, count, rest, ld_x, panel, ld_panel, starts, end, ld_total); break;
#endif
  default: break;
  }
}
