// SPDX-License-Identifier: MIT
/*
 * Where caches take their frames from: homes, over a page heap of made-up frames.
 */
#include <kunit/test.h>
#include <spanheap/page.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/pagecache.h"

#define P CHUNK_FRAMES
#define NSLOTS 31
#define ROOM 20
#define CROWD 40
#define CHUNKS (4 * CROWD)

static struct cpu {
	struct pagecache cache;
	struct held_frame slots[NSLOTS + 1];
} cpus[CROWD];

static void start(void)
{
	for (unsigned i = 0; i < CROWD; i++) {
		pagecache_init(&cpus[i].cache, &fix_heap, i, cpus[i].slots, NSLOTS);
		pagecache_set_room(&cpus[i].cache, ROOM, 64, 0);
	}
}

static void empty(unsigned cpu)
{
	struct pagecache_haul haul;

	pagecache_take_all(&cpus[cpu].cache, &haul);
	pagecache_give_back(&haul);
}

static void stop(struct kunit *test, uint64_t used)
{
	for (unsigned i = 0; i < CROWD; i++) {
		KUNIT_EXPECT_EQ(test, pagecache_check(&cpus[i].cache), 0);
		empty(i);
	}
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free + used, fix_heap.frames);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* The chunk of a new frame of this CPU. */
static unsigned take(struct kunit *test, unsigned cpu)
{
	void *p = pagecache_alloc(&cpus[cpu].cache, 1, 1);

	KUNIT_ASSERT_NOT_NULL(test, p);
	return (unsigned)((virt_to_phys(p) >> CHUNK_SHIFT) - FIX_CHUNK0);
}

/* All take a frame. Return: of how many chunks; @highest: the highest of them. */
static unsigned all_take(struct kunit *test, unsigned *highest)
{
	static bool seen[CHUNKS];
	unsigned n = 0;

	memset(seen, 0, sizeof(seen));
	*highest = 0;
	for (unsigned i = 0; i < CROWD; i++) {
		unsigned chunk = take(test, i);

		n += !seen[chunk];
		seen[chunk] = true;
		*highest = MAX(*highest, chunk);
	}
	return n;
}

/* Each of many CPUs has a chunk of its own, and no more is claimed than they need. */
static void one_each(struct kunit *test)
{
	unsigned highest;

	fix_reserve(test, (struct fix_chunks[]){ { 0, CHUNKS }, { 0 } });
	start();
	KUNIT_EXPECT_EQ(test, all_take(test, &highest), CROWD);
	KUNIT_EXPECT_EQ(test, highest, CROWD - 1);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, (uint64_t)CROWD * P);
	stop(test, CROWD);
}

/* More CPUs than chunks, all or that are claimed: they share. */
static void shared_if_need_be(struct kunit *test)
{
	unsigned highest;

	fix_setup(test, (struct fix_chunks[]){ { 0, 20 }, { 0 } });
	start();
	KUNIT_EXPECT_EQ(test, all_take(test, &highest), 20);
	stop(test, CROWD);
}

/* A home reserves nothing: runs lie there as well, and whole chunks. */
static void runs_in_homes(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 2 }, { 0 } });
	start();
	KUNIT_EXPECT_EQ(test, take(test, 0), 0);
	KUNIT_EXPECT_EQ(test, take(test, 1), 1);
	KUNIT_EXPECT_LT(test, fix_alloc(P / 2), P / 2);
	KUNIT_EXPECT_EQ(test, fix_alloc(P / 2) / P, 1);
	stop(test, P + 2);

	fix_setup(test, (struct fix_chunks[]){ { 0, 1 }, { 0 } });
	start();
	KUNIT_EXPECT_EQ(test, take(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fix_free(0, 1), MM_PAGE_DOUBLE_FREE);
	empty(0);
	KUNIT_EXPECT_EQ(test, fix_alloc(P), PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_free(1, 1), -1);
	KUNIT_EXPECT_EQ(test, fix_alloc(P), 0);
	KUNIT_EXPECT_EQ(test, fix_free(0, P), -1);
	stop(test, 0);
}

/* A chunk that is used up is left, and so is one whose CPU's cache was emptied. */
static void left_when_empty(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 3 }, { 0 } });
	start();
	KUNIT_EXPECT_EQ(test, take(test, 0), 0);
	KUNIT_EXPECT_EQ(test, take(test, 1), 1);
	for (unsigned i = 1; i < P; i++)
		KUNIT_EXPECT_EQ(test, take(test, 0), 0);
	KUNIT_EXPECT_EQ(test, take(test, 0), 2);
	empty(0);
	KUNIT_EXPECT_EQ(test, take(test, 0), 2);
	empty(0);
	empty(1);
	KUNIT_EXPECT_EQ(test, take(test, 0), 1);
	stop(test, P + 4);
}

/* The chunk becomes one used run while it is a home: its mark goes, and nothing is lost. */
static void home_taken_whole(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 2 }, { 0 } });
	start();
	for (unsigned round = 0; round < 3; round++) {
		void *p = pagecache_alloc(&cpus[0].cache, 2, 2);

		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_TRUE(test, pagecache_free(&cpus[0].cache, p, 2));
		/* It goes back, but the cache does not leave home. */
		KUNIT_EXPECT_TRUE(test, pageheap_unhold_words(&fix_heap, &cpus[0].cache.run, 1));
		cpus[0].cache.run.frames = 0;
		KUNIT_EXPECT_EQ(test, fix_alloc(P), 0);
		KUNIT_EXPECT_EQ(test, take(test, 0), 1);
		KUNIT_EXPECT_EQ(test, fix_free(0, P), -1);
		empty(0);
	}
	stop(test, 3);
}

static struct kunit_case hold_cases[] = {
	KUNIT_CASE(one_each),
	KUNIT_CASE(shared_if_need_be),
	KUNIT_CASE(runs_in_homes),
	KUNIT_CASE(left_when_empty),
	KUNIT_CASE(home_taken_whole),
	{},
};

static struct kunit_suite hold_suite = {
	.name = "pagehold",
	.test_cases = hold_cases,
};
kunit_test_suite(hold_suite);
