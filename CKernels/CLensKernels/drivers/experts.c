// experts.c: what a mixture of experts does besides products: its gate, and the sum of what experts write, row by row.
#include "lens_gradients.h"
#include "lens_isa.h"
#include "lens_parallel.h"

/// Elements a task takes at once, as in elementwise.c.
#define RUN 8192
/// Columns a task adds up, of every row: rows may repeat, so tasks share them out by columns.
#define STRIPE 256

void lens_clamped_gate(const lens_isa *isa, float alpha, float limit, int64_t count, const float *gate, const float *x,
                       float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->clamped_gate(alpha, limit, lens_min(RUN, count - r * RUN), gate + r * RUN, x + r * RUN, out + r * RUN);
}

void lens_add_rows(const lens_isa *isa, int64_t count, int64_t width, const int32_t *ids, const float *weights,
                   const float *x, float *out) {
  const int64_t stripes = lens_ceil_div(lens_max(width, 0), STRIPE);
  const int threads = lens_threads_for(count * width, stripes);
  LENS_PARALLEL_FOR(threads, s, stripes) {
    const int64_t begin = s * STRIPE, columns = lens_min(STRIPE, width - begin);
    for (int64_t i = 0; i < count; i++)
      isa->add_weighted(columns, weights[i], x + i * width + begin, out + ids[i] * width + begin);
  }
}

void lens_add_rows_gradient(const lens_isa *isa, int64_t count, int64_t width, const int32_t *ids, const float *weights,
                            const float *x, const float *dy, float *dx, float *dweights) {
  const int threads = lens_threads_for(count * width, count);
  LENS_PARALLEL_FOR(threads, i, count) {
    const float *row = dy + ids[i] * width;
    if (dx) isa->scale(width, row, weights[i], dx + i * width);
    if (dweights) dweights[i] = isa->dot_row(width, row, x + i * width);
  }
}
