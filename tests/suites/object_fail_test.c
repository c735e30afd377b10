// SPDX-License-Identifier: MIT
/*
 * Each allocation point that an operation on objects passes fails once: the first, the
 * next, until there is none left.
 *
 *	prepare ─► all cold ─► point n fails: act ─► error: nothing has changed
 *	                                        └──► done after all: undo, nothing
 *	                                             has changed
 *
 * Cold is a CPU that has just started: no window, no span, no memory for either. So
 * the points inside are passed as well. Nothing has changed means frames, objects,
 * bytes, every invariant, and in the end not even metadata.
 */
#include <spanheap/boot.h>
#include <spanheap/guard.h>
#include <spanheap/mempool.h>
#include <spanheap/objpool.h>
#include <spanheap/page.h>
#include <spanheap/percpu.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/string.h"
#include "mm/fault.h"
#include "mm/mcache.h"
#include "mm/numa.h"
#include "tests/suites/object_fixture.h"

#define KIB 1024UL
#define MIB (1UL << 20)
#define MANY 300
#define POOL 40 /* each of its objects is a point */
#define POINTS_MAX 2000

static void *made;
static void *many[MANY];
static struct kmem_cache *cache;
static struct mempool *mempool;
static struct objpool *objpool;

/* ---- kmalloc() ---- */

static int made_of(void *p, size_t size)
{
	made = p;
	if (p)
		memset(p, 0x5a, size);
	return p ? 0 : -ENOMEM;
}

#define KMALLOC(name, size, expr)                   \
	static int act_##name(void)                 \
	{                                           \
		return made_of((expr), (size));     \
	}

KMALLOC(window, 64, kmalloc_any(64, GFP_KERNEL))
KMALLOC(constant, 64, kmalloc(64, GFP_KERNEL))
KMALLOC(stack, 2000, kmalloc_any(2000, GFP_KERNEL))
KMALLOC(atomic, 64, kmalloc_any(64, GFP_ATOMIC))
KMALLOC(noscan, 20000, kmalloc_any(20000, GFP_KERNEL | __GFP_NOSCAN))
KMALLOC(tiny, 5, kmalloc_any(5, GFP_KERNEL | __GFP_NOSCAN))
KMALLOC(zeroed, 3000, kzalloc(3000, GFP_KERNEL))
KMALLOC(array, 700, kcalloc(7, 100, GFP_ATOMIC))
KMALLOC(medium, 100 * KIB, kmalloc_any(100 * KIB, GFP_KERNEL))
KMALLOC(large, 5 * MIB, kmalloc_any(5 * MIB, GFP_KERNEL))
KMALLOC(dma32, 100, kmalloc_any(100, GFP_DMA32))
KMALLOC(node, 100, kmalloc_node(100, GFP_KERNEL, (int)numa_node_of(this_cpu())))
KMALLOC(far_node, 100, kmalloc_node(100, GFP_KERNEL, (int)numa_node_of(this_cpu()) ^ 1))
KMALLOC(aligned, 100, kmalloc_aligned(100, 64 * KIB, GFP_KERNEL))

/* Behind one object more each time: where there was no span yet, nor entries for one. */
static void *places[16];
static unsigned nplaces;

static void *at_a_place(void)
{
	return kmalloc_aligned(40 * KIB, 4 * MIB, GFP_KERNEL);
}

KMALLOC(new_place, 40 * KIB, at_a_place())

static void take_places(void)
{
	nplaces = (nplaces + 1) % ARRAY_SIZE(places);
	for (unsigned i = 0; i < nplaces; i++)
		places[i] = at_a_place();
}

static void give_places(void)
{
	kfree_bulk(nplaces, places);
}

static void undo_object(void)
{
	kfree(made);
}

static int act_bulk(void)
{
	return kmalloc_bulk(128, GFP_KERNEL, MANY, many) == MANY ? 0 : -ENOMEM;
}

static void undo_bulk(void)
{
	kfree_bulk(MANY, many);
}

/* What was there stays as it was, whatever becomes of the call. */
static int resize(size_t from, size_t to)
{
	void *p;

	object_fill(made, from, from);
	p = krealloc(made, to, GFP_KERNEL);
	if (p)
		made = p;
	return !object_holds(made, MIN(from, to), from) ? -EIO : p ? 0 : -ENOMEM;
}

static void prepare_small(void)
{
	made = kmalloc_any(50, GFP_KERNEL);
}

static void prepare_large(void)
{
	made = kmalloc_any(80 * KIB, GFP_KERNEL);
}

static int act_grow(void)
{
	return resize(50, 5000);
}

static int act_outgrow(void)
{
	return resize(50, 80 * KIB);
}

static int act_grow_run(void)
{
	return resize(80 * KIB, 300 * KIB);
}

