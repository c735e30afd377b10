/* SPDX-License-Identifier: MIT */
/*
 * Memory that arrives and leaves at run time, for any memory map: the calls of
 * <spanheap/boot.h> work on the machine's.
 */
#ifndef MM_HOTPLUG_H
#define MM_HOTPLUG_H

#include "mm/pageheap.h"

/** hotplug_add() - see mm_add_memory(). */
int hotplug_add(struct memmap *map, phys_addr_t base, uint64_t size, int node);

/**
 * hotplug_remove() - see mm_remove_memory().
 * @heaps: by node
 * @drain: empties what may hold free frames of the heaps
 */
int hotplug_remove(struct memmap *map, struct pageheap *heaps, void (*drain)(void),
		   phys_addr_t base, uint64_t size);

#endif
