// SPDX-License-Identifier: MIT
/*
 * Caches: what they promise about objects, geometry, constructors, misuse and
 * the end of a cache, on one CPU and across CPUs and contexts.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "tests/suites/object_fixture.h"

#define MANY 600

static void *object[MANY];

static uint64_t objects_live(void)
{
	struct mm_stats s;

	mm_stats(&s);
	return s.objects_live;
}

/* ---- Shapes ---- */

struct shape {
	size_t size, align;
	unsigned flags;
	size_t stride;
};

static const struct shape shapes[] = {
	{ 1, 0, 0, 8 },
	{ 8, 0, 0, 8 },
	{ 24, 0, 0, 24 },
	{ 24, 16, 0, 32 },
	{ 24, 0, SLAB_HWCACHE_ALIGN, 32 },
	{ 100, 0, SLAB_HWCACHE_ALIGN, 128 },
	{ 100, 0, 0, 104 },
	{ 256, 0, 0, 256 },
	{ 700, 64, 0, 704 },
	{ 1000, 0, 0, 1000 },
	{ 4096, 4096, 0, 4096 },
	{ 100, 8192, 0, 8192 },
	{ 5000, 0, SLAB_CACHE_DMA32, 5000 },
	{ 9000, 0, 0, 9000 },
	{ 32768, 0, 0, 32768 },
	{ 33000, 0, 0, 33000 },
	{ 65536, 65536, 0, 65536 },
	{ 300000, 32768, SLAB_NOSCAN, 327680 },
	{ KMEM_CACHE_MAX_SIZE, 0, 0, KMEM_CACHE_MAX_SIZE },
};

/* Objects lie where they should, do not touch each other, and can be freed in any order. */
static void fill_and_free(struct kunit *test, struct kmem_cache *cache, const struct shape *shape)
{
	size_t n = MIN((size_t)MANY, (6UL << 20) / shape->stride + 1);

	for (size_t i = 0; i < n; i++) {
		object[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, object[i]);
		KUNIT_EXPECT_EQ(test, (uintptr_t)object[i] % MAX(shape->align, (size_t)8), 0);
		KUNIT_EXPECT_EQ(test, ksize(object[i]), shape->stride);
		memset(object[i], (int)i, shape->stride);
	}
	for (size_t i = 0; i < n; i++) {
		const uint8_t *byte = object[i];

		KUNIT_EXPECT_EQ(test, byte[0], (uint8_t)i);
		KUNIT_EXPECT_EQ(test, byte[shape->stride - 1], (uint8_t)i);
	}
	KUNIT_EXPECT_EQ(test, kmem_cache_walk(cache, NULL, NULL), n);
	for (size_t i = 0; i < n; i += 2)
		kmem_cache_free(cache, object[i]);
	KUNIT_EXPECT_EQ(test, kmem_cache_walk(cache, NULL, NULL), n / 2);
	for (size_t i = 1; i < n; i += 2)
		kfree(object[i]);
	KUNIT_EXPECT_EQ(test, kmem_cache_walk(cache, NULL, NULL), 0);
}

static void every_shape(struct kunit *test)
{
	uint64_t before = frames_used();

	for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
		const struct shape *shape = &shapes[i];
		struct kmem_cache *cache =
			kmem_cache_create("shape", shape->size, shape->align, shape->flags, NULL);

		KUNIT_ASSERT_NOT_NULL(test, cache);
		KUNIT_EXPECT_EQ(test, kmem_cache_size(cache), shape->size);
		fill_and_free(test, cache, shape);
		fill_and_free(test, cache, shape);
		KUNIT_EXPECT_EQ(test, kmem_cache_shrink(cache), 0);
		KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
	}
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

static void senseless_arguments(struct kunit *test)
{
	KUNIT_EXPECT_NULL(test, kmem_cache_create("zero", 0, 0, 0, NULL));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("align", 64, 24, 0, NULL));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("large", KMEM_CACHE_MAX_SIZE + 1, 0, 0, NULL));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("huge", (size_t)-8, 64, 0, NULL));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("far", 8, 1UL << 40, 0, NULL));
	KUNIT_EXPECT_NULL(test, kmem_cache_create(NULL, 8, 0, 0, NULL));
	KUNIT_EXPECT_NULL(test, kmem_cache_create("flags", 8, 0, 1U << 31, NULL));
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(NULL), 0);
}

