// lens_parallel.h: the only door to OpenMP. A driver writes LENS_PARALLEL_FOR(threads) before a loop whose iterations
// write disjoint outputs. The split is static: clang's schedule(dynamic) does not link with every libomp.
// Without OpenMP the loops run serially, with the same bits.
#ifndef LENS_PARALLEL_H
#define LENS_PARALLEL_H
#include "lens_kernels.h"

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
static inline int lens_thread_index(void) { return omp_get_thread_num(); }
#else
#define LENS_PARALLEL_FOR(threads) (void)(threads);
#define LENS_PARALLEL_CYCLIC(threads) (void)(threads);
static inline int lens_thread_index(void) { return 0; }
#endif

/// Multiply-adds (or floats moved) below which waking other threads costs more than it saves.
#define LENS_PARALLEL_WORK 32768

/// Threads for `work` units spread over `tasks` iterations: never more than either justifies, at least 1.
int lens_threads_for(int64_t work, int64_t tasks);

static inline int64_t lens_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t lens_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t lens_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
