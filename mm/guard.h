/* SPDX-License-Identifier: MIT */
/*
 * Guarded objects, seen from the slow paths of <spanheap/slab.h>; see guard.c.
 *
 * Each slot has a span of its own, of guard_class, whose magic is 0 as a large
 * object's: so the short way of a free ends before it begins.
 */
#ifndef MM_GUARD_H
#define MM_GUARD_H

#include <spanheap/guard.h>

#include "mm/span.h"

extern struct span_class guard_class;
extern uint32_t guard_one_in;

/** guard_is_due() - might the next request be guarded? Then kmalloc_guarded() is for it. */
static inline bool guard_is_due(void)
{
	return unlikely(atomic_load_relaxed(&guard_one_in));
}

/** guard_free() - free the object at @pa. Return: -1, or the enum mm_misuse found. Any context. */
int guard_free(struct span *span, phys_addr_t pa);

/** guard_holds() - is there an object that starts at @pa? */
bool guard_holds(const struct span *span, phys_addr_t pa);

/** guard_count() - what callers hold, and allocations since the start. */
void guard_count(uint64_t *live, uint64_t *bytes, uint64_t *allocs);

#endif
