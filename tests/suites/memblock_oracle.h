/* SPDX-License-Identifier: MIT */
/*
 * memblock as simple as it can be: a map with one cell for each frame. The unit
 * test and the fuzzer compare the real one with it after every call.
 *
 *	cell     0 ... LOW-1        LOW           LOW+1 ... CELLS-1
 *	         frames from 0 on   all between   frames up to MEMBLOCK_LIMIT
 *
 * The cell between is one huge frame: oracle_clamp() keeps ranges from ending
 * inside it, and oracle_init() reserves it, so that nothing is allocated there.
 */
#ifndef TESTS_MEMBLOCK_ORACLE_H
#define TESTS_MEMBLOCK_ORACLE_H

#include "lib/bits.h"
#include "lib/string.h"
#include "mm/memblock.h"

#define ORACLE_LOW 1280
#define ORACLE_HIGH 256
#define ORACLE_CELLS (ORACLE_LOW + 1 + ORACLE_HIGH)
#define ORACLE_LOW_END (ORACLE_LOW * FRAME_SIZE)
#define ORACLE_HIGH_BASE (MEMBLOCK_LIMIT - ORACLE_HIGH * FRAME_SIZE)
#define ORACLE_NO_RAM (-1)

struct oracle {
	int8_t node[ORACLE_CELLS]; /* or ORACLE_NO_RAM */
	int8_t use[ORACLE_CELLS];  /* MEM_USE_FREE where nothing is taken */
	int8_t undo[ORACLE_CELLS];
};

/* Start of a cell; of the one after the last: the limit. */
static inline phys_addr_t oracle_base(size_t cell)
{
	return cell <= ORACLE_LOW ? cell * FRAME_SIZE
				  : MEMBLOCK_LIMIT - (ORACLE_CELLS - cell) * FRAME_SIZE;
}

/* Move an address that lies strictly inside the huge cell to its start. */
static inline phys_addr_t oracle_clamp(phys_addr_t pa)
{
	return pa > ORACLE_LOW_END && pa < ORACLE_HIGH_BASE ? ORACLE_LOW_END : pa;
}

static inline phys_addr_t oracle_end(phys_addr_t base, uint64_t size)
{
	return base + size < base ? MEMBLOCK_LIMIT : MIN(base + size, MEMBLOCK_LIMIT);
}

/* Ranges that a table needs for such a map: runs of one value but @none. */
static inline size_t oracle_count(const int8_t *cells, int8_t none)
{
	int8_t last = none;
	size_t n = 0;

	for (size_t i = 0; i < ORACLE_CELLS; last = cells[i++])
		n += cells[i] != none && cells[i] != last;
	return n;
}

/* A table may stay too large, but not become so. */
static inline bool oracle_overflows(const int8_t *before, const int8_t *after, int8_t none,
				    size_t max)
{
	size_t n = oracle_count(after, none);

	return n > max && n > oracle_count(before, none);
}

static inline int oracle_add(struct oracle *o, phys_addr_t base, uint64_t size, int node)
{
	phys_addr_t end = oracle_end(base, size);

	if (node < NUMA_NO_NODE || node >= PORT_MAX_NODES)
		return -EINVAL;
	memcpy(o->undo, o->node, sizeof(o->undo));
	for (size_t i = 0; i < ORACLE_CELLS; i++)
		if (oracle_base(i) >= base && oracle_base(i + 1) <= end)
			o->node[i] = (int8_t)MAX(node, 0);
	if (!oracle_overflows(o->undo, o->node, ORACLE_NO_RAM, MEMBLOCK_MAX_RANGES))
		return 0;
	memcpy(o->node, o->undo, sizeof(o->undo));
	return -ENOSPC;
}

static inline int oracle_reserve(struct oracle *o, phys_addr_t base, uint64_t size)
{
	phys_addr_t end = oracle_end(base, size);
	bool busy = false;

	if (!size)
		return 0;
	memcpy(o->undo, o->use, sizeof(o->undo));
	for (size_t i = 0; i < ORACLE_CELLS; i++) {
		if (oracle_base(i) >= end || oracle_base(i + 1) <= base)
			continue;
		busy |= o->use[i] == MEM_USE_BOOT;
		o->use[i] = MEM_USE_KEPT;
	}
	if (!busy && !oracle_overflows(o->undo, o->use, MEM_USE_FREE,
				       MEMBLOCK_MAX_RANGES - MEMBLOCK_ALLOC_RANGES))
		return 0;
	memcpy(o->use, o->undo, sizeof(o->undo));
	return busy ? -EBUSY : -ENOSPC;
}

static inline void oracle_init(struct oracle *o)
{
	memset(o->node, ORACLE_NO_RAM, sizeof(o->node));
	memset(o->use, MEM_USE_FREE, sizeof(o->use));
	o->use[ORACLE_LOW] = MEM_USE_KEPT;
}

