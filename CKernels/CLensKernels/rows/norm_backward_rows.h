// norm_backward_rows.h: gradients of LayerNorm and RMSNorm, of weight and bias, and of softmax, log-softmax and
// cross-entropy, one row at a time. Sums along a row have sixteen lanes and a fixed tree; weight and bias sums add a row
// to what is there.
#ifndef LENS_NORM_BACKWARD_ROWS_H
#define LENS_NORM_BACKWARD_ROWS_H

LENS_INLINE void add_to(float *sums, v16 v, int64_t left) { store_row(sums, load_row(sums, left) + v, left); }

/// The gradient of `normalized`: that of out through the weight, and its own.
LENS_INLINE v16 normalized_slope(const float *w, const float *out_gradient, const float *normalized_gradient, int64_t i,
                                 int64_t left) {
  v16 slope = splat(0.0f);
  if (out_gradient) {
    slope = load_row(out_gradient + i, left);
    if (w) slope = slope * load_row(w + i, left);
  }
  if (normalized_gradient) slope = slope + load_row(normalized_gradient + i, left);
  return slope;
}

/// Mean and scale are the forward pass' own, computed again: rows are in the cache by then, and nothing has to be kept.
static void norm_backward_row(lens_norm_kind kind, int64_t width, float eps, const float *x, const float *scale_in,
                              const float *w, const float *out_gradient, const float *normalized_gradient,
                              const float *scale_gradient, float *x_out, float *scale_out, float *w_sum, float *b_sum) {
  const bool is_layer = kind == LENS_NORM_LAYER && width > 0;
  const float mean = is_layer ? row_mean(width, x) : 0.0f;
  const float inverse = 1.0f / (scale_in ? *scale_in : row_scale(width, x, mean, eps));
  v16 sum = splat(0.0f), along = splat(0.0f); // Σ d, Σ d · normalized
  for (int64_t i = 0; i < width; i += LENS_LANES) {
    const int64_t left = width - i;
    v16 normalized = (load_row(x + i, left) - splat(mean)) * splat(inverse);
    if (left < LENS_LANES) normalized = keep_row(normalized, left);
    const v16 d = normalized_slope(w, out_gradient, normalized_gradient, i, left);
    sum = sum + d;
    along = LENS_FMA(d, normalized, along);
    if (w_sum && out_gradient) add_to(w_sum + i, load_row(out_gradient + i, left) * normalized, left);
    if (b_sum && out_gradient) add_to(b_sum + i, load_row(out_gradient + i, left), left);
  }
  const float of_scale = (scale_gradient ? *scale_gradient : 0.0f) - lanes_sum(along) * inverse;
  if (scale_out) *scale_out = of_scale;
  if (!x_out || width <= 0) return;
  const v16 share = splat(scale_in ? 0.0f : of_scale / (float)width);
  const v16 shift = splat(is_layer ? lanes_sum(sum) / (float)width : 0.0f);
  for (int64_t i = 0; i < width; i += LENS_LANES) {
    const int64_t left = width - i;
    const v16 normalized = (load_row(x + i, left) - splat(mean)) * splat(inverse);
    v16 out = (normalized_slope(w, out_gradient, normalized_gradient, i, left) - shift) * splat(inverse);
    if (!scale_in) out = LENS_FMA(normalized, share, out);
    store_row(x_out + i, out, left);
  }
}

static void affine_backward_row(int64_t width, const float *x, const float *w, const float *gradient, float *x_out,
                                float *w_sum, float *b_sum) {
  for (int64_t i = 0; i < width; i += LENS_LANES) {
    const int64_t left = width - i;
    const v16 d = load_row(gradient + i, left);
    if (w_sum) add_to(w_sum + i, d * load_row(x + i, left), left);
    if (b_sum) add_to(b_sum + i, d, left);
    if (x_out) store_row(x_out + i, w ? d * load_row(w + i, left) : d, left);
  }
}

static void softmax_backward_row(int64_t n, const float *y, const float *gradient, float *out) {
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < n; i += LENS_LANES) sum = LENS_FMA(load_row(y + i, n - i), load_row(gradient + i, n - i), sum);
  const v16 mean = splat(lanes_sum(sum));
  for (int64_t i = 0; i < n; i += LENS_LANES)
    store_row(out + i, load_row(y + i, n - i) * (load_row(gradient + i, n - i) - mean), n - i);
}

static void log_softmax_backward_row(int64_t n, const float *y, const float *gradient, float *out) {
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < n; i += LENS_LANES) sum = sum + load_row(gradient + i, n - i);
  const v16 total = splat(lanes_sum(sum));
  for (int64_t i = 0; i < n; i += LENS_LANES)
    store_row(out + i, load_row(gradient + i, n - i) - lanes_exp(load_row(y + i, n - i)) * total, n - i);
}

static void cross_entropy_backward_row(int64_t n, const float *x, int32_t target, float gradient, float *out) {
  if (target < 0) {
    memset(out, 0, (size_t)n * sizeof(float));
    return;
  }
  bool has_nan;
  const float max = row_max(n, x, &has_nan);
  v16 sum = splat(0.0f);
  for (int64_t i = 0; i < n; i += LENS_LANES) {
    const v16 e = lanes_exp(load_row(x + i, n - i) - splat(max));
    store_row(out + i, e, n - i);
    sum = sum + (n - i < LENS_LANES ? keep_row(e, n - i) : e);
  }
  const float inverse = 1.0f / lanes_sum(sum), of_target = out[target] * inverse - 1.0f;
  scale_row(n, out, inverse * gradient, out);
  out[target] = of_target * gradient;
}

#endif
