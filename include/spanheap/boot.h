/* SPDX-License-Identifier: MIT */
/*
 * Start-up: from a firmware's memory map to a running memory manager.
 *
 *	memblock_add() ...      the RAM, in any order, however untidy
 *	memblock_reserve() ...  what is not to be touched: kernel image, tables
 *	memblock_alloc() ...    memory before there is an allocator; never freed
 *	mm_init()               hands the rest over; memblock is closed
 *	mm_init_cpu()           on each CPU, before it allocates
 *
 * The calls before mm_init() run on one CPU with interrupts off.
 */
#ifndef SPANHEAP_BOOT_H
#define SPANHEAP_BOOT_H

#include <spanheap/types.h>

#define NUMA_NO_NODE (-1)

/**
 * memblock_add() - this is RAM.
 * @base: first byte
 * @size: bytes; a range that wraps or passes PORT_PHYS_BITS is cut there
 * @node: NUMA node, or NUMA_NO_NODE for node 0
 *
 * Partial frames at the ends are left out. Overlapping calls are merged; where
 * two name different nodes the later one wins. Nothing that is left of the range
 * is no error: mem_walk() shows what is known after mm_init().
 *
 * Cost: O(ranges). Return: 0; -EINVAL for a node out of range, -ENOSPC if the table of ranges is
 * full (the range is then not used), -EBUSY after mm_init().
 */
int memblock_add(phys_addr_t base, uint64_t size, int node);

/**
 * memblock_reserve() - never hand this out; wins over any memblock_add().
 *
 * Before, after or between the memblock_add()s. Partial frames count whole.
 *
 * Cost: O(ranges). Return: as memblock_add(); -EBUSY also if
 * memblock_alloc() has handed some of it out already. After an error nothing
 * has changed.
 */
int memblock_reserve(phys_addr_t base, uint64_t size);

/**
 * memblock_alloc() - memory for good, zeroed and Ready.
 * @size: bytes, not 0
 * @align: a power of two; less than a cache line counts as one
 *
 * Whole frames are taken; what a small request leaves of its last one serves the
 * next. Cost: O(ranges), and clearing it.
 *
 * Return: address in the direct map; NULL if there is no room, @align is no power of
 * two, or after mm_init().
 */
void *memblock_alloc(size_t size, size_t align);

/**
 * mm_set_node_distance() - how far node @b's memory is from node @a; 10 is "here".
 *
 * As in ACPI's SLIT. What is not told is 10 to itself and 20 to others. Before
 * mm_init(), on one CPU. Return: 0; -EINVAL for a node out of range, a distance below
 * 10 or above 255, or a node that is not at 10 to itself.
 */
int mm_set_node_distance(int a, int b, unsigned distance);

/**
 * mm_set_cpu_node() - on which node a CPU is; 0 if not told.
 *
 * Before its mm_init_cpu(). Return: 0; -EINVAL for a CPU or a node out of range.
 */
int mm_set_cpu_node(unsigned cpu, int node);

/**
 * mm_init() - start the memory manager with what memblock knows.
 *
 * Cost: O(ranges), whatever the amount of RAM.
 *
 * Return: 0; -ENOMEM if there is too little memory for the first metadata,
 * -EBUSY the second time.
 */
int mm_init(void);

/**
 * mm_init_cpu() - prepare the caches of the calling CPU.
 *
 * Before it allocates anything, in any context: a task that stays on this CPU, no
 * interrupts yet. A second call does nothing. Cost: two frames.
 *
 * Return: 0; -ENOMEM if there is no memory; -EINVAL before mm_init(), or where port_cpu()
 * is PORT_MAX_CPUS or more.
 */
int mm_init_cpu(void);

/**
 * mm_exit_cpu() - give back all that the calling CPU's caches hold.
 *
 * The CPU allocates and frees nothing from here on, in no context, until its next
 * mm_init_cpu(); what it has handed out stays good. Task context; waits for no other
 * CPU.
 */
void mm_exit_cpu(void);

/**
 * mm_add_memory() - RAM has arrived.
 * @base: a multiple of CHUNK_SIZE, not RAM so far
 * @size: likewise
 * @node: NUMA node, or NUMA_NO_NODE for node 0
 *
 * It is used last and holds no metadata of other memory, so that it can leave.
 * Its own metadata is in its first frames: 0.02 % of it.
 *
 * Task context, waits also for other CPUs' tasks, as mm_drain() does (stats.h).
 *
 * Return: 0, -EINVAL, -EEXIST if it overlaps known RAM, -ENOSPC
 * if there are too many ranges, -ENOMEM, -EIO if the machine refuses it, -EBUSY while
 * another call of this kind is at work.
 */
int mm_add_memory(phys_addr_t base, uint64_t size, int node);

/**
 * mm_remove_memory() - take away exactly what one mm_add_memory() brought.
 *
 * Task context, waits also for other CPUs' tasks, as mm_drain() does (stats.h).
 *
 * Return: 0, -EINVAL if no such range was added, -EBUSY if
 * any of it is in use, or while another call of this kind is at work: then nothing
 * has changed. (If somebody takes a frame of it during the call, then of the rest
 * some that was Ready and free may be Reserved.)
 */
int mm_remove_memory(phys_addr_t base, uint64_t size);

#endif
