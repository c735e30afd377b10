// SPDX-License-Identifier: MIT
/*
 * Medium objects: runs that wait for the next request, and objects of whole pages
 * that grow and shrink where they are.
 */
#include <spanheap/fault.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/string.h"
#include "mm/medium.h"
#include "mm/numa.h"
#include "mm/retention.h"
#include "mm/sizeclass.h"
#include "tests/suites/object_fixture.h"

#define KIB 1024UL
#define MIB (1024 * KIB)
#define LARGEST (MEDIUM_MAX_PAGES * PAGE_SIZE)

/* A machine whose CPUs may keep nothing at all has no caches to look at. */
static void need_room(struct kunit *test, size_t bytes)
{
	if (retention.medium_cpu < bytes)
		kunit_skip(test, "too little RAM");
}

static void last_freed_comes_back(struct kunit *test)
{
	struct mm_stats before, held, waiting;
	void *p[3], *q;

	need_room(test, 3 * 64 * KIB);
	books_open(&before);
	for (unsigned i = 0; i < 3; i++) {
		p[i] = kmalloc(40 * KIB, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	mm_stats(&held);
	for (unsigned i = 0; i < 3; i++)
		kfree(p[i]);
	KUNIT_EXPECT_EQ(test, medium_bytes(), 3 * 40 * KIB);
	/* What waits is free: nobody has it. */
	mm_stats(&waiting);
	KUNIT_EXPECT_EQ(test, waiting.objects_live, before.objects_live);
	KUNIT_EXPECT_EQ(test, waiting.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, waiting.frames_free, held.frames_free + 30);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);

	/* Another number of pages is not served by it, nor another alignment. */
	q = kmalloc(48 * KIB, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, medium_bytes(), 3 * 40 * KIB);
	kfree(q);
	for (unsigned i = 3; i-- > 0;) {
		q = kmalloc(40 * KIB - i, GFP_KERNEL);
		KUNIT_EXPECT_PTR_EQ(test, q, p[i]);
	}
	kfree_bulk(3, p);
	books_close(test, &before);
	KUNIT_EXPECT_EQ(test, medium_bytes(), 0);
}

static void every_number_of_pages(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (size_t size = 40 * KIB; size <= LARGEST + PAGE_SIZE; size += PAGE_SIZE) {
		char *p = kmalloc(size, GFP_KERNEL), *q;

		KUNIT_ASSERT_NOT_NULL(test, p);
		object_fill(p, size, size);
		KUNIT_EXPECT_TRUE(test, object_holds(p, size, size));
		kfree(p);
		q = kmalloc(size, GFP_KERNEL | __GFP_ZERO);
		KUNIT_ASSERT_NOT_NULL(test, q);
		KUNIT_EXPECT_EQ(test, ksize(q), size);
		KUNIT_EXPECT_TRUE(test, object_is_zero(q, size));
		if (is_pow2(size))
			KUNIT_EXPECT_EQ(test, virt_to_phys(q) % size, 0);
		kfree(q);
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	books_close(test, &before);
}

/* 64 KiB from an 8 KiB border are no 64 KiB by themselves. */
static void alignment_is_looked_at(struct kunit *test)
{
	struct mm_stats before;
	void *p[8];

	books_open(&before);
	/* 60 KiB take as many pages, wherever they lie. */
	for (unsigned i = 0; i < 8; i++)
		p[i] = kmalloc(60 * KIB, GFP_KERNEL);
	kfree_bulk(8, p);
	for (unsigned i = 0; i < 8; i++) {
		p[i] = kmalloc(64 * KIB, GFP_KERNEL);
		KUNIT_EXPECT_EQ(test, virt_to_phys(p[i]) % (64 * KIB), 0);
	}
	kfree_bulk(8, p);
	for (unsigned i = 0; i < 8; i++) {
		p[i] = kmalloc_aligned(60 * KIB, 256 * KIB, GFP_KERNEL);
		KUNIT_EXPECT_EQ(test, virt_to_phys(p[i]) % (256 * KIB), 0);
	}
	kfree_bulk(8, p);
	books_close(test, &before);
}

/* However much is freed, and of whatever sizes: what waits stays below the limits. */
static void bounded(struct kunit *test)
{
	static void *p[600];
	size_t limit = retention.medium_cpu + numa_order(0)->n * retention.medium_node;
	struct mm_stats before;
	unsigned n = 0;

	books_open(&before);
	for (size_t size = 40 * KIB; n < ARRAY_SIZE(p); n++, size = size % MIB + 24 * KIB) {
		p[n] = kmalloc(MAX(size, 40 * KIB), GFP_KERNEL);
		if (!p[n])
			break;
	}
	for (unsigned i = 0; i < n; i++) {
		kfree(p[i]);
		KUNIT_ASSERT_LE(test, medium_bytes(), limit);
	}
	/* A new size finds room, for what nobody asks for leaves. */
	for (unsigned round = 0; round < 400 && limit > 4 * MIB; round++)
		for (unsigned i = 0; i < 4; i++)
			p[i] = kmalloc(1000 * KIB - round % 2, GFP_KERNEL), kfree(p[i]);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	mm_drain();
	KUNIT_EXPECT_EQ(test, medium_bytes(), 0);
	books_close(test, &before);
}

/* Not for those who need low memory, and none of theirs is kept from them. */
static void low_memory_does_not_wait(struct kunit *test)
{
	struct mm_stats before;
	void *p, *q;

	books_open(&before);
	p = kmalloc(64 * KIB, GFP_DMA);
	if (p) {
		kfree(p);
		KUNIT_EXPECT_EQ(test, medium_bytes(), 0);
	}
	p = kmalloc(64 * KIB, GFP_KERNEL);
	kfree(p);
	q = kmalloc(64 * KIB, GFP_DMA);
	KUNIT_EXPECT_TRUE(test, !q || virt_to_phys(q) + ksize(q) <= 16 * MIB);
	kfree(q);
	books_close(test, &before);
}

static void misuse_of_what_waits(struct kunit *test)
{
	struct mm_stats before;
	char *p;

	need_room(test, 64 * KIB);
	books_open(&before);
	reports_start();
	p = kmalloc(50 * KIB, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	kfree(p);
	kfree(p);
	KUNIT_EXPECT_EQ(test, reports_count(), 1);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_DOUBLE_FREE);
	KUNIT_EXPECT_PTR_EQ(test, reports_last().addr, p);
	kfree(p + 8);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_INVALID_FREE);
	kfree(p + 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_INVALID_FREE);
	free_pages_exact(p, 56 * KIB);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_PAGE_INVALID_FREE);
	KUNIT_EXPECT_EQ(test, reports_count(), 4);
	KUNIT_EXPECT_NULL(test, krealloc(p, 90 * KIB, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, reports_count(), 5);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_INVALID_QUERY);
	KUNIT_EXPECT_PTR_EQ(test, kmalloc(50 * KIB, GFP_KERNEL), p);
	kfree(p);
	mm_drain();
	kfree(p);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_DOUBLE_FREE);
	reports_stop();
	books_close(test, &before);
}