static void below_4_gib(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("dma32", 512, 0, SLAB_CACHE_DMA32, NULL);

	KUNIT_ASSERT_NOT_NULL(test, cache);
	for (unsigned i = 0; i < MANY; i++) {
		object[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, object[i]);
		KUNIT_EXPECT_LT(test, virt_to_phys(object[i]), 1ULL << 32);
	}
	KUNIT_EXPECT_NULL(test, kmem_cache_alloc(cache, GFP_KERNEL | GFP_DMA));
	kmem_cache_free_bulk(cache, MANY, object);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

/* ---- Constructors ---- */

static unsigned constructed;

struct thing {
	uint64_t tag, payload[5];
};

static void construct(void *object)
{
	struct thing *thing = object;

	constructed++;
	memset(thing, 0, sizeof(*thing));
	thing->tag = (uintptr_t)thing ^ 0x5a5a;
}

static void stays_constructed(struct kunit *test)
{
	struct kmem_cache *cache =
		kmem_cache_create("thing", sizeof(struct thing), 0, 0, construct);
	unsigned made = 0;

	KUNIT_ASSERT_NOT_NULL(test, cache);
	constructed = 0;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			struct thing *thing = kmem_cache_alloc(cache, GFP_KERNEL);

			KUNIT_ASSERT_NOT_NULL(test, thing);
			KUNIT_EXPECT_EQ(test, thing->tag, (uintptr_t)thing ^ 0x5a5a);
			object[i] = thing;
		}
		for (unsigned i = 0; i < MANY; i++)
			kmem_cache_free(cache, object[i]);
		if (!round)
			made = constructed;
	}
	KUNIT_EXPECT_GE(test, made, MANY);
	KUNIT_EXPECT_LE(test, constructed, made + 1024);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

static void zeroed(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("zeroed", 320, 0, 0, NULL);

	KUNIT_ASSERT_NOT_NULL(test, cache);
	for (unsigned i = 0; i < 200; i++) {
		uint8_t *bytes = kmem_cache_zalloc(cache, GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, bytes);
		for (unsigned k = 0; k < 320; k++)
			KUNIT_ASSERT_EQ(test, bytes[k], 0);
		memset(bytes, 0xff, 320);
		kmem_cache_free(cache, bytes);
	}
	KUNIT_ASSERT_EQ(test, kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_ZERO, 100, object),
			100);
	for (unsigned i = 0; i < 100; i++)
		KUNIT_EXPECT_EQ(test, *(uint64_t *)object[i], 0);
	kmem_cache_free_bulk(cache, 100, object);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

/* ---- Bulk ---- */

static void bulk(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("bulk", 48, 0, 0, NULL);
	static const size_t counts[] = { 0, 1, 2, 3, 5, 16, 63, 64, 65, 170, 171, 599, 600 };

	KUNIT_ASSERT_NOT_NULL(test, cache);
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		size_t n = counts[i];

		KUNIT_ASSERT_EQ(test, kmem_cache_alloc_bulk(cache, GFP_KERNEL, n, object), n);
		for (size_t k = 0; k < n; k++)
			*(uint64_t *)object[k] = k;
		for (size_t k = 0; k < n; k++)
			KUNIT_EXPECT_EQ(test, *(uint64_t *)object[k], k);
		KUNIT_EXPECT_EQ(test, kmem_cache_walk(cache, NULL, NULL), n);
		/* Every third alone, the rest with holes, in reverse. */
		for (size_t k = 0; k < n; k += 3) {
			kmem_cache_free(cache, object[k]);
			object[k] = NULL;
		}
		for (size_t k = 0; k < n / 2; k++) {
			void *other = object[k];

			object[k] = object[n - 1 - k];
			object[n - 1 - k] = other;
		}
		kmem_cache_free_bulk(cache, n, object);
		KUNIT_EXPECT_EQ(test, kmem_cache_walk(cache, NULL, NULL), 0);
	}
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

static void same_one_twice_in_bulk(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("twice", 64, 0, 0, NULL);

	KUNIT_ASSERT_NOT_NULL(test, cache);
	KUNIT_ASSERT_EQ(test, kmem_cache_alloc_bulk(cache, GFP_KERNEL, 8, object), 8);
	object[8] = object[3];
	object[9] = object[4];
	kmem_cache_free_bulk(cache, 10, object);
	KUNIT_EXPECT_EQ(test, reports_count(), 2);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_DOUBLE_FREE);
	KUNIT_EXPECT_PTR_EQ(test, reports_last().addr, object[4]);
	reports_start();
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

/* ---- Misuse ---- */

