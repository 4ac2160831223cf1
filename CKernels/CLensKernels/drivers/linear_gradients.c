// linear_gradients.c: the gradients of a product's two sides, with the forward's micro-kernel.
//
// Both sum over what lies the wrong way in memory: columns of the panels, rows of x. A block of those is transposed (and
// dequantised) once into scratch of a cache's size, and many rows pass over it. The split decides who computes an element,
// never how.
#include "lens_formats.h"
#include "lens_gradients.h"
#include "lens_isa.h"
#include "lens_parallel.h"

/// Rows of dy that share a transposed block of weights. With it their totals take 160 KiB of stack.
#define INPUT_ROWS 384
/// Rows of dw made by one task, and the panels they span: the output of a task stays in the level-2 cache.
#define WEIGHT_ROWS 96
#define WEIGHT_PANELS 8

static inline int64_t vectors(int64_t columns) { return lens_ceil_div(columns, LENS_LANES); }

/// `rows` rows of x times w[count][16 * vecs], in register tiles of nearly equal height.
static void multiply(const lens_isa *isa, int64_t rows, int64_t vecs, const float *x, int64_t ld_x, int64_t count,
                     const float *w, int64_t ld_w, float *out, int64_t ld_out, lens_chain chain) {
  const int64_t tiles = lens_ceil_div(rows, isa->tile_rows);
  for (int64_t tile = 0; tile < tiles; tile++) {
    const int64_t r = rows * tile / tiles, height = rows * (tile + 1) / tiles - r;
    isa->product(height, vecs, x + r * ld_x, ld_x, count, w, ld_w, out + r * ld_out, ld_out, chain);
  }
}

/// The piece of rows k ..< k + width of W that is `part` panels after the one with column n; NULL if there is none to fetch.
static const char *piece(const lens_matrix *w, int64_t k, int64_t n, int64_t end, int64_t part) {
  const int64_t panel = n / LENS_PANEL + part;
  if (w->format != LENS_FORMAT_F32 || n >= end || panel * LENS_PANEL >= end) return NULL;
  return (const char *)w->data + panel * lens_panel_bytes(w->format, w->k) + k * LENS_PANEL * (int64_t)sizeof(float);
}

static void copy_rows(int64_t rows, int64_t columns, const float *src, int64_t ld_src, float *dst, int64_t ld_dst) {
  for (int64_t r = 0; r < rows; r++) memcpy(dst + r * ld_dst, src + r * ld_src, (size_t)columns * sizeof(float));
}

/// Wᵀ of rows k ..< k + width (at most a panel's width) and columns n ..< end: to[end - n][LENS_PANEL].
static void turn_weights(const lens_isa *isa, const lens_matrix *w, int64_t k, int64_t width, int64_t n, int64_t end, float *to) {
  float values[LENS_PANEL * LENS_PANEL];
  for (int64_t j = n; j < end;) {
    const int64_t panel = j / LENS_PANEL, column = j % LENS_PANEL, count = lens_min(end - j, LENS_PANEL - column);
    const char *data = (const char *)w->data + panel * lens_panel_bytes(w->format, w->k);
    const float *from = (const float *)data + k * LENS_PANEL;
    if (w->format != LENS_FORMAT_F32) {
      isa->expand(w->format, data, k, k + width, 0, LENS_PANEL / LENS_LANES, values, LENS_PANEL);
      from = values;
    }
    isa->transpose(width, count, from + column, LENS_PANEL, to + (j - n) * LENS_PANEL, LENS_PANEL);
    j += count;
  }
}

typedef struct {
  const lens_isa *isa;
  const lens_matrix *w;
  int64_t k_begin, k_end, n_begin, n_end;
  const float *dy;
  int64_t ld_dy;
  float *dx;
  int64_t ld_dx;
} inputs_call;

