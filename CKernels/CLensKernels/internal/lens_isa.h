// lens_isa.h: what one instruction set provides: a table of serial row kernels, filled in isa/*.c from rows/*.h.
//
// Drivers call through this table and nothing else. Everything crosses it as plain pointers and integers, never as a
// vector, so that a caller compiled for the base instruction set and a kernel compiled for AVX-512 agree on the call.
#ifndef LENS_ISA_H
#define LENS_ISA_H
#include <math.h>
#include <string.h>

#include "lens_kernels.h"

/// Rows of a product that share one pass over a panel. Bounds the stack scratch of a linear task (36 KiB of
/// totals; for weights that are not float32 as much again for chains, and 64 KiB of weights).
#define LENS_ROW_CHUNK 144
/// No instruction set has taller register tiles; sizes the small arrays of drivers.
#define LENS_TILE_ROWS_MAX 6
/// Columns whose sums over rows are one task.
#define LENS_SUM_STRIPE 128

/// What a product does with its multiply-add chains.
typedef enum {
  LENS_CHAIN_START,    // chains start from zero; out = chain
  LENS_CHAIN_CONTINUE, // chains start from out;  out = chain
  LENS_CHAIN_ADD,      // chains start from zero; out = out + chain
} lens_chain;

/// Rows of x rounded to eight bits, group by group: see lens_int8.h.
typedef struct {
  int32_t *words; // [m][ld_words]: four signed bytes each
  int32_t *sums;  // [m][ld_groups]: of a group's bytes
  float *scales;  // [m][ld_groups]
  int64_t ld_words, ld_groups;
} lens_rounded;

/// What a product's tile fetches into cache beside its own rows of w: `step` bytes (64 or 128) from `from` on for every k.
/// Tiles after the first find their own rows in cache, and so have time to bring what comes next. from NULL: the rows from
/// `rows` on, as many and as far apart as those of w; both NULL: its own rows, ahead.
typedef struct {
  const char *from;
  int64_t step;
  const float *rows;
} lens_fetch;

/// One call of lens_linear, as its tasks see it.
typedef struct {
  int64_t m, k_begin, k_end, n_begin, n_end, block;
  lens_matrix w;
  const float *x;
  int64_t ld_x;
  lens_rounded rounded; // where x is put by calls that round it
  float *out;
  int64_t ld_out;
  lens_epilogue epilogue;
} lens_linear_call;

/// Finishing of a page of scores of some rows; slot i holds key `first_key + i`.
typedef struct {
  float scale, softcap;
  const float *alibi;     // the slope of row 0's head, or NULL
  int64_t alibi_step;     // from a row's slope to the next one's
  int64_t distance;       // first_key - the position of row 0's query
  int64_t distance_step;  // how much less it is for each next row
} lens_score_step;

struct lens_isa {
  const char *name;
  bool (*runnable)(void);
  int64_t tile_rows; // most rows `product` takes, at most LENS_TILE_ROWS_MAX

  /// out[rows][16 * vecs] (row stride ld_out) from x[rows][count] (ld_x) and w[count][16 * vecs] (ld_w): one chain per
  /// element over `count`. rows in 1...tile_rows. Writes whole vectors; count 0 is a chain of zero.
  void (*product)(int64_t rows, int64_t vecs, const float *x, int64_t ld_x, int64_t count, const float *w, int64_t ld_w,
                  float *out, int64_t ld_out, lens_chain chain);
  /// The same, and brings other memory into cache meanwhile.
  void (*product_fetching)(int64_t rows, int64_t vecs, const float *x, int64_t ld_x, int64_t count, const float *w, int64_t ld_w,
                           float *out, int64_t ld_out, lens_chain chain, lens_fetch fetch);
  /// The same with row r's chain over k in begin[r] ..< end[r] alone, and zero where that is empty.
  void (*product_ragged)(int64_t rows, int64_t vecs, const float *x, int64_t ld_x, const int64_t *begin, const int64_t *end,
                         const float *w, int64_t ld_w, float *out, int64_t ld_out);
  /// Rows k_begin ..< k_end of a panel, as float32: its columns offset ..< offset + 16 * vecs (offset a multiple of 16) to
  /// dst[k_end - k_begin][16 * vecs] (row stride ld).
  void (*expand)(lens_format format, const void *panel, int64_t k_begin, int64_t k_end, int64_t offset, int64_t vecs,
                 float *dst, int64_t ld);
  /// Rows row ..< row + rows (at most LENS_ROW_CHUNK) of one panel, epilogue included.
  void (*linear_panel)(const lens_linear_call *call, int64_t row, int64_t rows, int64_t panel);
  /// Row `row` of x into call->rounded.
  void (*round_row)(const lens_linear_call *call, int64_t row);
  /// As linear_panel, from call->rounded; w is quantised. The same bits on every set, epilogue aside.
  void (*int8_panel)(const lens_linear_call *call, int64_t row, int64_t rows, int64_t panel);

  void (*activation)(lens_act act, int64_t count, const float *x, float *out);
  void (*xielu)(int64_t count, const float *x, float alpha_p, float alpha_n, float beta, float eps, float *out);
  void (*gated)(lens_act act, int64_t count, const float *gate, const float *x, float *out);
  void (*clamped_gate)(float alpha, float limit, int64_t count, const float *gate, const float *x, float *out);
  /// out[i] = out[i] + weight * x[i], each rounded.
  void (*add_weighted)(int64_t count, float weight, const float *x, float *out);
  void (*scale)(int64_t count, const float *x, float factor, float *out);
  void (*sum_parts_row)(int64_t parts, int64_t width, const float *x, const float *bias, const float *residual,
                        float *linear_out, float *out);

