// attention.c: attention of a block of tiles at a time: scores, pattern, values; no step sees more than its own row.
//
// A tile is a few queries of one head, or, where there are few queries, heads of one query that share keys. A block is some
// tiles that read the same keys: each page is brought into the first cache once for all of them. A row's scores live in
// scratch, one row of slots each, from the first step to the last; outputs are copies of them, so storing cannot change
// anything. Rows of a tile share products over a page they all see to the same ends; elsewhere each has its own ends.
#include "lens_attention.h"

#include <string.h>

/// Heads ahead that are fetched where keys are not in pages: a thread's next but one, if threads take turns by two.
#define AHEAD 4

/// Most tiles in a block, and how many there are however long the rows of scores.
#define TILES_MAX 8
#define TILES_LEAST 4
/// How many of them share what is fetched of the next page.
#define SHARING 4
/// Floats of scores that stay in the second cache.
#define SCORES (96 * 1024)

/// Floats one tile needs; a multiple of 16, so that threads do not share cache lines.
static int64_t scratch_per_tile(const lens_attention_args *a) {
  return LENS_TILE_ROWS_MAX * (lens_attention_slots(a) + 3 * lens_value_width(a->d_head));
}

/// How the rows that read one key head of one batch row are cut up.
typedef struct {
  bool across_heads;
  int64_t group, height;  // heads that share keys; most rows in a tile
  int64_t per_line, tiles; // tiles of a query's heads, or of a head's queries; tiles altogether
  int64_t blocks;
} plan;

static plan make_plan(const lens_attention_args *a, int64_t tile_rows) {
  plan p = {.group = a->heads / a->kv_heads};
  p.across_heads = lens_min(tile_rows, p.group) > lens_min(tile_rows, a->queries);
  const int64_t line = p.across_heads ? p.group : a->queries;
  p.per_line = lens_ceil_div(line, tile_rows);
  p.height = tile_rows;
  p.tiles = p.per_line * (p.across_heads ? a->queries : p.group);
  const int64_t fitting = SCORES / (tile_rows * lens_attention_slots(a));
  p.blocks = lens_ceil_div(lens_max(1, p.tiles), lens_max(TILES_LEAST, lens_min(TILES_MAX, fitting)));
  return p;
}

/// Floats one thread needs.
static int64_t scratch_per_thread(const lens_attention_args *a, const plan *p) {
  return lens_ceil_div(p->tiles, p->blocks) * scratch_per_tile(a) + lens_loose_count(a);
}

/// Row r of scratch to the caller's array, `nothing` outside its range.
static void give_row(const lens_tile *t, int64_t r, float *to, float nothing) {
  const lens_span s = t->range[r];
  const int64_t begin = s.begin < s.end ? s.begin - t->shift : 0, end = s.begin < s.end ? s.end - t->shift : 0;
  for (int64_t key = 0; key < begin; key++) to[key] = nothing;
  if (begin < end) memcpy(to + begin, t->scores + r * t->slots + s.begin, (size_t)(end - begin) * sizeof(float));
  for (int64_t key = end; key < t->args->keys; key++) to[key] = nothing;
}

/// Where a row's first page starts its total, and later ones are added.
static lens_chain page_chain(const lens_tile *t, int64_t r, int64_t page) {
  return t->range[r].begin >= page ? LENS_CHAIN_START : LENS_CHAIN_ADD;
}

/// Adds one page's sums to the totals of the rows that see something of it.
static void add_page(const lens_tile *t, int64_t page, const float *chains) {
  const int64_t d_value = lens_value_width(t->args->d_head);
  for (int64_t r = 0; r < t->rows; r++) {
    if (t->range[r].begin >= page + LENS_PAGE || t->range[r].end <= page) continue;
    float *total = t->total + r * d_value;
    const float *chain = chains + r * d_value;
    const bool first = page_chain(t, r, page) == LENS_CHAIN_START;
    for (int64_t d = 0; d < d_value; d++) total[d] = first ? chain[d] : total[d] + chain[d];
  }
}

