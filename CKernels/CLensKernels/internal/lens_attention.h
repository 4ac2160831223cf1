// lens_attention.h: a few queries of one head, and how their scores are found: what attention and its reverse share.
#ifndef LENS_ATTENTION_H
#define LENS_ATTENTION_H
#include "lens_isa.h"
#include "lens_pages.h"
#include "lens_parallel.h"

typedef struct {
  int64_t begin, end; // slots; empty: begin == end == 0
} lens_span;

typedef struct {
  const lens_isa *isa;
  const lens_attention_args *args;
  int64_t b, head, query, rows; // queries query ..< query + rows
  int64_t shift, slots;         // slot = key position + shift; slots: length of a row of scores
  lens_span range[LENS_TILE_ROWS_MAX];
  float *scores; // [rows][slots]: scores, then the pattern
  float *chain;  // [rows][d_value]: one page's sums
  float *total;  // [rows][d_value]
} lens_tile;

/// Slots of a row of scores: whole pages, wherever the first real token is.
static inline int64_t lens_attention_slots(const lens_attention_args *a) {
  return lens_ceil_div(a->keys + LENS_PAGE - 1, LENS_PAGE) * LENS_PAGE;
}

/// Finds range[r] of each row: the slots it sees, or is given something for.
void lens_tile_ranges(lens_tile *t);
/// Whole pages around row r's range.
lens_span lens_tile_pages(const lens_tile *t, int64_t r);
/// Whole pages around all the tile's ranges.
lens_span lens_tile_all_pages(const lens_tile *t);
/// Queries times keys, unscaled, up to the last slot any row sees; in scratch.
void lens_tile_products(const lens_tile *t);
/// Finished scores of whole pages around each row's range, -inf wherever the row may not look; in scratch.
void lens_tile_scores(const lens_tile *t);
/// Row r of the caller's scores or pattern into scratch, `nothing` in the rest of its pages.
void lens_tile_take(const lens_tile *t, int64_t r, const float *from, float nothing);

/// Offset of query row r's scores in the [batch, heads, queries, keys] arrays.
static inline int64_t lens_tile_row(const lens_tile *t, int64_t r) {
  const lens_attention_args *a = t->args;
  return ((t->b * a->heads + t->head) * a->queries + t->query + r) * a->keys;
}

static inline const float *lens_tile_page(const lens_tile *t, int64_t slot) {
  return t->args->pages[t->b * t->args->pages_per_row + slot / LENS_PAGE];
}

static inline int64_t lens_tile_kv_head(const lens_tile *t) { return t->head / (t->args->heads / t->args->kv_heads); }

#endif
