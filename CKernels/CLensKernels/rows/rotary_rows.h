// rotary_rows.h: rotary embedding of one position's heads. Products and sums round one by one, whatever the pairing.
#ifndef LENS_ROTARY_ROWS_H
#define LENS_ROTARY_ROWS_H

LENS_INLINE void rotate_halves(int64_t half, float direction, const float *x, const float *cos, const float *sin, float *out) {
  for (int64_t i = 0; i < half; i += LENS_LANES) {
    const int64_t left = half - i;
    const v16 a = load_row(x + i, left), b = load_row(x + half + i, left);
    const v16 c = load_row(cos + i, left), s = splat(direction) * load_row(sin + i, left);
    store_row(out + i, a * c - b * s, left);
    store_row(out + half + i, b * c + a * s, left);
  }
}

LENS_INLINE void rotate_adjacent(int64_t half, float direction, const float *x, const float *cos, const float *sin, float *out) {
  for (int64_t i = 0; i < half; i++) {
    const float a = x[2 * i], b = x[2 * i + 1], s = direction * sin[i];
    out[2 * i] = a * cos[i] - b * s;
    out[2 * i + 1] = b * cos[i] + a * s;
  }
}

/// cos, sin: [rotary_dim / 2], the position's row of the tables; direction -1 turns back. out may alias x exactly.
static void rotary_row(int64_t heads, int64_t d_head, int64_t rotary_dim, bool adjacent, float direction, const float *x,
                       const float *cos, const float *sin, float *out) {
  for (int64_t head = 0; head < heads; head++, x += d_head, out += d_head) {
    if (adjacent) {
      rotate_adjacent(rotary_dim / 2, direction, x, cos, sin, out);
    } else {
      rotate_halves(rotary_dim / 2, direction, x, cos, sin, out);
    }
    if (out != x)
      for (int64_t i = rotary_dim; i < d_head; i++) out[i] = x[i];
  }
}

#endif
