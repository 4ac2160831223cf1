// Products with packed weights: tasks are panels of columns times chunks of rows; a panel's chunks lie side by side, so that
// it stays in the cache.
#include "lens_isa.h"
#include "lens_threads.h"

void lens_linear(const lens_isa *isa, int64_t m, int64_t k, int64_t n, int64_t k_begin, int64_t k_end, int64_t n_begin, int64_t n_end,
                 int64_t block, const float *x, int64_t ld_x, const float *packed, float *out, int64_t ld_out,
                 const lens_epilogue *epilogue) {
  (void)n;
  if (m <= 0 || n_begin >= n_end) return;
  lens_linear_job job = {.k = k, .k_begin = k_begin, .k_end = k_end, .n_begin = n_begin, .n_end = n_end, .block = block < 1 ? 1 : block,
                         .ld_x = ld_x, .ld_out = ld_out, .x = x, .packed = packed, .out = out};
  if (epilogue) job.epilogue = *epilogue;
  int64_t first = n_begin / LENS_PANEL, panels = (n_end + LENS_PANEL - 1) / LENS_PANEL - first;
  int64_t chunks = (m + LENS_ROW_CHUNK - 1) / LENS_ROW_CHUNK;
  int64_t tasks = panels * chunks;
  int32_t threads = lens_threads_for(tasks, (double)m * (double)(n_end - n_begin) * (double)(k_end - k_begin));
  LENS_PARALLEL_FOR(threads, static)
  for (int64_t task = 0; task < tasks; task++) {
    int64_t begin = task % chunks * LENS_ROW_CHUNK;
    isa->linear(&job, first + task / chunks, begin, lens_min(m, begin + LENS_ROW_CHUNK));
  }
}
