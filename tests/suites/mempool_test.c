// SPDX-License-Identifier: MIT
/*
 * Memory pools: the reserve is there when the allocator has nothing, in every
 * context, at every size, and lets no wrong free in.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/mempool.h>
#include <spanheap/slab.h>
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "tests/suites/object_fixture.h"

#define MANY 1000

static void *element[MANY + 8];
static char outside[64];

/* An allocator that can be told to have nothing, of numbers in place of memory. */
static struct dry {
	bool dry;
	uint64_t given, back;
} dry;

static void *dry_alloc(gfp_t gfp, void *data)
{
	struct dry *d = data;

	(void)gfp;
	return atomic_load(&d->dry) ? NULL
				    : (void *)(uintptr_t)(atomic_fetch_add(&d->given, 1) + 1);
}

static void dry_free(void *p, void *data)
{
	struct dry *d = data;

	(void)p;
	(void)atomic_fetch_add(&d->back, 1);
}

static struct mempool *dry_pool(struct kunit *test, int min_nr)
{
	struct mempool *pool;

	dry = (struct dry){ 0 };
	pool = mempool_create(min_nr, dry_alloc, dry_free, &dry);
	KUNIT_ASSERT_NOT_NULL(test, pool);
	KUNIT_ASSERT_EQ(test, dry.given, (uint64_t)min_nr);
	return pool;
}

static void reserve_lasts(struct kunit *test)
{
	static const int sizes[] = { 0, 1, 2, 63, 64, 65, 447, 448, 449, 1000 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct mempool *pool = dry_pool(test, sizes[i]);

		for (unsigned round = 0; round < 3; round++) {
			atomic_store(&dry.dry, true);
			for (int k = 0; k < sizes[i]; k++) {
				element[k] = mempool_alloc(pool, GFP_KERNEL);
				KUNIT_ASSERT_NOT_NULL(test, element[k]);
			}
			KUNIT_EXPECT_NULL(test, mempool_alloc(pool, GFP_KERNEL));
			atomic_store(&dry.dry, false);
			element[sizes[i]] = mempool_alloc(pool, GFP_KERNEL);
			KUNIT_EXPECT_NOT_NULL(test, element[sizes[i]]);
			for (int k = 0; k <= sizes[i]; k++)
				mempool_free(element[k], pool);
			KUNIT_EXPECT_EQ(test, dry.given - dry.back, (uint64_t)sizes[i]);
		}
		mempool_destroy(pool);
		KUNIT_EXPECT_EQ(test, dry.given, dry.back);
	}
}

static void resize(struct kunit *test)
{
	static const int sizes[] = { 10, 3, 500, 64, 0, 900, 900, 1 };
	struct mempool *pool = dry_pool(test, 5);

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		int n = 0;

		KUNIT_EXPECT_EQ(test, mempool_resize(pool, sizes[i]), 0);
		KUNIT_EXPECT_EQ(test, dry.given - dry.back, (uint64_t)sizes[i]);
		atomic_store(&dry.dry, true);
		while (n < MANY && (element[n] = mempool_alloc(pool, GFP_KERNEL)))
			n++;
		KUNIT_EXPECT_EQ(test, n, sizes[i]);
		/* It grows while nothing can be had: it stays as it was. */
		KUNIT_EXPECT_EQ(test, mempool_resize(pool, sizes[i] + 7), -ENOMEM);
		atomic_store(&dry.dry, false);
		while (n--)
			mempool_free(element[n], pool);
		KUNIT_EXPECT_EQ(test, dry.given - dry.back, (uint64_t)sizes[i]);
	}
	KUNIT_EXPECT_EQ(test, mempool_resize(pool, -1), -EINVAL);
	mempool_destroy(pool);
	KUNIT_EXPECT_EQ(test, dry.given, dry.back);
}

static void smaller_while_in_use(struct kunit *test)
{
	struct mempool *pool = dry_pool(test, 20);

	for (unsigned k = 0; k < 30; k++)
		element[k] = mempool_alloc(pool, GFP_KERNEL);
	atomic_store(&dry.dry, true);
	for (unsigned k = 30; k < 45; k++)
		element[k] = mempool_alloc(pool, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, mempool_resize(pool, 8), 0);
	for (unsigned k = 0; k < 45; k++)
		mempool_free(element[k], pool);
	KUNIT_EXPECT_EQ(test, dry.given - dry.back, 8);
	mempool_destroy(pool);
	KUNIT_EXPECT_EQ(test, dry.given, dry.back);
}

static void arguments(struct kunit *test)
{
	struct mempool *pool = dry_pool(test, 1);

	KUNIT_EXPECT_NULL(test, mempool_create(-1, dry_alloc, dry_free, &dry));
	KUNIT_EXPECT_NULL(test, mempool_create_kmalloc_pool(1, 0));
	KUNIT_EXPECT_NULL(test, mempool_alloc(pool, GFP_KERNEL | __GFP_ZERO));
	mempool_free(NULL, pool);
	mempool_destroy(pool);
	mempool_destroy(NULL);
}

/* ---- Real allocators ---- */

