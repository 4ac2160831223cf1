// Attention of a few queries of one head. Scores of the whole row stay in the caller's scratch; the chunks of every sum
// over keys are the pages. A row has a range lo..<hi of slots that it reads; nothing outside touches its numbers.

/// Where one query's scores and sums run, in slots.
typedef struct {
  int64_t lo, hi;       // slots read
  int64_t position;     // of the query
} attend_range;

/// What one call works on.
typedef struct {
  const lens_attention_args *args;
  int64_t batch_row, head, query, count;
  int64_t shift;        // slot of position 0
  int64_t slots;        // stride of a score row in scratch
  const float *const *pages;
  int64_t key_offset, value_offset, d_value; // inside a page
  attend_range range[LENS_QUERY_TILE];
} attend_job;

LENS_INLINE int64_t attend_square(const attend_job *job, int64_t i) {
  const lens_attention_args *a = job->args;
  return ((job->batch_row * a->heads + job->head) * a->queries + job->query + i) * a->keys;
}

LENS_INLINE bool attend_masked(const attend_job *job, int64_t key) {
  const lens_attention_args *a = job->args;
  return a->key_mask && !a->key_mask[job->batch_row * a->keys + key];
}

/// The range of visible keys of query i; empty ranges are 0..<0.
LENS_INLINE attend_range attend_visible(const attend_job *job, int64_t i) {
  const lens_attention_args *a = job->args;
  int64_t position = a->keys - a->queries + job->query + i;
  int64_t lo = a->first[job->batch_row], hi = a->causal ? position + 1 : a->keys;
  if (a->window > 0) lo = lens_max(lo, position - a->window + 1);
  if (lo >= hi) lo = hi = -job->shift;
  return (attend_range){lo + job->shift, hi + job->shift, position};
}

/// Scores of all queries over their pages, into scratch.
static void attend_scores(const attend_job *job, float *scores) {
  const lens_attention_args *a = job->args;
  int64_t lo = INT64_MAX, hi = 0;
  for (int64_t i = 0; i < job->count; i++)
    if (job->range[i].lo < job->range[i].hi) {
      lo = lens_min(lo, job->range[i].lo);
      hi = lens_max(hi, job->range[i].hi);
    }
  const float *q = a->q + ((job->batch_row * a->queries + job->query) * a->heads + job->head) * a->d_head;
  for (int64_t page = lo / LENS_PAGE; page * LENS_PAGE < hi; page++)
    multiply_block(job->count, LENS_PAGE / 16, a->d_head, q, a->heads * a->d_head, job->pages[page] + job->key_offset, LENS_PAGE,
                   true, scores + page * LENS_PAGE, job->slots);
}

/// Scale, cap, bias and mask of one row; -inf up to the page's borders.
static void attend_finish_scores(const attend_job *job, int64_t i, float *row) {
  const lens_attention_args *a = job->args;
  attend_range range = job->range[i];
  int64_t begin = range.lo / LENS_PAGE * LENS_PAGE, end = (range.hi + LENS_PAGE - 1) / LENS_PAGE * LENS_PAGE;
  for (int64_t s = range.lo; s < range.hi; s++) row[s] = row[s] * a->score_scale;
  if (a->softcap > 0)
    for (int64_t s = range.lo; s < range.hi; s++) row[s] = a->softcap * __builtin_tanhf(row[s] / a->softcap);
  if (a->alibi)
    for (int64_t s = range.lo; s < range.hi; s++)
      row[s] = row[s] + a->alibi[job->head] * (float)(s - job->shift - range.position);
  if (a->key_mask)
    for (int64_t s = range.lo; s < range.hi; s++)
      if (attend_masked(job, s - job->shift)) row[s] = -__builtin_inff();
  for (int64_t s = begin; s < range.lo; s++) row[s] = -__builtin_inff();
  for (int64_t s = range.hi; s < end; s++) row[s] = -__builtin_inff();
}

/// One row of scores or pattern given by the caller; the range widens to what is not `nothing` (-inf, or 0).
static void attend_take(attend_job *job, int64_t i, const float *given, float nothing, float *row) {
  int64_t keys = job->args->keys, lo = job->range[i].lo, hi = job->range[i].hi;
  for (int64_t key = 0; key < keys; key++)
    if (!(given[key] == nothing)) {
      lo = lo < hi ? lens_min(lo, key + job->shift) : key + job->shift;
      hi = lens_max(hi, key + job->shift + 1);
    }
  job->range[i].lo = lo;
  job->range[i].hi = hi;
  int64_t begin = lo / LENS_PAGE * LENS_PAGE, end = (hi + LENS_PAGE - 1) / LENS_PAGE * LENS_PAGE;
  for (int64_t s = begin; s < end; s++) row[s] = s >= lo && s < hi ? given[s - job->shift] : nothing;
}

/// A row of scratch to a row of the caller's, `nothing` outside the range.
static void attend_store(const attend_job *job, int64_t i, const float *row, float nothing, float *out) {
  attend_range range = job->range[i];
  for (int64_t key = 0; key < job->args->keys; key++) {
    int64_t s = key + job->shift;
    out[key] = s >= range.lo && s < range.hi ? row[s] : nothing;
  }
}