/// `rows` rows of dx, `width` columns of it that begin with row k of W.
static void inputs_task(const inputs_call *c, int64_t row, int64_t rows, int64_t k, int64_t width) {
  _Alignas(64) float weights[LENS_K_BLOCK * LENS_PANEL];
  _Alignas(64) float totals[INPUT_ROWS * LENS_PANEL];
  for (int64_t n = c->n_begin; n < c->n_end; n += LENS_K_BLOCK) {
    const int64_t end = lens_min(c->n_end, n + LENS_K_BLOCK);
    turn_weights(c->isa, c->w, k, width, n, end, weights);
    const lens_chain chain = n == c->n_begin ? LENS_CHAIN_START : LENS_CHAIN_ADD;
    const float *dy = c->dy + row * c->ld_dy + n - c->n_begin;
    const int64_t tiles = lens_ceil_div(rows, c->isa->tile_rows);
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t r = rows * tile / tiles, height = rows * (tile + 1) / tiles - r;
      // Each tile fetches a piece of the weights that are turned next: 64 bytes a step are the rows of one panel.
      const lens_fetch fetch = {.from = piece(c->w, k, end, c->n_end, tile), .step = 64};
      c->isa->product_fetching(height, vectors(width), dy + r * c->ld_dy, c->ld_dy, end - n, weights, LENS_PANEL,
                               totals + r * LENS_PANEL, LENS_PANEL, chain, fetch);
    }
  }
  if (c->n_begin >= c->n_end) memset(totals, 0, sizeof totals);
  copy_rows(rows, width, totals, LENS_PANEL, c->dx + row * c->ld_dx + k - c->k_begin, c->ld_dx);
}

void lens_linear_inputs(const lens_isa *isa, int64_t m, const lens_matrix *w, int64_t k_begin, int64_t k_end,
                        int64_t n_begin, int64_t n_end, const float *dy, int64_t ld_dy, float *dx, int64_t ld_dx) {
  if (m <= 0 || k_begin >= k_end) return;
  const inputs_call call = {.isa = isa, .w = w, .k_begin = k_begin, .k_end = k_end, .n_begin = n_begin, .n_end = n_end,
                            .dy = dy, .ld_dy = ld_dy, .dx = dx, .ld_dx = ld_dx};
  const int64_t pieces = lens_ceil_div(k_end - k_begin, LENS_PANEL), tiles = lens_ceil_div(m, isa->tile_rows);
  const int threads = lens_threads_for(m * (k_end - k_begin) * lens_max(1, n_end - n_begin), pieces * tiles);
  // Fewer rows to a chunk only where there are not pieces enough to share: each chunk turns the weights again.
  const int64_t least = lens_ceil_div(m, INPUT_ROWS / isa->tile_rows * isa->tile_rows);
  const int64_t wanted = threads > 1 && pieces % threads != 0 ? lens_ceil_div(4 * threads, pieces) : 1;
  const int64_t chunks = lens_min(tiles, lens_max(least, wanted));
  lens_runs runs;
  lens_deal(&runs, pieces * chunks, 1, threads);
  LENS_PARALLEL(threads)
  for (int64_t task, count; (task = lens_next_tasks(&runs, &count)) >= 0;) {
    const int64_t chunk = task / pieces, k = k_begin + task % pieces * LENS_PANEL;
    const int64_t row = tiles * chunk / chunks * isa->tile_rows;
    const int64_t row_end = lens_min(m, tiles * (chunk + 1) / chunks * isa->tile_rows);
    inputs_task(&call, row, row_end - row, k, lens_min(LENS_PANEL, k_end - k));
  }
}

typedef struct {
  const lens_isa *isa;
  int64_t m;
  const float *x;
  int64_t ld_x;
  const float *dy;
  int64_t ld_dy;
  float *dw;
  int64_t ld_dw;
} weights_call;

