/* SPDX-License-Identifier: MIT */
/*
 * Caches: classes with a name, spans of their own and perhaps a constructor.
 * Below struct kmem_cache: what the rest of mm/ asks of all caches.
 */
#ifndef MM_KMEM_CACHE_H
#define MM_KMEM_CACHE_H

#include <spanheap/kmem_cache.h>

#include "mm/mcache.h"

#define CACHE_NAME_SIZE 32

/**
 * struct kmem_cache
 * @class: what mcache.c knows of it
 * @inverse: of the odd part of class.size, modulo 2^64
 * @shift: log2 of the even part
 * @gfp: added to each request for pages
 * @refs: who works on it without the list's lock
 * @size: as asked for
 * @next, @prev: of the list
 * @cpu: behind class.cpu
 * @window: the hot paths' own view of it
 */
struct kmem_cache {
	struct span_class class;
	uint64_t inverse;
	uint8_t shift;
	gfp_t gfp;
	uint32_t refs;
	size_t size;
	struct kmem_cache *next, *prev;
	char name[CACHE_NAME_SIZE];
	struct class_cpu *cpu[PORT_MAX_CPUS];
	struct window *window[MCACHE_SLOTS];
};

/* An empty window: nothing is taken out of it, and no object lies in it. */
static inline struct window *no_window(void)
{
	return (struct window *)&empty_mcache.window[0];
}

/** kmem_cache_flush_cpu() - mcache_flush() for what the calling CPU has of caches. */
void kmem_cache_flush_cpu(void);

/** kmem_cache_shed() - mcache_shed() for what the calling CPU has of caches. */
void kmem_cache_shed(void);

/**
 * kmem_cache_divert() - no allocation of any CPU finds a window in its hot path,
 * until it has been to the slow one. Any context; an NMI may not get it done.
 */
void kmem_cache_divert(void);

/**
 * kmem_cache_owns() - is an object handed out at @p, of this cache, or of kmalloc() for NULL?
 *
 * Of an object that is in no caller's hands the answer may be wrong. Any context.
 */
bool kmem_cache_owns(const struct kmem_cache *cache, const void *p);

/** kmem_cache_failed_calls() - allocations that returned NULL. */
uint64_t kmem_cache_failed_calls(void);

/**
 * kmem_cache_loaded() - what struct cpu_heap's count does not know of caches:
 * objects put into windows once more, less those that are in windows now.
 */
uint64_t kmem_cache_loaded(void);

/** kmem_cache_for_each_class() - visit the class of every cache, the list locked. */
void kmem_cache_for_each_class(void (*fn)(struct span_class *class, void *arg), void *arg);

/** kmem_cache_check() - for mm_validate(): how much is wrong, each logged. */
unsigned kmem_cache_check(void);

#endif
