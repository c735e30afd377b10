// SPDX-License-Identifier: MIT
/*
 * Large objects, kept for the next request of their size.
 *
 *	size ─► pages, rounded up to four steps a doubling ─► kept[step] of this CPU
 *
 *	5 6 7 8 │ 10 12 14 16 │ 20 24 28 32 │ 40 48 56 64 │ 80 96 112 128 pages of 8 KiB
 *
 * Beyond 32 KiB an object is a span of its own, which takes locks, a search and
 * the page map to make. What is freed here stays a span, marked as kept: so a
 * second free of it is found. What rounding adds is not touched and costs address
 * space alone.
 *
 * Only the CPU's thread touches its kept[]: no lock, no gate. Who frees marks by
 * compare-and-swap, since two threads may free the same.
 */
#include <spanheap/page.h>

#include "arch/malloc/port.h"
#include "malloc/heap.h"
#include "mm/span.h"

#define STEPS 20
#define KEPT_OBJECTS 8
#define KEPT_PAGES (4UL << 20 >> PAGE_SHIFT)

static struct kept {
	uint32_t pages; /* in all */
	uint8_t n[STEPS];
	struct span *span[STEPS][KEPT_OBJECTS];
} kept[PORT_MAX_CPUS];

static unsigned shift_of(size_t npages)
{
	return 31 - 2 - (unsigned)__builtin_clz((unsigned)npages - 1);
}

/* 5 to 128 pages. */
static unsigned step_of(size_t npages)
{
	unsigned shift = shift_of(npages);

	return shift * 4 + (unsigned)((npages - 1) >> shift) - 4;
}

static size_t round_to_step(size_t npages)
{
	return round_up(npages, 1UL << shift_of(npages));
}

void *kept_alloc(size_t size, gfp_t gfp)
{
	size_t npages = (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
	struct span *span;
	struct kept *own;
	unsigned step = step_of(npages);

	if (likely(malloc_self.cpu != MALLOC_NO_CPU)) {
		own = &kept[malloc_self.cpu];
		if (own->n[step]) {
			span = own->span[step][--own->n[step]];
			own->pages -= span->size;
			span_reuse(span);
			return phys_to_virt(span->base);
		}
	}
	return heap_alloc(round_to_step(npages) << PAGE_SHIFT, 1, gfp);
}

bool kept_free(struct span *span, phys_addr_t pa)
{
	struct kept *own;
	unsigned step;

	if (atomic_peek(&span->cpu) != SPAN_LARGE || span->base != pa ||
	    span->size > LARGE_MAX >> PAGE_SHIFT || span->size <= KMALLOC_MAX_SMALL >> PAGE_SHIFT ||
	    malloc_self.cpu == MALLOC_NO_CPU || round_to_step(span->size) != span->size)
		return false;
	own = &kept[malloc_self.cpu];
	step = step_of(span->size);
	if (own->n[step] == KEPT_OBJECTS || own->pages + span->size > KEPT_PAGES ||
	    !span_keep(span))
		return false;
	own->span[step][own->n[step]++] = span;
	own->pages += span->size;
	return true;
}

void kept_flush(void)
{
	struct kept *own = &kept[malloc_self.cpu];

	for (unsigned step = 0; step < STEPS; step++)
		while (own->n[step]) {
			struct span *span = own->span[step][--own->n[step]];

			own->pages -= span->size;
			span_reuse(span);
			kfree(phys_to_virt(span->base));
		}
}
