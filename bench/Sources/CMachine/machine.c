// machine.c: the two limits, one body compiled for each width of vectors.
#include "machine.h"

#include <time.h>

typedef float v16 __attribute__((vector_size(64)));
typedef float v16_unaligned __attribute__((vector_size(64), aligned(4), may_alias));

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/// `chains` sums of sixteen lanes, enough to hide a multiply-add's latency and few enough for the registers.
#define FLOPS_OF(NAME, TARGET, CHAINS)                                                                       \
  TARGET static double flops_##NAME(void) {                                                                  \
    v16 acc[CHAINS];                                                                                         \
    const v16 a = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};                                          \
    const v16 factor = a * 0.999999f, addend = a * 1e-6f;                                                    \
    for (int c = 0; c < CHAINS; c++) acc[c] = a * (float)c;                                                  \
    const int64_t rounds = 2000000;                                                                          \
    double best = 0;                                                                                         \
    for (int trial = 0; trial < 8; trial++) {                                                                \
      const double begin = seconds();                                                                        \
      for (int64_t round = 0; round < rounds; round++)                                                       \
        for (int c = 0; c < CHAINS; c++) acc[c] = __builtin_elementwise_fma(acc[c], factor, addend);         \
      const double rate = (double)rounds * CHAINS * 32 / (seconds() - begin);                                \
      if (rate > best) best = rate;                                                                          \
    }                                                                                                        \
    volatile float sink = 0;                                                                                 \
    for (int c = 0; c < CHAINS; c++) sink = sink + acc[c][0];                                                \
    return best;                                                                                             \
  }
#define SUM_OF(NAME, TARGET)                                                                                 \
  TARGET static float sum_##NAME(const float *x, int64_t count) {                                            \
    v16 acc[8] = {0};                                                                                        \
    for (int64_t i = 0; i < count; i += 128)                                                                 \
      for (int c = 0; c < 8; c++) acc[c] += *(const v16_unaligned *)(x + i + 16 * c);                        \
    float total = 0;                                                                                         \
    for (int c = 0; c < 8; c++)                                                                              \
      for (int lane = 0; lane < 16; lane++) total += acc[c][lane];                                           \
    return total;                                                                                            \
  }

#if defined(__x86_64__)
FLOPS_OF(avx512, __attribute__((target("avx512f"))), 24)
SUM_OF(avx512, __attribute__((target("avx512f"))))
FLOPS_OF(avx2, __attribute__((target("avx2,fma"))), 6)
SUM_OF(avx2, __attribute__((target("avx2,fma"))))
SUM_OF(plain, )

double machine_flops(void) {
  if (__builtin_cpu_supports("avx512f")) return flops_avx512();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? flops_avx2() : 0;
}
float machine_sum(const float *x, int64_t count) {
  if (__builtin_cpu_supports("avx512f")) return sum_avx512(x, count);
  return __builtin_cpu_supports("avx2") ? sum_avx2(x, count) : sum_plain(x, count);
}
#else
FLOPS_OF(plain, , 6)
SUM_OF(plain, )
double machine_flops(void) { return flops_plain(); }
float machine_sum(const float *x, int64_t count) { return sum_plain(x, count); }
#endif
