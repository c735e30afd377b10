/* SPDX-License-Identifier: MIT */
/*
 * The boot-time allocator, as the rest of mm/ and the tests see it; the public
 * calls of <spanheap/boot.h> work on the one global instance, boot_memblock.
 */
#ifndef MM_MEMBLOCK_H
#define MM_MEMBLOCK_H

#include <spanheap/boot.h>
#include <spanheap/port.h>

#define MEMBLOCK_MAX_RANGES 512
/* Of the table of taken ranges, so many entries serve allocations alone. */
#define MEMBLOCK_ALLOC_RANGES 16
/* memblock_close() never gives more: each taken range cuts one run into three. */
#define MEMBLOCK_MAX_RUNS (3 * MEMBLOCK_MAX_RANGES)

/* RAM from here up is cut off. */
#ifdef CONFIG_FLAT_ARENAS
#define MEMBLOCK_LIMIT ((phys_addr_t)1 << 32)
#else
#define MEMBLOCK_LIMIT ((phys_addr_t)1 << PORT_PHYS_BITS)
#endif

/** enum mem_use - what became of a range of RAM by the time of the hand-over. */
enum mem_use {
	MEM_USE_FREE,	/* goes to the page heap */
	MEM_USE_BOOT,	/* memblock_alloc() gave it away: Ready */
	MEM_USE_KEPT,	/* memblock_reserve(): None */
};

/** struct mem_range - a run of whole frames; tables of these are sorted and disjoint. */
struct mem_range {
	phys_addr_t base;
	uint64_t size;
	int node;
	enum mem_use use;
};

struct memblock_table {
	size_t n;
	struct mem_range r[MEMBLOCK_MAX_RANGES];
};

/**
 * struct memblock - one boot-time allocator. All zero is a valid, empty one.
 * @memory: RAM, merged where neighbours have the same node
 * @taken: reserved and allocated ranges, merged where neighbours have the same
 *	use; their node says nothing
 * @top_down: allocate from the highest address down
 * @floor: bottom-up allocation starts here if it can (keeps DMA memory free)
 * @closed: handed over; no call changes it any longer
 * @part, @part_end: what memblock_alloc() has left of a frame it has mapped
 * @map: in place of port_map(), for instances that are not the machine's
 */
struct memblock {
	struct memblock_table memory, taken;
	bool top_down, closed;
	phys_addr_t floor;
	phys_addr_t part, part_end;
	int (*map)(uintptr_t va, phys_addr_t pa, size_t size);
};

extern struct memblock boot_memblock;

#define MEMBLOCK_FAILED (~(phys_addr_t)0)

int memblock_add_to(struct memblock *mb, phys_addr_t base, uint64_t size, int node);
int memblock_reserve_in(struct memblock *mb, phys_addr_t base, uint64_t size);

/** memblock_alloc_in() - memblock_alloc() out of an instance. */
void *memblock_alloc_in(struct memblock *mb, size_t size, size_t align);

/**
 * memblock_alloc_phys() - whole frames out of an instance; neither mapped nor zeroed.
 * @size: bytes, rounded up to frames
 * @align: a power of two, at least a frame is used
 * @node: wanted node, or NUMA_NO_NODE; a wanted node that has nothing left is
 *	no failure, the memory then comes from any; never from two at once
 *
 * Return: physical address, or MEMBLOCK_FAILED.
 */
phys_addr_t memblock_alloc_phys(struct memblock *mb, uint64_t size, uint64_t align, int node);

/**
 * memblock_map_in() - the same, mapped; not zeroed.
 *
 * Return: its address; NULL also if mapping failed: then nothing is taken.
 */
void *memblock_map_in(struct memblock *mb, uint64_t size, uint64_t align, int node);

/**
 * memblock_close() - close the instance and say what there is.
 * @out: gets RAM cut into runs of one node and one use, ascending
 * @max: entries in @out
 *
 * Return: entries written; -EBUSY the second time; -ENOSPC if they are more than
 * @max: then the instance stays open, and @out is not to be used.
 */
int memblock_close(struct memblock *mb, struct mem_range *out, size_t max);

#endif
