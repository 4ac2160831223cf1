// elementwise.c: kernels without rows: an element depends on its own inputs alone, so any split will do.
#include "lens_isa.h"
#include "lens_parallel.h"

/// Elements a task takes at once: small enough to balance, large enough that a call costs nothing.
#define RUN 8192

void lens_activation(const lens_isa *isa, lens_act act, int64_t count, const float *x, float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->activation(act, lens_min(RUN, count - r * RUN), x + r * RUN, out + r * RUN);
}

void lens_xielu(const lens_isa *isa, int64_t count, const float *x, float alpha_p, float alpha_n, float beta, float eps, float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->xielu(lens_min(RUN, count - r * RUN), x + r * RUN, alpha_p, alpha_n, beta, eps, out + r * RUN);
}

void lens_gated(const lens_isa *isa, lens_act act, int64_t count, const float *gate, const float *x, float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    isa->gated(act, lens_min(RUN, count - r * RUN), gate + r * RUN, x + r * RUN, out + r * RUN);
}

void lens_scale(const lens_isa *isa, int64_t count, const float *x, float factor, float *out) {
  const int64_t runs = lens_ceil_div(lens_max(count, 0), RUN);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs) isa->scale(lens_min(RUN, count - r * RUN), x + r * RUN, factor, out + r * RUN);
}
