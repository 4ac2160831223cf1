// int8_weights_rows.h: the two sides of a product with rounded activations, as its tiles read them: rows of x as signed bytes,
// rows of quantised weights as unsigned ones, four rows of k to a 32-bit word in both.
//
// A weight is a · (u - zero) + b, u an unsigned byte. ggml's blocks hold four rows of a column in one word already (Q8_0, whose
// panels have a row of bytes after another, is woven together here), so u is a shift and a mask away.
#ifndef LENS_INT8_WEIGHTS_ROWS_H
#define LENS_INT8_WEIGHTS_ROWS_H

#include "lens_int8.h"

typedef int8_t b16 __attribute__((vector_size(16)));
typedef uint8_t bytes16_unaligned __attribute__((vector_size(16), aligned(1), may_alias));

/// Below this, a group of activations counts as zero: 127 over it would be near overflow.
#define LENS_INT8_SMALLEST 0x1p-96f

/// Sixteen or thirty-two values: q = x · 127 / largest to the nearest integer, ties to even, with x about scale · q. A NaN or an
/// infinity makes the scale NaN, and so every product of the row.
LENS_INLINE void round_group(const int vecs, const v16 *x, float *scale, int32_t *sum, b16 *q) {
  u16 bits = (u16)magnitude(x[0]);
  if (vecs > 1) bits = __builtin_elementwise_max(bits, (u16)magnitude(x[1]));
  const uint32_t most = __builtin_reduce_max(bits); // magnitudes are in the order of their bits, NaN last
  float largest;
  memcpy(&largest, &most, sizeof largest);
  if (!(largest >= LENS_INT8_SMALLEST && largest <= 0x1.fffffep127f)) {
    *scale = most > 0x7f7fffffu ? NAN : 0.0f;
    *sum = 0;
    for (int i = 0; i < vecs; i++) q[i] = (b16){0};
    return;
  }
  const v16 factor = splat(127.0f / largest), shift = splat(0x1.8p23f); // adding it rounds to an integer
  *scale = largest / 127.0f;
  i16 total = (i16){0};
  for (int i = 0; i < vecs; i++) {
    const i16 whole = (i16)(x[i] * factor + shift) - (i16)shift;
    total += whole;
    q[i] = __builtin_convertvector(whole, b16);
  }
  *sum = __builtin_reduce_add(total);
}

/// One row of x into call->rounded.
static void round_row(const lens_linear_call *call, int64_t row) {
  const lens_rounded *to = &call->rounded;
  const float *x = call->x + row * call->ld_x - call->k_begin;
  int32_t *words = to->words + row * to->ld_words, *sums = to->sums + row * to->ld_groups;
  float *scales = to->scales + row * to->ld_groups;
  const int64_t span = lens_group_span(call->w.format);
  for (int64_t k = call->k_begin; k < call->k_end; scales++, sums++) {
    const int64_t end = lens_group_end(call, k), count = lens_group_words(k, end);
    b16 q[2];
    if (end - k == 32) {
      round_group(2, (v16[2]){load(x + k), load(x + k + LENS_LANES)}, scales, sums, q);
    } else if (end - k == 16 && span == 16) {
      round_group(1, (v16[1]){load(x + k)}, scales, sums, q);
    } else { // rows of the words that are other groups' are zeros
      float values[32] = {0};
      memcpy(values + k % 4, x + k, (size_t)(end - k) * sizeof(float));
      round_group(2, (v16[2]){load(values), load(values + LENS_LANES)}, scales, sums, q);
    }
    memcpy(words, q, (size_t)count * sizeof(int32_t));
    words += count;
    k = end;
  }
}

/// What is taken off u.
LENS_INLINE int32_t word_zero(const lens_format format) {
  switch (format) {
  case LENS_FORMAT_Q8_0: return 128;
  case LENS_FORMAT_Q4_0: return 8;
  case LENS_FORMAT_Q5_0: return 16;
  case LENS_FORMAT_Q3_K: return 4;
  case LENS_FORMAT_Q6_K: return 32;
  default: return 0;
  }
}

