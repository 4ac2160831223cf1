// rewrite.c: weights rewritten in double precision, panel by panel, from where they lie to where they are kept. Plain C:
// bound by memory. Sums have one order, whatever the threads.
#include "lens_isa.h"
#include "lens_keep.h"
#include "lens_parallel.h"

/// Rows of a panel in hand at a time: 16 KiB.
#define TILE_ROWS 64

/// Columns of panel `panel` that are there.
static int64_t columns_of(const lens_weights *w, int64_t panel) { return lens_min(LENS_PANEL, w->n - panel * LENS_PANEL); }

static void *panel_of(const lens_weights *w, int64_t panel) {
  return (char *)w->packed->data + panel * lens_panel_bytes(w->packed->format, w->k);
}

/// Rows k ..< k + rows of a panel, zeros where it has no columns.
static void load_tile(const lens_isa *isa, const lens_weights *w, int64_t panel, int64_t k, int64_t rows,
                      float tile[TILE_ROWS][LENS_PANEL]) {
  if (w->packed) {
    isa->expand(w->packed->format, panel_of(w, panel), k, k + rows, 0, LENS_PANEL / LENS_LANES, tile[0], LENS_PANEL);
    return;
  }
  const int64_t columns = columns_of(w, panel);
  const float *from = w->values + k * w->k_stride + panel * LENS_PANEL * w->n_stride;
  if (columns < LENS_PANEL) memset(tile, 0, (size_t)rows * sizeof tile[0]);
  for (int64_t j = 0; j < columns; j++)
    for (int64_t i = 0; i < rows; i++) tile[i][j] = from[i * w->k_stride + j * w->n_stride];
}

static void store_tile(const lens_weights *w, int64_t panel, int64_t k, int64_t rows, float tile[TILE_ROWS][LENS_PANEL]) {
  const int64_t columns = columns_of(w, panel);
  if (!w->packed) {
    float *to = w->values + k * w->k_stride + panel * LENS_PANEL * w->n_stride;
    for (int64_t j = 0; j < columns; j++)
      for (int64_t i = 0; i < rows; i++) to[i * w->k_stride + j * w->n_stride] = tile[i][j];
    return;
  }
  for (int64_t i = 0; i < rows && columns < LENS_PANEL; i++)
    memset(tile[i] + columns, 0, (size_t)(LENS_PANEL - columns) * sizeof(float));
  if (w->packed->format == LENS_FORMAT_F32) {
    memcpy((float *)panel_of(w, panel) + k * LENS_PANEL, tile, (size_t)rows * sizeof tile[0]);
  } else {
    lens_keep_tile(w->packed->format, panel_of(w, panel), k, rows, 0, LENS_PANEL, tile[0]);
  }
}

static double factor_of(const double *factors, int64_t i) { return factors ? factors[i] : 1.0; }

/// One panel's weighted sums over its rows.
static void sum_panel(const lens_isa *isa, const lens_weights *w, int64_t panel, const double *factors, double sums[LENS_PANEL]) {
  float tile[TILE_ROWS][LENS_PANEL];
  for (int64_t j = 0; j < LENS_PANEL; j++) sums[j] = 0.0;
  for (int64_t k = 0; k < w->k; k += TILE_ROWS) {
    const int64_t rows = lens_min(TILE_ROWS, w->k - k);
    load_tile(isa, w, panel, k, rows, tile);
    for (int64_t i = 0; i < rows; i++) {
      const double factor = factor_of(factors, k + i);
      for (int64_t j = 0; j < LENS_PANEL; j++) sums[j] += factor * (double)tile[i][j];
    }
  }
}

void lens_column_sums(const lens_isa *isa, const lens_weights *w, const double *factors, double *sums) {
  const int64_t panels = lens_ceil_div(w->n, LENS_PANEL);
  const int threads = lens_threads_for(w->k * w->n, panels);
  LENS_PARALLEL_FOR(threads, panel, panels) {
    double panel_sums[LENS_PANEL];
    sum_panel(isa, w, panel, factors, panel_sums);
    memcpy(sums + panel * LENS_PANEL, panel_sums, (size_t)columns_of(w, panel) * sizeof(double));
  }
}

void lens_row_sums(const lens_isa *isa, const lens_weights *w, double *sums) {
  const int64_t panels = lens_ceil_div(w->n, LENS_PANEL), tiles = lens_ceil_div(w->k, TILE_ROWS);
  const int threads = lens_threads_for(w->k * w->n, tiles);
  LENS_PARALLEL_FOR(threads, t, tiles) {
    const int64_t k = t * TILE_ROWS, rows = lens_min(TILE_ROWS, w->k - k);
    float tile[TILE_ROWS][LENS_PANEL];
    double lanes[TILE_ROWS][LENS_LANES] = {{0}};
    for (int64_t panel = 0; panel < panels; panel++) {
      load_tile(isa, w, panel, k, rows, tile);
      for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < LENS_PANEL; j += LENS_LANES)
          for (int64_t l = 0; l < LENS_LANES; l++) lanes[i][l] += (double)tile[i][j + l];
    }
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t half = LENS_LANES / 2; half > 0; half /= 2)
        for (int64_t l = 0; l < half; l++) lanes[i][l] += lanes[i][l + half];
      sums[k + i] = lanes[i][0];
    }
  }
}

static void rewrite_panel(const lens_isa *isa, const lens_weights *from, const lens_weights *to, int64_t panel, const double *scale,
                          bool centers, const double *offset) {
  // Two bytes are rounded from a float that cannot hide what was cut off.
  const bool isRounded = to->packed && (to->packed->format == LENS_FORMAT_BF16 || to->packed->format == LENS_FORMAT_F16);
  double means[LENS_PANEL] = {0};
  if (centers) {
    sum_panel(isa, from, panel, scale, means);
    for (int64_t j = 0; j < LENS_PANEL; j++) means[j] /= (double)from->k;
  }
  float tile[TILE_ROWS][LENS_PANEL];
  for (int64_t k = 0; k < from->k; k += TILE_ROWS) {
    const int64_t rows = lens_min(TILE_ROWS, from->k - k);
    load_tile(isa, from, panel, k, rows, tile);
    for (int64_t i = 0; i < rows; i++) {
      const double factor = factor_of(scale, k + i), shift = offset ? offset[k + i] : 0.0;
      double values[LENS_PANEL];
      for (int64_t j = 0; j < LENS_PANEL; j++) values[j] = factor * (double)tile[i][j] - means[j] - shift;
      if (isRounded) {
        for (int64_t j = 0; j < LENS_PANEL; j++) tile[i][j] = lens_odd_of_double(values[j]);
      } else {
        for (int64_t j = 0; j < LENS_PANEL; j++) tile[i][j] = (float)values[j];
      }
    }
    store_tile(to, panel, k, rows, tile);
  }
}

void lens_rewrite(const lens_isa *isa, const lens_weights *from, const lens_weights *to, const double *scale, bool centers,
                  const double *offset) {
  const int64_t panels = lens_ceil_div(from->n, LENS_PANEL);
  const int threads = lens_threads_for(2 * from->k * from->n, panels);
  LENS_PARALLEL_FOR(threads, panel, panels) rewrite_panel(isa, from, to, panel, scale, centers, offset);
}
