/* SPDX-License-Identifier: MIT */
/* The question each injection point asks; see <spanheap/fault.h>. */
#ifndef MM_FAULT_H
#define MM_FAULT_H

#include <spanheap/fault.h>
#include <spanheap/gfp.h>

#include "lib/atomic.h"
#include "lib/bits.h"

extern uint32_t mm_fail_armed;

/* Called when something was armed: sees to it that no cache serves a request unasked. */
extern void (*mm_fail_hide)(void);

/* Calls with __GFP_NOFAIL under way. */
extern uint32_t mm_fail_spared;

/** mm_fail_watch() - hide the caches, as while armed, although nothing is to fail. */
void mm_fail_watch(bool on);

bool mm_fail_decide(void);

/** mm_should_fail() - true if this point is to fail now. One load while off. */
static inline bool mm_should_fail(gfp_t gfp)
{
	return unlikely(atomic_load_relaxed(&mm_fail_armed)) && !(gfp & __GFP_NOFAIL) &&
	       mm_fail_decide();
}

/**
 * mm_fail_spare() - if @gfp says so, no point fails before mm_fail_resume(), inner ones included.
 *
 * Other calls are spared meanwhile as well. Return: for mm_fail_resume().
 */
static inline bool mm_fail_spare(gfp_t gfp)
{
	if (likely(!(gfp & __GFP_NOFAIL)))
		return false;
	(void)atomic_fetch_add(&mm_fail_spared, 1);
	return true;
}

static inline void mm_fail_resume(bool spared)
{
	if (unlikely(spared))
		(void)atomic_fetch_sub(&mm_fail_spared, 1);
}

#endif
