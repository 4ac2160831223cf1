// Weights into panels and out of them, conversions, and lookups.
#include "lens_isa.h"
#include <string.h>

int64_t lens_packed_count(int64_t k, int64_t n) {
  return k <= 0 || n <= 0 ? 0 : (n + LENS_PANEL - 1) / LENS_PANEL * LENS_PANEL * k;
}

static float from_f16(uint16_t bits) {
  _Float16 value;
  memcpy(&value, &bits, sizeof value);
  return (float)value;
}

static float from_bf16(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}

/// Element `index` of an unaligned array.
static inline float element(const uint8_t *src, lens_dtype dtype, int64_t index) {
  switch (dtype) {
  case LENS_F32: {
    float value;
    memcpy(&value, src + index * 4, 4);
    return value;
  }
  case LENS_F16:
  case LENS_BF16: {
    uint16_t bits;
    memcpy(&bits, src + index * 2, 2);
    return dtype == LENS_F16 ? from_f16(bits) : from_bf16(bits);
  }
  case LENS_F64: {
    double value;
    memcpy(&value, src + index * 8, 8);
    return (float)value;
  }
  }
  return 0.0f;
}

/// The loop of lens_pack for one type, so that the type is settled outside it. Blocks of 16 × 16 keep both sides in cache.
static inline __attribute__((always_inline)) void pack_as(lens_dtype dtype, float *packed, int64_t k, int64_t k_begin, int64_t k_count,
                                                          int64_t n_begin, int64_t n_count, const uint8_t *src, int64_t k_stride,
                                                          int64_t n_stride) {
  for (int64_t j0 = 0; j0 < n_count; j0 += 16)
    for (int64_t i0 = 0; i0 < k_count; i0 += 16)
      for (int64_t j = j0; j < lens_min(n_count, j0 + 16); j++) {
        int64_t column = n_begin + j;
        float *place = packed + (column / LENS_PANEL * k + k_begin) * LENS_PANEL + column % LENS_PANEL;
        for (int64_t i = i0; i < lens_min(k_count, i0 + 16); i++)
          place[i * LENS_PANEL] = element(src, dtype, i * k_stride + j * n_stride);
      }
}

void lens_pack(float *packed, int64_t k, int64_t n, int64_t k_begin, int64_t k_count, int64_t n_begin, int64_t n_count, const void *src,
               lens_dtype dtype, int64_t k_stride, int64_t n_stride) {
  const uint8_t *bytes = src;
  switch (dtype) {
  case LENS_F32: pack_as(LENS_F32, packed, k, k_begin, k_count, n_begin, n_count, bytes, k_stride, n_stride); break;
  case LENS_F16: pack_as(LENS_F16, packed, k, k_begin, k_count, n_begin, n_count, bytes, k_stride, n_stride); break;
  case LENS_BF16: pack_as(LENS_BF16, packed, k, k_begin, k_count, n_begin, n_count, bytes, k_stride, n_stride); break;
  case LENS_F64: pack_as(LENS_F64, packed, k, k_begin, k_count, n_begin, n_count, bytes, k_stride, n_stride); break;
  }
  if (n_begin + n_count == n && n % LENS_PANEL != 0)
    for (int64_t i = k_begin; i < k_begin + k_count; i++)
      for (int64_t column = n % LENS_PANEL; column < LENS_PANEL; column++)
        packed[(n / LENS_PANEL * k + i) * LENS_PANEL + column] = 0.0f;
}

void lens_unpack(const float *packed, int64_t k, int64_t n, int64_t k_begin, int64_t k_count, int64_t n_begin, int64_t n_count, float *dst,
                 int64_t k_stride, int64_t n_stride) {
  (void)n;
  for (int64_t i = 0; i < k_count; i++)
    for (int64_t j = 0; j < n_count; j++) {
      int64_t column = n_begin + j;
      dst[i * k_stride + j * n_stride] = packed[(column / LENS_PANEL * k + k_begin + i) * LENS_PANEL + column % LENS_PANEL];
    }
}

void lens_convert(const void *src, lens_dtype dtype, int64_t count, float *dst) {
  if (dtype == LENS_F32) {
    if (count > 0) memcpy(dst, src, (size_t)count * sizeof *dst);
    return;
  }
  for (int64_t i = 0; i < count; i++) dst[i] = element(src, dtype, i);
}

void lens_gather_rows(int64_t count, int64_t width, const float *table, const int32_t *ids, float *out) {
  for (int64_t i = 0; i < count; i++)
    if (width > 0) memcpy(out + i * width, table + ids[i] * width, (size_t)width * sizeof *out);
}

void lens_gather_columns(int64_t count, int64_t k, int64_t n, const float *packed, const int32_t *ids, float *out) {
  for (int64_t i = 0; i < count; i++) lens_unpack(packed, k, n, 0, k, ids[i], 1, out + i * k, 1, 1);
}
