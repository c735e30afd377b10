/* SPDX-License-Identifier: MIT */
/*
 * Arenas: what is known about 64 MiB of addresses, found from any address.
 *
 *	physical address
 *	 ├─ index, upper bits ─► l1[] ─► l2[] ─► struct arena
 *	 ├─ chunk, 5 bits ────────────────────────► chunk[32]
 *	 └─ frame, 9 bits ──────────────────────────► word[8], bit 0..63
 *
 * With CONFIG_FLAT_ARENAS the index is one array of arenas (the linear layout
 * of Go before 1.11): no loads, for machines of up to 4 GiB.
 *
 * Two bits tell of each frame:
 *
 *	free end
 *	  1   0	free in the page heap
 *	  1   1	held: in a cache, or no frame of the page heap at all
 *	  0   0	used, the run goes on in the next frame
 *	  0   1	used, last frame of its run
 *
 * A run thus starts where the frame before it is not (0,0). Whoever moves a
 * frame between (1,0) and (0,1) goes over (1,1), so that a look at one frame
 * never sees (0,0) by accident.
 *
 * Owns: index and records; they are made by arena_get() and are never moved.
 * Locking: none for lookups; arena_get() installs by compare-and-swap. A record
 * goes only with memory that leaves: see memmap.h for who may hold a pointer.
 */
#ifndef MM_ARENA_H
#define MM_ARENA_H

#include <spanheap/port.h>
#include <spanheap/state.h>

#include "lib/atomic.h"
#include "lib/bits.h"
#include "mm/meta.h"

#ifdef CONFIG_FLAT_ARENAS
#define ARENA_PHYS_BITS 32
#else
#define ARENA_PHYS_BITS PORT_PHYS_BITS
#endif
#define ARENA_COUNT (1UL << (ARENA_PHYS_BITS - ARENA_SHIFT))
#define ARENA_L2_BITS 10
#define ARENA_L2_COUNT (1UL << ARENA_L2_BITS)
#define ARENA_L1_COUNT (ARENA_COUNT >> ARENA_L2_BITS)
#define PFN_LIMIT (1ULL << (ARENA_PHYS_BITS - FRAME_SHIFT))
#define CHUNK_LIMIT (1ULL << (ARENA_PHYS_BITS - CHUNK_SHIFT))
#define CHUNK_WORDS (CHUNK_FRAMES / 64)

/** enum chunk_owner - who may move the states of a chunk's frames. */
enum chunk_owner {
	CHUNK_FREE,	/* nobody; no frame is Prepared or Ready */
	CHUNK_BOOT,	/* holds memory of memblock_alloc() or metadata */
	CHUNK_HEAP,	/* the page heap */
	CHUNK_CALLER,	/* the public mem_* calls */
};

/** enum chunk_zero - which free frames are known to read as zeroes. */
enum chunk_zero {
	CHUNK_ZERO_NONE,
	CHUNK_ZERO_ALL,
	CHUNK_ZERO_SIDE, /* see the side record's bits */
};

/**
 * enum chunk_whole - a chunk that is one used run of exactly its own frames, or a home.
 * @CHUNK_WHOLE_CACHED: free, in a CPU's cache; its bits still say used
 * @CHUNK_WHOLE_SPARE: free, at hand of the page heap (heapspare.h); likewise
 * @CHUNK_HOME: and above: the caches of a CPU refill here; others had better not
 */
enum chunk_whole {
	CHUNK_NOT_WHOLE,
	CHUNK_WHOLE_USED,
	CHUNK_WHOLE_CACHED,
	CHUNK_WHOLE_SPARE,
	CHUNK_HOME,
};

#define CHUNK_MIXED 4 /* in chunk.state: look at the side record */

struct frame_word {
	uint64_t free, end;
};

/**
 * struct chunk_side - what a chunk needs while its frames differ; never given back.
 * @zero: known-zero bit of each frame
 * @state: enum mem_state of each frame, two bits each
 */
struct chunk_side {
	uint64_t zero[CHUNK_WORDS];
	uint64_t state[CHUNK_FRAMES / 32];
};

/**
 * struct chunk - 2 MiB of frames.
 * @word: free and end bits. Written with the node's lock held; the free bit of
 *	a cached frame by the cache's owner: hence always by atomic operations
 * @leaf: leaf of the page heap's summary tree; set once, under the node's lock
 * @side: NULL until needed; set once, by compare-and-swap
 * @spans: entries of the page map, see pagemap.h; set once
 * @state: enum mem_state, or CHUNK_MIXED; under memmap->lock
 * @owner: enum chunk_owner; under memmap->lock, or as a hint without it
 * @busy: somebody moves it; likewise
 * @node: NUMA node; constant
 * @zero: enum chunk_zero; under the node's lock
 * @fresh: will read as zeroes when it is mapped again; by whoever set @busy
 * @split: its large leaf was split; by whoever set @busy
 * @whole: enum chunk_whole. Used: set under the node's lock; who makes it
 *	something else by compare-and-swap has freed the run
 */
struct chunk {
	struct frame_word word[CHUNK_WORDS];
	struct sumnode *leaf;
	struct chunk_side *side;
	intptr_t *spans;
	uint8_t state, owner, busy, node;
	uint8_t zero, fresh, split, whole;
};

