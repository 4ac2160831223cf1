// int8_rows.h: one task of lens_linear_int8: some rows times one panel. Included once for each way to multiply bytes, which the
// isa/*.c file defines:
//   LENS_INT8(name)       the functions' names
//   LENS_INT8_TILE_ROWS, LENS_INT8_TILE_VECS   a register tile: rows by vectors of sixteen columns
//   dot_weights, weights_of(u16)               sixteen columns' words of weights, made ready
//   dot_row, row_of(int32_t)                   a row's word of x, made ready
//   dot_add(i16, dot_weights, dot_row)         lane by lane: sum + Σ of the four products u · q, exact
//
// A group's products are summed exactly as integers. Then, each step one rounding and none fused, so that every set has the same
// bits: sum · a (+ b · Σq), times the row's scale, added to the chain.

LENS_INLINE void LENS_INT8(tile)(const int rows, const int vecs, const bool minimum, const int8_weights *w, int64_t column,
                                 int32_t zero, const lens_rounded *x, int64_t row, float *out, lens_chain mode) {
  const int32_t *words = x->words + row * x->ld_words, *sums = x->sums + row * x->ld_groups;
  const float *scales = x->scales + row * x->ld_groups;
  v16 total[LENS_INT8_TILE_ROWS][LENS_INT8_TILE_VECS];
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++)
      total[r][c] = mode == LENS_CHAIN_CONTINUE ? load(out + r * LENS_PANEL + c * LENS_LANES) : splat(0.0f);

  for (int32_t g = 0; g < w->groups; g++) {
    i16 sum[LENS_INT8_TILE_ROWS][LENS_INT8_TILE_VECS];
    for (int r = 0; r < rows; r++) { // Σ u q - zero Σ q
      const int32_t start = minimum ? 0 : -zero * sums[r * x->ld_groups + g];
      for (int c = 0; c < vecs; c++) sum[r][c] = (i16){0} + start;
    }
    for (int32_t word = w->first[g]; word < w->first[g + 1]; word++) {
      LENS_INT8(dot_weights) ready[LENS_INT8_TILE_VECS];
      for (int c = 0; c < vecs; c++)
        ready[c] = LENS_INT8(weights_of)(*(const words_unaligned *)(w->words[word] + column + c * LENS_LANES));
      for (int r = 0; r < rows; r++) {
        const LENS_INT8(dot_row) factor = LENS_INT8(row_of)(words[r * x->ld_words + word]);
        for (int c = 0; c < vecs; c++) sum[r][c] = LENS_INT8(dot_add)(sum[r][c], ready[c], factor);
      }
    }
    for (int c = 0; c < vecs; c++) {
      const v16 a = load(w->a[g] + column + c * LENS_LANES);
      for (int r = 0; r < rows; r++) {
        v16 value = __builtin_convertvector(sum[r][c], v16) * a;
        if (minimum)
          value = value + load(w->b[g] + column + c * LENS_LANES) * splat((float)sums[r * x->ld_groups + g]);
        total[r][c] = total[r][c] + value * splat(scales[r * x->ld_groups + g]);
      }
    }
  }

  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++) {
      float *to = out + r * LENS_PANEL + c * LENS_LANES;
      store(to, mode == LENS_CHAIN_ADD ? load(to) + total[r][c] : total[r][c]);
    }
}

/// All columns of one group of rows: wide tiles, then single vectors.
LENS_INLINE void LENS_INT8(columns)(const int rows, const bool minimum, const int8_weights *w, int64_t column, int64_t vecs,
                                    int32_t zero, const lens_rounded *x, int64_t row, float *out, lens_chain mode) {
  int64_t c = 0;
  for (; c + LENS_INT8_TILE_VECS <= vecs; c += LENS_INT8_TILE_VECS)
    LENS_INT8(tile)(rows, LENS_INT8_TILE_VECS, minimum, w, column + c * LENS_LANES, zero, x, row, out + c * LENS_LANES, mode);
  if (LENS_INT8_TILE_VECS > 1)
    for (; c < vecs; c++)
      LENS_INT8(tile)(rows, 1, minimum, w, column + c * LENS_LANES, zero, x, row, out + c * LENS_LANES, mode);
}

// One function per height, with and without minima, out of line so that each gets the registers to itself.
#define LENS_INT8_ROWS_OF(ROWS, KIND, MINIMUM)                                                                        \
  static __attribute__((noinline)) void LENS_INT8(rows_##ROWS##_##KIND)(const int8_weights *w, int64_t column, int64_t vecs, \
                                                                        int32_t zero, const lens_rounded *x, int64_t row,    \
                                                                        float *out, lens_chain mode) {                \
    LENS_INT8(columns)(ROWS, MINIMUM, w, column, vecs, zero, x, row, out, mode);                                      \
  }
