// pack.c: weights into panels, and the dtypes checkpoints come in. Plain C: loading is bound by memory and disk.
#include "lens_keep.h"
#include "lens_parallel.h"

#include <string.h>

static const int64_t dtype_size[] = {[LENS_F32] = 4, [LENS_F16] = 2, [LENS_BF16] = 2, [LENS_F64] = 8};

/// float64 on its way to two bytes: see lens_odd_of_double.
#define F64_ODD ((lens_dtype)4)

static float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static float float_of_half(uint16_t half) {
  const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = (uint32_t)(half & 0x7fffu) << 13;
  if ((half & 0x7c00u) == 0x7c00u) return float_of_bits(sign | rest | 0x7f800000u); // infinity, NaN with its payload
  const float magnitude = float_of_bits(rest) * 0x1p112f; // rebias; exact, denormals too
  return (sign ? -1.0f : 1.0f) * magnitude;
}

static inline float load_element(const char *p, lens_dtype dtype) {
  uint32_t bits;
  uint16_t half;
  double wide;
  switch ((int)dtype) {
  case LENS_F32: memcpy(&bits, p, 4); return float_of_bits(bits);
  case LENS_F16: memcpy(&half, p, 2); return float_of_half(half);
  case LENS_BF16: memcpy(&half, p, 2); return float_of_bits((uint32_t)half << 16);
  case LENS_F64: memcpy(&wide, p, 8); return (float)wide;
  case F64_ODD: memcpy(&wide, p, 8); return lens_odd_of_double(wide);
  }
  return 0.0f;
}

/// `count` elements `stride` bytes apart to dst[i * step]. Inlined with a constant dtype, and constant strides where
/// they are the usual ones, so that the usual loops vectorise.
static inline __attribute__((always_inline)) void load_loop(const char *p, lens_dtype dtype, int64_t stride,
                                                            int64_t count, float *dst, int64_t step) {
  for (int64_t i = 0; i < count; i++) dst[i * step] = load_element(p + i * stride, dtype);
}

static inline __attribute__((always_inline)) void load_dtype(const char *p, lens_dtype dtype, int64_t stride,
                                                             int64_t count, float *dst, int64_t step) {
  const int64_t size = dtype == LENS_F32 ? 4 : dtype == LENS_F16 || dtype == LENS_BF16 ? 2 : 8;
  if (stride == size && step == 1) {
    load_loop(p, dtype, size, count, dst, 1);
  } else {
    load_loop(p, dtype, stride, count, dst, step);
  }
}

static void load_run(const char *p, lens_dtype dtype, int64_t stride, int64_t count, float *dst, int64_t step) {
  switch ((int)dtype) {
  case LENS_F32: load_dtype(p, LENS_F32, stride, count, dst, step); break;
  case LENS_F16: load_dtype(p, LENS_F16, stride, count, dst, step); break;
  case LENS_BF16: load_dtype(p, LENS_BF16, stride, count, dst, step); break;
  case LENS_F64: load_dtype(p, LENS_F64, stride, count, dst, step); break;
  case F64_ODD: load_dtype(p, F64_ODD, stride, count, dst, step); break;
  }
}

int64_t lens_format_rows(lens_format format) { return lens_layouts[format].rows; }

int64_t lens_format_bytes(lens_format format) { return lens_layouts[format].bytes; }

int64_t lens_packed_bytes(lens_format format, int64_t k, int64_t n) {
  return k > 0 && n > 0 ? lens_ceil_div(n, LENS_PANEL) * lens_panel_bytes(format, k) : 0;
}

/// k values packed together when the source runs along k: the [64][64] corner of a panel stays in the first cache.
#define PACK_ROWS 64

/// A tile of the source as a panel has it: element (i, j) to to[i * LENS_PANEL + j].
typedef struct {
  const char *from;
  lens_dtype dtype;
  int64_t k_stride, n_stride; // bytes
  int64_t rows, columns;
} pack_tile;

static void load_tile(const pack_tile *tile, bool along_k, float *to) {
  if (along_k) {
    for (int64_t j = 0; j < tile->columns; j++)
      load_run(tile->from + j * tile->n_stride, tile->dtype, tile->k_stride, tile->rows, to + j, LENS_PANEL);
  } else {
    for (int64_t i = 0; i < tile->rows; i++)
      load_run(tile->from + i * tile->k_stride, tile->dtype, tile->n_stride, tile->columns, to + i * LENS_PANEL, 1);
  }
}

/// Two bytes as they are. The order of the loops does not matter to the result; the inner one follows the source.
static void copy_tile(const pack_tile *tile, bool along_k, uint16_t *to) {
  const int64_t outer = along_k ? tile->columns : tile->rows, inner = along_k ? tile->rows : tile->columns;
  const int64_t outer_stride = along_k ? tile->n_stride : tile->k_stride, stride = along_k ? tile->k_stride : tile->n_stride;
  const int64_t outer_step = along_k ? 1 : LENS_PANEL, step = along_k ? LENS_PANEL : 1;
  for (int64_t i = 0; i < outer; i++)
    for (int64_t j = 0; j < inner; j++) memcpy(to + i * outer_step + j * step, tile->from + i * outer_stride + j * stride, 2);
}

