// attention_gradient.c: attention in reverse, one key head of one batch row at a time, blocks of queries inside it.
//
// A block's pattern is computed again with the forward's own steps. Gradients of scores stand beside it, row by row; where
// a row sees nothing both are zero, so that rows of a block share products over all keys that any of them sees.
#include "lens_attention.h"
#include "lens_gradients.h"

#include <string.h>

#define QUERIES LENS_GRADIENT_QUERIES
/// Key heads ahead that are fetched where keys are not in pages.
#define AHEAD 4

/// One key head of one batch row.
typedef struct {
  const lens_isa *isa;
  const lens_attention_gradient_args *g;
  const lens_attention_args *a;
  int64_t b, kv, shift, slots, width; // width: d_head in whole vectors
  float *keys;      // [slots][width]
  float *values;    // [slots / LENS_PAGE][d_head][LENS_PAGE]
  float *dk, *dv;   // [slots][width]
  float *pattern;   // [QUERIES][slots]
  float *gradient;  // [QUERIES][slots]: of the pattern, then of scores, then of products
  float *products;  // [LENS_TILE_ROWS_MAX][slots]: under a softcap
  float *turned;    // [LENS_PAGE][QUERIES]
  float *rows;      // [QUERIES][width]
  float *page;      // keys of the head, where they are not in pages
} head_task;

/// Queries query ..< query + rows of one head, in tiles; slots.begin ..< slots.end hold every key they see.
typedef struct {
  int64_t head, query, rows, tiles;
  lens_span slots;
  lens_tile tile[QUERIES];
} query_block;

static int64_t scratch_per_thread(const lens_attention_gradient_args *g) {
  const lens_attention_args *a = g->forward;
  const int64_t slots = lens_attention_slots(a), width = lens_value_width(a->d_head);
  return slots * (4 * width + 2 * QUERIES + LENS_TILE_ROWS_MAX) + QUERIES * (LENS_PAGE + width) +
         lens_loose_count(a);
}

static int64_t last_slot(const head_task *t) { return t->a->keys + t->shift; }

/// Keys and values the other way round, and nothing in the totals.
static void begin_head(head_task *t) {
  const lens_attention_args *a = t->a;
  const int64_t from = (t->g->held_from + t->shift) / LENS_PAGE * LENS_PAGE, end = last_slot(t);
  if (a->k) {
    if (a->q) lens_loose_keys(t->isa, a, t->b, t->kv, t->page);
    if (t->g->dq) lens_loose_rows(a, a->k, t->b, t->kv, t->keys);
    if (t->g->dz)
      t->isa->transpose(a->keys, a->d_head, a->v + (t->b * a->keys * a->kv_heads + t->kv) * a->d_head, a->kv_heads * a->d_head,
                        t->values, LENS_PAGE);
  }
  for (int64_t slot = from; !a->k && slot < end; slot += LENS_PAGE) {
    const float *page = a->pages[t->b * a->pages_per_row + slot / LENS_PAGE];
    const int64_t count = lens_min(LENS_PAGE, end - slot);
    if (t->g->dq) t->isa->transpose(a->d_head, count, page + t->kv * a->d_head * LENS_PAGE, LENS_PAGE, t->keys + slot * t->width, t->width);
    if (t->g->dz)
      t->isa->transpose(count, a->d_head, page + lens_values_offset(a->kv_heads, a->d_head, t->kv), t->width,
                        t->values + slot * a->d_head, LENS_PAGE);
  }
  const size_t bytes = (size_t)((end - from) * t->width) * sizeof(float);
  if (t->g->dk) memset(t->dk + from * t->width, 0, bytes);
  if (t->g->dv) memset(t->dv + from * t->width, 0, bytes);
}