LENS_INT8_ROWS_OF(1, even, false)
LENS_INT8_ROWS_OF(1, minimum, true)
#if LENS_INT8_TILE_ROWS >= 2
LENS_INT8_ROWS_OF(2, even, false)
LENS_INT8_ROWS_OF(2, minimum, true)
#endif
#if LENS_INT8_TILE_ROWS >= 3
LENS_INT8_ROWS_OF(3, even, false)
LENS_INT8_ROWS_OF(3, minimum, true)
#endif
#undef LENS_INT8_ROWS_OF

static void LENS_INT8(rows)(lens_format format, int64_t rows, const int8_weights *w, int64_t column, int64_t vecs,
                            const lens_rounded *x, int64_t row, float *out, lens_chain mode) {
  const int32_t zero = word_zero(format);
#define LENS_CASE(ROWS)                                                            \
  case ROWS:                                                                       \
    if (has_minimum(format)) {                                                     \
      LENS_INT8(rows_##ROWS##_minimum)(w, column, vecs, zero, x, row, out, mode);  \
    } else {                                                                       \
      LENS_INT8(rows_##ROWS##_even)(w, column, vecs, zero, x, row, out, mode);     \
    }                                                                              \
    break
  switch (rows) {
    LENS_CASE(1);
#if LENS_INT8_TILE_ROWS >= 2
    LENS_CASE(2);
#endif
#if LENS_INT8_TILE_ROWS >= 3
    LENS_CASE(3);
#endif
  default: break; // the caller gives 1...LENS_INT8_TILE_ROWS
  }
#undef LENS_CASE
}

/// Brings share `tile` of `tiles` of the `bytes` at `next` into cache: what is expanded next, while a tile of rows runs.
LENS_INLINE void LENS_INT8(prefetch_share)(const char *next, int64_t bytes, int64_t tile, int64_t tiles) {
  const int64_t lines = bytes / 64;
  for (int64_t line = lines * tile / tiles; line < lines * (tile + 1) / tiles; line++) __builtin_prefetch(next + line * 64);
}

static void LENS_INT8(panel)(const lens_linear_call *call, int64_t row, int64_t rows, int64_t panel) {
  _Alignas(64) float totals[LENS_ROW_CHUNK * LENS_PANEL], chains[LENS_ROW_CHUNK * LENS_PANEL];
  int8_weights weights;
  const panel_columns columns = wanted_columns(call, panel);
  const char *w = (const char *)call->w.data + panel * lens_panel_bytes(call->w.format, call->w.k);
  const int64_t span = lens_group_span(call->w.format), layout_rows = lens_layouts[call->w.format].rows;
  const int64_t tiles = (rows + LENS_INT8_TILE_ROWS - 1) / LENS_INT8_TILE_ROWS; // of nearly equal height
  // For a few rows, whose time is that of reading weights, little at once: the reading goes on while tiles run.
  const int64_t depth = tiles > 1 ? LENS_INT8_ROWS : LENS_INT8_FEW;
  if (call->k_end <= call->k_begin) memset(totals, 0, sizeof totals);
  lens_rounded x = call->rounded; // its place moves on with k
  for (int64_t k = call->k_begin; k < call->k_end;) {
    const int64_t chain_end = lens_chain_end(call, k), most = (k + depth) / span * span;
    const int64_t end = chain_end < most ? chain_end : most;
    const bool starts = (k - call->k_begin) % call->block == 0, ends = end == chain_end;
    const bool isFirst = k - call->k_begin < call->block, isAdded = !isFirst && starts && ends;
    float *out = isFirst || isAdded ? totals : chains;
    const lens_chain mode = isAdded ? LENS_CHAIN_ADD : starts ? LENS_CHAIN_START : LENS_CHAIN_CONTINUE;
    int8_expand(call, w, k, end, columns.offset, columns.vecs, &weights);
    const char *next = w + lens_panel_bytes(call->w.format, end / layout_rows * layout_rows); // of this panel, or the next one's first
    const int64_t bytes = lens_panel_bytes(call->w.format, end - k);
    for (int64_t tile = 0; tile < tiles; tile++) {
      if (tiles > 1) LENS_INT8(prefetch_share)(next, bytes, tile, tiles);
      const int64_t r = rows * tile / tiles, height = rows * (tile + 1) / tiles - r;
      LENS_INT8(rows)(call->w.format, height, &weights, columns.offset, columns.vecs, &x, row + r,
                      out + r * LENS_PANEL + columns.offset, mode);
    }
    if (ends && out == chains)
      for (int64_t i = 0; i < rows * LENS_PANEL; i += LENS_LANES) store(totals + i, load(totals + i) + load(chains + i));
    x.words += weights.first[weights.groups];
    x.scales += weights.groups;
    x.sums += weights.groups;
    k = end;
  }
  linear_store(call, totals, row, rows, panel, columns);
}

#undef LENS_INT8
#undef LENS_INT8_TILE_ROWS
#undef LENS_INT8_TILE_VECS
