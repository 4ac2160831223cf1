// Linear layers: rows of one panel, block by block of k, and the epilogue.

/// Sixteen columns of one row of the epilogue; the caller has loaded what is there.
LENS_INLINE v16 epilogue16(const lens_epilogue *epilogue, v16 linear, v16 gate, v16 residual) {
  v16 value = epilogue->gate ? act16(epilogue->act, gate) * linear : act16(epilogue->act, linear);
  return epilogue->residual ? residual + value : value;
}

/// One row of totals to the outputs. total: the panel's columns, from absolute column `column` on.
LENS_INLINE void finish_row(const lens_linear_job *job, int64_t row, int64_t column, const float *total) {
  const lens_epilogue *epilogue = &job->epilogue;
  int64_t begin = lens_max(job->n_begin, column), end = lens_min(job->n_end, column + LENS_PANEL);
  const v16 zero = splat16(0.0f);
  for (int64_t n = begin; n < end;) {
    int64_t place = row * job->ld_out + n, count = lens_min(16, end - n);
    v16 linear, gate = zero, residual = zero;
    if (count == 16) {
      linear = load16(total + n - column);
      if (epilogue->bias) linear += load16(epilogue->bias + n);
      if (epilogue->gate) gate = load16(epilogue->gate + place);
      if (epilogue->residual) residual = load16(epilogue->residual + place);
      if (epilogue->linear_out) store16(epilogue->linear_out + place, linear);
      if (job->out) store16(job->out + place, epilogue16(epilogue, linear, gate, residual));
    } else {
      linear = load_part(total + n - column, count, 0.0f);
      if (epilogue->bias) linear += load_part(epilogue->bias + n, count, 0.0f);
      if (epilogue->gate) gate = load_part(epilogue->gate + place, count, 0.0f);
      if (epilogue->residual) residual = load_part(epilogue->residual + place, count, 0.0f);
      if (epilogue->linear_out) store_part(epilogue->linear_out + place, count, linear);
      if (job->out) store_part(job->out + place, count, epilogue16(epilogue, linear, gate, residual));
    }
    n += count;
  }
}

static void LENS_FN(linear)(const lens_linear_job *job, int64_t panel, int64_t m_begin, int64_t m_end) {
  float total[LENS_ROW_CHUNK * LENS_PANEL] __attribute__((aligned(64)));
  int64_t rows = m_end - m_begin, column = panel * LENS_PANEL;
  // Vectors of the panel that hold wanted columns.
  int64_t first = lens_max(0, job->n_begin - column) / 16;
  int64_t last = (lens_min(LENS_PANEL, job->n_end - column) + 15) / 16;
  const float *weights = job->packed + panel * job->k * LENS_PANEL + 16 * first;
  const float *x = job->x + m_begin * job->ld_x;
  if (job->k_begin == job->k_end)
    for (int64_t i = 0; i < rows * LENS_PANEL; i++) total[i] = 0.0f;
  for (int64_t k = job->k_begin; k < job->k_end; k += job->block) {
    int64_t count = lens_min(job->block, job->k_end - k);
    multiply_block(rows, (int)(last - first), count, x + (k - job->k_begin), job->ld_x, weights + k * LENS_PANEL, LENS_PANEL,
                   k == job->k_begin, total + 16 * first, LENS_PANEL);
  }
  for (int64_t i = 0; i < rows; i++) finish_row(job, m_begin + i, column, total + i * LENS_PANEL);
}
