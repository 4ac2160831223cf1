// training_rows.h: bodies of what training does besides gradients: optimizer updates, and the cross-entropy in double.
//
// Updates are element by element, in the order and with the roundings of torch.optim's plain loops; nothing fuses, so every
// instruction set gives the same bits.
#ifndef LENS_TRAINING_ROWS_H
#define LENS_TRAINING_ROWS_H

/// LENS_SQUARE_LANES chains in double, then their sum in order.
static double square_sum_row(int64_t count, const float *x) {
  double lanes[LENS_SQUARE_LANES] = {0};
  int64_t i = 0;
  for (; i + LENS_SQUARE_LANES <= count; i += LENS_SQUARE_LANES)
    for (int l = 0; l < LENS_SQUARE_LANES; l++) lanes[l] += (double)x[i + l] * (double)x[i + l];
  for (int l = 0; i + l < count; l++) lanes[l] += (double)x[i + l] * (double)x[i + l];
  double sum = 0;
  for (int l = 0; l < LENS_SQUARE_LANES; l++) sum += lanes[l];
  return sum;
}

static void adam_row(const lens_adam_step *step, int64_t count, const float *restrict gradient, float *restrict parameter,
                     float *restrict first, float *restrict second) {
  const lens_adam_step s = *step;
  for (int64_t i = 0; i < count; i++) {
    float p = parameter[i] * s.shrink;
    float g = gradient[i] * s.gradient_scale;
    g = g + s.weight_decay * p;
    const float m = s.lerps_from_start ? first[i] + s.one_minus_beta1 * (g - first[i]) : g - (g - first[i]) * s.beta1;
    const float v = second[i] * s.beta2 + s.one_minus_beta2 * g * g;
    first[i] = m;
    second[i] = v;
    parameter[i] = p + -s.step_size * m / (sqrtf(v) / s.correction2_root + s.eps);
  }
}

static void sgd_row(const lens_sgd_step *step, int64_t count, const float *restrict gradient, float *restrict parameter,
                    float *restrict velocity) {
  const lens_sgd_step s = *step;
  for (int64_t i = 0; i < count; i++) {
    const float p = parameter[i];
    float g = gradient[i] * s.gradient_scale;
    g = g + s.weight_decay * p;
    if (velocity) {
      const float v = s.is_first ? g : velocity[i] * s.momentum + s.one_minus_dampening * g;
      velocity[i] = v;
      g = s.nesterov ? g + s.momentum * v : v;
    }
    parameter[i] = p - s.learning_rate * g;
  }
}

typedef double d8 __attribute__((vector_size(64)));
typedef int64_t l8 __attribute__((vector_size(64)));

LENS_INLINE d8 splat_double(double s) { return (d8){s, s, s, s, s, s, s, s}; }

/// exp of x ≤ 0 in double, to about an ulp; 0 below -708; NaN stays NaN. A Taylor series on |r| ≤ ln 2 / 2.
LENS_INLINE d8 exp_double(d8 x) {
  static const double series[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                                  1.0 / 5040,       1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5,
                                  1.0,              1.0};
  const d8 magic = splat_double(0x1.8p52); // adding it rounds to a whole number, which the low bits then hold
  const l8 vanishes = x < splat_double(-708.0);
  const d8 shifted = x * splat_double(0x1.71547652b82fep0) + magic;
  const d8 k = shifted - magic;
  const d8 r = (x - k * splat_double(0x1.62e42fefa3800p-1)) - k * splat_double(0x1.ef35793c76730p-45);
  d8 y = splat_double(series[0]);
  for (unsigned i = 1; i < sizeof series / sizeof *series; i++) y = y * r + splat_double(series[i]);
  const d8 power = (d8)(((l8)shifted + 1023) << 52);
  const l8 bits = (l8)(y * power);
  return (d8)(bits & ~vanishes);
}

LENS_INLINE d8 load_double(const float *x, int64_t left, double fill) {
  d8 v = splat_double(fill);
  if (left >= 8) {
    for (int i = 0; i < 8; i++) v[i] = (double)x[i];
  } else {
    for (int64_t i = 0; i < left; i++) v[i] = (double)x[i];
  }
  return v;
}

/// log Σ exp(x) of a row, in double; NaN if any element is.
static double log_sum_exp_double_row(int64_t n, const float *x) {
  float max = -INFINITY;
  bool has_nan = false;
  for (int64_t i = 0; i < n; i++) {
    max = x[i] > max ? x[i] : max;
    has_nan |= x[i] != x[i];
  }
  if (has_nan) return (double)NAN;
  if (max == -INFINITY || max == INFINITY) return (double)max;
  d8 sums = splat_double(0);
  for (int64_t i = 0; i < n; i += 8) sums += exp_double(load_double(x + i, n - i, -INFINITY) - splat_double((double)max));
  double sum = 0;
  for (int i = 0; i < 8; i++) sum += sums[i];
  return (double)max + log(sum);
}

/// out = factor · (exp(x − lse) − [i = target]), each rounded once from double.
static void cross_entropy_double_gradient_row(int64_t n, const float *x, double lse, int64_t target, double factor, float *out) {
  for (int64_t i = 0; i < n; i += 8) {
    const d8 p = exp_double(load_double(x + i, n - i, -INFINITY) - splat_double(lse));
    const int64_t count = n - i < 8 ? n - i : 8;
    for (int64_t l = 0; l < count; l++) out[i + l] = (float)(factor * p[l]);
    if (target >= i && target < i + count) out[target] = (float)(factor * (p[target - i] - 1));
  }
}

#endif
