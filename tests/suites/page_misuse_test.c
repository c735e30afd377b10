// SPDX-License-Identifier: MIT
/*
 * Wrong frees of frames: each is reported once, with what the caller gave, and
 * has no effect: the counts are the same, and the right free still works.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/misuse.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "mm/memmap.h"
#include "state_fixture.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE
#define CALL_SITE 2048 /* bytes of a small function, sanitizers included */

static struct mm_misuse_report last;
static unsigned reports;
static struct mm_stats before;

static void note(const struct mm_misuse_report *report)
{
	last = *report;
	reports++;
}

/* A handler holds no lock of mm: it may allocate and free, and look at everything. */
static void note_and_allocate(const struct mm_misuse_report *report)
{
	struct mm_stats s;
	void *p = alloc_pages_exact(3 * F, GFP_ATOMIC), *q = alloc_pages_exact(F, GFP_ATOMIC);

	free_pages_exact(p, 3 * F);
	free_pages_exact(q, F);
	mm_stats(&s);
	note(report);
}

static int misuse_init(struct kunit *test)
{
	(void)test;
	reports = 0;
	mm_set_misuse_handler(note);
	mm_drain();
	mm_stats(&before);
	return 0;
}

static void misuse_exit(struct kunit *test)
{
	struct mm_stats after;

	mm_set_misuse_handler(NULL);
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, after.alloc_calls - before.alloc_calls,
			after.free_calls - before.free_calls);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* The calls stand in functions of their own, so that the caller is known. */
__attribute__((noinline)) static void free_exact(void *addr, size_t size)
{
	free_pages_exact(addr, size);
	compiler_barrier();
}

__attribute__((noinline)) static void free_order(void *addr, size_t order)
{
	free_pages(addr, (unsigned)order);
	compiler_barrier();
}

__attribute__((noinline)) static void free_bulk(void *addr, size_t unused)
{
	void *page[3] = { NULL, addr, NULL };

	(void)unused;
	page_free_bulk(3, page);
	compiler_barrier();
}

static void expect_report(struct kunit *test, const char *what, void (*fn)(void *, size_t),
			  void *addr, size_t arg, enum mm_misuse kind, size_t size)
{
	uint64_t count = mm_misuse_count(kind);
	unsigned seen = reports;

	memset(&last, 0xff, sizeof(last));
	fn(addr, arg);
	KUNIT_ASSERT_EQ_MSG(test, reports, seen + 1, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, last.kind, kind, "%s", what);
	KUNIT_EXPECT_PTR_EQ_MSG(test, last.addr, addr, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, last.size, size, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, last.cpu, this_cpu(), "%s", what);
	KUNIT_EXPECT_LT_MSG(test, (uintptr_t)last.caller - (uintptr_t)fn, CALL_SITE, "%s", what);
	KUNIT_EXPECT_EQ(test, mm_misuse_count(kind), count + 1);
}

static void double_frees(struct kunit *test)
{
	static const size_t sizes[] = { F, 2 * F, 16 * F, 70 * F, C, C + F };
	void *single[5];

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *p = alloc_pages_exact(sizes[i], GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, p);
		free_exact(p, sizes[i]);
		for (unsigned again = 0; again < 2; again++) {
			expect_report(test, "the same free", free_exact, p, sizes[i],
				      MM_PAGE_DOUBLE_FREE, sizes[i]);
			mm_drain();
		}
		expect_report(test, "as an order", free_order, p, 0, MM_PAGE_DOUBLE_FREE, F);
		expect_report(test, "in bulk", free_bulk, p, 0, MM_PAGE_DOUBLE_FREE, F);
	}
	/* One of several, the others are freed all the same. */
	KUNIT_ASSERT_EQ(test, page_alloc_bulk(5, single, GFP_KERNEL), 5);
	free_exact(single[2], F);
	reports = 0;
	page_free_bulk(5, single);
	KUNIT_EXPECT_EQ(test, reports, 1);
	KUNIT_EXPECT_PTR_EQ(test, last.addr, single[2]);
	KUNIT_EXPECT_EQ(test, last.kind, MM_PAGE_DOUBLE_FREE);
}

