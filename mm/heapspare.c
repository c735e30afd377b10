// SPDX-License-Identifier: MIT
/* Whole free chunks at hand; see heapspare.h. */
#include <spanheap/page.h>

#include "mm/framebits.h"
#include "mm/heapspare.h"
#include "mm/log.h"

bool heapspare_is_arrived(const struct pageheap *heap, phys_addr_t pa)
{
	struct ram_range r;

	return memmap_range(heap->map, pa, &r) && r.arrived;
}

void heapspare_settle_all(struct pageheap *heap)
{
	for (unsigned w = WINDOW_DMA32; w < MEM_WINDOWS; w++)
		while (heap->spare[w].n) {
			const struct whole_chunk *last = heapspare_pop(&heap->spare[w]);
			uint64_t pfn = virt_to_phys(last->addr) >> FRAME_SHIFT;

			atomic_store(&last->chunk->whole, CHUNK_NOT_WHOLE);
			chunk_put(last->chunk, 0, CHUNK_FRAMES, true);
			pageheap_touch(heap, last->chunk, pfn);
			heap->hint[w] = MIN(heap->hint[w], pfn);
		}
}

/* A chunk of this heap and window whose bits say that it is one used run. */
static bool is_spare(const struct pageheap *heap, enum mem_window w,
		     const struct whole_chunk *spare)
{
	const struct chunk *chunk = spare->chunk;
	phys_addr_t pa = virt_to_phys(spare->addr);

	return chunk_find(&heap->map->index, pa) == chunk && !(pa & (CHUNK_SIZE - 1)) &&
	       window_of(pa >> FRAME_SHIFT) == w && chunk->node == heap->node &&
	       chunk->whole == CHUNK_WHOLE_SPARE && !chunk_count_free(chunk) &&
	       chunk_run_length(chunk, 0) == CHUNK_FRAMES &&
	       frame_use(chunk, CHUNK_FRAMES - 1) == FRAME_LAST;
}

unsigned heapspare_check(const struct pageheap *heap)
{
	unsigned bad = 0, n = 0;

	for (unsigned w = 0; w < MEM_WINDOWS; w++)
		for (unsigned i = 0; i < heap->spare[w].n; i++, n++)
			bad += !is_spare(heap, w, &heap->spare[w].chunk[i]);
	for_each_arena(a, &heap->map->index)
		for (unsigned i = 0; i < ARENA_CHUNKS; i++)
			n -= a->chunk[i].whole == CHUNK_WHOLE_SPARE &&
			     a->chunk[i].node == heap->node;
	if (bad || n)
		mm_log("page heap %u: %u spare chunks are none, %d too many", heap->node, bad,
		       (int)n);
	return bad + !!n;
}

/*
 * A chunk of the tree that is free, and those that follow it in its leaf, come to hand:
 * the lowest on top. What is known of their zeroes stays, should they go back.
 */
static void bring(struct pageheap *heap, enum mem_window w, uint64_t pfn, bool alone)
{
	struct chunk *chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);
	unsigned slot = (unsigned)(pfn / CHUNK_FRAMES % SUM_FANOUT), n = 1;
	struct sumnode *leaf = chunk->leaf;

	while (!alone && n < HEAP_SPARES && slot + n < SUM_FANOUT && leaf->sum[slot + n] & SUM_FULL)
		n++;
	/* The chunks of a leaf lie in one arena and window. */
	while (n--) {
		phys_addr_t pa = (pfn << FRAME_SHIFT) + n * CHUNK_SIZE;

		chunk_take(&chunk[n], 0, CHUNK_FRAMES, true);
		sumtree_put(leaf, pa >> CHUNK_SHIFT, 0);
		atomic_store(&chunk[n].whole, CHUNK_WHOLE_SPARE);
		heap->spare[w].chunk[heap->spare[w].n] =
			(struct whole_chunk){ phys_to_virt(pa), &chunk[n] };
		atomic_store_relaxed(&heap->spare[w].n, heap->spare[w].n + 1);
	}
	sumtree_carry_up(leaf);
}

static_assert(ARENA_CHUNKS % SUM_FANOUT == 0, "a leaf lies in one arena");

void *heapspare_find(struct pageheap *heap)
{
	enum mem_window w = pageheap_is_dry(heap, WINDOW_HIGH) ? WINDOW_DMA32 : WINDOW_HIGH;
	struct run_wanted want = {
		.n = CHUNK_FRAMES,
		.align = CHUNK_FRAMES,
		.lo = window_start(w),
		.hi = window_end(w),
		.boot_only = atomic_load_relaxed(&heap->map->arrived[heap->node]),
	};
	unsigned long flags;
	uint64_t pfn;

	if (!pageheap_lock(heap, &flags))
		return NULL;
	pfn = heap->spare[w].n ? PFN_NONE : pageheap_search(heap, &want);
	if (pfn != PFN_NONE)
		bring(heap, w, pfn, want.boot_only);
	spin_unlock_irqrestore(&heap->lock, flags);
	return heapspare_take(heap);
}
