/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU memory: one copy of an object for each CPU that there can be.
 *
 *	uint64_t *hits = alloc_percpu(uint64_t);
 *
 *	port_pin();
 *	(*this_cpu_ptr(hits))++;
 *	port_unpin();
 *
 *	for (unsigned cpu = 0; cpu < PORT_POSSIBLE_CPUS; cpu++)
 *		sum += *per_cpu_ptr(hits, cpu);
 *
 * What alloc_percpu() returns leads to the copies and is none itself: it is
 * for the calls below only. The copies lie PERCPU_STRIDE apart, small objects of
 * a CPU side by side, so that nobody else's CPU writes into their cache lines.
 */
#ifndef SPANHEAP_PERCPU_H
#define SPANHEAP_PERCPU_H

#include <spanheap/gfp.h>
#include <spanheap/port.h>

/** PERCPU_STRIDE - from a CPU's copy to the next one's; no object is larger. */
#define PERCPU_STRIDE (32UL << 10)

/**
 * __alloc_percpu_gfp() - @size bytes for each CPU, zeroed.
 * @align: of every copy; a power of two, at most FRAME_SIZE
 *
 * Any context; an NMI may get NULL where others would not. Return: NULL if there
 * is no memory, or an argument makes no sense. Cost: a search of a bitmap, and
 * clearing the copies.
 */
void *__alloc_percpu_gfp(size_t size, size_t align, gfp_t gfp);

/** __alloc_percpu() - the same, from a task. */
static inline void *__alloc_percpu(size_t size, size_t align)
{
	return __alloc_percpu_gfp(size, align, GFP_KERNEL);
}

/** alloc_percpu() - an object of a type for each CPU, zeroed; or NULL. */
#define alloc_percpu(type) ((__typeof__(type) *)__alloc_percpu(sizeof(type), __alignof__(type)))

/**
 * free_percpu() - free all copies; NULL is legal. Any context but NMI.
 *
 * What was not allocated here, or is free already, is reported (misuse.h).
 */
void free_percpu(void *p);

/** per_cpu_ptr() - a CPU's copy; the number is less than PORT_POSSIBLE_CPUS. */
#define per_cpu_ptr(p, cpu) ((__typeof__(p))((char *)(p) + (size_t)(cpu) * PERCPU_STRIDE))

/** this_cpu_ptr() - the running CPU's copy; pinned. */
#define this_cpu_ptr(p) per_cpu_ptr(p, port_cpu())

#endif
