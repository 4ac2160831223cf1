// dispatch.c: which instruction set runs. The list is in priority order; LENS_ISA forces one.
//
// A forced set that is unknown, or that this machine cannot run, is never replaced by another: the answer is NULL and
// the caller reports it. An empty LENS_ISA counts as not set.
#include "lens_isa.h"

#include <pthread.h>
#include <stdlib.h>

static const lens_isa *const sets[] = {
#if defined(__x86_64__)
    &lens_isa_avx512vnni,
    &lens_isa_avx512,
    &lens_isa_avx2vnni,
    &lens_isa_avx2,
#endif
    &lens_isa_portable,
};
#define LENS_SET_COUNT ((int32_t)(sizeof sets / sizeof sets[0]))

int32_t lens_isa_count(void) { return LENS_SET_COUNT; }

const lens_isa *lens_isa_at(int32_t index) { return index >= 0 && index < LENS_SET_COUNT ? sets[index] : NULL; }

const char *lens_isa_name(const lens_isa *isa) { return isa->name; }

bool lens_isa_runnable(const lens_isa *isa) { return isa->runnable(); }

const lens_isa *lens_isa_named(const char *name) {
  const bool forced = name && name[0];
  for (int32_t i = 0; i < LENS_SET_COUNT; i++) {
    if (forced && strcmp(name, sets[i]->name) != 0) continue;
    if (sets[i]->runnable()) return sets[i];
  }
  return NULL;
}

static const lens_isa *active;
static pthread_once_t decided = PTHREAD_ONCE_INIT;

static void decide(void) { active = lens_isa_named(getenv("LENS_ISA")); }

const lens_isa *lens_isa_active(void) {
  pthread_once(&decided, decide);
  return active;
}
