// linear.c: lens_linear, lens_linear_int8 and lens_linear_several, split into tasks of one panel times one chunk of rows.
//
// The split decides only who computes an element, never how. Panels go in groups that fit the level-2 cache; inside a
// group each chunk of rows passes over all its panels before the next chunk comes, so both are found in cache.
#include "lens_formats.h"
#include "lens_int8.h"
#include "lens_isa.h"
#include "lens_parallel.h"

/// Weights a thread keeps in its level-2 cache, with room beside them for a chunk of x.
#define GROUP_BYTES (512 * 1024)
/// Most panels that are taken at once where rows are few.
#define SHORT_BATCH 4
/// Of a matrix and of each row of x, what is fetched before the first task.
#define FIRST_BYTES 8192

typedef void (*panel_task)(const lens_linear_call *call, int64_t row, int64_t rows, int64_t panel);

/// Products of the same x that are run together.
typedef struct {
  const lens_linear_call *calls;
  int64_t count;
  bool in_step; // a task has the same panel of each, in order; else they follow one another
  panel_task run;
} job;

static int64_t panel_count(const lens_linear_call *call) { return lens_ceil_div(call->n_end, LENS_PANEL) - call->n_begin / LENS_PANEL; }

static int64_t job_panels(const job *j) {
  int64_t panels = 0;
  for (int64_t i = 0; i < (j->in_step ? 1 : j->count); i++) panels += panel_count(&j->calls[i]);
  return panels;
}

/// Multiply-adds.
static int64_t job_work(const job *j) {
  int64_t columns = 0;
  for (int64_t i = 0; i < j->count; i++) columns += j->calls[i].n_end - j->calls[i].n_begin;
  return j->calls->m * columns * lens_max(1, j->calls->k_end - j->calls->k_begin);
}

/// Weights of one task.
static int64_t task_bytes(const job *j) {
  int64_t bytes = 1;
  for (int64_t i = 0; i < j->count; i++) {
    const int64_t own = lens_panel_bytes(j->calls[i].w.format, j->calls->k_end - j->calls->k_begin);
    bytes = j->in_step ? bytes + own : lens_max(bytes, own);
  }
  return bytes;
}

/// The call that panel `panel` of the job is in, the first of those in step; `panel` becomes the call's own.
static const lens_linear_call *call_of(const job *j, int64_t *panel) {
  const lens_linear_call *call = j->calls;
  for (; !j->in_step && *panel >= panel_count(call); call++) *panel -= panel_count(call);
  return call;
}

/// Rows row ..< row + rows of panel `panel` of the job.
static void run_task(const job *j, int64_t row, int64_t rows, int64_t panel) {
  const lens_linear_call *call = call_of(j, &panel);
  for (int64_t i = 0; i < (j->in_step ? j->count : 1); i++, call++) j->run(call, row, rows, call->n_begin / LENS_PANEL + panel);
}

/// Fetches what a thread reads first: the head of its first panel, and x, which other threads may have written.
static void fetch_first(const job *j, int64_t panel) {
  const lens_linear_call *call = call_of(j, &panel);
  const int64_t bytes = lens_panel_bytes(call->w.format, call->w.k), row = (call->k_end - call->k_begin) * (int64_t)sizeof(float);
  const char *w = (const char *)call->w.data + (call->n_begin / LENS_PANEL + panel) * bytes + lens_panel_bytes(call->w.format, call->k_begin);
  for (int64_t at = 0; at < lens_min(bytes, FIRST_BYTES); at += 64) __builtin_prefetch(w + at);
  for (int64_t r = 0; r < call->m; r++)
    for (int64_t at = 0; at < lens_min(row, FIRST_BYTES); at += 64) __builtin_prefetch((const char *)(call->x + r * call->ld_x) + at);
}

/// All rows are one task: tasks are short, and threads take several at once.
static void run_short(const job *j, int64_t panels, int threads) {
  const int64_t batch = threads > 1 ? lens_max(1, lens_min(SHORT_BATCH, panels / (8 * threads))) : 1;
  lens_runs runs;
  lens_deal(&runs, lens_ceil_div(panels, batch), batch, threads);
  LENS_PARALLEL(threads) {
    bool isFirst = true;
    for (int64_t panel, count; (panel = lens_next_tasks(&runs, &count)) >= 0; isFirst = false) {
      if (isFirst && panel < panels) fetch_first(j, panel);
      for (int64_t end = lens_min(panels, panel + count); panel < end; panel++) run_task(j, 0, j->calls->m, panel);
    }
  }
}