/// One page's share, the pattern there times its values: added to the totals, or to `apart`, for add_page later. Meanwhile
/// fetches `next`.
static void weigh_page(const lens_tile *t, int64_t page, lens_fetch next, float *apart) {
  const int64_t d_value = lens_value_width(t->args->d_head), vecs = d_value / LENS_LANES;
  int64_t begin[LENS_TILE_ROWS_MAX], end[LENS_TILE_ROWS_MAX];
  bool same = true;
  for (int64_t r = 0; r < t->rows; r++) {
    begin[r] = lens_max(t->range[r].begin - page, 0);
    end[r] = lens_min(t->range[r].end - page, LENS_PAGE);
    same = same && begin[r] == begin[0] && end[r] == end[0] && page_chain(t, r, page) == page_chain(t, 0, page);
  }
  const float *pattern = t->scores + page, *values = lens_tile_values(t, page);
  if (same && begin[0] < end[0]) { // the usual page
    t->isa->product_fetching(t->rows, vecs, pattern + begin[0], t->slots, end[0] - begin[0], values + begin[0] * d_value, d_value,
                             apart ? apart : t->total, d_value, apart ? LENS_CHAIN_START : page_chain(t, 0, page), next);
    return;
  }
  t->isa->product_ragged(t->rows, vecs, pattern, t->slots, begin, end, values, d_value, apart ? apart : t->chain, d_value);
  if (!apart) add_page(t, page, t->chain);
}

/// Tiles that read the same keys, and the pages each reads.
typedef struct {
  int64_t count;
  lens_tile tile[TILES_MAX];
  lens_span pages[TILES_MAX], all;
} block;

static bool reads(const block *b, int64_t tile, int64_t page) { return b->pages[tile].begin <= page && page < b->pages[tile].end; }

/// What to fetch while tile `i` runs over `page`: the next page's rows, of `width` floats. One tile fetches them all; of more,
/// the first ones share them.
static lens_fetch next_rows(const block *b, int64_t i, int64_t page, int64_t width, const float *(*rows)(const lens_tile *, int64_t)) {
  if (b->tile[0].page || page + LENS_PAGE >= b->all.end) return (lens_fetch){0};
  const float *next = rows(&b->tile[0], page + LENS_PAGE);
  if (b->count < SHARING) return (lens_fetch){.rows = i == 0 ? next : NULL};
  if (i >= SHARING) return (lens_fetch){0};
  return (lens_fetch){.from = (const char *)(next + i * (LENS_PAGE * width / SHARING)), .step = width > LENS_PAGE ? 128 : 64};
}

/// Scores over some pages. They are finished one tile later than their products, which are then out of the processor's pipeline.
static void find_scores(const block *b, lens_span pages) {
  const int64_t d_head = b->tile[0].args->d_head;
  for (int64_t page = pages.begin; page < pages.end; page += LENS_PAGE) {
    const lens_tile *before = NULL;
    for (int64_t i = 0; i < b->count; i++) {
      if (!reads(b, i, page)) continue;
      lens_tile_page_products(&b->tile[i], page, next_rows(b, i, page, d_head, lens_tile_keys));
      if (before) lens_tile_finish_page(before, page);
      before = &b->tile[i];
    }
    if (before) lens_tile_finish_page(before, page);
  }
}

/// Rows row ..< row + count from scores, found or the caller's, to the pattern; and what the caller wants of both.
static void find_pattern(const lens_tile *t, int64_t row, int64_t count) {
  const lens_attention_args *a = t->args;
  for (int64_t r = row; r < row + count; r++) {
    const int64_t at = lens_tile_row(t, r);
    if (a->pattern_in) lens_tile_take(t, r, a->pattern_in + at, 0.0f);
    if (a->scores_in) lens_tile_take(t, r, a->scores_in + at, -INFINITY);
    if (a->scores_out && !a->pattern_in) give_row(t, r, a->scores_out + at, -INFINITY);
  }
  if (!a->pattern_in && (a->pattern_out || a->z)) lens_tile_pattern(t, row, count);
  for (int64_t r = row; a->pattern_out && r < row + count; r++) give_row(t, r, a->pattern_out + lens_tile_row(t, r), 0.0f);
}

