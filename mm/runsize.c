// SPDX-License-Identifier: MIT
/* Used runs that grow and shrink; see runsize.h. */
#include "mm/framebits.h"
#include "mm/heapspare.h"
#include "mm/runsize.h"

/* heap->lock is held from here */

/* Are these frames free, of this heap, and there since the start? */
static bool may_follow(const struct pageheap *heap, uint64_t pfn, uint64_t n)
{
	uint64_t end = pfn + n, start = pfn;

	if (atomic_load_relaxed(&heap->map->arrived[heap->node]) &&
	    (memmap_boot_stretch(heap->map, &start, end) < end || start > pfn))
		return false;
	while (pfn < end) {
		const struct chunk *chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);
		unsigned first = (unsigned)(pfn % CHUNK_FRAMES), at = first;
		unsigned want = (unsigned)MIN(end - pfn, CHUNK_FRAMES - first);

		if (!chunk || !chunk->leaf || chunk->node != heap->node ||
		    chunk_next_run(chunk, &at) < want || at != first)
			return false;
		pfn += want;
	}
	return true;
}

/* The last frame of what a run consists of for now. */
static struct frame_word *word_at(const struct pageheap *heap, uint64_t pfn)
{
	struct chunk *chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);

	return &chunk->word[pfn % CHUNK_FRAMES / 64];
}

/* to here */

bool runsize_extend(struct pageheap *heap, uint64_t pfn, uint64_t n, uint64_t more,
		    uint64_t limit, bool keep_floor)
{
	uint64_t end = pfn + n;
	unsigned long flags;
	bool done = false;

	if (limit < end || more > limit - end || !pageheap_lock(heap, &flags))
		return false;
	heapspare_settle(heap);
	if (may_follow(heap, end, more) &&
	    !(keep_floor && pageheap_eats_reserve(heap, end, more))) {
		(void)pageheap_take_run(heap, end, more);
		/* Two runs side by side become one. */
		pageheap_mark_whole(heap, pfn, n, CHUNK_NOT_WHOLE);
		atomic_and(&word_at(heap, end - 1)->end, word_all_but(end - 1));
		pageheap_mark_whole(heap, pfn, n + more, CHUNK_WHOLE_USED);
		done = true;
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return done;
}

bool runsize_trim(struct pageheap *heap, uint64_t pfn, uint64_t n, uint64_t keep)
{
	uint64_t last = pfn + keep - 1;
	unsigned long flags;

	if (!pageheap_lock(heap, &flags))
		return false;
	pageheap_mark_whole(heap, pfn, n, CHUNK_NOT_WHOLE);
	atomic_or(&word_at(heap, last)->end, 1ULL << last % 64);
	pageheap_mark_whole(heap, pfn, keep, CHUNK_WHOLE_USED);
	pageheap_put_run(heap, pfn + keep, n - keep);
	spin_unlock_irqrestore(&heap->lock, flags);
	return true;
}
