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
  int64_t b, head, query, rows; // queries query ..< query + rows of a head, or heads head ..< head + rows of a query
  bool across_heads;            // the latter: heads that share keys
  int64_t shift, slots;         // slot = key position + shift; slots: length of a row of scores
  lens_span range[LENS_TILE_ROWS_MAX];
  const float *q;  // [rows][d_head], a copy; NULL: where the caller has them
  float *scores; // [rows][slots]: scores, then the pattern
  float *chain;  // [rows][d_value]: one page's sums
  float *total;  // [rows][d_value]
  const float *page; // keys [d_head][LENS_PAGE] and values [LENS_PAGE][d_value] of its head, where there are no pages
} lens_tile;

/// Slots of a row of scores: whole pages, wherever the first real token is; an odd number of them, so that the same page of
/// many rows does not fall on the same few sets of a cache.
static inline int64_t lens_attention_slots(const lens_attention_args *a) {
  if (a->k) return LENS_PAGE;
  return (lens_ceil_div(a->keys + LENS_PAGE - 1, LENS_PAGE) | 1) * LENS_PAGE;
}

/// Finds range[r] of each row: the slots it sees, or is given something for.
void lens_tile_ranges(lens_tile *t);
/// Whole pages around row r's range.
lens_span lens_tile_pages(const lens_tile *t, int64_t r);
/// Whole pages around all the tile's ranges.
lens_span lens_tile_all_pages(const lens_tile *t);
/// Queries times keys, unscaled, up to the last slot any row sees; in scratch.
void lens_tile_products(const lens_tile *t);
/// Products of one page, and then, in a second step, what is done to them: finished scores of it, as below.
void lens_tile_page_products(const lens_tile *t, int64_t page, lens_fetch next);
void lens_tile_finish_page(const lens_tile *t, int64_t page);
/// Finished scores of whole pages around each row's range, -inf wherever the row may not look; in scratch.
void lens_tile_scores(const lens_tile *t);
/// Rows row ..< row + count of the finished scores to their pattern; in scratch.
void lens_tile_pattern(const lens_tile *t, int64_t row, int64_t count);
/// Row r of the caller's scores or pattern into scratch, `nothing` in the rest of its pages.
void lens_tile_take(const lens_tile *t, int64_t r, const float *from, float nothing);

/// Row r's head and query.
static inline int64_t lens_tile_head(const lens_tile *t, int64_t r) { return t->across_heads ? t->head + r : t->head; }
static inline int64_t lens_tile_query(const lens_tile *t, int64_t r) { return t->across_heads ? t->query : t->query + r; }

/// Offset of row r's scores in the [batch, heads, queries, keys] arrays.
static inline int64_t lens_tile_row(const lens_tile *t, int64_t r) {
  const lens_attention_args *a = t->args;
  return ((t->b * a->heads + lens_tile_head(t, r)) * a->queries + lens_tile_query(t, r)) * a->keys;
}

static inline int64_t lens_tile_kv_head(const lens_tile *t) { return t->head / (t->args->heads / t->args->kv_heads); }

static inline const float *lens_tile_page(const lens_tile *t, int64_t slot) {
  return t->args->pages[t->b * t->args->pages_per_row + slot / LENS_PAGE];
}
/// The keys and the values of the tile's head in the page that holds `slot`.
static inline const float *lens_tile_keys(const lens_tile *t, int64_t slot) {
  return t->page ? t->page : lens_tile_page(t, slot) + lens_tile_kv_head(t) * t->args->d_head * LENS_PAGE;
}
static inline const float *lens_tile_values(const lens_tile *t, int64_t slot) {
  const lens_attention_args *a = t->args;
  return t->page ? t->page + a->d_head * LENS_PAGE
                 : lens_tile_page(t, slot) + lens_values_offset(a->kv_heads, a->d_head, lens_tile_kv_head(t));
}

/// Floats of a page of one head.
static inline int64_t lens_loose_count(const lens_attention_args *a) {
  return a->k ? LENS_PAGE * (a->d_head + lens_value_width(a->d_head)) : 0;
}
/// Where keys are not in pages: those of key head kv of batch row b as a page has them, [d_head][LENS_PAGE].
void lens_loose_keys(const lens_isa *isa, const lens_attention_args *a, int64_t b, int64_t kv, float *to);
/// Rows of k or v of that head, one after another: [keys][d_value], zeros past d_head.
void lens_loose_rows(const lens_attention_args *a, const float *from, int64_t b, int64_t kv, float *to);

/// Fetches a head's row of each position of an array [batch, positions, heads, d_head] that is soon read: with a few positions
/// to a batch row a task is over before it would have come.
static inline void lens_fetch_head(const float *array, int64_t positions, int64_t heads, int64_t d_head, int64_t b, int64_t head) {
  for (int64_t i = 0; array && i < positions; i++)
    for (int64_t d = 0; d < d_head; d += 16) __builtin_prefetch(array + ((b * positions + i) * heads + head) * d_head + d);
}

#endif
