/* SPDX-License-Identifier: MIT */
/*
 * How much free memory caches may keep from others.
 *
 *	all caches together	1/64 of RAM
 *	  frames		1/128, shared by the CPUs (pagecpu.c)
 *	  empty spans		1/512, shared by the CPUs (mcache.c) and the central lists,
 *				at most 512 KiB each
 *	  medium runs		1/512, shared by the CPUs, and 1/256, shared by the nodes
 *	what CPUs own besides	another 1/64, shared by the CPUs
 *
 * A port may set others: of empty spans, more than a CPU keeps once it needs memory
 * for anything else (malloc/heap.c). Here both are the same.
 *
 * A CPU owns partly used spans, in lists and windows, and spans in which others have
 * freed since it last looked. It may own more than its share until a task elsewhere
 * that may wait wants memory: then it is asked to give it back (asking.c).
 */
#ifndef MM_RETENTION_H
#define MM_RETENTION_H

#include <spanheap/types.h>

#define RETENTION_ALL 64
#define RETENTION_FRAMES 128

/**
 * struct retention - limits, in bytes.
 * @spare: of empty spans, for each CPU
 * @spare_low: what a CPU keeps of those when it takes memory that it has no span for
 * @medium_cpu, @medium_node: of medium runs, for each CPU and node
 * @owned: of partly used spans, for each CPU
 *
 * Each is one relaxed store, when CPUs or RAM come or go, and one relaxed load: who
 * reads the old one keeps too much or too little until it looks again.
 */
struct retention {
	size_t spare, spare_low, medium_cpu, medium_node, owned;
};

extern struct retention retention;

/** retention_count_cpu() - the calling CPU is one that shares, or no longer. Task context. */
void retention_count_cpu(bool counts);

/** retention_cpus() - no CPU that ever shared has a number as high as this. */
unsigned retention_cpus(void);

/** retention_update() - RAM has come or gone. Any context but NMI. */
void retention_update(void);

/**
 * retention_reclaim() - give back what may be given back without relying on a task.
 *
 * All medium runs; of spans, those of the calling CPU and of those that give them
 * back when they are asked. Task context, nothing pinned or locked. Return: are there
 * more free frames now than before?
 */
bool retention_reclaim(void);

/** retention_flush_cpu() - all that object caches of the calling CPU keep. Task context. */
void retention_flush_cpu(void);

/** struct retained - what is kept now, in bytes, and at most. */
struct retained {
	uint64_t frames, spare, medium, owned, limit;
};

void retention_sum(struct retained *sum);

#endif
