// exp_rows.h: exponential, hyperbolic tangent and the normal tail, sixteen lanes at a time.
//
// The polynomials are minimax fits made for this file (Remez, in 40-digit arithmetic); each function states its bound.
// NaN goes in, NaN comes out, in its own lane only.
#ifndef LENS_EXP_ROWS_H
#define LENS_EXP_ROWS_H

/// lanes_exp where no x is above 89: the exponentials of a softmax, whose largest is 0.
LENS_INLINE v16 lanes_exp_below(v16 x) {
  x = choose(x < splat(-104.0f), splat(-104.0f), x); // zero all the same; NaN passes
  // n = round(x / ln 2): adding 1.5 * 2^23 leaves n in the low bits of the sum (no float-to-int, undefined for NaN).
  const v16 magic = splat(12582912.0f);
  const v16 shifted = LENS_FMA(x, splat(1.44269504f), magic);
  const v16 n = shifted - magic;
  const i16 exponent = (i16)((u16)shifted - (u16)magic);

  // r = x - n ln 2, ln 2 in two parts; the upper one has so few bits that n * it is exact, fused or not.
  v16 r = LENS_FMA(n, splat(-0.693359375f), x);
  r = LENS_FMA(n, splat(2.12194440e-4f), r);

  // e^r = 1 + (r + r^2 P(r)), |r| <= ln(2) / 2.
  v16 p = splat(0x1.9f02a4p-13f);
  p = LENS_FMA(p, r, splat(0x1.6d8c18p-10f));
  p = LENS_FMA(p, r, splat(0x1.111274p-7f));
  p = LENS_FMA(p, r, splat(0x1.55549p-5f));
  p = LENS_FMA(p, r, splat(0x1.555554p-3f));
  p = LENS_FMA(p, r, splat(0.5f));
  const v16 y = LENS_FMA(r * r, p, r) + splat(1.0f);

  // times 2^n, as two factors: the first product is exact, the second rounds once, into denormals or infinity.
  const i16 half = exponent >> 1;
  const v16 scale1 = (v16)(((u16)half + 127u) << 23);
  const v16 scale2 = (v16)(((u16)(exponent - half) + 127u) << 23);
  return y * scale1 * scale2;
}

/// e^x to 1 ulp where the result is normal and 1.5 ulp where it is denormal. exp(0) = 1, exp(-inf) = 0; +inf past 88.72.
LENS_INLINE v16 lanes_exp(v16 x) {
  // Past this the answer is +inf all the same, and 2^n stays in two factors' reach. NaN passes the test.
  return lanes_exp_below(choose(x > splat(89.0f), splat(89.0f), x));
}

/// e^x - 1 for x <= 0, to 2 ulp; -1 from -80 down. NaN goes in, NaN comes out.
LENS_INLINE v16 lanes_expm1_negative(v16 x) {
  x = choose(x < splat(-80.0f), splat(-80.0f), x);
  const v16 magic = splat(12582912.0f);
  const v16 shifted = LENS_FMA(x, splat(1.44269504f), magic);
  const v16 n = shifted - magic;
  const i16 exponent = (i16)((u16)shifted - (u16)magic);
  v16 r = LENS_FMA(n, splat(-0.693359375f), x);
  r = LENS_FMA(n, splat(2.12194440e-4f), r);
  v16 p = splat(0x1.9f02a4p-13f); // e^r - 1 = r + r^2 P(r), as in lanes_exp
  p = LENS_FMA(p, r, splat(0x1.6d8c18p-10f));
  p = LENS_FMA(p, r, splat(0x1.111274p-7f));
  p = LENS_FMA(p, r, splat(0x1.55549p-5f));
  p = LENS_FMA(p, r, splat(0x1.555554p-3f));
  p = LENS_FMA(p, r, splat(0.5f));
  const v16 y = LENS_FMA(r * r, p, r);
  const v16 scale = (v16)(((u16)exponent + 127u) << 23); // 2^n, n in -115...0
  return LENS_FMA(scale, y, scale - splat(1.0f));
}

