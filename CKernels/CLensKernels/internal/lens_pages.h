// lens_pages.h: where things are in a page of the key-value cache. Shared by the drivers that write and read pages.
#ifndef LENS_PAGES_H
#define LENS_PAGES_H
#include "lens_kernels.h"

/// Floats of one value row: d_head rounded up to whole vectors.
static inline int64_t lens_value_width(int64_t d_head) { return (d_head + LENS_LANES - 1) / LENS_LANES * LENS_LANES; }

/// Slots put before key position 0 so that position `first` starts a page.
static inline int64_t lens_page_shift(int64_t first) {
  return ((-first) % LENS_PAGE + LENS_PAGE) % LENS_PAGE;
}

/// Offset of kv head g's values [LENS_PAGE][d_value] in a page; its keys are at g * d_head * LENS_PAGE.
static inline int64_t lens_values_offset(int64_t kv_heads, int64_t d_head, int64_t g) {
  return kv_heads * d_head * LENS_PAGE + g * LENS_PAGE * lens_value_width(d_head);
}

#endif
