// SPDX-License-Identifier: MIT
/*
 * Marks, reserves, and the handlers; see <spanheap/pressure.h>.
 *
 * The reserves are floors of each heap's count of free frames by window: the heap
 * refuses an ordinary request that would go below (pageheap.c), and grows instead.
 * So a reserve is made of frames that are Ready, and is intact when there is no
 * more to claim. Nothing of this is on the way of a request that a cache serves.
 */
#include "mm/numa.h"
#include "mm/pressure.h"

#define DEFAULT_ONE_IN 256
#define LOW_SHARE 32
#define CRITICAL_SHARE 128
#define WINDOW_SHARE_MAX 4
#define RESERVE_MAX_FRAMES (PRESSURE_RESERVE_MAX >> FRAME_SHIFT)
#define HYSTERESIS_SHARE 8
/* A handler that always says that it freed something must not keep us for ever. */
#define RECLAIM_TRIES 16

static uint64_t low_mark, critical_mark;
static unsigned reserve_one_in = DEFAULT_ONE_IN;
static uint32_t told; /* enum mm_pressure */
static void (*pressure_handler)(enum mm_pressure level);
static size_t (*reclaim_handler)(size_t bytes, gfp_t gfp);

static uint64_t heap_available(const struct pageheap *heap)
{
	return atomic_load_relaxed(&heap->frames_free) + atomic_load_relaxed(&heap->scavenged) +
	       atomic_load_relaxed(&main_map.reserved[heap->node]);
}

uint64_t mm_available(void)
{
	const struct node_order *order = numa_order(0);
	uint64_t frames = 0;

	for (unsigned i = 0; i < node_order_size(order); i++)
		frames += heap_available(&main_heap[node_order_at(order, i)]);
	return frames << FRAME_SHIFT;
}

static enum mm_pressure level_of(uint64_t available)
{
	if (available >= atomic_load_relaxed(&low_mark))
		return MM_PRESSURE_NONE;
	return available < atomic_load_relaxed(&critical_mark) ? MM_PRESSURE_CRITICAL
							       : MM_PRESSURE_LOW;
}

/*
 * As long as nothing was told, and one heap alone has the low mark's worth of free
 * frames, there is nothing to tell.
 */
static void set_mark(void)
{
	uint32_t level;
	uint64_t low;

	/* Of two that tell, or set a mark, at once, the later one's must stay. */
	do {
		level = atomic_load_relaxed(&told);
		low = atomic_load_relaxed(&low_mark);
		atomic_store_relaxed(&pressure_mark,
				     level == MM_PRESSURE_NONE ? (low >> FRAME_SHIFT) + 1 : ~0ULL);
		atomic_fence();
	} while (atomic_load_relaxed(&told) != level || atomic_load_relaxed(&low_mark) != low);
}

enum mm_pressure mm_pressure(void)
{
	return level_of(mm_available());
}

void pressure_note(void)
{
	uint32_t before = atomic_load_relaxed(&told), level;
	void (*fn)(enum mm_pressure);
	uint64_t available;

	atomic_store_relaxed(&pressure_due, 0);
	available = mm_available();
	level = level_of(available);
	/* Better is told only when it is clearly so. */
	if (unlikely(level < before))
		level = level_of(available - available / HYSTERESIS_SHARE);
	if (likely(level == before) || !atomic_cas(&told, &before, level))
		return;
	set_mark();
	fn = atomic_load(&pressure_handler);
	if (fn)
		fn((enum mm_pressure)level);
}

bool pressure_reclaim(size_t bytes, gfp_t gfp, unsigned *tries)
{
	size_t (*fn)(size_t, gfp_t) = atomic_load(&reclaim_handler);

	if (!fn || !(gfp & __GFP_RECLAIM) || port_context() != MM_TASK ||
	    (*tries)++ >= RECLAIM_TRIES)
		return false;
	return fn(bytes, gfp);
}

int mm_set_watermarks(uint64_t low_bytes, uint64_t critical_bytes)
{
	if (critical_bytes > low_bytes)
		return -EINVAL;
	atomic_store_relaxed(&low_mark, low_bytes);
	atomic_store_relaxed(&critical_mark, critical_bytes);
	set_mark();
	return 0;
}

void mm_set_pressure_handler(void (*fn)(enum mm_pressure level))
{
	atomic_store(&pressure_handler, fn);
}

void mm_set_reclaim_handler(size_t (*fn)(size_t bytes, gfp_t gfp))
{
	atomic_store(&reclaim_handler, fn);
}

/* Frames of a node's RAM by window. */
static void count_windows(unsigned node, uint64_t frames[MEM_WINDOWS])
{
	struct ram_range r;

	for (unsigned w = 0; w < MEM_WINDOWS; w++)
		frames[w] = 0;
	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size) {
		uint64_t first = r.base >> FRAME_SHIFT, last = (r.base + r.size) >> FRAME_SHIFT;

		if (r.node != node || r.use != MEM_USE_FREE)
			continue;
		for (unsigned w = window_of(first); w <= window_of(last - 1); w++)
			frames[w] += MIN(last, window_end(w)) - MAX(first, window_start(w));
	}
}

static void set_floors(struct pageheap *heap, const uint64_t frames[MEM_WINDOWS], unsigned one_in)
{
	uint64_t above = 0;

	for (unsigned w = MEM_WINDOWS; w-- > 0;) {
		uint64_t floor = 0;

		/* In the highest window that has any, for those who cannot wait. */
		if (one_in && frames[w])
			floor = above ? MIN(above / one_in, frames[w] / WINDOW_SHARE_MAX)
				      : MIN(frames[w] / one_in, RESERVE_MAX_FRAMES);
		above += frames[w];
		atomic_store_relaxed(&heap->floor[w], floor);
	}
}

void pressure_update(void)
{
	const struct node_order *order = numa_order(0);
	uint64_t frames[MEM_WINDOWS];

	for (unsigned i = 0; i < node_order_size(order); i++) {
		unsigned node = node_order_at(order, i);

		count_windows(node, frames);
		set_floors(&main_heap[node], frames, atomic_load_relaxed(&reserve_one_in));
	}
}

void pressure_init(void)
{
	uint64_t available = mm_available();

	mm_set_watermarks(available / LOW_SHARE, available / CRITICAL_SHARE);
	pressure_update();
}

void mm_set_reserves(unsigned one_in)
{
	atomic_store_relaxed(&reserve_one_in, one_in);
	pressure_update();
}