/// tanh(x) to 2 ulp. tanh(±inf) = ±1, tanh(-0) = -0.
LENS_INLINE v16 lanes_tanh(v16 x) {
  const v16 a = magnitude(x);
  const v16 z = x * x;
  v16 p = splat(0x1.168264p-9f); // tanh(a) = a + a z P(z), a < 0.625
  p = LENS_FMA(p, z, splat(-0x1.0b59e0p-7f));
  p = LENS_FMA(p, z, splat(0x1.636e90p-6f));
  p = LENS_FMA(p, z, splat(-0x1.b9ec3ap-5f));
  p = LENS_FMA(p, z, splat(0x1.11105cp-3f));
  p = LENS_FMA(p, z, splat(-0x1.555554p-2f));
  const v16 near_zero = LENS_FMA(a * z, p, a);

  const v16 away = splat(1.0f) - splat(2.0f) / (lanes_exp(a + a) + splat(1.0f));
  const v16 size = choose(a < splat(0.625f), near_zero, away);
  return (v16)((u16)size | ((u16)x & 0x80000000u));
}

/// The normal tail 1 - Φ(a) for a >= 0, as e^(-a²/2) · P(1 / (1 + 0.3 a)). Relative error below 5e-7 for a < 2, growing
/// with the exponent's rounding, 6e-8 a²/2, beyond. NaN propagates; +inf gives 0.
LENS_INLINE v16 normal_tail(v16 a) {
  a = choose(a > splat(15.0f), splat(15.0f), a); // e^(-a²/2) is zero already; keeps infinity out of the arithmetic
  const v16 t = splat(1.0f) / LENS_FMA(a, splat(0.3f), splat(1.0f));
  v16 p = splat(-0x1.48874cp-6f);
  p = LENS_FMA(p, t, splat(0x1.becaa6p-4f));
  p = LENS_FMA(p, t, splat(-0x1.c1b37cp-3f));
  p = LENS_FMA(p, t, splat(0x1.6e9318p-3f));
  p = LENS_FMA(p, t, splat(-0x1.13e436p-4f));
  p = LENS_FMA(p, t, splat(0x1.6aea8ap-4f));
  p = LENS_FMA(p, t, splat(0x1.4e1352p-4f));
  p = LENS_FMA(p, t, splat(0x1.bfeb5p-4f));
  p = LENS_FMA(p, t, splat(0x1.ea65d8p-4f));
  p = LENS_FMA(p, t, splat(0x1.ea2c74p-4f));
  p = LENS_FMA(p, t, splat(0x1.6419fp-21f));
  return lanes_exp(splat(-0.5f) * (a * a)) * p;
}

/// The normal distribution function Φ(x), to 2 ulp for x > -1. Below that the relative error is the tail's; NaN for NaN.
LENS_INLINE v16 lanes_normal_cdf(v16 x) {
  const v16 z = x * x;
  v16 p = splat(-0x1.012f18p-17f); // Φ(x) = 0.5 + x P(z), |x| < 1
  p = LENS_FMA(p, z, splat(0x1.dc1b4ap-14f));
  p = LENS_FMA(p, z, splat(-0x1.36fecep-10f));
  p = LENS_FMA(p, z, splat(0x1.46ce5ep-7f));
  p = LENS_FMA(p, z, splat(-0x1.105832p-4f));
  p = LENS_FMA(p, z, splat(0x1.988454p-2f));
  const v16 near_zero = LENS_FMA(x, p, splat(0.5f));

  const v16 tail = normal_tail(magnitude(x)); // on the negative side Φ is the tail itself, so nothing cancels
  const v16 away = choose(x < splat(0.0f), tail, splat(1.0f) - tail);
  return choose(magnitude(x) < splat(1.0f), near_zero, away);
}

#endif
