// lens_reading.h: what rows of logits say, gathered a range of tokens at a time, so that a whole row need never exist.
#ifndef LENS_READING_H
#define LENS_READING_H
#include "lens_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What has been seen of one row x. Begins as {-INFINITY, 0, 0, 0, 0}.
typedef struct {
  double max;        // the largest so far
  double sum;        // Σ exp(x - max)
  double weighted;   // Σ exp(x - max) · (x - max)
  double divergence; // Σ exp(y - max of y) · (y - x), where y is the row that x is compared with
  int64_t above;     // how many are above the row's target
} lens_reading;

/// Reads columns first ..< first + count of rows of logits, [stacks, rows, count]; row r of each stack is compared with row r
/// of the last. Logits are taken one by one in order, in double, so what is read depends neither on where the columns are cut
/// nor on the threads. readings: [stacks, rows]; targets, or NULL: the logit of each row's target. top_ids and top_logits:
/// [stacks, rows, top], the largest so far, largest first, the earlier of equals first. Infinities as in IEEE arithmetic, but
/// for what is impossible (-inf), which adds nothing; a NaN makes its row NaN.
void lens_read_logits(int64_t stacks, int64_t rows, int64_t first, int64_t count, const float *logits, const float *targets,
                      int64_t top, lens_reading *readings, int32_t *top_ids, float *top_logits);

#ifdef __cplusplus
}
#endif
#endif
