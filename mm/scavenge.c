// SPDX-License-Identifier: MIT
/*
 * The scavenger.
 *
 *	highest run of free chunks ─► out of the heap ─► Prepared ─► cursor of growth
 *	  (summaries, under the lock)	(held)		(no lock)	lowered to it
 *
 * Free frames of a scavenged chunk are held in the bitmap and absent from the
 * summaries: no allocation finds them. Growth of the heap does, as it goes through
 * the states of chunks from its cursor upwards.
 *
 * Locking: heap->lock for each run's way out and, if unmapping failed, back.
 */
#include <spanheap/port.h>
#include <spanheap/scavenge.h>
#include <spanheap/stats.h>

#include "mm/addrstate.h"
#include "mm/heapchunk.h"
#include "mm/scavenge.h"

/* Unmapped by one flush; bounds the time under the lock. */
#define RUN_CHUNKS 32
#define KEEP_SHARE 10

/* Growth looks here first. A growing CPU may undo it; then it comes later, not never. */
static void lower_cursor(struct pageheap *heap, uint64_t pfn)
{
	struct ram_range r;
	unsigned long flags;
	uint64_t *cursor;

	if (memmap_range(heap->map, pfn << FRAME_SHIFT, &r)) {
		flags = spin_lock_irqsave(&heap->lock);
		cursor = &heap->cursor[window_of(pfn)][r.arrived];
		atomic_store_relaxed(cursor, MIN(*cursor, pfn));
		spin_unlock_irqrestore(&heap->lock, flags);
	}
	memmap_tell_growth(heap->map);
}

static void put_back(struct pageheap *heap, uint64_t first, unsigned n)
{
	for (uint64_t nr = first; nr < first + n; nr++)
		pageheap_add(heap, chunk_find(&heap->map->index, nr << CHUNK_SHIFT),
			     nr * CHUNK_FRAMES, CHUNK_FRAMES);
}

/* One run below chunk @below. Return: bytes, 0 if there is none; @below: where to go on. */
static uint64_t scavenge_run(struct pageheap *heap, uint64_t *below, uint64_t bytes)
{
	uint64_t run = MIN(bytes, RUN_CHUNKS * CHUNK_SIZE), first = 0;
	unsigned max = (unsigned)(round_up(run, CHUNK_SIZE) >> CHUNK_SHIFT), n;
	int ret;

	/* The records of what has been taken cannot leave: the move pins likewise. */
	port_pin();
	n = heapchunk_take_last(heap, *below, max, &first);
	*below = n ? first : 0;
	ret = n ? addrstate_move(heap->map, MOVE_UNUSED, CHUNK_HEAP, first << CHUNK_SHIFT,
				 (uint64_t)n << CHUNK_SHIFT)
		: 0;
	if (ret)
		put_back(heap, first, n);
	port_unpin();
	if (ret || !n)
		return 0;
	(void)atomic_fetch_add(&heap->scavenged, (uint64_t)n * CHUNK_FRAMES);
	lower_cursor(heap, first * CHUNK_FRAMES);
	return (uint64_t)n << CHUNK_SHIFT;
}

uint64_t scavenge_heap(struct pageheap *heap, uint64_t bytes)
{
	uint64_t below = CHUNK_LIMIT, done = 0;

	while (below && done < bytes)
		done += scavenge_run(heap, &below, bytes - done);
	return done;
}

static uint64_t scavenge_all(uint64_t bytes)
{
	uint64_t done = 0;

	for (unsigned node = PORT_MAX_NODES; node-- > 0 && done < bytes;)
		done += scavenge_heap(&main_heap[node], bytes - done);
	return done;
}

uint64_t mm_scavenge(uint64_t bytes)
{
	mm_drain();
	return scavenge_all(bytes);
}

uint64_t mm_scavenge_step(uint64_t budget)
{
	uint64_t used = 0, free = 0, keep;

	for (unsigned node = 0; node < PORT_MAX_NODES; node++) {
		const struct pageheap *heap = &main_heap[node];
		uint64_t frames_free = atomic_load_relaxed(&heap->frames_free);

		free += frames_free << FRAME_SHIFT;
		used += (atomic_load_relaxed(&heap->frames) - frames_free) << FRAME_SHIFT;
	}
	keep = MAX(used / KEEP_SHARE, SCAVENGE_KEEP);
	/* Whole chunks: not one more than what is left over. */
	if (free < keep + CHUNK_SIZE)
		return 0;
	return scavenge_all(round_down(MIN(free - keep, budget), CHUNK_SIZE));
}
