// SPDX-License-Identifier: MIT
/*
 * krealloc(): what becomes of an object that is to have another size.
 *
 *	object	   asked for	what is done
 *	any	   a bit less	stays
 *	small	   else		moves to an object of the right class
 *	large	   large	its run grows or shrinks where it is; only if other
 *				frames are in the way it moves
 *	large	   small	moves; shrinks if it cannot
 */
#include <spanheap/slab.h>

#include "lib/string.h"
#include "mm/fault.h"
#include "mm/kmalloc.h"
#include "mm/large.h"
#include "mm/sizeclass.h"

/* Room that an object may keep unused when it shrinks. */
#define SMALL_ENOUGH 64

/* Not worth to be moved or changed. */
static bool stays(size_t old, size_t size, bool large)
{
	if (large && size > KMALLOC_MAX_SMALL)
		return large_pages(size) * PAGE_SIZE == old;
	return size <= old && (old <= SMALL_ENOUGH || size >= old / 2);
}

/* In place, a large object; true if it has the new size now. */
static bool resize_run(struct span *span, size_t old, size_t size, gfp_t gfp)
{
	if (!large_resize(span, large_pages(size), gfp))
		return false;
	if (gfp & __GFP_ZERO && size > old)
		memset((char *)phys_to_virt(span->base) + old, 0,
		       large_pages(size) * PAGE_SIZE - old);
	return true;
}

static void *move_object(const void *p, size_t old, size_t size, gfp_t gfp)
{
	void *fresh = kmalloc_any(size, gfp);

	if (!fresh)
		return NULL;
	if (old)
		memcpy(fresh, p, MIN(old, size));
	kfree(p);
	return fresh;
}

void *krealloc(const void *p, size_t size, gfp_t gfp)
{
	size_t old = ksize(p);
	struct span *span;
	void *fresh;
	bool large;

	/* Not an object: ksize() has said so. */
	if (!old && p && p != zerobase)
		return NULL;
	if (!size) {
		kfree(p);
		return zerobase;
	}
	if (!old)
		return move_object(p, old, size, gfp);
	span = pagemap_find(virt_to_phys(p));
	large = !span->class && span->base == virt_to_phys(p);
	if (stays(old, size, large))
		return (void *)p;
	if (large && size > KMALLOC_MAX_SMALL) {
		if (size > old && mm_should_fail(gfp))
			return kmalloc_failed(size, gfp);
		if (resize_run(span, old, size, gfp))
			return (void *)p;
	}
	fresh = move_object(p, old, size, gfp);
	if (fresh || size > old)
		return fresh;
	if (large)
		(void)resize_run(span, old, size, gfp);
	return (void *)p;
}
