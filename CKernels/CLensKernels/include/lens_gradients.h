// lens_gradients.h: the reverse of products and attention. What lens_kernels.h says about arguments, threads and sums holds
// here: a gradient does not depend on the split, nor, where it belongs to one row, on the other rows.
#ifndef LENS_GRADIENTS_H
#define LENS_GRADIENTS_H
#include "lens_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/// dx[i, k - k_begin] = Σ_j dy[i, j - n_begin] · W[k, j] for k in k_begin..<k_end, the sum over j in n_begin..<n_end: the
/// gradient of lens_linear's x, from the panels it reads. A chain per LENS_K_BLOCK columns, counted from n_begin, added in
/// order. The weights of any format are the float32 values all readers take.
/// dy: [m, n_end - n_begin] with row stride ld_dy; dx: [m, k_end - k_begin] with row stride ld_dx, no alias. An empty column
/// range gives zeros.
void lens_linear_inputs(const lens_isa *isa, int64_t m, const lens_matrix *w, int64_t k_begin, int64_t k_end,
                        int64_t n_begin, int64_t n_end, const float *dy, int64_t ld_dy, float *dx, int64_t ld_dx);

/// dw[k, j] = Σ_i x[i, k] · dy[i, j]: the gradient of lens_linear's weights. A chain per LENS_K_BLOCK rows i, added in
/// order. x: [m, k], dy: [m, n], dw: [k, n], with row strides ld_x, ld_dy, ld_dw. m == 0 gives zeros.
void lens_linear_weights(const lens_isa *isa, int64_t m, int64_t k, int64_t n, const float *x, int64_t ld_x, const float *dy,
                         int64_t ld_dy, float *dw, int64_t ld_dw);

/// dw[:, ids[i]] += dy[i, :], i by i: the gradient of lens_gather_columns' matrix. dy: [count, k], dw: [k, n].
void lens_add_columns(int64_t count, int64_t k, int64_t n, const int32_t *ids, const float *dy, float *dw);

/// Gradients of lens_add_rows' x and weights (either NULL) from that of its sum: dx[i] = weights[i] · dy[ids[i]],
/// dweights[i] = Σ dy[ids[i]] · x[i]. x: [count, width].
void lens_add_rows_gradient(const lens_isa *isa, int64_t count, int64_t width, const int32_t *ids, const float *weights,
                            const float *x, const float *dy, float *dx, float *dweights);

/// The reverse of lens_attention: gradients of what it read, from gradients of what it gave. Pattern rows are computed again,
/// LENS_GRADIENT_QUERIES queries at a time; nothing larger is stored. Sums over queries are chains of so many, added in order,
/// head by head of a group. A thread takes whole key heads of a batch row.
/// Gradients of keys and values are of positions held_from..<keys. Any output may be NULL: not asked for.
#define LENS_GRADIENT_QUERIES 48
typedef struct {
  const lens_attention_args *forward; // what it read, page pointers and q among it; what it wrote is not looked at
  int64_t held_from;                  // key positions before have no pages, and no query sees them
  const float *dz;                    // gradients of the outputs, of their shapes, or NULL: zero
  const float *dpattern, *dscores;
  float *dq;                          // [batch, queries, heads, d_head]
  float *dk, *dv;                     // [batch, keys - held_from, kv_heads, d_head]
  float *dscores_in, *dpattern_in;    // [batch, heads, queries, keys], where the forward started from these
  float *dsinks;                      // [batch, heads]: to be summed over the batch
  float *drelative;                   // [batch, heads, 2 * reach + 1]: the same
  float *scratch;
  int64_t scratch_count;
} lens_attention_gradient_args;

/// As lens_attention_scratch.
int64_t lens_attention_gradient_scratch(const lens_attention_gradient_args *args);
void lens_attention_gradient(const lens_isa *isa, const lens_attention_gradient_args *args);

#ifdef __cplusplus
}
#endif
#endif
