/* SPDX-License-Identifier: MIT */
/*
 * The memory map: which addresses are RAM, who holds them, in which state.
 *
 *	table ─► range[]: RAM cut into runs of one node and one use, ascending
 *	index ─► arenas, made when the first of their frames leaves Reserved or None
 *
 * Where an arena exists its chunks know the states. Elsewhere the ranges say
 * it: free RAM is Reserved, what memblock_alloc() gave away Ready, all else
 * None. So nothing is written for RAM that nobody has asked for.
 *
 * Ranges change only when memory arrives or leaves: the writer fills the other
 * table and publishes it. A reader needs no lock, in an NMI either; it looks
 * again if its table was filled anew meanwhile.
 *
 * Memory that leaves takes its records with it. Who holds a pointer to a record
 * (arena, chunk, summary leaf) is therefore pinned, or has interrupts off, or
 * owns a frame there. What leaves is first made unfindable; then every CPU is
 * waited for until it has passed through task context unpinned (memmap_settle());
 * then it goes. Where tasks are never preempted nothing but a wait lets others on,
 * and nothing that holds such a pointer waits.
 *
 * Locking: memmap->lock, interrupts off, the innermost: chunk states, owners
 * and busy marks. change_lock: the tables; taken before it.
 */
#ifndef MM_MEMMAP_H
#define MM_MEMMAP_H

#include <spanheap/boot.h>

#include "mm/arena.h"
#include "mm/memblock.h"

/* What memblock can give, some cut at borders of nodes, and what arrives later. */
#define MEMMAP_MAX_RANGES (MEMBLOCK_MAX_RUNS + 512)

/**
 * struct ram_range - a run of RAM.
 * @pool: metadata memory for its arenas; that of the block if it arrived at run
 *	time and shares no arena with other memory, else one that lasts
 * @arrived: mm_add_memory() brought it; mm_remove_memory() may take it away
 * @first: and what it brought starts here
 */
struct ram_range {
	phys_addr_t base;
	uint64_t size;
	struct meta_pool *pool;
	uint8_t node, use; /* enum mem_use */
	bool arrived, first;
};

/* @changes: raised before and after the table is filled; odd meanwhile. */
struct ram_table {
	size_t n, changes;
	struct ram_range range[MEMMAP_MAX_RANGES];
};

/**
 * struct memmap - one memory map.
 * @meta_top: by node: at and above this nothing is left for metadata
 * @returned: raised whenever there is more that the page heap could claim
 * @reserved: by node: frames in state Reserved
 * @arrived: by node: blocks that arrived at run time
 * @tracked_only: states are kept, the port is not asked to map anything: for
 *	tests on made-up addresses
 */
struct memmap {
	struct arena_index index;
	struct spinlock lock, change_lock;
	struct ram_table *table, tables[2];
	struct meta_pool pool[PORT_MAX_NODES];
	phys_addr_t meta_top[PORT_MAX_NODES];
	uint64_t returned;
	uint64_t reserved[PORT_MAX_NODES];
	uint32_t arrived[PORT_MAX_NODES];
	bool tracked_only;
};

/**
 * struct run_wanted - a run of frames that is looked for.
 * @align: a power of two
 * @keep_floor: an ordinary request: reserves are not for it, see pressure.h
 * @boot_only: not in memory that arrived at run time
 * @whole_words: of single frames: full words of 64 rather than the lowest, and all
 *	of the last word
 */
struct run_wanted {
	uint64_t n, align, lo, hi;
	bool keep_floor, boot_only, whole_words;
};

/** main_map - the machine's. */
extern struct memmap main_map;

/** memmap_init() - start from memblock's ranges; pools have been fed. Return: 0, or -ENOSPC. */
int memmap_init(struct memmap *map, const struct mem_range *ranges, size_t n);

/**
 * memmap_range() - the range that holds @pa, or else the next above it.
 * @range: gets a copy, so that no later change can reach it
 *
 * Any context, no lock. Return: false if there is none.
 */
bool memmap_range(const struct memmap *map, phys_addr_t pa, struct ram_range *range);

/** memmap_state() - see mem_state(). */
enum mem_state memmap_state(const struct memmap *map, phys_addr_t pa);

/** memmap_walk() - see mem_walk(). */
int memmap_walk(struct memmap *map,
		int (*fn)(phys_addr_t base, uint64_t size, enum mem_state s, void *arg), void *arg);

