/* SPDX-License-Identifier: MIT */
/*
 * The page heap: runs of frames out of chunks, first fit, lowest address first.
 *
 *	page.c ─► pageheap_alloc(node's heap, n, align, window)
 *	             │  search the summaries, take bits, update summaries
 *	             │  nothing found: claim a Reserved chunk of the window, again
 *	             ▼
 *	          sumtree ─► chunk bits        addrstate_claim() ─► more chunks
 *
 * One per NUMA node. Windows (below 16 MiB, below 4 GiB, the rest) are address
 * limits of a search, each with a hint below which nothing is free.
 *
 * Frames may be held by caches (pagecache.h): free, but not in the summaries.
 *
 * An NMI that finds the lock taken gets nothing, and what it frees waits in
 * @deferred, held, until somebody has the lock.
 *
 * Owns: summary tree, free and end bits of the chunks that @map says are the
 * heap's. Locking: heap->lock, interrupts off; taken before metadata and
 * memmap locks; never two heaps. Growth runs without it.
 * Cost: O(log chunks) to allocate or free; start-up O(1).
 */
#ifndef MM_PAGEHEAP_H
#define MM_PAGEHEAP_H

#include <spanheap/misuse.h>

#include "mm/memmap.h"
#include "mm/sumtree.h"

#define PFN_NONE (~0ULL)
#define HEAP_TOUCHED 4
#define HEAP_SPARES 4 /* all of them are settled in one hold of the lock */

/** enum mem_window - address ranges that are kept for those who need them. */
enum mem_window { WINDOW_DMA, WINDOW_DMA32, WINDOW_HIGH, MEM_WINDOWS };

/** struct whole_chunk - a whole free chunk at hand; its bits say used. */
struct whole_chunk {
	void *addr;
	struct chunk *chunk;
};

/** struct heap_spares - so many of them. */
struct heap_spares {
	unsigned n;
	struct whole_chunk chunk[HEAP_SPARES];
};

/**
 * struct pageheap - one node's.
 * @map, @node: whose memory
 * @tree: summaries of all chunks of the heap
 * @hint: by window: no free frame of it lies below
 * @cursor: by window and by whether the memory arrived at run time: growth
 *	found nothing below
 * @next_home: where to look for a CPU's home once many low ones are taken; pagehold.c
 * @grown_at: map->returned when the cursors last started from the bottom
 * @frames: frames the heap has been given
 * @frames_free: of them, free in the tree or in spare chunks; the rest is used or held
 * @window_free: of these, by window
 * @floor: by window: free frames that ordinary requests leave; see pressure.h
 * @scavenged: frames the heap had been given and the scavenger took; Prepared
 * @touched, @touched_nr, @ntouched: chunks whose summaries are behind their bits,
 *	with their numbers
 * @spare: by window: whole free chunks at hand; heapspare.h
 * @deferred: runs an NMI freed, linked through their memory
 */
struct pageheap {
	struct spinlock lock;
	struct memmap *map;
	unsigned node;
	struct sumtree tree;
	uint64_t hint[MEM_WINDOWS];
	uint64_t cursor[MEM_WINDOWS][2];
	uint64_t next_home;
	uint64_t grown_at;
	uint64_t frames, frames_free;
	uint64_t window_free[MEM_WINDOWS];
	uint64_t floor[MEM_WINDOWS];
	uint64_t scavenged;
	uint64_t allocs, frees;
	struct chunk *touched[HEAP_TOUCHED];
	uint64_t touched_nr[HEAP_TOUCHED];
	unsigned ntouched;
	struct heap_spares spare[MEM_WINDOWS];
	struct deferred_run *deferred;
};

/** main_heap - the machine's, by node. */
extern struct pageheap main_heap[PORT_MAX_NODES];

/** pressure_due - frames have been taken: pressure_note() is to be called with no lock held. */
extern uint32_t pressure_due;

/**
 * pressure_mark - a heap that has as many free frames gives no reason for that.
 *
 * Written by pressure.c, on any CPU; read as a hint, under the heap's lock.
 */
extern uint64_t pressure_mark;

/** window_bounds() - first frame of a window, and of the next. */
static inline uint64_t window_start(enum mem_window w)
{
	return w == WINDOW_DMA ? 0 : (w == WINDOW_DMA32 ? 1ULL << 12 : 1ULL << 20);
}

static inline uint64_t window_end(enum mem_window w)
{
	return w == WINDOW_HIGH ? PFN_LIMIT : window_start((enum mem_window)(w + 1));
}

static inline enum mem_window window_of(uint64_t pfn)
{
	return pfn >= window_start(WINDOW_HIGH)
		       ? WINDOW_HIGH
		       : (pfn >= window_start(WINDOW_DMA32) ? WINDOW_DMA32 : WINDOW_DMA);
}

void pageheap_init(struct pageheap *heap, struct memmap *map, unsigned node);

/**
 * pageheap_alloc() - take a run of frames.
 * @want: what; frame numbers
 * @zero: set if all of it is known to read as zeroes
 *
 * Any context; an NMI gets PFN_NONE where others would wait or grow the heap.
 *
 * Return: first frame, or PFN_NONE.
 */
uint64_t pageheap_alloc(struct pageheap *heap, const struct run_wanted *want, bool *zero);

