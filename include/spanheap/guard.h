/* SPDX-License-Identifier: MIT */
/*
 * Guarded objects: some or all kmalloc() objects at the end of pages of their own,
 * before pages that fault, so that accesses beside an object and after its end are
 * found.
 *
 *	    slot                                    next slot
 *	┌───────────────────┬────────┬─┬──────────┬──────────
 *	│ pattern           │ object │p│ Prepared │
 *	└───────────────────┴────────┴─┴──────────┴──────────
 *	 a write here is     zeroed   │  faults at once
 *	 found at the free   at first └ alignment: found at the free; its first
 *	                                byte is 0, so that strings end
 *
 * A freed object is filled with a pattern and looked at when its slot's turn
 * comes again, which is as late as can be: a write in between is found then.
 *
 * Chosen are requests that no window of the CPU can serve at once, so that a
 * sample of them costs the hot paths nothing; to get all requests, the windows
 * are hidden (fault.h works likewise, and goes before). When all slots are in use
 * objects are as they always are. Objects of caches (kmem_cache.h) are not guarded.
 *
 * After KFENCE of Linux and GWP-ASan; but no page changes its mapping when objects
 * come and go, so that every context may allocate and free.
 */
#ifndef SPANHEAP_GUARD_H
#define SPANHEAP_GUARD_H

#include <spanheap/types.h>

/**
 * mm_guard_start() - make slots, of Reserved memory.
 * @nslots: how many
 * @largest: bytes of the largest object that gets one; rounded up to a power of two,
 *	FRAME_SIZE * 2 at least. A slot takes twice that
 * @one_in: as for mm_guard_rate()
 *
 * Task context, waits. Return: 0; -EBUSY if there are slots already, -EINVAL, -ENOMEM
 * if no Reserved memory is large enough.
 */
int mm_guard_start(size_t nslots, size_t largest, unsigned one_in);

/**
 * mm_guard_rate() - how many are guarded.
 * @one_in: 1: all requests; n: one in n of those that find no object in a window;
 *	0: none from now on
 *
 * Task context.
 */
void mm_guard_rate(unsigned one_in);

/**
 * mm_guard_stop() - give the slots back. Others may allocate and free meanwhile.
 *
 * Looks at every slot once more. Task context, waits; not beside mm_guard_start(),
 * mm_guard_rate() or itself. Return: 0; -EBUSY if guarded objects are in use, or on
 * their way to or from a caller: then no more of them are made.
 */
int mm_guard_stop(void);

/** mm_guard_live() - guarded objects that callers hold. */
size_t mm_guard_live(void);

#endif
