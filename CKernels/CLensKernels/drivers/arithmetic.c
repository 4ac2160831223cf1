// arithmetic.c: element-wise arithmetic with broadcasting, and sums over an axis.
#include "lens_isa.h"
#include "lens_parallel.h"

/// Elements a task takes at once, as in elementwise.c.
#define RUN 8192

/// Where row `row` of the axes before the last starts.
static int64_t row_offset(int64_t row, int64_t rank, const int64_t *shape, const int64_t *strides) {
  int64_t offset = 0;
  for (int64_t axis = rank - 2; axis >= 0; axis--) {
    offset += row % shape[axis] * strides[axis];
    row /= shape[axis];
  }
  return offset;
}

void lens_arithmetic(const lens_isa *isa, lens_op op, int64_t rank, const int64_t *shape, const float *a,
                     const int64_t *a_strides, const float *b, const int64_t *b_strides, float *out) {
  const int64_t n = shape[rank - 1], a_step = a_strides[rank - 1], b_step = b_strides[rank - 1];
  int64_t rows = 1;
  for (int64_t axis = 0; axis < rank - 1; axis++) rows *= shape[axis];
  const int64_t runs = lens_ceil_div(n, RUN), tasks = rows * runs;
  const int threads = lens_threads_for(rows * n, tasks);
  LENS_PARALLEL_FOR(threads, task, tasks) {
    const int64_t row = task / runs, begin = task % runs * RUN;
    isa->arithmetic_row(op, lens_min(RUN, n - begin), a + row_offset(row, rank, shape, a_strides) + begin * a_step, a_step,
                        b + row_offset(row, rank, shape, b_strides) + begin * b_step, b_step, out + row * n + begin);
  }
}

void lens_apply(const lens_isa *isa, lens_map map, int64_t count, const float *x, float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs) isa->map_row(map, lens_min(RUN, count - r * RUN), x + r * RUN, out + r * RUN);
}

void lens_clamp(const lens_isa *isa, float low, float high, int64_t count, const float *x, float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs) isa->clamp_row(low, high, lens_min(RUN, count - r * RUN), x + r * RUN, out + r * RUN);
}

void lens_clamp_backward(const lens_isa *isa, float low, float high, int64_t count, const float *x, const float *gradient,
                         float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->clamp_backward_row(low, high, lens_min(RUN, count - r * RUN), x + r * RUN, gradient + r * RUN, out + r * RUN);
}

void lens_sum_axis(const lens_isa *isa, int64_t outer, int64_t size, int64_t inner, const float *x, float *out) {
  if (outer <= 0 || inner <= 0) return;
  const int64_t stripes = lens_ceil_div(inner, LENS_SUM_STRIPE), tasks = outer * stripes;
  const int threads = lens_threads_for(outer * size * inner, tasks);
  LENS_PARALLEL_FOR(threads, task, tasks) {
    const int64_t o = task / stripes, begin = task % stripes * LENS_SUM_STRIPE;
    const float *from = x + o * size * inner + begin;
    if (inner == 1) {
      out[o] = isa->sum_row(size, from);
    } else {
      isa->sum_columns(size, lens_min(LENS_SUM_STRIPE, inner - begin), from, inner, out + o * inner + begin);
    }
  }
}
