// threads.c: how many threads a driver uses. One process-wide wish, read once per call, within what the machine has:
// OpenMP aborts the process when the system refuses it a thread, so no wish may ask for hundreds.
#include "lens_parallel.h"

#include <stdatomic.h>

static _Atomic(int32_t) wanted_threads = 0; // 0: whatever OpenMP would choose

void lens_set_threads(int32_t n) { atomic_store_explicit(&wanted_threads, n < 1 ? 0 : n, memory_order_relaxed); }

int32_t lens_get_threads(void) {
#ifdef _OPENMP
  const int32_t wanted = atomic_load_explicit(&wanted_threads, memory_order_relaxed);
  // The processors this process may run on; a few more are allowed anywhere, so that small machines can test splits.
  const int32_t most = omp_get_num_procs() > 4 ? omp_get_num_procs() : 4;
  const int32_t wish = wanted > 0 ? wanted : omp_get_max_threads();
  return wish < most ? wish : most;
#else
  return 1;
#endif
}

int lens_threads_for(int64_t work, int64_t tasks) {
  const int64_t worthwhile = lens_max(1, lens_min(work / LENS_PARALLEL_WORK, tasks));
  return (int)lens_min(worthwhile, lens_get_threads());
}
