// product_rows.h: the one micro-kernel behind every product: linear layers, attention scores, and values.
//
// A register tile is `rows` rows by `vecs` vectors of sixteen columns; each of its elements is one multiply-add chain in
// ascending k. How tall and wide a tile is never shows in the result, so each instruction set picks what fits its
// registers: LENS_TILE_ROWS and LENS_TILE_VECS(rows), set in isa/*.c.
#ifndef LENS_PRODUCT_ROWS_H
#define LENS_PRODUCT_ROWS_H

/// How many k ahead a panel is fetched: 6 KiB of a full-width tile. With few rows memory sets the pace, and a processor's
/// own prefetchers stop at page boundaries; measured +20 to +40 % at 2 to 16 rows, and nothing lost at hundreds.
#define LENS_PREFETCH 24

/// rows and vecs are constants at every call, so the loops over them unroll and `acc` lives in registers.
LENS_INLINE void product_tile(const int rows, const int vecs, const float *x, int64_t ld_x, int64_t count,
                              const float *w, int64_t ld_w, float *out, int64_t ld_out, lens_chain chain, lens_fetch fetch) {
  v16 acc[LENS_TILE_ROWS][4];
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++)
      acc[r][c] = chain == LENS_CHAIN_CONTINUE ? load(out + r * ld_out + c * LENS_LANES) : splat(0.0f);

  const char *next = fetch.from;
  const size_t ahead = fetch.rows ? (size_t)fetch.rows - (size_t)w : (size_t)(LENS_PREFETCH * ld_w) * sizeof *w;
  for (int64_t k = 0; k < count; k++, w += ld_w) {
    v16 column[4];
    for (int c = 0; c < vecs; c++) column[c] = load(w + c * LENS_LANES);
    if (fetch.from) {
      __builtin_prefetch(next);
      __builtin_prefetch(next + fetch.step / 2);
      next += fetch.step;
    } else {
      for (int c = 0; c < vecs; c++) __builtin_prefetch((const char *)((size_t)(w + c * LENS_LANES) + ahead));
    }
    for (int r = 0; r < rows; r++) {
      const v16 factor = splat(x[r * ld_x + k]);
      for (int c = 0; c < vecs; c++) acc[r][c] = LENS_FMA(factor, column[c], acc[r][c]);
    }
  }

  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++) {
      float *to = out + r * ld_out + c * LENS_LANES;
      store(to, chain == LENS_CHAIN_ADD ? load(to) + acc[r][c] : acc[r][c]);
    }
}

/// All columns of one group of rows: tiles as wide as the registers allow, then narrower ones.
LENS_INLINE void product_rows(const int rows, int64_t vecs, const float *x, int64_t ld_x, int64_t count, const float *w,
                              int64_t ld_w, float *out, int64_t ld_out, lens_chain chain, lens_fetch fetch) {
  const int wide = LENS_TILE_VECS(rows);
  int64_t c = 0;
  for (; c + wide <= vecs; c += wide) {
    product_tile(rows, wide, x, ld_x, count, w + c * LENS_LANES, ld_w, out + c * LENS_LANES, ld_out, chain, fetch);
    if (fetch.from) fetch.from += count * fetch.step; // narrow tiles share the work out
    if (fetch.rows) fetch.rows += wide * LENS_LANES;
  }
  if (wide > 2)
    for (; c + 2 <= vecs; c += 2) {
      product_tile(rows, 2, x, ld_x, count, w + c * LENS_LANES, ld_w, out + c * LENS_LANES, ld_out, chain, fetch);
      if (fetch.rows) fetch.rows += 2 * LENS_LANES;
    }
  for (; c < vecs; c++) {
    product_tile(rows, 1, x, ld_x, count, w + c * LENS_LANES, ld_w, out + c * LENS_LANES, ld_out, chain, fetch);
    if (fetch.rows) fetch.rows += LENS_LANES;
  }
}

/// Rows that do not all take part everywhere: row r's chain is over begin[r] ..< end[r], and zero where that is empty.
LENS_INLINE void ragged_tile(const int rows, const int vecs, const float *x, int64_t ld_x, const int64_t *begin, const int64_t *end,
                             const float *w, int64_t ld_w, float *out, int64_t ld_out) {
  v16 acc[LENS_TILE_ROWS][4];
  int64_t low = INT64_MAX, high = 0, common = 0, common_end = INT64_MAX;
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < vecs; c++) acc[r][c] = splat(0.0f);
    if (begin[r] < end[r] && begin[r] < low) low = begin[r];
    if (begin[r] < end[r] && end[r] > high) high = end[r];
    if (begin[r] > common) common = begin[r];
    if (end[r] < common_end) common_end = end[r];
  }
  if (common >= common_end) common = common_end = high; // nowhere do all take part
  const int64_t stops[4] = {low, common, common_end, high};
  for (int part = 0; part < 3; part++)
    for (int64_t k = stops[part]; k < stops[part + 1]; k++) {
      v16 column[4];
      for (int c = 0; c < vecs; c++) column[c] = load(w + k * ld_w + c * LENS_LANES);
      for (int r = 0; r < rows; r++) {
        if (part != 1 && (k < begin[r] || k >= end[r])) continue;
        const v16 factor = splat(x[r * ld_x + k]);
        for (int c = 0; c < vecs; c++) acc[r][c] = LENS_FMA(factor, column[c], acc[r][c]);
      }
    }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++) store(out + r * ld_out + c * LENS_LANES, acc[r][c]);
}

