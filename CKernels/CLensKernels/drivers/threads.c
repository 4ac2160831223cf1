// threads.c: how many threads a driver uses. One process-wide wish, read once per call, within what the machine has.
//
// OpenMP aborts the process when the system refuses it a thread (a limit on a container's processes, say). So no wish may
// ask for hundreds, and before a thread first leads a team as large, it tries with plain threads whether so many can be
// had: what is refused then is done without.
#include "lens_parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

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

static void *pass_gate(void *gate) {
  pthread_mutex_lock(gate);
  pthread_mutex_unlock(gate);
  return NULL;
}

/// How many of `wish` threads the system grants at once.
static int32_t threads_granted(int32_t wish) {
  pthread_t *made = malloc((size_t)wish * sizeof *made);
  if (!made) return 0;
  pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&gate);
  int32_t count = 0;
  while (count < wish && pthread_create(&made[count], NULL, pass_gate, &gate) == 0) count++;
  pthread_mutex_unlock(&gate);
  for (int32_t i = 0; i < count; i++) pthread_join(made[i], NULL);
  free(made);
  return count;
}

int lens_threads_for(int64_t work, int64_t tasks) {
  const int64_t worthwhile = lens_max(1, lens_min(work / LENS_PARALLEL_WORK, tasks));
  const int64_t wish = lens_min(worthwhile, lens_get_threads());
  // Of the calling thread, which keeps its team: what it has tried for, and the team it can have.
  static _Thread_local int32_t tried = 1, granted = 1;
  if (wish > tried) {
    granted = 1 + threads_granted((int32_t)wish - 1);
    tried = (int32_t)wish;
  }
  return (int)lens_min(wish, granted);
}