struct arena {
	struct chunk chunk[ARENA_CHUNKS];
	phys_addr_t base;
	struct meta_pool *pool; /* where the record and its side records come from */
	struct arena *hidden;	/* of those that wait to be dropped, the next */
	bool present;		/* in the flat layout */
};

static_assert(sizeof(struct chunk) == 160, "a chunk costs 160 bytes");
static_assert(sizeof(struct chunk_side) == META_SIDE_SIZE, "meta.h knows the size");
static_assert(sizeof(struct arena) <= META_ARENA_SIZE, "meta.h knows the size");

/** struct arena_index - from address to arena; one per memory map. */
struct arena_index {
#ifdef CONFIG_FLAT_ARENAS
	struct arena flat[ARENA_COUNT];
#else
	struct arena **l1[ARENA_L1_COUNT];
#endif
};

/** arena_find() - the arena that holds @pa, or NULL. Any context; at most two loads. */
static inline struct arena *arena_find(const struct arena_index *index, phys_addr_t pa)
{
	uint64_t nr = pa >> ARENA_SHIFT;

	if (unlikely(nr >= ARENA_COUNT))
		return NULL;
#ifdef CONFIG_FLAT_ARENAS
	struct arena *arena = (struct arena *)&index->flat[nr];

	return atomic_load(&arena->present) ? arena : NULL;
#else
	struct arena **l2 = atomic_load(&index->l1[nr >> ARENA_L2_BITS]);

	return l2 ? atomic_load(&l2[nr % ARENA_L2_COUNT]) : NULL;
#endif
}

/** chunk_find() - the chunk that holds @pa, or NULL where there is no arena yet. Any context. */
static inline struct chunk *chunk_find(const struct arena_index *index, phys_addr_t pa)
{
	struct arena *arena = arena_find(index, pa);

	return arena ? &arena->chunk[pa >> CHUNK_SHIFT & (ARENA_CHUNKS - 1)] : NULL;
}

/** frame_in_chunk() - 0 .. CHUNK_FRAMES-1. */
static inline unsigned frame_in_chunk(phys_addr_t pa)
{
	return (unsigned)(pa >> FRAME_SHIFT & (CHUNK_FRAMES - 1));
}

/** arena_next() - the lowest arena that holds or lies above @pa; NULL: none. O(index). */
struct arena *arena_next(const struct arena_index *index, phys_addr_t pa);

/* for_each_arena() - in ascending order; those that come meanwhile may be left out. */
#define for_each_arena(a, index)                                                                   \
	for (struct arena *a = arena_next(index, 0); a;                                            \
	     a = arena_next(index, (a)->base + ARENA_SIZE))

/**
 * arena_get() - the arena that holds @pa, made if it is not there.
 * @lasting: metadata memory for the index, which outlives any record
 * @pool: metadata memory for the record
 * @setup: fills a new record before anybody can find it; may fail
 *
 * Any context but NMI. Return: the arena, or NULL: out of metadata memory.
 */
struct arena *arena_get(struct arena_index *index, phys_addr_t pa, struct meta_pool *lasting,
			struct meta_pool *pool, bool (*setup)(struct arena *arena, void *arg),
			void *arg);

/** arena_hide() - take the record out of the index: nobody finds it from now on. */
void arena_hide(struct arena_index *index, struct arena *arena);

/** arena_drop() - give a hidden record back, once nobody holds a pointer into it. */
void arena_drop(struct arena *arena);

/** chunk_side_get() - the chunk's side record, made if it is not there; or NULL. */
struct chunk_side *chunk_side_get(struct chunk *chunk, struct meta_pool *pool);

/* States of a chunk's frames: [first, first + n), n >= 1, within the chunk. */

/** chunk_frame_state() - one frame's. Any context, no lock. */
static inline enum mem_state chunk_frame_state(const struct chunk *chunk, unsigned frame)
{
	unsigned state = atomic_load(&chunk->state);

	if (likely(state != CHUNK_MIXED))
		return (enum mem_state)state;
	return (enum mem_state)(atomic_load(&chunk->side->state[frame / 32]) >> frame % 32 * 2 & 3);
}

/** chunk_states_within() - true if all are in the set @allowed (bit s for state s). */
bool chunk_states_within(const struct chunk *chunk, unsigned first, unsigned n, unsigned allowed);

/** chunk_set_states() - all become @state; a part of a uniform chunk needs chunk->side. */
void chunk_set_states(struct chunk *chunk, unsigned first, unsigned n, enum mem_state state);

/**
 * chunk_run_in_state() - how many frames from @first on are in @state; 0: not even the first.
 *
 * Any context, no lock: each of them was, at some moment of the call.
 */
unsigned chunk_run_in_state(const struct chunk *chunk, unsigned first, enum mem_state state);

/**
 * chunk_last_in_state() - the highest run of @n frames in [@first, @end) that are all in @state.
 * @n: a power of two, and the run's alignment
 *
 * Return: its first frame, or CHUNK_FRAMES. No lock: as above.
 */
unsigned chunk_last_in_state(const struct chunk *chunk, unsigned first, unsigned end, unsigned n,
			     enum mem_state state);

/** chunk_state_run() - length of the run of one state that starts at @first. */
unsigned chunk_state_run(const struct chunk *chunk, unsigned first);

/** chunk_count_state() - how many of them are in a state. */
unsigned chunk_count_state(const struct chunk *chunk, unsigned first, unsigned n,
			   enum mem_state state);

#endif