static int act_shrink_run(void)
{
	return resize(80 * KIB, 50 * KIB);
}

static int act_shrink(void)
{
	return resize(80 * KIB, 5000);
}

/* ---- Caches ---- */

static void count_ctor(void *object)
{
	*(char *)object = 1;
}

static void prepare_cache(void)
{
	cache = kmem_cache_create("fails", 200, 0, 0, NULL);
}

static void prepare_ctor(void)
{
	cache = kmem_cache_create("fails", 200, 0, 0, count_ctor);
}

static void prepare_used_cache(void)
{
	prepare_cache();
	(void)kmem_cache_alloc_bulk(cache, GFP_KERNEL, MANY, many);
	kmem_cache_free_bulk(cache, MANY - 1, many + 1);
	made = many[0];
}

static void clean_cache(void)
{
	(void)kmem_cache_destroy(cache);
	cache = NULL;
}

static int act_create(void)
{
	prepare_cache();
	return cache ? 0 : -ENOMEM;
}

static int act_cache(void)
{
	return made_of(kmem_cache_alloc(cache, GFP_KERNEL), 200);
}

static int act_cache_zeroed(void)
{
	int err = made_of(kmem_cache_zalloc(cache, GFP_ATOMIC), 0);

	return err || object_is_zero(made, 200) ? err : -EIO;
}

static int act_cache_made(void)
{
	made = kmem_cache_alloc(cache, GFP_KERNEL);
	return !made ? -ENOMEM : *(char *)made == 1 ? 0 : -EIO;
}

static int act_cache_bulk(void)
{
	return kmem_cache_alloc_bulk(cache, GFP_KERNEL, MANY, many) == MANY ? 0 : -ENOMEM;
}

static int act_cache_shrink(void)
{
	return kmem_cache_shrink(cache) == 1 ? 0 : -EIO;
}

static int act_cache_destroy(void)
{
	int err;

	kmem_cache_free(cache, made);
	err = kmem_cache_destroy(cache);
	cache = NULL;
	return err;
}

static void undo_cache(void)
{
	kmem_cache_free(cache, made);
}

static void undo_cache_bulk(void)
{
	kmem_cache_free_bulk(cache, MANY, many);
}

/* ---- Pools ---- */

static int act_mempool_kmalloc(void)
{
	mempool = mempool_create_kmalloc_pool(POOL, 500);
	return mempool ? 0 : -ENOMEM;
}

static int act_mempool_slab(void)
{
	mempool = mempool_create_slab_pool(POOL, cache);
	return mempool ? 0 : -ENOMEM;
}

static int act_mempool_pages(void)
{
	mempool = mempool_create_page_pool(20, 2);
	return mempool ? 0 : -ENOMEM;
}

static void clean_mempool(void)
{
	mempool_destroy(mempool);
	mempool = NULL;
}

static void prepare_mempool(void)
{
	mempool = mempool_create_kmalloc_pool(4, 500);
}

static int act_mempool_grow(void)
{
	return mempool_resize(mempool, 2 * POOL);
}

static int act_mempool_shrink(void)
{
	return mempool_resize(mempool, 1);
}

static int act_mempool_alloc(void)
{
	return made_of(mempool_alloc(mempool, GFP_ATOMIC), 500);
}

static void undo_mempool_alloc(void)
{
	mempool_free(made, mempool);
}

static int act_objpool_create(void)
{
	objpool = objpool_create("fails", 300, 0, NULL);
	return objpool ? 0 : -ENOMEM;
}

static void prepare_objpool(void)
{
	(void)act_objpool_create();
}

static void clean_objpool(void)
{
	(void)objpool_destroy(objpool);
	objpool = NULL;
}

static int act_objpool_get(void)
{
	return made_of(objpool_get(objpool, GFP_KERNEL), 300);
}

static void undo_objpool_get(void)
{
	objpool_put(objpool, made);
}

static int act_percpu(void)
{
	made = __alloc_percpu(1000, 64);
	return made ? 0 : -ENOMEM;
}

static void undo_percpu(void)
{
	free_percpu(made);
}

/* ---- What is around them ---- */

static int act_guard(void)
{
	return mm_guard_start(8, 4000, 1);
}

static void undo_guard(void)
{
	(void)mm_guard_stop();
}

static void prepare_guard(void)
{
	(void)act_guard();
}

/* ---- All of them ---- */

/* Does the call fail if its first point does; or never? */
enum shows { SHOWS, NEVER_SHOWS };

/*
 * @undo: what was done; @clean: what was prepared. @points: it passes at least so
 * many, as it is: fewer, and something is not asked any more.
 */
