// weight_rows.h: weights kept in other formats than float32, as float32: in registers for a few rows of x, to scratch
// for more rows, for gathering and for unpacking. Layout: internal/lens_formats.h.
//
// Every reader takes the same value. A quantised weight is a · q (+ b), a and b found once for each `span` of rows, q a small
// integer. a · q is exact in float32 for every format here (a float16 times at most seven bits times six), so the value
// has at most one rounding, and a fused multiply-add gives what a multiplication and an addition give.
#ifndef LENS_WEIGHT_ROWS_H
#define LENS_WEIGHT_ROWS_H

#include "lens_formats.h"

typedef uint16_t halves_unaligned __attribute__((vector_size(32), aligned(2), may_alias));
typedef int8_t bytes_unaligned __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint32_t words_unaligned __attribute__((vector_size(64), aligned(4), may_alias));

/// Bytes ahead that a panel is fetched: see LENS_PREFETCH. Half as many took 8 % (Q4_0) to 20 % (Q8_0) longer.
#define LENS_PREFETCH_BYTES 8192

/// Sixteen float16 as float32; exact.
LENS_INLINE v16 load_halves(const void *p) {
#if LENS_HAS_HALF
  typedef _Float16 float16_unaligned __attribute__((vector_size(32), aligned(2), may_alias));
  return __builtin_convertvector(*(const float16_unaligned *)p, v16);
#else
  const u16 half = __builtin_convertvector(*(const halves_unaligned *)p, u16), rest = (half & 0x7fffu) << 13;
  const u16 rebiased = (u16)((v16)rest * 0x1p112f); // denormals too
  const u16 special = (u16)(rest >= 0x0f800000u);   // infinity, NaN
  return (v16)((special & (rest | 0x7f800000u)) | (~special & rebiased) | (half & 0x8000u) << 16);
#endif
}

LENS_INLINE v16 load_brains(const void *p) {
  return (v16)(__builtin_convertvector(*(const halves_unaligned *)p, u16) << 16);
}

/// Sixteen words, and the bit they are read from.
typedef struct {
  u16 words;
  uint32_t at;
} bit_field;

/// The first `bits` (at most four) of a field as numbers, shifted `up`, `zero` taken off. What stands around them does not
/// matter. Exact, whichever way.
LENS_INLINE v16 field_number(bit_field field, const int bits, const int up, const int zero) {
  const uint32_t mask = (1u << bits) - 1u;
#ifdef LENS_LOOKUP
  v16 table;
  for (int i = 0; i < LENS_LANES; i++) table[i] = (float)((int)((uint32_t)i & mask) << up) - (float)zero;
  return LENS_LOOKUP(table, field.words >> field.at);
#else
  if (__builtin_constant_p(field.at)) {
    // The end of a float's fraction, where they stand; then what that put above them comes off. One shift for many fields.
    const uint32_t down = field.at + (uint32_t)bits <= 23 ? 0 : 12, place = field.at - down;
    const u16 fraction = (field.words >> down) & (mask << place);
    return (v16)(fraction | (150u + (uint32_t)up - place) << 23) - splat((float)((1 << (23 + up - (int)place)) + zero));
  }
  return __builtin_convertvector(((i16)(field.words >> field.at & mask) << up) - zero, v16);
#endif
}
LENS_INLINE v16 low_bits(bit_field field, const int bits, const int zero) { return field_number(field, bits, 0, zero); }
/// Numbers in two pieces: the low `low_count` bits of one field, the low `high_count` of another above them; `zero` taken off.
LENS_INLINE v16 split_bits(bit_field low, const int low_count, bit_field high, const int high_count, const int zero) {
  return field_number(low, low_count, 0, zero) + field_number(high, high_count, low_count, 0); // small integers: exact
}
LENS_INLINE v16 numbers(u16 words) { return __builtin_convertvector((i16)words, v16); }

/// Rows in a row that share a scale and a place in their words.
LENS_INLINE int span_rows(const lens_format format) {
  return format == LENS_FORMAT_Q8_0 || format == LENS_FORMAT_Q4_K || format == LENS_FORMAT_Q5_K ? 32 : 16;
}
LENS_INLINE bool has_minimum(const lens_format format) {
  return format == LENS_FORMAT_Q4_1 || format == LENS_FORMAT_Q5_1 || format == LENS_FORMAT_Q2_K ||
         format == LENS_FORMAT_Q4_K || format == LENS_FORMAT_Q5_K;
}

