// attention.c: attention of one tile of queries at a time: scores, pattern, values; no step sees more than its own row.
//
// A task is a batch row, a head and some of its query tiles. A tile's scores live in scratch, one row of slots per
// query, from the first step to the last; outputs are copies of them, so storing cannot change anything. Rows of a tile
// share products over the keys they all see; at the ragged ends each continues its chains alone.
#include "lens_attention.h"

#include <string.h>

/// Heads ahead that are fetched where keys are not in pages: a thread's next but one, if threads take turns by two.
#define AHEAD 4

/// Floats one thread needs; a multiple of 16, so that threads do not share cache lines.
static int64_t scratch_per_thread(const lens_attention_args *a) {
  return LENS_TILE_ROWS_MAX * (lens_attention_slots(a) + 2 * lens_value_width(a->d_head)) + lens_loose_count(a);
}

/// Row r of scratch to the caller's array, `nothing` outside its range.
static void give_row(const lens_tile *t, int64_t r, float *to, float nothing) {
  const lens_span s = t->range[r];
  const int64_t begin = s.begin < s.end ? s.begin - t->shift : 0, end = s.begin < s.end ? s.end - t->shift : 0;
  for (int64_t key = 0; key < begin; key++) to[key] = nothing;
  if (begin < end) memcpy(to + begin, t->scores + r * t->slots + s.begin, (size_t)(end - begin) * sizeof(float));
  for (int64_t key = end; key < t->args->keys; key++) to[key] = nothing;
}

/// Row r's pattern over slots begin ..< end of one page times the values there; `rows` rows at once.
static void weigh(lens_tile *t, int64_t r, int64_t rows, int64_t begin, int64_t end, float *out, lens_chain chain) {
  const lens_attention_args *a = t->args;
  const int64_t d_value = lens_value_width(a->d_head);
  const float *values = lens_tile_values(t, begin);
  t->isa->product(rows, d_value / LENS_LANES, t->scores + r * t->slots + begin, t->slots, end - begin,
                  values + begin % LENS_PAGE * d_value, d_value, out + r * d_value, d_value, chain);
}

/// Adds one page's share to the totals: the part every row sees as a tile, each row's own ends before and after it.
static void weigh_page(lens_tile *t, int64_t page) {
  const int64_t d_value = lens_value_width(t->args->d_head);
  lens_span part[LENS_TILE_ROWS_MAX], common = {page, page + LENS_PAGE};
  bool same = true;
  for (int64_t r = 0; r < t->rows; r++) {
    part[r] = (lens_span){lens_max(t->range[r].begin, page), lens_min(t->range[r].end, page + LENS_PAGE)};
    common = (lens_span){lens_max(common.begin, part[r].begin), lens_min(common.end, part[r].end)};
    same = same && part[r].begin == part[0].begin && part[r].end == part[0].end &&
           t->range[r].begin / LENS_PAGE == t->range[0].begin / LENS_PAGE;
  }
  const bool together = common.begin < common.end;
  if (same && together) { // the usual page, whole for all rows
    const bool first = t->range[0].begin >= page;
    weigh(t, 0, t->rows, common.begin, common.end, t->total, first ? LENS_CHAIN_START : LENS_CHAIN_ADD);
    return;
  }
  if (!together) common = (lens_span){page + LENS_PAGE, page + LENS_PAGE}; // each row runs alone, up to its own end
  for (int64_t r = 0; r < t->rows; r++) {
    const int64_t end = lens_min(part[r].end, common.begin);
    if (part[r].begin < end) {
      weigh(t, r, 1, part[r].begin, end, t->chain, LENS_CHAIN_START);
    } else {
      memset(t->chain + r * d_value, 0, (size_t)d_value * sizeof(float));
    }
  }
  if (together) weigh(t, 0, t->rows, common.begin, common.end, t->chain, LENS_CHAIN_CONTINUE);
  for (int64_t r = 0; r < t->rows; r++) {
    if (together && common.end < part[r].end)
      weigh(t, r, 1, common.end, part[r].end, t->chain, LENS_CHAIN_CONTINUE);
    if (part[r].begin >= part[r].end) continue; // this row sees nothing of the page
    const bool first = t->range[r].begin >= page;
    for (int64_t d = r * d_value; d < (r + 1) * d_value; d++)
      t->total[d] = first ? t->chain[d] : t->total[d] + t->chain[d];
  }
}