/// z of a tile from its totals.
static void give_values(const lens_tile *t) {
  const lens_attention_args *a = t->args;
  for (int64_t r = 0; r < t->rows; r++)
    memcpy(a->z + ((t->b * a->queries + lens_tile_query(t, r)) * a->heads + lens_tile_head(t, r)) * a->d_head,
           t->total + r * lens_value_width(a->d_head), (size_t)a->d_head * sizeof(float));
}

/// Floats of one page's sums, of a tile's rows.
static int64_t apart_count(const lens_attention_args *a) { return LENS_TILE_ROWS_MAX * lens_value_width(a->d_head); }

/// Values over some pages: to the totals, or, where `apart` is given, to [slots / LENS_PAGE][count] pages' sums.
static void weigh_values(const block *b, lens_span pages, float *apart) {
  const lens_attention_args *a = b->tile[0].args;
  for (int64_t page = pages.begin; page < pages.end; page += LENS_PAGE)
    for (int64_t i = 0; i < b->count; i++)
      if (reads(b, i, page))
        weigh_page(&b->tile[i], page, next_rows(b, i, page, lens_value_width(a->d_head), lens_tile_values),
                   apart ? apart + (page / LENS_PAGE * b->count + i) * apart_count(a) : NULL);
}

/// Queries side by side: those of a head are as far apart as all heads are wide, and many would share a few sets of a cache.
static void copy_queries(lens_tile *t, float *to) {
  const lens_attention_args *a = t->args;
  t->q = to;
  for (int64_t r = 0; r < t->rows; r++, to += a->d_head)
    memcpy(to, a->q + ((t->b * a->queries + lens_tile_query(t, r)) * a->heads + lens_tile_head(t, r)) * a->d_head,
           (size_t)a->d_head * sizeof(float));
}

/// Tiles from ..< to of the plan. Tiles of neighbouring queries follow one another, with all heads that share keys.
static void cut_block(const lens_isa *isa, const lens_attention_args *a, const plan *p, int64_t row, int64_t kv, int64_t from,
                      int64_t to, float *scratch, block *b) {
  const int64_t slots = lens_attention_slots(a), d_value = lens_value_width(a->d_head);
  b->count = to - from;
  b->all = (lens_span){0, 0};
  for (int64_t i = 0; i < b->count; i++, scratch += scratch_per_tile(a)) {
    const int64_t lines = p->tiles / p->per_line, index = from + i;
    const int64_t part = p->across_heads ? index % p->per_line : index / lines, line = p->across_heads ? index / p->per_line : index % lines;
    lens_tile *t = &b->tile[i];
    *t = (lens_tile){.isa = isa, .args = a, .b = row, .head = kv * p->group, .across_heads = p->across_heads, .slots = slots,
                     .shift = lens_page_shift(a->first[row]), .scores = scratch, .chain = scratch + LENS_TILE_ROWS_MAX * slots};
    t->total = t->chain + LENS_TILE_ROWS_MAX * d_value;
    t->head += p->across_heads ? part * p->height : line;
    t->query = p->across_heads ? line : part * p->height;
    t->rows = lens_min(p->height, (p->across_heads ? p->group : a->queries) - part * p->height);
    memset(t->total, 0, (size_t)(t->rows * d_value) * sizeof(float)); // rows that see nothing
    if (a->q) copy_queries(t, t->total + LENS_TILE_ROWS_MAX * d_value);
    lens_tile_ranges(t);
    const lens_span s = b->pages[i] = lens_tile_all_pages(t);
    if (s.begin < s.end)
      b->all = b->all.begin == b->all.end ? s : (lens_span){lens_min(b->all.begin, s.begin), lens_max(b->all.end, s.end)};
  }
}

