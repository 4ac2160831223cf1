// arithmetic_rows.h: element-wise arithmetic of runs, and sums in double precision.
#ifndef LENS_ARITHMETIC_ROWS_H
#define LENS_ARITHMETIC_ROWS_H

typedef double d16 __attribute__((vector_size(128)));

/// Lanes i... of a run with `left` elements to go, `step` floats apart.
LENS_INLINE v16 load_step(const float *p, int64_t step, int64_t i, int64_t left) {
  if (step == 1) return load_row(p + i, left);
  if (step == 0) return splat(*p);
  v16 v = splat(0.0f);
  for (int64_t lane = 0; lane < LENS_LANES && lane < left; lane++) v[lane] = p[(i + lane) * step];
  return v;
}

LENS_INLINE v16 combine(lens_op op, v16 a, v16 b) {
  switch (op) {
  case LENS_OP_ADD:
    return a + b;
  case LENS_OP_SUBTRACT:
    return a - b;
  case LENS_OP_MULTIPLY:
    return a * b;
  case LENS_OP_DIVIDE:
    return a / b;
  case LENS_OP_POWER: // libm's, lane by lane: the same on every set
    for (int lane = 0; lane < LENS_LANES; lane++) a[lane] = powf(a[lane], b[lane]);
    return a;
  case LENS_OP_WITH_SIGN:
    return choose(b > splat(0.0f), a, choose(b < splat(0.0f), -a, choose(b == b, splat(0.0f), b)));
  }
  return a;
}

/// `op` is a constant in each call, so that it is chosen outside the loop.
LENS_INLINE void combine_run(lens_op op, int64_t count, const float *a, int64_t a_step, const float *b, int64_t b_step,
                             float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES)
    store_row(out + i, combine(op, load_step(a, a_step, i, count - i), load_step(b, b_step, i, count - i)), count - i);
}

static void arithmetic_row(lens_op op, int64_t count, const float *a, int64_t a_step, const float *b, int64_t b_step,
                           float *out) {
  switch (op) {
  case LENS_OP_ADD:
    return combine_run(LENS_OP_ADD, count, a, a_step, b, b_step, out);
  case LENS_OP_SUBTRACT:
    return combine_run(LENS_OP_SUBTRACT, count, a, a_step, b, b_step, out);
  case LENS_OP_MULTIPLY:
    return combine_run(LENS_OP_MULTIPLY, count, a, a_step, b, b_step, out);
  case LENS_OP_DIVIDE:
    return combine_run(LENS_OP_DIVIDE, count, a, a_step, b, b_step, out);
  case LENS_OP_POWER:
    return combine_run(LENS_OP_POWER, count, a, a_step, b, b_step, out);
  case LENS_OP_WITH_SIGN:
    return combine_run(LENS_OP_WITH_SIGN, count, a, a_step, b, b_step, out);
  }
}

static void map_row(lens_map map, int64_t count, const float *x, float *out) {
  switch (map) {
  case LENS_MAP_LOG:
    for (int64_t i = 0; i < count; i++) out[i] = logf(x[i]);
    return;
  case LENS_MAP_ROOT:
    for (int64_t i = 0; i < count; i++) out[i] = sqrtf(x[i]);
    return;
  case LENS_MAP_SIZE:
    for (int64_t i = 0; i < count; i += LENS_LANES) store_row(out + i, magnitude(load_row(x + i, count - i)), count - i);
    return;
  }
}

static void clamp_row(float low, float high, int64_t count, const float *x, float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 v = load_row(x + i, count - i);
    store_row(out + i, choose(v < splat(low), splat(low), choose(v > splat(high), splat(high), v)), count - i);
  }
}

static void clamp_backward_row(float low, float high, int64_t count, const float *x, const float *gradient, float *out) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 v = load_row(x + i, count - i);
    const i16 passes = (v >= splat(low)) & (v <= splat(high));
    store_row(out + i, choose(passes, load_row(gradient + i, count - i), choose(v == v, splat(0.0f), v)), count - i);
  }
}

/// Sixteen lanes in double precision, and the contract's tree.
static float sum_row(int64_t count, const float *x) {
  d16 sum = __builtin_convertvector(splat(0.0f), d16);
  for (int64_t i = 0; i < count; i += LENS_LANES) sum = sum + __builtin_convertvector(load_row(x + i, count - i), d16);
  double lane[LENS_LANES];
  memcpy(lane, &sum, sizeof lane);
  for (int half = LENS_LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) lane[i] += lane[i + half];
  return (float)lane[0];
}

/// The sums of `width` (at most LENS_SUM_STRIPE) columns of `rows` rows, `ld` floats apart.
static void sum_columns(int64_t rows, int64_t width, const float *x, int64_t ld, float *out) {
  double sums[LENS_SUM_STRIPE] = {0};
  for (int64_t r = 0; r < rows; r++, x += ld)
    for (int64_t i = 0; i < width; i++) sums[i] += (double)x[i];
  for (int64_t i = 0; i < width; i++) out[i] = (float)sums[i];
}

#endif