/// Float16 field `index` of a block, for the sixteen columns from `column` on.
LENS_INLINE v16 block_scale(const char *block, int64_t index, int64_t column) {
  return load_halves(block + 2 * (index * LENS_PANEL + column));
}
/// Unit `index` of a block's other bytes.
LENS_INLINE const char *block_unit(const lens_format format, const char *block, int64_t index, int64_t column) {
  const lens_layout layout = lens_layouts[format];
  return block + 2 * layout.scales * LENS_PANEL + layout.unit * (index * LENS_PANEL + column);
}
LENS_INLINE u16 block_words(const lens_format format, const char *block, int64_t index, int64_t column) {
  return *(const words_unaligned *)block_unit(format, block, index, column);
}
/// Byte `index` of a block's other bytes from bit `shift` on.
LENS_INLINE bit_field block_field(const lens_format format, const char *block, int64_t index, uint32_t shift, int64_t column) {
  return (bit_field){block_words(format, block, (int64_t)((uint64_t)index / 4), column), (uint32_t)index % 4 * 8 + shift};
}
/// The same in the low bits of each lane; other bytes' bits above.
LENS_INLINE u16 block_bits(const lens_format format, const char *block, int64_t index, uint32_t shift, int64_t column) {
  const bit_field field = block_field(format, block, index, shift, column);
  return field.words >> field.at;
}

/// a and b of one span of a block.
LENS_INLINE void span_scales(const lens_format format, const char *block, int64_t span, int64_t column, v16 *a, v16 *b) {
  *a = block_scale(block, 0, column);
  *b = splat(0.0f);
  const uint32_t s = (uint32_t)span;
  u16 scale, minimum;
  switch (format) {
  case LENS_FORMAT_Q4_1:
  case LENS_FORMAT_Q5_1: *b = block_scale(block, 1, column); break;
  case LENS_FORMAT_Q2_K:
    *a = *a * low_bits(block_field(format, block, span, 0, column), 4, 0);
    *b = -(block_scale(block, 1, column) * low_bits(block_field(format, block, span, 4, column), 4, 0));
    break;
  case LENS_FORMAT_Q3_K: // four bits in one byte, two in another
    scale = (block_bits(format, block, 96 + s % 8, s / 8 * 4, column) & 15u) |
            (block_bits(format, block, 104 + s % 4, s / 4 * 2, column) & 3u) << 4;
    *a = *a * __builtin_convertvector((i16)scale - 32, v16);
    break;
  case LENS_FORMAT_Q4_K:
  case LENS_FORMAT_Q5_K: // six bits each, those of the last four spans in two pieces
    if (s < 4) {
      scale = block_bits(format, block, s, 0, column) & 63u;
      minimum = block_bits(format, block, s + 4, 0, column) & 63u;
    } else {
      scale = (block_bits(format, block, s + 4, 0, column) & 15u) | (block_bits(format, block, s - 4, 6, column) & 3u) << 4;
      minimum = (block_bits(format, block, s + 4, 4, column) & 15u) | (block_bits(format, block, s, 6, column) & 3u) << 4;
    }
    *a = *a * numbers(scale);
    *b = -(block_scale(block, 1, column) * numbers(minimum));
    break;
  case LENS_FORMAT_Q6_K:
    scale = block_bits(format, block, 192 + span, 0, column);
    *a = *a * __builtin_convertvector((i16)(scale << 24) >> 24, v16);
    break;
  default: break;
  }
}

/// q of row `row` of a span, the `fourth` of its four; odd: span % 2.
LENS_INLINE v16 span_row(const lens_format format, const char *block, int64_t span, const uint32_t odd, int64_t row,
                         const uint32_t fourth, int64_t column) {
  const uint32_t s = (uint32_t)span, half = s / 8, quarter = s % 8 / 2; // the last two of the formats with 16 spans of 16
  const int64_t place = odd * 16 + row;
#define LENS_FIELD(index, shift) ((bit_field){block_words(format, block, (int64_t)((uint64_t)(index) / 4), column), 8 * fourth + (shift)})
  switch (format) {
  case LENS_FORMAT_Q8_0:
    return __builtin_convertvector(*(const bytes_unaligned *)block_unit(format, block, row, column), v16);
  case LENS_FORMAT_Q4_0: return low_bits(LENS_FIELD(row, 4 * odd), 4, 8);
  case LENS_FORMAT_Q4_1: return low_bits(LENS_FIELD(row, 4 * odd), 4, 0);
  case LENS_FORMAT_Q5_0: // the fifth bits of all 32 rows are one word
    return split_bits(LENS_FIELD(4 + row, 4 * odd), 4, (bit_field){block_words(format, block, 0, column), 16 * odd + (uint32_t)row}, 1, 16);
  case LENS_FORMAT_Q5_1:
    return split_bits(LENS_FIELD(4 + row, 4 * odd), 4, (bit_field){block_words(format, block, 0, column), 16 * odd + (uint32_t)row}, 1, 0);
  case LENS_FORMAT_Q2_K: return low_bits(LENS_FIELD(16 + 32 * half + place, 2 * quarter), 2, 0);
  case LENS_FORMAT_Q3_K:
    return split_bits(LENS_FIELD(32 + 32 * half + place, 2 * quarter), 2, LENS_FIELD(place, 4 * half + quarter), 1, 4);
  case LENS_FORMAT_Q4_K: return low_bits(LENS_FIELD(12 + s / 2 * 32 + row, odd * 4), 4, 0);
  case LENS_FORMAT_Q5_K: return split_bits(LENS_FIELD(44 + s / 2 * 32 + row, odd * 4), 4, LENS_FIELD(12 + row, s), 1, 0);
  case LENS_FORMAT_Q6_K:
    return split_bits(LENS_FIELD(64 * half + quarter % 2 * 32 + place, quarter / 2 * 4), 4,
                      LENS_FIELD(128 + 32 * half + place, 2 * quarter), 2, 32);
  default: return splat(0.0f);
  }
#undef LENS_FIELD
}