/// Rows k ..< k + rows of dw, columns n ..< n + columns.
static void weights_task(const weights_call *c, int64_t k, int64_t rows, int64_t n, int64_t columns) {
  _Alignas(64) float turned[WEIGHT_ROWS * LENS_K_BLOCK]; // a block of xᵀ
  _Alignas(64) float panel[LENS_K_BLOCK * LENS_PANEL];   // a block of dy, close together
  _Alignas(64) float edge[WEIGHT_ROWS * LENS_PANEL];     // totals of columns that do not fill a panel
  for (int64_t i = 0; i < c->m; i += LENS_K_BLOCK) {
    const int64_t count = lens_min(LENS_K_BLOCK, c->m - i);
    c->isa->transpose(count, rows, c->x + i * c->ld_x + k, c->ld_x, turned, LENS_K_BLOCK);
    for (int64_t j = 0; j < columns; j += LENS_PANEL) {
      const int64_t width = lens_min(LENS_PANEL, columns - j);
      const bool whole = width == LENS_PANEL;
      if (!whole) memset(panel, 0, sizeof panel);
      copy_rows(count, width, c->dy + i * c->ld_dy + n + j, c->ld_dy, panel, LENS_PANEL);
      multiply(c->isa, rows, vectors(width), turned, LENS_K_BLOCK, count, panel, LENS_PANEL,
               whole ? c->dw + k * c->ld_dw + n + j : edge, whole ? c->ld_dw : LENS_PANEL,
               i == 0 ? LENS_CHAIN_START : LENS_CHAIN_ADD);
    }
  }
  const int64_t left = columns % LENS_PANEL;
  if (left > 0) copy_rows(rows, left, edge, LENS_PANEL, c->dw + k * c->ld_dw + n + columns - left, c->ld_dw);
}

void lens_linear_weights(const lens_isa *isa, int64_t m, int64_t k, int64_t n, const float *x, int64_t ld_x, const float *dy,
                         int64_t ld_dy, float *dw, int64_t ld_dw) {
  if (k <= 0 || n <= 0) return;
  if (m <= 0) {
    for (int64_t i = 0; i < k; i++) memset(dw + i * ld_dw, 0, (size_t)n * sizeof(float));
    return;
  }
  const weights_call call = {.isa = isa, .m = m, .x = x, .ld_x = ld_x, .dy = dy, .ld_dy = ld_dy, .dw = dw, .ld_dw = ld_dw};
  const int64_t panels = lens_ceil_div(n, LENS_PANEL), tiles = lens_ceil_div(k, isa->tile_rows);
  const int threads = lens_threads_for(m * k * n, panels * tiles);
  const int64_t groups = lens_ceil_div(panels, WEIGHT_PANELS);
  const int64_t least = lens_ceil_div(k, WEIGHT_ROWS / isa->tile_rows * isa->tile_rows);
  const int64_t wanted = threads > 1 ? lens_ceil_div(lens_ceil_div(least, threads) * threads, groups) : 1;
  const int64_t chunks = lens_min(tiles, lens_max(least, groups >= 4 * threads ? 1 : wanted));
  lens_runs runs;
  lens_deal(&runs, groups * chunks, 1, threads);
  LENS_PARALLEL(threads)
  for (int64_t task, count; (task = lens_next_tasks(&runs, &count)) >= 0;) {
    const int64_t group = task / chunks, chunk = task % chunks;
    const int64_t row = tiles * chunk / chunks * isa->tile_rows;
    const int64_t row_end = lens_min(k, tiles * (chunk + 1) / chunks * isa->tile_rows);
    const int64_t column = panels * group / groups * LENS_PANEL;
    const int64_t column_end = lens_min(n, panels * (group + 1) / groups * LENS_PANEL);
    weights_task(&call, row, row_end - row, column, column_end - column);
  }
}

/// Rows of dw that a task adds to at once: the same few of each dy row, so that its cache lines are used whole.
#define COLUMN_ROWS 16

void lens_add_columns(int64_t count, int64_t k, int64_t n, const int32_t *ids, const float *dy, float *dw) {
  const int64_t pieces = lens_ceil_div(lens_max(k, 0), COLUMN_ROWS);
  const int threads = lens_threads_for(count * k, pieces);
  LENS_PARALLEL_FOR(threads, piece, pieces) {
    const int64_t begin = piece * COLUMN_ROWS, end = lens_min(k, begin + COLUMN_ROWS);
    for (int64_t i = 0; i < count; i++)
      for (int64_t row = begin; row < end; row++) dw[row * n + ids[i]] += dy[i * k + row];
  }
}
