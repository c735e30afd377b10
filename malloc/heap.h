/* SPDX-License-Identifier: MIT */
/*
 * Between the files of malloc/: what lies behind the hot paths.
 *
 *	malloc.c	the calls of <malloc.h>: hot paths, inlined from mm/
 *	magazine.c	objects of small classes, between the hot paths and the spans
 *	kept.c		objects of more than 32 KiB, kept for reuse
 *	heap.c		what they fall back on: gate, start-up, upkeep
 *	info.c		statistics and knobs
 */
#ifndef MALLOC_HEAP_H
#define MALLOC_HEAP_H

#include <spanheap/slab.h>

struct span;

/* What the library shows; all else is hidden. */
#define PUBLIC __attribute__((visibility("default")))

/* C23, not in every <stdlib.h> yet. */
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

/* All of these keep errno, except that a failed allocation sets ENOMEM. */

/** heap_alloc() - @size bytes at a multiple of @align, a power of two; or NULL. */
void *heap_alloc(size_t size, size_t align, gfp_t gfp);

/* Larger objects are not kept. */
#define LARGE_MAX (1UL << 20)

/** kept_alloc() - more than KMALLOC_MAX_SMALL, at most LARGE_MAX bytes, dirty if kept before. */
void *kept_alloc(size_t size, gfp_t gfp);

/** kept_free() - keep the object at @pa, if it is a large one; false: nothing has changed. */
bool kept_free(struct span *span, phys_addr_t pa);

/** kept_flush() - free what this CPU keeps. Between heap_enter() and heap_leave(). */
void kept_flush(void);

/** heap_resize() - a large object to @size bytes, also large, where it is if it can be; or NULL. */
void *heap_resize(void *p, size_t size);

/** heap_free() - whatever @p is. */
void heap_free(void *p);

/** heap_free_sized() - and @size is what was asked for, or the process ends. */
void heap_free_sized(void *p, size_t size);

/** heap_misuse() - report a finding of kind enum mm_misuse. */
void heap_misuse(int kind, const void *p);

/** heap_word_empty() - mcache_word_empty() of @p's span, behind the gate. */
void heap_word_empty(const void *p);

/** heap_tell() - mcache_tell() behind the gate. */
void heap_tell(struct span *span);

/** heap_flush() - empty the caches of the CPU. Between heap_enter() and heap_leave(). */
void heap_flush(void *unused);

/** heap_enter() - start the heap if need be; from here to heap_leave() mm/ may be called. */
void heap_enter(void);
void heap_leave(void);

#endif
