// Kernels over independent rows or elements: split into one range a thread, where there is enough to do.
#include "lens_isa.h"
#include "lens_threads.h"

/// Runs `body` with `begin` and `end` set to each part's range of 0..<count; parts begin at multiples of `grain`.
#define LENS_SPLIT(count, grain, work, body)                                                                                     \
  do {                                                                                                                           \
    int64_t grains = ((count) + (grain)-1) / (grain);                                                                            \
    int32_t threads = lens_threads_for(grains, work);                                                                            \
    LENS_PARALLEL_FOR(threads, static)                                                                                           \
    for (int32_t part = 0; part < threads; part++) {                                                                             \
      int64_t begin = grains * part / threads * (grain), end = lens_min(count, grains * (part + 1) / threads * (grain));         \
      if (begin < end) body;                                                                                                     \
    }                                                                                                                            \
  } while (0)

static const float *offset(const float *p, int64_t by) { return p ? p + by : p; }
static float *offset_out(float *p, int64_t by) { return p ? p + by : p; }

void lens_norm(const lens_isa *isa, lens_norm_kind kind, int64_t rows, int64_t width, float eps, const float *x, const float *scale_in,
               const float *w, const float *b, float *out, float *normalized_out, float *scale_out) {
  LENS_SPLIT(rows, 1, (double)rows * (double)width * 4,
             isa->norm(kind, end - begin, width, eps, x + begin * width, offset(scale_in, begin), w, b, offset_out(out, begin * width),
                       offset_out(normalized_out, begin * width), offset_out(scale_out, begin)));
}

void lens_affine(const lens_isa *isa, int64_t rows, int64_t width, const float *x, const float *w, const float *b, float *out) {
  LENS_SPLIT(rows, 1, (double)rows * (double)width, isa->affine(end - begin, width, x + begin * width, w, b, out + begin * width));
}

void lens_activation(const lens_isa *isa, lens_act act, int64_t count, const float *x, float *out) {
  LENS_SPLIT(count, 1024, (double)count * 16, isa->activation(act, end - begin, x + begin, out + begin));
}

void lens_gated(const lens_isa *isa, lens_act act, int64_t count, const float *gate, const float *x, float *out) {
  LENS_SPLIT(count, 1024, (double)count * 16, isa->gated(act, end - begin, gate + begin, x + begin, out + begin));
}

void lens_add(const lens_isa *isa, int64_t count, const float *a, const float *b, float *out) {
  LENS_SPLIT(count, 1024, (double)count, isa->add(end - begin, a + begin, b + begin, out + begin));
}

void lens_scale(const lens_isa *isa, int64_t count, const float *x, float factor, float *out) {
  LENS_SPLIT(count, 1024, (double)count, isa->scale(end - begin, x + begin, factor, out + begin));
}

void lens_sum_parts(const lens_isa *isa, int64_t rows, int64_t parts, int64_t width, const float *x, const float *bias,
                    const float *residual, float *linear_out, float *out) {
  LENS_SPLIT(rows, 1, (double)rows * (double)parts * (double)width,
             isa->sum_parts(end - begin, parts, width, x + begin * parts * width, bias, offset(residual, begin * width),
                            offset_out(linear_out, begin * width), offset_out(out, begin * width)));
}

void lens_softmax(const lens_isa *isa, int64_t rows, int64_t n, const float *x, float *out) {
  LENS_SPLIT(rows, 1, (double)rows * (double)n * 16, isa->softmax(end - begin, n, x + begin * n, out + begin * n));
}

void lens_log_softmax(const lens_isa *isa, int64_t rows, int64_t n, const float *x, float *out) {
  LENS_SPLIT(rows, 1, (double)rows * (double)n * 16, isa->log_softmax(end - begin, n, x + begin * n, out + begin * n));
}

void lens_cross_entropy(const lens_isa *isa, int64_t rows, int64_t n, const float *x, int64_t ld_x, const int32_t *targets, float *loss) {
  LENS_SPLIT(rows, 1, (double)rows * (double)n * 16,
             isa->cross_entropy(end - begin, n, x + begin * ld_x, ld_x, targets + begin, loss + begin));
}

void lens_rotary(const lens_isa *isa, int64_t rows, int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent, const float *x,
                 const int32_t *positions, const float *cos, const float *sin, float *out) {
  int64_t width = heads * d_head;
  LENS_SPLIT(rows, 1, (double)rows * (double)width,
             isa->rotary(end - begin, heads, d_head, rotary_dim, adjacent, x + begin * width, positions + begin, cos, sin,
                         out + begin * width));
}
