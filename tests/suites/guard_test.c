// SPDX-License-Identifier: MIT
/*
 * Guarded objects: where they lie, what is found around them and after them, and
 * that nothing is left when they are switched off.
 */
#include <spanheap/fault.h>
#include <spanheap/guard.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/string.h"
#include "mm/pagemap.h"
#include "tests/suites/object_fixture.h"
#include "tests/suites/state_fixture.h"

#define SLOTS 8
#define LARGEST (16UL << 10)

static struct mm_stats before;

static void start(struct kunit *test, unsigned one_in)
{
	books_open(&before);
	KUNIT_ASSERT_EQ(test, mm_guard_start(SLOTS, LARGEST, one_in), 0);
}

static void stop(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mm_guard_live(), 0);
	KUNIT_EXPECT_EQ(test, mm_guard_stop(), 0);
	books_close(test, &before);
}

static char *take(struct kunit *test, size_t size)
{
	size_t n = mm_guard_live();
	char *p = kmalloc_any(size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_EQ_MSG(test, mm_guard_live(), n + 1, "%zu bytes", size);
	return p;
}

/* One report of this kind, about this byte; none if @at is NULL. */
static void expect_found(struct kunit *test, enum mm_misuse kind, const void *at, size_t tag)
{
	reports_stop();
	KUNIT_EXPECT_EQ_MSG(test, reports_count(), at ? 1 : 0, "%zu", tag);
	if (!at || !reports_count())
		return;
	KUNIT_EXPECT_EQ_MSG(test, reports_last().kind, kind, "%zu", tag);
	KUNIT_EXPECT_PTR_EQ(test, reports_last().addr, at);
}

/* ---- Where ---- */

static void ends_where_a_page_does(struct kunit *test)
{
	start(test, 1);
	for (size_t size = 1; size <= LARGEST; size += 1 + size / 7) {
		size_t align = is_pow2(size) && size >= 8 ? size : size < 16 ? 8 : 16;
		char *p = take(test, size), *end = p + round_up(size, align);

		KUNIT_EXPECT_EQ_MSG(test, (uintptr_t)p % align, 0, "%zu bytes", size);
		KUNIT_EXPECT_TRUE(test, object_is_zero(p, size));
		KUNIT_EXPECT_EQ(test, ksize(p), size);
		if (PORT_HAS_MMU) {
			KUNIT_EXPECT_EQ_MSG(test, (uintptr_t)end % PAGE_SIZE, 0, "%zu bytes", size);
			KUNIT_EXPECT_EQ(test, probe_write(p + size - 1), 0);
			KUNIT_EXPECT_EQ(test, probe_write(end), -EFAULT);
			KUNIT_EXPECT_EQ(test, mem_state(virt_to_phys(end)), MEM_PREPARED);
		}
		object_fill(p, size, size);
		KUNIT_EXPECT_TRUE(test, object_holds(p, size, size));
		kfree_sized(p, size);
	}
	stop(test);
}

static void aligned(struct kunit *test)
{
	start(test, 1);
	for (size_t align = 1; align <= LARGEST; align *= 2) {
		char *p = kmalloc_aligned(24, align, GFP_KERNEL);

		KUNIT_EXPECT_EQ(test, mm_guard_live(), 1);
		KUNIT_EXPECT_EQ(test, (uintptr_t)p % align, 0);
		kfree(p);
	}
	stop(test);
}

/* Too large, of a window, no slot left: as always. */
static void others_are_as_always(struct kunit *test)
{
	void *p[SLOTS + 4], *large, *low;

	start(test, 1);
	large = kmalloc_any(2 * LARGEST + 1, GFP_KERNEL);
	low = kmalloc_any(64, GFP_DMA);
	KUNIT_EXPECT_EQ(test, mm_guard_live(), 0);
	for (unsigned i = 0; i < SLOTS + 4; i++) {
		p[i] = kmalloc_any(100, GFP_KERNEL);
		KUNIT_EXPECT_NOT_NULL(test, p[i]);
	}
	KUNIT_EXPECT_EQ(test, mm_guard_live(), SLOTS);
	for (unsigned i = 0; i < SLOTS + 4; i++)
		kfree(p[i]);
	kfree(large);
	kfree(low);
	stop(test);
}

static void other_sizes_later(struct kunit *test)
{
	char *p;

	start(test, 1);
	p = take(test, 100);
	object_fill(p, 100, 1);
	p = krealloc(p, 5000, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_TRUE(test, object_holds(p, 100, 1));
	p = krealloc(p, 100000, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, mm_guard_live(), 0);
	p = krealloc(p, 50, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, mm_guard_live(), 1);
	KUNIT_EXPECT_TRUE(test, object_holds(p, 50, 1));
	kfree(p);
	stop(test);
}

/* ---- What is found ---- */

static void every_byte_beside(struct kunit *test)
{
	static const size_t sizes[] = { 1, 13, 61, 64, 100, 4097 };

	start(test, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i], align = size < 16 ? 8 : 16;
		size_t gap = PORT_HAS_MMU ? round_up(size, align) - size : 64;

		if (is_pow2(size))
			gap = PORT_HAS_MMU ? MAX(size, 8UL) - size : 64;
		for (ptrdiff_t at = -40; at < (ptrdiff_t)(size + gap); at++) {
			char *p = take(test, size), was = p[at];

			p[at] = was + 1;
			reports_start();
			kfree(p);
			expect_found(test, MM_WRITE_BESIDE,
				      at < 0 || at >= (ptrdiff_t)size ? p + at : NULL, size);
		}
	}
	stop(test);
}

/* A slot's turn comes after all others'. */
static void written_after_free(struct kunit *test)
{
	char *p, *q;

	start(test, 1);
	p = take(test, 200);
	kfree(p);
	p[77] = 0;
	for (unsigned i = 1; i < SLOTS; i++) {
		q = take(test, 30);
		KUNIT_EXPECT_NE(test, (uintptr_t)q / (2 * LARGEST), (uintptr_t)p / (2 * LARGEST));
		kfree(q);
	}
	reports_start();
	q = take(test, 30);
	expect_found(test, MM_WRITE_AFTER_FREE, p + 77, 0);
	KUNIT_EXPECT_EQ(test, (uintptr_t)q / (2 * LARGEST), (uintptr_t)p / (2 * LARGEST));
	kfree(q);

	p = take(test, 200);
	kfree(p);
	p[5] = 1;
	reports_start();
	KUNIT_EXPECT_EQ(test, mm_guard_stop(), 0);
	expect_found(test, MM_WRITE_AFTER_FREE, p + 5, 0);
	books_close(test, &before);
}

static void wrong_free(struct kunit *test, enum mm_misuse kind, void *p, size_t size)
{
	reports_start();
	if (size)
		kfree_sized(p, size);
	else
		kfree(p);
	expect_found(test, kind, p, size);
}

static void wrong_frees(struct kunit *test)
{
	struct kmem_cache *cache = kmem_cache_create("other", 100, 0, 0, NULL);
	char *p;

	start(test, 1);
	p = take(test, 100);
	wrong_free(test, MM_INVALID_FREE, p + 1, 0);
	wrong_free(test, MM_INVALID_FREE, p - 16, 0);
	wrong_free(test, MM_INVALID_FREE, p + 112, 0);
	wrong_free(test, MM_WRONG_SIZE, p, 64);
	reports_start();
	kmem_cache_free(cache, p);
	expect_found(test, MM_WRONG_CACHE, p, 0);
	reports_start();
	free_pages_exact((void *)round_down((uintptr_t)p, FRAME_SIZE), FRAME_SIZE);
	expect_found(test, MM_PAGE_INVALID_FREE, (void *)round_down((uintptr_t)p, FRAME_SIZE), 0);
	kfree(p);
	wrong_free(test, MM_DOUBLE_FREE, p, 0);
	stop(test);
	/* The slots are gone. */
	reports_start();
	kfree(p);
	reports_stop();
	KUNIT_EXPECT_EQ(test, reports_count(), 1);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
}

/* ---- On, off, and how often ---- */

static void senseless(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, mm_guard_start(0, 100, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_guard_start(1, 0, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_guard_start(1, SIZE_MAX, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_guard_start(SIZE_MAX, 100, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_guard_start(1UL << 20, ARENA_SIZE, 1), -ENOMEM);
	KUNIT_EXPECT_EQ(test, mm_guard_stop(), 0);
	mm_guard_rate(1);
	kfree(kmalloc_any(100, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, mm_guard_live(), 0);
}

static void busy(struct kunit *test)
{
	char *p;

	start(test, 1);
	KUNIT_EXPECT_EQ(test, mm_guard_start(1, 100, 1), -EBUSY);
	p = take(test, 100);
	KUNIT_EXPECT_EQ(test, mm_guard_stop(), -EBUSY);
	kfree(kmalloc_any(100, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, mm_guard_live(), 1);
	kfree(p);
	stop(test);
}

static int stopped;

static void stop_now(const struct mm_misuse_report *report)
{
	(void)report;
	stopped = mm_guard_stop();
}

/* Somebody stops in the middle of a free, then of an allocation: the slot is not his to take. */
static void stopped_in_the_middle(struct kunit *test)
{
	char *p, *q;

	start(test, 1);
	p = take(test, 100);
	p[-1]++;
	mm_set_misuse_handler(stop_now);
	kfree(p);
	KUNIT_EXPECT_EQ(test, stopped, -EBUSY);

	mm_guard_rate(1);
	p = take(test, 100);
	kfree(p);
	p[3] = 1;
	for (unsigned i = 1; i < SLOTS; i++)
		kfree(take(test, 100));
	stopped = 0;
	q = take(test, 100);
	KUNIT_EXPECT_PTR_EQ(test, q, p);
	KUNIT_EXPECT_EQ(test, stopped, -EBUSY);
	object_fill(q, 100, 7);
	kfree(q);
	mm_set_misuse_handler(NULL);
	stop(test);
}

/* Each allocation of the start fails once: nothing is left of it. */
static void start_fails(struct kunit *test)
{
	static struct walk_table was, is;
	unsigned n = 0;
	int err = -ENOMEM;

	/* Records that a start makes stay. */
	start(test, 0);
	stop(test);
	walk_save(&was);
	while (err && n < 500) {
		mm_fail_nth(++n);
		err = mm_guard_start(SLOTS, LARGEST, 1);
		mm_fail_off();
		if (err) {
			KUNIT_EXPECT_EQ(test, err, -ENOMEM);
			walk_save(&is);
			KUNIT_EXPECT_TRUE_MSG(test, walk_same(test, &was, &is), "point %u", n);
		}
	}
	KUNIT_EXPECT_EQ(test, err, 0);
	KUNIT_EXPECT_GT(test, n, SLOTS);
	stop(test);
}

/* Every tenth of what no window serves: some, and by no means all. */
static void a_sample(struct kunit *test)
{
	static void *p[4000];
	unsigned guarded;

	start(test, 10);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = kmalloc_any(512, GFP_KERNEL);
	guarded = (unsigned)mm_guard_live();
	KUNIT_EXPECT_GE(test, guarded, 1);
	KUNIT_EXPECT_LE(test, guarded, SLOTS);
	kfree_bulk(ARRAY_SIZE(p), p);
	stop(test);
}

/* ---- Everywhere ---- */

#define ROUNDS 300

static unsigned wrong;

static void take_and_free(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	void *p[4] = { 0 };
	size_t size[4];

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned at = i % 4;

		if (p[at] && !object_holds(p[at], size[at], seed + at))
			(void)atomic_fetch_add(&wrong, 1);
		kfree(p[at]);
		size[at] = random_size(&seed, 4000);
		seed |= 1;
		p[at] = kmalloc_any(size[at], GFP_ATOMIC);
		if (p[at])
			object_fill(p[at], size[at], seed + at);
		for (unsigned k = 0; k < 4; k++)
			if (k != at && p[k])
				object_fill(p[k], size[k], seed + k);
	}
	for (unsigned k = 0; k < 4; k++)
		kfree(p[k]);
}

static void all_contexts(struct kunit *test)
{
	unsigned other = (this_cpu() + 1) % cpu_count();
	struct task *t;

	start(test, 1);
	reports_start();
	t = task_start(other, take_and_free, (void *)1, "guard");
	KUNIT_ASSERT_NOT_NULL(test, t);
	for (unsigned i = 0; i < 5; i++) {
		take_and_free((void *)3);
		run_in_irq(this_cpu(), take_and_free, (void *)5);
		run_in_nmi(this_cpu(), take_and_free, (void *)7);
	}
	task_join(t);
	run_in_nmi(other, take_and_free, (void *)9);
	reports_stop();
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, wrong, 0);
	stop(test);
}

static void guard_exit(struct kunit *test)
{
	(void)test;
	reports_stop();
	mm_guard_rate(0);
}

static struct kunit_case guard_cases[] = {
	KUNIT_CASE(ends_where_a_page_does),
	KUNIT_CASE(aligned),
	KUNIT_CASE(others_are_as_always),
	KUNIT_CASE(other_sizes_later),
	KUNIT_CASE(every_byte_beside),
	KUNIT_CASE(written_after_free),
	KUNIT_CASE(wrong_frees),
	KUNIT_CASE(senseless),
	KUNIT_CASE(busy),
	KUNIT_CASE(stopped_in_the_middle),
	KUNIT_CASE(start_fails),
	KUNIT_CASE(a_sample),
	KUNIT_CASE(all_contexts),
	{},
};

static struct kunit_suite guard_suite = { .name = "guard",
					  .exit = guard_exit,
					  .test_cases = guard_cases };
kunit_test_suite(guard_suite);
