// act_rows.h: the activations, and the elementwise kernels. One body per activation, used here and in the epilogue of a
// product, so both give the same bits.
//
// SiLU and the GELUs are within 2 ulp of max(|x|, |result|), and reach -0 on the far negative side once the exact result
// is below 1e-36 |x|. At -inf they are NaN (-inf · 0), as in PyTorch; at +inf they are +inf.
#ifndef LENS_ACT_ROWS_H
#define LENS_ACT_ROWS_H

LENS_INLINE v16 activate(lens_act act, v16 x) {
  const v16 one = splat(1.0f);
  switch (act) {
  case LENS_ACT_NONE:
    return x;
  case LENS_ACT_RELU: // NaN is not below zero, and stays
    return choose(x < splat(0.0f), splat(0.0f), x);
  case LENS_ACT_GELU:
    return x * lanes_normal_cdf(x);
  case LENS_ACT_GELU_NEW: { // 0.5 (1 + tanh u) = σ(2u)
    const v16 u = LENS_FMA(splat(0.044715f), x * x * x, x);
    return x / (one + lanes_exp(splat(-1.59576912f) * u));
  }
  case LENS_ACT_GELU_FAST: {
    const v16 u = x * LENS_FMA(splat(0.044715f), x * x, one);
    return x / (one + lanes_exp(splat(-1.59576912f) * u));
  }
  case LENS_ACT_SILU:
    return x / (one + lanes_exp(-x));
  case LENS_ACT_TANH:
    return lanes_tanh(x);
  case LENS_ACT_EXP:
    return lanes_exp(x);
  case LENS_ACT_SIGMOID:
    return one / (one + lanes_exp(-x));
  }
  return x;
}

static void activation_row(lens_act act, int64_t count, const float *x, float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES)
    store_row(out + i, activate(act, load_row(x + i, count - i)), count - i);
}

/// x > 0: alpha_p x² + beta x; else alpha_n (expm1(min(x, eps)) - x) + beta x. NaN counts as not above zero, and stays.
static void xielu_row(int64_t count, const float *x, float alpha_p, float alpha_n, float beta, float eps, float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 v = load_row(x + i, count - i), low = choose(v > splat(eps), splat(eps), v);
    const v16 above = splat(alpha_p) * v * v, below = splat(alpha_n) * (lanes_expm1_negative(low) - v);
    store_row(out + i, LENS_FMA(splat(beta), v, choose(v > splat(0.0f), above, below)), count - i);
  }
}

static void gated_row(lens_act act, int64_t count, const float *gate, const float *x, float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 opened = activate(act, load_row(gate + i, count - i));
    store_row(out + i, opened * load_row(x + i, count - i), count - i);
  }
}

static void clamped_gate_row(float alpha, float limit, int64_t count, const float *gate, const float *x, float *out) {
  const v16 one = splat(1.0f), most = splat(limit), least = splat(-limit);
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    v16 g = load_row(gate + i, count - i), u = load_row(x + i, count - i);
    g = choose(g > most, most, g);
    u = choose(u > most, most, u);
    u = choose(u < least, least, u);
    const v16 opened = g / (one + lanes_exp(-(splat(alpha) * g)));
    store_row(out + i, (u + one) * opened, count - i);
  }
}

static void add_weighted_row(int64_t count, float weight, const float *x, float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 share = splat(weight) * load_row(x + i, count - i);
    store_row(out + i, load_row(out + i, count - i) + share, count - i);
  }
}

static void scale_row(int64_t count, const float *x, float factor, float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES)
    store_row(out + i, load_row(x + i, count - i) * splat(factor), count - i);
}

/// x: [parts, width]; sums in order, the first part starting the total.
static void sum_parts_row(int64_t parts, int64_t width, const float *x, const float *bias, const float *residual,
                          float *linear_out, float *out) {
  for (int64_t i = 0; i < width; i += LENS_LANES) {
    const int64_t left = width - i;
    v16 sum = load_row(x + i, left);
    for (int64_t part = 1; part < parts; part++) sum = sum + load_row(x + part * width + i, left);
    if (bias) sum = sum + load_row(bias + i, left);
    if (linear_out) store_row(linear_out + i, sum, left);
    if (residual) sum = load_row(residual + i, left) + sum;
    if (out) store_row(out + i, sum, left);
  }
}

#endif
