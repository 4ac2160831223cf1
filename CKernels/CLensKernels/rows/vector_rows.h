// Sixteen lanes, whatever the register width: the compiler splits them into two or four registers where it must, so every
// instruction set has the same lanes, and the same order of sums. Included once per instruction set, inside its region,
// after LENS_HAS_FMA says whether there is a fused multiply-add.

typedef float v16 __attribute__((vector_size(64)));
typedef float v16u __attribute__((vector_size(64), aligned(4), may_alias));
typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t i16x __attribute__((vector_size(64)));

#define LENS_INLINE static inline __attribute__((always_inline, unused))

LENS_INLINE v16 load16(const float *p) { return *(const v16u *)p; }
LENS_INLINE void store16(float *p, v16 v) { *(v16u *)p = v; }
LENS_INLINE v16 splat16(float x) { return (v16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

/// The first `count` (0..15) of 16 floats; `filler` in the others.
LENS_INLINE v16 load_part(const float *p, int64_t count, float filler) {
  float buffer[16];
  for (int i = 0; i < 16; i++) buffer[i] = i < count ? p[i] : filler;
  return load16(buffer);
}
LENS_INLINE void store_part(float *p, int64_t count, v16 v) {
  float buffer[16];
  store16(buffer, v);
  for (int64_t i = 0; i < count; i++) p[i] = buffer[i];
}

/// a·b + c: one rounding where the instruction set has it, else two. Every sum of products goes through here.
#if LENS_HAS_FMA
LENS_INLINE v16 fma16(v16 a, v16 b, v16 c) { return __builtin_elementwise_fma(a, b, c); }
#else
LENS_INLINE v16 fma16(v16 a, v16 b, v16 c) { return a * b + c; }
#endif

/// The lanes' sum as a fixed tree: l += l+8, l+4, l+2, l+1.
LENS_INLINE float sum16(v16 v) {
  v8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  v4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  v4 c = b + __builtin_shufflevector(b, b, 2, 3, 2, 3);
  return c[0] + c[1];
}

/// mask ? a : b, lane by lane; the mask is all ones or zeros, as comparisons give.
LENS_INLINE v16 select16(i16x mask, v16 a, v16 b) { return (v16)((mask & (i16x)a) | (~mask & (i16x)b)); }

/// The larger of each lane; NaN in `b` is passed over.
LENS_INLINE v16 max16(v16 a, v16 b) { return select16(b > a, b, a); }

LENS_INLINE float max_of16(v16 v) {
  float best = v[0];
  for (int i = 1; i < 16; i++) best = v[i] > best ? v[i] : best;
  return best;
}