static void every_misuse(struct kunit *test)
{
	struct kmem_cache *one = kmem_cache_create("one", 96, 0, 0, NULL);
	struct kmem_cache *other = kmem_cache_create("other", 96, 0, 0, NULL);
	static char outside[64];
	char *mine, *theirs, *plain, *large, *pages;

	KUNIT_ASSERT_NOT_NULL(test, one);
	KUNIT_ASSERT_NOT_NULL(test, other);
	mine = kmem_cache_alloc(one, GFP_KERNEL);
	theirs = kmem_cache_alloc(other, GFP_KERNEL);
	plain = kmalloc(96, GFP_KERNEL);
	large = kmalloc(100000, GFP_KERNEL);
	pages = alloc_pages_exact(16384, GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, mine && theirs && plain && large && pages);

	kmem_cache_free(one, theirs);
	expect_report(test, MM_WRONG_CACHE, theirs);
	kmem_cache_free(one, plain);
	expect_report(test, MM_WRONG_CACHE, plain);
	kmem_cache_free(one, large);
	expect_report(test, MM_WRONG_CACHE, large);
	kmem_cache_free(one, pages);
	expect_report(test, MM_INVALID_FREE, pages);
	kmem_cache_free(one, outside);
	expect_report(test, MM_INVALID_FREE, outside);
	kmem_cache_free(one, zerobase);
	expect_report(test, MM_INVALID_FREE, zerobase);
	kmem_cache_free(one, mine + 1);
	expect_report(test, MM_INVALID_FREE, mine + 1);
	kmem_cache_free(one, mine + 48);
	expect_report(test, MM_INVALID_FREE, mine + 48);
	kmem_cache_free(one, mine + 96);
	expect_report(test, MM_DOUBLE_FREE, mine + 96);
	kmem_cache_free_bulk(one, 1, (void *[]){ theirs });
	expect_report(test, MM_WRONG_CACHE, theirs);
	kmem_cache_free(one, NULL);
	KUNIT_EXPECT_EQ(test, reports_count(), 0);

	kmem_cache_free(one, mine);
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	kmem_cache_free(one, mine);
	expect_report(test, MM_DOUBLE_FREE, mine);
	kfree(mine);
	expect_report(test, MM_DOUBLE_FREE, mine);
	kfree(theirs);
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	kmem_cache_free(other, theirs);
	expect_report(test, MM_DOUBLE_FREE, theirs);

	kfree(plain);
	kfree(large);
	free_pages_exact(pages, 16384);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(one), 0);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(other), 0);
}

/* The last objects of a span of which the bit set has unused bits behind them. */
static void behind_the_last_object(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("tail", 1000, 0, 0, NULL);
	char *end;

	KUNIT_ASSERT_NOT_NULL(test, cache);
	KUNIT_ASSERT_EQ(test, kmem_cache_alloc_bulk(cache, GFP_KERNEL, 16, object), 16);
	end = (char *)object[0] + 16 * 1000;
	KUNIT_EXPECT_EQ(test, virt_to_phys(object[0]) & 8191, 0);
	kmem_cache_free(cache, end);
	expect_report(test, MM_INVALID_FREE, end);
	kfree(end);
	expect_report(test, MM_INVALID_FREE, end);
	kmem_cache_free_bulk(cache, 1, (void *[]){ end });
	expect_report(test, MM_INVALID_FREE, end);
	kfree_bulk(16, object);
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

/* ---- The end ---- */

static unsigned met;

static void meet(void *found, void *arg)
{
	met += found == arg;
}

static void leak_keeps_the_cache(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("leaky", 128, 0, 0, NULL);
	uint64_t *kept, live = objects_live();

	KUNIT_ASSERT_NOT_NULL(test, cache);
	for (unsigned i = 0; i < 300; i++)
		object[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	kept = object[137];
	*kept = 4711;
	for (unsigned i = 0; i < 300; i++)
		if (object[i] != kept)
			kmem_cache_free(cache, object[i]);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), -EBUSY);
	met = 0;
	KUNIT_EXPECT_EQ(test, kmem_cache_walk(cache, meet, kept), 1);
	KUNIT_EXPECT_EQ(test, met, 1);
	KUNIT_EXPECT_EQ(test, objects_live(), live + 1);
	KUNIT_EXPECT_EQ(test, *kept, 4711);

	/* The cache works on. */
	object[0] = kmem_cache_alloc(cache, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, object[0]);
	KUNIT_EXPECT_PTR_NE(test, object[0], kept);
	kmem_cache_free(cache, object[0]);
	kmem_cache_free(cache, kept);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
	KUNIT_EXPECT_EQ(test, objects_live(), live);
}

