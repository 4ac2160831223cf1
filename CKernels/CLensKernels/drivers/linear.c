// linear.c: lens_linear and lens_linear_int8, split into tasks of one panel times one chunk of rows.
//
// The split decides only who computes an element, never how. Panels go in groups that fit the level-2 cache; inside a
// group each chunk of rows passes over all its panels before the next chunk comes, so both are found in cache.
#include "lens_formats.h"
#include "lens_int8.h"
#include "lens_isa.h"
#include "lens_parallel.h"

/// Weights a thread keeps in its level-2 cache, with room beside them for a chunk of x.
#define GROUP_BYTES (512 * 1024)

typedef void (*panel_task)(const lens_linear_call *call, int64_t row, int64_t rows, int64_t panel);

static void run_panels(const lens_isa *isa, const lens_linear_call *call, panel_task run) {
  const int64_t m = call->m, first_panel = call->n_begin / LENS_PANEL;
  const int64_t panels = lens_ceil_div(call->n_end, LENS_PANEL) - first_panel;
  const int64_t tiles = lens_ceil_div(m, isa->tile_rows), depth = lens_max(1, call->k_end - call->k_begin);
  const int threads = lens_threads_for(m * (call->n_end - call->n_begin) * depth, panels * tiles);

  // Chunks are whole tiles, nearly equal, and enough of them that each thread has a task or two. Near the end threads take
  // parts of a chunk, of a few tiles.
  const int64_t least = lens_ceil_div(m, LENS_ROW_CHUNK / isa->tile_rows * isa->tile_rows);
  const int64_t chunks = lens_min(tiles, lens_max(least, lens_ceil_div(threads > 1 ? 2 * threads : 1, panels)));
  const int64_t parts = threads > 1 ? lens_max(1, lens_min(4, tiles / chunks / 2)) : 1;
  const int64_t panel_bytes = lens_max(1, lens_panel_bytes(call->w.format, call->k_end - call->k_begin));
  const int64_t group = lens_max(1, lens_min(panels, GROUP_BYTES / panel_bytes));
  lens_runs runs;
  lens_deal(&runs, panels * chunks, parts, threads);
  LENS_PARALLEL(threads)
  for (int64_t part, count; (part = lens_next_tasks(&runs, &count)) >= 0;) {
    if (chunks * parts == 1) { // few rows: tasks are short, and divisions take their time
      run(call, 0, m, first_panel + part);
      continue;
    }
    const int64_t task = part / parts, first = task / (group * chunks) * group, size = lens_min(group, panels - first);
    const int64_t within = task - first * chunks, panel = first + within % size;
    const int64_t cut = within / size * parts + part % parts; // of chunks * parts cuts of the rows
    const int64_t row = tiles * cut / (chunks * parts) * isa->tile_rows;
    const int64_t row_end = lens_min(m, tiles * (cut + count) / (chunks * parts) * isa->tile_rows);
    run(call, row, row_end - row, first_panel + panel);
  }
}

void lens_linear(const lens_isa *isa, int64_t m, const lens_matrix *w, int64_t k_begin, int64_t k_end, int64_t n_begin,
                 int64_t n_end, int64_t block, const float *x, int64_t ld_x, float *out, int64_t ld_out,
                 const lens_epilogue *epilogue) {
  if (m <= 0 || n_begin >= n_end) return;
  lens_linear_call call = {.m = m, .k_begin = k_begin, .k_end = k_end, .n_begin = n_begin, .n_end = n_end,
                           .block = block, .w = *w, .x = x, .ld_x = ld_x, .out = out, .ld_out = ld_out};
  if (epilogue) call.epilogue = *epilogue;
  run_panels(isa, &call, isa->linear_panel);
}

/// Words and groups of one row of rounded x.
static void rounded_size(const lens_linear_call *call, int64_t *words, int64_t *groups) {
  *words = *groups = 0;
  for (int64_t k = call->k_begin; k < call->k_end; (*groups)++) {
    const int64_t end = lens_group_end(call, k);
    *words += lens_group_words(k, end);
    k = end;
  }
}

int64_t lens_int8_scratch(lens_format format, int64_t m, int64_t k_begin, int64_t k_end, int64_t block) {
  if (lens_layouts[format].rows == 1 || m <= 0) return 0;
  const lens_linear_call call = {.k_begin = k_begin, .k_end = k_end, .block = block, .w = {.format = format}};
  int64_t words, groups;
  rounded_size(&call, &words, &groups);
  return m * (words + 2 * groups);
}

void lens_linear_int8(const lens_isa *isa, int64_t m, const lens_matrix *w, int64_t k_begin, int64_t k_end, int64_t n_begin,
                      int64_t n_end, int64_t block, const float *x, int64_t ld_x, float *out, int64_t ld_out,
                      const lens_epilogue *epilogue, float *scratch) {
  if (m <= 0 || n_begin >= n_end) return;
  lens_linear_call call = {.m = m, .k_begin = k_begin, .k_end = k_end, .n_begin = n_begin, .n_end = n_end,
                           .block = block, .w = *w, .x = x, .ld_x = ld_x, .out = out, .ld_out = ld_out};
  if (epilogue) call.epilogue = *epilogue;
  lens_rounded *rounded = &call.rounded;
  rounded_size(&call, &rounded->ld_words, &rounded->ld_groups);
  rounded->words = (int32_t *)scratch;
  rounded->sums = rounded->words + m * rounded->ld_words;
  rounded->scales = (float *)(rounded->sums + m * rounded->ld_groups);
  const int threads = lens_threads_for(m * lens_max(1, k_end - k_begin), m);
  LENS_PARALLEL_FOR(threads)
  for (int64_t row = 0; row < m; row++) isa->round_row(&call, row);
  run_panels(isa, &call, isa->int8_panel);
}
