// experts_gradient_rows.h: the gate of GPT-OSS in reverse, and the sum of weighted rows.
#ifndef LENS_EXPERTS_GRADIENT_ROWS_H
#define LENS_EXPERTS_GRADIENT_ROWS_H

/// (u + 1) · g·σ(alpha·g) with g the gate held below `limit`, u held within ±limit. What was held has no gradient; at the
/// bounds themselves it has (as torch.clamp's). Either output may be NULL.
static void clamped_gate_gradient_row(float alpha, float limit, int64_t count, const float *gate, const float *x, const float *dy,
                                      float *dgate, float *dx) {
  const v16 one = splat(1.0f), none = splat(0.0f), most = splat(limit), least = splat(-limit);
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const int64_t left = count - i;
    const v16 given = load_row(gate + i, left), given_u = load_row(x + i, left), d = load_row(dy + i, left);
    const v16 g = choose(given > most, most, given);
    v16 u = choose(given_u > most, most, given_u);
    u = choose(u < least, least, u);
    const v16 s = one / (one + lanes_exp(-(splat(alpha) * g)));
    if (dx) store_row(dx + i, choose((given_u > most) | (given_u < least), none, d * (g * s)), left);
    if (dgate) {
      const v16 slope = s * (one + splat(alpha) * g * (one - s));
      store_row(dgate + i, choose(given > most, none, d * (u + one) * slope), left);
    }
  }
}

/// Σ a[i] · b[i], sixteen lanes.
static float dot_row(int64_t count, const float *a, const float *b) {
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < count; i += LENS_LANES) sum = LENS_FMA(load_row(a + i, count - i), load_row(b + i, count - i), sum);
  return lanes_sum(sum);
}

#endif