static void many_caches(struct kunit *test)
{
	static struct kmem_cache *cache[40];
	uint64_t before = frames_used();

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(cache); i++) {
			cache[i] = kmem_cache_create("many", 32 + 8 * i, 0, 0, NULL);
			KUNIT_ASSERT_NOT_NULL(test, cache[i]);
			object[i] = kmem_cache_alloc(cache[i], GFP_KERNEL);
			KUNIT_ASSERT_NOT_NULL(test, object[i]);
		}
		mm_drain();
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(cache); i++) {
			kmem_cache_free(cache[i], object[i]);
			KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache[i]), 0);
		}
	}
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

/* ---- Failures ---- */

static void fails_on_purpose(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("fails", 64, 0, 0, NULL);
	uint64_t before;
	void *p;

	KUNIT_ASSERT_NOT_NULL(test, cache);
	before = frames_used();
	/* Warm: the next one would come out of the window. */
	for (unsigned i = 0; i < 3; i++)
		kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
	mm_fail_nth(1);
	KUNIT_EXPECT_NULL(test, kmem_cache_alloc(cache, GFP_KERNEL));
	p = kmem_cache_alloc(cache, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	kmem_cache_free(cache, p);
	mm_fail_nth(1);
	KUNIT_EXPECT_EQ(test, kmem_cache_alloc_bulk(cache, GFP_KERNEL, 20, object), 0);
	mm_fail_nth(1);
	KUNIT_EXPECT_NULL(test, kmem_cache_create("never", 64, 0, 0, NULL));
	mm_fail_nth(1);
	p = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOFAIL);
	mm_fail_off();
	KUNIT_EXPECT_NOT_NULL(test, p);
	kmem_cache_free(cache, p);

	for (uint64_t nth = 1; nth < 12; nth++) {
		struct kmem_cache *fresh = kmem_cache_create("fresh", 200, 0, 0, NULL);
		size_t n;

		KUNIT_ASSERT_NOT_NULL(test, fresh);
		mm_fail_nth(nth);
		n = kmem_cache_alloc_bulk(fresh, GFP_KERNEL, MANY, object);
		mm_fail_off();
		KUNIT_EXPECT_TRUE(test, n == 0 || n == MANY);
		kmem_cache_free_bulk(fresh, n, object);
		KUNIT_EXPECT_EQ(test, kmem_cache_destroy(fresh), 0);
	}
	mm_fail_rate(3, 42);
	for (unsigned i = 0; i < MANY; i++)
		object[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	mm_fail_off();
	kmem_cache_free_bulk(cache, MANY, object);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

/* ---- CPUs and contexts ---- */

static struct {
	struct kmem_cache *cache;
	void *object[4][100];
	unsigned failed;
} shared;

static void alloc_there(void *arg)
{
	void **p = arg;

	for (unsigned i = 0; i < 100; i++) {
		p[i] = kmem_cache_alloc(shared.cache, GFP_ATOMIC);
		if (p[i])
			memset(p[i], (int)i, 72);
		else
			shared.failed++;
	}
}

static void free_there(void *arg)
{
	void **p = arg;

	for (unsigned i = 0; i < 50; i++)
		if (p[i])
			kmem_cache_free(shared.cache, p[i]);
	kmem_cache_free_bulk(shared.cache, 50, p + 50);
}

/* Each context of each CPU allocates; each context of the next CPU frees. */
static void everywhere(struct kunit *test)
{
	void (*const go[])(unsigned, void (*)(void *), void *) = { run_in_irq, run_in_nmi };

	shared.cache = kmem_cache_create("everywhere", 72, 0, 0, NULL);
	KUNIT_ASSERT_NOT_NULL(test, shared.cache);
	for (unsigned round = 0; round < 8; round++) {
		unsigned cpu = round % cpu_count(), next = (cpu + 1) % cpu_count();
		struct task *task = task_start(cpu, alloc_there, shared.object[0], "alloc");

		KUNIT_ASSERT_NOT_NULL(test, task);
		task_join(task);
		go[0](cpu, alloc_there, shared.object[1]);
		go[1](cpu, alloc_there, shared.object[2]);
		alloc_there(shared.object[3]);
		KUNIT_EXPECT_EQ(test, kmem_cache_walk(shared.cache, NULL, NULL),
				400 - shared.failed);
		go[round & 1](next, free_there, shared.object[0]);
		go[round >> 1 & 1](next, free_there, shared.object[1]);
		go[1](cpu, free_there, shared.object[2]);
		task = task_start(next, free_there, shared.object[3], "free");
		KUNIT_ASSERT_NOT_NULL(test, task);
		task_join(task);
		KUNIT_EXPECT_EQ(test, kmem_cache_walk(shared.cache, NULL, NULL), 0);
		KUNIT_EXPECT_EQ(test, shared.failed, 0);
		shared.failed = 0;
	}
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(shared.cache), 0);
}

#define STRESS_ROUNDS 3000
#define STRESS_HELD 48

struct worker {
	void *held[STRESS_HELD];
	uint64_t random;
	unsigned bad;
};

static struct worker worker[4];
static void *traded[16];

/* Allocate, tag, trade with the others, check the tag, free. */
static void trade(void *arg)
{
	struct worker *me = arg;

	for (unsigned round = 0; round < STRESS_ROUNDS; round++) {
		unsigned slot = (unsigned)(me->random >> 33) % STRESS_HELD;
		uint64_t *p = me->held[slot];

		me->random = me->random * 6364136223846793005ULL + 1442695040888963407ULL;
		if (p) {
			if (p[0] != (uintptr_t)p || p[8] != ~(uintptr_t)p)
				me->bad++;
			if (me->random >> 60 & 1)
				p = atomic_xchg(&traded[me->random >> 40 & 15], p);
			if (p)
				kmem_cache_free(shared.cache, p);
			me->held[slot] = NULL;
			continue;
		}
		p = kmem_cache_alloc(shared.cache, GFP_KERNEL);
		if (p) {
			p[0] = (uintptr_t)p;
			p[8] = ~(uintptr_t)p;
		}
		me->held[slot] = p;
		if (round % 64 == 0)
			task_yield();
	}
	for (unsigned i = 0; i < STRESS_HELD; i++) {
		kmem_cache_free(shared.cache, me->held[i]);
		me->held[i] = NULL;
	}
}

static void trade_on_all_cpus(struct kunit *test)
{
	struct task *task[4];
	unsigned n = MIN(4U, cpu_count());
	uint64_t before = frames_used();

	shared.cache = kmem_cache_create("traded", 72, 0, 0, NULL);
	KUNIT_ASSERT_NOT_NULL(test, shared.cache);
	for (unsigned i = 0; i < n; i++) {
		worker[i].random = 1234567 + i;
		worker[i].bad = 0;
		task[i] = task_start(i, trade, &worker[i], "trade");
		KUNIT_ASSERT_NOT_NULL(test, task[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		task_join(task[i]);
		KUNIT_EXPECT_EQ(test, worker[i].bad, 0);
	}
	kmem_cache_free_bulk(shared.cache, ARRAY_SIZE(traded), traded);
	memset(traded, 0, sizeof(traded));
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(shared.cache), 0);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

static void calls_are_counted(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("counted", 104, 0, 0, NULL);
	struct mm_stats before, after;

	KUNIT_ASSERT_NOT_NULL(test, cache);
	mm_stats(&before);
	for (unsigned i = 0; i < 1000; i++)
		kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, kmem_cache_alloc_bulk(cache, GFP_KERNEL, 300, object), 300);
	mm_stats(&after);
	KUNIT_EXPECT_GE(test, after.alloc_calls - before.alloc_calls, 1300);
	KUNIT_EXPECT_LE(test, after.alloc_calls - before.alloc_calls, 1300 + 8);
	KUNIT_EXPECT_EQ(test, after.objects_live - before.objects_live, 300);
	KUNIT_EXPECT_EQ(test, after.objects_live_bytes - before.objects_live_bytes, 300 * 104);
	kmem_cache_free_bulk(cache, 300, object);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
	mm_stats(&before);
	KUNIT_EXPECT_GE(test, before.free_calls - after.free_calls, 300);
	KUNIT_EXPECT_LE(test, before.free_calls - after.free_calls, 300 + 8);
}

static struct kunit_case kmem_cache_cases[] = { KUNIT_CASE(every_shape),
						KUNIT_CASE(senseless_arguments),
						KUNIT_CASE(below_4_gib),
						KUNIT_CASE(stays_constructed),
						KUNIT_CASE(zeroed),
						KUNIT_CASE(bulk),
						KUNIT_CASE(same_one_twice_in_bulk),
						KUNIT_CASE(every_misuse),
						KUNIT_CASE(behind_the_last_object),
						KUNIT_CASE(calls_are_counted),
						KUNIT_CASE(leak_keeps_the_cache),
						KUNIT_CASE(many_caches),
						KUNIT_CASE(fails_on_purpose),
						KUNIT_CASE(everywhere),
						KUNIT_CASE(trade_on_all_cpus),
						{} };

static struct kunit_suite kmem_cache_suite = {
	.name = "kmem_cache",
	.init = object_test_init,
	.exit = object_test_exit,
	.test_cases = kmem_cache_cases,
};
kunit_test_suite(kmem_cache_suite);
