/* SPDX-License-Identifier: MIT */
/*
 * Giving free memory back to the outside.
 *
 * Chunks of 2 MiB that are free as a whole go from Ready to Prepared: they are
 * unmapped on every CPU, so that a stale pointer faults, and offered through
 * port_discard(). Highest addresses go first, since the page heap hands out the
 * lowest. The heap takes them back before it claims memory it never had: they lie
 * lower, their metadata and page tables exist, and the machine's footprint stays
 * what it was.
 *
 * After the background scavenger of the Go runtime (runtime/mgcscavenge.go).
 */
#ifndef SPANHEAP_SCAVENGE_H
#define SPANHEAP_SCAVENGE_H

#include <spanheap/types.h>

/**
 * mm_scavenge() - give back free memory now, whatever the goal.
 * @bytes: at least so many, if there are so many; ~0: all
 *
 * Empties the caches of all CPUs first, by mm_drain(). Task context, waits.
 *
 * Return: bytes given back.
 */
uint64_t mm_scavenge(uint64_t bytes);

/**
 * mm_scavenge_step() - what a background task calls now and then.
 * @budget: at most so many bytes, so that it is paced
 *
 * Leaves free as much as the heap is likely to ask for soon: a tenth of what is
 * in use, and SCAVENGE_KEEP at least. Task context, waits.
 *
 * Return: bytes given back; 0 means that it may sleep longer.
 */
uint64_t mm_scavenge_step(uint64_t budget);

/** SCAVENGE_KEEP - free bytes that a step leaves on the smallest heap. */
#define SCAVENGE_KEEP (8UL << 20)

#endif
