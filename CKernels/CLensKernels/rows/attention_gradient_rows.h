// attention_gradient_rows.h: what happens to one row of attention in reverse.
#ifndef LENS_ATTENTION_GRADIENT_ROWS_H
#define LENS_ATTENTION_GRADIENT_ROWS_H

/// The softmax in reverse, in place: gradient = pattern · (gradient - Σ pattern · gradient). What has no weight has no
/// gradient, whatever stands there. count: a multiple of LENS_LANES. Returns the sum.
static float pattern_gradient_row(int64_t count, const float *pattern, float *gradient) {
  const v16 none = splat(0.0f);
  v16 sum = none;
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 p = load(pattern + i), g = choose(p == none, none, load(gradient + i));
    sum = LENS_FMA(p, g, sum);
  }
  const float total = lanes_sum(sum);
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 p = load(pattern + i);
    store(gradient + i, choose(p == none, none, p * (load(gradient + i) - splat(total))));
  }
  return total;
}

/// softcap · tanh(x · scale / softcap) in reverse but for the scale, in place. count: a multiple of LENS_LANES.
static void softcap_gradient_row(float scale, float softcap, int64_t count, const float *x, float *gradient) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 t = lanes_tanh(load(x + i) * splat(scale) / splat(softcap)), g = load(gradient + i);
    store(gradient + i, choose(g == splat(0.0f), g, g * (splat(1.0f) - t) * (splat(1.0f) + t)));
  }
}

/// Σ a[i] · b[i], sixteen lanes.
static float dot_row(int64_t count, const float *a, const float *b) {
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < count; i += LENS_LANES) sum = LENS_FMA(load_row(a + i, count - i), load_row(b + i, count - i), sum);
  return lanes_sum(sum);
}

#endif
