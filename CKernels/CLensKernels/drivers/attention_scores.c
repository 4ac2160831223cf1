// attention_scores.c: the scores of one tile of queries: which keys each sees, the products, and what is done to them.
#include "lens_attention.h"

#include <string.h>

static bool key_masked(const lens_tile *t, int64_t key) {
  return t->args->key_mask && !t->args->key_mask[t->b * t->args->keys + key];
}

/// The smallest interval of key positions that holds every visible key of row r.
static lens_span visible(const lens_tile *t, int64_t r) {
  const lens_attention_args *a = t->args;
  const int64_t p = a->keys - a->queries + lens_tile_query(t, r);
  lens_span s = {lens_max(0, a->first[t->b]), a->causal ? lens_min(a->keys, p + 1) : a->keys};
  if (a->window > 0) s.begin = lens_max(s.begin, p - a->window + 1);
  while (s.begin < s.end && key_masked(t, s.begin)) s.begin++;
  while (s.begin < s.end && key_masked(t, s.end - 1)) s.end--;
  return s.begin < s.end ? s : (lens_span){0, 0};
}

/// `s` widened to every key the caller's row gives a value other than `nothing` (a NaN is something).
static lens_span widened(lens_span s, const float *row, int64_t keys, float nothing) {
  int64_t low = 0, high = keys;
  const bool empty = s.begin == s.end;
  while (low < (empty ? keys : s.begin) && row[low] == nothing) low++;
  while (high > (empty ? low : s.end) && row[high - 1] == nothing) high--;
  return low < high ? (lens_span){low, high} : (lens_span){0, 0};
}

void lens_tile_ranges(lens_tile *t) {
  const lens_attention_args *a = t->args;
  const float *given = a->pattern_in ? a->pattern_in : a->scores_in;
  for (int64_t r = 0; r < t->rows; r++) {
    lens_span s = visible(t, r);
    if (given) s = widened(s, given + lens_tile_row(t, r), a->keys, a->pattern_in ? 0.0f : -INFINITY);
    t->range[r] = s.begin < s.end ? (lens_span){s.begin + t->shift, s.end + t->shift} : s;
  }
}

lens_span lens_tile_pages(const lens_tile *t, int64_t r) {
  const lens_span s = t->range[r];
  return (lens_span){s.begin / LENS_PAGE * LENS_PAGE, lens_ceil_div(s.end, LENS_PAGE) * LENS_PAGE};
}

lens_span lens_tile_all_pages(const lens_tile *t) {
  lens_span all = {0, 0};
  for (int64_t r = 0; r < t->rows; r++) {
    if (t->range[r].begin == t->range[r].end) continue;
    const lens_span s = lens_tile_pages(t, r);
    all = all.begin == all.end ? s : (lens_span){lens_min(all.begin, s.begin), lens_max(all.end, s.end)};
  }
  return all;
}

/// Adds what the head adds at each distance to the scores of a query at `position`: constant beyond the reach, a copy of the
/// table between.
static void add_relative(const lens_tile *t, int64_t head, lens_span s, int64_t position, float *row) {
  const lens_attention_args *a = t->args;
  const float *table = a->relative + head * (2 * a->reach + 1);
  const int64_t origin = position + t->shift; // the slot at distance 0
  const int64_t low = lens_min(s.end, lens_max(s.begin, origin - a->reach));
  const int64_t high = lens_max(low, lens_min(s.end, origin + a->reach + 1));
  for (int64_t slot = s.begin; slot < low; slot++) row[slot] += table[0];
  for (int64_t slot = low; slot < high; slot++) row[slot] += table[slot - origin + a->reach];
  for (int64_t slot = high; slot < s.end; slot++) row[slot] += table[2 * a->reach];
}

/// Falcon-RW's biases: of the key's place in its row, rounded to bfloat16.
static float to_bfloat16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000; // biases are finite
  memcpy(&x, &bits, sizeof bits);
  return x;
}

static void add_rounded_alibi(const lens_tile *t, int64_t head, lens_span s, float *row) {
  const float slope = to_bfloat16(t->args->alibi[head]), scale = t->args->score_scale;
  const int64_t origin = t->args->first[t->b] + t->shift; // the slot of the row's first real token
  for (int64_t slot = s.begin; slot < s.end; slot++) row[slot] += to_bfloat16(slope * (float)(slot - origin)) * scale;
}

/// Slots of a page up to the last one any row sees, in whole vectors; the rest are left out.
static int64_t page_vectors(const lens_tile *t, int64_t page) {
  int64_t end = page;
  for (int64_t r = 0; r < t->rows; r++) end = lens_max(end, t->range[r].end);
  return lens_min(LENS_PAGE / LENS_LANES, lens_ceil_div(end - page, LENS_LANES));
}