/// Where rows of weights go: multiplied by `rows` rows of x and added to chains, or, with rows 0, stored.
typedef struct {
  const float *x; // [rows], row stride ld_x; element 0 meets the first row of weights
  int64_t ld_x;
  v16 (*acc)[4];
  float *dst; // row stride ld
  int64_t ld;
} weight_use;

/// What becomes of row `at` of the weights.
LENS_INLINE void take_row(const int rows, const int vecs, const v16 *w, int64_t at, const weight_use *use) {
  for (int r = 0; r < rows; r++) {
    const v16 factor = splat(use->x[r * use->ld_x + at]);
    for (int c = 0; c < vecs; c++) use->acc[r][c] = LENS_FMA(factor, w[c], use->acc[r][c]);
  }
  if (rows == 0)
    for (int c = 0; c < vecs; c++) store(use->dst + at * use->ld + c * LENS_LANES, w[c]);
}

/// Row `row` of a span.
LENS_INLINE void quantised_row(const lens_format format, const int rows, const int vecs, const char *block, int64_t span,
                               const uint32_t odd, int64_t row, const uint32_t fourth, int64_t column, const v16 *a, const v16 *b,
                               int64_t at, const weight_use *use) {
  v16 w[4];
  for (int c = 0; c < vecs; c++) {
    const v16 q = span_row(format, block, span, odd, row, fourth, column + c * LENS_LANES);
    w[c] = has_minimum(format) ? LENS_FMA(a[c], q, b[c]) : a[c] * q;
  }
  take_row(rows, vecs, w, at, use);
}

/// All rows of a span.
LENS_INLINE void whole_span(const lens_format format, const int rows, const int vecs, const char *block, int64_t span,
                            const uint32_t odd, int64_t column, const v16 *a, const v16 *b, int64_t at, const weight_use *use) {
  for (int64_t row = 0; row < span_rows(format); row += 4, at += 4) { // a word holds four
    const char *ahead = block_unit(format, block, lens_layouts[format].unit == 4 ? row / 4 : row, column) + LENS_PREFETCH_BYTES;
    for (int c = 0; c < vecs; c++) __builtin_prefetch(ahead + c * 64);
    quantised_row(format, rows, vecs, block, span, odd, row, 0, column, a, b, at, use);
    quantised_row(format, rows, vecs, block, span, odd, row + 1, 1, column, a, b, at + 1, use);
    quantised_row(format, rows, vecs, block, span, odd, row + 2, 2, column, a, b, at + 2, use);
    quantised_row(format, rows, vecs, block, span, odd, row + 3, 3, column, a, b, at + 3, use);
  }
}

