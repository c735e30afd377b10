/* SPDX-License-Identifier: MIT */
/*
 * Object pools: ready-made objects that are dear to make, kept for the next one
 * who needs such a thing. After sync.Pool of the Go runtime.
 *
 *	get: the CPU's own ─► another CPU's ─► the older generation's ─► made anew
 *	put: the CPU's own, if there is room ─► unmade
 *
 * A pool forgets what nobody needs: at each age it drops its older generation,
 * and what is in it now becomes the older one. So what lies idle for two ages is
 * unmade, and one short pause empties no pool. mm_drain() empties all.
 *
 * Compared with a cache with a constructor (kmem_cache.h): making may fail and
 * may own other resources, since there is an undoing; and fewer instructions.
 *
 * Contexts: any to get and put, without locks; all else from a task.
 */
#ifndef SPANHEAP_OBJPOOL_H
#define SPANHEAP_OBJPOOL_H

#include <spanheap/gfp.h>

/** OBJPOOL_KEEPS - objects that a pool keeps for each CPU and generation, at most. */
#define OBJPOOL_KEEPS 16

struct objpool;

/**
 * struct objpool_ops - how objects come to be and end. Called in the contexts of
 * those who get and put, unmake() also from objpool_age() and mm_drain().
 * @make: make an object of raw memory; not 0: it cannot be. May be NULL
 * @unmake: undo that, before the memory goes. May be NULL
 * @arg: for both
 */
struct objpool_ops {
	int (*make)(void *object, gfp_t gfp, void *arg);
	void (*unmake)(void *object, void *arg);
	void *arg;
};

/**
 * objpool_create() - an empty pool.
 * @name, @size, @align: as for kmem_cache_create()
 * @ops: copied
 *
 * Return: NULL if an argument makes no sense or there is no memory.
 */
struct objpool *objpool_create(const char *name, size_t size, size_t align,
			       const struct objpool_ops *ops);

/**
 * objpool_destroy() - unmake what is in it, and end it; NULL is legal.
 *
 * Return: 0, or -EBUSY if objects of it are still in use: they are reported as by
 * kmem_cache_destroy(), and the pool goes on.
 */
int objpool_destroy(struct objpool *pool);

/** objpool_get() - an object, made. Return: NULL if there is no memory, or make() said so. */
void *objpool_get(struct objpool *pool, gfp_t gfp);

/**
 * objpool_put() - an object goes back, as make() left it; NULL is legal.
 *
 * An object put twice is MM_DOUBLE_FREE, at once if this CPU has it, and at the
 * latest when the pool lets go of it. What is not the pool's is found then, too.
 */
void objpool_put(struct objpool *pool, void *object);

/** objpool_age() - one age of this pool: drop the older generation. */
void objpool_age(struct objpool *pool);

/** objpool_age_all() - one age of every pool. */
void objpool_age_all(void);

#endif
