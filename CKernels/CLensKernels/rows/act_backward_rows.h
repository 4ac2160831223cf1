// act_backward_rows.h: derivatives of the activations, and what an element's gradient becomes on its way back through one.
// One body per activation, of the input alone: nothing but the input has to be kept.
#ifndef LENS_ACT_BACKWARD_ROWS_H
#define LENS_ACT_BACKWARD_ROWS_H

/// x within ±limit, NaN as it is: past some point a derivative stays what it is, and infinity must not meet zero.
LENS_INLINE v16 within(v16 x, float limit) {
  x = choose(x > splat(limit), splat(limit), x);
  return choose(x < splat(-limit), splat(-limit), x);
}

/// (x σ(u))' with e = exp(-u): σ + x σ (1 - σ) u'. Where σ is near 1, 1 - σ is e σ, which loses nothing; where it is near 0, e
/// may be infinite.
LENS_INLINE v16 sigmoid_product_slope(v16 x, v16 e, v16 slope_of_u) {
  const v16 one = splat(1.0f), s = one / (one + e), rest = choose(e < one, e * s, one - s);
  return LENS_FMA(x * slope_of_u, s * rest, s);
}

/// gradient * act'(x), within 4 ulp of max(1, |act'(x)|) times the gradient (TANH, EXP, SIGMOID: of the derivative).
LENS_INLINE v16 activate_backward(lens_act act, v16 x, v16 gradient) {
  const v16 one = splat(1.0f);
  switch (act) {
  case LENS_ACT_NONE:
    return gradient;
  case LENS_ACT_RELU: // chosen, not multiplied: an infinite gradient stops here too
    return choose(x > splat(0.0f), gradient, choose(x == x, splat(0.0f), x));
  case LENS_ACT_GELU: { // Φ(x) + x φ(x)
    const v16 c = within(x, 15.0f), density = splat(0.398942280f) * lanes_exp(splat(-0.5f) * (c * c));
    return gradient * LENS_FMA(c, density, lanes_normal_cdf(c));
  }
  case LENS_ACT_GELU_NEW:
  case LENS_ACT_GELU_FAST: {
    const v16 c = within(x, 12.0f), square = c * c;
    const v16 u = splat(1.59576912f) * (c * LENS_FMA(splat(0.044715f), square, one));
    const v16 slope = splat(1.59576912f) * LENS_FMA(splat(0.134145f), square, one);
    return gradient * sigmoid_product_slope(c, lanes_exp(-u), slope);
  }
  case LENS_ACT_SILU: {
    const v16 c = within(x, 104.0f);
    return gradient * sigmoid_product_slope(c, lanes_exp(-c), one);
  }
  case LENS_ACT_TANH: { // 1 - tanh² as 4 e / (1 + e)²: nothing cancels
    const v16 e = lanes_exp(splat(-2.0f) * magnitude(x)), sum = one + e;
    return gradient * (splat(4.0f) * e / (sum * sum));
  }
  case LENS_ACT_EXP:
    return gradient * lanes_exp(x);
  case LENS_ACT_SIGMOID: {
    const v16 e = lanes_exp(-magnitude(x)), sum = one + e;
    return gradient * (e / (sum * sum));
  }
  }
  return gradient;
}

static void activation_backward_row(lens_act act, int64_t count, const float *x, float factor, const float *gradient,
                                    float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const int64_t left = count - i;
    store_row(out + i, activate_backward(act, splat(factor) * load_row(x + i, left), load_row(gradient + i, left)), left);
  }
}

static void gated_backward_row(lens_act act, int64_t count, const float *gate, const float *x, const float *gradient,
                               float *gate_out, float *x_out) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const int64_t left = count - i;
    const v16 g = load_row(gate + i, left), v = load_row(x + i, left), d = load_row(gradient + i, left);
    if (gate_out) store_row(gate_out + i, activate_backward(act, g, d * v), left);
    if (x_out) store_row(x_out + i, d * activate(act, g), left);
  }
}

static void clamped_gate_backward_row(float alpha, float limit, int64_t count, const float *gate, const float *x,
                                      const float *gradient, float *gate_out, float *x_out) {
  const v16 one = splat(1.0f), zero = splat(0.0f), most = splat(limit), least = splat(-limit);
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const int64_t left = count - i;
    const v16 gate_in = load_row(gate + i, left), x_in = load_row(x + i, left), d = load_row(gradient + i, left);
    const i16 gate_held = gate_in > most, x_held = (x_in > most) | (x_in < least);
    const v16 g = choose(gate_held, most, gate_in);
    const v16 u = choose(x_in > most, most, choose(x_in < least, least, x_in));
    const v16 e = lanes_exp(-(splat(alpha) * g));
    // Far below zero e is infinite and the slope 0: infinity must not meet it.
    const v16 near = choose(e == splat(INFINITY), zero, g);
    if (gate_out) store_row(gate_out + i, choose(gate_held, zero, d * (u + one) * sigmoid_product_slope(near, e, splat(alpha))), left);
    if (x_out) store_row(x_out + i, choose(x_held, zero, d * (g / (one + e))), left);
  }
}

/// Above zero 2 alpha_p x + beta; below alpha_n (e^x - 1) + beta, where min(x, eps) is eps without the e^x.
static void xielu_backward_row(int64_t count, const float *x, float alpha_p, float alpha_n, float beta, float eps,
                               const float *gradient, float *x_out, float *p_out, float *n_out) {
  const v16 zero = splat(0.0f);
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const int64_t left = count - i;
    const v16 v = load_row(x + i, left), d = load_row(gradient + i, left);
    const i16 above = v > zero, held = v > splat(eps);
    const v16 shrunk = lanes_expm1_negative(choose(held, splat(eps), v));
    if (x_out) {
      const v16 below = splat(alpha_n) * choose(held, splat(-1.0f), shrunk);
      const v16 slope = choose(above, splat(2.0f * alpha_p) * v, choose(v == v, below, v));
      store_row(x_out + i, d * (slope + splat(beta)), left);
    }
    if (p_out) store_row(p_out + i, choose(above, d * (v * v), choose(v == v, zero, v)), left);
    if (n_out) store_row(n_out + i, choose(above, zero, d * (shrunk - v)), left);
  }
}

#endif