static void end_head(const head_task *t) {
  const lens_attention_args *a = t->a;
  const int64_t held = a->keys - t->g->held_from;
  for (int64_t i = 0; i < held; i++) {
    const int64_t slot = t->g->held_from + i + t->shift, to = ((t->b * held + i) * a->kv_heads + t->kv) * a->d_head;
    if (t->g->dk) memcpy(t->g->dk + to, t->dk + slot * t->width, (size_t)a->d_head * sizeof(float));
    if (t->g->dv) memcpy(t->g->dv + to, t->dv + slot * t->width, (size_t)a->d_head * sizeof(float));
  }
}

static void cut_block(const head_task *t, query_block *block) {
  const int64_t height = t->isa->tile_rows;
  block->tiles = lens_ceil_div(block->rows, height);
  block->slots = (lens_span){0, 0};
  for (int64_t i = 0; i < block->tiles; i++) {
    lens_tile *tile = &block->tile[i];
    *tile = (lens_tile){.isa = t->isa, .args = t->a, .b = t->b, .head = block->head, .query = block->query + i * height,
                        .rows = lens_min(height, block->rows - i * height), .shift = t->shift, .slots = t->slots,
                        .scores = t->pattern + i * height * t->slots, .page = t->page};
    lens_tile_ranges(tile);
    // What a masked key would count for, if the pattern had it, is part of a pattern's gradient.
    for (int64_t r = 0; t->g->dpattern_in && r < tile->rows; r++) tile->range[r] = (lens_span){t->g->held_from + t->shift, last_slot(t)};
    const lens_span s = lens_tile_all_pages(tile);
    if (s.begin < s.end)
      block->slots = block->slots.begin == block->slots.end ? s
                   : (lens_span){lens_min(block->slots.begin, s.begin), lens_max(block->slots.end, s.end)};
  }
}

/// The sink's share of a row: its exponential against that of the largest score, whose share is known.
typedef struct {
  int64_t slot;
  float score;
} largest;

static largest find_largest(const float *row, lens_span pages) {
  largest best = {-1, -INFINITY};
  for (int64_t slot = pages.begin; slot < pages.end; slot++)
    if (row[slot] > best.score) best = (largest){slot, row[slot]};
  return best;
}

/// The tile's pattern, as the forward found it. sink[r]: how much of row r went to the sink.
static void find_pattern(const head_task *t, const lens_tile *tile, float *sink) {
  const lens_attention_args *a = t->a;
  if (!a->pattern_in && !a->scores_in) lens_tile_scores(tile);
  for (int64_t r = 0; r < tile->rows; r++) {
    const int64_t at = lens_tile_row(tile, r);
    sink[r] = 0.0f;
    if (a->pattern_in) {
      lens_tile_take(tile, r, a->pattern_in + at, 0.0f);
      continue;
    }
    if (a->scores_in) lens_tile_take(tile, r, a->scores_in + at, -INFINITY);
    const lens_span pages = lens_tile_pages(tile, r);
    float *row = tile->scores + r * t->slots;
    const float *given = a->sinks ? a->sinks + tile->head : NULL;
    const largest best = given && t->g->dsinks ? find_largest(row, pages) : (largest){-1, 0.0f};
    lens_tile_pattern(tile, r, 1);
    if (best.slot < 0) continue;
    // Of the two the larger exponent is the one that is known well.
    float rest = 0.0f;
    if (*given > best.score) {
      for (int64_t slot = pages.begin; slot < pages.end; slot++) rest += row[slot];
      sink[r] = 1.0f - rest;
    } else {
      sink[r] = row[best.slot] * expf(*given - best.score);
    }
  }
}

