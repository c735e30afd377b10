// SPDX-License-Identifier: MIT
/*
 * All memory in objects, and back. Comes after the suites that need Reserved
 * memory, of which this leaves none.
 */
#include <spanheap/page.h>
#include <spanheap/pressure.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/bits.h"
#include "tests/suites/object_fixture.h"

#define MIB (1UL << 20)

/* More than this takes too long to use up. */
#define EXHAUST_MAX (4UL << 30)

struct link {
	struct link *next;
};

/* All that can be had in objects of @size, in front of *list. */
static size_t take_all(struct link **list, size_t size)
{
	size_t n = 0;

	for (struct link *l; (l = kmalloc(size, GFP_KERNEL)); n++) {
		l->next = *list;
		*list = l;
	}
	return n;
}

static void take_some(struct link **list, size_t size, size_t n)
{
	for (struct link *l; n-- && (l = kmalloc(size, GFP_KERNEL));) {
		l->next = *list;
		*list = l;
	}
}

static void free_all(struct link **list)
{
	for (struct link *l; (l = *list);) {
		*list = l->next;
		kfree(l);
	}
}

static void take_frames(struct link **list, gfp_t gfp)
{
	for (struct link *l; (l = alloc_pages_exact(FRAME_SIZE, gfp)); *list = l)
		l->next = *list;
}

static void free_frames(struct link **list)
{
	for (struct link *l; (l = *list);) {
		*list = l->next;
		free_pages_exact(l, FRAME_SIZE);
	}
}

static void skip_huge(struct kunit *test, const struct mm_stats *stats)
{
	if (stats->ram_bytes > EXHAUST_MAX)
		kunit_skip(test, "too much RAM to use it up");
}

static void to_the_last_frame_and_back(struct kunit *test)
{
	struct mm_stats before, full;
	struct link *list = NULL;

	books_open(&before);
	skip_huge(test, &before);
	for (unsigned round = 0; round < 10; round++) {
		struct link *frames = NULL;

		for (size_t size = 4 * MIB; size >= 8; size /= 2)
			take_all(&list, size);
		/* What is kept for those who cannot wait goes last. */
		take_frames(&frames, GFP_ATOMIC);
		mm_stats(&full);
		KUNIT_EXPECT_EQ(test, full.frames_free, 0);
		KUNIT_EXPECT_NULL(test, kmalloc(8, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kmalloc(8192, GFP_ATOMIC));
		free_frames(&frames);
		free_all(&list);
		books_close(test, &before);
	}
}

/*
 * What caches keep is no reason to fail: a run that waits for a request of its own
 * length, and empty spans, come back for whoever may wait. All else is of other classes.
 */
static void caches_give_way(struct kunit *test)
{
	static const size_t sizes[] = { 1100, 9000, 48 << 10, 512 << 10 };
	struct mm_stats before;
	struct link *list = NULL;

	books_open(&before);
	skip_huge(test, &before);
	/* Or what comes back fills up the reserve that metadata has drawn on. */
	mm_set_reserves(0);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t want = MAX(sizes[i] / 2, FRAME_SIZE);
		struct link *some = NULL, *frames = NULL;
		void *p;

		take_some(&some, sizes[i], 40);
		for (size_t size = 4 * MIB; size >= 8; size /= 2)
			take_all(&list, size);
		/* Single ones make no span. */
		take_frames(&frames, GFP_KERNEL);
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(want, GFP_KERNEL));
		free_all(&some);
		p = alloc_pages_exact(want, GFP_KERNEL);
		KUNIT_EXPECT_NOT_NULL_MSG(test, p, "%zu bytes", sizes[i]);
		free_pages_exact(p, want);
		free_frames(&frames);
		free_all(&list);
	}
	mm_set_reserves(256);
	books_close(test, &before);
}

/* Leave little, so that all of it becomes small objects and their metadata. */
static void all_in_small_objects(struct kunit *test)
{
	static const size_t sizes[] = { 8, 64, 1000, 3000, 20000 };
	struct mm_stats before;
	struct link *ballast = NULL, *list = NULL;

	books_open(&before);
	skip_huge(test, &before);
	take_all(&ballast, MIB);
	for (unsigned i = 0; i < 4 && ballast; i++) {
		struct link *l = ballast;

		ballast = l->next;
		kfree(l);
	}
	for (unsigned round = 0; round < 10; round++) {
		size_t size = sizes[round % ARRAY_SIZE(sizes)], n = take_all(&list, size);

		KUNIT_EXPECT_GT_MSG(test, n * size, MIB, "%zu bytes", size);
		free_all(&list);
	}
	free_all(&ballast);
	books_close(test, &before);
}

static void take_everything(void *arg)
{
	take_all(arg, 1000);
}

/* All memory lies in spans of a CPU that does nothing, whose objects others have freed. */
static void an_idle_cpu_gives_way(struct kunit *test)
{
	struct link *list = NULL;
	struct mm_stats before;
	struct task *t;
	void *p;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	books_open(&before);
	skip_huge(test, &before);
	t = task_start((this_cpu() + 1) % cpu_count(), take_everything, &list, "everything");
	KUNIT_ASSERT_NOT_NULL(test, t);
	task_join(t);
	p = alloc_pages_exact(4 * MIB, GFP_KERNEL);
	KUNIT_EXPECT_NULL(test, p);
	free_all(&list);
	p = alloc_pages_exact(4 * MIB, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	free_pages_exact(p, 4 * MIB);
	books_close(test, &before);
}

static struct kunit_case whole_objects_cases[] = {
	KUNIT_CASE_SLOW(to_the_last_frame_and_back),
	KUNIT_CASE_SLOW(caches_give_way),
	KUNIT_CASE_SLOW(all_in_small_objects),
	KUNIT_CASE_SLOW(an_idle_cpu_gives_way),
	{},
};

static struct kunit_suite whole_objects_suite = {
	.name = "whole_objects",
	.test_cases = whole_objects_cases,
};
kunit_test_suite(whole_objects_suite);
