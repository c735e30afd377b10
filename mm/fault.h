/* SPDX-License-Identifier: MIT */
/* The question each injection point asks; see <spanheap/fault.h>. */
#ifndef MM_FAULT_H
#define MM_FAULT_H

#include <spanheap/fault.h>
#include <spanheap/gfp.h>

#include "lib/atomic.h"
#include "lib/bits.h"

extern uint32_t mm_fail_armed;

bool mm_fail_decide(void);

/*
 * Between them nothing fails on purpose for this CPU in this context, however
 * deep inside: for __GFP_NOFAIL, of which the points inside do not know. Pinned.
 */
void mm_fail_exempt_begin(void);
void mm_fail_exempt_end(void);

/** mm_should_fail() - true if this point is to fail now. One load while off. */
static inline bool mm_should_fail(gfp_t gfp)
{
	return unlikely(atomic_load_relaxed(&mm_fail_armed)) && !(gfp & __GFP_NOFAIL) &&
	       mm_fail_decide();
}

#endif
