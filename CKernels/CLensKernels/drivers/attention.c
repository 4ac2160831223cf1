// attention.c: attention of one tile of queries at a time: scores, pattern, values; no step sees more than its own row.
//
// A task is a batch row, a head and some of its query tiles. A tile's scores live in scratch, one row of slots per
// query, from the first step to the last; outputs are copies of them, so storing cannot change anything. Rows of a tile
// share products over the keys they all see; at the ragged ends each continues its chains alone.
#include "lens_isa.h"
#include "lens_pages.h"
#include "lens_parallel.h"

#include <string.h>

typedef struct {
  int64_t begin, end; // slots; empty: begin == end == 0
} span;

typedef struct {
  const lens_isa *isa;
  const lens_attention_args *args;
  int64_t b, head, query, rows; // queries query ..< query + rows
  int64_t shift, slots;         // slot = key position + shift; slots: length of a row of scores
  span range[LENS_TILE_ROWS_MAX];
  float *scores; // [rows][slots]: scores, then the pattern
  float *chain;  // [rows][d_value]: one page's sums
  float *total;  // [rows][d_value]
} tile;

static int64_t slots_of(const lens_attention_args *a) {
  return lens_ceil_div(a->keys + LENS_PAGE - 1, LENS_PAGE) * LENS_PAGE;
}

/// Floats one thread needs; a multiple of 16, so that threads do not share cache lines.
static int64_t scratch_per_thread(const lens_attention_args *a) {
  return LENS_TILE_ROWS_MAX * (slots_of(a) + 2 * lens_value_width(a->d_head));
}

static bool key_masked(const tile *t, int64_t key) {
  return t->args->key_mask && !t->args->key_mask[t->b * t->args->keys + key];
}

/// Offset of query row r's scores in the [batch, heads, queries, keys] arrays.
static int64_t scores_row(const tile *t, int64_t r) {
  const lens_attention_args *a = t->args;
  return ((t->b * a->heads + t->head) * a->queries + t->query + r) * a->keys;
}

/// The smallest interval of key positions that holds every visible key of row r.
static span visible(const tile *t, int64_t r) {
  const lens_attention_args *a = t->args;
  const int64_t p = a->keys - a->queries + t->query + r;
  span s = {lens_max(0, a->first[t->b]), a->causal ? lens_min(a->keys, p + 1) : a->keys};
  if (a->window > 0) s.begin = lens_max(s.begin, p - a->window + 1);
  while (s.begin < s.end && key_masked(t, s.begin)) s.begin++;
  while (s.begin < s.end && key_masked(t, s.end - 1)) s.end--;
  return s.begin < s.end ? s : (span){0, 0};
}

/// `s` widened to every key the caller's row gives a value other than `nothing` (a NaN is something).
static span widened(span s, const float *row, int64_t keys, float nothing) {
  int64_t low = 0, high = keys;
  const bool empty = s.begin == s.end;
  while (low < (empty ? keys : s.begin) && row[low] == nothing) low++;
  while (high > (empty ? low : s.end) && row[high - 1] == nothing) high--;
  return low < high ? (span){low, high} : (span){0, 0};
}

static void find_ranges(tile *t) {
  const lens_attention_args *a = t->args;
  const float *given = a->pattern_in ? a->pattern_in : a->scores_in;
  for (int64_t r = 0; r < t->rows; r++) {
    span s = visible(t, r);
    if (given) s = widened(s, given + scores_row(t, r), a->keys, a->pattern_in ? 0.0f : -INFINITY);
    t->range[r] = s.begin < s.end ? (span){s.begin + t->shift, s.end + t->shift} : s;
  }
}

/// Whole pages around row r's range.
static span pages_of(const tile *t, int64_t r) {
  const span s = t->range[r];
  return (span){s.begin / LENS_PAGE * LENS_PAGE, lens_ceil_div(s.end, LENS_PAGE) * LENS_PAGE};
}

