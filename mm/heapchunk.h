/* SPDX-License-Identifier: MIT */
/*
 * Chunks that leave the page heap whole: to be scavenged, or with memory that
 * goes. Their frames are held then, and their summary is 0; pageheap_add()
 * brings them back.
 *
 * Locking: heap->lock, taken inside.
 */
#ifndef MM_HEAPCHUNK_H
#define MM_HEAPCHUNK_H

#include "mm/pageheap.h"

/**
 * heapchunk_take() - take a chunk's free frames out of the heap.
 * @pfn, @n: what of the chunk may be the heap's
 *
 * Return: how many frames were taken; 0 if one of those that are Ready is used or
 * cached, or none is Ready: then nothing has changed.
 */
unsigned heapchunk_take(struct pageheap *heap, struct chunk *chunk, uint64_t pfn, unsigned n);

/**
 * heapchunk_take_last() - take whole chunks that are free, from the highest down.
 * @below: chunk number above those that are looked at
 * @max: at most so many; they are neighbours
 * @first: gets the number of the lowest
 *
 * Return: how many.
 */
unsigned heapchunk_take_last(struct pageheap *heap, uint64_t below, unsigned max, uint64_t *first);

/**
 * heapchunk_unseat() - give up the leaves of chunks that have left.
 * @base, @end: addresses, multiples of CHUNK_SIZE
 *
 * A leaf goes unless a chunk outside has its place in it.
 */
void heapchunk_unseat(struct pageheap *heap, phys_addr_t base, phys_addr_t end);

#endif