/// Keys and values of a head into a thread's scratch, where they are not in pages; those of a later one are fetched.
static void bring_loose(const lens_isa *isa, const lens_attention_args *a, int64_t pair, float *page, block *b) {
  const int64_t row = pair / a->kv_heads, kv = pair % a->kv_heads;
  if (a->q) lens_loose_keys(isa, a, row, kv, page);
  if (a->z) lens_loose_rows(a, a->v, row, kv, page + a->d_head * LENS_PAGE);
  for (int64_t i = 0; i < b->count; i++) b->tile[i].page = page;
  const int64_t next = lens_min(pair + AHEAD, a->batch * a->kv_heads - 1), group = a->heads / a->kv_heads;
  for (int64_t head = 0; head < group; head++)
    lens_fetch_head(a->q, a->queries, a->heads, a->d_head, next / a->kv_heads, next % a->kv_heads * group + head);
  lens_fetch_head(a->k, a->keys, a->kv_heads, a->d_head, next / a->kv_heads, next % a->kv_heads);
  lens_fetch_head(a->v, a->keys, a->kv_heads, a->d_head, next / a->kv_heads, next % a->kv_heads);
}

// MARK: By runs of keys

/// Blocks that are few, and do not share out evenly among threads, are done run of keys by run of keys.
#define SPLIT_BLOCKS 16
/// Floats of keys from which that pays: threads wait for each other four times.
#define SPLIT_FLOATS (1024 * 1024)
/// Fewest pages in a run.
#define RUN_PAGES 4

static int64_t block_count(const lens_attention_args *a, const plan *p) { return a->batch * a->kv_heads * p->blocks; }

static bool splits(const lens_attention_args *a, const plan *p, int64_t threads) {
  const int64_t blocks = block_count(a, p);
  return threads > 1 && a->pages && !a->k && a->batch * a->kv_heads * a->keys * a->d_head >= SPLIT_FLOATS && blocks <= SPLIT_BLOCKS && blocks % threads != 0;
}

/// Floats a block needs: its tiles, and each page's sums apart.
static int64_t scratch_per_block(const lens_attention_args *a, const plan *p) {
  return scratch_per_thread(a, p) + lens_attention_slots(a) / LENS_PAGE * lens_ceil_div(p->tiles, p->blocks) * apart_count(a);
}

static void cut_nth_block(const lens_isa *isa, const lens_attention_args *a, const plan *p, int64_t n, float *scratch, block *b) {
  const int64_t pair = n / p->blocks, index = n % p->blocks;
  cut_block(isa, a, p, pair / a->kv_heads, pair % a->kv_heads, p->tiles * index / p->blocks, p->tiles * (index + 1) / p->blocks, scratch, b);
}

/// Pages of run `run` of `runs`.
static lens_span run_pages(const block *b, int64_t run, int64_t runs) {
  const int64_t pages = (b->all.end - b->all.begin) / LENS_PAGE;
  return (lens_span){b->all.begin + pages * run / runs * LENS_PAGE, b->all.begin + pages * (run + 1) / runs * LENS_PAGE};
}

