// pack.c: weights into panels and back, and the dtypes checkpoints come in. Plain C: loading is bound by memory and disk.
#include "lens_parallel.h"

#include <string.h>

static const int64_t dtype_size[] = {[LENS_F32] = 4, [LENS_F16] = 2, [LENS_BF16] = 2, [LENS_F64] = 8};

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
  switch (dtype) {
  case LENS_F32: memcpy(&bits, p, 4); return float_of_bits(bits);
  case LENS_F16: memcpy(&half, p, 2); return float_of_half(half);
  case LENS_BF16: memcpy(&half, p, 2); return float_of_bits((uint32_t)half << 16);
  case LENS_F64: memcpy(&wide, p, 8); return (float)wide;
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
  const int64_t size = dtype == LENS_F32 ? 4 : dtype == LENS_F64 ? 8 : 2;
  if (stride == size && step == 1) {
    load_loop(p, dtype, size, count, dst, 1);
  } else {
    load_loop(p, dtype, stride, count, dst, step);
  }
}

static void load_run(const char *p, lens_dtype dtype, int64_t stride, int64_t count, float *dst, int64_t step) {
  switch (dtype) {
  case LENS_F32: load_dtype(p, LENS_F32, stride, count, dst, step); break;
  case LENS_F16: load_dtype(p, LENS_F16, stride, count, dst, step); break;
  case LENS_BF16: load_dtype(p, LENS_BF16, stride, count, dst, step); break;
  case LENS_F64: load_dtype(p, LENS_F64, stride, count, dst, step); break;
  }
}

int64_t lens_packed_count(int64_t k, int64_t n) {
  return k > 0 && n > 0 ? lens_ceil_div(n, LENS_PANEL) * LENS_PANEL * k : 0;
}

/// k values packed together when the source runs along k: the [64][64] corner of a panel stays in the first cache.
#define PACK_ROWS 64

void lens_pack(float *packed, int64_t k, int64_t n, int64_t k_begin, int64_t k_count, int64_t n_begin, int64_t n_count,
               const void *src, lens_dtype dtype, int64_t k_stride, int64_t n_stride) {
  if (k_count <= 0 || n_count <= 0) return;
  const int64_t size = dtype_size[dtype], n_end = n_begin + n_count;
  const int64_t first_panel = n_begin / LENS_PANEL, panels = lens_ceil_div(n_end, LENS_PANEL) - first_panel;
  const bool along_k = k_stride == 1 || k_stride == -1;
  const int threads = lens_threads_for(k_count * n_count, panels);
  LENS_PARALLEL_FOR(threads)
  for (int64_t p = 0; p < panels; p++) {
    const int64_t column = (first_panel + p) * LENS_PANEL;
    const int64_t begin = lens_max(n_begin, column), end = lens_min(n_end, column + LENS_PANEL);
    for (int64_t row = 0; row < k_count; row += PACK_ROWS) {
      const int64_t rows = lens_min(PACK_ROWS, k_count - row);
      float *to = packed + column * k + (k_begin + row) * LENS_PANEL + (begin - column);
      const char *from = (const char *)src + (row * k_stride + (begin - n_begin) * n_stride) * size;
      if (along_k) {
        for (int64_t j = 0; j < end - begin; j++)
          load_run(from + j * n_stride * size, dtype, k_stride * size, rows, to + j, LENS_PANEL);
      } else {
        for (int64_t i = 0; i < rows; i++)
          load_run(from + i * k_stride * size, dtype, n_stride * size, end - begin, to + i * LENS_PANEL, 1);
      }
      if (end == n) // padding, if any: to the end of each panel row
        for (int64_t i = 0; i < rows; i++)
          memset(to + i * LENS_PANEL + (end - begin), 0, (size_t)(column + LENS_PANEL - end) * sizeof(float));
    }
  }
}

void lens_unpack(const float *packed, int64_t k, int64_t n, int64_t k_begin, int64_t k_count, int64_t n_begin,
                 int64_t n_count, float *dst, int64_t k_stride, int64_t n_stride) {
  (void)n; // the panel of a column does not depend on how many follow it
  if (k_count <= 0 || n_count <= 0) return;
  const int threads = lens_threads_for(k_count * n_count, k_count);
  LENS_PARALLEL_FOR(threads)
  for (int64_t i = 0; i < k_count; i++)
    for (int64_t j = 0; j < n_count; j++) {
      const int64_t column = n_begin + j;
      dst[i * k_stride + j * n_stride] =
          packed[column / LENS_PANEL * LENS_PANEL * k + (k_begin + i) * LENS_PANEL + column % LENS_PANEL];
    }
}

void lens_convert(const void *src, lens_dtype dtype, int64_t count, float *dst) {
  const int64_t size = dtype_size[dtype], run = 16384, runs = lens_ceil_div(lens_max(count, 0), run);
  const int threads = lens_threads_for(count, runs);
  LENS_PARALLEL_FOR(threads)
  for (int64_t r = 0; r < runs; r++)
    load_run((const char *)src + r * run * size, dtype, size, lens_min(run, count - r * run), dst + r * run, 1);
}

void lens_gather_rows(int64_t count, int64_t width, const float *table, const int32_t *ids, float *out) {
  if (width <= 0) return;
  const int threads = lens_threads_for(count * width, count);
  LENS_PARALLEL_FOR(threads)
  for (int64_t i = 0; i < count; i++)
    memcpy(out + i * width, table + ids[i] * width, (size_t)width * sizeof(float));
}

void lens_gather_columns(int64_t count, int64_t k, int64_t n, const float *packed, const int32_t *ids, float *out) {
  (void)n;
  const int threads = lens_threads_for(count * k, count);
  LENS_PARALLEL_FOR(threads)
  for (int64_t i = 0; i < count; i++) {
    const float *column = packed + ids[i] / LENS_PANEL * LENS_PANEL * k + ids[i] % LENS_PANEL;
    for (int64_t row = 0; row < k; row++) out[i * k + row] = column[row * LENS_PANEL];
  }
}