LENS_INLINE void ragged_rows(const int rows, int64_t vecs, const float *x, int64_t ld_x, const int64_t *begin, const int64_t *end,
                             const float *w, int64_t ld_w, float *out, int64_t ld_out) {
  const int wide = LENS_TILE_VECS(rows);
  int64_t c = 0;
  for (; c + wide <= vecs; c += wide)
    ragged_tile(rows, wide, x, ld_x, begin, end, w + c * LENS_LANES, ld_w, out + c * LENS_LANES, ld_out);
  for (; c < vecs; c++) ragged_tile(rows, 1, x, ld_x, begin, end, w + c * LENS_LANES, ld_w, out + c * LENS_LANES, ld_out);
}

// One function per height: kept out of line so that each gets the registers to itself.
#define LENS_PRODUCT_OF(ROWS)                                                                                       \
  static __attribute__((noinline)) void product_##ROWS(int64_t vecs, const float *x, int64_t ld_x, int64_t count,    \
                                                       const float *w, int64_t ld_w, float *out, int64_t ld_out,     \
                                                       lens_chain chain, lens_fetch fetch) {                         \
    product_rows(ROWS, vecs, x, ld_x, count, w, ld_w, out, ld_out, chain, fetch);                                    \
  }                                                                                                                 \
  static __attribute__((noinline)) void ragged_##ROWS(int64_t vecs, const float *x, int64_t ld_x, const int64_t *begin, \
                                                      const int64_t *end, const float *w, int64_t ld_w, float *out, \
                                                      int64_t ld_out) {                                             \
    ragged_rows(ROWS, vecs, x, ld_x, begin, end, w, ld_w, out, ld_out);                                              \
  }
LENS_PRODUCT_OF(1)
LENS_PRODUCT_OF(2)
#if LENS_TILE_ROWS >= 6
LENS_PRODUCT_OF(3)
LENS_PRODUCT_OF(4)
LENS_PRODUCT_OF(5)
LENS_PRODUCT_OF(6)
#endif

static void product_fetching(int64_t rows, int64_t vecs, const float *x, int64_t ld_x, int64_t count, const float *w,
                             int64_t ld_w, float *out, int64_t ld_out, lens_chain chain, lens_fetch fetch) {
  switch (rows) {
  case 1: product_1(vecs, x, ld_x, count, w, ld_w, out, ld_out, chain, fetch); break;
  case 2: product_2(vecs, x, ld_x, count, w, ld_w, out, ld_out, chain, fetch); break;
#if LENS_TILE_ROWS >= 6
  case 3: product_3(vecs, x, ld_x, count, w, ld_w, out, ld_out, chain, fetch); break;
  case 4: product_4(vecs, x, ld_x, count, w, ld_w, out, ld_out, chain, fetch); break;
  case 5: product_5(vecs, x, ld_x, count, w, ld_w, out, ld_out, chain, fetch); break;
  case 6: product_6(vecs, x, ld_x, count, w, ld_w, out, ld_out, chain, fetch); break;
#endif
  default: break; // callers give 1...tile_rows
  }
}

static void product(int64_t rows, int64_t vecs, const float *x, int64_t ld_x, int64_t count, const float *w,
                    int64_t ld_w, float *out, int64_t ld_out, lens_chain chain) {
  product_fetching(rows, vecs, x, ld_x, count, w, ld_w, out, ld_out, chain, (lens_fetch){NULL, 0, NULL});
}

static void product_ragged(int64_t rows, int64_t vecs, const float *x, int64_t ld_x, const int64_t *begin, const int64_t *end,
                           const float *w, int64_t ld_w, float *out, int64_t ld_out) {
  switch (rows) {
  case 1: ragged_1(vecs, x, ld_x, begin, end, w, ld_w, out, ld_out); break;
  case 2: ragged_2(vecs, x, ld_x, begin, end, w, ld_w, out, ld_out); break;
#if LENS_TILE_ROWS >= 6
  case 3: ragged_3(vecs, x, ld_x, begin, end, w, ld_w, out, ld_out); break;
  case 4: ragged_4(vecs, x, ld_x, begin, end, w, ld_w, out, ld_out); break;
  case 5: ragged_5(vecs, x, ld_x, begin, end, w, ld_w, out, ld_out); break;
  case 6: ragged_6(vecs, x, ld_x, begin, end, w, ld_w, out, ld_out); break;
#endif
  default: break;
  }
}

#endif
