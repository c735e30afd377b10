// SPDX-License-Identifier: MIT
/*
 * Object pools.
 *
 *	per CPU:  own[context]	the hot path's, of each context one
 *		  kept[]	the rest of this generation, from 0 up to about top
 *		  older[]	the generation before, in no order
 *
 * Each place is a word that is NULL or an object. All take by exchanging it with
 * NULL, from any CPU and context; an object comes into a place by exchanging a
 * NULL with it. own[] is filled by its context alone, for which a store will do.
 * So no place needs anything of another, and nobody waits. top says where to
 * begin looking, and is right often enough.
 *
 * Locking: pools.lock, interrupts off, for the list of pools; who works on one
 * without it holds a reference, and a pool stays on the list until all are gone.
 */
#include <spanheap/objpool.h>
#include <spanheap/percpu.h>
#include <spanheap/slab.h>

#include "lib/spinlock.h"
#include "mm/kmem_cache.h"
#include "mm/misuse.h"
#include "mm/objpool.h"

#define KEPT_SLOTS (OBJPOOL_KEEPS - 4)

struct pool_cpu {
	void *own[4];
	void *kept[KEPT_SLOTS];
	void *older[OBJPOOL_KEEPS];
	unsigned top;
};

static_assert(MM_NR_CONTEXTS <= 4, "a place of its own for each context");

struct objpool {
	struct pool_cpu *cpu;
	struct kmem_cache *cache;
	struct objpool_ops ops;
	struct objpool *next, *prev;
	unsigned refs;
};

static struct {
	struct spinlock lock;
	struct objpool *first;
} pools;

/* ---- Places ---- */

static void *take_place(void **place)
{
	return atomic_load_relaxed(place) ? atomic_xchg(place, NULL) : NULL;
}

static bool put_into(void **place, void *object)
{
	void *nothing = NULL;

	return !atomic_load_relaxed(place) && atomic_cas(place, &nothing, object);
}

static void *take_any(void **place, unsigned n)
{
	void *object = NULL;

	while (n-- && !object)
		object = take_place(place++);
	return object;
}

static bool is_in(void **place, unsigned n, const void *object)
{
	while (n--)
		if (atomic_load_relaxed(place++) == object)
			return true;
	return false;
}

/* ---- Objects ---- */

static void *make_object(struct objpool *pool, gfp_t gfp)
{
	void *object = kmem_cache_alloc(pool->cache, gfp);

	if (!object || !pool->ops.make || !pool->ops.make(object, gfp, pool->ops.arg))
		return object;
	kmem_cache_free(pool->cache, object);
	return NULL;
}

static void drop_object(struct objpool *pool, void *object)
{
	if (!object)
		return;
	/* Not twice, and nothing that is not the pool's. */
	if (pool->ops.unmake && kmem_cache_owns(pool->cache, object))
		pool->ops.unmake(object, pool->ops.arg);
	kmem_cache_free(pool->cache, object);
}

/* ---- Getting ---- */

static void *take_kept(struct pool_cpu *c)
{
	unsigned top = atomic_load_relaxed(&c->top);
	void *object;

	if (!top)
		return NULL;
	atomic_store_relaxed(&c->top, top - 1);
	object = take_place(&c->kept[top - 1]);
	return object ? object : take_any(c->kept, KEPT_SLOTS);
}

/* Of the CPUs in turn, the own first; then likewise of the older generation. */
static void *take_from_any(struct objpool *pool, unsigned self)
{
	unsigned n = PORT_POSSIBLE_CPUS;
	void *object = NULL;

	for (unsigned i = 0; i < n && !object; i++) {
		struct pool_cpu *c = per_cpu_ptr(pool->cpu, (self + i) % n);

		object = take_any(c->own, MM_NR_CONTEXTS);
		if (!object)
			object = take_kept(c);
	}
	for (unsigned i = 0; i < n && !object; i++)
		object = take_any(per_cpu_ptr(pool->cpu, (self + i) % n)->older, OBJPOOL_KEEPS);
	return object;
}

static never_inline void *get_slowly(struct objpool *pool, gfp_t gfp)
{
	void *object;

	port_pin();
	object = take_from_any(pool, port_cpu());
	port_unpin();
	return object ? object : make_object(pool, gfp);
}

void *objpool_get(struct objpool *pool, gfp_t gfp)
{
	void *object;

	port_pin();
	object = take_place(&this_cpu_ptr(pool->cpu)->own[port_context()]);
	port_unpin();
	return likely(object) ? object : get_slowly(pool, gfp);
}

/* ---- Putting ---- */

static bool keep_object(struct pool_cpu *c, void *object)
{
	unsigned top = atomic_load_relaxed(&c->top);

	for (unsigned i = 0; i < KEPT_SLOTS; i++) {
		unsigned at = (top + i) % KEPT_SLOTS;

		if (!put_into(&c->kept[at], object))
			continue;
		atomic_store_relaxed(&c->top, at + 1);
		return true;
	}
	return false;
}