  void (*norm_row)(lens_norm_kind kind, int64_t width, float eps, const float *x, const float *scale_in, const float *w,
                   const float *b, float *out, float *normalized_out, float *scale_out);
  void (*affine_row)(int64_t width, const float *x, const float *w, const float *b, float *out);
  void (*softmax_row)(int64_t n, const float *x, float *out);
  void (*log_softmax_row)(int64_t n, const float *x, float *out);
  float (*cross_entropy_row)(int64_t n, const float *x, int32_t target);
  /// direction: 1, or -1 for the inverse rotation.
  void (*rotary_row)(int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent, float direction, const float *x,
                     const float *cos, const float *sin, float *out);

  /// In place, over the page of each row (row stride ld): scale, softcap, ALiBi, in that order; -inf outside slots begin[r] ..<
  /// end[r]. Rows that see nothing of it are left alone.
  void (*score_rows)(const lens_score_step *step, int64_t rows, const int64_t *begin, const int64_t *end, float *scores, int64_t ld);
  /// Softmax in place over whole pages (count[r] a multiple of LENS_PAGE, invisible slots -inf), sums in page chunks; with the
  /// sink's score last, where there is one. From used[r] on, a multiple of LENS_LANES, nothing is visible: zeros are written.
  void (*pattern_rows)(int64_t rows, const int64_t *count, const int64_t *used, const float *const *sinks, float *const *scores);

  /// dst[columns][rows] (row stride ld_dst) from src[rows][columns] (ld_src); rows of dst are filled up to whole vectors
  /// with zeros.
  void (*transpose)(int64_t rows, int64_t columns, const float *src, int64_t ld_src, float *dst, int64_t ld_dst);
  /// In place: gradients of a pattern row to those of its scores. Returns Σ pattern · gradient.
  float (*pattern_gradient_row)(int64_t count, const float *pattern, float *gradient);
  /// In place: gradients of capped scores to those of scaled ones; x is not scaled yet.
  void (*softcap_gradient_row)(float scale, float softcap, int64_t count, const float *x, float *gradient);
  float (*dot_row)(int64_t count, const float *a, const float *b);
  void (*adam)(const lens_adam_step *step, int64_t count, const float *gradient, float *parameter, float *first, float *second);
  void (*sgd)(const lens_sgd_step *step, int64_t count, const float *gradient, float *parameter, float *velocity);
  double (*square_sum)(int64_t count, const float *x);
  double (*log_sum_exp_double)(int64_t n, const float *x);
  void (*cross_entropy_double_gradient)(int64_t n, const float *x, double lse, int64_t target, double factor, float *out);
  // Gradients and arithmetic: as the drivers of lens_backward.h, of one run or row; weight and bias sums are added to.
  void (*activation_backward)(lens_act act, int64_t count, const float *x, float factor, const float *gradient, float *out);
  void (*gated_backward)(lens_act act, int64_t count, const float *gate, const float *x, const float *gradient,
                         float *gate_out, float *x_out);
  void (*clamped_gate_backward)(float alpha, float limit, int64_t count, const float *gate, const float *x,
                                const float *gradient, float *gate_out, float *x_out);
  void (*xielu_backward)(int64_t count, const float *x, float alpha_p, float alpha_n, float beta, float eps,
                         const float *gradient, float *x_out, float *p_out, float *n_out);
  void (*norm_backward_row)(lens_norm_kind kind, int64_t width, float eps, const float *x, const float *scale_in,
                            const float *w, const float *out_gradient, const float *normalized_gradient,
                            const float *scale_gradient, float *x_out, float *scale_out, float *w_sum, float *b_sum);
  void (*affine_backward_row)(int64_t width, const float *x, const float *w, const float *gradient, float *x_out,
                              float *w_sum, float *b_sum);
  void (*softmax_backward_row)(int64_t n, const float *y, const float *gradient, float *out);
  void (*log_softmax_backward_row)(int64_t n, const float *y, const float *gradient, float *out);
  void (*cross_entropy_backward_row)(int64_t n, const float *x, int32_t target, float gradient, float *out);
  void (*arithmetic_row)(lens_op op, int64_t count, const float *a, int64_t a_step, const float *b, int64_t b_step,
                         float *out);
  void (*map_row)(lens_map map, int64_t count, const float *x, float *out);
  void (*clamp_row)(float low, float high, int64_t count, const float *x, float *out);
  void (*clamp_backward_row)(float low, float high, int64_t count, const float *x, const float *gradient, float *out);
  float (*sum_row)(int64_t count, const float *x);
  /// width: at most LENS_SUM_STRIPE; rows `ld` floats apart.
  void (*sum_columns)(int64_t rows, int64_t width, const float *x, int64_t ld, float *out);
};

extern const lens_isa lens_isa_portable;
#if defined(__x86_64__)
extern const lens_isa lens_isa_avx2;
extern const lens_isa lens_isa_avx2vnni;
extern const lens_isa lens_isa_avx512;
extern const lens_isa lens_isa_avx512vnni;
#endif

#endif
