/* SPDX-License-Identifier: MIT */
/*
 * How much free memory caches may keep from others.
 *
 *	all caches together	1/64 of RAM
 *	  frames		1/128, shared by the CPUs (pagecpu.c)
 *	  empty spans		1/512, shared by the CPUs (mcache.c), at most 512 KiB each
 *	  medium runs		1/512, shared by the CPUs, and 1/256, shared by the nodes
 *
 * A port may set others: of empty spans, more than a CPU keeps once it needs memory
 * for anything else (malloc/heap.c). Here both are the same.
 *
 * What a CPU's windows and partly used spans hold lies between objects that are
 * in use, so that only a cache of objects of its class could use it; it goes to
 * the central lists when the CPU is drained.
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
 *
 * Each is one relaxed store, when CPUs or RAM come or go, and one relaxed load: who
 * reads the old one keeps too much or too little until it looks again.
 */
struct retention {
	size_t spare, spare_low, medium_cpu, medium_node;
};

extern struct retention retention;

/** retention_count_cpu() - the calling CPU is one that shares, or no longer. Task context. */
void retention_count_cpu(bool counts);

/** retention_update() - RAM has come or gone. Any context but NMI. */
void retention_update(void);

/**
 * retention_reclaim() - give back what may be given back without waiting for a task.
 *
 * All medium runs; of spans, those of the calling CPU. Task context, nothing
 * pinned or locked. Return: are there more free frames now than before?
 */
bool retention_reclaim(void);

/** retention_flush_cpu() - all that object caches of the calling CPU keep. Task context. */
void retention_flush_cpu(void);

/** struct retained - what is kept now, in bytes, and at most. */
struct retained {
	uint64_t frames, spare, medium, limit;
};

void retention_sum(struct retained *sum);

#endif