static const struct operation {
	const char *name;
	enum shows shows;
	unsigned points;
	void (*prepare)(void);
	int (*act)(void);
	void (*undo)(void), (*clean)(void);
} operations[] = {
	{ "kmalloc", SHOWS, 3, NULL, act_window, undo_object, NULL },
	{ "kmalloc, constant", SHOWS, 3, NULL, act_constant, undo_object, NULL },
	{ "kmalloc, few a span", SHOWS, 3, NULL, act_stack, undo_object, NULL },
	{ "kmalloc, atomic", SHOWS, 3, NULL, act_atomic, undo_object, NULL },
	{ "kmalloc, noscan", SHOWS, 3, NULL, act_noscan, undo_object, NULL },
	{ "kmalloc, tiny", SHOWS, 3, NULL, act_tiny, undo_object, NULL },
	{ "kzalloc", SHOWS, 3, NULL, act_zeroed, undo_object, NULL },
	{ "kcalloc", SHOWS, 3, NULL, act_array, undo_object, NULL },
	{ "kmalloc, medium", SHOWS, 2, NULL, act_medium, undo_object, NULL },
	{ "kmalloc, large", SHOWS, 2, NULL, act_large, undo_object, NULL },
	{ "kmalloc, below 4 GiB", SHOWS, 2, NULL, act_dma32, undo_object, NULL },
	{ "kmalloc_node, own", SHOWS, 2, NULL, act_node, undo_object, NULL },
	{ "kmalloc_node, other", SHOWS, 2, NULL, act_far_node, undo_object, NULL },
	{ "kmalloc_aligned", SHOWS, 2, NULL, act_aligned, undo_object, NULL },
	{ "kmalloc_aligned, new place", SHOWS, 2, take_places, act_new_place, undo_object,
	  give_places },
	{ "kmalloc_bulk", SHOWS, 5, NULL, act_bulk, undo_bulk, NULL },
	{ "krealloc, grows", SHOWS, 2, prepare_small, act_grow, NULL, undo_object },
	{ "krealloc, outgrows", SHOWS, 2, prepare_small, act_outgrow, NULL, undo_object },
	{ "krealloc, run grows", SHOWS, 2, prepare_large, act_grow_run, NULL, undo_object },
	{ "krealloc, run shrinks", NEVER_SHOWS, 0, prepare_large, act_shrink_run, NULL,
	  undo_object },
	{ "krealloc, shrinks", NEVER_SHOWS, 2, prepare_large, act_shrink, NULL, undo_object },
	{ "kmem_cache_create", SHOWS, 2, NULL, act_create, clean_cache, NULL },
	{ "kmem_cache_alloc", SHOWS, 2, prepare_cache, act_cache, undo_cache, clean_cache },
	{ "kmem_cache_zalloc", SHOWS, 2, prepare_cache, act_cache_zeroed, undo_cache, clean_cache },
	{ "kmem_cache_alloc, constructor", SHOWS, 2, prepare_ctor, act_cache_made, undo_cache,
	  clean_cache },
	{ "kmem_cache_alloc_bulk", SHOWS, 5, prepare_cache, act_cache_bulk, undo_cache_bulk,
	  clean_cache },
	{ "kmem_cache_shrink", NEVER_SHOWS, 0, prepare_used_cache, act_cache_shrink, undo_cache,
	  clean_cache },
	{ "kmem_cache_destroy", NEVER_SHOWS, 0, prepare_used_cache, act_cache_destroy, NULL, NULL },
	{ "mempool_create, kmalloc", SHOWS, POOL, NULL, act_mempool_kmalloc, clean_mempool, NULL },
	{ "mempool_create, cache", SHOWS, POOL, prepare_cache, act_mempool_slab, clean_mempool,
	  clean_cache },
	{ "mempool_create, pages", SHOWS, 20, NULL, act_mempool_pages, clean_mempool, NULL },
	{ "mempool_resize, grows", SHOWS, POOL, prepare_mempool, act_mempool_grow, NULL,
	  clean_mempool },
	{ "mempool_resize, shrinks", NEVER_SHOWS, 0, prepare_mempool, act_mempool_shrink, NULL,
	  clean_mempool },
	{ "mempool_alloc", NEVER_SHOWS, 1, prepare_mempool, act_mempool_alloc, undo_mempool_alloc,
	  clean_mempool },
	{ "objpool_create", SHOWS, 4, NULL, act_objpool_create, clean_objpool, NULL },
	{ "objpool_get", SHOWS, 2, prepare_objpool, act_objpool_get, undo_objpool_get,
	  clean_objpool },
	{ "alloc_percpu", SHOWS, 3, NULL, act_percpu, undo_percpu, NULL },
	{ "mm_guard_start", SHOWS, 9, NULL, act_guard, undo_guard, NULL },
	{ "kmalloc, guarded", SHOWS, 1, prepare_guard, act_window, undo_object, undo_guard },
};

