// unpack.c: values out of panels, whatever the format: blocks, and columns by number. And rows of plain tables.
#include "lens_formats.h"
#include "lens_isa.h"
#include "lens_keep.h"
#include "lens_parallel.h"

/// Rows of a panel made float32 at a time: 16 KiB of a whole one.
#define UNPACK_ROWS 64

void lens_unpack(const lens_isa *isa, const lens_matrix *w, int64_t k_begin, int64_t k_count, int64_t n_begin,
                 int64_t n_count, float *dst, int64_t k_stride, int64_t n_stride) {
  if (k_count <= 0 || n_count <= 0) return;
  const int64_t n_end = n_begin + n_count, first_panel = n_begin / LENS_PANEL;
  const int64_t panels = lens_ceil_div(n_end, LENS_PANEL) - first_panel, pieces = lens_ceil_div(k_count, UNPACK_ROWS);
  const int threads = lens_threads_for(k_count * n_count, panels * pieces);
  LENS_PARALLEL_FOR(threads, task, panels * pieces) {
    const int64_t panel = first_panel + task / pieces, column = panel * LENS_PANEL;
    const int64_t from = task % pieces * UNPACK_ROWS, to = lens_min(k_count, from + UNPACK_ROWS);
    const int64_t begin = lens_max(n_begin, column), end = lens_min(n_end, column + LENS_PANEL);
    float values[UNPACK_ROWS * LENS_PANEL];
    isa->expand(w->format, (const char *)w->data + panel * lens_panel_bytes(w->format, w->k), k_begin + from, k_begin + to,
                0, LENS_PANEL / LENS_LANES, values, LENS_PANEL);
    for (int64_t i = from; i < to; i++) {
      const float *row = values + (i - from) * LENS_PANEL - column;
      for (int64_t j = begin; j < end; j++) dst[i * k_stride + (j - n_begin) * n_stride] = row[j];
    }
  }
}

void lens_unpack_blocks(const lens_matrix *w, int64_t n_begin, int64_t n_count, void *dst) {
  const lens_layout layout = lens_layouts[w->format];
  const int64_t blocks = w->k / layout.rows;
  const int threads = lens_threads_for(w->k * lens_max(0, n_count), n_count);
  LENS_PARALLEL_FOR(threads, j, n_count) {
    const int64_t column = n_begin + j;
    const char *panel = (const char *)w->data + column / LENS_PANEL * lens_panel_bytes(w->format, w->k);
    for (int64_t b = 0; b < blocks; b++)
      lens_take_block(w->format, panel + b * layout.bytes * LENS_PANEL, column % LENS_PANEL,
                      (uint8_t *)dst + (j * blocks + b) * layout.bytes);
  }
}

void lens_gather_rows(int64_t count, int64_t width, const float *table, const int32_t *ids, float *out) {
  if (width <= 0) return;
  const int threads = lens_threads_for(count * width, count);
  LENS_PARALLEL_FOR(threads, i, count)
    memcpy(out + i * width, table + ids[i] * width, (size_t)width * sizeof(float));
}

void lens_gather_columns(const lens_isa *isa, const lens_matrix *w, int64_t count, const int32_t *ids, float *out) {
  const int threads = lens_threads_for(count * w->k * LENS_LANES, count);
  LENS_PARALLEL_FOR(threads, i, count) {
    const char *panel = (const char *)w->data + ids[i] / LENS_PANEL * lens_panel_bytes(w->format, w->k);
    const int64_t lane = ids[i] % LENS_LANES, offset = ids[i] % LENS_PANEL - lane;
    float values[UNPACK_ROWS * LENS_LANES];
    for (int64_t k = 0; k < w->k; k += UNPACK_ROWS) {
      const int64_t end = lens_min(w->k, k + UNPACK_ROWS);
      isa->expand(w->format, panel, k, end, offset, 1, values, LENS_LANES);
      for (int64_t row = k; row < end; row++) out[i * w->k + row] = values[(row - k) * LENS_LANES + lane];
    }
  }
}