/// `chunks` chunks of the rows for each panel, of which threads take parts near the end.
static void run_long(const job *j, int64_t panels, int64_t tile_rows, int64_t chunks, int threads) {
  const int64_t m = j->calls->m, tiles = lens_ceil_div(m, tile_rows);
  const int64_t parts = threads > 1 ? lens_max(1, lens_min(4, tiles / chunks / 2)) : 1;
  const int64_t group = lens_max(1, lens_min(panels, GROUP_BYTES / task_bytes(j)));
  lens_runs runs;
  lens_deal(&runs, panels * chunks, parts, threads);
  LENS_PARALLEL(threads)
  for (int64_t part, count; (part = lens_next_tasks(&runs, &count)) >= 0;) {
    const int64_t task = part / parts, first = task / (group * chunks) * group, size = lens_min(group, panels - first);
    const int64_t within = task - first * chunks, panel = first + within % size;
    const int64_t cut = within / size * parts + part % parts; // of chunks * parts cuts of the rows
    const int64_t row = tiles * cut / (chunks * parts) * tile_rows;
    const int64_t row_end = lens_min(m, tiles * (cut + count) / (chunks * parts) * tile_rows);
    run_task(j, row, row_end - row, panel);
  }
}

static void run_job(const lens_isa *isa, const job *j) {
  const int64_t m = j->calls->m, panels = job_panels(j), tiles = lens_ceil_div(m, isa->tile_rows);
  const int threads = lens_threads_for(job_work(j), panels * tiles);
  // Chunks are whole tiles, nearly equal, and enough of them that each thread has a task or two.
  const int64_t least = lens_ceil_div(m, LENS_ROW_CHUNK / isa->tile_rows * isa->tile_rows);
  const int64_t chunks = lens_min(tiles, lens_max(least, lens_ceil_div(threads > 1 ? 2 * threads : 1, panels)));
  if (chunks == 1 && tiles <= 2)
    run_short(j, panels, threads);
  else
    run_long(j, panels, isa->tile_rows, chunks, threads);
}

void lens_linear(const lens_isa *isa, int64_t m, const lens_matrix *w, int64_t k_begin, int64_t k_end, int64_t n_begin,
                 int64_t n_end, int64_t block, const float *x, int64_t ld_x, float *out, int64_t ld_out,
                 const lens_epilogue *epilogue) {
  if (m <= 0 || n_begin >= n_end) return;
  lens_linear_call call = {.m = m, .k_begin = k_begin, .k_end = k_end, .n_begin = n_begin, .n_end = n_end,
                           .block = block, .w = *w, .x = x, .ld_x = ld_x, .out = out, .ld_out = ld_out};
  if (epilogue) call.epilogue = *epilogue;
  run_job(isa, &(job){&call, 1, false, isa->linear_panel});
}

// MARK: Rounded activations

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

/// Rounds a call's x into `scratch`. - Returns: what follows there.
static float *round_rows(const lens_isa *isa, lens_linear_call *call, float *scratch) {
  lens_rounded *rounded = &call->rounded;
  rounded_size(call, &rounded->ld_words, &rounded->ld_groups);
  rounded->words = (int32_t *)scratch;
  rounded->sums = rounded->words + call->m * rounded->ld_words;
  rounded->scales = (float *)(rounded->sums + call->m * rounded->ld_groups);
  const int threads = lens_threads_for(call->m * lens_max(1, call->k_end - call->k_begin), call->m);
  LENS_PARALLEL_FOR(threads, row, call->m) isa->round_row(call, row);
  return rounded->scales + call->m * rounded->ld_groups;
}

void lens_linear_int8(const lens_isa *isa, int64_t m, const lens_matrix *w, int64_t k_begin, int64_t k_end, int64_t n_begin,
                      int64_t n_end, int64_t block, const float *x, int64_t ld_x, float *out, int64_t ld_out,
                      const lens_epilogue *epilogue, float *scratch) {
  if (m <= 0 || n_begin >= n_end) return;
  lens_linear_call call = {.m = m, .k_begin = k_begin, .k_end = k_end, .n_begin = n_begin, .n_end = n_end,
                           .block = block, .w = *w, .x = x, .ld_x = ld_x, .out = out, .ld_out = ld_out};
  if (epilogue) call.epilogue = *epilogue;
  round_rows(isa, &call, scratch);
  run_job(isa, &(job){&call, 1, false, isa->int8_panel});
}

// MARK: Several products

void lens_linear_several(const lens_isa *isa, int64_t m, int64_t count, const lens_product *products, bool in_step, const float *x,
                         int64_t ld_x, float *scratch) {
  lens_linear_call calls[LENS_PRODUCTS];
  int64_t used = 0;
  for (int64_t i = 0; i < lens_min(count, LENS_PRODUCTS) && m > 0; i++) {
    const lens_product *p = &products[i];
    if (p->w.n <= 0) continue;
    lens_linear_call *call = &calls[used++];
    *call = (lens_linear_call){.m = m, .k_end = p->w.k, .n_end = p->w.n, .block = LENS_K_BLOCK, .w = p->w, .x = x, .ld_x = ld_x,
                               .out = p->out, .ld_out = p->w.n, .epilogue = p->epilogue};
    if (!scratch) continue;
    // Formats whose groups are alike share what was rounded.
    const lens_linear_call *before = calls;
    while (before < call && lens_group_span(before->w.format) != lens_group_span(p->w.format)) before++;
    if (before < call)
      call->rounded = before->rounded;
    else
      scratch = round_rows(isa, call, scratch);
  }
  if (used > 0) run_job(isa, &(job){calls, used, in_step, scratch ? isa->int8_panel : isa->linear_panel});
}