static never_inline void put_slowly(struct objpool *pool, void *object, const void *caller)
{
	bool done, twice;
	struct pool_cpu *c;
	void **own;

	if (!object)
		return;
	port_pin();
	c = this_cpu_ptr(pool->cpu);
	own = &c->own[port_context()];
	twice = is_in(c->own, MM_NR_CONTEXTS, object) || is_in(c->kept, KEPT_SLOTS, object);
	done = twice || put_into(own, object) || keep_object(c, object);
	port_unpin();
	if (twice)
		mm_report_misuse(MM_DOUBLE_FREE, object, 0, caller);
	else if (!done)
		drop_object(pool, object);
}

void objpool_put(struct objpool *pool, void *object)
{
	struct pool_cpu *c;
	void **own;

	port_pin();
	c = this_cpu_ptr(pool->cpu);
	own = &c->own[port_context()];
	if (likely(!atomic_load_relaxed(own)) && likely(!atomic_load_relaxed(&c->top))) {
		atomic_store(own, object);
		port_unpin();
		return;
	}
	port_unpin();
	put_slowly(pool, object, __builtin_return_address(0));
}

/* ---- Ages ---- */

static void age_object(struct objpool *pool, struct pool_cpu *c, void *object)
{
	for (unsigned i = 0; object && i < OBJPOOL_KEEPS; i++)
		if (put_into(&c->older[i], object))
			return;
	drop_object(pool, object);
}

void objpool_age(struct objpool *pool)
{
	for (unsigned cpu = 0; cpu < PORT_POSSIBLE_CPUS; cpu++) {
		struct pool_cpu *c = per_cpu_ptr(pool->cpu, cpu);

		for (unsigned i = 0; i < OBJPOOL_KEEPS; i++)
			drop_object(pool, take_place(&c->older[i]));
		for (unsigned i = 0; i < MM_NR_CONTEXTS; i++)
			age_object(pool, c, take_place(&c->own[i]));
		for (unsigned i = 0; i < KEPT_SLOTS; i++)
			age_object(pool, c, take_place(&c->kept[i]));
		atomic_store_relaxed(&c->top, 0);
	}
}

void objpool_age_all(void)
{
	unsigned long flags = spin_lock_irqsave(&pools.lock);

	for (struct objpool *pool = pools.first; pool; pool = pool->next) {
		pool->refs++;
		spin_unlock_irqrestore(&pools.lock, flags);
		objpool_age(pool);
		flags = spin_lock_irqsave(&pools.lock);
		pool->refs--;
	}
	spin_unlock_irqrestore(&pools.lock, flags);
}

void objpool_empty_all(void)
{
	objpool_age_all();
	objpool_age_all();
}

/* ---- Life of a pool ---- */

static void list_pool(struct objpool *pool)
{
	unsigned long flags = spin_lock_irqsave(&pools.lock);

	pool->next = pools.first;
	if (pool->next)
		pool->next->prev = pool;
	pools.first = pool;
	spin_unlock_irqrestore(&pools.lock, flags);
}

static void unlist_pool(struct objpool *pool)
{
	unsigned long flags = spin_lock_irqsave(&pools.lock);

	while (pool->refs) {
		spin_unlock_irqrestore(&pools.lock, flags);
		port_relax();
		flags = spin_lock_irqsave(&pools.lock);
	}
	if (pool->prev)
		pool->prev->next = pool->next;
	else
		pools.first = pool->next;
	if (pool->next)
		pool->next->prev = pool->prev;
	spin_unlock_irqrestore(&pools.lock, flags);
}

struct objpool *objpool_create(const char *name, size_t size, size_t align,
			       const struct objpool_ops *ops)
{
	struct objpool *pool = kzalloc(sizeof(*pool), GFP_KERNEL);

	if (!pool)
		return NULL;
	if (ops)
		pool->ops = *ops;
	pool->cache = kmem_cache_create(name, size, align, 0, NULL);
	pool->cpu = pool->cache ? __alloc_percpu(sizeof(struct pool_cpu), 64) : NULL;
	if (pool->cpu) {
		list_pool(pool);
		return pool;
	}
	(void)kmem_cache_destroy(pool->cache);
	kfree(pool);
	return NULL;
}

int objpool_destroy(struct objpool *pool)
{
	int err;

	if (!pool)
		return 0;
	unlist_pool(pool);
	objpool_age(pool);
	objpool_age(pool);
	err = kmem_cache_destroy(pool->cache);
	if (err) {
		pool->prev = NULL;
		list_pool(pool);
		return err;
	}
	free_percpu(pool->cpu);
	kfree(pool);
	return 0;
}
