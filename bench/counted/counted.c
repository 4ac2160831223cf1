// counted.c: kernels whose instructions are counted under valgrind, which is the same on every machine and every day. Each
// count_… function is one entry: scripts/count-instructions.sh has callgrind collect inside them and write a total after each.
// Values are real-sized: callgrind does not mind denormals, but the sums do.
#include <stdlib.h>
#include <string.h>

#include "lens_kernels.h"

#define NOINLINE __attribute__((noinline))
enum { K = 768, N = 256, ROWS = 128, HEADS = 2, WIDTH = 64, KEYS = 256 };

static const lens_isa *isa;
static float *x, *out, *weights, *keys, *scratch;
static float *pages[KEYS / LENS_PAGE];
static lens_matrix matrix;

static float next(void) {
  static uint64_t state = 1;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (float)((int64_t)state >> 40) / (float)(1 << 23);
}

static float *numbers(int64_t count) {
  float *values = aligned_alloc(64, (size_t)(count * 4 + 63) / 64 * 64);
  for (int64_t i = 0; i < count; i++) values[i] = next();
  return values;
}

static void pack(lens_format format) {
  free(matrix.data);
  matrix = (lens_matrix){.format = format, .k = K, .n = N, .data = aligned_alloc(64, (size_t)lens_packed_bytes(format, K, N))};
  lens_pack(&matrix, 0, K, 0, N, weights, LENS_F32, N, 1);
}

static void product(int64_t rows) { lens_linear(isa, rows, &matrix, 0, K, 0, N, LENS_K_BLOCK, x, K, out, N, NULL); }

#define COUNT_PRODUCTS(NAME)                       \
  NOINLINE void count_##NAME##_1(void) { product(1); } \
  NOINLINE void count_##NAME##_4(void) { product(4); } \
  NOINLINE void count_##NAME##_128(void) { product(ROWS); }
COUNT_PRODUCTS(f32)
COUNT_PRODUCTS(f16)
COUNT_PRODUCTS(q8_0)
COUNT_PRODUCTS(q4_0)

static void attend(int64_t queries) {
  const int64_t first = 0;
  lens_attention_args args = {.batch = 1, .heads = HEADS, .kv_heads = HEADS, .d_head = WIDTH, .queries = queries, .keys = KEYS,
                              .score_scale = 0.125f, .causal = true, .first = &first, .q = x, .z = out,
                              .pages = (const float *const *)pages, .pages_per_row = KEYS / LENS_PAGE, .scratch = scratch};
  args.scratch_count = lens_attention_scratch(&args);
  lens_attention(isa, &args);
}
NOINLINE void count_attention_prefill(void) { attend(KEYS); }
NOINLINE void count_attention_decode(void) { attend(1); }
NOINLINE void count_layer_norm(void) {
  lens_norm(isa, LENS_NORM_LAYER, ROWS, K, 1e-5f, x, NULL, weights, weights + K, out, NULL, NULL);
}
NOINLINE void count_rms_norm(void) { lens_norm(isa, LENS_NORM_RMS, ROWS, K, 1e-5f, x, NULL, weights, NULL, out, NULL, NULL); }
NOINLINE void count_gelu_new(void) { lens_activation(isa, LENS_ACT_GELU_NEW, ROWS * K, x, out); }
NOINLINE void count_softmax(void) { lens_softmax(isa, ROWS, K, x, out); }

int main(void) {
  isa = lens_isa_active();
  if (!isa) return 1;
  lens_set_threads(1);
  x = numbers(ROWS * K);
  weights = numbers(K * N);
  keys = numbers(KEYS * HEADS * WIDTH);
  out = numbers(ROWS * K);
  scratch = numbers(1 << 16);
  for (int p = 0; p < KEYS / LENS_PAGE; p++) pages[p] = memset(numbers(lens_page_count(HEADS, WIDTH)), 0, 4 * (size_t)lens_page_count(HEADS, WIDTH));
  const int64_t first = 0;
  lens_pages_write(1, KEYS, HEADS, WIDTH, 0, &first, pages, KEYS / LENS_PAGE, keys, keys);

  pack(LENS_FORMAT_F32);
  count_f32_1(), count_f32_4(), count_f32_128();
  pack(LENS_FORMAT_F16);
  count_f16_1(), count_f16_4(), count_f16_128();
  pack(LENS_FORMAT_Q8_0);
  count_q8_0_1(), count_q8_0_4(), count_q8_0_128();
  pack(LENS_FORMAT_Q4_0);
  count_q4_0_1(), count_q4_0_4(), count_q4_0_128();
  count_attention_prefill();
  count_attention_decode();
  count_layer_norm();
  count_rms_norm();
  count_gelu_new();
  count_softmax();
  return 0;
}
