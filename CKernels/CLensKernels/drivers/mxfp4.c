// mxfp4.c: 4-bit floats with a shared exponent (OCP Microscaling Formats 1.0), unpacked to float32.
#include <math.h>

#include "lens_kernels.h"
#include "lens_parallel.h"

#define BLOCK 32 // elements that share a scale

void lens_unpack_mxfp4(int64_t blocks, const uint8_t *elements, const uint8_t *scales, float *dst) {
  static const float values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                   -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  const int threads = lens_threads_for(blocks * BLOCK, lens_max(blocks, 0));
  LENS_PARALLEL_FOR(threads, b, blocks) {
    const float scale = scales[b] == 255 ? NAN : ldexpf(1.0f, (int)scales[b] - 127);
    for (int64_t i = 0; i < BLOCK / 2; i++) {
      const uint8_t pair = elements[b * (BLOCK / 2) + i];
      dst[b * BLOCK + 2 * i] = values[pair & 15] * scale;
      dst[b * BLOCK + 2 * i + 1] = values[pair >> 4] * scale;
    }
  }
}