static void attend_values(lens_tile *t) {
  const lens_attention_args *a = t->args;
  const int64_t d_value = lens_value_width(a->d_head);
  memset(t->total, 0, (size_t)(t->rows * d_value) * sizeof(float)); // rows that see nothing
  const lens_span all = lens_tile_all_pages(t);
  for (int64_t page = all.begin; page < all.end; page += LENS_PAGE) weigh_page(t, page);
  for (int64_t r = 0; r < t->rows; r++)
    memcpy(a->z + ((t->b * a->queries + t->query + r) * a->heads + t->head) * a->d_head, t->total + r * d_value,
           (size_t)a->d_head * sizeof(float));
}

static void attend_tile(lens_tile *t) {
  const lens_attention_args *a = t->args;
  lens_tile_ranges(t);
  const bool only_scores = !a->pattern_out && !a->z;
  if (!a->pattern_in && !a->scores_in) lens_tile_scores(t);
  for (int64_t r = 0; r < t->rows; r++) {
    const int64_t at = lens_tile_row(t, r);
    const lens_span pages = lens_tile_pages(t, r);
    if (a->pattern_in) {
      lens_tile_take(t, r, a->pattern_in + at, 0.0f);
    } else {
      if (a->scores_in) lens_tile_take(t, r, a->scores_in + at, -INFINITY);
      if (a->scores_out) give_row(t, r, a->scores_out + at, -INFINITY);
      if (only_scores) continue;
      t->isa->pattern_row(pages.end - pages.begin, a->sinks ? a->sinks + t->head : NULL,
                          t->scores + r * t->slots + pages.begin);
    }
    if (a->pattern_out) give_row(t, r, a->pattern_out + at, 0.0f);
  }
  if (a->z) attend_values(t);
}

int64_t lens_attention_scratch(const lens_attention_args *args) {
  return scratch_per_thread(args) * lens_get_threads();
}

void lens_attention(const lens_isa *isa, const lens_attention_args *args) {
  const lens_attention_args *a = args;
  const int64_t per_thread = scratch_per_thread(a), tiles = lens_ceil_div(a->queries, isa->tile_rows);
  const int64_t pairs = a->batch * a->heads;
  // Scratch, not the present wish, bounds the threads: the wish may have grown since scratch was measured.
  const int64_t room = lens_max(1, a->scratch_count / per_thread);
  const int threads = (int)lens_min(
      room, lens_threads_for(pairs * a->queries * a->keys * lens_max(1, a->d_head), pairs * tiles));

  // Causal tiles cost more the later they are. With many heads a thread takes whole heads and keeps their keys in its
  // cache; with few, the tiles of a head are dealt out like cards.
  const int64_t splits = pairs % threads == 0 || pairs >= 8 * threads ? 1 : threads;
  LENS_PARALLEL_CYCLIC(threads)
  for (int64_t task = 0; task < pairs * splits; task++) {
    const int64_t pair = task / splits;
    float *scratch = a->scratch + lens_thread_index() * per_thread;
    lens_tile t = {.isa = isa, .args = a, .b = pair / a->heads, .head = pair % a->heads, .slots = lens_attention_slots(a)};
    t.shift = lens_page_shift(a->first[t.b]);
    t.scores = scratch;
    t.chain = scratch + LENS_TILE_ROWS_MAX * t.slots;
    t.total = t.chain + LENS_TILE_ROWS_MAX * lens_value_width(a->d_head);
    if (a->k) {
      float *page = t.total + LENS_TILE_ROWS_MAX * lens_value_width(a->d_head);
      if (a->q) lens_loose_keys(isa, a, t.b, lens_tile_kv_head(&t), page);
      if (a->z) lens_loose_rows(a, a->v, t.b, lens_tile_kv_head(&t), page + a->d_head * LENS_PAGE);
      t.page = page;
      const int64_t next = lens_min(pair + AHEAD, pairs - 1), b = next / a->heads, head = next % a->heads;
      lens_fetch_head(a->q, a->queries, a->heads, a->d_head, b, head);
      lens_fetch_head(a->k, a->keys, a->kv_heads, a->d_head, b, head / (a->heads / a->kv_heads));
      lens_fetch_head(a->v, a->keys, a->kv_heads, a->d_head, b, head / (a->heads / a->kv_heads));
    }
    for (int64_t i = task % splits; i < tiles; i += splits) {
      t.query = i * isa->tile_rows;
      t.rows = lens_min(isa->tile_rows, a->queries - t.query);
      attend_tile(&t);
    }
  }
}
