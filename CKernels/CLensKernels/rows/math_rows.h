// Exponential and the activation functions on sixteen lanes. Bounds are checked by the tests over the whole float range.

/// e^x. Within 2 ulp of the true value, denormal results included; e^-inf = 0, e^inf = inf above 88.73, NaN is kept, e^0 = 1.
LENS_INLINE v16 exp16(v16 x) {
  // Outside these bounds the result is 0 or infinity already. Comparisons with NaN are false, so NaN passes.
  x = select16(x > splat16(89.0f), splat16(89.0f), x);
  x = select16(x < splat16(-104.0f), splat16(-104.0f), x);
  // Adding 1.5·2^23 leaves the nearest integer in the low bits.
  const v16 magic = splat16(12582912.0f);
  v16 shifted = fma16(x, splat16(1.44269504088896341f), magic);
  v16 n = shifted - magic;
  v16 r = fma16(n, splat16(-0.693359375f), x);
  r = fma16(n, splat16(2.12194440e-4f), r);
  v16 p = splat16(1.98412698e-4f);
  p = fma16(p, r, splat16(1.38888889e-3f));
  p = fma16(p, r, splat16(8.33333333e-3f));
  p = fma16(p, r, splat16(4.16666667e-2f));
  p = fma16(p, r, splat16(1.66666667e-1f));
  p = fma16(p, r, splat16(0.5f));
  p = fma16(p * r, r, r) + splat16(1.0f);
  // 2^n in two halves, so that results in the denormal range are rounded once, and 2^128 overflows as it should.
  i16x exponent = (i16x)shifted - (i16x)magic;
  i16x half = exponent >> 1;
  v16 first = (v16)((half + 127) << 23), second = (v16)((exponent - half + 127) << 23);
  return p * first * second;
}

/// 1 / (1 + e^-x).
LENS_INLINE v16 sigmoid16(v16 x) { return splat16(1.0f) / (splat16(1.0f) + exp16(-x)); }

/// x·σ(x); at -inf the limit, -0.
LENS_INLINE v16 silu16(v16 x) {
  v16 y = x / (splat16(1.0f) + exp16(-x));
  return select16(x == splat16(-__builtin_inff()), splat16(-0.0f), y);
}

/// 0.5x(1 + tanh(u)) = x·σ(2u), with u = √(2/π)·(x + 0.044715x³); at -inf the limit, -0.
LENS_INLINE v16 gelu_tanh16(v16 x) {
  v16 inner = x * fma16(x * x, splat16(0.044715f), splat16(1.0f));
  v16 y = x / (splat16(1.0f) + exp16(inner * splat16(-2.0f * 0.7978845608028654f)));
  return select16(x == splat16(-__builtin_inff()), splat16(-0.0f), y);
}

/// x·Φ(x), Φ the normal distribution. For y = |x|: Φ(-y) = e^(-y²/2)·G(y), where G(y) = erfcx(y/√2)/2 is t·P(t) in
/// t = 1/(1 + 0.3y); P is our own least-squares fit, within 2^-22 relative over 0 ≤ y ≤ 14.5 (beyond, Φ(-y) is 0).
LENS_INLINE v16 gelu16(v16 x) {
  v16 y = (v16)((i16x)x & 0x7FFFFFFF);
  y = select16(y > splat16(14.5f), splat16(14.5f), y);
  v16 t = splat16(1.0f) / fma16(y, splat16(0.3f), splat16(1.0f));
  v16 p = splat16(-0.020623568445444107f);
  p = fma16(p, t, splat16(0.11243615299463272f));
  p = fma16(p, t, splat16(-0.22821485996246338f));
  p = fma16(p, t, splat16(0.19178618490695953f));
  p = fma16(p, t, splat16(-0.07942484319210052f));
  p = fma16(p, t, splat16(0.09615754336118698f));
  p = fma16(p, t, splat16(0.07838941365480423f));
  p = fma16(p, t, splat16(0.11023547500371933f));
  p = fma16(p, t, splat16(0.11957180500030518f));
  p = fma16(p, t, splat16(0.11968669295310974f));
  // y² is rounded; what was lost is put back to first order.
  v16 square = y * y;
  v16 lost = fma16(y, y, -square);
  v16 e = exp16(square * splat16(-0.5f));
  e = e - e * (lost * splat16(0.5f));
  v16 tail = e * (p * t);
  v16 phi = select16(x < splat16(0.0f), tail, splat16(1.0f) - tail);
  v16 result = x * phi;
  return select16(x == splat16(-__builtin_inff()), splat16(-0.0f), result);
}

/// max(x, 0); NaN is kept.
LENS_INLINE v16 relu16(v16 x) { return select16(x < splat16(0.0f), splat16(0.0f), x); }

LENS_INLINE v16 act16(lens_act act, v16 x) {
  switch (act) {
  case LENS_ACT_NONE: return x;
  case LENS_ACT_RELU: return relu16(x);
  case LENS_ACT_GELU: return gelu16(x);
  // The two differ in where √(2/π) is multiplied; the polynomial is the same.
  case LENS_ACT_GELU_NEW:
  case LENS_ACT_GELU_FAST: return gelu_tanh16(x);
  case LENS_ACT_SILU: return silu16(x);
  }
  return x;
}