void lens_tile_page_products(const lens_tile *t, int64_t page, lens_fetch next) {
  const lens_attention_args *a = t->args;
  const float *q = t->q ? t->q : a->q + ((t->b * a->queries + t->query) * a->heads + t->head) * a->d_head;
  t->isa->product_fetching(t->rows, page_vectors(t, page), q, t->q ? a->d_head : a->heads * a->d_head, a->d_head,
                       lens_tile_keys(t, page), LENS_PAGE, t->scores + page, t->slots, LENS_CHAIN_START, next);
}

void lens_tile_products(const lens_tile *t) {
  const lens_span all = lens_tile_all_pages(t);
  for (int64_t page = all.begin; page < all.end; page += LENS_PAGE) lens_tile_page_products(t, page, (lens_fetch){0});
}

/// What is added to scores of slots s that row r sees, besides ALiBi, and keys masked among them.
static void finish_row(const lens_tile *t, int64_t r, lens_span s) {
  const lens_attention_args *a = t->args;
  const int64_t head = lens_tile_head(t, r);
  float *row = t->scores + r * t->slots;
  if (a->relative) add_relative(t, head, s, a->keys - a->queries + lens_tile_query(t, r), row);
  if (a->alibi && a->rounds_alibi) add_rounded_alibi(t, head, s, row);
  for (int64_t slot = s.begin; a->key_mask && slot < s.end; slot++)
    if (key_masked(t, slot - t->shift)) row[slot] = -INFINITY;
}

void lens_tile_finish_page(const lens_tile *t, int64_t page) {
  const lens_attention_args *a = t->args;
  int64_t begin[LENS_TILE_ROWS_MAX], end[LENS_TILE_ROWS_MAX];
  for (int64_t r = 0; r < t->rows; r++) {
    begin[r] = lens_max(t->range[r].begin - page, 0);
    end[r] = lens_min(t->range[r].end - page, LENS_PAGE);
  }
  const lens_score_step step = {.scale = a->score_scale, .softcap = a->softcap,
                                .alibi = a->alibi && !a->rounds_alibi ? a->alibi + t->head : NULL, .alibi_step = t->across_heads,
                                .distance = page - t->shift - (a->keys - a->queries + t->query), .distance_step = !t->across_heads};
  t->isa->score_rows(&step, t->rows, begin, end, t->scores + page, t->slots);
  if (!a->relative && !a->key_mask && !(a->alibi && a->rounds_alibi)) return;
  for (int64_t r = 0; r < t->rows; r++)
    if (begin[r] < end[r]) finish_row(t, r, (lens_span){page + begin[r], page + end[r]});
}

void lens_tile_scores(const lens_tile *t) {
  const lens_span all = lens_tile_all_pages(t);
  lens_tile_products(t);
  for (int64_t page = all.begin; page < all.end; page += LENS_PAGE) lens_tile_finish_page(t, page);
}

void lens_tile_pattern(const lens_tile *t, int64_t row, int64_t count) {
  const lens_attention_args *a = t->args;
  int64_t slots[LENS_TILE_ROWS_MAX], used[LENS_TILE_ROWS_MAX];
  const float *sinks[LENS_TILE_ROWS_MAX];
  float *scores[LENS_TILE_ROWS_MAX];
  for (int64_t i = 0; i < count; i++) {
    const lens_span pages = lens_tile_pages(t, row + i);
    slots[i] = pages.end - pages.begin;
    used[i] = lens_ceil_div(t->range[row + i].end - pages.begin, LENS_LANES) * LENS_LANES;
    sinks[i] = a->sinks ? a->sinks + lens_tile_head(t, row + i) : NULL;
    scores[i] = t->scores + (row + i) * t->slots + pages.begin;
  }
  t->isa->pattern_rows(count, slots, used, sinks, scores);
}

void lens_tile_take(const lens_tile *t, int64_t r, const float *from, float nothing) {
  float *row = t->scores + r * t->slots;
  const lens_span pages = lens_tile_pages(t, r), s = t->range[r];
  for (int64_t slot = pages.begin; slot < pages.end; slot++)
    row[slot] = slot >= s.begin && slot < s.end ? from[slot - t->shift] : nothing;
}

void lens_loose_keys(const lens_isa *isa, const lens_attention_args *a, int64_t b, int64_t kv, float *to) {
  isa->transpose(a->keys, a->d_head, a->k + (b * a->keys * a->kv_heads + kv) * a->d_head, a->kv_heads * a->d_head, to, LENS_PAGE);
}

void lens_loose_rows(const lens_attention_args *a, const float *from, int64_t b, int64_t kv, float *to) {
  const int64_t width = lens_value_width(a->d_head);
  for (int64_t key = 0; key < a->keys; key++, to += width) {
    memcpy(to, from + ((b * a->keys + key) * a->kv_heads + kv) * a->d_head, (size_t)a->d_head * sizeof(float));
    for (int64_t d = a->d_head; d < width; d++) to[d] = 0.0f;
  }
}
