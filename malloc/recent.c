// SPDX-License-Identifier: MIT
/*
 * Recently freed objects of full spans.
 *
 *	free(p) ──► its span is full: clear the bit, remember p ──► object[class] of this CPU
 *	malloc() ─► its window is empty: set the bit of one that is remembered
 *
 * A program that replaces objects at random frees in a full span nearly each time,
 * and finds its window empty nearly each time. Listing that span for one free
 * object, and loading a window with it, is some 500 instructions a pair.
 *
 * The bits alone say what is free; an address here is a hint. One is good if its
 * object is free and its span full but for such: not listed, not in a window. Else
 * somebody has listed the span meanwhile, who finds all that is free in it by
 * the bits, and the hint is dropped. So a span may end, or change hands, without a
 * look at this table; and a span that is not listed has a hint for each of its
 * free objects, or mail, which lists it.
 *
 * Only the CPU's thread touches its table, its spans' lists and its bits: no lock.
 */
#include <spanheap/page.h>

#include "arch/malloc/port.h"
#include "malloc/heap.h"
#include "mm/mcache.h"

#define RECENT_OBJECTS 31

static struct recent {
	uint64_t n;
	void *object[RECENT_OBJECTS];
} recent[PORT_MAX_CPUS][NR_SIZE_CLASSES];

static bool is_full_and_ours(const struct span *span)
{
	return span->window == &window_unlisted && span->cpu == malloc_self.cpu;
}

bool recent_put(struct span *span, unsigned index, void *p)
{
	const struct span_class *class = span->class;
	struct recent *own;

	if (!is_full_and_ours(span) || class->stack_window)
		return false;
	own = &recent[malloc_self.cpu][class->index / 2];
	if (own->n == RECENT_OBJECTS || !bit_of(span->used[index / 64], index))
		return false;
	(void)cpu_local_and(&span->used[index / 64], all_but(index));
	own->object[own->n++] = p;
	return true;
}

/* Its span if the hint is good, and the object's number. */
static struct span *good_span(const void *p, unsigned class, unsigned *index)
{
	phys_addr_t pa = virt_to_phys(p);
	struct span *span = pagemap_lookup(pa);
	uint64_t product = (pa - span->base) * span->magic;

	*index = (unsigned)(product >> 32);
	if ((uint32_t)product >= span->magic || !is_full_and_ours(span) ||
	    span->class != &kmalloc_classes[2 * class] ||
	    bit_of(span->used[*index / 64], *index))
		return NULL;
	return span;
}

void *recent_take(unsigned class)
{
	struct recent *own;

	if (malloc_self.cpu == MALLOC_NO_CPU)
		return NULL;
	own = &recent[malloc_self.cpu][class];
	while (own->n) {
		void *p = own->object[--own->n];
		unsigned index;
		struct span *span = good_span(p, class, &index);

		if (likely(span)) {
			cpu_local_or(&span->used[index / 64], 1ULL << index % 64);
			mcache_heap(malloc_self.cpu)->loaded++;
			return p;
		}
	}
	return NULL;
}

void recent_flush(void)
{
	for (unsigned class = 0; class < NR_SIZE_CLASSES; class++) {
		struct recent *own = &recent[malloc_self.cpu][class];

		while (own->n) {
			unsigned index;
			struct span *span = good_span(own->object[--own->n], class, &index);

			if (span)
				mcache_list(span);
		}
	}
}