/// Rows begin ..< end of 16 * vecs columns of a panel, each used as row k - begin. format, rows and vecs are constants at
/// every call.
LENS_INLINE void weight_rows(const lens_format format, const int rows, const int vecs, const char *panel, int64_t begin,
                             int64_t end, int64_t column, const weight_use *use) {
  const lens_layout layout = lens_layouts[format];
  if (layout.rows == 1) {
    const char *p = panel + (begin * LENS_PANEL + column) * layout.bytes;
    const int64_t count = end - begin;
    for (int64_t k = 0; k < count; k++, p += LENS_PANEL * layout.bytes) {
      v16 w[4];
      for (int c = 0; c < vecs; c++) {
        const char *at = p + c * LENS_LANES * layout.bytes;
        __builtin_prefetch(at + LENS_PREFETCH_BYTES);
        w[c] = format == LENS_FORMAT_F16 ? load_halves(at) : format == LENS_FORMAT_BF16 ? load_brains(at) : load((const float *)at);
      }
      take_row(rows, vecs, w, k, use);
    }
    return;
  }
  const int64_t span_length = span_rows(format);
  for (int64_t k = begin; k < end;) {
    const uint64_t at = (uint64_t)k, block_rows = (uint64_t)layout.rows; // unsigned: divisions are shifts
    const char *block = panel + at / block_rows * (uint64_t)layout.bytes * LENS_PANEL;
    const int64_t span = (int64_t)(at % block_rows / (uint64_t)span_length), first = (int64_t)(at % (uint64_t)span_length);
    const int64_t last = span_length - first < end - k ? span_length : first + end - k;
    v16 a[4], b[4];
    for (int c = 0; c < vecs; c++) span_scales(format, block, span, column + c * LENS_LANES, &a[c], &b[c]);
    const int64_t start = k - first - begin;
    if (last - first < span_length) {
      for (int64_t row = first; row < last; row++)
        quantised_row(format, rows, vecs, block, span, span % 2, row, row % 4, column, a, b, start + row, use);
    } else if (span % 2) {
      whole_span(format, rows, vecs, block, span, 1, column, a, b, start, use);
    } else {
      whole_span(format, rows, vecs, block, span, 0, column, a, b, start, use);
    }
    k += last - first;
  }
}

/// Most rows of x that take weights in registers together.
#define LENS_CHAIN_ROWS 4

/// `rows` rows of x times 16 * vecs columns, a chain each, to `out`; or added to what is there.
LENS_INLINE void chain_tile(const lens_format format, const int rows, const int vecs, const char *panel, int64_t begin,
                            int64_t end, int64_t column, const float *x, int64_t ld_x, float *out, bool adds) {
  v16 acc[LENS_CHAIN_ROWS][4];
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++) acc[r][c] = splat(0.0f);
  const weight_use use = {.x = x, .ld_x = ld_x, .acc = acc};
  weight_rows(format, rows, vecs, panel, begin, end, column, &use);
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < vecs; c++) {
      float *to = out + r * LENS_PANEL + c * LENS_LANES;
      store(to, adds ? load(to) + acc[r][c] : acc[r][c]);
    }
}

/// Chains of `block` rows, summed in order, after what is in `out` where the first one `adds`. All columns of one before the
/// next: tiles of `wide` vectors, then single ones.
LENS_INLINE void chain_columns(const lens_format format, const int rows, const int wide, const char *panel, int64_t begin,
                               int64_t end, int64_t block, int64_t column, int64_t vecs, const float *x, int64_t ld_x, float *out, bool adds) {
  for (int64_t k = begin; k < end; k += block, x += block, adds = true) {
    const int64_t stop = end - k < block ? end : k + block;
    int64_t c = 0;
    for (; c + wide <= vecs; c += wide)
      chain_tile(format, rows, wide, panel, k, stop, column + c * LENS_LANES, x, ld_x, out + c * LENS_LANES, adds);
    if (wide > 1)
      for (; c < vecs; c++)
        chain_tile(format, rows, 1, panel, k, stop, column + c * LENS_LANES, x, ld_x, out + c * LENS_LANES, adds);
  }
}

LENS_INLINE void expand_columns(const lens_format format, const int vecs, const char *panel, int64_t begin, int64_t end,
                                int64_t column, float *dst, int64_t ld) {
  const weight_use use = {.dst = dst, .ld = ld};
  weight_rows(format, 0, vecs, panel, begin, end, column, &use);
}

// Functions per format, out of line so that each gets the registers to itself.
//   chain1_…, chain2_…, chain4_…: out[1, 2, 4][16 * vecs] (row stride LENS_PANEL) from as many rows of x and rows
//             begin ..< end of a panel's columns from `column` on, in chains of `block` rows
//   expand_…: dst[end - begin][16 * vecs]
#define LENS_CHAIN_OF(FORMAT, ROWS)                                                                                 \
  static __attribute__((noinline)) void chain##ROWS##_##FORMAT(const char *panel, int64_t begin, int64_t end,        \
                                                               int64_t block, int64_t column, int64_t vecs,          \
                                                               const float *x, int64_t ld_x, float *out, bool adds) { \
    chain_columns(LENS_FORMAT_##FORMAT, ROWS, LENS_CHAIN_VECS(ROWS), panel, begin, end, block, column, vecs, x,      \
                  ld_x, out, adds);                                                                                  \
  }