/// Softmax of one row in place: sums in chunks of a page, each in sixteen lanes.
static void attend_softmax(const attend_job *job, int64_t i, float *row) {
  attend_range range = job->range[i];
  int64_t begin = range.lo / LENS_PAGE * LENS_PAGE, end = (range.hi + LENS_PAGE - 1) / LENS_PAGE * LENS_PAGE;
  if (range.lo >= range.hi) return;
  float max = row_max(end - begin, row + begin);
  v16 shift = splat16(max == -__builtin_inff() ? 0.0f : max);
  float total = 0.0f;
  for (int64_t chunk = begin; chunk < end; chunk += LENS_PAGE) {
    v16 sum = splat16(0.0f);
    for (int64_t s = chunk; s < chunk + LENS_PAGE; s += 16) {
      v16 e = exp16(load16(row + s) - shift);
      store16(row + s, e);
      sum += e;
    }
    // Slots outside the range are exp(-inf) = 0, unless the shift is infinite: then the row is NaN by itself.
    float part = sum16(sum);
    total = chunk == begin ? part : total + part;
  }
  v16 inverse = splat16(total == 0.0f ? 0.0f : 1.0f / total);
  for (int64_t s = begin; s < end; s += 16) store16(row + s, load16(row + s) * inverse);
}

/// z of all queries: pattern times values, one chain a chunk. Rows whose part of the page differs go one by one.
static void attend_values(const attend_job *job, const float *pattern, float *z) {
  int64_t lo = INT64_MAX, hi = 0;
  bool started[LENS_QUERY_TILE] = {false};
  for (int64_t i = 0; i < job->count; i++)
    if (job->range[i].lo < job->range[i].hi) {
      lo = lens_min(lo, job->range[i].lo);
      hi = lens_max(hi, job->range[i].hi);
    }
  int vectors = (int)(job->d_value / 16);
  for (int64_t page = lo / LENS_PAGE; page * LENS_PAGE < hi; page++) {
    int64_t slot = page * LENS_PAGE;
    const float *values = job->pages[page] + job->value_offset;
    bool same = true;
    for (int64_t i = 0; i < job->count; i++)
      same = same && job->range[i].lo <= slot && job->range[i].hi >= slot + LENS_PAGE && started[i] == started[0];
    if (same) {
      multiply_block(job->count, vectors, LENS_PAGE, pattern + slot, job->slots, values, job->d_value, !started[0], z, job->d_value);
      for (int64_t i = 0; i < job->count; i++) started[i] = true;
      continue;
    }
    for (int64_t i = 0; i < job->count; i++) {
      int64_t from = lens_max(slot, job->range[i].lo), to = lens_min(slot + LENS_PAGE, job->range[i].hi);
      if (from >= to) continue;
      multiply_block(1, vectors, to - from, pattern + i * job->slots + from, job->slots, values + (from - slot) * job->d_value,
                     job->d_value, !started[i], z + i * job->d_value, job->d_value);
      started[i] = true;
    }
  }
  for (int64_t i = 0; i < job->count; i++)
    if (!started[i])
      for (int64_t d = 0; d < job->d_value; d++) z[i * job->d_value + d] = 0.0f;
}

static attend_job attend_prepare(const lens_attention_args *a, int64_t batch_row, int64_t head, int64_t query, int64_t count) {
  attend_job job = {.args = a, .batch_row = batch_row, .head = head, .query = query, .count = count};
  int64_t group = head / (a->heads / a->kv_heads);
  job.shift = lens_page_shift(a->first, batch_row);
  job.slots = a->pages_per_row * LENS_PAGE;
  job.pages = a->pages + batch_row * a->pages_per_row;
  job.d_value = lens_value_width(a->d_head);
  job.key_offset = group * a->d_head * LENS_PAGE;
  job.value_offset = a->kv_heads * a->d_head * LENS_PAGE + group * LENS_PAGE * job.d_value;
  for (int64_t i = 0; i < count; i++) job.range[i] = attend_visible(&job, i);
  return job;
}

static void LENS_FN(attend)(const lens_attention_args *a, int64_t batch_row, int64_t head, int64_t query, int64_t count,
                            float *scratch) {
  attend_job job = attend_prepare(a, batch_row, head, query, count);
  float *rows = scratch, *z = scratch + LENS_QUERY_TILE * job.slots;
  if (!a->scores_in && !a->pattern_in) attend_scores(&job, rows);
  for (int64_t i = 0; i < count; i++) {
    float *row = rows + i * job.slots;
    int64_t square = attend_square(&job, i);
    if (a->pattern_in) {
      attend_take(&job, i, a->pattern_in + square, 0.0f, row);
    } else {
      if (a->scores_in) attend_take(&job, i, a->scores_in + square, -__builtin_inff(), row);
      else attend_finish_scores(&job, i, row);
      if (a->scores_out) attend_store(&job, i, row, -__builtin_inff(), a->scores_out + square);
      if (!a->pattern_out && !a->z) continue;
      attend_softmax(&job, i, row);
    }
    if (a->pattern_out) attend_store(&job, i, row, 0.0f, a->pattern_out + square);
  }
  if (!a->z) return;
  attend_values(&job, rows, z);
  for (int64_t i = 0; i < count; i++)
    for (int64_t d = 0; d < a->d_head; d++)
      a->z[((batch_row * a->queries + query + i) * a->heads + head) * a->d_head + d] = z[i * job.d_value + d];
}