/// Whole pages around all the tile's ranges.
static span all_pages(const tile *t) {
  span all = {0, 0};
  for (int64_t r = 0; r < t->rows; r++) {
    if (t->range[r].begin == t->range[r].end) continue;
    const span s = pages_of(t, r);
    all = all.begin == all.end ? s : (span){lens_min(all.begin, s.begin), lens_max(all.end, s.end)};
  }
  return all;
}

static const float *page_at(const tile *t, int64_t slot) {
  return t->args->pages[t->b * t->args->pages_per_row + slot / LENS_PAGE];
}

static int64_t kv_head(const tile *t) { return t->head / (t->args->heads / t->args->kv_heads); }

/// Adds what the head adds at each distance to the scores of a query at `position`: constant beyond the reach, a copy of the
/// table between.
static void add_relative(const tile *t, span s, int64_t position, float *row) {
  const lens_attention_args *a = t->args;
  const float *table = a->relative + t->head * (2 * a->reach + 1);
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

static void add_rounded_alibi(const tile *t, span s, float *row) {
  const float slope = to_bfloat16(t->args->alibi[t->head]), scale = t->args->score_scale;
  const int64_t origin = t->args->first[t->b] + t->shift; // the slot of the row's first real token
  for (int64_t slot = s.begin; slot < s.end; slot++) row[slot] += to_bfloat16(slope * (float)(slot - origin)) * scale;
}

/// q·k over whole pages, then scale, softcap and biases, then -inf wherever row r may not look.
static void compute_scores(tile *t) {
  const lens_attention_args *a = t->args;
  const float *q = a->q + ((t->b * a->queries + t->query) * a->heads + t->head) * a->d_head;
  const span all = all_pages(t);
  int64_t end = 0; // of the last slot any row sees; whole vectors past it are left out
  for (int64_t r = 0; r < t->rows; r++) end = lens_max(end, t->range[r].end);
  for (int64_t slot = all.begin; slot < all.end; slot += LENS_PAGE)
    t->isa->product(t->rows, lens_min(LENS_PAGE / LENS_LANES, lens_ceil_div(end - slot, LENS_LANES)), q,
                    a->heads * a->d_head, a->d_head, page_at(t, slot) + kv_head(t) * a->d_head * LENS_PAGE, LENS_PAGE,
                    t->scores + slot, t->slots, LENS_CHAIN_START);

  for (int64_t r = 0; r < t->rows; r++) {
    float *row = t->scores + r * t->slots;
    const span pages = pages_of(t, r), s = t->range[r];
    const int64_t position = a->keys - a->queries + t->query + r;
    const lens_score_step step = {.scale = a->score_scale, .softcap = a->softcap,
                                  .alibi = a->alibi && !a->rounds_alibi ? a->alibi + t->head : NULL,
                                  .distance = pages.begin - t->shift - position};
    t->isa->score_row(&step, lens_ceil_div(s.end - pages.begin, LENS_LANES) * LENS_LANES, row + pages.begin);
    if (a->relative) add_relative(t, s, position, row);
    if (a->alibi && a->rounds_alibi) add_rounded_alibi(t, s, row);
    for (int64_t slot = pages.begin; slot < s.begin; slot++) row[slot] = -INFINITY;
    for (int64_t slot = s.end; slot < pages.end; slot++) row[slot] = -INFINITY;
    if (!a->key_mask) continue;
    for (int64_t slot = s.begin; slot < s.end; slot++)
      if (key_masked(t, slot - t->shift)) row[slot] = -INFINITY;
  }
}

/// Row r of the caller's scores or pattern into scratch, `nothing` in the rest of its pages.
static void take_row(tile *t, int64_t r, const float *from, float nothing) {
  float *row = t->scores + r * t->slots;
  const span pages = pages_of(t, r), s = t->range[r];
  for (int64_t slot = pages.begin; slot < pages.end; slot++)
    row[slot] = slot >= s.begin && slot < s.end ? from[slot - t->shift] : nothing;
}

/// Row r of scratch to the caller's array, `nothing` outside its range.
static void give_row(const tile *t, int64_t r, float *to, float nothing) {
  const span s = t->range[r];
  const int64_t begin = s.begin < s.end ? s.begin - t->shift : 0, end = s.begin < s.end ? s.end - t->shift : 0;
  for (int64_t key = 0; key < begin; key++) to[key] = nothing;
  if (begin < end) memcpy(to + begin, t->scores + r * t->slots + s.begin, (size_t)(end - begin) * sizeof(float));
  for (int64_t key = end; key < t->args->keys; key++) to[key] = nothing;
}

/// Row r's pattern over slots begin ..< end of one page times the values there; `rows` rows at once.
static void weigh(tile *t, int64_t r, int64_t rows, int64_t begin, int64_t end, float *out, lens_chain chain) {
  const lens_attention_args *a = t->args;
  const int64_t d_value = lens_value_width(a->d_head);
  const float *values = page_at(t, begin) + lens_values_offset(a->kv_heads, a->d_head, kv_head(t));
  t->isa->product(rows, d_value / LENS_LANES, t->scores + r * t->slots + begin, t->slots, end - begin,
                  values + begin % LENS_PAGE * d_value, d_value, out + r * d_value, d_value, chain);
}

/// Adds one page's share to the totals: the part every row sees as a tile, each row's own ends before and after it.
static void weigh_page(tile *t, int64_t page) {
  const int64_t d_value = lens_value_width(t->args->d_head);
  span part[LENS_TILE_ROWS_MAX], common = {page, page + LENS_PAGE};
  bool same = true;
  for (int64_t r = 0; r < t->rows; r++) {
    part[r] = (span){lens_max(t->range[r].begin, page), lens_min(t->range[r].end, page + LENS_PAGE)};
    common = (span){lens_max(common.begin, part[r].begin), lens_min(common.end, part[r].end)};
    same = same && part[r].begin == part[0].begin && part[r].end == part[0].end &&
           t->range[r].begin / LENS_PAGE == t->range[0].begin / LENS_PAGE;
  }
  const bool together = common.begin < common.end;
  if (same && together) { // the usual page, whole for all rows
    const bool first = t->range[0].begin >= page;
    weigh(t, 0, t->rows, common.begin, common.end, t->total, first ? LENS_CHAIN_START : LENS_CHAIN_ADD);
    return;
  }
  if (!together) common = (span){page + LENS_PAGE, page + LENS_PAGE}; // each row runs alone, up to its own end
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

static void attend_values(tile *t) {
  const lens_attention_args *a = t->args;
  const int64_t d_value = lens_value_width(a->d_head);
  memset(t->total, 0, (size_t)(t->rows * d_value) * sizeof(float)); // rows that see nothing
  const span all = all_pages(t);
  for (int64_t page = all.begin; page < all.end; page += LENS_PAGE) weigh_page(t, page);
  for (int64_t r = 0; r < t->rows; r++)
    memcpy(a->z + ((t->b * a->queries + t->query + r) * a->heads + t->head) * a->d_head, t->total + r * d_value,
           (size_t)a->d_head * sizeof(float));
}

static void attend_tile(tile *t) {
  const lens_attention_args *a = t->args;
  find_ranges(t);
  const bool only_scores = !a->pattern_out && !a->z;
  if (!a->pattern_in && !a->scores_in) compute_scores(t);
  for (int64_t r = 0; r < t->rows; r++) {
    const int64_t at = scores_row(t, r);
    const span pages = pages_of(t, r);
    if (a->pattern_in) {
      take_row(t, r, a->pattern_in + at, 0.0f);
    } else {
      if (a->scores_in) take_row(t, r, a->scores_in + at, -INFINITY);
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
    tile t = {.isa = isa, .args = a, .b = pair / a->heads, .head = pair % a->heads, .slots = slots_of(a)};
    t.shift = lens_page_shift(a->first[t.b]);
    t.scores = scratch;
    t.chain = scratch + LENS_TILE_ROWS_MAX * t.slots;
    t.total = t.chain + LENS_TILE_ROWS_MAX * lens_value_width(a->d_head);
    for (int64_t i = task % splits; i < tiles; i += splits) {
      t.query = i * isa->tile_rows;
      t.rows = lens_min(isa->tile_rows, a->queries - t.query);
      attend_tile(&t);
    }
  }
}
