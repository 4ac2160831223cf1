// The table of row kernels that an instruction set fills, and the drivers call. Serial functions on plain pointers only:
// a vector type in an argument would mean different calling conventions in different instruction sets.
#ifndef LENS_ISA_H
#define LENS_ISA_H
#include "lens_kernels.h"

/// One product, as the rows of one panel need it.
typedef struct {
  int64_t k, k_begin, k_end, n_begin, n_end, block, ld_x, ld_out;
  const float *x;
  const float *packed;
  float *out;
  lens_epilogue epilogue;
} lens_linear_job;

/// Rows of a product that one call handles; bounds the totals kept on its stack.
#define LENS_ROW_CHUNK 96

struct lens_isa {
  const char *name;
  bool (*runnable)(void);
  /// Rows m_begin..<m_end (at most LENS_ROW_CHUNK) of one panel's columns.
  void (*linear)(const lens_linear_job *job, int64_t panel, int64_t m_begin, int64_t m_end);
  void (*norm)(lens_norm_kind kind, int64_t rows, int64_t width, float eps, const float *x, const float *scale_in, const float *w,
               const float *b, float *out, float *normalized_out, float *scale_out);
  void (*affine)(int64_t rows, int64_t width, const float *x, const float *w, const float *b, float *out);
  void (*activation)(lens_act act, int64_t count, const float *x, float *out);
  void (*gated)(lens_act act, int64_t count, const float *gate, const float *x, float *out);
  void (*add)(int64_t count, const float *a, const float *b, float *out);
  void (*scale)(int64_t count, const float *x, float factor, float *out);
  void (*sum_parts)(int64_t rows, int64_t parts, int64_t width, const float *x, const float *bias, const float *residual,
                    float *linear_out, float *out);
  void (*softmax)(int64_t rows, int64_t n, const float *x, float *out);
  void (*log_softmax)(int64_t rows, int64_t n, const float *x, float *out);
  void (*cross_entropy)(int64_t rows, int64_t n, const float *x, int64_t ld_x, const int32_t *targets, float *loss);
  void (*rotary)(int64_t rows, int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent, const float *x,
                 const int32_t *positions, const float *cos, const float *sin, float *out);
  /// `count` (at most LENS_QUERY_TILE) consecutive queries of one head.
  void (*attend)(const lens_attention_args *args, int64_t batch_row, int64_t head, int64_t query, int64_t count, float *scratch);
};

/// Queries that one attention call handles together.
#define LENS_QUERY_TILE 6

extern const lens_isa lens_isa_portable;
#if defined(__x86_64__)
extern const lens_isa lens_isa_avx2;
extern const lens_isa lens_isa_avx512;
#endif

/// The set that `name` (the value of LENS_ISA, or NULL) chooses; NULL for an unknown or unrunnable one.
const lens_isa *lens_isa_choose(const char *name);

static inline int64_t lens_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t lens_max(int64_t a, int64_t b) { return a > b ? a : b; }

/// Slots before row b's position 0, so that its first real token starts a page.
static inline int64_t lens_page_shift(const int64_t *first, int64_t batch_row) {
  return (LENS_PAGE - first[batch_row] % LENS_PAGE) % LENS_PAGE;
}
/// Channels of a value in a page.
static inline int64_t lens_value_width(int64_t d_head) { return (d_head + LENS_LANES - 1) / LENS_LANES * LENS_LANES; }

#endif