static void call(void (*fn)(void))
{
	if (fn)
		fn();
}

/* As a CPU that has just started. */
static void cool_down(void)
{
	mm_exit_cpu();
	(void)mm_init_cpu();
	mm_drain();
}

/* Let point @n fail, 0: none. Return: was there such a point? */
static bool attempt(struct kunit *test, const struct operation *op, uint64_t n)
{
	struct mm_stats before, after;
	uint32_t armed;
	bool reached;
	int err;

	cool_down();
	call(op->prepare);
	books_open(&before);
	mm_fail_nth(n);
	armed = atomic_load(&mm_fail_armed);
	err = op->act();
	reached = n && atomic_load(&mm_fail_armed) != armed;
	mm_fail_off();
	KUNIT_EXPECT_TRUE_MSG(test, !err || err == -ENOMEM, "%s: %d at point %llu", op->name, err,
			      (unsigned long long)n);
	if (!reached || op->shows == NEVER_SHOWS)
		KUNIT_EXPECT_EQ_MSG(test, err, 0, "%s at point %llu", op->name,
				    (unsigned long long)n);
	if (n == 1 && reached && op->shows == SHOWS)
		KUNIT_EXPECT_EQ_MSG(test, err, -ENOMEM, "%s", op->name);
	if (err) {
		books_open(&after);
		KUNIT_EXPECT_EQ_MSG(test, after.objects_live, before.objects_live,
				    "%s at point %llu", op->name, (unsigned long long)n);
		KUNIT_EXPECT_EQ_MSG(test, after.objects_live_bytes, before.objects_live_bytes,
				    "%s at point %llu", op->name, (unsigned long long)n);
	} else {
		call(op->undo);
	}
	call(op->clean);
	KUNIT_EXPECT_EQ_MSG(test, mm_validate(), 0, "%s at point %llu", op->name,
			    (unsigned long long)n);
	return reached;
}

/* Guarded objects lie in memory that was never claimed: earlier suites may have left none. */
static bool has_place(const struct operation *op)
{
	if (op->act != act_guard && op->prepare != prepare_guard)
		return true;
	if (act_guard())
		return false;
	undo_guard();
	return true;
}

static void every_point_of_every_operation(struct kunit *test)
{
	for (unsigned i = 0; i < ARRAY_SIZE(operations); i++) {
		const struct operation *op = &operations[i];
		struct mm_stats before, warm, after;
		uint64_t n = 1;

		if (!has_place(op)) {
			kunit_info(test, "%s: no place for guarded objects", op->name);
			continue;
		}
		books_open(&before);
		/* What is made once and stays, is made here. */
		(void)attempt(test, op, 0);
		books_open(&warm);
		while (n < POINTS_MAX && attempt(test, op, n)) {
			n++;
			books_open(&after);
			KUNIT_EXPECT_EQ_MSG(test, after.frames_used, before.frames_used,
					    "%s at point %llu", op->name, (unsigned long long)n);
		}
		kunit_info(test, "%s: %llu points", op->name, (unsigned long long)n - 1);
		KUNIT_EXPECT_GE_MSG(test, n - 1, op->points, "%s", op->name);
		KUNIT_EXPECT_LT_MSG(test, n, POINTS_MAX, "%s", op->name);
		books_open(&after);
		if (op->prepare != take_places)
			KUNIT_EXPECT_LE_MSG(test, after.metadata_bytes, warm.metadata_bytes, "%s",
					    op->name);
		books_close(test, &before);
	}
}

/* Several points of one call, and those of what cleans up after it. */
static void any_points_of_every_operation(struct kunit *test)
{
	uint64_t rng = 0x5eed0009;

	for (unsigned i = 0; i < ARRAY_SIZE(operations); i++) {
		const struct operation *op = &operations[i];
		struct mm_stats before;

		books_open(&before);
		for (unsigned round = 0; round < 12; round++) {
			int err;

			cool_down();
			call(op->prepare);
			mm_fail_rate(1 + round % 4, next_random(&rng));
			err = op->act();
			/* A free may come while points fail. */
			if (!err && round % 2)
				call(op->undo);
			mm_fail_off();
			if (!err && !(round % 2))
				call(op->undo);
			call(op->clean);
		}
		KUNIT_EXPECT_EQ_MSG(test, mm_validate(), 0, "%s", op->name);
		books_close(test, &before);
	}
}

static struct kunit_case object_fail_cases[] = {
	KUNIT_CASE_SLOW(every_point_of_every_operation),
	KUNIT_CASE_SLOW(any_points_of_every_operation),
	{},
};

static struct kunit_suite object_fail_suite = {
	.name = "object_fail",
	.init = object_test_init,
	.exit = object_test_exit,
	.test_cases = object_fail_cases,
};
kunit_test_suite(object_fail_suite);