static void wrong_sizes(struct kunit *test)
{
	uint8_t *p = alloc_pages_exact(10 * F, GFP_KERNEL), *q = __get_free_pages(GFP_KERNEL, 0);
	uint8_t *large = alloc_pages_exact(2 * C, GFP_KERNEL);
	static const size_t sizes[] = { 1, F, 9 * F, 10 * F + 1, 11 * F, C, 1ULL << 40, SIZE_MAX };

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_ASSERT_NOT_NULL(test, large);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		expect_report(test, "ten frames", free_exact, p, sizes[i], MM_PAGE_WRONG_SIZE,
			      sizes[i]);
	for (size_t order = 0; order < 6; order++)
		expect_report(test, "ten frames", free_order, p, order, MM_PAGE_WRONG_SIZE,
			      F << order);
	expect_report(test, "ten frames in bulk", free_bulk, p, 0, MM_PAGE_WRONG_SIZE, F);
	for (size_t order = 1; order < 12; order++)
		expect_report(test, "a frame", free_order, q, order, MM_PAGE_WRONG_SIZE,
			      F << order);
	expect_report(test, "nothing of a frame", free_exact, q, 0, MM_PAGE_WRONG_SIZE, 0);
	expect_report(test, "two chunks as one", free_exact, large, C, MM_PAGE_WRONG_SIZE, C);
	expect_report(test, "two chunks and more", free_exact, large, 2 * C + F, MM_PAGE_WRONG_SIZE,
		      2 * C + F);
	reports = 0;
	free_exact(p, 10 * F);
	free_order(q, 0);
	free_exact(large, 2 * C);
	KUNIT_EXPECT_EQ(test, reports, 0);
}

static void addresses_that_start_no_run(struct kunit *test)
{
	static uint64_t variable;
	uint64_t local = 0;
	uint8_t *p = alloc_pages_exact(10 * F, GFP_KERNEL), *large;
	phys_addr_t reserved = state_find(C, C, 0), none = PFN_LIMIT << FRAME_SHIFT;
	struct ram_range r;

	KUNIT_ASSERT_NOT_NULL(test, p);
	large = alloc_pages_exact(2 * C, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, large);
	expect_report(test, "second frame", free_exact, p + F, 9 * F, MM_PAGE_INVALID_FREE, 9 * F);
	expect_report(test, "last frame", free_exact, p + 9 * F, F, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "last in bulk", free_bulk, p + 9 * F, 0, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "second chunk", free_exact, large + C, C, MM_PAGE_INVALID_FREE, C);
	expect_report(test, "odd", free_exact, p + 1, 10 * F, MM_PAGE_INVALID_FREE, 10 * F);
	expect_report(test, "by a word", free_order, p + 8, 0, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "end of a frame", free_exact, p + F - 1, F, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "a local", free_exact, &local, F, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "a static", free_order, &variable, 0, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "a function", free_exact, (void *)(uintptr_t)free_exact, F,
		      MM_PAGE_INVALID_FREE, F);
	expect_report(test, "1", free_exact, (void *)1, F, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "-1", free_exact, (void *)~(uintptr_t)0, F, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "-F", free_exact, (void *)-(uintptr_t)F, F, MM_PAGE_INVALID_FREE, F);
	expect_report(test, "above all RAM", free_exact, phys_to_virt(none), F,
		      MM_PAGE_INVALID_FREE, F);
	expect_report(test, "last frame there can be", free_exact, phys_to_virt(none - F), F,
		      MM_PAGE_INVALID_FREE, F);
	if (reserved)
		expect_report(test, "Reserved", free_exact, phys_to_virt(reserved), F,
			      MM_PAGE_INVALID_FREE, F);
	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size)
		if (r.use != MEM_USE_FREE)
			expect_report(test, "of the boot", free_exact, phys_to_virt(r.base), F,
				      MM_PAGE_INVALID_FREE, F);
	reports = 0;
	free_exact(p, 10 * F);
	free_exact(large, 2 * C);
	KUNIT_EXPECT_EQ(test, reports, 0);
}

/* Content and neighbours of what was freed wrongly. */
static void wrong_frees_touch_nothing(struct kunit *test)
{
	uint8_t *p = alloc_pages_exact(4 * F, GFP_KERNEL), *q;

	KUNIT_ASSERT_NOT_NULL(test, p);
	memset(p, 0x3c, 4 * F);
	free_exact(p, 3 * F);
	free_exact(p + F, F);
	free_exact(p + 5, 4 * F);
	KUNIT_EXPECT_EQ(test, reports, 3);
	/* Whatever is allocated now, it is none of these frames. */
	q = alloc_pages_exact(4 * F, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, q);
	KUNIT_EXPECT_TRUE(test, q >= p + 4 * F || q + 4 * F <= p);
	memset(q, 0xc3, 4 * F);
	for (unsigned i = 0; i < 4 * F; i++)
		KUNIT_ASSERT_EQ(test, p[i], 0x3c);
	free_exact(p, 4 * F);
	free_exact(q, 4 * F);
	KUNIT_EXPECT_EQ(test, reports, 3);
}

