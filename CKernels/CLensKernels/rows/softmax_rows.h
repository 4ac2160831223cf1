// softmax_rows.h: softmax, log-softmax and cross-entropy of one row, and the softmax of attention in page chunks.
#ifndef LENS_SOFTMAX_ROWS_H
#define LENS_SOFTMAX_ROWS_H

/// Largest element that is a number (-inf if there is none), and whether the row has a NaN.
LENS_INLINE float row_max(int64_t n, const float *x, bool *has_nan) {
  v16 best = splat(-INFINITY);
  i16 nan = (i16)splat(0.0f);
  for (int64_t i = 0; i < n; i += LENS_LANES) {
    const v16 v = load_or(x + i, n - i, -INFINITY);
    best = choose(v > best, v, best);
    nan |= v != v;
  }
  *has_nan = lanes_any(nan);
  return lanes_max(best);
}

/// Σ exp(x - max), sixteen lanes over the whole row.
LENS_INLINE float row_exp_sum(int64_t n, const float *x, float max) {
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < n; i += LENS_LANES) {
    const v16 e = lanes_exp(load_row(x + i, n - i) - splat(max));
    sum = sum + (n - i < LENS_LANES ? keep_row(e, n - i) : e);
  }
  return lanes_sum(sum);
}

static void softmax_row(int64_t n, const float *x, float *out) {
  bool has_nan;
  const float max = row_max(n, x, &has_nan);
  if (max == -INFINITY && !has_nan) { // everything masked
    for (int64_t i = 0; i < n; i++) out[i] = 0.0f;
    return;
  }
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < n; i += LENS_LANES) {
    const v16 e = lanes_exp(load_row(x + i, n - i) - splat(max));
    store_row(out + i, e, n - i);
    sum = sum + (n - i < LENS_LANES ? keep_row(e, n - i) : e);
  }
  scale_row(n, out, 1.0f / lanes_sum(sum), out);
}

static void log_softmax_row(int64_t n, const float *x, float *out) {
  bool has_nan;
  const float max = row_max(n, x, &has_nan);
  const float log_sum = logf(row_exp_sum(n, x, max)); // one scalar a row: libm's, the same on every set
  for (int64_t i = 0; i < n; i += LENS_LANES)
    store_row(out + i, (load_row(x + i, n - i) - splat(max)) - splat(log_sum), n - i);
}

static float cross_entropy_row(int64_t n, const float *x, int32_t target) {
  if (target < 0) return 0.0f;
  bool has_nan;
  const float max = row_max(n, x, &has_nan);
  return -((x[target] - max) - logf(row_exp_sum(n, x, max)));
}

/// count: a multiple of LENS_PAGE. Chunks with nothing visible add +0, which changes no sum of exponentials.
static void pattern_row(int64_t count, const float *sink, float *scores) {
  bool has_nan;
  float max = row_max(count, scores, &has_nan);
  if (max == -INFINITY && !has_nan) {
    for (int64_t i = 0; i < count; i++) scores[i] = 0.0f;
    return;
  }
  if (sink && *sink > max) max = *sink;
  float total = 0.0f;
  for (int64_t page = 0; page < count; page += LENS_PAGE) {
    v16 sum = splat(0.0f);
    for (int64_t i = page; i < page + LENS_PAGE; i += LENS_LANES) {
      const v16 e = lanes_exp(load(scores + i) - splat(max));
      store(scores + i, e);
      sum = sum + e;
    }
    total = total + lanes_sum(sum);
  }
  if (sink) {
    const v16 e = lanes_exp(splat(*sink) - splat(max));
    total = total + e[0];
  }
  scale_row(count, scores, 1.0f / total, scores);
}

static void score_row(const lens_score_step *step, int64_t count, float *scores) {
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    v16 s = load_row(scores + i, count - i) * splat(step->scale);
    if (step->softcap > 0.0f) s = splat(step->softcap) * lanes_tanh(s / splat(step->softcap));
    if (step->alibi) {
      v16 distance;
      for (int lane = 0; lane < LENS_LANES; lane++) distance[lane] = (float)(step->distance + i + lane);
      s = s + splat(*step->alibi) * distance;
    }
    store_row(scores + i, s, count - i);
  }
}

#endif
