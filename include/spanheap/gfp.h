/* SPDX-License-Identifier: MIT */
/*
 * Allocation flags. Names and meaning are Linux's where Linux has them; the values
 * are not. Bits that have no name here are to be 0: the upper ones carry a node.
 */
#ifndef SPANHEAP_GFP_H
#define SPANHEAP_GFP_H

#include <spanheap/types.h>

/** __GFP_ZERO - the memory reads as zeroes. */
#define __GFP_ZERO ((gfp_t)1 << 0)
/** __GFP_NOSCAN - the object holds no pointers; it lives in spans of its own. */
#define __GFP_NOSCAN ((gfp_t)1 << 1)
/** GFP_DMA - physical addresses below 16 MiB. */
#define GFP_DMA ((gfp_t)1 << 2)
/** GFP_DMA32 - physical addresses below 4 GiB. */
#define GFP_DMA32 ((gfp_t)1 << 3)
/** __GFP_THISNODE - the wanted NUMA node or nothing. */
#define __GFP_THISNODE ((gfp_t)1 << 4)
/** __GFP_NOWARN - accepted for Linux's sake: a failure is never logged. */
#define __GFP_NOWARN ((gfp_t)1 << 5)
/** __GFP_NOFAIL - panic rather than return NULL; exempt from failure injection. */
#define __GFP_NOFAIL ((gfp_t)1 << 6)
/** __GFP_RECLAIM - reclaim callbacks may be asked; they may wait. */
#define __GFP_RECLAIM ((gfp_t)1 << 7)
/** __GFP_HIGH - may use the reserves kept for those who cannot wait. */
#define __GFP_HIGH ((gfp_t)1 << 8)

/** GFP_KERNEL - the ordinary request of a task: may reclaim. */
#define GFP_KERNEL __GFP_RECLAIM
/** GFP_ATOMIC - interrupts, NMIs, lock holders: never waits, may use reserves. */
#define GFP_ATOMIC __GFP_HIGH

#define GFP_ALL_FLAGS (((gfp_t)1 << 9) - 1)

#endif