/// The gradient of the tile's pattern: dz · valuesᵀ, and what the caller has for it.
static void find_pattern_gradient(const head_task *t, const lens_tile *tile, float *gradient) {
  const lens_attention_args *a = t->a;
  const lens_span all = lens_tile_all_pages(tile);
  const int64_t end = last_slot(t);
  for (int64_t slot = all.begin; t->g->dz && slot < all.end; slot += LENS_PAGE)
    t->isa->product(tile->rows, lens_ceil_div(lens_min(LENS_PAGE, end - slot), LENS_LANES),
                    t->g->dz + ((t->b * a->queries + tile->query) * a->heads + tile->head) * a->d_head, a->heads * a->d_head,
                    a->d_head, t->values + slot * a->d_head, LENS_PAGE, gradient + slot, t->slots, LENS_CHAIN_START);
  for (int64_t r = 0; r < tile->rows; r++) {
    const lens_span s = tile->range[r], pages = lens_tile_pages(tile, r);
    float *row = gradient + r * t->slots;
    const int64_t known = t->g->dz ? lens_min(pages.end, lens_ceil_div(end, LENS_LANES) * LENS_LANES) : pages.begin;
    for (int64_t slot = known; slot < pages.end; slot++) row[slot] = 0.0f;
    for (int64_t slot = pages.begin; slot < s.begin; slot++) row[slot] = 0.0f;
    for (int64_t slot = s.end; slot < pages.end; slot++) row[slot] = 0.0f;
    if (!t->g->dpattern) continue;
    const float *given = t->g->dpattern + lens_tile_row(tile, r);
    for (int64_t slot = s.begin; slot < s.end; slot++) row[slot] += given[slot - t->shift];
  }
}

/// Row r's gradient to the caller's array, zeros outside its range.
static void give_row(const head_task *t, const lens_tile *tile, int64_t r, const float *row, float *to) {
  const lens_span s = tile->range[r];
  to += lens_tile_row(tile, r);
  memset(to, 0, (size_t)t->a->keys * sizeof(float));
  if (s.begin < s.end) memcpy(to + s.begin - t->shift, row + s.begin, (size_t)(s.end - s.begin) * sizeof(float));
}

static void add_relative(const head_task *t, const lens_tile *tile, int64_t r, const float *row) {
  const lens_attention_args *a = t->a;
  float *table = t->g->drelative + (t->b * a->heads + tile->head) * (2 * a->reach + 1);
  const int64_t origin = a->keys - a->queries + tile->query + r + t->shift;
  for (int64_t slot = tile->range[r].begin; slot < tile->range[r].end; slot++)
    table[lens_max(0, lens_min(2 * a->reach, slot - origin + a->reach))] += row[slot];
}

/// From the gradient of the tile's pattern to that of its scores, and of products of queries and keys where those are asked
/// for.
static void find_score_gradient(const head_task *t, const lens_tile *tile, const float *sink, float *gradient) {
  const lens_attention_args *a = t->a;
  const bool products = (t->g->dq || t->g->dk) && !a->scores_in && !a->pattern_in;
  lens_tile raw = *tile;
  raw.scores = t->products;
  if (products && a->softcap > 0.0f) lens_tile_products(&raw);
  for (int64_t r = 0; r < tile->rows; r++) {
    const lens_span s = tile->range[r], pages = lens_tile_pages(tile, r);
    float *row = gradient + r * t->slots, *own = row + pages.begin;
    if (a->pattern_in) {
      if (t->g->dpattern_in) give_row(t, tile, r, row, t->g->dpattern_in);
      continue;
    }
    const float sum = t->isa->pattern_gradient_row(pages.end - pages.begin, tile->scores + r * t->slots + pages.begin, own);
    if (t->g->dsinks) t->g->dsinks[t->b * a->heads + tile->head] -= sink[r] * sum;
    if (t->g->dscores) {
      const float *given = t->g->dscores + lens_tile_row(tile, r);
      for (int64_t slot = s.begin; slot < s.end; slot++)
        if (a->scores_in || !a->key_mask || a->key_mask[t->b * a->keys + slot - t->shift]) row[slot] += given[slot - t->shift];
    }
    if (t->g->dscores_in) give_row(t, tile, r, row, t->g->dscores_in);
    if (t->g->drelative) add_relative(t, tile, r, row);
    if (!products) continue;
    const int64_t count = lens_ceil_div(s.end - pages.begin, LENS_LANES) * LENS_LANES;
    if (a->softcap > 0.0f && s.begin < s.end)
      t->isa->softcap_gradient_row(a->score_scale, a->softcap, count, t->products + r * t->slots + pages.begin, own);
    t->isa->scale(pages.end - pages.begin, own, a->score_scale, own);
  }
}

