// SPDX-License-Identifier: MIT
/*
 * Memory that one CPU owns and others need: it comes back when it is asked for, so
 * that what idle CPUs keep is bounded, and who needs it does not grow the heap instead.
 *
 *	the other CPU	allocates a crowd; perhaps frees four of five itself
 *	this one	perhaps frees them from here; then takes as much memory
 */
#include <spanheap/pressure.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "mm/asking.h"
#include "mm/mcache.h"
#include "tests/suites/object_fixture.h"

#define SIZE 512UL
#define SHARES 6 /* more than a busy CPU may own */
#define MIB (1UL << 20)

struct link {
	struct link *next;
};

static struct {
	struct link *kept, *dropped;
	size_t n;
	uint32_t ready;
} crowd;

static void take_links(struct link **list, size_t n, size_t size, gfp_t gfp)
{
	for (struct link *l; n-- && (l = kmalloc(size, gfp)); *list = l)
		l->next = *list;
}

static void free_links(struct link **list)
{
	for (struct link *l; (l = *list);) {
		*list = l->next;
		kfree(l);
	}
}

static void make_crowd(void *unused)
{
	(void)unused;
	for (size_t i = 0; i < crowd.n; i++)
		take_links(i % 5 ? &crowd.dropped : &crowd.kept, 1, SIZE, GFP_KERNEL);
}

static void make_and_drop(void *unused)
{
	make_crowd(unused);
	free_links(&crowd.dropped);
}

static unsigned other_cpu(struct kunit *test)
{
	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	return (this_cpu() + 1) % cpu_count();
}

static void let_run(struct kunit *test, unsigned cpu, void (*fn)(void *))
{
	struct task *t = task_start(cpu, fn, NULL, "crowd");

	KUNIT_ASSERT_NOT_NULL(test, t);
	task_join(t);
}

/* Which of six shares at most three are free elsewhere: the machine must have as much again. */
static void open_crowd(struct kunit *test, struct mm_stats *before)
{
	books_open(before);
	crowd.kept = crowd.dropped = NULL;
	crowd.n = SHARES * retention.owned / SIZE;
	if (mm_available() < 3 * SHARES * retention.owned || retention.owned > 64 * MIB)
		kunit_skip(test, "too little memory, or too much to use it up");
}

static uint64_t frames_now(void)
{
	struct mm_stats s;

	mm_stats(&s);
	return s.frames_used;
}

/* Partly used spans of an idle CPU serve the one that needs their class. */
static void what_an_idle_cpu_owns_is_used_elsewhere(struct kunit *test)
{
	unsigned cpu = other_cpu(test);
	struct mm_stats before;
	struct link *here = NULL;
	uint64_t frames;

	open_crowd(test, &before);
	let_run(test, cpu, make_and_drop);
	KUNIT_EXPECT_GT(test, mcache_owned(mcache_heap(cpu)), (SHARES - 1) * retention.owned);
	frames = frames_now();
	take_links(&here, crowd.n * 3 / 4, SIZE, GFP_KERNEL);
	KUNIT_EXPECT_LE(test, frames_now(), frames + (retention.owned >> FRAME_SHIFT) + 64);
	KUNIT_EXPECT_LE(test, mcache_owned(mcache_heap(cpu)), retention.owned);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	free_links(&here);
	free_links(&crowd.kept);
	books_close(test, &before);
}

/* What is freed from afar does not wait for a CPU that never looks. */
static void what_others_freed_is_used_elsewhere(struct kunit *test)
{
	unsigned cpu = other_cpu(test);
	struct mm_stats before;
	struct link *here = NULL;
	uint64_t frames;

	open_crowd(test, &before);
	let_run(test, cpu, make_crowd);
	frames = frames_now();
	free_links(&crowd.dropped);
	free_links(&crowd.kept);
	KUNIT_EXPECT_GT(test, mcache_owned(mcache_heap(cpu)), (SHARES - 1) * retention.owned);
	take_links(&here, crowd.n / 2, 2 * SIZE, GFP_KERNEL);
	KUNIT_EXPECT_LE(test, frames_now(), frames + (retention.owned >> FRAME_SHIFT) + 64);
	KUNIT_EXPECT_LE(test, mcache_owned(mcache_heap(cpu)), retention.owned);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	free_links(&here);
	books_close(test, &before);
}

/* Less than several shares is left to a CPU that is busy, and to none that is idle. */
static void busy_cpus_keep_more(struct kunit *test)
{
	unsigned cpu = other_cpu(test);
	struct mm_stats before;
	struct link *here = NULL;

	open_crowd(test, &before);
	crowd.n /= 3;
	let_run(test, cpu, make_and_drop);
	KUNIT_EXPECT_GT(test, mcache_owned(mcache_heap(cpu)), retention.owned);
	for (unsigned i = 0; i < cpu_count(); i++)
		KUNIT_EXPECT_FALSE_MSG(test, asking_next(GFP_KERNEL), "it has just been busy");
	KUNIT_EXPECT_GT(test, mcache_owned(mcache_heap(cpu)), retention.owned);
	for (unsigned i = 0; i < cpu_count(); i++)
		(void)asking_next(GFP_ATOMIC);
	KUNIT_EXPECT_GT_MSG(test, mcache_owned(mcache_heap(cpu)), retention.owned,
			    "asked by who may not wait");
	for (unsigned i = 0; i < cpu_count(); i++)
		(void)asking_next(GFP_KERNEL);
	KUNIT_EXPECT_LE(test, mcache_owned(mcache_heap(cpu)), retention.owned);
	free_links(&here);
	free_links(&crowd.kept);
	books_close(test, &before);
}

static void hold_and_want(void *unused)
{
	struct link *kept = NULL, *dropped = NULL, *more = NULL;
	size_t n = crowd.n / cpu_count();

	(void)unused;
	for (size_t i = 0; i < n; i++)
		take_links(i % 5 ? &dropped : &kept, 1, SIZE, GFP_KERNEL);
	free_links(&dropped);
	(void)atomic_fetch_add(&crowd.ready, 1);
	while (atomic_load(&crowd.ready) < cpu_count())
		task_yield();
	for (unsigned i = 0; i < 8; i++) {
		take_links(&more, n / 4, SIZE << i % 3, GFP_KERNEL);
		asking_all();
		free_links(&more);
	}
	free_links(&kept);
}

/* Each waits for all others, and does for them what they wait for. */
static void all_ask_at_once(struct kunit *test)
{
	struct task *t[PORT_MAX_CPUS];
	struct mm_stats before;

	(void)other_cpu(test);
	open_crowd(test, &before);
	atomic_store(&crowd.ready, 0);
	for (unsigned i = 0; i < cpu_count(); i++) {
		t[i] = task_start(i, hold_and_want, NULL, "want");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < cpu_count(); i++)
		task_join(t[i]);
	books_close(test, &before);
}

static struct kunit_case asking_cases[] = {
	KUNIT_CASE_SLOW(what_an_idle_cpu_owns_is_used_elsewhere),
	KUNIT_CASE_SLOW(what_others_freed_is_used_elsewhere),
	KUNIT_CASE_SLOW(busy_cpus_keep_more),
	KUNIT_CASE_SLOW(all_ask_at_once),
	{},
};

static struct kunit_suite asking_suite = { .name = "asking", .test_cases = asking_cases };
kunit_test_suite(asking_suite);
