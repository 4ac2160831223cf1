// Softmax and what shares its sums.

/// The largest element; NaN is passed over; -inf for an empty row.
LENS_INLINE float row_max(int64_t n, const float *x) {
  v16 best = splat16(-__builtin_inff());
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) best = max16(best, load16(x + i));
  if (i < n) best = max16(best, load_part(x + i, n - i, -__builtin_inff()));
  return max_of16(best);
}

/// Σ exp(x - shift), stored too if `out` is given.
LENS_INLINE float row_exponentials(int64_t n, const float *x, float shift, float *out) {
  v16 sum = splat16(0.0f);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    v16 e = exp16(load16(x + i) - splat16(shift));
    if (out) store16(out + i, e);
    sum += e;
  }
  if (i < n) {
    v16 e = exp16(load_part(x + i, n - i, -__builtin_inff()) - splat16(shift));
    if (out) store_part(out + i, n - i, e);
    // Lanes past the row are exp(-inf) = 0; with an infinite shift they would be NaN, and so must not be added.
    float lanes[16];
    store16(lanes, e);
    for (int64_t l = n - i; l < 16; l++) lanes[l] = 0.0f;
    sum += load16(lanes);
  }
  return sum16(sum);
}

static void LENS_FN(softmax)(int64_t rows, int64_t n, const float *x, float *out) {
  for (int64_t r = 0; r < rows; r++) {
    const float *row = x + r * n;
    float max = row_max(n, row);
    // Nothing but -inf (and NaN): against 0 the first give 0 and NaN stays.
    float shift = max == -__builtin_inff() ? 0.0f : max;
    float sum = row_exponentials(n, row, shift, out + r * n);
    float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    for (int64_t j = 0; j < n; j++) out[r * n + j] = out[r * n + j] * inverse;
  }
}

/// log Σ exp(x - max).
LENS_INLINE float row_log_sum(int64_t n, const float *x, float max) {
  return __builtin_logf(row_exponentials(n, x, max, (float *)0));
}

static void LENS_FN(log_softmax)(int64_t rows, int64_t n, const float *x, float *out) {
  for (int64_t r = 0; r < rows; r++) {
    const float *row = x + r * n;
    float max = row_max(n, row), log_sum = row_log_sum(n, row, max);
    for (int64_t j = 0; j < n; j++) out[r * n + j] = (row[j] - max) - log_sum;
  }
}

static void LENS_FN(cross_entropy)(int64_t rows, int64_t n, const float *x, int64_t ld_x, const int32_t *targets, float *loss) {
  for (int64_t r = 0; r < rows; r++) {
    const float *row = x + r * ld_x;
    float max = row_max(n, row);
    loss[r] = row_log_sum(n, row, max) - (row[targets[r]] - max);
  }
}
