// lens_kernels.h: the whole C interface of the hot kernels. Float32 throughout.
//
// How to read it. Every driver takes first the instruction set it runs on (`isa`, from lens_isa_active() or
// lens_isa_at()), then shapes, then pointers. Arrays are row-major and contiguous unless a stride is named; no alignment
// is assumed. Drivers are parallel over rows or panels with OpenMP; the split never changes a bit of the result.
//
// The numerical contract ("one number, one way"):
//  - A product element is a sum of blocks: inside a block one fused multiply-add chain in ascending k, starting from
//    zero; the blocks' sums are added in order, the first one starting the total. Blocks have a fixed length
//    (LENS_K_BLOCK, or the caller's `block`), counted from k_begin.
//  - A sum over a row (norm, softmax) has LENS_LANES lanes, element i in lane i % LENS_LANES, each lane one chain in
//    ascending order, reduced as a fixed tree: lane l += lane l+8, then l+4, l+2, l+1.
//  - Sums over attention keys are sums of chunks of LENS_PAGE keys counted from the row's first real token.
// So a value depends on its own row alone: never on the batch, tiling, thread count, or what else is stored.
// The AVX2 and AVX-512 tables give the same bits; the portable one, which has no fused multiply-add, need not.
//
// Gradients and the arithmetic of metrics: lens_backward.h, included at the end.
//
// What it refuses: nothing here allocates, checks shapes, or reports errors: LensTensor does that before it calls.
#ifndef LENS_KERNELS_H
#define LENS_KERNELS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LENS_PANEL 64    // columns in a packed panel
#define LENS_K_BLOCK 256 // k values in one chain of a linear layer
#define LENS_LANES 16    // lanes of a row sum, whatever the vector width
#define LENS_PAGE 64     // keys in a page of the key-value cache, and in one chunk of a sum over keys

// ---------------------------------------------------------------------------------------------------- instruction sets

/// One instruction set: a table of row kernels, filled from the generic bodies. Opaque to callers.
typedef struct lens_isa lens_isa;

/// Number of instruction sets compiled in, in priority order (best first).
int32_t lens_isa_count(void);
/// The set at `index`, or NULL out of range.
const lens_isa *lens_isa_at(int32_t index);
/// "avx512vnni", "avx512", "avx2vnni", "avx2" or "portable". Those with "vnni" differ in lens_linear_int8 alone.
const char *lens_isa_name(const lens_isa *isa);
/// Whether this machine (processor and operating system) can run it.
bool lens_isa_runnable(const lens_isa *isa);
/// The best runnable set, or the one LENS_ISA names. NULL if LENS_ISA names an unknown or unrunnable one:
/// the caller reports that loudly. Decided once per process, thread-safe.
const lens_isa *lens_isa_active(void);
/// The set that LENS_ISA=name would choose: NULL if that is unknown or unrunnable; the best one if name is NULL or empty.
const lens_isa *lens_isa_named(const char *name);

/// Threads used by every driver from now on, in the whole process; n < 1 restores OpenMP's own choice. Never more are used
/// than this process has processors (or 4, if those are fewer).
void lens_set_threads(int32_t n);
/// Threads a driver would use now.
int32_t lens_get_threads(void);

// -------------------------------------------------------------------------------------------------- packed weight matrices
// A matrix W[k, n] is kept as ceil(n / LENS_PANEL) panels; panel p holds columns [64p, 64p+64), columns past n zero.
// Packed once, at load, in one of these formats. What an element is, is a float32 value, the one ggml's own
// dequantisation gives to the bit; every reader (products of any shape, gathering, unpacking) uses that value.

/// How weights are kept. The quantised ones are ggml's, in blocks along k.
typedef enum {
  LENS_FORMAT_F32 = 0,
  LENS_FORMAT_BF16,
  LENS_FORMAT_F16,
  LENS_FORMAT_Q8_0, // blocks of 32: d · q, q of 8 bits
  LENS_FORMAT_Q4_0, // d · (q - 8)
  LENS_FORMAT_Q4_1, // d · q + m
  LENS_FORMAT_Q5_0, // d · (q - 16)
  LENS_FORMAT_Q5_1, // d · q + m
  LENS_FORMAT_Q2_K, // blocks of 256, each 16 or 32 of them with a scale of their own
  LENS_FORMAT_Q3_K,
  LENS_FORMAT_Q4_K,
  LENS_FORMAT_Q5_K,
  LENS_FORMAT_Q6_K,
  LENS_FORMAT_COUNT,
} lens_format;

