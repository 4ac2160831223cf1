// rows.c: kernels that take one row at a time: rows are spread over threads, a row never is.
#include "lens_isa.h"
#include "lens_parallel.h"

void lens_norm(const lens_isa *isa, lens_norm_kind kind, int64_t rows, int64_t width, float eps, const float *x,
               const float *scale_in, const float *w, const float *b, float *out, float *normalized_out,
               float *scale_out) {
  const int threads = lens_threads_for(rows * width, rows);
  LENS_PARALLEL_FOR(threads, r, rows)
    isa->norm_row(kind, width, eps, x + r * width, scale_in ? scale_in + r : NULL, w, b, out ? out + r * width : NULL,
                  normalized_out ? normalized_out + r * width : NULL, scale_out ? scale_out + r : NULL);
}

void lens_affine(const lens_isa *isa, int64_t rows, int64_t width, const float *x, const float *w, const float *b,
                 float *out) {
  const int threads = lens_threads_for(rows * width, rows);
  LENS_PARALLEL_FOR(threads, r, rows) isa->affine_row(width, x + r * width, w, b, out + r * width);
}

void lens_sum_parts(const lens_isa *isa, int64_t rows, int64_t parts, int64_t width, const float *x, const float *bias,
                    const float *residual, float *linear_out, float *out) {
  const int threads = lens_threads_for(rows * parts * width, rows);
  LENS_PARALLEL_FOR(threads, r, rows)
    isa->sum_parts_row(parts, width, x + r * parts * width, bias, residual ? residual + r * width : NULL,
                       linear_out ? linear_out + r * width : NULL, out ? out + r * width : NULL);
}

void lens_softmax(const lens_isa *isa, int64_t rows, int64_t n, const float *x, float *out) {
  if (n <= 0) return;
  const int threads = lens_threads_for(rows * n, rows);
  LENS_PARALLEL_FOR(threads, r, rows) isa->softmax_row(n, x + r * n, out + r * n);
}

void lens_log_softmax(const lens_isa *isa, int64_t rows, int64_t n, const float *x, float *out) {
  if (n <= 0) return;
  const int threads = lens_threads_for(rows * n, rows);
  LENS_PARALLEL_FOR(threads, r, rows) isa->log_softmax_row(n, x + r * n, out + r * n);
}

void lens_cross_entropy(const lens_isa *isa, int64_t rows, int64_t n, const float *x, int64_t ld_x,
                        const int32_t *targets, float *loss) {
  if (n <= 0) return;
  const int threads = lens_threads_for(rows * n, rows);
  LENS_PARALLEL_FOR(threads, r, rows) loss[r] = isa->cross_entropy_row(n, x + r * ld_x, targets[r]);
}

void lens_rotary(const lens_isa *isa, int64_t rows, int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent,
                 const float *x, const int32_t *positions, const float *cos, const float *sin, float *out) {
  const int64_t width = heads * d_head, half = rotary_dim / 2;
  const int threads = lens_threads_for(rows * width, rows);
  LENS_PARALLEL_FOR(threads, r, rows)
    isa->rotary_row(heads, d_head, rotary_dim, adjacent, 1.0f, x + r * width, cos + positions[r] * half,
                    sin + positions[r] * half, out + r * width);
}
