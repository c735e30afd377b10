// SPDX-License-Identifier: MIT
/*
 * What caches keep: within their limits however objects come and go, also those that
 * a port has set, said by mm_show(), and no reason for an allocation to fail.
 */
#include <spanheap/page.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/string.h"
#include "mm/mcache.h"
#include "mm/medium.h"
#include "mm/retention.h"
#include "tests/suites/object_fixture.h"

#define KIB 1024UL
#define CROWD 4000

static void *object[CROWD];

static void free_crowd(void *arg)
{
	(void)arg;
	kfree_bulk(CROWD, object);
}

static void make_crowd(struct kunit *test, struct kmem_cache *cache)
{
	for (unsigned i = 0; i < CROWD; i++) {
		object[i] = cache ? kmem_cache_alloc(cache, GFP_KERNEL)
				  : kmalloc(256 << i % 4, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, object[i]);
	}
}

static size_t spare_here(void)
{
	return mcache_heap(this_cpu())->spare_bytes;
}

static void tasks_end_spans_at_once(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	make_crowd(test, NULL);
	for (unsigned i = 0; i < CROWD; i++) {
		kfree(object[i]);
		KUNIT_ASSERT_LE(test, spare_here(), retention.spare);
	}
	books_close(test, &before);
}

/* An interrupt cannot end spans; the next slow path of a task there does it. */
static void interrupts_leave_it_to_tasks(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("shed", 700, 0, 0, NULL);
	struct kmem_cache *from[] = { NULL, cache };
	struct mm_stats before;

	KUNIT_ASSERT_NOT_NULL(test, cache);
	books_open(&before);
	for (unsigned round = 0; round < 4; round++) {
		make_crowd(test, from[round % 2]);
		(round < 2 ? run_in_irq : run_in_nmi)(this_cpu(), free_crowd, NULL);
		KUNIT_EXPECT_GT(test, spare_here(), retention.spare);
		/* Larger than anything that the CPU has listed: a refill. */
		kfree(kmalloc(20000, GFP_KERNEL));
		KUNIT_EXPECT_LE(test, spare_here(), retention.spare);
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
		mm_drain();
		KUNIT_EXPECT_EQ(test, spare_here(), 0);
	}
	books_close(test, &before);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

/* As malloc/heap.c sets it: until other memory is wanted, or the next upkeep. */
static void a_port_keeps_more(struct kunit *test)
{
	struct mm_stats before;
	size_t kept, low;
	void *other;

	books_open(&before);
	make_crowd(test, NULL);
	low = retention.spare_low;
	retention.spare = 64UL << 20;
	free_crowd(NULL);
	kept = spare_here();
	KUNIT_EXPECT_GT(test, kept, 2 * low);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	/* One that there is needs no room, one that there is not does. */
	kfree(kmalloc(2048, GFP_KERNEL));
	KUNIT_EXPECT_GT(test, spare_here() + PAGE_SIZE, kept);
	other = kmalloc(20000, GFP_KERNEL);
	KUNIT_EXPECT_LE(test, spare_here(), low + (kept - low) / 2);
	KUNIT_EXPECT_GT(test, spare_here(), low);
	kfree(other);
	mcache_trim();
	KUNIT_EXPECT_LE(test, spare_here(), low);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	retention_update();
	KUNIT_EXPECT_EQ(test, retention.spare, retention.spare_low);
	books_close(test, &before);
}

/* A stack that is full or empty makes the way long: not for the next calls as well. */
static void stacks_move_by_halves(struct kunit *test)
{
	const struct window *window;
	struct mm_stats before;
	void *p[2 * STACK_SLOTS];

	if (retention.spare_low < STACK_SLOTS * 16 * KIB)
		kunit_skip(test, "what a stack gives back goes to the page heap at once");
	mm_drain();
	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmalloc(16 * KIB, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p[0]);
	window = &mcache_heap(this_cpu())->mcache[MM_TASK]->window[
		pagemap_find(virt_to_phys(p[0]))->class->index];
	KUNIT_EXPECT_EQ(test, stack_size(window), 0);
	for (unsigned i = 0; i < STACK_SLOTS - 1; i++)
		kfree(p[i]);
	KUNIT_EXPECT_EQ(test, stack_size(window), STACK_SLOTS - 1);
	kfree(p[STACK_SLOTS - 1]);
	KUNIT_EXPECT_EQ(test, stack_size(window), STACK_SLOTS - 1 - STACK_HALF);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	for (unsigned i = 0; i < STACK_HALF; i++)
		p[i] = kmalloc(16 * KIB, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, stack_size(window), STACK_HALF - 1);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	for (unsigned i = STACK_HALF; i < STACK_SLOTS; i++)
		p[i] = kmalloc(16 * KIB, GFP_KERNEL);
	kfree_bulk(ARRAY_SIZE(p), p);
	books_close(test, &before);
}

static void parts_stay_below_the_whole(struct kunit *test)
{
	struct retained kept;
	struct mm_stats before;

	books_open(&before);
	make_crowd(test, NULL);
	free_crowd(NULL);
	for (size_t size = 40 * KIB; size <= 1024 * KIB; size += 8 * KIB)
		kfree(kmalloc(size, GFP_KERNEL));
	for (unsigned i = 0; i < 1000; i++)
		object[i] = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);
	page_free_bulk(1000, object);
	retention_sum(&kept);
	KUNIT_EXPECT_EQ(test, kept.medium, medium_bytes());
	KUNIT_EXPECT_LE(test, kept.frames + kept.spare + kept.medium, kept.limit);
	mm_drain();
	retention_sum(&kept);
	KUNIT_EXPECT_EQ(test, kept.frames + kept.spare + kept.medium, 0);
	books_close(test, &before);
}

static unsigned said;

static void look_for_caches(const char *line)
{
	static const char *const heads[] = { "caches ", "  frames ", "  empty spans ",
					     "  medium runs ", "  partly used spans " };

	for (unsigned i = 0; i < ARRAY_SIZE(heads); i++)
		if (!strncmp(line, heads[i], strlen(heads[i])))
			said |= 1U << i;
}

static void shown(struct kunit *test)
{
	said = 0;
	mm_show(look_for_caches);
	KUNIT_EXPECT_EQ(test, said, 0x1f);
}

static struct kunit_case retention_cases[] = {
	KUNIT_CASE(tasks_end_spans_at_once),
	KUNIT_CASE(interrupts_leave_it_to_tasks),
	KUNIT_CASE(a_port_keeps_more),
	KUNIT_CASE(stacks_move_by_halves),
	KUNIT_CASE(parts_stay_below_the_whole),
	KUNIT_CASE(shown),
	{},
};

static struct kunit_suite retention_suite = { .name = "retention",
					      .test_cases = retention_cases };
kunit_test_suite(retention_suite);
