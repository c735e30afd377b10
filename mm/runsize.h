/* SPDX-License-Identifier: MIT */
/*
 * Used runs that grow and shrink where they are.
 *
 *	before	 |▒▒▒▒▒▒▒▒▒▒|........|    a run of n frames, free ones behind it
 *	extend	 |▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒|...|    if the next frames are free
 *	trim	 |▒▒▒▒▒|.............|    always
 *
 * The caller holds the run: nobody else frees or changes it meanwhile. What it
 * holds of the contents stays as it is; new frames are not zeroed.
 *
 * Locking: heap->lock, taken inside. Cost: a few bit operations per chunk.
 */
#ifndef MM_RUNSIZE_H
#define MM_RUNSIZE_H

#include "mm/pageheap.h"

/**
 * runsize_extend() - take the @more frames behind a run of @n.
 * @limit: frame number below which it must stay
 * @keep_floor: leave the reserves alone
 *
 * Any context; an NMI may get false where others would not. Frames that a cache
 * holds, that are not Ready, or that arrived at run time are not taken.
 *
 * Return: was it done? If not, nothing has changed.
 */
bool runsize_extend(struct pageheap *heap, uint64_t pfn, uint64_t n, uint64_t more,
		    uint64_t limit, bool keep_floor);

/** runsize_trim() - give all but the first @keep frames of a run of @n back; likewise. */
bool runsize_trim(struct pageheap *heap, uint64_t pfn, uint64_t n, uint64_t keep);

#endif
