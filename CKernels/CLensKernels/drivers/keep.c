// keep.c: rounding to two bytes, and ggml's quantisation. Serial and plain C; lens_pack runs it over panels.
//
// Q8_0 and Q4_0 follow quantize_row_q8_0_ref and quantize_row_q4_0_ref of ggml-quants.c, step by step in float32 without
// fused multiply-adds, as gguf-py does: the same bytes.
#include "lens_keep.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// To float16, rounded to nearest even; NaN stays NaN.
static inline uint16_t half_of(float value) {
  const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  const uint32_t normal = (size + 0xfffu + (size >> 13 & 1u) - 0x38000000u) >> 13;
  // Below 2^-14 the unit is 2^-24, which is what floats between 1/2 and 1 have.
  const uint32_t small = bits_of(fabsf(value) + 0.5f) - 0x3f000000u;
  const uint32_t finite = size < 0x38800000u ? small : normal, rest = size > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return (uint16_t)(sign | (size >= 0x477ff000u ? rest : finite));
}

/// The same for bfloat16.
static inline uint16_t brain_of(float value) {
  const uint32_t bits = bits_of(value), rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? bits >> 16 | 0x40u : rounded);
}

static void put_half(uint8_t *to, uint16_t half) { memcpy(to, &half, sizeof half); }

/// A block with a NaN or an infinity has no scale: all of it becomes NaN.
static void put_nothing(uint8_t *to, int64_t bytes) {
  memset(to, 0, (size_t)bytes);
  put_half(to, 0x7e00u);
}

static float inverse_of(float scale) { return scale == 0.0f ? 0.0f : 1.0f / scale; }

static void quantise_q8_0(const float *x, uint8_t *to) {
  float most = 0.0f;
  bool isFinite = true;
  for (int i = 0; i < 32; i++) {
    const float size = fabsf(x[i]);
    most = size > most ? size : most;
    isFinite &= size <= 0x1.fffffep127f;
  }
  if (!isFinite) return put_nothing(to, 34);
  const float d = most / 127.0f, inverse = inverse_of(d);
  put_half(to, half_of(d));
  for (int i = 0; i < 32; i++) {
    // Half away from zero. A scale too small to invert rounds to zero itself, so any q will do.
    const float scaled = x[i] * inverse, size = fabsf(scaled) < 127.0f ? fabsf(scaled) : 127.0f;
    const int32_t whole = (int32_t)size, q = whole + (size - (float)whole >= 0.5f);
    to[2 + i] = (uint8_t)(int8_t)(scaled < 0.0f ? -q : q);
  }
}

static void quantise_q4_0(const float *x, uint8_t *to) {
  float most = 0.0f, extreme = 0.0f; // the first element of the largest size, sign and all
  bool isFinite = true;
  for (int i = 0; i < 32; i++) {
    const float size = fabsf(x[i]);
    extreme = size > most ? x[i] : extreme;
    most = size > most ? size : most;
    isFinite &= size <= 0x1.fffffep127f;
  }
  if (!isFinite) return put_nothing(to, 18);
  // All zeros: the scale has the first zero's sign, changed, and every q is 8.
  const float d = (most == 0.0f ? x[0] : extreme) / -8.0f, inverse = inverse_of(d);
  put_half(to, half_of(d));
  for (int i = 0; i < 16; i++) {
    uint8_t q[2];
    for (int half = 0; half < 2; half++) {
      const float shifted = x[16 * half + i] * inverse + 8.5f;
      q[half] = (uint8_t)(shifted > 0.0f ? shifted < 15.0f ? (int32_t)shifted : 15 : 0);
    }
    to[2 + i] = (uint8_t)(q[0] | q[1] << 4);
  }
}

void lens_place_block(lens_format format, char *block, int64_t column, const uint8_t *from) {
  const lens_layout layout = lens_layouts[format];
  for (int64_t s = 0; s < layout.scales; s++)
    memcpy(block + 2 * (s * LENS_PANEL + column), from + layout.scales_at + 2 * s, 2);
  const uint8_t *rest = from + (layout.scales_at == 0 ? 2 * layout.scales : 0);
  char *to = block + 2 * layout.scales * LENS_PANEL + layout.unit * column;
  const int64_t units = (layout.bytes - 2 * layout.scales) / layout.unit;
  if (layout.unit == 4) {
    for (int64_t u = 0; u < units; u++) memcpy(to + u * 4 * LENS_PANEL, rest + u * 4, 4);
  } else {
    for (int64_t u = 0; u < units; u++) to[u * LENS_PANEL] = (char)rest[u];
  }
}

void lens_take_block(lens_format format, const char *block, int64_t column, uint8_t *to) {
  const lens_layout layout = lens_layouts[format];
  for (int64_t s = 0; s < layout.scales; s++)
    memcpy(to + layout.scales_at + 2 * s, block + 2 * (s * LENS_PANEL + column), 2);
  uint8_t *rest = to + (layout.scales_at == 0 ? 2 * layout.scales : 0);
  const char *from = block + 2 * layout.scales * LENS_PANEL + layout.unit * column;
  const int64_t units = (layout.bytes - 2 * layout.scales) / layout.unit;
  for (int64_t u = 0; u < units; u++)
    memcpy(rest + u * layout.unit, from + u * layout.unit * LENS_PANEL, (size_t)layout.unit);
}

void lens_keep_tile(lens_format format, char *panel, int64_t k, int64_t rows, int64_t begin, int64_t end,
                    const float *tile) {
  if (format == LENS_FORMAT_BF16 || format == LENS_FORMAT_F16) {
    for (int64_t i = 0; i < rows; i++) {
      uint16_t *to = (uint16_t *)panel + (k + i) * LENS_PANEL;
      const float *from = tile + i * LENS_PANEL;
      if (format == LENS_FORMAT_F16) {
        for (int64_t j = begin; j < end; j++) to[j] = half_of(from[j]);
      } else {
        for (int64_t j = begin; j < end; j++) to[j] = brain_of(from[j]);
      }
    }
    return;
  }
  const int64_t bytes = lens_layouts[format].bytes;
  for (int64_t b = 0; b < rows / 32; b++)
    for (int64_t j = begin; j < end; j++) {
      float x[32];
      uint8_t block[34];
      for (int64_t i = 0; i < 32; i++) x[i] = tile[(b * 32 + i) * LENS_PANEL + j];
      if (format == LENS_FORMAT_Q8_0) {
        quantise_q8_0(x, block);
      } else {
        quantise_q4_0(x, block);
      }
      lens_place_block(format, panel + (k / 32 + b) * bytes * LENS_PANEL, j, block);
    }
}
