// finish_rows.h: what rides on a product: bias, activation, gate and residual, from totals in scratch to where they are wanted.
#ifndef LENS_FINISH_ROWS_H
#define LENS_FINISH_ROWS_H

/// Rows ahead that are fetched of what is read and written: they are far apart, and nothing else touches them first.
#define LENS_FINISH_AHEAD 6

/// The wanted columns of a panel.
typedef struct {
  int64_t begin, end, offset, vecs; // whole vectors from offset on; the lanes outside begin ..< end are never stored
} panel_columns;

LENS_INLINE panel_columns wanted_columns(const lens_linear_call *call, int64_t panel) {
  const int64_t column = panel * LENS_PANEL;
  const int64_t begin = call->n_begin > column ? call->n_begin - column : 0;
  const int64_t end = call->n_end < column + LENS_PANEL ? call->n_end - column : LENS_PANEL;
  const int64_t offset = begin / LENS_LANES * LENS_LANES;
  return (panel_columns){begin, end, offset, (end - offset + LENS_LANES - 1) / LENS_LANES};
}

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

/// A whole panel's columns, one activation.
LENS_INLINE void finish_panel(const lens_linear_call *call, const lens_act act, const float *totals, int64_t row, int64_t rows,
                              int64_t column) {
  const lens_epilogue own = call->epilogue, *e = &own; // what is stored may lie anywhere, but not here
  const int64_t ld = call->ld_out;
  float *const out = call->out;
  for (int64_t r = 0, at = row * ld + column; r < rows; r++, at += ld, totals += LENS_PANEL) {
    const int64_t next = at + (r + LENS_FINISH_AHEAD < rows ? LENS_FINISH_AHEAD * ld : 0);
    v16 sum[4];
    for (int c = 0; c < 4; c++) sum[c] = load(totals + c * LENS_LANES);
    if (e->bias)
      for (int c = 0; c < 4; c++) sum[c] = sum[c] + load(e->bias + column + c * LENS_LANES);
    if (e->linear_out)
      for (int c = 0; c < 4; c++) store(e->linear_out + at + c * LENS_LANES, sum[c]);
    if (!out) continue;
    for (int c = 0; c < 4; c++) __builtin_prefetch(out + next + c * LENS_LANES, 1);
    if (e->gate) {
      for (int c = 0; c < 4; c++) __builtin_prefetch(e->gate + next + c * LENS_LANES);
      for (int c = 0; c < 4; c++) sum[c] = activate(act, load(e->gate + at + c * LENS_LANES)) * sum[c];
    } else {
      for (int c = 0; c < 4; c++) sum[c] = activate(act, sum[c]);
    }
    if (e->residual) {
      for (int c = 0; c < 4; c++) __builtin_prefetch(e->residual + next + c * LENS_LANES);
      for (int c = 0; c < 4; c++) sum[c] = load(e->residual + at + c * LENS_LANES) + sum[c];
    }
    for (int c = 0; c < 4; c++) store(out + at + c * LENS_LANES, sum[c]);
  }
}

/// Totals (row stride LENS_PANEL) of rows row ..< row + rows to where the call wants them.
static __attribute__((noinline)) void linear_store(const lens_linear_call *call, const float *totals, int64_t row, int64_t rows,
                                                   int64_t panel, panel_columns columns) {
  const int64_t column = panel * LENS_PANEL;
  if (columns.begin == 0 && columns.end == LENS_PANEL) {
    switch (call->epilogue.act) {
    case LENS_ACT_NONE: return finish_panel(call, LENS_ACT_NONE, totals, row, rows, column);
    case LENS_ACT_GELU: return finish_panel(call, LENS_ACT_GELU, totals, row, rows, column);
    case LENS_ACT_GELU_NEW: return finish_panel(call, LENS_ACT_GELU_NEW, totals, row, rows, column);
    case LENS_ACT_SILU: return finish_panel(call, LENS_ACT_SILU, totals, row, rows, column);
    default: break; // the rest are rare
    }
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = columns.offset; c < columns.end; c += LENS_LANES) {
      const int64_t from = columns.begin > c ? columns.begin - c : 0, to = columns.end - c < LENS_LANES ? columns.end - c : LENS_LANES;
      linear_finish(call, load(totals + r * LENS_PANEL + c), row + r, column + c, from, to);
    }
}

#endif
