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

/** enum mem_window - address ranges that are kept for those who need them. */
enum mem_window { WINDOW_DMA, WINDOW_DMA32, WINDOW_HIGH, MEM_WINDOWS };

/**
 * struct pageheap - one node's.
 * @map, @node: whose memory
 * @tree: summaries of all chunks of the heap
 * @hint: by window: no free frame of it lies below
 * @cursor: by window and by whether the memory arrived at run time: growth
 *	found nothing below
 * @grown_at: map->returned when the cursors last started from the bottom
 * @frames: frames the heap has been given
 * @frames_free: of them, free in the tree; the rest is used or held
 * @deferred: runs an NMI freed, linked through their memory
 */
struct pageheap {
	struct spinlock lock;
	struct memmap *map;
	unsigned node;
	struct sumtree tree;
	uint64_t hint[MEM_WINDOWS];
	uint64_t cursor[MEM_WINDOWS][2];
	uint64_t grown_at;
	uint64_t frames, frames_free;
	uint64_t allocs, frees;
	struct deferred_run *deferred;
};

/** main_heap - the machine's, by node. */
extern struct pageheap main_heap[PORT_MAX_NODES];

/** window_bounds() - first frame of a window, and of the next. */
static inline uint64_t window_start(enum mem_window w)
{
	return w == WINDOW_DMA ? 0 : (w == WINDOW_DMA32 ? 1ULL << 12 : 1ULL << 20);
}

static inline uint64_t window_end(enum mem_window w)
{
	return w == WINDOW_HIGH ? PFN_LIMIT : window_start((enum mem_window)(w + 1));
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

/** pageheap_settle() - free what NMIs have left behind. Any context but NMI. */
void pageheap_settle(struct pageheap *heap);

/** pageheap_check() - walk the heap, log what is wrong. Return: how much. */
unsigned pageheap_check(struct pageheap *heap);

#endif
