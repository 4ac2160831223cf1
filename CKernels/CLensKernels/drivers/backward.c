// backward.c: gradients of the element-wise kernels and of those that take rows. Rows whose weight and bias sums go together
// are one task, so no sum depends on the threads.
#include "lens_isa.h"
#include "lens_parallel.h"

/// Elements a task takes at once, as in elementwise.c.
#define RUN 8192

static const float *run_at(const float *p, int64_t run) { return p ? p + run * RUN : NULL; }
static float *run_out(float *p, int64_t run) { return p ? p + run * RUN : NULL; }

void lens_activation_backward(const lens_isa *isa, lens_act act, int64_t count, const float *x, float factor,
                              const float *gradient, float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->activation_backward(act, lens_min(RUN, count - r * RUN), run_at(x, r), factor, run_at(gradient, r), run_out(out, r));
}

void lens_gated_backward(const lens_isa *isa, lens_act act, int64_t count, const float *gate, const float *x,
                         const float *gradient, float *gate_out, float *x_out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->gated_backward(act, lens_min(RUN, count - r * RUN), run_at(gate, r), run_at(x, r), run_at(gradient, r),
                        run_out(gate_out, r), run_out(x_out, r));
}

void lens_clamped_gate_backward(const lens_isa *isa, float alpha, float limit, int64_t count, const float *gate,
                                const float *x, const float *gradient, float *gate_out, float *x_out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->clamped_gate_backward(alpha, limit, lens_min(RUN, count - r * RUN), run_at(gate, r), run_at(x, r),
                               run_at(gradient, r), run_out(gate_out, r), run_out(x_out, r));
}

void lens_xielu_backward(const lens_isa *isa, int64_t count, const float *x, float alpha_p, float alpha_n, float beta,
                         float eps, const float *gradient, float *x_out, float *p_out, float *n_out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->xielu_backward(lens_min(RUN, count - r * RUN), run_at(x, r), alpha_p, alpha_n, beta, eps, run_at(gradient, r),
                        run_out(x_out, r), run_out(p_out, r), run_out(n_out, r));
}

/// Row r of rows `width` long, NULL if there are none.
static const float *row_at(const float *p, int64_t row, int64_t width) { return p ? p + row * width : NULL; }

/// A task's row of partial sums, zeroed.
static float *fresh_sums(float *sums, int64_t task, int64_t width) {
  if (!sums) return NULL;
  return memset(sums + task * width, 0, (size_t)width * sizeof *sums);
}

void lens_norm_backward(const lens_isa *isa, lens_norm_kind kind, int64_t rows, int64_t width, float eps, const float *x,
                        const float *scale_in, const float *w, const float *out_gradient, const float *normalized_gradient,
                        const float *scale_gradient, float *x_out, float *scale_out, float *w_sums, float *b_sums) {
  const int64_t tasks = lens_ceil_div(lens_max(rows, 0), LENS_SUM_ROWS);
  const int threads = lens_threads_for(rows * width, tasks);
  LENS_PARALLEL_FOR(threads, task, tasks) {
    float *w_sum = fresh_sums(w_sums, task, width), *b_sum = fresh_sums(b_sums, task, width);
    for (int64_t r = task * LENS_SUM_ROWS; r < lens_min(rows, (task + 1) * LENS_SUM_ROWS); r++)
      isa->norm_backward_row(kind, width, eps, x + r * width, scale_in ? scale_in + r : NULL, w, row_at(out_gradient, r, width),
                             row_at(normalized_gradient, r, width), scale_gradient ? scale_gradient + r : NULL,
                             x_out ? x_out + r * width : NULL, scale_out ? scale_out + r : NULL, w_sum, b_sum);
  }
}

void lens_affine_backward(const lens_isa *isa, int64_t rows, int64_t width, const float *x, const float *w,
                          const float *gradient, float *x_out, float *w_sums, float *b_sums) {
  const int64_t tasks = lens_ceil_div(lens_max(rows, 0), LENS_SUM_ROWS);
  const int threads = lens_threads_for(rows * width, tasks);
  LENS_PARALLEL_FOR(threads, task, tasks) {
    float *w_sum = fresh_sums(w_sums, task, width), *b_sum = fresh_sums(b_sums, task, width);
    for (int64_t r = task * LENS_SUM_ROWS; r < lens_min(rows, (task + 1) * LENS_SUM_ROWS); r++)
      isa->affine_backward_row(width, x + r * width, w, gradient + r * width, x_out ? x_out + r * width : NULL, w_sum, b_sum);
  }
}

void lens_softmax_backward(const lens_isa *isa, int64_t rows, int64_t n, const float *y, const float *gradient, float *out) {
  if (n <= 0) return;
  const int threads = lens_threads_for(rows * n, rows);
  LENS_PARALLEL_FOR(threads, r, rows) isa->softmax_backward_row(n, y + r * n, gradient + r * n, out + r * n);
}

void lens_log_softmax_backward(const lens_isa *isa, int64_t rows, int64_t n, const float *y, const float *gradient, float *out) {
  if (n <= 0) return;
  const int threads = lens_threads_for(rows * n, rows);
  LENS_PARALLEL_FOR(threads, r, rows) isa->log_softmax_backward_row(n, y + r * n, gradient + r * n, out + r * n);
}

void lens_cross_entropy_backward(const lens_isa *isa, int64_t rows, int64_t n, const float *x, int64_t ld_x,
                                 const int32_t *targets, const float *gradient, float *out) {
  if (n <= 0) return;
  const int threads = lens_threads_for(rows * n, rows);
  LENS_PARALLEL_FOR(threads, r, rows) isa->cross_entropy_backward_row(n, x + r * ld_x, targets[r], gradient[r], out + r * n);
}

void lens_rotary_backward(const lens_isa *isa, int64_t rows, int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent,
                          const float *gradient, const int32_t *positions, const float *cos, const float *sin, float *out) {
  const int64_t width = heads * d_head, half = rotary_dim / 2;
  const int threads = lens_threads_for(rows * width, rows);
  LENS_PARALLEL_FOR(threads, r, rows)
    isa->rotary_row(heads, d_head, rotary_dim, adjacent, -1.0f, gradient + r * width, cos + positions[r] * half,
                    sin + positions[r] * half, out + r * width);
}
