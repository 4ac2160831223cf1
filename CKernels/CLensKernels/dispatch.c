// Which instruction set runs: the best that the processor and the system support, or the one that LENS_ISA names.
#include "lens_isa.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const lens_isa *const sets[] = {
#if defined(__x86_64__)
    &lens_isa_avx512,
    &lens_isa_avx2,
#endif
    &lens_isa_portable,
};

int32_t lens_isa_count(void) { return (int32_t)(sizeof sets / sizeof sets[0]); }

const lens_isa *lens_isa_at(int32_t index) { return index >= 0 && index < lens_isa_count() ? sets[index] : NULL; }

const char *lens_isa_name(const lens_isa *isa) { return isa->name; }

bool lens_isa_runnable(const lens_isa *isa) { return isa->runnable(); }

const lens_isa *lens_isa_choose(const char *name) {
  for (int32_t i = 0; i < lens_isa_count(); i++) {
    if (!sets[i]->runnable()) continue;
    if (!name || !*name || strcmp(name, sets[i]->name) == 0) return sets[i];
  }
  return NULL;
}

static const lens_isa *active;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void choose_active(void) { active = lens_isa_choose(getenv("LENS_ISA")); }

const lens_isa *lens_isa_active(void) {
  pthread_once(&once, choose_active);
  return active;
}
