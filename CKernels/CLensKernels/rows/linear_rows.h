// linear_rows.h: one task of lens_linear: some rows times one panel, blocks of k summed in order, then the epilogue.
//
// Loop order is k block, then row tile: a block of a panel (64 KiB at LENS_K_BLOCK) stays in the level-2 cache while all
// rows pass over it. Totals between blocks live in scratch rather than in `out`, which may alias gate or residual.
#ifndef LENS_LINEAR_ROWS_H
#define LENS_LINEAR_ROWS_H

/// Up to so many rows expand weights that are not float32 in pieces of so many rows of k, 16 KiB, which the first cache holds; more
/// make a larger copy pay.
#define LENS_FEW_ROWS 24
#define LENS_FEW_DEPTH 64

/// What tile `tile` of a block fetches while it runs: a part of the `bytes` at `next`, which come after the block. The first
/// tile meets its own rows first, and fetches those.
LENS_INLINE lens_fetch fetch_next(const char *next, int64_t bytes, int64_t tile, int64_t tiles, int64_t length) {
  const int64_t step = tiles > 4 ? 64 : 128, at = (tile - 1) * length * step;
  return tile > 0 && at < bytes ? (lens_fetch){next + at, step, NULL} : (lens_fetch){NULL, 0, NULL};
}

/// Totals of float32 panels: each element of a block one chain in registers.
LENS_INLINE void linear_totals(const lens_linear_call *call, const float *x, int64_t rows, const float *panel, int64_t offset,
                               int64_t vecs, float *totals) {
  const int64_t count = call->k_end - call->k_begin;
  const float *w = panel + call->k_begin * LENS_PANEL + offset;
  const int64_t tiles = (rows + LENS_TILE_ROWS - 1) / LENS_TILE_ROWS; // of nearly equal height: 7 rows are 3 + 4
  for (int64_t k = 0; k < count; k += call->block) {
    const int64_t length = count - k < call->block ? count - k : call->block;
    const char *next = (const char *)(w + (k + length) * LENS_PANEL); // of this panel, or the next one's first
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t r = rows * tile / tiles, height = rows * (tile + 1) / tiles - r;
      product_fetching(height, vecs, x + r * call->ld_x + k, call->ld_x, length, w + k * LENS_PANEL, LENS_PANEL,
                       totals + r * LENS_PANEL + offset, LENS_PANEL, k == 0 ? LENS_CHAIN_START : LENS_CHAIN_ADD,
                       fetch_next(next, 4 * length * LENS_PANEL, tile, tiles, length));
    }
  }
}

/// One block's chains into `totals`, for panels of any format: they start them, or are added. The rows share a float32 copy, in
/// the second cache.
LENS_INLINE void block_chains(const lens_linear_call *call, const float *x, int64_t rows, const char *panel, int64_t begin,
                              int64_t end, int64_t offset, int64_t vecs, float *totals, bool isFirst) {
  _Alignas(64) float weights[LENS_K_BLOCK * LENS_PANEL];
  expand(call->w.format, panel, begin, end, offset, vecs, weights, LENS_PANEL);
  const int64_t tiles = (rows + LENS_TILE_ROWS - 1) / LENS_TILE_ROWS, bytes = lens_panel_bytes(call->w.format, end - begin);
  const char *next = panel + lens_panel_bytes(call->w.format, end);
  for (int64_t tile = 0; tile < tiles; tile++) {
    const int64_t r = rows * tile / tiles, height = rows * (tile + 1) / tiles - r;
    product_fetching(height, vecs, x + r * call->ld_x, call->ld_x, end - begin, weights, LENS_PANEL,
                     totals + r * LENS_PANEL + offset, LENS_PANEL, isFirst ? LENS_CHAIN_START : LENS_CHAIN_ADD,
                     fetch_next(next, bytes, tile + 1, tiles, end - begin));
  }
}

