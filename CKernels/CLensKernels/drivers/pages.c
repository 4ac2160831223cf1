// pages.c: keys and values in and out of the cache's pages. Layout and slots: see "attention" in lens_kernels.h.
#include "lens_isa.h"
#include "lens_pages.h"
#include "lens_parallel.h"

#include <string.h>

int64_t lens_page_count(int64_t kv_heads, int64_t d_head) {
  return kv_heads * LENS_PAGE * (d_head + lens_value_width(d_head));
}

/// Keys as rows to slots from `slot` on of a page's columns. Whole vectors are turned round together; what a last one lacks
/// becomes zero, as the rest of a page that has not been reached is.
static void write_keys(const lens_isa *isa, int64_t count, int64_t d_head, const float *k, int64_t ld, float *page, int64_t slot) {
  for (; count > 0 && slot % LENS_LANES != 0; count--, slot++, k += ld)
    for (int64_t d = 0; d < d_head; d++) page[d * LENS_PAGE + slot] = k[d];
  if (count < LENS_LANES / 4) {
    for (; count > 0; count--, slot++, k += ld)
      for (int64_t d = 0; d < d_head; d++) page[d * LENS_PAGE + slot] = k[d];
  } else {
    isa->transpose(count, d_head, k, ld, page + slot, LENS_PAGE);
  }
}

void lens_pages_write(int64_t batch, int64_t new_keys, int64_t kv_heads, int64_t d_head, int64_t position,
                      const int64_t *first, float *const *pages, int64_t pages_per_row, const float *k,
                      const float *v) {
  const int64_t d_value = lens_value_width(d_head), ld = kv_heads * d_head;
  const lens_isa *active = lens_isa_active(), *isa = active ? active : &lens_isa_portable; // copies are the same on all
  const int threads = lens_threads_for(batch * new_keys * kv_heads * d_head, batch * kv_heads);
  LENS_PARALLEL_FOR(threads, task, batch * kv_heads) {
    const int64_t b = task / kv_heads, g = task % kv_heads, shift = lens_page_shift(first[b]);
    for (int64_t i = 0; i < new_keys;) {
      const int64_t slot = position + i + shift, count = lens_min(new_keys - i, LENS_PAGE - slot % LENS_PAGE);
      float *page = pages[b * pages_per_row + slot / LENS_PAGE];
      const int64_t row = ((b * new_keys + i) * kv_heads + g) * d_head;
      if (k) write_keys(isa, count, d_head, k + row, ld, page + g * d_head * LENS_PAGE, slot % LENS_PAGE);
      float *value = page + lens_values_offset(kv_heads, d_head, g) + slot % LENS_PAGE * d_value;
      for (int64_t j = 0; v && j < count; j++) memcpy(value + j * d_value, v + row + j * ld, (size_t)d_head * sizeof(float));
      i += count;
    }
  }
}

void lens_pages_read(int64_t batch, int64_t count, int64_t kv_heads, int64_t d_head, int64_t position,
                     const int64_t *first, const float *const *pages, int64_t pages_per_row, float *k, float *v) {
  const int64_t d_value = lens_value_width(d_head);
  const int threads = lens_threads_for(batch * count * kv_heads * d_head, batch * kv_heads);
  LENS_PARALLEL_FOR(threads, task, batch * kv_heads) {
    const int64_t b = task / kv_heads, g = task % kv_heads;
    for (int64_t i = 0; i < count; i++) {
      const int64_t slot = position + i + lens_page_shift(first[b]);
      const float *page = pages[b * pages_per_row + slot / LENS_PAGE];
      const int64_t row = ((b * count + i) * kv_heads + g) * d_head;
      if (k) {
        const float *key = page + g * d_head * LENS_PAGE + slot % LENS_PAGE;
        for (int64_t d = 0; d < d_head; d++) k[row + d] = key[d * LENS_PAGE];
      }
      if (v) {
        const float *value = page + lens_values_offset(kv_heads, d_head, g) + slot % LENS_PAGE * d_value;
        memcpy(v + row, value, (size_t)d_head * sizeof(float));
      }
    }
  }
}