/// Types of elements that are packed.
typedef enum { LENS_F32 = 0, LENS_F16 = 1, LENS_BF16 = 2, LENS_F64 = 3 } lens_dtype;

/// A packed [k, n] matrix. k is a multiple of the format's block.
typedef struct {
  lens_format format;
  int64_t k, n;
  void *data; // lens_packed_bytes() of them
} lens_matrix;

/// Rows in a block (1, 32 or 256), and the bytes that one column of a block takes.
int64_t lens_format_rows(lens_format format);
int64_t lens_format_bytes(lens_format format);
/// Bytes of a packed [k, n] matrix (0 if k or n is 0).
int64_t lens_packed_bytes(lens_format format, int64_t k, int64_t n);
/// Writes the block W[k_begin..<k_begin+k_count, n_begin..<n_begin+n_count] into `w`.
/// Element (i, j) of the block is at src + (i * k_stride + j * n_stride) elements of `dtype`, at any alignment, negative
/// strides allowed. If the block reaches column n, the padding columns of its rows are zeroed.
/// The format is F32, BF16 or F16 (rounded to nearest even; elements of that very type keep their bits), or Q8_0 or Q4_0,
/// quantised as ggml's reference does; for those k_begin and k_count are multiples of 32, and a block with a NaN or an
/// infinity becomes NaN.
void lens_pack(const lens_matrix *w, int64_t k_begin, int64_t k_count, int64_t n_begin, int64_t n_count, const void *src,
               lens_dtype dtype, int64_t k_stride, int64_t n_stride);
/// Whole columns n_begin..<n_begin+n_count of a quantised `w` from ggml's own blocks: column j's are at
/// src + j * (k / lens_format_rows) * lens_format_bytes, one after another.
void lens_pack_blocks(const lens_matrix *w, int64_t n_begin, int64_t n_count, const void *src);
/// The reverse of lens_pack_blocks, bit for bit.
void lens_unpack_blocks(const lens_matrix *w, int64_t n_begin, int64_t n_count, void *dst);
/// The values: block element (i, j) goes to dst[i * k_stride + j * n_stride].
void lens_unpack(const lens_isa *isa, const lens_matrix *w, int64_t k_begin, int64_t k_count, int64_t n_begin,
                 int64_t n_count, float *dst, int64_t k_stride, int64_t n_stride);
/// Converts `count` elements at any alignment to float32 (float64 rounds to nearest even).
void lens_convert(const void *src, lens_dtype dtype, int64_t count, float *dst);

/// A matrix [k, n] of weights wherever it lies: packed, or plain float32 as tables are.
typedef struct {
  int64_t k, n;
  const lens_matrix *packed; // NULL: element (i, j) is values[i * k_stride + j * n_stride]
  float *values;
  int64_t k_stride, n_stride;
} lens_weights;

/// sums[j] = Σ_i factors[i] · W[i, j], in double, in ascending i; factors: [k], NULL for ones. k == 0 gives zeros.
void lens_column_sums(const lens_isa *isa, const lens_weights *w, const double *factors, double *sums);
/// sums[i] = Σ_j W[i, j], in double, in LENS_LANES lanes. n == 0 gives zeros.
void lens_row_sums(const lens_isa *isa, const lens_weights *w, double *sums);
/// to[i, j] = scale[i] · from[i, j] - mean[j] - offset[i], in double and rounded once to what `to` keeps (F32, BF16, F16, Q8_0
/// or Q4_0). mean[j] is the mean over i of scale[i] · from[i, j] where `centers`, else 0. scale (NULL: ones), offset (NULL:
/// zeros): [k]. from and to are [k, n] both; `to` may be `from` itself. Padding columns of a packed `to` become zero.
void lens_rewrite(const lens_isa *isa, const lens_weights *from, const lens_weights *to, const double *scale, bool centers,
                  const double *offset);

/// dst[32 b ..< 32 b + 32] from block b of MXFP4 (OCP Microscaling 1.0): 16 bytes of two 4-bit floats (e2m1, the lower
/// half first) and a scale byte s that stands for 2^(s - 127). Exact in float32 (s = 0 gives denormals); s = 255 gives NaN.
void lens_unpack_mxfp4(int64_t blocks, const uint8_t *elements, const uint8_t *scales, float *dst);