static void fails_on_purpose(struct kunit *test)
{
	uint64_t before = frames_used();
	struct kmem_cache *cache = kmem_cache_create("elements", 120, 0, 0, NULL);
	struct mempool *pool[3];

	KUNIT_ASSERT_NOT_NULL(test, cache);
	pool[0] = mempool_create_slab_pool(6, cache);
	pool[1] = mempool_create_kmalloc_pool(6, 5000);
	pool[2] = mempool_create_page_pool(6, 1);
	for (unsigned i = 0; i < 3; i++) {
		KUNIT_ASSERT_NOT_NULL(test, pool[i]);
		mm_fail_rate(1, 1);
		for (unsigned k = 0; k < 6; k++) {
			element[k] = mempool_alloc(pool[i], GFP_ATOMIC);
			KUNIT_EXPECT_NOT_NULL(test, element[k]);
			memset(element[k], (int)k, 120);
		}
		KUNIT_EXPECT_NULL(test, mempool_alloc(pool[i], GFP_ATOMIC));
		mm_fail_off();
		for (unsigned k = 6; k < 12; k++)
			element[k] = mempool_alloc(pool[i], GFP_ATOMIC);
		for (unsigned k = 0; k < 12; k++)
			mempool_free(element[k], pool[i]);
		mempool_destroy(pool[i]);
	}
	for (uint64_t nth = 1; nth < 12; nth++) {
		mm_fail_nth(nth);
		pool[0] = mempool_create_slab_pool(6, cache);
		mm_fail_off();
		mempool_destroy(pool[0]);
	}
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

static void every_misuse(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("elements", 64, 0, 0, NULL);
	struct mempool *pool, *plain = mempool_create_kmalloc_pool(2, 64);
	char *mine, *more, *other = kmalloc(64, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, cache);
	pool = mempool_create_slab_pool(2, cache);
	KUNIT_ASSERT_TRUE(test, pool && plain && other);
	/* Once while the reserve has room, once while it has none. */
	for (unsigned full = 0; full < 2; full++) {
		mm_fail_nth(full ? 0 : 1);
		mine = mempool_alloc(pool, GFP_KERNEL);
		mm_fail_off();
		more = mempool_alloc(pool, GFP_KERNEL);
		mempool_free(other, pool);
		expect_report(test, MM_WRONG_CACHE, other);
		mempool_free(mine + 8, pool);
		expect_report(test, MM_INVALID_FREE, mine + 8);
		mempool_free(outside, pool);
		expect_report(test, MM_INVALID_FREE, outside);
		mempool_free(mine, pool);
		mempool_free(mine, pool);
		expect_report(test, MM_DOUBLE_FREE, mine);
		mempool_free(more, pool);
		mempool_free(more, pool);
		expect_report(test, MM_DOUBLE_FREE, more);
	}
	mm_fail_nth(1);
	more = mempool_alloc(plain, GFP_KERNEL);
	mm_fail_off();
	mine = kmalloc(32, GFP_KERNEL);
	mempool_free(mine, plain);
	expect_report(test, MM_WRONG_SIZE, mine);
	mempool_free(other, plain);
	mempool_free(more, plain);
	kfree(mine);
	mempool_destroy(pool);
	mempool_destroy(plain);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

/* ---- Contexts and CPUs ---- */

static struct {
	struct mempool *pool;
	void *got[8];
	unsigned none;
} shared;

static void take_there(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 8; i++) {
		shared.got[i] = mempool_alloc(shared.pool, GFP_ATOMIC);
		shared.none += !shared.got[i];
	}
}

static void give_there(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 8; i++)
		mempool_free(shared.got[i], shared.pool);
}

static void in_irq_and_nmi(struct kunit *test)
{
	shared.pool = dry_pool(test, 8);
	shared.none = 0;
	atomic_store(&dry.dry, true);
	for (unsigned round = 0; round < 8; round++) {
		unsigned cpu = round % cpu_count();

		(round & 1 ? run_in_nmi : run_in_irq)(cpu, take_there, NULL);
		KUNIT_EXPECT_EQ(test, shared.none, 0);
		KUNIT_EXPECT_NULL(test, mempool_alloc(shared.pool, GFP_KERNEL));
		(round & 2 ? run_in_nmi : run_in_irq)(cpu, give_there, NULL);
	}
	mempool_destroy(shared.pool);
	KUNIT_EXPECT_EQ(test, dry.given, dry.back);
}

/* Everybody holds up to two of 8: nobody may ever be refused. */
static void hold_two(void *arg)
{
	(void)arg;
	for (unsigned round = 0; round < 20000; round++) {
		void *a = mempool_alloc(shared.pool, GFP_KERNEL);
		void *b = mempool_alloc(shared.pool, GFP_KERNEL);

		if (!a || !b || a == b)
			(void)atomic_fetch_add(&shared.none, 1);
		mempool_free(a, shared.pool);
		mempool_free(b, shared.pool);
		if (round % 64 == 0)
			task_yield();
	}
}

static void on_all_cpus(struct kunit *test)
{
	struct task *task[4];
	unsigned n = MIN(4U, cpu_count());

	/* Slots on their way are two a task at most. */
	shared.pool = dry_pool(test, 16);
	shared.none = 0;
	atomic_store(&dry.dry, true);
	for (unsigned i = 0; i < n; i++) {
		task[i] = task_start(i, hold_two, NULL, "hold");
		KUNIT_ASSERT_NOT_NULL(test, task[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(task[i]);
	KUNIT_EXPECT_EQ(test, shared.none, 0);
	mempool_destroy(shared.pool);
	KUNIT_EXPECT_EQ(test, dry.given, dry.back);
}

static struct kunit_case mempool_cases[] = {
	KUNIT_CASE(reserve_lasts),  KUNIT_CASE(resize),		  KUNIT_CASE(smaller_while_in_use),
	KUNIT_CASE(arguments),	    KUNIT_CASE(fails_on_purpose), KUNIT_CASE(every_misuse),
	KUNIT_CASE(in_irq_and_nmi), KUNIT_CASE(on_all_cpus),	  {}
};

static struct kunit_suite mempool_suite = {
	.name = "mempool",
	.init = object_test_init,
	.exit = object_test_exit,
	.test_cases = mempool_cases,
};
kunit_test_suite(mempool_suite);
