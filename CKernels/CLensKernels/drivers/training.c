// training.c: optimizer updates and the loss in double, over threads. An element or a row depends on its own inputs alone.
#include "lens_isa.h"
#include "lens_parallel.h"

/// Elements a task takes at once; fixed, because a sum of squares is a sum of such runs in order.
#define RUN 8192

void lens_adam(const lens_isa *isa, const lens_adam_step *step, int64_t count, const float *gradient, float *parameter,
               float *first, float *second) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(8 * count, runs);
  LENS_PARALLEL_FOR(threads, r, runs) {
    const int64_t at = r * RUN;
    isa->adam(step, lens_min(RUN, count - at), gradient + at, parameter + at, first + at, second + at);
  }
}

void lens_sgd(const lens_isa *isa, const lens_sgd_step *step, int64_t count, const float *gradient, float *parameter, float *velocity) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(4 * count, runs);
  LENS_PARALLEL_FOR(threads, r, runs) {
    const int64_t at = r * RUN;
    isa->sgd(step, lens_min(RUN, count - at), gradient + at, parameter + at, velocity ? velocity + at : NULL);
  }
}

bool lens_is_any(int64_t count, const float *x) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    uint32_t any = 0;
    for (int l = 0; l < 16; l++) {
      uint32_t bits;
      memcpy(&bits, x + i + l, sizeof bits);
      any |= bits << 1; // without the sign: -0 is zero
    }
    if (any) return true;
  }
  for (; i < count; i++)
    if (!(x[i] == 0)) return true;
  return false;
}

double lens_square_sum(const lens_isa *isa, int64_t count, const float *x) {
  double total = 0;
  for (int64_t at = 0; at < count; at += RUN) total += isa->square_sum(lens_min(RUN, count - at), x + at);
  return total;
}

void lens_cross_entropy_double(const lens_isa *isa, int64_t rows, int64_t n, const float *x, const int32_t *targets, double *lse,
                               double *out) {
  const int threads = lens_threads_for(16 * rows * n, rows);
  LENS_PARALLEL_FOR(threads, r, rows) {
    lse[r] = out[r] = 0;
    if (targets[r] < 0) continue;
    lse[r] = isa->log_sum_exp_double(n, x + r * n);
    out[r] = lse[r] - (double)x[r * n + targets[r]];
  }
}

void lens_cross_entropy_double_gradient(const lens_isa *isa, int64_t rows, int64_t n, const float *x, const int32_t *targets,
                                        const double *lse, const double *factors, float *out) {
  const int threads = lens_threads_for(16 * rows * n, rows);
  LENS_PARALLEL_FOR(threads, r, rows) {
    if (targets[r] < 0) {
      memset(out + r * n, 0, (size_t)n * sizeof *out);
    } else {
      isa->cross_entropy_double_gradient(n, x + r * n, lse[r], targets[r], factors[r], out + r * n);
    }
  }
}