/// Each within 2 ulp of max(|x|, |result|) over all floats; exp within 1.5 ulp of the result, denormals included.
/// NaN gives NaN. At -inf, SiLU and the GELUs give NaN (-inf · 0), as PyTorch does.
typedef enum {
  LENS_ACT_NONE = 0,
  LENS_ACT_RELU,
  LENS_ACT_GELU,      // x·Φ(x), exact
  LENS_ACT_GELU_NEW,  // 0.5x(1+tanh(√(2/π)(x+0.044715x³))), also gelu_pytorch_tanh
  LENS_ACT_GELU_FAST, // 0.5x(1+tanh(0.7978845608·x·(1+0.044715x²)))
  LENS_ACT_SILU,      // x·σ(x)
  LENS_ACT_TANH,      // the one of softcapped scores
  LENS_ACT_EXP,       // the one of every softmax
  LENS_ACT_SIGMOID,   // 1/(1+e^-x)
} lens_act;

/// What rides on a matrix product. All arrays are [m, ld_out] like `out`; any pointer may be NULL.
///   linear = x·W + bias          (stored to linear_out; no bias: just x·W)
///   value  = gate ? act(gate) * linear : act(linear)
///   out    = residual ? residual + value : value
/// Each step is rounded to float32 as if it had been stored, so storing changes no bit. `out` may be NULL when only
/// linear_out is wanted. out may alias residual or gate exactly.
typedef struct {
  const float *bias; // [n], indexed by absolute column
  float *linear_out;
  lens_act act;
  const float *gate;
  const float *residual;
} lens_epilogue;

/// out[i, j] = epilogue(Σ_k x[i, k - k_begin] · W[k, j]) for i in 0..<m, k in k_begin..<k_end, j in n_begin..<n_end.
/// x: [m, k_end - k_begin] with row stride ld_x. W: [k, n]. Column j is written to out[i * ld_out + j]: out points
/// at absolute column 0. `block`: chain length (LENS_K_BLOCK for ordinary layers; d_head for W_O, so that heads sum one
/// by one). Edge cases: m == 0 or an empty column range writes nothing; an empty k range gives act(bias) and so on
/// from a sum of zero. NaN and infinity propagate as in the plain chain.
void lens_linear(const lens_isa *isa, int64_t m, const lens_matrix *w, int64_t k_begin, int64_t k_end, int64_t n_begin,
                 int64_t n_end, int64_t block, const float *x, int64_t ld_x, float *out, int64_t ld_out,
                 const lens_epilogue *epilogue);

/// The same with x rounded to eight bits, and W quantised: every x is about scale · q, q an integer of -127...127. A group, the
/// rows of k that share a scale in W's format (32, or 16 of Q2_K, Q3_K and Q6_K; fewer where a chain or the range ends), has
/// scale = max |x| / 127 and q = x / scale to the nearest integer. Sums of a group's products are exact; each is then multiplied
/// by the scales, added to its chain, and the chains to one another, every step rounded to float32 by itself. So the bits before
/// the epilogue are the same on every set, and the error against lens_linear is at most Σ over groups of max |x| / 254 · Σ |W| of
/// the group, rounding aside (a few ulp of Σ |x · W|). A group below 2^-96 counts as zero; one with a NaN or an infinity makes all
/// of its row NaN. `scratch`: lens_int8_scratch() floats. Edge cases as above.
void lens_linear_int8(const lens_isa *isa, int64_t m, const lens_matrix *w, int64_t k_begin, int64_t k_end, int64_t n_begin,
                      int64_t n_end, int64_t block, const float *x, int64_t ld_x, float *out, int64_t ld_out,
                      const lens_epilogue *epilogue, float *scratch);
/// Floats of scratch that the call takes; 0 for formats that are not quantised, which have no such product.
int64_t lens_int8_scratch(lens_format format, int64_t m, int64_t k_begin, int64_t k_end, int64_t block);

/// Most products that lens_linear_several takes.
#define LENS_PRODUCTS 4

/// One product among several: all rows and columns of w, chains of LENS_K_BLOCK. out: [m, w.n], rows w.n apart.
typedef struct {
  lens_matrix w;
  float *out;
  lens_epilogue epilogue;
} lens_product;

