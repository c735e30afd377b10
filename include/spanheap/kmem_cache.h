/* SPDX-License-Identifier: MIT */
/*
 * Caches: objects of one type, from spans of their own.
 *
 *	static struct kmem_cache *inodes;
 *
 *	inodes = kmem_cache_create("inode", sizeof(struct inode), 0, 0, inode_ctor);
 *	inode = kmem_cache_alloc(inodes, GFP_KERNEL);
 *	kmem_cache_free(inodes, inode);
 *	kmem_cache_destroy(inodes);
 *
 * No cache shares its spans with another one or with kmalloc(), so that an
 * object given to the wrong cache is always found (MM_WRONG_CACHE). kfree() and
 * ksize() work on an object of any cache.
 *
 * Constructed objects: the constructor runs once on each object, when the span
 * it lies in is made. Who frees an object leaves it as the constructor did, and
 * the next one who gets it finds it so.
 *
 * Contexts: any to allocate and free, where an NMI is never made to wait; all
 * else from a task that holds no lock.
 */
#ifndef SPANHEAP_KMEM_CACHE_H
#define SPANHEAP_KMEM_CACHE_H

#include <spanheap/gfp.h>

/** SLAB_HWCACHE_ALIGN - to a cache line, or to the part of one that holds the object. */
#define SLAB_HWCACHE_ALIGN (1U << 0)
/** SLAB_PANIC - panic rather than fail to create. */
#define SLAB_PANIC (1U << 1)
/** SLAB_CACHE_DMA - all objects below 16 MiB. */
#define SLAB_CACHE_DMA (1U << 2)
/** SLAB_CACHE_DMA32 - all objects below 4 GiB. */
#define SLAB_CACHE_DMA32 (1U << 3)
/** SLAB_NOSCAN - objects hold no pointers. */
#define SLAB_NOSCAN (1U << 4)

/** KMEM_CACHE_MAX_SIZE - the largest object, rounded up to its alignment. */
#define KMEM_CACHE_MAX_SIZE (4UL << 20)

struct kmem_cache;

/**
 * kmem_cache_create() - a cache.
 * @name: for reports; copied, and cut after 31 characters
 * @size: of an object, in bytes; 1 .. KMEM_CACHE_MAX_SIZE
 * @align: a power of two, or 0 for 8
 * @flags: SLAB_*
 * @ctor: the constructor, or NULL. Any context; it must not allocate from the
 *	cache it works for
 *
 * Takes no memory for objects yet. Return: NULL if an argument makes no sense
 * or there is no memory.
 */
struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align, unsigned flags,
				     void (*ctor)(void *object));

/** KMEM_CACHE() - a cache for objects of a struct, named after it. */
#define KMEM_CACHE(type, flags)                                                                    \
	kmem_cache_create(#type, sizeof(struct type), __alignof__(struct type), flags, NULL)

/**
 * kmem_cache_destroy() - end a cache; NULL is legal.
 *
 * Nobody else uses it any longer. Waits for other CPUs' tasks as mm_drain() does
 * (stats.h). If objects are still handed out the cache
 * stays as it is, so that their memory serves nobody else, and a report of them
 * goes to the log; they may still be freed, and the cache destroyed after that.
 *
 * Return: 0, or -EBUSY if there are such objects.
 */
int kmem_cache_destroy(struct kmem_cache *cache);

/**
 * kmem_cache_shrink() - give all memory without objects back.
 *
 * Waits for other CPUs' tasks as mm_drain() does (stats.h).
 *
 * Return: 0 if none is left, 1 if there is some, as in Linux.
 */
int kmem_cache_shrink(struct kmem_cache *cache);

/**
 * kmem_cache_walk() - call fn for each object that is handed out.
 * @fn: must not wait; NULL: they are only counted
 *
 * What is allocated or freed meanwhile may be missed, or seen. No lock is held.
 * Cost: O(all spans of the machine). Return: how many there were.
 */
size_t kmem_cache_walk(struct kmem_cache *cache, void (*fn)(void *object, void *arg), void *arg);

/**
 * kmem_cache_alloc() - an object.
 * @gfp: with __GFP_ZERO it is zeroed, whatever the constructor made of it. Where
 *	it lies is a matter of the cache: the flags for that (GFP_DMA, GFP_DMA32,
 *	__GFP_THISNODE) are refused
 *
 * Return: NULL if there is no memory.
 */
void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);

/** kmem_cache_zalloc() - the same, zeroed. */
static inline void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
	return kmem_cache_alloc(cache, gfp | __GFP_ZERO);
}

/** kmem_cache_free() - give an object of this cache back; NULL is legal. */
void kmem_cache_free(struct kmem_cache *cache, void *object);

/** kmem_cache_alloc_bulk() - @n objects into @p, or none. Return: @n or 0. */
size_t kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t n, void **p);

/** kmem_cache_free_bulk() - free @n objects; NULL entries are skipped. */
void kmem_cache_free_bulk(struct kmem_cache *cache, size_t n, void **p);

/** kmem_cache_size() - the size it was created with. */
size_t kmem_cache_size(const struct kmem_cache *cache);

/** kmem_cache_name() - its name. */
const char *kmem_cache_name(const struct kmem_cache *cache);

#endif
