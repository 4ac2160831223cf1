// Threads of the drivers' parallel loops. The toolchain has no omp.h; without OpenMP everything runs on one thread.
#ifndef LENS_THREADS_H
#define LENS_THREADS_H
#include <stdint.h>

/// Threads for a loop of `tasks` that does about `work` multiply-adds or moves: one where starting threads costs more.
int32_t lens_threads_for(int64_t tasks, double work);

#ifdef _OPENMP
/// A loop over independent tasks. The body is outlined and loses its function's target: it only calls through the table.
#define LENS_PARALLEL_FOR(threads, schedule_kind) LENS_PRAGMA(omp parallel for num_threads(threads) schedule(schedule_kind) if ((threads) > 1))
#else
#define LENS_PARALLEL_FOR(threads, schedule_kind)
#endif
#define LENS_PRAGMA(text) LENS_PRAGMA_TEXT(text)
#define LENS_PRAGMA_TEXT(text) _Pragma(#text)

#endif