/// `count` products (at most LENS_PRODUCTS) of the same x, [m, k] with row stride ld_x, for matrices of k rows each: the bits of as
/// many calls of lens_linear, or, where scratch is given and all w are quantised, of lens_linear_int8. Threads are called
/// together once. in_step: all are of one width, and an epilogue may read (as gate or residual) what an earlier product writes.
/// scratch: as many floats as lens_int8_scratch() gives for all of them together. Edge cases as above.
void lens_linear_several(const lens_isa *isa, int64_t m, int64_t count, const lens_product *products, bool in_step, const float *x,
                         int64_t ld_x, float *scratch);

// -------------------------------------------------------------------------------------------------------- row kernels

typedef enum { LENS_NORM_LAYER = 0, LENS_NORM_RMS = 1 } lens_norm_kind;

/// x: [rows, width]. centred = layer: x - mean(x), rms: x.
/// scale = sqrt(mean(centred²) + eps), or scale_in[row] where given; normalized = centred * (1 / scale);
/// out = normalized * w + b (two roundings; w, b NULL: not applied).
/// out: [rows, width]; normalized_out: [rows, width]; scale_out: [rows]; each may be NULL. out may alias x.
/// width 0 writes scale = sqrt(eps) only. NaN anywhere in a row makes that row NaN
/// (an RMS row with scale_in given: NaN only where x or the scale is).
void lens_norm(const lens_isa *isa, lens_norm_kind kind, int64_t rows, int64_t width, float eps, const float *x,
               const float *scale_in, const float *w, const float *b, float *out, float *normalized_out,
               float *scale_out);
/// out[r, j] = x[r, j] * w[j] + b[j], the last step of lens_norm with the same bits. w or b may be NULL.
void lens_affine(const lens_isa *isa, int64_t rows, int64_t width, const float *x, const float *w, const float *b,
                 float *out);

/// out[i] = act(x[i]); the same bits as in lens_linear's epilogue. out may alias x.
void lens_activation(const lens_isa *isa, lens_act act, int64_t count, const float *x, float *out);
/// out[i] = act(gate[i]) * x[i]; the same bits as in lens_linear's epilogue. out may alias either.
/// xIELU: x > 0: alpha_p x² + beta x; else alpha_n (expm1(min(x, eps)) - x) + beta x.
void lens_xielu(const lens_isa *isa, int64_t count, const float *x, float alpha_p, float alpha_n, float beta, float eps, float *out);
void lens_gated(const lens_isa *isa, lens_act act, int64_t count, const float *gate, const float *x, float *out);
/// out[i] = (u + 1) * (g * σ(alpha·g)) with g = min(gate[i], limit) and u = x[i] held within ±limit: the gate of GPT-OSS's
/// experts. NaN stays NaN. out may alias either.
void lens_clamped_gate(const lens_isa *isa, float alpha, float limit, int64_t count, const float *gate, const float *x,
                       float *out);
/// out[ids[i], :] = out[ids[i], :] + weights[i] * x[i, :], in ascending i, product and sum each rounded. x: [count, width].
/// ids, which may repeat, checked by the caller. out must not alias x.
void lens_add_rows(const lens_isa *isa, int64_t count, int64_t width, const int32_t *ids, const float *weights,
                   const float *x, float *out);
/// out[i] = x[i] * factor. out may alias x.
void lens_scale(const lens_isa *isa, int64_t count, const float *x, float factor, float *out);
/// out[r, j] = ((x[r, 0, j] + x[r, 1, j]) + …) (+ bias[j], if given) (then residual[r, j] + that, if given).
/// linear_out, if given, gets the sum with bias. x: [rows, parts, width], parts ≥ 1. The same bits as lens_linear with
/// block = the parts' width: this is how split W_O results are summed.
void lens_sum_parts(const lens_isa *isa, int64_t rows, int64_t parts, int64_t width, const float *x, const float *bias,
                    const float *residual, float *linear_out, float *out);

/// Softmax over the last axis of x: [rows, n]: exp(x - max) scaled by 1 / sum. A row whose maximum is -inf and that has
/// no NaN gives zeros (everything masked); any NaN or +inf makes the row NaN where IEEE arithmetic does. n == 0: nothing.
void lens_softmax(const lens_isa *isa, int64_t rows, int64_t n, const float *x, float *out);
/// out[r, j] = x[r, j] - max - log(Σ exp(x - max)). The same edge cases as IEEE arithmetic gives (no special masking).
void lens_log_softmax(const lens_isa *isa, int64_t rows, int64_t n, const float *x, float *out);
/// loss[r] = -log_softmax(x[r])[target[r]], without storing the row; 0 where the target is negative, whatever x holds. Targets
/// are below n (checked by the caller). Row stride ld_x.
void lens_cross_entropy(const lens_isa *isa, int64_t rows, int64_t n, const float *x, int64_t ld_x,
                        const int32_t *targets, float *loss);

