// lens_backward.h: kernels of gradients, and the arithmetic that metrics are made of. Conventions and the numerical
// contract are those of lens_kernels.h: same bits at any thread count, the same on AVX2 and AVX-512, NaN is never hidden.
//
// `gradient` is always that of the forward kernel's output, of its shape; what is written is the gradient of its input.
// Sums over the rows of a batch (gradients of weights and biases) are partial sums of LENS_SUM_ROWS rows each, in
// ascending order; the caller adds those with lens_sum_axis.
#ifndef LENS_BACKWARD_H
#define LENS_BACKWARD_H
#include "lens_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LENS_SUM_ROWS 32 // rows in a partial sum over a batch

/// out[i] = gradient[i] * act'(factor * x[i]); factor is 1 but for softcapped values. ReLU's derivative at 0 is 0. At -inf
/// and +inf SiLU and the GELUs have the limits, 0 and 1. NaN in x gives NaN, and so does NaN in a gradient that ReLU does not
/// stop. out may alias either.
void lens_activation_backward(const lens_isa *isa, lens_act act, int64_t count, const float *x, float factor,
                              const float *gradient, float *out);
/// Of lens_gated: gate_out[i] = gradient[i] * x[i] * act'(gate[i]), x_out[i] = gradient[i] * act(gate[i]). Either may be
/// NULL, and may alias gate, x or gradient exactly.
void lens_gated_backward(const lens_isa *isa, lens_act act, int64_t count, const float *gate, const float *x,
                         const float *gradient, float *gate_out, float *x_out);
/// Of lens_clamped_gate; zero where a value was held at a bound it had passed. Either output may be NULL.
void lens_clamped_gate_backward(const lens_isa *isa, float alpha, float limit, int64_t count, const float *gate,
                                const float *x, const float *gradient, float *gate_out, float *x_out);
/// Of lens_xielu. p_out and n_out get each element's share of the gradients of alpha_p and alpha_n. Any output may be NULL.
void lens_xielu_backward(const lens_isa *isa, int64_t count, const float *x, float alpha_p, float alpha_n, float beta,
                         float eps, const float *gradient, float *x_out, float *p_out, float *n_out);

/// Of lens_norm. x: [rows, width]; scale_in, w as in the forward call. Gradients of its outputs, any of them NULL (zero):
/// out_gradient and normalized_gradient [rows, width], scale_gradient [rows].
/// x_out: [rows, width]; scale_out: [rows], the gradient of the scale (of scale_in, if given: x_out then leaves it out);
/// w_sums, b_sums: [ceil(rows / LENS_SUM_ROWS), width], partial sums for weight and bias. Any of them may be NULL.
/// x_out may alias a gradient of its shape exactly.
void lens_norm_backward(const lens_isa *isa, lens_norm_kind kind, int64_t rows, int64_t width, float eps, const float *x,
                        const float *scale_in, const float *w, const float *out_gradient, const float *normalized_gradient,
                        const float *scale_gradient, float *x_out, float *scale_out, float *w_sums, float *b_sums);
/// Of lens_affine: x_out = gradient * w, and the partial sums as above. Any output may be NULL, and so may w.
void lens_affine_backward(const lens_isa *isa, int64_t rows, int64_t width, const float *x, const float *w,
                          const float *gradient, float *x_out, float *w_sums, float *b_sums);

/// Of lens_softmax, from its output y: y * (gradient - Σ gradient * y). Zero where y is; rows of n.
void lens_softmax_backward(const lens_isa *isa, int64_t rows, int64_t n, const float *y, const float *gradient, float *out);
/// Of lens_log_softmax, from its output y: gradient - exp(y) * Σ gradient.
void lens_log_softmax_backward(const lens_isa *isa, int64_t rows, int64_t n, const float *y, const float *gradient, float *out);
/// Of lens_cross_entropy: (softmax(x[r]) - [j = target]) * gradient[r]; zeros where the target is negative. gradient: [rows];
/// out: [rows, n], contiguous.
void lens_cross_entropy_backward(const lens_isa *isa, int64_t rows, int64_t n, const float *x, int64_t ld_x,
                                 const int32_t *targets, const float *gradient, float *out);
/// Of lens_rotary: the inverse rotation.
void lens_rotary_backward(const lens_isa *isa, int64_t rows, int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent,
                          const float *gradient, const int32_t *positions, const float *cos, const float *sin, float *out);

// --------------------------------------------------------------------------------------------------------- arithmetic

/// What is done to a pair of elements; each operation rounds once.
typedef enum {
  LENS_OP_ADD = 0,
  LENS_OP_SUBTRACT,
  LENS_OP_MULTIPLY,
  LENS_OP_DIVIDE,
  LENS_OP_POWER,     // a to the power b (libm's powf)
  LENS_OP_WITH_SIGN, // a times the sign of b: 0 where b is 0, NaN where b is NaN
} lens_op;

/// out = a op b over `rank` (at least 1) axes of `shape`; element strides of a and b may be anything, 0 where one repeats.
/// out: row-major; it may alias an operand that is row-major too.
void lens_arithmetic(const lens_isa *isa, lens_op op, int64_t rank, const int64_t *shape, const float *a,
                     const int64_t *a_strides, const float *b, const int64_t *b_strides, float *out);

/// What is done to an element.
typedef enum {
  LENS_MAP_LOG = 0, // libm's logf
  LENS_MAP_ROOT,    // square root
  LENS_MAP_SIZE,    // absolute value
} lens_map;
/// out[i] = map(x[i]). out may alias x.
void lens_apply(const lens_isa *isa, lens_map map, int64_t count, const float *x, float *out);
/// out[i] = x[i] held within low...high; NaN stays. out may alias x.
void lens_clamp(const lens_isa *isa, float low, float high, int64_t count, const float *x, float *out);
/// out[i] = gradient[i] where x[i] is within low...high, else 0; NaN where x is. out may alias either.
void lens_clamp_backward(const lens_isa *isa, float low, float high, int64_t count, const float *x, const float *gradient,
                         float *out);

/// out[o, i] = Σ_s x[o, s, i], summed in double precision and rounded once. x: [outer, size, inner].
/// inner > 1: one chain in ascending s; inner = 1: LENS_LANES lanes and the contract's tree. The same bits on every set.
void lens_sum_axis(const lens_isa *isa, int64_t outer, int64_t size, int64_t inner, const float *x, float *out);

#ifdef __cplusplus
}
#endif
#endif
