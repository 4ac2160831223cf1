// How many threads: one number for the process.
#include "lens_threads.h"
#include "lens_kernels.h"
#include <stdatomic.h>

#ifdef _OPENMP
int omp_get_num_procs(void);
int omp_get_max_threads(void);
static int32_t default_threads(void) { return omp_get_max_threads(); }
#else
static int32_t default_threads(void) { return 1; }
#endif

static _Atomic int32_t chosen;

void lens_set_threads(int32_t n) { atomic_store(&chosen, n < 1 ? 0 : n); }

int32_t lens_get_threads(void) {
  int32_t n = atomic_load(&chosen);
  return n > 0 ? n : default_threads();
}

int32_t lens_threads_for(int64_t tasks, double work) {
  // Starting and joining threads costs a few microseconds: about as much as this many multiply-adds.
  const double worth_a_thread = 100e3;
  int32_t threads = lens_get_threads();
  if (tasks < threads) threads = (int32_t)(tasks < 1 ? 1 : tasks);
  if (work < worth_a_thread * 2) return 1;
  return threads;
}