/// Rotary embedding of the first `rotary_dim` (even) channels of each head; the rest is copied.
/// x, out: [rows, heads, d_head]; positions: [rows] rows of the tables; cos, sin: [table_rows, rotary_dim / 2].
/// adjacent: pairs (2i, 2i+1), otherwise halves (i, i + rotary_dim/2).
/// (a, b) -> (a·cos - b·sin, b·cos + a·sin), each product and sum rounded. out may alias x.
void lens_rotary(const lens_isa *isa, int64_t rows, int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent,
                 const float *x, const int32_t *positions, const float *cos, const float *sin, float *out);

/// out[i, :] = table[ids[i], :], table: [vocab, width]. ids checked by the caller.
void lens_gather_rows(int64_t count, int64_t width, const float *table, const int32_t *ids, float *out);
/// out[i, :] = W[:, ids[i]] of a packed [k, n] matrix (tied embeddings live in the packed W_U).
void lens_gather_columns(const lens_isa *isa, const lens_matrix *w, int64_t count, const int32_t *ids, float *out);

// ---------------------------------------------------------------------------------------------------------- attention
// Keys and values live in pages of LENS_PAGE slots. Batch row b's key position j is slot j + shift_b, where
// shift_b = (-first[b]) mod LENS_PAGE, so that the row's first real token starts a page: chunks of a sum over keys are
// pages, and left padding sits in the slots before. A page holds, for every kv head g,
//   keys   at g * d_head * LENS_PAGE:                                   [d_head][LENS_PAGE]   (rotated)
//   values at kv_heads * d_head * LENS_PAGE + g * LENS_PAGE * d_value:  [LENS_PAGE][d_value]
// with d_value = d_head rounded up to LENS_LANES; a new page starts all zero.

/// Floats in one page.
int64_t lens_page_count(int64_t kv_heads, int64_t d_head);
/// Stores rows k, v: [batch, new_keys, kv_heads, d_head] of key positions position.. ..<position+new_keys.
/// pages: [batch][pages_per_row] pointers. Either k or v may be NULL.
void lens_pages_write(int64_t batch, int64_t new_keys, int64_t kv_heads, int64_t d_head, int64_t position,
                      const int64_t *first, float *const *pages, int64_t pages_per_row, const float *k,
                      const float *v);
/// Reads key positions position..<position+count back into k and v: [batch, count, kv_heads, d_head] (either NULL).
void lens_pages_read(int64_t batch, int64_t count, int64_t kv_heads, int64_t d_head, int64_t position,
                     const int64_t *first, const float *const *pages, int64_t pages_per_row, float *k, float *v);