/** memmap_arena() - the arena of @pa, made from the ranges if need be; NULL: no metadata memory. */
struct arena *memmap_arena(struct memmap *map, phys_addr_t pa);

/** memmap_chunk() - the chunk of @pa, likewise. */
static inline struct chunk *memmap_chunk(struct memmap *map, phys_addr_t pa)
{
	struct arena *arena = memmap_arena(map, pa);

	return arena ? &arena->chunk[pa >> CHUNK_SHIFT & (ARENA_CHUNKS - 1)] : NULL;
}

/**
 * memmap_top_reserved() - highest Reserved stretch that is good for metadata.
 * @size: a power of two from FRAME_SIZE to CHUNK_SIZE, and the alignment
 *
 * @apart_lo, @apart_hi: and it lies outside of this
 *
 * Never of memory that arrived at run time. Each call answers with a lower
 * place than the one before. Any context but NMI. Return: false if there is none.
 */
bool memmap_top_reserved(struct memmap *map, unsigned node, uint64_t size, phys_addr_t apart_lo,
			 phys_addr_t apart_hi, phys_addr_t *base);

/** memmap_top_again() - look again at places below @top. Any context but NMI. */
void memmap_top_again(struct memmap *map, unsigned node, phys_addr_t top);

/**
 * memmap_next_claimable() - the next run of frames that the heap may claim: Reserved
 * ones, and its own that were scavenged.
 * @arrived: 0 only memory of the boot, 1 only memory that arrived later, -1 any
 * @base: where to start; becomes the run's start
 * @end: the run lies below
 * @size: its bytes; it does not pass the end of its chunk
 *
 * Any context. Return: false if there is none.
 */
bool memmap_next_claimable(struct memmap *map, unsigned node, int arrived, phys_addr_t *base,
			   phys_addr_t end, uint64_t *size);

/** memmap_claimable_run() - the lowest such stretch that could hold a long run. Any context. */
bool memmap_claimable_run(struct memmap *map, unsigned node, const struct run_wanted *want,
			  phys_addr_t *base);

/**
 * memmap_boot_stretch() - the next addresses without memory that arrived at run time.
 * @start: frame number where to start; becomes that of the stretch
 * @limit: it lies below
 *
 * Any context, no lock. Return: its end, or 0 if there is none.
 */
uint64_t memmap_boot_stretch(const struct memmap *map, uint64_t *start, uint64_t limit);

/** memmap_tell_growth() - the heap may find something now where it found nothing before. */
static inline void memmap_tell_growth(struct memmap *map)
{
	(void)atomic_fetch_add(&map->returned, 1);
}

/** memmap_could_hold() - is there such a stretch of a node's RAM, whatever its state? */
bool memmap_could_hold(const struct memmap *map, unsigned node, const struct run_wanted *want);

/** memmap_node_pool() - metadata memory that lasts, near a node. */
static inline struct meta_pool *memmap_node_pool(struct memmap *map, unsigned node)
{
	struct meta_pool *pool = &map->pool[node];

	/* A node whose memory came later has none. */
	for (unsigned i = 0; !atomic_load_relaxed(&pool->held) && i < PORT_MAX_NODES; i++)
		pool = &map->pool[i];
	return pool;
}

/** memmap_pool() - metadata memory for what describes @pa, whose arena exists. */
static inline struct meta_pool *memmap_pool(struct memmap *map, phys_addr_t pa)
{
	return arena_find(&map->index, pa)->pool;
}

/**
 * memmap_is_ram() - true if all of it is RAM that memblock did not keep or give away.
 * @size: not 0; base + size does not wrap
 */
bool memmap_is_ram(const struct memmap *map, phys_addr_t base, uint64_t size);

/** memmap_overlaps() - true if any of it is in a range. */
bool memmap_overlaps(const struct memmap *map, phys_addr_t base, uint64_t size);

/**
 * memmap_splice() - put ranges in place of those that lie in [base, base + size).
 * @with, @n: the new ones, ascending; no range crosses the borders
 *
 * Any context but NMI. Return: 0, or -ENOSPC: then nothing has changed.
 */
int memmap_splice(struct memmap *map, phys_addr_t base, uint64_t size,
		  const struct ram_range *with, size_t n);

/**
 * memmap_settle() - wait until nobody holds a pointer to what was made unfindable.
 *
 * Task context, interrupts on, not pinned, no lock held.
 */
void memmap_settle(void);

#endif