/**
 * pageheap_free() - give a run back, whole.
 *
 * Any context. Return: -1, or the enum mm_misuse that was found: then nothing
 * has changed.
 */
int pageheap_free(struct pageheap *heap, uint64_t pfn, uint64_t n);

/**
 * pageheap_free_chunk() - give back a whole chunk that a cache held.
 *
 * Any context but NMI: a cache of an NMI holds none.
 */
void pageheap_free_chunk(struct pageheap *heap, struct chunk *chunk, uint64_t pfn);

/** pageheap_starts_run() - is the frame before no inner one? Without the lock a hint. */
bool pageheap_starts_run(const struct pageheap *heap, uint64_t pfn);

/** pageheap_count_used() - frames that the bits say are used. */
uint64_t pageheap_count_used(struct pageheap *heap);

/**
 * pageheap_count_free() - note that frames of the tree became free, or (@sign -1) no longer are.
 *
 * heap->lock is held.
 */
void pageheap_count_free(struct pageheap *heap, uint64_t pfn, uint64_t n, int sign);

/** pageheap_count_in() - the same of frames of one window; @n: negative if they no longer are. */
static inline void pageheap_count_in(struct pageheap *heap, enum mem_window w, uint64_t n)
{
	atomic_store_relaxed(&heap->frames_free, heap->frames_free + n);
	atomic_store_relaxed(&heap->window_free[w], heap->window_free[w] + n);
}

/** pageheap_note_taken() - frames have been taken: is there something to tell? */
static inline void pageheap_note_taken(const struct pageheap *heap)
{
	if (unlikely(heap->frames_free < atomic_load_relaxed(&pressure_mark)))
		atomic_store_relaxed(&pressure_due, 1);
}

/**
 * pageheap_add() - frames of one chunk that are held, Ready and the heap's become free.
 *
 * Any context but NMI.
 */
void pageheap_add(struct pageheap *heap, struct chunk *chunk, uint64_t pfn, unsigned n);

/*
 * Parts, for the files that take frames out of the heap and bring them back.
 * Where nothing else is said heap->lock is held.
 */

/** pageheap_free_deferred() - free what NMIs have left behind. */
void pageheap_free_deferred(struct pageheap *heap);

/** pageheap_lock() - interrupts off, and NMIs' frames done; false in an NMI that may not wait. */
static inline bool pageheap_lock(struct pageheap *heap, unsigned long *flags)
{
	if (!spin_lock_context(&heap->lock, flags))
		return false;
	if (unlikely(atomic_load_relaxed(&heap->deferred)))
		pageheap_free_deferred(heap);
	return true;
}

/** pageheap_search() - the lowest run that fits; or PFN_NONE. */
uint64_t pageheap_search(struct pageheap *heap, const struct run_wanted *want);

/** pageheap_grow() - make more frames of the wanted window Ready. Not locked. Return: did it? */
bool pageheap_grow(struct pageheap *heap, const struct run_wanted *want);

/** pageheap_touch() - the free frames of a chunk have changed; its summary will follow. */
void pageheap_touch(struct pageheap *heap, struct chunk *chunk, uint64_t pfn);

/**
 * pageheap_update() - all summaries are right again, and there are no spare chunks.
 *
 * Before summaries are read, or a chunk leaves.
 */
void pageheap_update(struct pageheap *heap);

/** pageheap_lower_hints() - these frames have become free. */
void pageheap_lower_hints(struct pageheap *heap, uint64_t pfn, uint64_t n);

/** pageheap_split_zero() - keep for each frame of an all-zero chunk that it is; false: forgotten.
 */
bool pageheap_split_zero(struct pageheap *heap, struct chunk *chunk, uint64_t pfn);

/**
 * pageheap_is_dry() - has a window nothing free, and nothing to grow by?
 *
 * Any context, no lock: what comes at this moment may be missed.
 */
static inline bool pageheap_is_dry(const struct pageheap *heap, enum mem_window w)
{
	return !atomic_load_relaxed(&heap->window_free[w]) &&
	       atomic_load_relaxed(&heap->cursor[w][0]) == window_end(w) &&
	       atomic_load_relaxed(&heap->cursor[w][1]) == window_end(w) &&
	       atomic_load_relaxed(&heap->grown_at) == atomic_load_relaxed(&heap->map->returned) &&
	       !atomic_load_relaxed(&heap->deferred);
}

/** pageheap_take_run() - free frames become a used run. Return: are all known to be zero? */
bool pageheap_take_run(struct pageheap *heap, uint64_t pfn, uint64_t n);

/** pageheap_put_run() - used frames to the end of their run become free. */
void pageheap_put_run(struct pageheap *heap, uint64_t pfn, uint64_t n);

/** pageheap_mark_whole() - set what a chunk's @whole is, if the run is exactly a chunk. */
void pageheap_mark_whole(struct pageheap *heap, uint64_t pfn, uint64_t n, uint8_t whole);

/** pageheap_eats_reserve() - would taking this run leave less than what is kept for others? */
bool pageheap_eats_reserve(const struct pageheap *heap, uint64_t pfn, uint64_t n);

/** pageheap_settle() - the same, not locked. Any context but NMI. */
void pageheap_settle(struct pageheap *heap);

/** pageheap_check() - walk the heap, log what is wrong. Return: how much. */
unsigned pageheap_check(struct pageheap *heap);

#endif