/// Both arrays hold zeros wherever a row of the tile has no pages.
static void clear_outside(const head_task *t, const query_block *block, const lens_tile *tile, float *array) {
  for (int64_t r = 0; r < tile->rows; r++) {
    const lens_span pages = lens_tile_pages(tile, r);
    float *row = array + r * t->slots;
    const int64_t begin = pages.begin < pages.end ? pages.begin : block->slots.end;
    for (int64_t slot = block->slots.begin; slot < begin; slot++) row[slot] = 0.0f;
    for (int64_t slot = lens_max(begin, pages.end); slot < block->slots.end; slot++) row[slot] = 0.0f;
  }
}

/// dq of a tile: gradients of products times keys, over what any of its rows sees.
static void find_query_gradient(const head_task *t, const lens_tile *tile, const float *gradient) {
  const lens_attention_args *a = t->a;
  float *totals = t->rows; // not yet in use
  memset(totals, 0, (size_t)(tile->rows * t->width) * sizeof(float));
  lens_span seen = {0, 0};
  for (int64_t r = 0; r < tile->rows; r++) {
    const lens_span s = tile->range[r];
    if (s.begin == s.end) continue;
    seen = seen.begin == seen.end ? s : (lens_span){lens_min(seen.begin, s.begin), lens_max(seen.end, s.end)};
  }
  for (int64_t slot = seen.begin; slot < seen.end;) {
    const int64_t end = lens_min(seen.end, slot / LENS_PAGE * LENS_PAGE + LENS_PAGE);
    t->isa->product(tile->rows, t->width / LENS_LANES, gradient + slot, t->slots, end - slot, t->keys + slot * t->width, t->width,
                    totals, t->width, LENS_CHAIN_ADD);
    slot = end;
  }
  for (int64_t r = 0; r < tile->rows; r++)
    memcpy(t->g->dq + ((t->b * a->queries + tile->query + r) * a->heads + tile->head) * a->d_head, totals + r * t->width,
           (size_t)a->d_head * sizeof(float));
}

/// totals[slots][width] += weightsᵀ[slots][rows] · source[rows][d_head], the rows being the block's in a [batch, queries, heads,
/// d_head] array.
static void add_to_keys(const head_task *t, const query_block *block, const float *weights, const float *source, float *totals) {
  const lens_attention_args *a = t->a;
  for (int64_t r = 0; r < block->rows; r++) {
    float *row = t->rows + r * t->width;
    memcpy(row, source + ((t->b * a->queries + block->query + r) * a->heads + block->head) * a->d_head, (size_t)a->d_head * sizeof(float));
    for (int64_t d = a->d_head; d < t->width; d++) row[d] = 0.0f;
  }
  const int64_t end = lens_min(block->slots.end, last_slot(t));
  for (int64_t slot = block->slots.begin; slot < end; slot += LENS_PAGE) {
    const int64_t count = lens_min(LENS_PAGE, end - slot), tiles = lens_ceil_div(count, t->isa->tile_rows);
    t->isa->transpose(block->rows, count, weights + slot, t->slots, t->turned, QUERIES);
    for (int64_t tile = 0; tile < tiles; tile++) {
      const int64_t s = count * tile / tiles, height = count * (tile + 1) / tiles - s;
      t->isa->product(height, t->width / LENS_LANES, t->turned + s * QUERIES, QUERIES, block->rows, t->rows, t->width,
                      totals + (slot + s) * t->width, t->width, LENS_CHAIN_ADD);
    }
  }
}

