// SPDX-License-Identifier: MIT
/*
 * Metadata memory: records and frames out of regions, in pools of the test's own.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/page.h>

#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/meta.h"

#define F FRAME_SIZE
#define REGION (16 * F)
#define MOST 2048

static struct meta_pool pool;
static uint8_t *region;
static void *got[MOST];

static int meta_init(struct kunit *test)
{
	(void)test;
	memset(&pool, 0, sizeof(pool));
	region = alloc_pages_exact(4 * REGION, GFP_KERNEL);
	if (!region)
		return -ENOMEM;
	memset(region, 0xd1, 4 * REGION);
	return 0;
}

static void meta_exit(struct kunit *test)
{
	(void)test;
	mm_fail_off();
	free_pages_exact(region, 4 * REGION);
}

static bool is_zero(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

/* Everything of one kind until there is no more; each zeroed, then filled by us. */
static unsigned take_all(struct kunit *test, enum meta_kind kind)
{
	size_t size = meta_size(kind), used = pool.used[kind];
	unsigned n = 0;

	for (; n < MOST; n++) {
		uint8_t *p = meta_alloc(&pool, kind);

		got[n] = p;
		if (!p)
			break;
		KUNIT_EXPECT_TRUE(test, p >= region && p + size <= region + 4 * REGION);
		KUNIT_EXPECT_EQ(test, (uintptr_t)p % (kind == META_FRAME ? F : 8), 0);
		KUNIT_EXPECT_TRUE(test, is_zero(p, size));
		memset(p, (int)(n % 255) + 1, size);
	}
	/* No record reached into another. */
	for (unsigned i = 0; i < n; i++)
		for (size_t k = 0; k < size; k += 61)
			KUNIT_ASSERT_EQ(test, ((uint8_t *)got[i])[k], i % 255 + 1);
	KUNIT_EXPECT_EQ(test, pool.used[kind], used + n);
	return n;
}

static void every_kind_until_empty(struct kunit *test)
{
	for (unsigned kind = 0; kind < META_KINDS; kind++) {
		size_t size = meta_size((enum meta_kind)kind);
		unsigned n;

		memset(&pool, 0, sizeof(pool));
		KUNIT_EXPECT_NULL(test, meta_alloc(&pool, (enum meta_kind)kind));
		KUNIT_EXPECT_EQ(test, meta_room(&pool), 0);
		meta_feed(&pool, region, REGION);
		KUNIT_EXPECT_EQ(test, meta_room(&pool), REGION);
		KUNIT_EXPECT_EQ(test, pool.held, REGION);
		n = take_all(test, (enum meta_kind)kind);
		KUNIT_EXPECT_GE_MSG(test, n, REGION / (round_up(size, 32)), "%s",
				    meta_name((enum meta_kind)kind));
		/* What comes back is given out again, zeroed. */
		for (unsigned i = 0; i < n; i++)
			meta_free(&pool, (enum meta_kind)kind, got[i]);
		KUNIT_EXPECT_EQ(test, pool.used[kind], 0);
		KUNIT_EXPECT_EQ(test, take_all(test, (enum meta_kind)kind), n);
	}
}

/* Frames from the top, records from the bottom, until they meet. */
static void records_and_frames_share_a_region(struct kunit *test)
{
	unsigned frames = 0, leaves = 0;

	meta_feed(&pool, region, REGION);
	for (;;) {
		uint8_t *leaf = meta_alloc(&pool, META_LEAF), *frame;

		if (!leaf)
			break;
		memset(leaf, 0x77, META_LEAF_SIZE);
		leaves++;
		frame = leaves % 16 ? NULL : meta_alloc(&pool, META_FRAME);
		if (!frame)
			continue;
		KUNIT_EXPECT_TRUE(test, is_zero(frame, F));
		KUNIT_EXPECT_TRUE(test, leaf + META_LEAF_SIZE <= frame);
		memset(frame, 0x88, F);
		frames++;
	}
	KUNIT_EXPECT_GT(test, frames, REGION / F / 2);
	KUNIT_EXPECT_GT(test, leaves, 16 * frames - 1);
	KUNIT_EXPECT_LT(test, meta_room(&pool), F);
}

/* The rest of a region that a larger record did not fit into serves as frames. */
static void several_regions(struct kunit *test)
{
	size_t room = 3 * REGION;
	unsigned n;

	for (unsigned i = 0; i < 3; i++)
		meta_feed(&pool, region + i * REGION, REGION);
	KUNIT_EXPECT_EQ(test, meta_room(&pool), room);
	n = take_all(test, META_INDEX);
	KUNIT_EXPECT_EQ(test, n, 3 * (REGION / META_INDEX_SIZE));
	for (unsigned i = 0; i < n; i++)
		meta_free(&pool, META_INDEX, got[i]);

	memset(&pool, 0, sizeof(pool));
	meta_feed(&pool, region, 2 * F);
	meta_feed(&pool, region + REGION, REGION);
	KUNIT_ASSERT_NOT_NULL(test, meta_alloc(&pool, META_FRAME));
	KUNIT_ASSERT_NOT_NULL(test, meta_alloc(&pool, META_ARENA));
	n = take_all(test, META_ARENA);
	KUNIT_EXPECT_EQ(test, pool.used[META_FRAME], 1);
	KUNIT_EXPECT_EQ(test, n + 1, REGION / META_ARENA_SIZE);
	/* Of both regions a frame is left. */
	KUNIT_EXPECT_GE(test, take_all(test, META_FRAME), 1);
}

