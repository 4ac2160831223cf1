// lens_int8.h: activations rounded to eight bits: where they lie, and the groups that share a scale. Shared by the driver
// that gives out the memory and by the row kernels that fill and read it.
//
// A group is a run of k that shares one scale in the weights and one chain: it ends where a span of the format ends (32
// rows, or 16), where a chain ends, and at k_end. So a head's rows of W_O are rounded alike alone and among all heads.
#ifndef LENS_INT8_H
#define LENS_INT8_H
#include "lens_formats.h"
#include "lens_isa.h"

/// Rows that share a scale in the weights.
static inline int64_t lens_group_span(lens_format format) {
  return format == LENS_FORMAT_Q2_K || format == LENS_FORMAT_Q3_K || format == LENS_FORMAT_Q6_K ? 16 : 32;
}

/// Where the chain that row k is in ends.
static inline int64_t lens_chain_end(const lens_linear_call *call, int64_t k) {
  const int64_t left = call->block - (k - call->k_begin) % call->block;
  return left < call->k_end - k ? k + left : call->k_end;
}

/// Where the group that begins at row k ends.
static inline int64_t lens_group_end(const lens_linear_call *call, int64_t k) {
  const int64_t span = lens_group_span(call->w.format), end = (k / span + 1) * span, chain = lens_chain_end(call, k);
  return end < chain ? end : chain;
}

/// Words of four rows that the group k ..< end touches; its neighbours' rows in them count as zero.
static inline int64_t lens_group_words(int64_t k, int64_t end) { return (end + 3) / 4 - k / 4; }

/// Rows of k that are expanded together, and the most words and groups they are in: chains begin and end anywhere.
#define LENS_INT8_ROWS 256
/// The same where one tile has all rows of x.
#define LENS_INT8_FEW 64
#define LENS_INT8_WORDS (LENS_INT8_ROWS / 4 + 1)
#define LENS_INT8_GROUPS (LENS_INT8_ROWS / 16 + 1)

#endif