/// Bit `bit` and the three above it, one at the bottom of each byte.
LENS_INLINE u16 spread_bits(u16 word, uint32_t bit) {
  const u16 four = word >> bit;
  return (four & 1u) | (four & 2u) << 7u | (four & 4u) << 14u | (four & 8u) << 21u;
}

/// u of rows row ..< row + 4 of a block (row a multiple of 4), sixteen columns. The places are those of span_row.
LENS_INLINE u16 unsigned_words(const lens_format format, const char *block, int64_t row, int64_t column) {
  const int64_t span = (int64_t)((uint64_t)row / (uint64_t)span_rows(format)), within = row - span * span_rows(format);
  const uint32_t s = (uint32_t)span, half = s / 8, quarter = s % 8 / 2;
  const int64_t place = s % 2 * 16 + within;
#define LENS_WORDS(index, shift) (block_words(format, block, (int64_t)((uint64_t)(index) / 4), column) >> (uint32_t)(shift))
  switch (format) {
  case LENS_FORMAT_Q8_0: {
    const bytes16_unaligned a = *(const bytes16_unaligned *)block_unit(format, block, row, column),
                            b = *(const bytes16_unaligned *)block_unit(format, block, row + 1, column),
                            c = *(const bytes16_unaligned *)block_unit(format, block, row + 2, column),
                            d = *(const bytes16_unaligned *)block_unit(format, block, row + 3, column);
    typedef uint16_t pairs __attribute__((vector_size(32)));
    const pairs low = (pairs)__builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25,
                                                     10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    const pairs high = (pairs)__builtin_shufflevector(c, d, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25,
                                                      10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return (u16)__builtin_shufflevector(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23, 8, 24, 9, 25, 10, 26,
                                        11, 27, 12, 28, 13, 29, 14, 30, 15, 31) ^ 0x80808080u;
  }
  case LENS_FORMAT_Q4_0:
  case LENS_FORMAT_Q4_1: return LENS_WORDS(within, 4 * s) & 0x0f0f0f0fu;
  case LENS_FORMAT_Q5_0:
  case LENS_FORMAT_Q5_1:
    return (LENS_WORDS(4 + within, 4 * s) & 0x0f0f0f0fu) | spread_bits(LENS_WORDS(0, 0), 16 * s + (uint32_t)within) << 4u;
  case LENS_FORMAT_Q2_K: return LENS_WORDS(16 + 32 * half + place, 2 * quarter) & 0x03030303u;
  case LENS_FORMAT_Q3_K:
    return (LENS_WORDS(32 + 32 * half + place, 2 * quarter) & 0x03030303u) |
           (LENS_WORDS(place, 4 * half + quarter) & 0x01010101u) << 2u;
  case LENS_FORMAT_Q4_K: return LENS_WORDS(12 + s / 2 * 32 + within, s % 2 * 4) & 0x0f0f0f0fu;
  case LENS_FORMAT_Q5_K:
    return (LENS_WORDS(44 + s / 2 * 32 + within, s % 2 * 4) & 0x0f0f0f0fu) | (LENS_WORDS(12 + within, s) & 0x01010101u) << 4u;
  case LENS_FORMAT_Q6_K:
    return (LENS_WORDS(64 * half + quarter % 2 * 32 + place, quarter / 2 * 4) & 0x0f0f0f0fu) |
           (LENS_WORDS(128 + 32 * half + place, 2 * quarter) & 0x03030303u) << 4u;
  default: return (u16){0};
  }
#undef LENS_WORDS
}

/// Some rows of a panel as tiles read them.
typedef struct {
  _Alignas(64) uint32_t words[LENS_INT8_WORDS][LENS_PANEL];
  _Alignas(64) float a[LENS_INT8_GROUPS][LENS_PANEL], b[LENS_INT8_GROUPS][LENS_PANEL]; // b: formats with minima
  int32_t first[LENS_INT8_GROUPS + 1]; // words of group g: first[g] ..< first[g + 1]
  int32_t groups;
} int8_weights;

/// Rows begin ..< end (at most LENS_INT8_ROWS, of one chain) of 16 * vecs columns from `column` on.
LENS_INLINE void expand_words(const lens_format format, const lens_linear_call *call, const char *panel, int64_t begin,
                              int64_t end, int64_t column, int64_t vecs, int8_weights *to) {
  const lens_layout layout = lens_layouts[format];
  int32_t group = 0, word = 0;
  for (int64_t k = begin; k < end; group++) {
    const int64_t stop = lens_group_end(call, k);
    const uint64_t rows = (uint64_t)layout.rows, at = (uint64_t)k;
    const char *block = panel + at / rows * (uint64_t)layout.bytes * LENS_PANEL;
    const int64_t within = (int64_t)(at % rows), count = lens_group_words(k, stop);
    to->first[group] = word;
    for (int64_t c = 0; c < vecs; c++) {
      const int64_t from = column + c * LENS_LANES;
      v16 a, b;
      span_scales(format, block, (int64_t)((uint64_t)within / (uint64_t)span_rows(format)), from, &a, &b);
      store(to->a[group] + from, a);
      if (has_minimum(format)) store(to->b[group] + from, b);
    }
    for (int64_t j = 0; j < count; j++) {
      const int64_t row = within / 4 * 4 + 4 * j;
      const char *ahead = block_unit(format, block, layout.unit == 4 ? row / 4 : row, column) + LENS_PREFETCH_BYTES;
      for (int64_t c = 0; c < vecs; c++) {
        __builtin_prefetch(ahead + c * 64);
        *(words_unaligned *)(to->words[word + j] + column + c * LENS_LANES) = unsigned_words(format, block, row, column + c * LENS_LANES);
      }
    }
    word += (int32_t)count;
    k = stop;
  }
  to->first[group] = word;
  to->groups = group;
}

// A function per format, out of line.
#define LENS_INT8_EXPAND_OF(FORMAT)                                                                                    \
  static __attribute__((noinline)) void expand_words_##FORMAT(const lens_linear_call *call, const char *panel,         \
                                                              int64_t begin, int64_t end, int64_t column, int64_t vecs, \
                                                              int8_weights *to) {                                      \
    if (column == 0 && vecs == 4) {                                                                                    \
      expand_words(LENS_FORMAT_##FORMAT, call, panel, begin, end, 0, 4, to);                                           \
    } else {                                                                                                           \
      expand_words(LENS_FORMAT_##FORMAT, call, panel, begin, end, column, vecs, to);                                   \
    }                                                                                                                  \
  }
LENS_INT8_EXPAND_OF(Q8_0)
LENS_INT8_EXPAND_OF(Q4_0)
LENS_INT8_EXPAND_OF(Q4_1)
LENS_INT8_EXPAND_OF(Q5_0)
LENS_INT8_EXPAND_OF(Q5_1)
LENS_INT8_EXPAND_OF(Q2_K)
LENS_INT8_EXPAND_OF(Q3_K)
LENS_INT8_EXPAND_OF(Q4_K)
LENS_INT8_EXPAND_OF(Q5_K)
LENS_INT8_EXPAND_OF(Q6_K)

static void int8_expand(const lens_linear_call *call, const char *panel, int64_t begin, int64_t end, int64_t column, int64_t vecs,
                        int8_weights *to) {
#define LENS_CASE(FORMAT) case LENS_FORMAT_##FORMAT: expand_words_##FORMAT(call, panel, begin, end, column, vecs, to); break
  switch (call->w.format) {
    LENS_CASE(Q8_0); LENS_CASE(Q4_0); LENS_CASE(Q4_1); LENS_CASE(Q5_0); LENS_CASE(Q5_1); LENS_CASE(Q2_K); LENS_CASE(Q3_K);
    LENS_CASE(Q4_K); LENS_CASE(Q5_K); LENS_CASE(Q6_K);
  default: to->groups = 0; // callers give quantised formats
  }
#undef LENS_CASE
}

#endif