/* ---- Other contexts and CPUs ---- */

static void *handed[4];

static void allocate_some(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ARRAY_SIZE(handed); i++)
		handed[i] = kmalloc((40 + 8 * i) * KIB, GFP_ATOMIC);
}

static void free_some(void *arg)
{
	(void)arg;
	kfree_bulk(ARRAY_SIZE(handed), handed);
}

static void everywhere(struct kunit *test)
{
	static void (*const run[])(unsigned, void (*)(void *), void *) = { run_in_irq, run_in_nmi };
	struct mm_stats before;

	books_open(&before);
	for (unsigned round = 0; round < 40; round++) {
		unsigned a = round % cpu_count(), b = (round / 2) % cpu_count();

		if (round % 3)
			run[round % 2](a, allocate_some, NULL);
		else
			allocate_some(NULL);
		for (unsigned i = 0; i < ARRAY_SIZE(handed); i++)
			if (handed[i])
				memset(handed[i], (int)round, ksize(handed[i]));
		if (round % 5)
			run[round / 2 % 2](b, free_some, NULL);
		else
			free_some(NULL);
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	books_close(test, &before);
}

/* While failures are injected nothing that waits stands in for the page heap. */
static void failures_reach_the_page_heap(struct kunit *test)
{
	struct mm_stats before;
	unsigned failed = 0;

	books_open(&before);
	for (uint64_t nth = 1; nth < 20; nth++) {
		void *p;

		kfree(kmalloc(100 * KIB, GFP_KERNEL));
		mm_fail_nth(nth);
		p = kmalloc(100 * KIB, GFP_KERNEL);
		mm_fail_off();
		failed += !p;
		kfree(p);
	}
	KUNIT_EXPECT_GE(test, failed, 2);
	books_close(test, &before);
}

/* ---- In place ---- */

/* An object of 40 KiB with nothing behind it up to 3 MiB; NULL: there is no such place. */
static void *place_with_room(void)
{
	void *tried[16], *p = NULL;
	unsigned n = 0;

	while (!p && n < ARRAY_SIZE(tried) &&
	       (tried[n] = kmalloc_aligned(40 * KIB, 4 * MIB, GFP_KERNEL))) {
		phys_addr_t pa = virt_to_phys(tried[n]);
		size_t room = 3 * MIB - 40 * KIB;
		void *behind = page_alloc_range(room / FRAME_SIZE, 0, pa + 40 * KIB, pa + 3 * MIB,
						GFP_KERNEL);

		if (behind) {
			free_pages_exact(behind, room);
			p = tried[n];
		} else {
			n++;
		}
	}
	while (n)
		kfree(tried[--n]);
	mm_drain();
	return p;
}

static void grows_where_it_is(struct kunit *test)
{
	static const size_t sizes[] = { 48 * KIB, 48 * KIB + 1, 100 * KIB, MIB, 2 * MIB, 3 * MIB };
	struct mm_stats before, now;
	char *p, *q;

	books_open(&before);
	p = place_with_room();
	if (!p)
		kunit_skip(test, "no room for an object to grow");
	object_fill(p, 40 * KIB, 7);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t old = ksize(p);

		q = krealloc(p, sizes[i], GFP_KERNEL | __GFP_ZERO);
		KUNIT_ASSERT_PTR_EQ(test, q, p);
		KUNIT_EXPECT_EQ(test, ksize(q), round_up(sizes[i], PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, object_holds(q, 40 * KIB, 7));
		KUNIT_EXPECT_TRUE(test, object_is_zero(q + old, ksize(q) - old));
		memset(q + old, 0xaa, ksize(q) - old);
		mm_stats(&now);
		KUNIT_EXPECT_EQ(test, now.frames_used, before.frames_used + ksize(q) / FRAME_SIZE);
		KUNIT_EXPECT_EQ(test, now.objects_live_bytes, before.objects_live_bytes + ksize(q));
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
	for (unsigned i = ARRAY_SIZE(sizes); i-- > 0;) {
		q = krealloc(p, sizes[i], GFP_KERNEL);
		KUNIT_ASSERT_PTR_EQ(test, q, p);
		KUNIT_EXPECT_EQ(test, ksize(q), round_up(sizes[i], PAGE_SIZE));
		mm_stats(&now);
		KUNIT_EXPECT_EQ(test, now.frames_used, before.frames_used + ksize(q) / FRAME_SIZE);
	}
	KUNIT_EXPECT_TRUE(test, object_holds(p, 40 * KIB, 7));
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	kfree(p);
	books_close(test, &before);
}

static void moves_if_it_must(struct kunit *test)
{
	struct mm_stats before;
	char *p, *wall, *q;

	books_open(&before);
	p = kmalloc_aligned(80 * KIB, 4 * MIB, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	wall = page_alloc_range(1, 0, virt_to_phys(p) + 80 * KIB, virt_to_phys(p) + 84 * KIB,
				GFP_KERNEL);
	if (!wall) {
		kfree(p);
		kunit_skip(test, "somebody is there");
	}
	object_fill(p, 80 * KIB, 9);
	q = krealloc(p, 160 * KIB, GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_PTR_NE(test, q, p);
	KUNIT_EXPECT_TRUE(test, object_holds(q, 80 * KIB, 9));
	KUNIT_EXPECT_TRUE(test, object_is_zero(q + 80 * KIB, 80 * KIB));
	free_pages_exact(wall, FRAME_SIZE);
	/* To a small object: less than half of it, so it moves. */
	p = krealloc(q, 1000, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, ksize(p), 1024);
	KUNIT_EXPECT_TRUE(test, object_holds(p, 1000, 9));
	kfree(p);
	books_close(test, &before);
}

/* A call that fails leaves all as it was; one that makes an object smaller never fails. */
static void resized_while_failing(struct kunit *test)
{
	struct mm_stats before;
	char *p, *q;

	books_open(&before);
	p = kmalloc(100 * KIB, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	object_fill(p, 100 * KIB, 3);
	mm_fail_nth(1);
	KUNIT_EXPECT_NULL(test, krealloc(p, 200 * KIB, GFP_KERNEL));
	KUNIT_EXPECT_NOT_NULL_MSG(test, q = krealloc(p, 200 * KIB, GFP_KERNEL), "once only");
	mm_fail_off();
	p = q;
	for (uint64_t nth = 2; nth < 12; nth++) {
		size_t size = (200 + 20 * nth) * KIB, old = ksize(p);

		mm_fail_nth(nth);
		q = krealloc(p, size, GFP_KERNEL);
		mm_fail_off();
		if (!q)
			KUNIT_EXPECT_EQ(test, ksize(p), old);
		p = q ? q : p;
		KUNIT_EXPECT_TRUE(test, object_holds(p, 100 * KIB, 3));
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
	mm_fail_rate(1, 1);
	q = krealloc(p, 100 * KIB, GFP_KERNEL);
	KUNIT_EXPECT_PTR_EQ(test, q, p);
	KUNIT_EXPECT_EQ(test, ksize(q), 104 * KIB);
	/* Nor does one that wants a small object, which there is none of. */
	q = krealloc(p, 100, GFP_KERNEL);
	KUNIT_EXPECT_PTR_EQ(test, q, p);
	KUNIT_EXPECT_EQ(test, ksize(q), PAGE_SIZE);
	mm_fail_off();
	KUNIT_EXPECT_TRUE(test, object_holds(q, 100, 3));
	kfree_sized(q, PAGE_SIZE);
	books_close(test, &before);
}

static void within_the_window(struct kunit *test)
{
	struct mm_stats before;
	char *p, *q;

	books_open(&before);
	p = kmalloc(64 * KIB, GFP_DMA);
	for (size_t size = 128 * KIB; p && size <= 32 * MIB; size *= 2) {
		q = krealloc(p, size, GFP_DMA);
		if (!q)
			break;
		p = q;
		KUNIT_EXPECT_LE(test, virt_to_phys(p) + ksize(p), 16 * MIB);
	}
	kfree(p);
	books_close(test, &before);
}

static struct kunit_case medium_cases[] = {
	KUNIT_CASE(last_freed_comes_back),
	KUNIT_CASE(every_number_of_pages),
	KUNIT_CASE(alignment_is_looked_at),
	KUNIT_CASE(bounded),
	KUNIT_CASE(low_memory_does_not_wait),
	KUNIT_CASE(misuse_of_what_waits),
	KUNIT_CASE(everywhere),
	KUNIT_CASE(failures_reach_the_page_heap),
	KUNIT_CASE(grows_where_it_is),
	KUNIT_CASE(moves_if_it_must),
	KUNIT_CASE(resized_while_failing),
	KUNIT_CASE(within_the_window),
	{},
};

static struct kunit_suite medium_suite = { .name = "medium", .test_cases = medium_cases };
kunit_test_suite(medium_suite);
