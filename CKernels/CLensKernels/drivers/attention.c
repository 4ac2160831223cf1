// Attention over pages: tasks are tiles of queries of one head of one batch row. Neighbouring tiles go to different threads,
// because in causal attention later queries have more to do.
#include "lens_isa.h"
#include "lens_threads.h"

int64_t lens_page_count(int64_t kv_heads, int64_t d_head) { return kv_heads * LENS_PAGE * (d_head + lens_value_width(d_head)); }

/// Floats one thread needs: the tile's score rows and its z.
static int64_t scratch_per_thread(const lens_attention_args *a) {
  return LENS_QUERY_TILE * (a->pages_per_row * LENS_PAGE + lens_value_width(a->d_head));
}

int64_t lens_attention_scratch(const lens_attention_args *a) { return a->threads * scratch_per_thread(a); }

void lens_attention(const lens_isa *isa, const lens_attention_args *a) {
  int64_t tiles = (a->queries + LENS_QUERY_TILE - 1) / LENS_QUERY_TILE;
  int64_t tasks = a->batch * a->heads * tiles;
  double work = (double)a->batch * (double)a->heads * (double)a->queries * (double)a->keys * (double)a->d_head * 2;
  int32_t threads = (int32_t)lens_min(lens_threads_for(tasks, work), a->threads);
  LENS_PARALLEL_FOR(threads, static)
  for (int32_t thread = 0; thread < threads; thread++)
    for (int64_t task = thread; task < tasks; task += threads) {
      int64_t query = task % tiles * LENS_QUERY_TILE;
      isa->attend(a, task / tiles / a->heads, task / tiles % a->heads, query, lens_min(LENS_QUERY_TILE, a->queries - query),
                  a->scratch + thread * scratch_per_thread(a));
    }
}

/// The place of key position `position` of row b: its page and slot in the page.
static inline void locate(const int64_t *first, int64_t batch_row, int64_t position, int64_t *page, int64_t *slot) {
  int64_t absolute = position + lens_page_shift(first, batch_row);
  *page = absolute / LENS_PAGE;
  *slot = absolute % LENS_PAGE;
}

void lens_pages_write(int64_t batch, int64_t new_keys, int64_t kv_heads, int64_t d_head, int64_t position, const int64_t *first,
                      float *const *pages, int64_t pages_per_row, const float *k, const float *v) {
  int64_t width = lens_value_width(d_head);
  for (int64_t b = 0; b < batch; b++)
    for (int64_t i = 0; i < new_keys; i++) {
      int64_t page, slot;
      locate(first, b, position + i, &page, &slot);
      float *base = pages[b * pages_per_row + page];
      for (int64_t g = 0; g < kv_heads; g++) {
        int64_t row = ((b * new_keys + i) * kv_heads + g) * d_head;
        float *keys = base + g * d_head * LENS_PAGE + slot;
        float *values = base + kv_heads * d_head * LENS_PAGE + (g * LENS_PAGE + slot) * width;
        for (int64_t d = 0; d < d_head && k; d++) keys[d * LENS_PAGE] = k[row + d];
        for (int64_t d = 0; d < d_head && v; d++) values[d] = v[row + d];
      }
    }
}

void lens_pages_read(int64_t batch, int64_t count, int64_t kv_heads, int64_t d_head, int64_t position, const int64_t *first,
                     const float *const *pages, int64_t pages_per_row, float *k, float *v) {
  int64_t width = lens_value_width(d_head);
  for (int64_t b = 0; b < batch; b++)
    for (int64_t i = 0; i < count; i++) {
      int64_t page, slot;
      locate(first, b, position + i, &page, &slot);
      const float *base = pages[b * pages_per_row + page];
      for (int64_t g = 0; g < kv_heads; g++) {
        int64_t row = ((b * count + i) * kv_heads + g) * d_head;
        const float *keys = base + g * d_head * LENS_PAGE + slot;
        const float *values = base + kv_heads * d_head * LENS_PAGE + (g * LENS_PAGE + slot) * width;
        for (int64_t d = 0; d < d_head && k; d++) k[row + d] = keys[d * LENS_PAGE];
        for (int64_t d = 0; d < d_head && v; d++) v[row + d] = values[d];
      }
    }
}
