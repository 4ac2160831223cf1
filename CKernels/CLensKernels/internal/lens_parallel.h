// lens_parallel.h: the only door to OpenMP. A driver writes LENS_PARALLEL_FOR(threads) before a loop whose iterations
// write disjoint outputs. The split is static: clang's schedule(dynamic) does not link with every libomp. Where a task is
// long, LENS_PARALLEL with lens_next_task lets a thread that is through take over what another has not begun.
// Without OpenMP the loops run serially, with the same bits.
#ifndef LENS_PARALLEL_H
#define LENS_PARALLEL_H
#include "lens_kernels.h"

#include <stdatomic.h>

#ifdef _OPENMP
// Declared here because some toolchains ship -fopenmp without omp.h.
int omp_get_max_threads(void);
int omp_get_num_procs(void);
int omp_get_thread_num(void);
#define LENS_PRAGMA(text) _Pragma(#text)
#define LENS_PARALLEL_FOR(threads) \
  LENS_PRAGMA(omp parallel for schedule(static) num_threads(threads) if ((threads) > 1))
#define LENS_PARALLEL_CYCLIC(threads) \
  LENS_PRAGMA(omp parallel for schedule(static, 1) num_threads(threads) if ((threads) > 1))
#define LENS_PARALLEL(threads) LENS_PRAGMA(omp parallel num_threads(threads) if ((threads) > 1))
static inline int lens_thread_index(void) { return omp_get_thread_num(); }
#else
#define LENS_PARALLEL_FOR(threads) (void)(threads);
#define LENS_PARALLEL_CYCLIC(threads) (void)(threads);
#define LENS_PARALLEL(threads) (void)(threads);
static inline int lens_thread_index(void) { return 0; }
#endif

/// Multiply-adds (or floats moved) below which waking other threads costs more than it saves.
#define LENS_PARALLEL_WORK 32768

/// Threads for `work` units spread over `tasks` iterations: never more than either justifies, at least 1.
int lens_threads_for(int64_t work, int64_t tasks);

static inline int64_t lens_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t lens_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t lens_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// More threads than this share the runs of the first ones.
#define LENS_RUNS_MAX 64

/// Tasks dealt out to threads in runs. A thread goes through its own run from the front, which keeps neighbouring tasks in
/// one cache, and then takes from the back of the longest run left.
typedef struct {
  int count;
  struct {
    _Alignas(64) _Atomic uint64_t left; // begin in the upper half, end in the lower
  } run[LENS_RUNS_MAX];
} lens_runs;

/// Tasks 0 ..< tasks, fewer than 2^32, for `threads` threads.
static inline void lens_deal(lens_runs *runs, int64_t tasks, int threads) {
  runs->count = threads < LENS_RUNS_MAX ? threads : LENS_RUNS_MAX;
  for (int i = 0; i < runs->count; i++)
    atomic_init(&runs->run[i].left, (uint64_t)(tasks * i / runs->count) << 32 | (uint64_t)(tasks * (i + 1) / runs->count));
}

/// The calling thread's next task; -1 when all have been taken.
static inline int64_t lens_next_task(lens_runs *runs) {
  const int own = lens_thread_index() % runs->count;
  uint64_t left = atomic_load_explicit(&runs->run[own].left, memory_order_relaxed);
  while (left >> 32 < (uint32_t)left)
    if (atomic_compare_exchange_weak_explicit(&runs->run[own].left, &left, left + ((uint64_t)1 << 32), memory_order_relaxed,
                                              memory_order_relaxed))
      return (int64_t)(left >> 32);
  for (;;) {
    int from = -1;
    uint64_t most = 0;
    for (int i = 0; i < runs->count; i++) {
      const uint64_t other = atomic_load_explicit(&runs->run[i].left, memory_order_relaxed);
      const uint64_t length = (uint32_t)other > other >> 32 ? (uint32_t)other - (other >> 32) : 0;
      if (length > most) most = length, from = i, left = other;
    }
    if (from < 0) return -1;
    if (atomic_compare_exchange_weak_explicit(&runs->run[from].left, &left, left - 1, memory_order_relaxed, memory_order_relaxed))
      return (int64_t)(uint32_t)left - 1;
  }
}

#endif