static void tables_are_all_or_what_there_is(struct kunit *test)
{
	struct port_pool tables = { 0 };

	meta_feed(&pool, region, 8 * F);
	KUNIT_EXPECT_TRUE(test, meta_fill_tables(&pool, &tables, 0));
	KUNIT_EXPECT_TRUE(test, meta_fill_tables(&pool, &tables, 5));
	KUNIT_EXPECT_EQ(test, tables.nframes, 5);
	/* Up to the number, not by it. */
	KUNIT_EXPECT_TRUE(test, meta_fill_tables(&pool, &tables, 5));
	KUNIT_EXPECT_TRUE(test, meta_fill_tables(&pool, &tables, 8));
	KUNIT_EXPECT_EQ(test, tables.nframes, 8);
	KUNIT_EXPECT_FALSE(test, meta_fill_tables(&pool, &tables, 9));
	KUNIT_EXPECT_EQ(test, pool.used[META_FRAME], 8);
	meta_return_tables(&pool, &tables);
	KUNIT_EXPECT_EQ(test, tables.nframes, 0);
	KUNIT_EXPECT_NULL(test, tables.head);
	KUNIT_EXPECT_EQ(test, pool.used[META_FRAME], 0);
	KUNIT_EXPECT_EQ(test, take_all(test, META_FRAME), 8);
}

static void fails_on_purpose(struct kunit *test)
{
	struct port_pool tables = { 0 };
	void *p;

	meta_feed(&pool, region, REGION);
	mm_fail_nth(2);
	p = meta_alloc(&pool, META_SIDE);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_NULL(test, meta_alloc(&pool, META_SIDE));
	KUNIT_EXPECT_NOT_NULL(test, meta_alloc(&pool, META_SIDE));
	mm_fail_nth(1);
	KUNIT_EXPECT_FALSE(test, meta_fill_tables(&pool, &tables, 3));
	KUNIT_EXPECT_EQ(test, tables.nframes, 0);
	KUNIT_EXPECT_EQ(test, pool.used[META_SIDE], 2);
	KUNIT_EXPECT_EQ(test, pool.used[META_FRAME], 0);
	meta_free(&pool, META_SIDE, p);
}

static void take_one(void *arg)
{
	*(void **)arg = meta_alloc(&pool, META_SIDE);
}

/* An NMI cannot wait for the lock: the CPU it interrupted may hold it. */
static void nmi_does_not_wait(struct kunit *test)
{
	void *record = region;

	meta_feed(&pool, region, REGION);
	while (!spin_trylock(&pool.lock))
		port_relax();
	run_in_nmi(this_cpu(), take_one, &record);
	spin_unlock(&pool.lock);
	KUNIT_EXPECT_NULL(test, record);
	run_in_nmi(this_cpu(), take_one, &record);
	KUNIT_EXPECT_NOT_NULL(test, record);
	KUNIT_EXPECT_EQ(test, pool.used[META_SIDE], 1);
}

struct taker {
	unsigned n, wrong;
	void *record[64];
};

static void take_and_give(void *arg)
{
	struct taker *t = arg;

	for (unsigned round = 0; round < 60; round++) {
		t->n = 0;
		while (t->n < ARRAY_SIZE(t->record)) {
			uint8_t *p = meta_alloc(&pool, META_LEAF);

			if (!p)
				break;
			if (!is_zero(p, META_LEAF_SIZE))
				t->wrong++;
			memset(p, (int)round + 1, META_LEAF_SIZE);
			t->record[t->n++] = p;
		}
		for (unsigned i = 0; i < t->n; i++) {
			const uint8_t *p = t->record[i];

			if (p[8] != round + 1 || p[META_LEAF_SIZE - 1] != round + 1)
				t->wrong++;
			meta_free(&pool, META_LEAF, t->record[i]);
		}
		task_yield();
	}
}

static void several_cpus(struct kunit *test)
{
	static struct taker taker[PORT_MAX_CPUS];
	static struct task *task[PORT_MAX_CPUS];

	meta_feed(&pool, region, REGION);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		taker[cpu].wrong = 0;
		task[cpu] = task_start(cpu, take_and_give, &taker[cpu], "taker");
		KUNIT_EXPECT_NOT_NULL(test, task[cpu]);
	}
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		if (task[cpu])
			task_join(task[cpu]);
		KUNIT_EXPECT_EQ(test, taker[cpu].wrong, 0);
	}
	KUNIT_EXPECT_EQ(test, pool.used[META_LEAF], 0);
}

static struct kunit_case meta_cases[] = {
	KUNIT_CASE(every_kind_until_empty), KUNIT_CASE(records_and_frames_share_a_region),
	KUNIT_CASE(several_regions),	    KUNIT_CASE(tables_are_all_or_what_there_is),
	KUNIT_CASE(fails_on_purpose),	    KUNIT_CASE(nmi_does_not_wait),
	KUNIT_CASE(several_cpus),	    {},
};

static struct kunit_suite meta_suite = {
	.name = "meta",
	.init = meta_init,
	.exit = meta_exit,
	.test_cases = meta_cases,
};
kunit_test_suite(meta_suite);
