/* SPDX-License-Identifier: MIT */
/*
 * A binary buddy allocator of page frames, to compare with: a structure for each
 * frame, doubly linked free lists, last in first out, one spin lock. With per-CPU
 * lists in front it does what Linux's page allocator does for orders up to 3 and
 * for order 9: batches between list and buddy, a lock of its own on each list that
 * is tried. It checks nothing.
 */
#ifndef BENCH_HOST_BUDDY_H
#define BENCH_HOST_BUDDY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDDY_ORDERS 11
#define BUDDY_THREADS 8
#define BUDDY_NONE UINT32_MAX

struct buddy;

/** buddy_new() - over @nframes frames, all free; @lists: with per-CPU lists. NULL: no memory. */
struct buddy *buddy_new(uint32_t nframes, bool lists);

/** buddy_alloc() - 2^order frames for the thread numbered @cpu; BUDDY_NONE: no memory. */
uint32_t buddy_alloc(struct buddy *buddy, unsigned cpu, unsigned order);

void buddy_free(struct buddy *buddy, unsigned cpu, uint32_t frame, unsigned order);

/** buddy_drain() - empty a thread's lists. */
void buddy_drain(struct buddy *buddy, unsigned cpu);

void buddy_delete(struct buddy *buddy);

#endif
