// norm_rows.h: LayerNorm and RMSNorm of one row. Sums have sixteen lanes and a fixed tree (see lens_kernels.h).
#ifndef LENS_NORM_ROWS_H
#define LENS_NORM_ROWS_H

/// normalized * w + b, each step rounded; NULL steps are skipped.
LENS_INLINE v16 affine(v16 x, const float *w, const float *b, int64_t i, int64_t left) {
  if (w) x = x * load_row(w + i, left);
  if (b) x = x + load_row(b + i, left);
  return x;
}

static float row_mean(int64_t width, const float *x) {
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < width; i += LENS_LANES) sum = sum + load_row(x + i, width - i);
  return lanes_sum(sum) / (float)width;
}

static float row_scale(int64_t width, const float *x, float mean, float eps) {
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < width; i += LENS_LANES) {
    const int64_t left = width - i;
    v16 centred = load_row(x + i, left) - splat(mean);
    if (left < LENS_LANES) centred = keep_row(centred, left);
    sum = LENS_FMA(centred, centred, sum);
  }
  return sqrtf((width > 0 ? lanes_sum(sum) / (float)width : 0.0f) + eps);
}

static void norm_row(lens_norm_kind kind, int64_t width, float eps, const float *x, const float *scale_in,
                     const float *w, const float *b, float *out, float *normalized_out, float *scale_out) {
  // Subtracting a mean of zero is exact, so both norms share their loops.
  const float mean = kind == LENS_NORM_LAYER && width > 0 ? row_mean(width, x) : 0.0f;
  const float scale = scale_in ? *scale_in : row_scale(width, x, mean, eps);
  if (scale_out) *scale_out = scale;
  if (!out && !normalized_out) return;
  const float inverse = 1.0f / scale;
  for (int64_t i = 0; i < width; i += LENS_LANES) {
    const int64_t left = width - i;
    const v16 normalized = (load_row(x + i, left) - splat(mean)) * splat(inverse);
    if (normalized_out) store_row(normalized_out + i, normalized, left);
    if (out) store_row(out + i, affine(normalized, w, b, i, left), left);
  }
}

static void affine_row(int64_t width, const float *x, const float *w, const float *b, float *out) {
  for (int64_t i = 0; i < width; i += LENS_LANES)
    store_row(out + i, affine(load_row(x + i, width - i), w, b, i, width - i), width - i);
}

#endif
