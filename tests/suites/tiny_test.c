// SPDX-License-Identifier: MIT
/*
 * Tiny objects: how they share blocks, that each is freed and checked on its
 * own, and a random run against a model.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/slab.h>
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/tiny.h"
#include "tests/suites/object_fixture.h"

#define TINY (GFP_KERNEL | __GFP_NOSCAN)
#define MANY 3000

static uint8_t *object[MANY];

static size_t align_of(size_t size)
{
	return size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
}

static uintptr_t block_of(const void *p)
{
	return round_down((uintptr_t)p, TINY_BLOCK);
}

static void sizes_and_alignments(struct kunit *test)
{
	for (size_t size = 1; size < TINY_BLOCK; size++)
		for (unsigned i = 0; i < 100; i++) {
			uint8_t *p = kmalloc(size, TINY);

			KUNIT_ASSERT_NOT_NULL(test, p);
			KUNIT_EXPECT_EQ(test, (uintptr_t)p % align_of(size), 0);
			KUNIT_EXPECT_EQ(test, ksize(p), size);
			memset(p, 0xff, size);
			kfree(p);
		}
}

struct sharing {
	const char *name;
	size_t size[18];
	uint8_t at[18]; /* offset in the block; 16 and more: in the next one */
};

static const struct sharing sharings[] = {
	{ "two of 8", { 8, 8, 8 }, { 0, 8, 16 } },
	{ "bytes",
	  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
	  { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } },
	{ "gaps", { 1, 2, 4, 8 }, { 0, 2, 4, 8 } },
	{ "no room for 8 behind 9", { 9, 8 }, { 0, 16 } },
	{ "4 behind 9, then 2", { 9, 4, 2 }, { 0, 12, 16 } },
	{ "fives", { 5, 5, 5, 5 }, { 0, 8, 16, 24 } },
};

/* The first block of a drained CPU is fresh, the next one its neighbour or not. */
static void share_blocks(struct kunit *test)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sharings); i++) {
		const struct sharing *row = &sharings[i];
		uintptr_t first = 0;

		mm_drain();
		for (unsigned k = 0; row->size[k]; k++) {
			object[k] = kmalloc(row->size[k], TINY);
			KUNIT_ASSERT_NOT_NULL(test, object[k]);
			if (!k)
				first = block_of(object[0]);
			if (row->at[k] < 16)
				KUNIT_EXPECT_EQ_MSG(test, (uintptr_t)object[k], first + row->at[k],
						    "%s, object %u", row->name, k);
			else
				KUNIT_EXPECT_NE_MSG(test, block_of(object[k]), first,
						    "%s, object %u", row->name, k);
		}
		for (unsigned k = 0; row->size[k]; k++)
			KUNIT_EXPECT_EQ_MSG(test, ksize(object[k]), row->size[k], "%s, object %u",
					    row->name, k);
		for (unsigned k = 0; row->size[k]; k++)
			kfree(object[k]);
	}
}

static void who_has_more_room_stays(struct kunit *test)
{
	uint8_t *p[4];

	mm_drain();
	p[0] = kmalloc(8, TINY);
	p[1] = kmalloc(15, TINY);
	p[2] = kmalloc(4, TINY);
	p[3] = kmalloc(4, TINY);
	KUNIT_EXPECT_NE(test, block_of(p[1]), block_of(p[0]));
	KUNIT_EXPECT_PTR_EQ(test, p[2], p[0] + 8);
	KUNIT_EXPECT_PTR_EQ(test, p[3], p[0] + 12);
	for (unsigned i = 0; i < 4; i++)
		kfree(p[i]);
}

static void others_do_not_take_part(struct kunit *test)
{
	uint8_t *tiny = kmalloc(8, TINY), *scan = kmalloc(8, GFP_KERNEL);
	uint8_t *sixteen = kmalloc(16, TINY), *aligned = kmalloc_aligned(8, 16, TINY);

	KUNIT_EXPECT_NE(test, block_of(scan), block_of(tiny));
	KUNIT_EXPECT_EQ(test, ksize(scan), 8);
	KUNIT_EXPECT_EQ(test, ksize(sixteen), 16);
	KUNIT_EXPECT_EQ(test, (uintptr_t)aligned % 16, 0);
	KUNIT_EXPECT_PTR_EQ(test, kmalloc(0, TINY), zerobase);
	kfree(tiny);
	kfree(scan);
	kfree(sixteen);
	kfree(aligned);
}