#define LENS_WEIGHTS_OF(FORMAT)                                                                                     \
  LENS_CHAIN_OF(FORMAT, 1)                                                                                           \
  LENS_CHAIN_OF(FORMAT, 2)                                                                                           \
  LENS_CHAIN_OF(FORMAT, 4)                                                                                           \
  static __attribute__((noinline)) void expand_##FORMAT(const char *panel, int64_t begin, int64_t end, int64_t column, \
                                                        int64_t vecs, float *dst, int64_t ld) {                      \
    int64_t c = 0;                                                                                                   \
    for (; c + LENS_WEIGHT_VECS <= vecs; c += LENS_WEIGHT_VECS)                                                      \
      expand_columns(LENS_FORMAT_##FORMAT, LENS_WEIGHT_VECS, panel, begin, end, column + c * LENS_LANES,             \
                     dst + c * LENS_LANES, ld);                                                                      \
    if (LENS_WEIGHT_VECS > 1)                                                                                        \
      for (; c < vecs; c++)                                                                                          \
        expand_columns(LENS_FORMAT_##FORMAT, 1, panel, begin, end, column + c * LENS_LANES, dst + c * LENS_LANES, ld); \
  }
LENS_WEIGHTS_OF(F32)
LENS_WEIGHTS_OF(BF16)
LENS_WEIGHTS_OF(F16)
LENS_WEIGHTS_OF(Q8_0)
LENS_WEIGHTS_OF(Q4_0)
LENS_WEIGHTS_OF(Q4_1)
LENS_WEIGHTS_OF(Q5_0)
LENS_WEIGHTS_OF(Q5_1)
LENS_WEIGHTS_OF(Q2_K)
LENS_WEIGHTS_OF(Q3_K)
LENS_WEIGHTS_OF(Q4_K)
LENS_WEIGHTS_OF(Q5_K)
LENS_WEIGHTS_OF(Q6_K)

#define LENS_WEIGHT_CASE(FORMAT, CALL) case LENS_FORMAT_##FORMAT: CALL(FORMAT); break
#define LENS_WEIGHT_SWITCH(format, CALL)                                                                            \
  switch (format) {                                                                                                  \
    LENS_WEIGHT_CASE(F32, CALL); LENS_WEIGHT_CASE(BF16, CALL); LENS_WEIGHT_CASE(F16, CALL);                          \
    LENS_WEIGHT_CASE(Q8_0, CALL); LENS_WEIGHT_CASE(Q4_0, CALL); LENS_WEIGHT_CASE(Q4_1, CALL);                        \
    LENS_WEIGHT_CASE(Q5_0, CALL); LENS_WEIGHT_CASE(Q5_1, CALL); LENS_WEIGHT_CASE(Q2_K, CALL);                        \
    LENS_WEIGHT_CASE(Q3_K, CALL); LENS_WEIGHT_CASE(Q4_K, CALL); LENS_WEIGHT_CASE(Q5_K, CALL);                        \
    LENS_WEIGHT_CASE(Q6_K, CALL);                                                                                    \
  case LENS_FORMAT_COUNT: break;                                                                                     \
  }

/// 1, 2 or 4 rows of x.
static void chain(lens_format format, int64_t rows, const void *panel, int64_t begin, int64_t end, int64_t block, int64_t column,
                  int64_t vecs, const float *x, int64_t ld_x, float *out, bool adds) {
#define LENS_CALL_1(FORMAT) chain1_##FORMAT(panel, begin, end, block, column, vecs, x, ld_x, out, adds)
#define LENS_CALL_2(FORMAT) chain2_##FORMAT(panel, begin, end, block, column, vecs, x, ld_x, out, adds)
#define LENS_CALL_4(FORMAT) chain4_##FORMAT(panel, begin, end, block, column, vecs, x, ld_x, out, adds)
  if (rows == 1) {
    LENS_WEIGHT_SWITCH(format, LENS_CALL_1)
  } else if (rows == 2) {
    LENS_WEIGHT_SWITCH(format, LENS_CALL_2)
  } else {
    LENS_WEIGHT_SWITCH(format, LENS_CALL_4)
  }
#undef LENS_CALL_1
#undef LENS_CALL_2
#undef LENS_CALL_4
}

static void expand(lens_format format, const void *panel, int64_t begin, int64_t end, int64_t offset, int64_t vecs,
                   float *dst, int64_t ld) {
#define LENS_CALL(FORMAT) expand_##FORMAT(panel, begin, end, offset, vecs, dst, ld)
  LENS_WEIGHT_SWITCH(format, LENS_CALL)
#undef LENS_CALL
}

#endif