/// The same of a block longer than the copy, or of few rows: chains to `out`. Cutting a chain changes no bit.
LENS_INLINE void long_chains(const lens_linear_call *call, const float *x, int64_t rows, const char *panel, int64_t begin,
                             int64_t end, int64_t offset, int64_t vecs, float *out) {
  _Alignas(64) float weights[LENS_K_BLOCK * LENS_PANEL];
  const int64_t tiles = (rows + LENS_TILE_ROWS - 1) / LENS_TILE_ROWS, step = rows <= LENS_FEW_ROWS ? LENS_FEW_DEPTH : LENS_K_BLOCK;
  for (int64_t k = begin; k < end; k += step) {
    const int64_t length = end - k < step ? end - k : step;
    expand(call->w.format, panel, k, k + length, offset, vecs, weights, LENS_PANEL);
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t r = rows * tile / tiles, height = rows * (tile + 1) / tiles - r;
      product(height, vecs, x + r * call->ld_x + k - begin, call->ld_x, length, weights, LENS_PANEL,
              out + r * LENS_PANEL + offset, LENS_PANEL, k == begin ? LENS_CHAIN_START : LENS_CHAIN_CONTINUE);
    }
  }
}

/// Totals of panels that are not float32: the blocks' chains, added in the same order.
static __attribute__((noinline)) void expanded_totals(const lens_linear_call *call, const float *x, int64_t rows,
                                                      const char *panel, int64_t offset, int64_t vecs, float *totals) {
  _Alignas(64) float chains[LENS_ROW_CHUNK * LENS_PANEL];
  for (int64_t k = call->k_begin; k < call->k_end; k += call->block) {
    const int64_t end = call->k_end - k < call->block ? call->k_end : k + call->block;
    const bool isFirst = k == call->k_begin;
    const float *from = x + k - call->k_begin;
    if (rows > LENS_FEW_ROWS && end - k <= LENS_K_BLOCK) {
      block_chains(call, from, rows, panel, k, end, offset, vecs, totals, isFirst);
      continue;
    }
    long_chains(call, from, rows, panel, k, end, offset, vecs, isFirst ? totals : chains);
    if (isFirst) continue;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = offset; c < offset + vecs * LENS_LANES; c += LENS_LANES) {
        const int64_t at = r * LENS_PANEL + c;
        store(totals + at, load(totals + at) + load(chains + at));
      }
  }
}

/// The same of the fewest rows, which take weights in registers, one, two or four at a time. Where that is all of them, one call has
/// all blocks; else they share a block while it is near.
LENS_INLINE void register_totals(const lens_linear_call *call, const float *x, int64_t rows, const char *panel, int64_t offset,
                                 int64_t vecs, float *totals) {
  const bool isOneCall = rows == 1 || rows == 2 || rows == 4;
  const int64_t count = call->k_end - call->k_begin, step = isOneCall ? count : call->block;
  for (int64_t k = 0; k < count; k += step) {
    const int64_t begin = call->k_begin + k, end = count - k < step ? call->k_end : begin + step;
    for (int64_t r = 0; r < rows;) {
      const int64_t height = rows - r >= 4 ? 4 : rows - r >= 2 ? 2 : 1;
      chain(call->w.format, height, panel, begin, end, call->block, offset, vecs, x + r * call->ld_x + k, call->ld_x,
            totals + r * LENS_PANEL + offset, k > 0);
      r += height;
    }
  }
}

static void linear_panel(const lens_linear_call *call, int64_t row, int64_t rows, int64_t panel) {
  _Alignas(64) float totals[LENS_ROW_CHUNK * LENS_PANEL];
  const panel_columns columns = wanted_columns(call, panel);
  const char *w = (const char *)call->w.data + panel * lens_panel_bytes(call->w.format, call->w.k);
  const float *x = call->x + row * call->ld_x;
  if (call->k_end <= call->k_begin) {
    memset(totals, 0, sizeof totals);
  } else if (call->w.format == LENS_FORMAT_F32) {
    linear_totals(call, x, rows, (const float *)w, columns.offset, columns.vecs, totals);
  } else if (rows <= LENS_TILE_ROWS) {
    register_totals(call, x, rows, w, columns.offset, columns.vecs, totals);
  } else {
    expanded_totals(call, x, rows, w, columns.offset, columns.vecs, totals);
  }
  linear_store(call, totals, row, rows, panel, columns);
}

#endif
