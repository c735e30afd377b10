/* SPDX-License-Identifier: MIT */
/* Many objects out of a window at once, by runs of neighbours. */
#ifndef MM_BULK_H
#define MM_BULK_H

#include "mm/span.h"

/* @n neighbours, the first at @at. Four at a time: half the instructions. */
static inline void bulk_fill(void **p, size_t n, uintptr_t at, size_t size)
{
	void **end = p + n;

	for (; end - p >= 4; p += 4, at += 4 * size) {
		p[0] = (void *)at;
		p[1] = (void *)(at + size);
		p[2] = (void *)(at + 2 * size);
		p[3] = (void *)(at + 3 * size);
	}
	for (; p < end; at += size)
		*p++ = (void *)at;
}

/** bulk_take() - up to @n objects out of a window of the running context, pinned. */
static inline size_t bulk_take(struct window *window, size_t n, void **p)
{
	uint64_t bits = window->bits;
	size_t done = 0;

	while (bits && done < n) {
		unsigned first = lowest_bit(bits);
		uint64_t behind = ~(bits >> first);
		size_t run = MIN(behind ? lowest_bit(behind) : 64U, n - done);

		bulk_fill(p + done, run, window->base + (uintptr_t)first * window->size,
			  window->size);
		bits &= ~mask_range(first, (unsigned)run);
		done += run;
	}
	if (done)
		atomic_store_relaxed(&window->bits, bits);
	return done;
}

#endif
