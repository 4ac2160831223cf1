// Element-wise kernels, norms and rotary embedding. A last part shorter than sixteen goes through a padded copy, so that
// its elements see the same operations.

static void LENS_FN(activation)(lens_act act, int64_t count, const float *x, float *out) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) store16(out + i, act16(act, load16(x + i)));
  if (i < count) store_part(out + i, count - i, act16(act, load_part(x + i, count - i, 0.0f)));
}

static void LENS_FN(gated)(lens_act act, int64_t count, const float *gate, const float *x, float *out) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) store16(out + i, act16(act, load16(gate + i)) * load16(x + i));
  if (i < count)
    store_part(out + i, count - i, act16(act, load_part(gate + i, count - i, 0.0f)) * load_part(x + i, count - i, 0.0f));
}

static void LENS_FN(add)(int64_t count, const float *a, const float *b, float *out) {
  for (int64_t i = 0; i < count; i++) out[i] = a[i] + b[i];
}

static void LENS_FN(scale)(int64_t count, const float *x, float factor, float *out) {
  for (int64_t i = 0; i < count; i++) out[i] = x[i] * factor;
}

static void LENS_FN(sum_parts)(int64_t rows, int64_t parts, int64_t width, const float *x, const float *bias,
                               const float *residual, float *linear_out, float *out) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < width; j++) {
      const float *part = x + r * parts * width + j;
      float sum = part[0];
      for (int64_t p = 1; p < parts; p++) sum = sum + part[p * width];
      if (bias) sum = sum + bias[j];
      if (linear_out) linear_out[r * width + j] = sum;
      if (out) out[r * width + j] = residual ? residual[r * width + j] + sum : sum;
    }
}

static void LENS_FN(affine)(int64_t rows, int64_t width, const float *x, const float *w, const float *b, float *out) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < width; j++) {
      float y = x[r * width + j];
      if (w) y = y * w[j];
      if (b) y = y + b[j];
      out[r * width + j] = y;
    }
}

/// Sum of a row, and with `square` of (x - mean)², in sixteen lanes.
LENS_INLINE float row_sum(int64_t width, const float *x, float mean, bool square) {
  v16 sum = splat16(0.0f);
  int64_t i = 0;
  for (; i + 16 <= width; i += 16) {
    v16 v = load16(x + i);
    if (square) {
      v = v - splat16(mean);
      sum = fma16(v, v, sum);
    } else {
      sum += v;
    }
  }
  if (i < width) {
    v16 v = load_part(x + i, width - i, mean);
    if (square) {
      v = v - splat16(mean);
      // Lanes past the row hold mean - mean: zero, unless the row is not finite, and then its sum is not either.
      sum = fma16(v, v, sum);
    } else {
      sum += load_part(x + i, width - i, 0.0f);
    }
  }
  return sum16(sum);
}

static void LENS_FN(norm)(lens_norm_kind kind, int64_t rows, int64_t width, float eps, const float *x, const float *scale_in,
                          const float *w, const float *b, float *out, float *normalized_out, float *scale_out) {
  for (int64_t r = 0; r < rows; r++) {
    const float *row = x + r * width;
    float mean = 0.0f, scale;
    if (width > 0 && kind == LENS_NORM_LAYER) mean = row_sum(width, row, 0.0f, false) / (float)width;
    if (scale_in) {
      scale = scale_in[r];
    } else {
      float variance = width > 0 ? row_sum(width, row, mean, true) / (float)width : 0.0f;
      scale = __builtin_sqrtf(variance + eps);
    }
    if (scale_out) scale_out[r] = scale;
    if (!out && !normalized_out) continue;
    float inverse = 1.0f / scale;
    for (int64_t j = 0; j < width; j++) {
      float y = (row[j] - mean) * inverse;
      if (normalized_out) normalized_out[r * width + j] = y;
      if (w) y = y * w[j];
      if (b) y = y + b[j];
      if (out) out[r * width + j] = y;
    }
  }
}

static void LENS_FN(rotary)(int64_t rows, int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent, const float *x,
                            const int32_t *positions, const float *cos, const float *sin, float *out) {
  int64_t pairs = rotary_dim / 2, step = adjacent ? 2 : 1, apart = adjacent ? 1 : pairs;
  for (int64_t r = 0; r < rows; r++) {
    const float *c = cos + positions[r] * pairs, *s = sin + positions[r] * pairs;
    for (int64_t h = 0; h < heads; h++) {
      const float *in = x + (r * heads + h) * d_head;
      float *turned = out + (r * heads + h) * d_head;
      for (int64_t i = 0; i < pairs; i++) {
        float a = in[i * step], b = in[i * step + apart];
        turned[i * step] = a * c[i] - b * s[i];
        turned[i * step + apart] = b * c[i] + a * s[i];
      }
      for (int64_t i = rotary_dim; i < d_head; i++) turned[i] = in[i];
    }
  }
}
