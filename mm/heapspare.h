/* SPDX-License-Identifier: MIT */
/*
 * Whole free chunks at hand: 2 MiB come and go without a search, and without a bit or
 * a summary that changes, however little a CPU's cache may keep.
 *
 *	free ─► [ chunk, chunk, chunk · · ] ─► allocation	last in, first out
 *			│            ▲
 *			│            │ when there is none: the lowest, with neighbours
 *			▼            │
 *		   bits, summaries
 *		before anybody else looks for free frames
 *
 * A spare chunk is free, and is counted as free: only its bits and its summary still
 * say that it is used, and its @whole that it is not. Who is about to read bits or
 * summaries of the heap settles the spare chunks first (pageheap_update() does): so
 * they are kept from nobody, neither from another allocation nor from the scavenger.
 *
 * One stack for each window, so that low memory lasts; none of the lowest. Memory
 * that arrived at run time comes last, and so does not come here.
 *
 * Locking: heap->lock, taken inside where nothing else is said.
 */
#ifndef MM_HEAPSPARE_H
#define MM_HEAPSPARE_H

#include <spanheap/page.h>

#include "mm/pageheap.h"

/** heapspare_is_arrived() - is this memory that arrived at run time? Any context. */
bool heapspare_is_arrived(const struct pageheap *heap, phys_addr_t pa);

void heapspare_settle_all(struct pageheap *heap);

/** heapspare_settle() - all go to the tree. Lock held. */
static inline void heapspare_settle(struct pageheap *heap)
{
	if (unlikely(heap->spare[WINDOW_DMA32].n | heap->spare[WINDOW_HIGH].n))
		heapspare_settle_all(heap);
}

/** heapspare_check() - is each what it should be? Lock held. Return: how many are not. */
unsigned heapspare_check(const struct pageheap *heap);

/* There is one. */
static inline const struct whole_chunk *heapspare_pop(struct heap_spares *spares)
{
	unsigned n = spares->n - 1;

	atomic_store_relaxed(&spares->n, n);
	return &spares->chunk[n];
}

/* A chunk that the caller has claimed, lock held; false: no place. */
static force_inline bool heapspare_keep(struct pageheap *heap, struct chunk *chunk, phys_addr_t pa)
{
	uint64_t pfn = pa >> FRAME_SHIFT;
	enum mem_window w = pfn >= window_start(WINDOW_HIGH) ? WINDOW_HIGH : WINDOW_DMA32;
	struct heap_spares *spares = &heap->spare[w];
	unsigned n = spares->n;

	if (unlikely(n == HEAP_SPARES) || unlikely(pfn < window_start(WINDOW_DMA32)) ||
	    (unlikely(atomic_load_relaxed(&heap->map->arrived[heap->node])) &&
	     heapspare_is_arrived(heap, pa)))
		return false;
	spares->chunk[n] = (struct whole_chunk){ phys_to_virt(pa), chunk };
	atomic_store_relaxed(&spares->n, n + 1);
	atomic_store(&chunk->whole, CHUNK_WHOLE_SPARE);
	pageheap_count_in(heap, w, CHUNK_FRAMES);
	return true;
}

/**
 * heapspare_free() - free a chunk of this heap, if it is one used run.
 * @pa: its address
 *
 * Any context; pinned. Return: false: nothing has changed, and the heap must look at
 * it.
 */
static force_inline bool heapspare_free(struct pageheap *heap, struct chunk *chunk, phys_addr_t pa)
{
	uint8_t used = CHUNK_WHOLE_USED;
	unsigned long flags;
	bool done;

	if (!pageheap_lock(heap, &flags))
		return false;
	done = atomic_cas(&chunk->whole, &used, CHUNK_NOT_WHOLE);
	if (likely(done)) {
		if (unlikely(!heapspare_keep(heap, chunk, pa)))
			pageheap_put_run(heap, pa >> FRAME_SHIFT, CHUNK_FRAMES);
		heap->frees++;
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return done;
}

/**
 * heapspare_take() - a chunk from the highest window that has any free frame.
 *
 * Reserves are left alone. Any context; pinned.
 *
 * Return: its address, or NULL: there is none at hand.
 */
static force_inline void *heapspare_take(struct pageheap *heap)
{
	enum mem_window w = WINDOW_HIGH;
	unsigned long flags;
	void *addr = NULL;

	if (!atomic_load_relaxed(&heap->spare[w].n)) {
		/* There may be a chunk up there that nobody has freed lately. */
		if (!pageheap_is_dry(heap, w) || !atomic_load_relaxed(&heap->spare[--w].n))
			return NULL;
	}
	if (!pageheap_lock(heap, &flags))
		return NULL;
	if (likely(heap->spare[w].n) &&
	    likely(heap->window_free[w] >= heap->floor[w] + CHUNK_FRAMES)) {
		const struct whole_chunk *last = heapspare_pop(&heap->spare[w]);

		addr = last->addr;
		last->chunk->zero = CHUNK_ZERO_NONE;
		atomic_store(&last->chunk->whole, CHUNK_WHOLE_USED);
		pageheap_count_in(heap, w, -(uint64_t)CHUNK_FRAMES);
		pageheap_note_taken(heap);
		heap->allocs++;
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return addr;
}

/**
 * heapspare_find() - the same; if there is none at hand, the lowest in the tree.
 *
 * Return: its address, or NULL: the heap must grow, or there is none.
 */
void *heapspare_find(struct pageheap *heap);

#endif
