// SPDX-License-Identifier: MIT
/*
 * Memory pools: a reserve that every context can take from and give to.
 *
 *	struct mempool ─► struct store ─► struct store ...	a frame each
 *			  full	 0110..
 *			  empty	 1000..		in neither: on its way, or retired
 *			  slot	 | |a|b| ...	NULL where nothing is
 *
 * Who clears a bit of full owns the slot and takes its element; who clears a bit
 * of empty owns it and puts one in; then he sets the other bit. Nothing waits
 * for anybody: an interrupt or NMI between the two steps sees one slot less.
 *
 * Stores are only ever added. A smaller reserve retires slots: somebody takes
 * them, and sets no bit.
 */
#include <spanheap/mempool.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>

#include "lib/string.h"
#include "mm/fault.h"
#include "mm/kmalloc.h"
#include "mm/kmem_cache.h"
#include "mm/log.h"
#include "mm/metaframe.h"
#include "mm/misuse.h"

#define STORE_WORDS 7

/**
 * struct store - slots for elements.
 * @next: NULL in the last
 * @in_use: slots that are not retired; resizing alone looks at it
 * @nslots: those behind were never in use
 */
struct store {
	struct store *next;
	uint64_t full[STORE_WORDS], empty[STORE_WORDS], in_use[STORE_WORDS];
	unsigned nslots;
	void *slot[STORE_WORDS * 64];
};

/**
 * struct mempool
 * @min_nr: slots in use
 * @nempty: bits of empty, counted after they were set or cleared
 */
struct mempool {
	mempool_alloc_t *alloc;
	mempool_free_t *free;
	void *data;
	int min_nr;
	uint32_t nempty;
	struct store store;
};

static_assert(sizeof(struct mempool) <= FRAME_SIZE, "a pool is a frame");

/* ---- The reserve ---- */

/* Clear one bit of some word and say which; false if all are clear. */
static bool grab(uint64_t *words, unsigned *slot)
{
	for (unsigned w = 0; w < STORE_WORDS; w++) {
		uint64_t bits = atomic_load(&words[w]);

		while (bits) {
			uint64_t bit = bits & -bits;

			if (atomic_fetch_and(&words[w], ~bit) & bit) {
				*slot = w * 64 + ctz64(bit);
				return true;
			}
			bits = atomic_load(&words[w]);
		}
	}
	return false;
}

static void set_bit(uint64_t *words, unsigned slot)
{
	atomic_or(&words[slot / 64], 1ULL << slot % 64);
}

static void add_empty(struct mempool *pool, struct store *s, unsigned slot)
{
	set_bit(s->empty, slot);
	(void)atomic_fetch_add(&pool->nempty, 1);
}

/* Any element of the reserve, or NULL. Its slot becomes empty, or retires. */
static void *take_full(struct mempool *pool, bool retire)
{
	for (struct store *s = &pool->store; s; s = atomic_load(&s->next)) {
		void *element;
		unsigned slot;

		if (!grab(s->full, &slot))
			continue;
		element = s->slot[slot];
		atomic_store_relaxed(&s->slot[slot], NULL);
		if (retire)
			s->in_use[slot / 64] &= ~(1ULL << slot % 64);
		else
			add_empty(pool, s, slot);
		return element;
	}
	return NULL;
}

static bool put_element(struct mempool *pool, void *element)
{
	for (struct store *s = &pool->store; s; s = atomic_load(&s->next)) {
		unsigned slot;

		if (!grab(s->empty, &slot))
			continue;
		(void)atomic_fetch_sub(&pool->nempty, 1);
		atomic_store_relaxed(&s->slot[slot], element);
		set_bit(s->full, slot);
		return true;
	}
	return false;
}

static bool has_element(const struct mempool *pool, const void *element)
{
	for (const struct store *s = &pool->store; s; s = atomic_load(&s->next))
		for (unsigned slot = 0, n = atomic_load(&s->nslots); slot < n; slot++)
			if (atomic_load_relaxed(&s->slot[slot]) == element)
				return true;
	return false;
}

/* As take_full(). Of an element that two put back at once, one is dropped here. */
static void *take_element(struct mempool *pool, bool retire)
{
	void *element;

	while ((element = take_full(pool, retire)) && has_element(pool, element)) {
		mm_report_misuse(MM_DOUBLE_FREE, element, 0, NULL);
		if (retire)
			break;
	}
	return element;
}

/* ---- Elements ---- */

void *mempool_alloc_slab(gfp_t gfp, void *cache)
{
	return kmem_cache_alloc(cache, gfp);
}

void mempool_free_slab(void *element, void *cache)
{
	kmem_cache_free(cache, element);
}

void *mempool_kmalloc(gfp_t gfp, void *size)
{
	return kmalloc((size_t)size, gfp);
}

void mempool_kfree(void *element, void *size)
{
	(void)size;
	kfree(element);
}

void *mempool_alloc_pages(gfp_t gfp, void *order)
{
	return __get_free_pages(gfp, (unsigned)(uintptr_t)order);
}

