/* SPDX-License-Identifier: MIT */
/*
 * Large objects: of more than 32 KiB, each a run of whole pages with a span of its own.
 *
 *	up to 1 MiB	the run may wait for the next request (medium.h)
 *	above		to the page heap and back
 *
 * Such a span owns nothing but itself: its cpu is SPAN_LARGE while the object is
 * handed out, and only its first page has an entry in the page map. So an object
 * can grow and shrink where it is by nothing but its run.
 */
#ifndef MM_LARGE_H
#define MM_LARGE_H

#include "mm/span.h"

/** large_pages() - of an object of @size bytes. */
static inline size_t large_pages(size_t size)
{
	return size / PAGE_SIZE + !!(size % PAGE_SIZE);
}

/** large_alloc() - an object, at a multiple of @align, of @size if that is a power of two; cleared
 * if @gfp says so. */
void *large_alloc(size_t size, size_t align, gfp_t gfp);

/** large_free() - free the object at @pa. Return: -1, or the enum mm_misuse found. */
int large_free(struct span *span, phys_addr_t pa);

/** large_freed() - what another free of the object at @pa is, whose span is nobody's by now. */
int large_freed(const struct span *span, phys_addr_t pa);

/**
 * large_resize() - give an object another number of pages where it is.
 *
 * To grow it needs free frames behind it, in the window that @gfp names; to shrink
 * nothing. Return: was it done?
 */
bool large_resize(struct span *span, size_t npages, gfp_t gfp);

/** large_allocs() - how many there ever were. */
uint64_t large_allocs(void);

#endif
