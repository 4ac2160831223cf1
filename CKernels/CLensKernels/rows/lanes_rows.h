// lanes_rows.h: sixteen float lanes as one value, with the same meaning on every instruction set.
//
// v16 is a compiler vector: one zmm, two ymm or four 128-bit registers. Each operator acts lane by lane with one IEEE
// rounding, so a body written with it gives the same bits wherever the multiply-add is the same. Included once per
// instruction set, inside its target region: everything here is static and inlined.
//
// LENS_FMA(a, b, c) is a * b + c: fused where the set has it, two roundings where it does not. Nothing else fuses.
#ifndef LENS_LANES_ROWS_H
#define LENS_LANES_ROWS_H

// Vectors are passed only between functions that are always inlined, so no calling convention is involved.
#pragma clang diagnostic ignored "-Wpsabi"

#define LENS_INLINE static inline __attribute__((always_inline))

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t i16 __attribute__((vector_size(64)));
typedef uint32_t u16 __attribute__((vector_size(64)));
typedef float v16_unaligned __attribute__((vector_size(64), aligned(4), may_alias));

#if LENS_HAS_FMA
#define LENS_FMA(a, b, c) __builtin_elementwise_fma(a, b, c)
#else
#define LENS_FMA(a, b, c) ((a) * (b) + (c))
#endif

LENS_INLINE v16 splat(float s) { return (v16){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s}; }
LENS_INLINE v16 load(const float *p) { return *(const v16_unaligned *)p; }
LENS_INLINE void store(float *p, v16 v) { *(v16_unaligned *)p = v; }

/// Lane by lane: mask (all ones or all zeros, as comparisons give) ? a : b.
LENS_INLINE v16 choose(i16 mask, v16 a, v16 b) { return (v16)((mask & (i16)a) | (~mask & (i16)b)); }
LENS_INLINE v16 magnitude(v16 x) { return (v16)((u16)x & 0x7fffffffu); }

/// The next lanes of a row with `left` elements to go; missing lanes are `fill`. Reads nothing past the row.
LENS_INLINE v16 load_or(const float *p, int64_t left, float fill) {
  if (left >= LENS_LANES) return load(p);
  v16 v = splat(fill);
  for (int64_t i = 0; i < left; i++) v[i] = p[i];
  return v;
}
LENS_INLINE v16 load_row(const float *p, int64_t left) { return load_or(p, left, 0.0f); }
LENS_INLINE void store_row(float *p, v16 v, int64_t left) {
  if (left >= LENS_LANES) {
    store(p, v);
  } else {
    for (int64_t i = 0; i < left; i++) p[i] = v[i];
  }
}
/// v with the lanes past `left` made zero, so that they drop out of a sum.
LENS_INLINE v16 keep_row(v16 v, int64_t left) {
  for (int64_t i = left; i < LENS_LANES; i++) v[i] = 0.0f;
  return v;
}

/// The fixed tree of the contract: lane l += lane l+8, then l+4, l+2, l+1.
LENS_INLINE float lanes_sum(v16 v) {
  float lane[LENS_LANES];
  store(lane, v);
  for (int half = LENS_LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lane[i] += lane[i + half];
  return lane[0];
}
/// Largest lane; NaN lanes must already be out (a comparison with NaN keeps the other side).
LENS_INLINE float lanes_max(v16 v) {
  float best = v[0];
  for (int i = 1; i < LENS_LANES; i++) best = v[i] > best ? v[i] : best;
  return best;
}
LENS_INLINE bool lanes_any(i16 mask) {
  int32_t any = 0;
  for (int i = 0; i < LENS_LANES; i++) any |= mask[i];
  return any != 0;
}

#endif
