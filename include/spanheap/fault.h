/* SPDX-License-Identifier: MIT */
/*
 * Failure injection: make allocations fail on purpose.
 *
 * Each public allocation call is one point and fails outright; the points
 * inside (metadata, page tables, growth of the page heap) count as well.
 * __GFP_NOFAIL is exempt. One setting for all CPUs; any context.
 */
#ifndef SPANHEAP_FAULT_H
#define SPANHEAP_FAULT_H

#include <spanheap/types.h>

/** mm_fail_nth() - the @n-th point from now fails, once; 1 is the next. 0: off. */
void mm_fail_nth(uint64_t n);

/** mm_fail_rate() - one point in @one_in fails, chosen by @seed. 0: off. */
void mm_fail_rate(uint32_t one_in, uint64_t seed);

/** mm_fail_off() - nothing fails on purpose any longer. */
void mm_fail_off(void);

#endif