/// All blocks at once, each step over all keys before the next. A page's sums are kept apart, and added in order at the end.
static void attend_split(const lens_isa *isa, const lens_attention_args *a, const plan *p, int threads) {
  block blocks[SPLIT_BLOCKS];
  const int64_t count = block_count(a, p), per_block = scratch_per_block(a, p), tiles = lens_ceil_div(p->tiles, p->blocks);
  const int64_t pages = lens_ceil_div(a->keys, LENS_PAGE), runs = lens_max(1, lens_min(pages / RUN_PAGES, lens_ceil_div(4 * threads, count)));
  for (int64_t n = 0; n < count; n++) cut_nth_block(isa, a, p, n, a->scratch + n * per_block, &blocks[n]);
  LENS_PARALLEL_FOR(threads, task, count * runs)
    if (!a->pattern_in && !a->scores_in) find_scores(&blocks[task / runs], run_pages(&blocks[task / runs], task % runs, runs));
  LENS_PARALLEL_FOR(threads, task, count * tiles * LENS_TILE_ROWS_MAX) {
    const block *b = &blocks[task / LENS_TILE_ROWS_MAX / tiles];
    const int64_t i = task / LENS_TILE_ROWS_MAX % tiles, r = task % LENS_TILE_ROWS_MAX;
    if (i < b->count && r < b->tile[i].rows) find_pattern(&b->tile[i], r, 1);
  }
  if (!a->z) return;
  LENS_PARALLEL_FOR(threads, task, count * runs) {
    const int64_t n = task / runs;
    weigh_values(&blocks[n], run_pages(&blocks[n], task % runs, runs), a->scratch + n * per_block + scratch_per_thread(a, p));
  }
  LENS_PARALLEL_FOR(threads, task, count * tiles) {
    const int64_t n = task / tiles, i = task % tiles;
    const block *b = &blocks[n];
    if (i >= b->count) continue;
    const float *apart = a->scratch + n * per_block + scratch_per_thread(a, p);
    for (int64_t page = b->pages[i].begin; page < b->pages[i].end; page += LENS_PAGE)
      add_page(&b->tile[i], page, apart + (page / LENS_PAGE * b->count + i) * apart_count(a));
    give_values(&b->tile[i]);
  }
}

// MARK: All of it

int64_t lens_attention_scratch(const lens_attention_args *args) {
  // The most any instruction set needs.
  const int64_t threads = lens_get_threads();
  int64_t most = 0;
  for (int64_t rows = 1; rows <= LENS_TILE_ROWS_MAX; rows++) {
    const plan p = make_plan(args, rows);
    most = lens_max(most, threads * scratch_per_thread(args, &p));
    if (splits(args, &p, threads)) most = lens_max(most, block_count(args, &p) * scratch_per_block(args, &p));
  }
  return lens_ceil_div(most, threads) * threads;
}

void lens_attention(const lens_isa *isa, const lens_attention_args *args) {
  const lens_attention_args *a = args;
  const plan p = make_plan(a, isa->tile_rows);
  if (p.tiles <= 0) return;
  const int64_t per_thread = scratch_per_thread(a, &p), tasks = block_count(a, &p);
  // Scores and values, over whole pages: with one query reading them takes the time.
  const int64_t work = 2 * a->batch * a->heads * a->queries * lens_ceil_div(a->keys, LENS_PAGE) * LENS_PAGE * lens_max(1, a->d_head);
  const int wish = lens_threads_for(work, INT64_MAX);
  if (splits(a, &p, wish) && a->scratch_count >= tasks * scratch_per_block(a, &p)) return attend_split(isa, a, &p, wish);
  // Scratch, not the present wish, bounds the threads: the wish may have grown since scratch was measured.
  const int64_t room = lens_max(1, a->scratch_count / lens_max(1, per_thread));
  const int threads = (int)lens_min(room, lens_threads_for(work, tasks));
  lens_runs runs;
  lens_deal(&runs, tasks, 1, threads);
  LENS_PARALLEL(threads)
  for (int64_t task, count; (task = lens_next_tasks(&runs, &count)) >= 0;) {
    float *scratch = a->scratch + lens_thread_index() * per_thread;
    block b;
    cut_nth_block(isa, a, &p, task, scratch, &b);
    if (a->k) bring_loose(isa, a, task / p.blocks, scratch + per_thread - lens_loose_count(a), &b);
    if (!a->pattern_in && !a->scores_in) find_scores(&b, b.all);
    for (int64_t i = 0; i < b.count; i++) find_pattern(&b.tile[i], 0, b.tile[i].rows);
    if (!a->z) continue;
    weigh_values(&b, b.all, NULL);
    for (int64_t i = 0; i < b.count; i++) give_values(&b.tile[i]);
  }
}
