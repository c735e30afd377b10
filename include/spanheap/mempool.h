/* SPDX-License-Identifier: MIT */
/*
 * Memory pools: an allocator with a reserve behind it, for those who must not
 * fail. Names and meaning are Linux's, except that nothing here waits.
 *
 *	mempool_alloc() ─► the allocator ─► if it has nothing: the reserve
 *	mempool_free()  ─► the reserve, until that is full ─► the allocator
 *
 * So as long as fewer elements than the reserve has are in use, or as fast as
 * they come back, somebody gets one whatever the state of the machine.
 *
 * Contexts: any to allocate and free, without locks, so that an NMI finds what
 * the reserve has whatever it interrupts; all else from a task.
 */
#ifndef SPANHEAP_MEMPOOL_H
#define SPANHEAP_MEMPOOL_H

#include <spanheap/gfp.h>

struct kmem_cache;
struct mempool;

/* As in Linux. */
typedef struct mempool mempool_t;
typedef void *mempool_alloc_t(gfp_t gfp, void *pool_data);
typedef void mempool_free_t(void *element, void *pool_data);

/**
 * mempool_create() - a pool with a full reserve.
 * @min_nr: elements of the reserve, 0 or more
 * @alloc_fn, @free_fn: the allocator behind it; they are called in every context
 *	that uses the pool
 * @pool_data: for them
 *
 * Return: NULL if there is no memory, or @min_nr is negative.
 */
struct mempool *mempool_create(int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
			       void *pool_data);

/** mempool_destroy() - free the reserve and the pool; NULL is legal. All elements are back. */
void mempool_destroy(struct mempool *pool);

/**
 * mempool_resize() - give the reserve another size.
 *
 * The pool may be in use meanwhile; one resizes at a time. Return: 0; -ENOMEM
 * if the reserve could not be filled: then it is as it was; -EINVAL.
 */
int mempool_resize(struct mempool *pool, int new_min_nr);

/**
 * mempool_alloc() - an element.
 * @gfp: for the allocator. Elements of a reserve are not zeroed, so __GFP_ZERO
 *	is refused
 *
 * Return: NULL only if the allocator gave nothing and the reserve is empty; with
 * __GFP_NOFAIL it panics then.
 */
void *mempool_alloc(struct mempool *pool, gfp_t gfp);

/**
 * mempool_free() - give an element back; NULL is legal.
 *
 * An element that the reserve has already is MM_DOUBLE_FREE. What goes into the
 * reserve of a slab or kmalloc pool is checked like any free.
 *
 * Cost: the allocator's, and a look at each element of the reserve.
 */
void mempool_free(void *element, struct mempool *pool);

/* Allocators for pools of objects of a cache, of kmalloc() and of pages. */
void *mempool_alloc_slab(gfp_t gfp, void *cache);
void mempool_free_slab(void *element, void *cache);
void *mempool_kmalloc(gfp_t gfp, void *size);
void mempool_kfree(void *element, void *size);
void *mempool_alloc_pages(gfp_t gfp, void *order);
void mempool_free_pages(void *element, void *order);

/** mempool_create_slab_pool() - of objects of a cache, which outlives the pool. */
static inline struct mempool *mempool_create_slab_pool(int min_nr, struct kmem_cache *cache)
{
	return mempool_create(min_nr, mempool_alloc_slab, mempool_free_slab, cache);
}

/** mempool_create_kmalloc_pool() - of objects of @size bytes. */
static inline struct mempool *mempool_create_kmalloc_pool(int min_nr, size_t size)
{
	return mempool_create(min_nr, mempool_kmalloc, mempool_kfree, (void *)size);
}

/** mempool_create_page_pool() - of 2^@order frames each. */
static inline struct mempool *mempool_create_page_pool(int min_nr, int order)
{
	return mempool_create(min_nr, mempool_alloc_pages, mempool_free_pages,
			      (void *)(uintptr_t)order);
}

#endif
