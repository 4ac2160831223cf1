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

/// The largest element, as row_max finds it, of whole vectors.
LENS_INLINE float vectors_max(int64_t count, const float *x) {
  v16 best = splat(-INFINITY);
  for (int64_t i = 0; i < count; i += LENS_LANES) {
    const v16 v = load(x + i);
    best = choose(v > best, v, best);
  }
  return lanes_max(best);
}

/// Exponentials of a row's pages in place, up to `used`; zeros after it. Returns their sum, page by page.
LENS_INLINE float pattern_exponentials(int64_t count, int64_t used, float max, float *scores) {
  const v16 top = splat(max), nothing = splat(0.0f);
  float total = 0.0f;
  int64_t page = 0;
  for (; page + LENS_PAGE <= used; page += LENS_PAGE) {
    v16 e[LENS_PAGE / LENS_LANES];
    for (int c = 0; c < LENS_PAGE / LENS_LANES; c++) e[c] = lanes_exp_below(load(scores + page + c * LENS_LANES) - top);
    v16 sum = nothing;
    for (int c = 0; c < LENS_PAGE / LENS_LANES; c++) {
      store(scores + page + c * LENS_LANES, e[c]);
      sum = sum + e[c];
    }
    total = total + lanes_sum(sum);
  }
  for (; page < count; page += LENS_PAGE) { // what is not seen would add +0, which changes no sum of exponentials
    v16 sum = nothing;
    for (int64_t i = page; i < page + LENS_PAGE; i += LENS_LANES) {
      const v16 e = i < used ? lanes_exp_below(load(scores + i) - top) : nothing;
      store(scores + i, e);
      sum = sum + e;
    }
    total = total + lanes_sum(sum);
  }
  return total;
}

/// Each step for all rows before the next one, so that a row need not wait for its own largest element, or its sum.
static void pattern_rows(int64_t rows, const int64_t *count, const int64_t *used, const float *const *sinks, float *const *scores) {
  float max[LENS_TILE_ROWS_MAX], factor[LENS_TILE_ROWS_MAX];
  for (int64_t r = 0; r < rows; r++) max[r] = vectors_max(used[r], scores[r]);
  for (int64_t r = 0; r < rows; r++) {
    bool has_nan = false;
    if (max[r] == -INFINITY) row_max(used[r], scores[r], &has_nan);
    if (max[r] == -INFINITY && !has_nan) {
      memset(scores[r], 0, (size_t)count[r] * sizeof(float));
      factor[r] = 1.0f;
      continue;
    }
    const float *sink = sinks ? sinks[r] : NULL;
    if (sink && *sink > max[r]) max[r] = *sink;
    float total = pattern_exponentials(count[r], used[r], max[r], scores[r]);
    if (sink) {
      const v16 e = lanes_exp(splat(*sink) - splat(max[r]));
      total = total + e[0];
    }
    factor[r] = 1.0f / total;
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < used[r]; i += LENS_LANES) store(scores[r] + i, load(scores[r] + i) * splat(factor[r]));
}

/// Lanes begin ..< end of `v`, -inf in the others.
LENS_INLINE v16 seen_lanes(v16 v, int64_t begin, int64_t end) {
  const v16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  v = choose(lane < splat((float)begin), splat(-INFINITY), v);
  return choose(lane < splat((float)end), v, splat(-INFINITY));
}

LENS_INLINE v16 finished_score(const lens_score_step *step, v16 s, float slope, int64_t distance) {
  s = s * splat(step->scale);
  if (step->softcap > 0.0f) s = splat(step->softcap) * lanes_tanh(s / splat(step->softcap));
  if (!step->alibi) return s;
  v16 distances;
  for (int lane = 0; lane < LENS_LANES; lane++) distances[lane] = (float)(distance + lane);
  return s + splat(slope) * distances;
}

static void score_rows(const lens_score_step *step, int64_t rows, const int64_t *begin, const int64_t *end, float *scores, int64_t ld) {
  for (int64_t r = 0; r < rows; r++, scores += ld) {
    if (begin[r] >= end[r]) continue;
    const float slope = step->alibi ? step->alibi[r * step->alibi_step] : 0.0f;
    const int64_t distance = step->distance - r * step->distance_step;
    for (int64_t i = 0; i < LENS_PAGE; i += LENS_LANES) {
      if (i >= end[r] || i + LENS_LANES <= begin[r]) {
        store(scores + i, splat(-INFINITY));
        continue;
      }
      const v16 s = finished_score(step, load(scores + i), slope, distance + i);
      store(scores + i, begin[r] <= i && i + LENS_LANES <= end[r] ? s : seen_lanes(s, begin[r] - i, end[r] - i));
    }
  }
}

#endif