/// Attention of `queries` new rows over `keys` key positions (the queries are the last ones: query i is at position
/// keys - queries + i, below zero where there are more queries than keys, as cross-attention may have). Key j is visible to the query at position p when first[b] <= j, j < keys, key_mask allows it,
/// causal: j <= p, window > 0: p - window < j.
///
///   score[j]   = (Σ_d q[d]·k[j][d]) * score_scale, one chain over d;      softcap > 0: softcap·tanh(score / softcap);
///                + alibi[h]·(j - p) where given;
///                + relative[h][clamp(j - p, -reach, reach) + reach] where given;  -inf where not visible
///   pattern[j] = exp(score[j] - max) * (1 / Σ exp), the sum in chunks of LENS_PAGE slots, each chunk in LENS_LANES lanes;
///                all zero where nothing is visible (as lens_softmax: NaN is never hidden). Where sinks are given, sinks[h]
///                is one more score, which max and Σ (last) take in and which has no value: rows then sum to less than 1
///   z[d]       = Σ_j pattern[j]·v[j][d], one chain per chunk over the row's visible range, chunks added in order
///
/// The row's range is the visible keys' smallest interval; outside it nothing is read. With scores_in (pattern_in) the
/// scores (pattern) are taken from there, and the range widens to whatever the caller made finite (nonzero) outside it.
/// Any output may be NULL and is then not stored; scores_out and pattern_out: [batch, heads, queries, keys];
/// z: [batch, queries, heads, d_head]. Storing, and cutting the work into two calls at scores or pattern, changes no bit.
/// Head h reads kv head h / (heads / kv_heads).
typedef struct {
  int64_t batch, heads, kv_heads, d_head;
  int64_t queries, keys;
  float score_scale;
  float softcap;
  const float *alibi;      // [heads] or NULL
  const float *sinks;      // [heads] or NULL
  bool rounds_alibi;       // the bias is bf16(bf16(alibi[h])·i) * score_scale, i counted from first[b], in place of alibi[h]·(j - p)
  const float *relative;   // [heads][2 * reach + 1] or NULL
  int64_t reach;
  bool causal;
  int64_t window;          // 0: none
  const int64_t *first;    // [batch]: position of the first real token
  const uint8_t *key_mask; // [batch, keys], 0: masked; or NULL
  const float *q;          // [batch, queries, heads, d_head], rotated; may be NULL with scores_in or pattern_in
  const float *k, *v;      // [batch, keys, kv_heads, d_head] in place of pages, where every first is 0 and keys <= LENS_PAGE; or NULL
  const float *const *pages; // [batch][pages_per_row]
  int64_t pages_per_row;
  const float *scores_in;
  const float *pattern_in;
  float *scores_out;
  float *pattern_out;
  float *z;
  float *scratch;        // lens_attention_scratch() floats
  int64_t scratch_count; // floats at scratch: bounds the threads used, should their number be raised in between
} lens_attention_args;

/// Floats of scratch for the present thread count. With fewer, down to one thread's share, fewer threads are used.
int64_t lens_attention_scratch(const lens_attention_args *args);
void lens_attention(const lens_isa *isa, const lens_attention_args *args);

// ----------------------------------------------------------------------------------------------------------------- training

#define LENS_SQUARE_LANES 8

/// One step of Adam or AdamW (torch.optim's plain loop), the same for every element of a parameter. With g = gradient ·
/// gradient_scale + weight_decay · p and p = parameter · shrink:
///   first = first + (g − first)(1 − β₁);  second = β₂ second + (1 − β₂) g²
///   parameter = p − step_size · first / (√second / correction2_root + eps)
typedef struct {
  float gradient_scale;
  float shrink;       // 1 − lr · weight decay for AdamW, else 1
  float weight_decay; // for Adam, else 0
  float beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
  float step_size;        // lr / (1 − β₁ᵗ)
  float correction2_root; // √(1 − β₂ᵗ)
  bool lerps_from_start;  // 1 − β₁ < ½, as torch.lerp
} lens_adam_step;

/// One step of SGD (torch.optim.SGD).
typedef struct {
  float gradient_scale, learning_rate, weight_decay, momentum, one_minus_dampening;
  bool nesterov, is_first; // the first step's velocity is the gradient
} lens_sgd_step;

/// In place over `parameter`, `first` and `second`, which must not alias one another or `gradient`.
void lens_adam(const lens_isa *isa, const lens_adam_step *step, int64_t count, const float *gradient, float *parameter,
               float *first, float *second);
/// In place over `parameter` and `velocity`; velocity is NULL without momentum.
void lens_sgd(const lens_isa *isa, const lens_sgd_step *step, int64_t count, const float *gradient, float *parameter,
              float *velocity);
/// Whether any element is not zero (NaN is not).
bool lens_is_any(int64_t count, const float *x);
/// Σ x², in double, in a fixed order.
double lens_square_sum(const lens_isa *isa, int64_t count, const float *x);
/// out[r] = log Σ exp(x[r, :]) − x[r, targets[r]], all in double, and the first term in lse[r]; 0 for a negative target, a row
/// that does not count. NaN where the row has one. Targets below n, checked by the caller.
void lens_cross_entropy_double(const lens_isa *isa, int64_t rows, int64_t n, const float *x, const int32_t *targets, double *lse,
                               double *out);
/// out[r, i] = factors[r] · (exp(x[r, i] − lse[r]) − [i = targets[r]]); zeros for a row that does not count.
void lens_cross_entropy_double_gradient(const lens_isa *isa, int64_t rows, int64_t n, const float *x, const int32_t *targets,
                                        const double *lse, const double *factors, float *out);

#ifdef __cplusplus
}
#endif

#include "lens_backward.h"
#include "lens_gradients.h"
#include "lens_reading.h"
#endif