void mempool_free_pages(void *element, void *order)
{
	free_pages(element, (unsigned)(uintptr_t)order);
}

/*
 * What goes into the reserve passes none of the allocator's checks. What would
 * not pass them goes to the allocator, which says what is wrong with it.
 */
static bool is_sound(const struct mempool *pool, const void *element)
{
	if (pool->free == mempool_free_slab)
		return kmem_cache_owns(pool->data, element);
	if (pool->free == mempool_kfree)
		return kmem_cache_owns(NULL, element) &&
		       kmalloc_size(element) >= (size_t)pool->data;
	return true;
}

void *mempool_alloc(struct mempool *pool, gfp_t gfp)
{
	void *element;

	if (gfp & __GFP_ZERO)
		return NULL;
	element = pool->alloc((gfp & ~__GFP_NOFAIL) | __GFP_NOWARN, pool->data);
	if (likely(element))
		return element;
	element = take_element(pool, false);
	if (!element && gfp & __GFP_NOFAIL)
		mm_panic("memory pool: the reserve of %d is empty", pool->min_nr);
	return element;
}

void mempool_free(void *element, struct mempool *pool)
{
	if (!element)
		return;
	if (unlikely(has_element(pool, element)))
		mm_report_misuse(MM_DOUBLE_FREE, element, 0, __builtin_return_address(0));
	else if (likely(!atomic_load(&pool->nempty)))
		pool->free(element, pool->data);
	else if (!is_sound(pool, element) && pool->free == mempool_kfree)
		kfree_sized(element, (size_t)pool->data);
	else if (!is_sound(pool, element) || !put_element(pool, element))
		pool->free(element, pool->data);
}

/* ---- Its size ---- */

/* Slots for @n more elements, empty. Return: how many there was memory for. */
static int add_slots(struct mempool *pool, int n)
{
	int added = 0;

	for (struct store *s = &pool->store; added < n; s = s->next) {
		for (unsigned slot = 0; slot < STORE_WORDS * 64 && added < n; slot++) {
			uint64_t bit = 1ULL << slot % 64;

			if (s->in_use[slot / 64] & bit)
				continue;
			s->in_use[slot / 64] |= bit;
			atomic_store(&s->nslots, MAX(s->nslots, slot + 1));
			add_empty(pool, s, slot);
			added++;
		}
		if (added < n && !s->next) {
			struct store *fresh = metaframe_alloc();

			if (!fresh)
				break;
			memset(fresh, 0, sizeof(*fresh));
			atomic_store(&s->next, fresh);
		}
	}
	pool->min_nr += added;
	return added;
}

static bool retire_empty(struct mempool *pool)
{
	for (struct store *s = &pool->store; s; s = s->next) {
		unsigned slot;

		if (!grab(s->empty, &slot))
			continue;
		(void)atomic_fetch_sub(&pool->nempty, 1);
		s->in_use[slot / 64] &= ~(1ULL << slot % 64);
		return true;
	}
	return false;
}

static void remove_slots(struct mempool *pool, int n)
{
	while (n) {
		void *element = NULL;

		if (!retire_empty(pool)) {
			element = take_element(pool, true);
			if (!element) {
				port_relax();
				continue;
			}
			pool->free(element, pool->data);
		}
		pool->min_nr--;
		n--;
	}
}

/* Fill @n slots. Return: how many could be. */
static int add_elements(struct mempool *pool, int n)
{
	int added = 0;

	for (; added < n; added++) {
		void *element = pool->alloc(GFP_KERNEL, pool->data);

		if (!element)
			break;
		if (!put_element(pool, element))
			pool->free(element, pool->data);
	}
	return added;
}

int mempool_resize(struct mempool *pool, int new_min_nr)
{
	int more = new_min_nr - pool->min_nr, added;

	if (new_min_nr < 0)
		return -EINVAL;
	if (more <= 0) {
		remove_slots(pool, -more);
		return 0;
	}
	added = add_slots(pool, more);
	if (added == more && add_elements(pool, more) == more)
		return 0;
	remove_slots(pool, added);
	return -ENOMEM;
}

struct mempool *mempool_create(int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
			       void *pool_data)
{
	struct mempool *pool;

	if (min_nr < 0 || !alloc_fn || !free_fn || mm_should_fail(GFP_KERNEL))
		return NULL;
	/* Requests of 0 bytes all get the same address. */
	if (alloc_fn == mempool_kmalloc && !pool_data)
		return NULL;
	pool = metaframe_alloc();
	if (!pool)
		return NULL;
	memset(pool, 0, sizeof(*pool));
	pool->alloc = alloc_fn;
	pool->free = free_fn;
	pool->data = pool_data;
	if (mempool_resize(pool, min_nr)) {
		mempool_destroy(pool);
		return NULL;
	}
	return pool;
}

void mempool_destroy(struct mempool *pool)
{
	struct store *s, *next;

	if (!pool)
		return;
	remove_slots(pool, pool->min_nr);
	for (s = pool->store.next; s; s = next) {
		next = s->next;
		metaframe_free(s);
	}
	metaframe_free(pool);
}
