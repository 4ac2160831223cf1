// reading.c: lens_read_logits. Sums start anew, scaled down, whenever a larger logit comes.
#include "lens_reading.h"
#include "lens_parallel.h"
#include <math.h>

/// Columns whose weights in the compared row are kept for the other rows.
#define READING_BLOCK 256

/// Adds a logit. Returns its weight, exp(x - max); sums of earlier weights have been scaled by *shrink.
static inline double take(lens_reading *reading, double x, double *shrink) {
  *shrink = 1.0;
  if (x > reading->max) {
    *shrink = exp(reading->max - x);
    // The first has nothing before it.
    reading->weighted = reading->sum == 0.0 ? 0.0 : *shrink * (reading->weighted + (reading->max - x) * reading->sum);
    reading->sum = reading->sum * *shrink + 1.0;
    reading->max = x;
    return 1.0;
  }
  if (x == -INFINITY) return 0.0;
  const double weight = exp(x - reading->max);
  reading->sum += weight;
  reading->weighted += weight * (x - reading->max);
  return weight;
}

static inline void rank(float x, int32_t id, int64_t filled, int64_t top, int32_t *ids, float *logits) {
  if (filled == top && !(x > logits[top - 1])) return;
  int64_t place = filled < top ? filled : top - 1;
  for (; place > 0 && x > logits[place - 1]; place--) {
    logits[place] = logits[place - 1];
    ids[place] = ids[place - 1];
  }
  logits[place] = x;
  ids[place] = id;
}

/// One row of every stack.
static void read_row(int64_t stacks, int64_t rows, int64_t row, int64_t first, int64_t count, const float *logits,
                     const float *targets, int64_t top, lens_reading *readings, int32_t *top_ids, float *top_logits) {
  const float *compared = logits + ((stacks - 1) * rows + row) * count;
  lens_reading *own = readings + (stacks - 1) * rows + row;
  double weights[READING_BLOCK], shrinks[READING_BLOCK];
  for (int64_t begin = 0; begin < count; begin += READING_BLOCK) {
    const int64_t size = lens_min(READING_BLOCK, count - begin);
    for (int64_t i = 0; i < size; i++) weights[i] = take(own, compared[begin + i], shrinks + i);
    for (int64_t stack = 0; stack < stacks; stack++) {
      const int64_t place = stack * rows + row;
      const float *x = logits + place * count + begin;
      lens_reading *reading = readings + place;
      for (int64_t i = 0; i < size; i++) {
        double unused;
        if (reading != own) take(reading, x[i], &unused);
        if (weights[i] != 0.0)
          reading->divergence = reading->divergence * shrinks[i] + weights[i] * ((double)compared[begin + i] - (double)x[i]);
        if (targets && x[i] > targets[place]) reading->above++;
        const int64_t id = first + begin + i;
        rank(x[i], (int32_t)id, lens_min(id, top), top, top_ids + place * top, top_logits + place * top);
      }
    }
  }
}

void lens_read_logits(int64_t stacks, int64_t rows, int64_t first, int64_t count, const float *logits, const float *targets,
                      int64_t top, lens_reading *readings, int32_t *top_ids, float *top_logits) {
  if (stacks <= 0 || count <= 0) return;
  const int threads = lens_threads_for(stacks * rows * count, rows);
  LENS_PARALLEL_FOR(threads, row, rows)
    read_row(stacks, rows, row, first, count, logits, targets, top, readings, top_ids, top_logits);
}