static void handler_may_allocate(struct kunit *test)
{
	void *p = alloc_pages_exact(5 * F, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	mm_set_misuse_handler(note_and_allocate);
	free_exact(p, 4 * F);
	free_exact(p, 5 * F);
	free_exact(p, 5 * F);
	KUNIT_EXPECT_EQ(test, reports, 2);
}

struct offence {
	void *addr;
	size_t size;
	unsigned cpu;
};

static void offend(void *arg)
{
	struct offence *o = arg;

	o->cpu = this_cpu();
	free_exact(o->addr, o->size);
}

/* The report is made where the offence is: on that CPU, in a task, an irq and an NMI. */
static void reported_in_every_context(struct kunit *test)
{
	uint8_t *p = alloc_pages_exact(2 * F, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct offence o = { .addr = p, .size = 3 * F, .cpu = ~0U };
		struct task *task = task_start(cpu, offend, &o, "offender");

		KUNIT_ASSERT_NOT_NULL(test, task);
		task_join(task);
		KUNIT_EXPECT_EQ(test, last.cpu, cpu);
		KUNIT_EXPECT_EQ(test, last.kind, MM_PAGE_WRONG_SIZE);
		o.addr = p + F;
		run_in_irq(cpu, offend, &o);
		KUNIT_EXPECT_EQ(test, last.cpu, cpu);
		KUNIT_EXPECT_EQ(test, last.kind, MM_PAGE_INVALID_FREE);
		o.addr = p;
		run_in_nmi(cpu, offend, &o);
		KUNIT_EXPECT_EQ(test, last.cpu, cpu);
		KUNIT_EXPECT_EQ(test, last.kind, MM_PAGE_WRONG_SIZE);
		KUNIT_EXPECT_EQ(test, reports, 3 * (cpu + 1));
	}
	free_exact(p, 2 * F);
}

/* A run that one CPU allocated and another freed is free for both. */
static void double_free_on_another_cpu(struct kunit *test)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct offence o = { .size = F };
		struct task *task;

		o.addr = alloc_pages_exact(F, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, o.addr);
		task = task_start(cpu, offend, &o, "offender");
		KUNIT_ASSERT_NOT_NULL(test, task);
		task_join(task);
		KUNIT_EXPECT_EQ(test, reports, cpu);
		mm_drain();
		expect_report(test, "freed elsewhere", free_exact, o.addr, F, MM_PAGE_DOUBLE_FREE,
			      F);
	}
}

/* Its frames are a run like any other to the caches, whose they were a moment ago. */
static void objects_by_order(struct kunit *test)
{
	for (size_t order = 1; order <= 10; order++) {
		void *p, *q;

		mm_drain();
		free_order(__get_free_pages(GFP_KERNEL, (unsigned)order), order);
		p = kmalloc(F << order, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p);
		expect_report(test, "an object", free_order, p, order, MM_PAGE_INVALID_FREE,
			      F << order);
		q = __get_free_pages(GFP_KERNEL, (unsigned)order);
		KUNIT_EXPECT_PTR_NE(test, p, q);
		free_order(q, order);
		kfree(p);
	}
}

static struct kunit_case misuse_cases[] = {
	KUNIT_CASE(double_frees),
	KUNIT_CASE(wrong_sizes),
	KUNIT_CASE(addresses_that_start_no_run),
	KUNIT_CASE(wrong_frees_touch_nothing),
	KUNIT_CASE(handler_may_allocate),
	KUNIT_CASE(reported_in_every_context),
	KUNIT_CASE(double_free_on_another_cpu),
	KUNIT_CASE(objects_by_order),
	{},
};

static struct kunit_suite misuse_suite = {
	.name = "page_misuse",
	.init = misuse_init,
	.exit = misuse_exit,
	.test_cases = misuse_cases,
};
kunit_test_suite(misuse_suite);