/// One tile into a panel, at row k and column `begin` of it; `padding` more columns are zeroed.
static void pack_one(const lens_matrix *w, const pack_tile *tile, bool along_k, char *panel, int64_t k, int64_t begin,
                     int64_t padding) {
  const int64_t end = begin + tile->columns;
  const bool isSame = (w->format == LENS_FORMAT_F16 && tile->dtype == LENS_F16) ||
                      (w->format == LENS_FORMAT_BF16 && tile->dtype == LENS_BF16);
  if (w->format == LENS_FORMAT_F32) {
    float *to = (float *)panel + k * LENS_PANEL;
    load_tile(tile, along_k, to + begin);
    for (int64_t i = 0; i < tile->rows && padding > 0; i++)
      memset(to + i * LENS_PANEL + end, 0, (size_t)padding * sizeof(float));
  } else if (isSame) {
    uint16_t *to = (uint16_t *)panel + k * LENS_PANEL;
    copy_tile(tile, along_k, to + begin);
    for (int64_t i = 0; i < tile->rows && padding > 0; i++)
      memset(to + i * LENS_PANEL + end, 0, (size_t)padding * sizeof(uint16_t));
  } else {
    float values[PACK_ROWS * LENS_PANEL];
    load_tile(tile, along_k, values + begin);
    for (int64_t i = 0; i < tile->rows && padding > 0; i++)
      memset(values + i * LENS_PANEL + end, 0, (size_t)padding * sizeof(float));
    lens_keep_tile(w->format, panel, k, tile->rows, begin, end + padding, values);
  }
}

void lens_pack(const lens_matrix *w, int64_t k_begin, int64_t k_count, int64_t n_begin, int64_t n_count, const void *src,
               lens_dtype dtype, int64_t k_stride, int64_t n_stride) {
  if (k_count <= 0 || n_count <= 0) return;
  const int64_t size = dtype_size[dtype], n_end = n_begin + n_count;
  const int64_t first_panel = n_begin / LENS_PANEL, panels = lens_ceil_div(n_end, LENS_PANEL) - first_panel;
  const bool along_k = k_stride == 1 || k_stride == -1;
  const bool isRounded = w->format == LENS_FORMAT_BF16 || w->format == LENS_FORMAT_F16;
  const int threads = lens_threads_for(k_count * n_count, panels);
  LENS_PARALLEL_FOR(threads, p, panels) {
    const int64_t column = (first_panel + p) * LENS_PANEL;
    const int64_t begin = lens_max(n_begin, column), end = lens_min(n_end, column + LENS_PANEL);
    char *panel = (char *)w->data + (first_panel + p) * lens_panel_bytes(w->format, w->k);
    for (int64_t row = 0; row < k_count; row += PACK_ROWS) {
      const pack_tile tile = {.from = (const char *)src + (row * k_stride + (begin - n_begin) * n_stride) * size,
                              .dtype = dtype == LENS_F64 && isRounded ? F64_ODD : dtype, .k_stride = k_stride * size,
                              .n_stride = n_stride * size, .rows = lens_min(PACK_ROWS, k_count - row),
                              .columns = end - begin};
      pack_one(w, &tile, along_k, panel, k_begin + row, begin - column, end == w->n ? column + LENS_PANEL - end : 0);
    }
  }
}

void lens_pack_blocks(const lens_matrix *w, int64_t n_begin, int64_t n_count, const void *src) {
  if (n_count <= 0) return;
  const lens_layout layout = lens_layouts[w->format];
  const int64_t blocks = w->k / layout.rows, n_end = n_begin + n_count;
  const int64_t first_panel = n_begin / LENS_PANEL, panels = lens_ceil_div(n_end, LENS_PANEL) - first_panel;
  const int threads = lens_threads_for(w->k * n_count, panels);
  LENS_PARALLEL_FOR(threads, p, panels) {
    const int64_t column = (first_panel + p) * LENS_PANEL;
    const int64_t begin = lens_max(n_begin, column), end = lens_min(n_end, column + LENS_PANEL);
    char *panel = (char *)w->data + (first_panel + p) * lens_panel_bytes(w->format, w->k);
    for (int64_t b = 0; b < blocks; b++)
      for (int64_t j = begin; j < end; j++)
        lens_place_block(w->format, panel + b * layout.bytes * LENS_PANEL, j - column,
                         (const uint8_t *)src + ((j - n_begin) * blocks + b) * layout.bytes);
  }
}

void lens_convert(const void *src, lens_dtype dtype, int64_t count, float *dst) {
  const int64_t size = dtype_size[dtype], run = 16384, runs = lens_ceil_div(lens_max(count, 0), run);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads, r, runs)
    load_run((const char *)src + r * run * size, dtype, size, lens_min(run, count - r * run), dst + r * run, 1);
}
