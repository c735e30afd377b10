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
 * Locking: memmap->lock, interrupts off, the innermost: chunk states, owners
 * and busy marks. change_lock: the tables; taken before it.
 */
#ifndef MM_MEMMAP_H
#define MM_MEMMAP_H

#include <spanheap/boot.h>

#include "mm/arena.h"
#include "mm/memblock.h"

#define MEMMAP_MAX_RANGES 1024

/**
 * struct ram_range - a run of RAM.
 * @pool: metadata memory for its arenas; its own if it arrived at run time
 * @arrived: mm_add_memory() brought it; mm_remove_memory() may take it away
 */
struct ram_range {
	phys_addr_t base;
	uint64_t size;
	struct meta_pool *pool;
	uint8_t node, use; /* enum mem_use */
	bool arrived;
};

/* @changes: raised before and after the table is filled; odd meanwhile. */
struct ram_table {
	size_t n, changes;
	struct ram_range range[MEMMAP_MAX_RANGES];
};

/**
 * struct memmap - one memory map.
 * @meta_top: by node: at and above this nothing is left for metadata
 * @returned: raised whenever frames became Reserved, or a chunk nobody's
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
	bool tracked_only;
};

/** struct run_wanted - a run of frames that is looked for; @align is a power of two. */
struct run_wanted {
	uint64_t n, align, lo, hi;
};

/** main_map - the machine's. */
extern struct memmap main_map;

/**
 * memmap_init() - start from memblock's ranges.
 *
 * The pools of the nodes must have been fed, or feeding is left to
 * memmap_feed(). Return: 0, or -ENOSPC.
 */
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
 * Never of memory that arrived at run time. Each call answers with a lower
 * place than the one before. Any context but NMI. Return: false if there is none.
 */
bool memmap_top_reserved(struct memmap *map, unsigned node, uint64_t size, phys_addr_t *base);

/**
 * memmap_next_reserved() - the next run of Reserved frames that the heap may claim.
 * @arrived: 0 only memory of the boot, 1 only memory that arrived later, -1 any
 * @base: where to start; becomes the run's start
 * @end: the run lies below
 * @size: its bytes; it does not pass the end of its chunk
 *
 * Any context. Return: false if there is none.
 */
bool memmap_next_reserved(struct memmap *map, unsigned node, int arrived, phys_addr_t *base,
			  phys_addr_t end, uint64_t *size);

/** memmap_reserved_run() - the lowest Reserved stretch that could hold a long run. Any context. */
bool memmap_reserved_run(struct memmap *map, unsigned node, const struct run_wanted *want,
			 phys_addr_t *base);

/** memmap_longest() - frames of the longest stretch of a node's RAM, whatever its state. */
uint64_t memmap_longest(struct memmap *map, unsigned node);

/** memmap_node_pool() - metadata memory that lasts, near a node. */
static inline struct meta_pool *memmap_node_pool(struct memmap *map, unsigned node)
{
	return map->pool[node].held ? &map->pool[node] : &map->pool[0];
}

/** memmap_pool() - metadata memory for what describes @pa. */
struct meta_pool *memmap_pool(struct memmap *map, phys_addr_t pa);

/**
 * memmap_is_ram() - true if all of it is RAM that memblock did not keep or give away.
 * @size: not 0; base + size does not wrap
 */
bool memmap_is_ram(const struct memmap *map, phys_addr_t base, uint64_t size);

#endif
