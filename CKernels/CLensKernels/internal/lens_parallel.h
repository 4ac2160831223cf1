// lens_parallel.h: the only door to OpenMP. A driver writes LENS_PARALLEL_FOR(threads, i, count) in place of a loop over
// 0 ..< count whose iterations write disjoint outputs: each thread has one run of them. Where a task is long, LENS_PARALLEL with
// lens_next_tasks lets a thread that is through take over what another has not begun. OpenMP's own `for` is not used: clang's
// schedule(dynamic) does not link with every libomp, and a static one costs 0.4 µs even where one thread runs it.
// Without OpenMP the loops run serially, with the same bits.
#ifndef LENS_PARALLEL_H
#define LENS_PARALLEL_H
#include "lens_kernels.h"

#include <stdatomic.h>

#ifdef _OPENMP
// Declared here because some toolchains ship -fopenmp without omp.h.
int omp_get_max_threads(void);
int omp_get_num_procs(void);
int omp_get_num_threads(void);
int omp_get_thread_num(void);
#define LENS_PRAGMA(text) _Pragma(#text)
#define LENS_PARALLEL(threads) LENS_PRAGMA(omp parallel num_threads(threads) if ((threads) > 1))
static inline int lens_thread_index(void) { return omp_get_thread_num(); }
static inline int lens_thread_count(void) { return omp_get_num_threads(); }
#else
#define LENS_PARALLEL(threads) (void)(threads);
static inline int lens_thread_index(void) { return 0; }
static inline int lens_thread_count(void) { return 1; }
#endif
#define LENS_PARALLEL_FOR(threads, i, count) \
  LENS_PARALLEL(threads)                     \
  for (int64_t i = lens_run_begin(count, lens_thread_index()), i##_end = lens_run_begin(count, lens_thread_index() + 1); i < i##_end; i++)

/// Where the run of thread `index` of the team begins.
static inline int64_t lens_run_begin(int64_t count, int index) { return count * index / lens_thread_count(); }

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
/// one cache, and then takes from the back of the longest run left. Tasks come in batches that are better done by one thread;
/// near the end of a run they are given out one by one, so that threads end together.
typedef struct {
  int count;
  int64_t batch;
  struct {
    _Alignas(64) _Atomic uint64_t left; // begin in the upper half, end in the lower
  } run[LENS_RUNS_MAX];
} lens_runs;

/// `batches` batches of `batch` tasks each, fewer than 2^32 altogether, for `threads` threads.
static inline void lens_deal(lens_runs *runs, int64_t batches, int64_t batch, int threads) {
  runs->count = threads < LENS_RUNS_MAX ? threads : LENS_RUNS_MAX;
  runs->batch = batch;
  for (int i = 0; i < runs->count; i++)
    atomic_init(&runs->run[i].left, (uint64_t)(batches * i / runs->count * batch) << 32 | (uint64_t)(batches * (i + 1) / runs->count * batch));
}

static inline int64_t lens_run_length(uint64_t left) { return (int64_t)(uint32_t)left - (int64_t)(left >> 32); }

/// How many tasks to take where those at `edge` are the next ones.
static inline uint64_t lens_run_share(const lens_runs *runs, uint64_t left, uint64_t edge) {
  return edge % (uint64_t)runs->batch == 0 && lens_run_length(left) >= 3 * runs->batch ? (uint64_t)runs->batch : 1;
}

/// The calling thread's next task, and how many follow it in its batch that are its own too; -1 when all have been taken.
static inline int64_t lens_next_tasks(lens_runs *runs, int64_t *count) {
  const int own = lens_thread_index() % runs->count;
  uint64_t left = atomic_load_explicit(&runs->run[own].left, memory_order_relaxed);
  while (lens_run_length(left) > 0) {
    const uint64_t share = lens_run_share(runs, left, left >> 32);
    *count = (int64_t)share;
    if (atomic_compare_exchange_weak_explicit(&runs->run[own].left, &left, left + (share << 32), memory_order_relaxed, memory_order_relaxed))
      return (int64_t)(left >> 32);
  }
  for (;;) {
    int from = -1;
    int64_t most = 0;
    for (int i = 0; i < runs->count; i++) {
      const uint64_t other = atomic_load_explicit(&runs->run[i].left, memory_order_relaxed);
      if (lens_run_length(other) > most) most = lens_run_length(other), from = i, left = other;
    }
    if (from < 0) return -1;
    const uint64_t share = lens_run_share(runs, left, (uint32_t)left);
    *count = (int64_t)share;
    if (atomic_compare_exchange_weak_explicit(&runs->run[from].left, &left, left - share, memory_order_relaxed, memory_order_relaxed))
      return (int64_t)((uint32_t)left - share);
  }
}

#endif
