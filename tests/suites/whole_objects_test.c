// SPDX-License-Identifier: MIT
/*
 * All memory in objects, and back. Comes after the suites that need Reserved
 * memory, of which this leaves none.
 */
#include <spanheap/page.h>
#include <spanheap/pressure.h>
#include <spanheap/slab.h>

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
		struct link *frames = NULL, *l;

		for (size_t size = 4 * MIB; size >= 8; size /= 2)
			take_all(&list, size);
		/* What is kept for those who cannot wait goes last. */
		for (; (l = alloc_pages_exact(FRAME_SIZE, GFP_ATOMIC)); frames = l)
			l->next = frames;
		mm_stats(&full);
		KUNIT_EXPECT_EQ(test, full.frames_free, 0);
		KUNIT_EXPECT_NULL(test, kmalloc(8, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, kmalloc(8192, GFP_ATOMIC));
		while ((l = frames)) {
			frames = l->next;
			free_pages_exact(l, FRAME_SIZE);
		}
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
		struct link *some = NULL, *frames = NULL, *l;
		void *p;

		take_some(&some, sizes[i], 40);
		for (size_t size = 4 * MIB; size >= 8; size /= 2)
			take_all(&list, size);
		/* Single frames in which no span can lie. */
		for (; (l = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL)); frames = l)
			l->next = frames;
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(want, GFP_KERNEL));
		free_all(&some);
		p = alloc_pages_exact(want, GFP_KERNEL);
		KUNIT_EXPECT_NOT_NULL_MSG(test, p, "%zu bytes", sizes[i]);
		free_pages_exact(p, want);
		while ((l = frames)) {
			frames = l->next;
			free_pages_exact(l, FRAME_SIZE);
		}
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

static struct kunit_case whole_objects_cases[] = {
	KUNIT_CASE_SLOW(to_the_last_frame_and_back),
	KUNIT_CASE_SLOW(caches_give_way),
	KUNIT_CASE_SLOW(all_in_small_objects),
	{},
};

static struct kunit_suite whole_objects_suite = {
	.name = "whole_objects",
	.test_cases = whole_objects_cases,
};
kunit_test_suite(whole_objects_suite);
