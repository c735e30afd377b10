// SPDX-License-Identifier: MIT
/* Chunks that leave the page heap; see heapchunk.h. */
#include "mm/framebits.h"
#include "mm/heapchunk.h"
#include "mm/heapspare.h"

#define LEAF_SIZE (SUM_FANOUT * CHUNK_SIZE)

/* heap->lock is held; nothing of the chunk is used or cached. */
static unsigned withhold_free(struct pageheap *heap, struct chunk *chunk, uint64_t pfn)
{
	uint64_t base = round_down(pfn, CHUNK_FRAMES);
	unsigned at = 0, run, n = 0;

	while ((run = chunk_next_run(chunk, &at))) {
		chunk_withhold(chunk, at, run);
		pageheap_count_free(heap, base + at, run, -1);
		n += run;
		at += run;
	}
	chunk->zero = CHUNK_ZERO_NONE;
	heap->frames -= n;
	sumtree_update(chunk->leaf, pfn / CHUNK_FRAMES, chunk_sum(chunk));
	return n;
}

unsigned heapchunk_take(struct pageheap *heap, struct chunk *chunk, uint64_t pfn, unsigned n)
{
	unsigned long flags = spin_lock_irqsave(&heap->lock);
	unsigned ready = chunk_count_state(chunk, (unsigned)(pfn % CHUNK_FRAMES), n, MEM_READY);
	unsigned taken = 0;

	heapspare_settle(heap);
	if (chunk->leaf && ready && chunk_count_free(chunk) == ready)
		taken = withhold_free(heap, chunk, pfn);
	spin_unlock_irqrestore(&heap->lock, flags);
	return taken;
}

unsigned heapchunk_take_last(struct pageheap *heap, uint64_t below, unsigned max, uint64_t *first)
{
	unsigned long flags = spin_lock_irqsave(&heap->lock);
	unsigned n = 0;
	uint64_t nr;

	pageheap_update(heap);
	nr = sumtree_last_full(&heap->tree, below);
	while (nr != SUM_NOT_FOUND && n < max && (!n || nr + 1 == *first)) {
		uint64_t pfn = nr * CHUNK_FRAMES;

		withhold_free(heap, chunk_find(&heap->map->index, pfn << FRAME_SHIFT), pfn);
		*first = nr;
		n++;
		nr = sumtree_last_full(&heap->tree, nr);
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return n;
}

/* Forget the leaf of the eight chunks from @leaf_base on, but for chunks outside. */
static void unseat_leaf(struct pageheap *heap, phys_addr_t leaf_base, phys_addr_t base,
			phys_addr_t end)
{
	struct sumnode *leaf = NULL;
	bool shared = false;

	for (phys_addr_t at = leaf_base; at < leaf_base + LEAF_SIZE; at += CHUNK_SIZE) {
		struct chunk *chunk = chunk_find(&heap->map->index, at);

		if (!chunk || !chunk->leaf || chunk->node != heap->node)
			continue;
		if (at < base || at >= end) {
			shared = true;
			continue;
		}
		leaf = chunk->leaf;
		chunk->leaf = NULL;
	}
	if (leaf && !shared)
		sumtree_prune(&heap->tree, leaf, memmap_node_pool(heap->map, heap->node));
}

void heapchunk_unseat(struct pageheap *heap, phys_addr_t base, phys_addr_t end)
{
	for (phys_addr_t at = round_down(base, LEAF_SIZE); at < end; at += LEAF_SIZE) {
		unsigned long flags = spin_lock_irqsave(&heap->lock);

		pageheap_update(heap);
		unseat_leaf(heap, at, base, end);
		spin_unlock_irqrestore(&heap->lock, flags);
	}
}