/* The same for the instance under test. */
static inline void oracle_init_memblock(struct memblock *mb)
{
	memset(mb, 0, sizeof(*mb));
	(void)memblock_reserve_in(mb, ORACLE_LOW_END, ORACLE_HIGH_BASE - ORACLE_LOW_END);
}

/* Is there room for n frames from this cell on: free, and RAM of one node? */
static inline bool oracle_fits(const struct oracle *o, size_t cell, uint64_t n, int node)
{
	if (o->node[cell] == ORACLE_NO_RAM || (node != NUMA_NO_NODE && o->node[cell] != node))
		return false;
	for (size_t i = cell; n--; i++)
		if (i >= ORACLE_CELLS || o->use[i] != MEM_USE_FREE || o->node[i] != o->node[cell])
			return false;
	return true;
}

/* Where memblock must allocate, try by try in the order of preference. */
static inline phys_addr_t oracle_find(const struct oracle *o, const struct memblock *mb,
				      uint64_t size, uint64_t align, int node)
{
	uint64_t n = size / FRAME_SIZE + !!(size % FRAME_SIZE);
	phys_addr_t floor = mb->top_down ? 0 : mb->floor;

	if (!size || !is_pow2(align))
		return MEMBLOCK_FAILED;
	for (;;) {
		for (size_t i = 0; i < ORACLE_CELLS; i++) {
			size_t cell = mb->top_down ? ORACLE_CELLS - 1 - i : i;

			if (oracle_base(cell) >= floor && !(oracle_base(cell) & (align - 1)) &&
			    oracle_fits(o, cell, n, node))
				return oracle_base(cell);
		}
		if (floor) {
			floor = 0;
		} else if (node != NUMA_NO_NODE) {
			node = NUMA_NO_NODE;
			floor = mb->top_down ? 0 : mb->floor;
		} else {
			return MEMBLOCK_FAILED;
		}
	}
}

static inline void oracle_take(struct oracle *o, phys_addr_t base, uint64_t size)
{
	for (size_t i = 0; i < ORACLE_CELLS; i++)
		if (oracle_base(i) < base + size && oracle_base(i + 1) > base)
			o->use[i] = MEM_USE_BOOT;
}

/* Sorted, disjoint, merged, whole frames, below the limit. */
static inline bool oracle_table_sane(const struct memblock_table *t)
{
	if (t->n > MEMBLOCK_MAX_RANGES)
		return false;
	for (size_t i = 0; i < t->n; i++) {
		const struct mem_range *r = &t->r[i], *next = &t->r[i + 1];

		if (!r->size || r->base % FRAME_SIZE || r->size % FRAME_SIZE ||
		    r->base > MEMBLOCK_LIMIT || r->size > MEMBLOCK_LIMIT - r->base)
			return false;
		if (i + 1 == t->n)
			break;
		if (r->base + r->size > next->base)
			return false;
		if (r->base + r->size == next->base && r->node == next->node && r->use == next->use)
			return false;
	}
	return true;
}

/* The first cell of which a table says something else than the map; ORACLE_CELLS if none. */
static inline size_t oracle_differs(const struct oracle *o, const struct memblock *mb)
{
	const struct mem_range *m = mb->memory.r, *t = mb->taken.r;
	const struct mem_range *m_end = m + mb->memory.n, *t_end = t + mb->taken.n;

	for (size_t i = 0; i < ORACLE_CELLS; i++) {
		phys_addr_t pa = oracle_base(i), last = oracle_base(i + 1) - FRAME_SIZE;
		int node, use;

		while (m < m_end && m->base + m->size <= pa)
			m++;
		while (t < t_end && t->base + t->size <= pa)
			t++;
		node = m < m_end && m->base <= pa ? m->node : ORACLE_NO_RAM;
		use = t < t_end && t->base <= pa ? t->use : MEM_USE_FREE;
		if (node != o->node[i] || use != o->use[i])
			return i;
		/* The huge cell is covered whole, or not at all. */
		if (m < m_end && m->base <= last && (m->base > pa || m->base + m->size <= last))
			return i;
		if (t < t_end && t->base <= last && (t->base > pa || t->base + t->size <= last))
			return i;
	}
	return ORACLE_CELLS;
}

/* The same for what memblock_close() gave. */
static inline size_t oracle_runs_differ(const struct oracle *o, const struct mem_range *r, size_t n)
{
	const struct mem_range *end = r + n;

	for (size_t i = 0; i < ORACLE_CELLS; i++) {
		phys_addr_t pa = oracle_base(i), next = oracle_base(i + 1);

		if (o->node[i] == ORACLE_NO_RAM) {
			if (r < end && r->base < next)
				return i;
			continue;
		}
		if (r == end || r->base > pa || r->base + r->size < next || r->node != o->node[i] ||
		    r->use != (enum mem_use)o->use[i])
			return i;
		if (r->base + r->size == next)
			r++;
	}
	return ORACLE_CELLS;
}

#endif
