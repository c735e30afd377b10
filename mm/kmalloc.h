/* SPDX-License-Identifier: MIT */
/* What the files behind <spanheap/slab.h> share. */
#ifndef MM_KMALLOC_H
#define MM_KMALLOC_H

#include <spanheap/slab.h>

/**
 * kmalloc_inner() - an object of @size bytes at a multiple of @align, past all windows.
 *
 * No injection point of its own, nothing is zeroed or counted. Any context, not
 * pinned. Return: NULL if there is no memory.
 */
void *kmalloc_inner(size_t size, gfp_t gfp, size_t align);

/** kmalloc_failed() - a call returns NULL, or panics if it may not. Return: NULL. */
void *kmalloc_failed(size_t size, gfp_t gfp);

/** kmalloc_failed_calls() - calls of <spanheap/slab.h> that returned NULL. */
uint64_t kmalloc_failed_calls(void);

#endif
