// transpose_rows.h: small matrices the other way round, on their way into a product that sums over the other axis.
#ifndef LENS_TRANSPOSE_ROWS_H
#define LENS_TRANSPOSE_ROWS_H

// Sixteen rows of sixteen: pairs of lanes, pairs of those, then quarters of vectors trade places.
#define LENS_MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

LENS_INLINE void transpose_16(const float *src, int64_t ld_src, float *dst, int64_t ld_dst) {
  v16 a[16], b[16];
  for (int i = 0; i < 16; i++) a[i] = load(src + i * ld_src);
  for (int i = 0; i < 16; i += 2) {
    b[i] = LENS_MIX(a[i], a[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    b[i + 1] = LENS_MIX(a[i], a[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  }
  for (int i = 0; i < 16; i += 4) // a[i + j]: column j of each quarter, of rows i ..< i + 4
    for (int j = 0; j < 2; j++) {
      a[i + 2 * j] = LENS_MIX(b[i + j], b[i + j + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      a[i + 2 * j + 1] = LENS_MIX(b[i + j], b[i + j + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  for (int j = 0; j < 4; j++) { // quarters q of a[j], a[4 + j], a[8 + j], a[12 + j] are column 4 q + j
    const v16 low = LENS_MIX(a[j], a[4 + j], 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const v16 high = LENS_MIX(a[j], a[4 + j], 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    const v16 low2 = LENS_MIX(a[8 + j], a[12 + j], 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const v16 high2 = LENS_MIX(a[8 + j], a[12 + j], 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    store(dst + j * ld_dst, LENS_MIX(low, low2, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
    store(dst + (4 + j) * ld_dst, LENS_MIX(low, low2, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
    store(dst + (8 + j) * ld_dst, LENS_MIX(high, high2, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
    store(dst + (12 + j) * ld_dst, LENS_MIX(high, high2, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
  }
}

/// A corner of less: the rest of what is written is zeros.
static __attribute__((noinline)) void transpose_corner(int64_t rows, int64_t columns, const float *src, int64_t ld_src,
                                                       float *dst, int64_t ld_dst) {
  _Alignas(64) float from[LENS_LANES * LENS_LANES], to[LENS_LANES * LENS_LANES];
  for (int64_t i = 0; i < LENS_LANES; i++)
    store(from + i * LENS_LANES, i < rows ? load_row(src + i * ld_src, columns) : splat(0.0f));
  transpose_16(from, LENS_LANES, to, LENS_LANES);
  for (int64_t j = 0; j < LENS_LANES && j < columns; j++) store(dst + j * ld_dst, load(to + j * LENS_LANES));
}

/// dst[columns][rows] (row stride ld_dst) from src[rows][columns] (ld_src). The last vector of a row of dst is filled with
/// zeros: ld_dst has room for it.
static void transpose(int64_t rows, int64_t columns, const float *src, int64_t ld_src, float *dst, int64_t ld_dst) {
  for (int64_t i = 0; i < rows; i += LENS_LANES)
    for (int64_t j = 0; j < columns; j += LENS_LANES) {
      const float *from = src + i * ld_src + j;
      float *to = dst + j * ld_dst + i;
      if (rows - i >= LENS_LANES && columns - j >= LENS_LANES) {
        transpose_16(from, ld_src, to, ld_dst);
      } else {
        transpose_corner(rows - i, columns - j, from, ld_src, to, ld_dst);
      }
    }
}

#endif
