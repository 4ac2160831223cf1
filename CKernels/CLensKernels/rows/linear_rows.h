// linear_rows.h: one task of lens_linear: some rows times one panel, blocks of k summed in order, then the epilogue.
//
// Loop order is k block, then row tile: a block of a panel (64 KiB at LENS_K_BLOCK) stays in the level-2 cache while all
// rows pass over it. Totals between blocks live in scratch rather than in `out`, which may alias gate or residual.
#ifndef LENS_LINEAR_ROWS_H
#define LENS_LINEAR_ROWS_H

/// Sixteen columns' totals to linear_out and out. Only lanes from ..< to are inside the wanted columns.
LENS_INLINE void linear_finish(const lens_linear_call *call, v16 sum, int64_t row, int64_t column, int64_t from,
                               int64_t to) {
  const lens_epilogue *e = &call->epilogue;
  const int64_t at = row * call->ld_out + column + from, left = to - from;
  const float *bias = e->bias ? e->bias + column + from : NULL;
  if (from > 0) { // a range that starts inside a vector: bring its lanes to the front
    v16 moved = splat(0.0f);
    for (int64_t i = from; i < to; i++) moved[i - from] = sum[i];
    sum = moved;
  }
  if (bias) sum = sum + load_row(bias, left);
  if (e->linear_out) store_row(e->linear_out + at, sum, left);
  if (!call->out) return;
  v16 value = e->gate ? activate(e->act, load_row(e->gate + at, left)) * sum : activate(e->act, sum);
  if (e->residual) value = load_row(e->residual + at, left) + value;
  store_row(call->out + at, value, left);
}

static void linear_panel(const lens_linear_call *call, int64_t row, int64_t rows, int64_t panel) {
  _Alignas(64) float totals[LENS_ROW_CHUNK * LENS_PANEL];
  const int64_t column = panel * LENS_PANEL;
  const int64_t begin = call->n_begin > column ? call->n_begin - column : 0;
  const int64_t end = call->n_end < column + LENS_PANEL ? call->n_end - column : LENS_PANEL;
  const int64_t offset = begin / LENS_LANES * LENS_LANES; // whole vectors; the lanes outside are never stored
  const int64_t vecs = (end - offset + LENS_LANES - 1) / LENS_LANES;

  const int64_t count = call->k_end - call->k_begin;
  const float *w = call->packed + panel * call->k * LENS_PANEL + call->k_begin * LENS_PANEL + offset;
  const float *x = call->x + row * call->ld_x;
  const int64_t tiles = (rows + LENS_TILE_ROWS - 1) / LENS_TILE_ROWS; // of nearly equal height: 7 rows are 3 + 4

  if (count <= 0) memset(totals, 0, sizeof totals);
  for (int64_t k = 0; k < count; k += call->block) {
    const int64_t length = count - k < call->block ? count - k : call->block;
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t r = rows * tile / tiles, height = rows * (tile + 1) / tiles - r;
      product(height, vecs, x + r * call->ld_x + k, call->ld_x, length, w + k * LENS_PANEL, LENS_PANEL,
              totals + r * LENS_PANEL + offset, LENS_PANEL, k == 0 ? LENS_CHAIN_START : LENS_CHAIN_ADD);
    }
  }

  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = offset; c < end; c += LENS_LANES) {
      const int64_t from = begin > c ? begin - c : 0, to = end - c < LENS_LANES ? end - c : LENS_LANES;
      linear_finish(call, load(totals + r * LENS_PANEL + c), row + r, column + c, from, to);
    }
}

#endif