static void reverse_block(const head_task *t, query_block *block) {
  cut_block(t, block);
  for (int64_t i = 0; i < block->tiles; i++) {
    const lens_tile *tile = &block->tile[i];
    float *gradient = t->gradient + (tile->scores - t->pattern), sink[LENS_TILE_ROWS_MAX];
    find_pattern(t, tile, sink);
    find_pattern_gradient(t, tile, gradient);
    find_score_gradient(t, tile, sink, gradient);
    clear_outside(t, block, tile, tile->scores);
    clear_outside(t, block, tile, gradient);
    if (t->g->dq) find_query_gradient(t, tile, gradient);
  }
  if (t->g->dv && t->g->dz) add_to_keys(t, block, t->pattern, t->g->dz, t->dv);
  if (t->g->dk && t->a->q) add_to_keys(t, block, t->gradient, t->a->q, t->dk);
}

int64_t lens_attention_gradient_scratch(const lens_attention_gradient_args *args) {
  return scratch_per_thread(args) * lens_get_threads();
}

void lens_attention_gradient(const lens_isa *isa, const lens_attention_gradient_args *args) {
  const lens_attention_args *a = args->forward;
  const int64_t per_thread = scratch_per_thread(args), pairs = a->batch * a->kv_heads, group = a->heads / a->kv_heads;
  const int64_t room = lens_max(1, args->scratch_count / per_thread);
  const int threads = (int)lens_min(room, lens_threads_for(a->batch * a->heads * a->queries * a->keys * lens_max(1, a->d_head), pairs));
  if (args->dsinks) memset(args->dsinks, 0, (size_t)(a->batch * a->heads) * sizeof(float));
  if (args->drelative) memset(args->drelative, 0, (size_t)(a->batch * a->heads * (2 * a->reach + 1)) * sizeof(float));
  LENS_PARALLEL_FOR(threads, pair, pairs) {
    head_task t = {.isa = isa, .g = args, .a = a, .b = pair / a->kv_heads, .kv = pair % a->kv_heads,
                   .slots = lens_attention_slots(a), .width = lens_value_width(a->d_head)};
    t.shift = lens_page_shift(a->first[t.b]);
    t.keys = args->scratch + lens_thread_index() * per_thread;
    t.values = t.keys + t.slots * t.width;
    t.dk = t.values + t.slots * t.width;
    t.dv = t.dk + t.slots * t.width;
    t.pattern = t.dv + t.slots * t.width;
    t.gradient = t.pattern + QUERIES * t.slots;
    t.products = t.gradient + QUERIES * t.slots;
    t.turned = t.products + LENS_TILE_ROWS_MAX * t.slots;
    t.rows = t.turned + LENS_PAGE * QUERIES;
    t.page = a->k ? t.rows + QUERIES * t.width : NULL;
    if (a->k) {
      const int64_t next = lens_min(pair + AHEAD, pairs - 1), b = next / a->kv_heads, kv = next % a->kv_heads;
      lens_fetch_head(a->k, a->keys, a->kv_heads, a->d_head, b, kv);
      lens_fetch_head(a->v, a->keys, a->kv_heads, a->d_head, b, kv);
      for (int64_t head = kv * group; head < (kv + 1) * group; head++) {
        lens_fetch_head(a->q, a->queries, a->heads, a->d_head, b, head);
        lens_fetch_head(args->dz, a->queries, a->heads, a->d_head, b, head);
      }
    }
    begin_head(&t);
    query_block block;
    for (block.head = t.kv * group; block.head < (t.kv + 1) * group; block.head++)
      for (block.query = 0; block.query < a->queries; block.query += QUERIES) {
        block.rows = lens_min(QUERIES, a->queries - block.query);
        reverse_block(&t, &block);
      }
    end_head(&t);
  }
}