static void zeroed(struct kunit *test)
{
	for (unsigned i = 0; i < 200; i++) {
		uint8_t *p = kzalloc(i % 15 + 1, TINY);

		KUNIT_ASSERT_NOT_NULL(test, p);
		for (unsigned k = 0; k < i % 15 + 1; k++)
			KUNIT_EXPECT_EQ(test, p[k], 0);
		memset(p, 0xff, i % 15 + 1);
		object[i] = p;
		if (i % 3)
			kfree(p);
	}
	for (unsigned i = 0; i < 200; i += 3)
		kfree(object[i]);
}

static void realloc_grows_out(struct kunit *test)
{
	uint8_t *p = kmalloc(3, TINY), *q;

	memset(p, 7, 3);
	KUNIT_EXPECT_PTR_EQ(test, krealloc(p, 2, TINY), p);
	q = krealloc(p, 11, TINY);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_EQ(test, ksize(q), 11);
	KUNIT_EXPECT_TRUE(test, q[0] == 7 && q[1] == 7 && q[2] == 7);
	q = krealloc(q, 100, TINY);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_TRUE(test, q[0] == 7 && q[1] == 7 && q[2] == 7);
	kfree(q);
}

static void every_misuse(struct kunit *test)
{
	uint8_t *a, *b, *c, *d;
	struct kmem_cache *cache = kmem_cache_create("not tiny", 16, 0, 0, NULL);

	mm_drain();
	a = kmalloc(3, TINY);
	b = kmalloc(8, TINY);
	c = kmalloc(15, TINY);
	d = kmalloc(1, TINY);
	KUNIT_ASSERT_PTR_EQ(test, b, a + 8);
	kfree(a + 1);
	expect_report(test, MM_INVALID_FREE, a + 1);
	kfree(a + 4);
	expect_report(test, MM_INVALID_FREE, a + 4);
	kfree(b + 7);
	expect_report(test, MM_INVALID_FREE, b + 7);
	kfree(c + 8);
	expect_report(test, MM_INVALID_FREE, c + 8);
	kmem_cache_free(cache, a);
	expect_report(test, MM_WRONG_CACHE, a);
	kfree_sized(a, 8);
	expect_report(test, MM_WRONG_SIZE, a);
	kfree_sized(c, 14);
	expect_report(test, MM_WRONG_SIZE, c);

	kfree_sized(a, 3);
	kfree(a);
	expect_report(test, MM_DOUBLE_FREE, a);
	kfree(b);
	kfree(b);
	expect_report(test, MM_DOUBLE_FREE, b);
	kfree(a);
	expect_report(test, MM_DOUBLE_FREE, a);
	kfree(c);
	kfree(c);
	expect_report(test, MM_DOUBLE_FREE, c);
	kfree(d);
	kfree(d);
	expect_report(test, MM_DOUBLE_FREE, d);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

static void counted_one_by_one(struct kunit *test)
{
	struct mm_stats before, held;
	uint64_t bytes = 0;

	books_open(&before);
	for (unsigned i = 0; i < 1000; i++) {
		object[i] = kmalloc(i % 15 + 1, TINY);
		bytes += i % 15 + 1;
	}
	books_open(&held);
	for (unsigned i = 0; i < 1000; i++)
		kfree(object[(i * 7) % 1000]);
	KUNIT_EXPECT_EQ(test, held.objects_live - before.objects_live, 1000);
	KUNIT_EXPECT_EQ(test, held.objects_live_bytes - before.objects_live_bytes, bytes);
	books_close(test, &before);
}

/* Random sizes, held for random times; contents and neighbours stay whole. */
static void random_run(struct kunit *test)
{
	static uint8_t size[MANY];
	struct mm_stats before;
	uint64_t random = 99;

	books_open(&before);
	memset(object, 0, sizeof(object));
	for (unsigned round = 0; round < 30000; round++) {
		unsigned i;

		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		i = (unsigned)(random >> 33) % MANY;
		if (object[i]) {
			KUNIT_ASSERT_EQ(test, ksize(object[i]), size[i]);
			for (unsigned k = 0; k < size[i]; k++)
				KUNIT_ASSERT_EQ(test, object[i][k], (uint8_t)i);
			kfree(object[i]);
			object[i] = NULL;
			continue;
		}
		size[i] = (uint8_t)((random >> 20) % 15 + 1);
		object[i] = kmalloc(size[i], TINY);
		KUNIT_ASSERT_NOT_NULL(test, object[i]);
		memset(object[i], (int)i, size[i]);
		if (round % 4096 == 0)
			mm_drain();
	}
	for (unsigned i = 0; i < MANY; i++)
		kfree(object[i]);
	books_close(test, &before);
}

static void fails_on_purpose(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (uint64_t nth = 1; nth < 20; nth++) {
		mm_drain();
		mm_fail_nth(nth);
		for (unsigned i = 0; i < 40; i++)
			object[i] = kmalloc(i % 15 + 1, TINY);
		mm_fail_off();
		for (unsigned i = 0; i < 40; i++)
			kfree(object[i]);
	}
	books_close(test, &before);
}

/* ---- CPUs and contexts ---- */

static uint8_t *there[3][200];
static unsigned failed;

static void alloc_there(void *arg)
{
	uint8_t **p = arg;

	for (unsigned i = 0; i < 200; i++) {
		p[i] = kmalloc(i % 15 + 1, GFP_ATOMIC | __GFP_NOSCAN);
		if (p[i])
			memset(p[i], (int)i, i % 15 + 1);
		else
			failed++;
	}
}

static void free_there(void *arg)
{
	uint8_t **p = arg;

	for (unsigned i = 0; i < 200; i++)
		kfree(p[i]);
}

static void everywhere(struct kunit *test)
{
	void (*const go[])(unsigned, void (*)(void *), void *) = { run_in_irq, run_in_nmi };
	struct mm_stats before;

	books_open(&before);
	failed = 0;
	for (unsigned round = 0; round < 6; round++) {
		unsigned cpu = round % cpu_count(), next = (cpu + 1) % cpu_count();
		struct task *task = task_start(cpu, alloc_there, there[0], "alloc");

		KUNIT_ASSERT_NOT_NULL(test, task);
		task_join(task);
		run_in_irq(cpu, alloc_there, there[1]);
		run_in_nmi(cpu, alloc_there, there[2]);
		if (round & 2)
			mm_drain();
		go[round & 1](next, free_there, there[0]);
		go[round >> 1 & 1](next, free_there, there[1]);
		go[~round & 1](cpu, free_there, there[2]);
	}
	KUNIT_EXPECT_EQ(test, failed, 0);
	books_close(test, &before);
}

static uint8_t *traded[64];

/* Everybody puts objects into the same places and frees what was there. */
static void trade(void *arg)
{
	uint64_t random = (uintptr_t)arg;

	for (unsigned round = 0; round < 5000; round++) {
		uint8_t *p;
		size_t size;

		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		size = (random >> 40) % 15 + 1;
		p = kmalloc(size, TINY);
		if (p)
			memset(p, (int)size, size);
		p = atomic_xchg(&traded[random >> 58], p);
		if (p) {
			size = ksize(p);
			for (size_t i = 0; i < size; i++)
				if (p[i] != size)
					(void)atomic_fetch_add(&failed, 1);
			kfree(p);
		}
		if (round % 64 == 0)
			task_yield();
	}
}

static void trade_on_all_cpus(struct kunit *test)
{
	struct mm_stats before;
	struct task *task[4];
	unsigned n = MIN(4U, cpu_count());

	books_open(&before);
	failed = 0;
	for (unsigned i = 0; i < n; i++) {
		task[i] = task_start(i, trade, (void *)(uintptr_t)(i + 1), "trade");
		KUNIT_ASSERT_NOT_NULL(test, task[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(task[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(traded); i++)
		kfree(traded[i]);
	memset(traded, 0, sizeof(traded));
	KUNIT_EXPECT_EQ(test, failed, 0);
	books_close(test, &before);
}

static struct kunit_case tiny_cases[] = { KUNIT_CASE(sizes_and_alignments),
					  KUNIT_CASE(share_blocks),
					  KUNIT_CASE(who_has_more_room_stays),
					  KUNIT_CASE(others_do_not_take_part),
					  KUNIT_CASE(zeroed),
					  KUNIT_CASE(realloc_grows_out),
					  KUNIT_CASE(every_misuse),
					  KUNIT_CASE(counted_one_by_one),
					  KUNIT_CASE(random_run),
					  KUNIT_CASE(fails_on_purpose),
					  KUNIT_CASE(everywhere),
					  KUNIT_CASE(trade_on_all_cpus),
					  {} };

static struct kunit_suite tiny_suite = {
	.name = "tiny",
	.init = object_test_init,
	.exit = object_test_exit,
	.test_cases = tiny_cases,
};
kunit_test_suite(tiny_suite);
