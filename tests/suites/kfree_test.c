// SPDX-License-Identifier: MIT
/*
 * Wrong frees: each is reported at once, as what it is, and changes nothing.
 *
 * Every case frees wrongly through blame(), which compares the report with what
 * is expected, field by field, and the counts before with those after.
 */
#include <spanheap/page.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/string.h"
#include "mm/pagemap.h"
#include "mm/sizeclass.h"
#include "mm/span.h"
#include "tests/suites/object_fixture.h"

#define CODE_SIZE 512 /* no function that frees is longer */

/* One wrong free, done somewhere. */
struct wrong {
	void *p;
	size_t size;
	void (*how)(struct wrong *wrong);
};

static __attribute__((noinline)) void by_kfree(struct wrong *wrong)
{
	kfree(wrong->p);
	compiler_barrier();
}

static __attribute__((noinline)) void by_kfree_sized(struct wrong *wrong)
{
	kfree_sized(wrong->p, wrong->size);
	compiler_barrier();
}

static __attribute__((noinline)) void by_kfree_bulk(struct wrong *wrong)
{
	kfree_bulk(1, &wrong->p);
	compiler_barrier();
}

static __attribute__((noinline)) void by_free_pages_exact(struct wrong *wrong)
{
	free_pages_exact(wrong->p, wrong->size);
	compiler_barrier();
}

static void do_wrong(void *arg)
{
	struct wrong *wrong = arg;

	wrong->how(wrong);
}

enum place { HERE, OTHER_CPU, IN_IRQ, IN_NMI, OTHER_IRQ, OTHER_NMI, NR_PLACES };

static unsigned cpu_of(enum place place)
{
	bool other = place == OTHER_CPU || place == OTHER_IRQ || place == OTHER_NMI;

	return other ? (this_cpu() + 1) % cpu_count() : this_cpu();
}

static void free_at(enum place place, struct wrong *wrong)
{
	unsigned cpu = cpu_of(place);

	if (place == OTHER_CPU)
		task_join(task_start(cpu, do_wrong, wrong, "wrong"));
	else if (place == IN_IRQ || place == OTHER_IRQ)
		run_in_irq(cpu, do_wrong, wrong);
	else if (place == IN_NMI || place == OTHER_NMI)
		run_in_nmi(cpu, do_wrong, wrong);
	else
		do_wrong(wrong);
}

static void blame_at(struct kunit *test, enum place place, enum mm_misuse kind, struct wrong *wrong,
		     const char *what)
{
	size_t size = wrong->how == by_kfree || wrong->how == by_kfree_bulk ? 0 : wrong->size;
	struct mm_misuse_report got;
	struct mm_stats before, after;
	uint64_t count = mm_misuse_count(kind);

	mm_stats(&before);
	reports_start();
	free_at(place, wrong);
	reports_stop();
	mm_stats(&after);
	got = reports_last();
	KUNIT_EXPECT_EQ_MSG(test, reports_count(), 1, "%s at place %u, %p", what, place, wrong->p);
	if (!reports_count())
		return;
	KUNIT_EXPECT_EQ_MSG(test, got.kind, kind, "%s at place %u, %p", what, place, wrong->p);
	KUNIT_EXPECT_EQ_MSG(test, mm_misuse_count(kind), count + 1, "%s", what);
	KUNIT_EXPECT_PTR_EQ_MSG(test, got.addr, wrong->p, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, got.size, size, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, got.cpu, cpu_of(place), "%s", what);
	KUNIT_EXPECT_LT_MSG(test, (uintptr_t)got.caller - (uintptr_t)wrong->how, CODE_SIZE,
			    "%s: caller %p", what, got.caller);
	KUNIT_EXPECT_EQ_MSG(test, after.objects_live, before.objects_live, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, after.objects_live_bytes, before.objects_live_bytes, "%s", what);
	/* Starting a task is calls as well. */
	KUNIT_EXPECT_EQ_MSG(test, after.alloc_calls - after.free_calls,
			    before.alloc_calls - before.free_calls, "%s", what);
}

static void blame(struct kunit *test, enum mm_misuse kind, const volatile void *p, const char *what)
{
	struct wrong wrong = { .p = (void *)p, .how = by_kfree };

	blame_at(test, HERE, kind, &wrong, what);
}

/* Of each sort: many and few objects in a span, one, and whole pages. */
static const size_t sorts[] = { 8, 16, 64, 112, 1024, 2048, 9472, 24576, 32768, 40000, 1 << 20 };

/* ---- Free already ---- */

static void freed_just_before(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sorts); i++) {
		void *keep = kmalloc_any(sorts[i], GFP_KERNEL),
		     *p = kmalloc_any(sorts[i], GFP_KERNEL);
		struct wrong bulk = { .p = p, .how = by_kfree_bulk };

		kfree(p);
		blame(test, MM_DOUBLE_FREE, p, "free twice");
		/* More often than a mark of eight bits could be turned. */
		for (unsigned k = 0; k < 17; k++)
			blame(test, MM_DOUBLE_FREE, p, "free many times");
		blame_at(test, HERE, MM_DOUBLE_FREE, &bulk, "by kfree_bulk()");
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
		kfree(keep);
	}
	books_close(test, &before);
}

#define CROWD 300

/* Of many objects freed, some are in a window, some in spans, some spans are gone. */
static void freed_and_loaded_again(struct kunit *test)
{
	static void *object[CROWD];
	struct mm_stats before;

	books_open(&before);
	for (unsigned i = 0; sorts[i] < 40000; i++) {
		unsigned n = sorts[i] > 2048 ? 12 : CROWD;
		void *keep = kmalloc_any(sorts[i], GFP_KERNEL), *again;

		KUNIT_ASSERT_EQ(test, kmalloc_bulk(sorts[i], GFP_KERNEL, n, object), n);
		for (unsigned k = 0; k < n; k++)
			kfree(object[k]);
		again = kmalloc_any(sorts[i], GFP_KERNEL);
		for (unsigned k = 0; k < n; k++)
			if (object[k] != again)
				blame(test, MM_DOUBLE_FREE, object[k], "in a window or span");
		mm_drain();
		for (unsigned k = 0; k < n; k++)
			if (object[k] != again)
				blame(test, MM_DOUBLE_FREE, object[k], "drained");
		kfree(again);
		kfree(keep);
	}
	books_close(test, &before);
}

/* Freed first here, then there; a neighbour in the span stays. */
static void freed_elsewhere(struct kunit *test)
{
	struct mm_stats before;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sorts); i++)
		for (enum place first = HERE; first < NR_PLACES; first++)
			for (enum place second = HERE; second < NR_PLACES; second++) {
				struct wrong wrong = { .how = by_kfree };
				void *keep;

				/* The task's own stack may come to lie where the object was. */
				if (second == OTHER_CPU && sorts[i] > PAGE_SIZE)
					continue;
				keep = kmalloc_any(sorts[i], GFP_KERNEL);
				wrong.p = kmalloc_any(sorts[i], GFP_KERNEL);
				KUNIT_ASSERT_TRUE(test, keep && wrong.p);
				free_at(first, &wrong);
				/* A task needs a stack, which may be where whole pages were. */
				if (second != OTHER_CPU || sorts[i] <= KMALLOC_MAX_SMALL / 8)
					blame_at(test, second, MM_DOUBLE_FREE, &wrong,
						 "freed elsewhere");
				kfree(keep);
			}
	books_close(test, &before);
}

/* The span is with mcentral; frees come from two CPUs. */
static void freed_in_a_span_nobody_owns(struct kunit *test)
{
	static void *object[CROWD];
	struct mm_stats before;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	books_open(&before);
	KUNIT_ASSERT_EQ(test, kmalloc_bulk(64, GFP_KERNEL, CROWD, object), CROWD);
	for (unsigned k = 0; k < CROWD; k += 3)
		kfree(object[k]);
	mm_drain();
	for (unsigned k = 0; k < CROWD; k++) {
		struct wrong wrong = { .p = object[k], .how = by_kfree };

		if (k % 3)
			free_at(k % NR_PLACES, &wrong);
		blame_at(test, k / 2 % NR_PLACES, MM_DOUBLE_FREE, &wrong, "no owner");
	}
	books_close(test, &before);
}

/* ---- No object starts here ---- */

static void inside_an_object(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		size_t size = size_classes[sc].size;
		char *p = kmalloc_any(size, GFP_KERNEL);

		/* Class 24 is not kmalloc's. */
		size = ksize(p);
		for (size_t at = 1; at < size; at = at < 20 ? at + 1 : at * 2 - 9)
			blame(test, MM_INVALID_FREE, p + at, "interior");
		blame(test, MM_INVALID_FREE, p + size - 1, "last byte");
		kfree(p);
	}
	for (unsigned i = 0; i < 3; i++) {
		static const size_t sizes[] = { 40000, 65536, 3000000 };
		char *p = kmalloc_any(sizes[i], GFP_KERNEL);

		for (size_t at = 1; at < sizes[i]; at *= 2)
			blame(test, MM_INVALID_FREE, p + at, "inside a large one");
		blame(test, MM_INVALID_FREE, p + ksize(p) - 1, "last byte of a large one");
		kfree(p);
	}
	books_close(test, &before);
}

static void behind_the_last_object(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc++) {
		const struct size_class *row = &size_classes[sc];
		static void *object[1024];
		struct span *span;
		char *tail, *end;

		if (!row->tail || row->size == 24)
			continue;
		/* Once with free objects in the span, once with none. */
		for (unsigned full = 0; full < 2; full++) {
			unsigned n = full ? row->nobjs : 1;

			KUNIT_ASSERT_EQ(test, kmalloc_bulk(row->size, GFP_KERNEL, n, object), n);
			span = pagemap_find(virt_to_phys(object[0]));
			tail = span_object(span, row->nobjs);
			end = (char *)span_object(span, 0) + row->npages * PAGE_SIZE;
			blame(test, MM_INVALID_FREE, tail, "tail");
			blame(test, MM_INVALID_FREE, tail + row->tail / 2, "middle of the tail");
			blame(test, MM_INVALID_FREE, end - 1, "last byte of the span");
			kfree_bulk(n, object);
			mm_drain();
		}
	}
	books_close(test, &before);
}

static void never_handed_out(struct kunit *test)
{
	static const size_t sizes[] = { 13568, 5376, 1792, 704, 352, 208 };
	struct mm_stats before;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *p, *q;
		struct span *span;

		books_open(&before);
		p = kmalloc_any(sizes[i], GFP_KERNEL | __GFP_NOSCAN);
		KUNIT_ASSERT_NOT_NULL(test, p);
		span = pagemap_find(virt_to_phys(p));
		KUNIT_ASSERT_TRUE(test, span->nobjs > 1);
		for (unsigned k = 0; k < span->nobjs; k++) {
			char *other = span_object(span, k);

			if (other != p)
				blame(test, MM_INVALID_FREE, other, "never handed out");
		}
		q = kmalloc_any(sizes[i], GFP_KERNEL | __GFP_NOSCAN);
		kfree(q);
		blame(test, MM_DOUBLE_FREE, q, "handed out by now");
		kfree(p);
		books_close(test, &before);
	}
}

static int a_variable;

static void owned_by_nobody(struct kunit *test)
{
	uintptr_t direct = (uintptr_t)phys_to_virt(0);
	int local;
	const struct {
		const volatile void *p;
		const char *what;
	} rows[] = {
		{ &local, "the stack" },
		{ &a_variable, "a variable" },
		{ (void *)owned_by_nobody, "code" },
		{ "text", "a constant" },
		{ (void *)1, "1" },
		{ (char *)zerobase + 1, "behind zerobase" },
		{ (void *)(FRAME_SIZE - 8), "the NULL page" },
		{ (void *)0xfee00000UL, "a device's number" },
		{ (void *)(direct + 0xfee00000UL), "a device in the direct map" },
		{ (void *)direct, "frame 0" },
		{ (void *)(direct - 8), "below the direct map" },
		{ (void *)(direct + (1ULL << (PORT_PHYS_BITS - 1))), "RAM that nobody has" },
		{ (void *)0x8000000000000000UL, "not canonical" },
		{ (void *)0x0000800000000000UL, "just not canonical" },
		{ (void *)(UINTPTR_MAX - 7), "the last word" },
		{ (void *)UINTPTR_MAX, "all ones" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		blame(test, MM_INVALID_FREE, rows[i].p, rows[i].what);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static void pages_by_kfree(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (size_t size = FRAME_SIZE; size <= 1 << 20; size *= 2) {
		/* So that the frames have been a span before. */
		char *p = kmalloc_any(size, GFP_KERNEL);

		kfree(p);
		mm_drain();
		p = alloc_pages_exact(size, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, p);
		blame(test, MM_INVALID_FREE, p, "pages");
		blame(test, MM_INVALID_FREE, p + 64, "inside pages");
		memset(p, 0x33, size);
		free_pages_exact(p, size);
	}
	books_close(test, &before);
}

static void objects_by_free_pages(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (size_t size = 64; size <= 1 << 20; size *= 4) {
		void *p = kmalloc_any(size, GFP_KERNEL);
		struct span *span = pagemap_find(virt_to_phys(p));
		struct wrong wrong = { .p = p,
				       .size = MAX(size, FRAME_SIZE),
				       .how = by_free_pages_exact };

		object_fill(p, size, size);
		blame_at(test, HERE, MM_PAGE_INVALID_FREE, &wrong, "an object");
		/* The right length does not make it right. */
		wrong.p = span_object(span, 0);
		wrong.size = (span->class ? span->class->npages : span->size) * PAGE_SIZE;
		blame_at(test, HERE, MM_PAGE_INVALID_FREE, &wrong, "a whole span");
		KUNIT_EXPECT_TRUE(test, object_holds(p, size, size));
		kfree(p);
	}
	books_close(test, &before);
}

static void wrong_size(struct kunit *test)
{
	static const size_t sizes[] = { 1,     8,     9,     16,    17,	  32,	33,
					64,    100,   1024,  1025,  4096, 8192, 30000,
					32768, 32769, 40960, 40961, 90000 };
	struct mm_stats before;

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(sizes); j++) {
			void *p = kmalloc_any(sizes[i], GFP_KERNEL);
			void *q = kmalloc_any(sizes[j], GFP_KERNEL);
			struct wrong wrong = { .p = p, .size = sizes[j], .how = by_kfree_sized };

			KUNIT_ASSERT_TRUE(test, p && q);
			if (ksize(p) != ksize(q)) {
				blame_at(test, HERE, MM_WRONG_SIZE, &wrong, "another size");
				wrong.size = sizes[i];
			}
			kfree(q);
			/* Any size of the right class is right. */
			by_kfree_sized(&wrong);
		}
	books_close(test, &before);
}

static void wrong_size_of_nothing(struct kunit *test)
{
	struct wrong wrong = { .p = zerobase, .size = 8, .how = by_kfree_sized };
	void *p = kmalloc_any(64, GFP_KERNEL);

	blame_at(test, HERE, MM_WRONG_SIZE, &wrong, "zerobase");
	wrong = (struct wrong){ .p = p, .size = 0, .how = by_kfree_sized };
	blame_at(test, HERE, MM_WRONG_SIZE, &wrong, "no size");
	wrong.size = SIZE_MAX;
	blame_at(test, HERE, MM_WRONG_SIZE, &wrong, "absurd size");
	wrong.size = 64;
	by_kfree_sized(&wrong);
	blame_at(test, HERE, MM_DOUBLE_FREE, &wrong, "twice, with its size");
}

/* ---- Wrong at another place ---- */

static void everywhere(struct kunit *test)
{
	struct mm_stats before;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sorts); i++)
		for (enum place place = HERE; place < NR_PLACES; place++) {
			struct wrong wrong = { .how = by_kfree };
			char *p = kmalloc_any(sorts[i], GFP_KERNEL);

			wrong.p = p + 4;
			blame_at(test, place, MM_INVALID_FREE, &wrong, "interior");
			wrong.p = p;
			wrong.size = 3 * sorts[i];
			wrong.how = by_kfree_sized;
			blame_at(test, place, MM_WRONG_SIZE, &wrong, "size");
			wrong.how = by_kfree;
			free_at(place, &wrong);
		}
	books_close(test, &before);
}

/* ---- Two at once ---- */

#define ROUNDS 2000
#define RACE_BYTES (8UL << 20)

static struct {
	void *object[ROUNDS];
	uint32_t arrived;
	size_t n;
} race;

/* Both CPUs come to each object at nearly the same time. */
static void race_through(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < race.n; i++) {
		(void)atomic_fetch_add(&race.arrived, 1);
		while (atomic_load(&race.arrived) < 2 * (i + 1))
			task_yield();
		kfree(race.object[i]);
	}
}

static void two_cpus_free_the_same(struct kunit *test)
{
	struct mm_stats before;
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	for (unsigned i = 0; i < 4; i++) {
		size_t size = sorts[2 * i + 2];

		books_open(&before);
		reports_start();
		race.arrived = 0;
		race.n = MIN(ROUNDS, RACE_BYTES / size);
		/* The other half stays, so that no span ends with a free still to come. */
		KUNIT_ASSERT_EQ(test, kmalloc_bulk(size, GFP_KERNEL, race.n, race.object), race.n);
		t = task_start((this_cpu() + 1) % cpu_count(), race_through, NULL, "race");
		race_through(NULL);
		task_join(t);
		mm_drain();
		reports_stop();
		KUNIT_EXPECT_LE_MSG(test, reports_count(), race.n, "%zu bytes", size);
		KUNIT_EXPECT_GT_MSG(test, reports_count(), 0, "%zu bytes", size);
		KUNIT_EXPECT_LE(test, reports_last().kind, MM_INVALID_FREE);
		books_close(test, &before);
	}
}

/* ---- Asked for the size ---- */

static void query_is_reported(struct kunit *test, const void *p, const char *what)
{
	KUNIT_ASSERT_EQ_MSG(test, reports_count(), 1, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, reports_last().kind, MM_INVALID_QUERY, "%s", what);
	KUNIT_EXPECT_PTR_EQ(test, reports_last().addr, p);
}

/* What is no object has no size, and gets no other. */
static void query(struct kunit *test, const void *p, const char *what)
{
	size_t size;
	void *moved;

	reports_start();
	size = ksize(p);
	reports_stop();
	KUNIT_EXPECT_EQ_MSG(test, size, 0, "%s", what);
	query_is_reported(test, p, what);
	reports_start();
	moved = krealloc(p, 64, GFP_KERNEL);
	reports_stop();
	KUNIT_EXPECT_NULL_MSG(test, moved, "%s", what);
	query_is_reported(test, p, what);
}

static void free_it(void *p)
{
	kfree(p);
}

static void size_of_no_object(struct kunit *test)
{
	static const size_t sizes[] = { 8, 48, 96, 4096, 20480, 40000, 3000000 };
	struct mm_stats before;
	long on_the_stack;
	void *frame;

	books_open(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *p = kmalloc_any(sizes[i], GFP_KERNEL), *q = kmalloc_any(sizes[i], GFP_KERNEL);
		struct task *t;

		KUNIT_ASSERT_GE(test, ksize(p), sizes[i]);
		query(test, p + 1, "interior");
		query(test, p + sizes[i] / 2, "middle");
		kfree(p);
		query(test, p, "freed");
		KUNIT_EXPECT_GE(test, ksize(q), sizes[i]);
		t = task_start((this_cpu() + 1) % cpu_count(), free_it, q, "frees");
		KUNIT_ASSERT_NOT_NULL(test, t);
		task_join(t);
		query(test, q, "freed elsewhere");
	}
	for (size_t size = 1; size < 8; size++) {
		char *p = kmalloc_any(size, GFP_KERNEL | __GFP_NOSCAN);

		KUNIT_EXPECT_EQ(test, ksize(p), size);
		query(test, p + size, "behind a tiny one");
		kfree(p);
		query(test, p, "a tiny one, freed");
	}
	query(test, &on_the_stack, "on the stack");
	query(test, query, "code");
	frame = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);
	query(test, frame, "a frame");
	free_pages_exact(frame, FRAME_SIZE);
	books_close(test, &before);
}

static struct kunit_case kfree_cases[] = {
	KUNIT_CASE(freed_just_before),
	KUNIT_CASE(freed_and_loaded_again),
	KUNIT_CASE(freed_elsewhere),
	KUNIT_CASE(freed_in_a_span_nobody_owns),
	KUNIT_CASE(inside_an_object),
	KUNIT_CASE(behind_the_last_object),
	KUNIT_CASE(never_handed_out),
	KUNIT_CASE(owned_by_nobody),
	KUNIT_CASE(pages_by_kfree),
	KUNIT_CASE(objects_by_free_pages),
	KUNIT_CASE(wrong_size),
	KUNIT_CASE(wrong_size_of_nothing),
	KUNIT_CASE(everywhere),
	KUNIT_CASE(two_cpus_free_the_same),
	KUNIT_CASE(size_of_no_object),
	{},
};

static void kfree_exit(struct kunit *test)
{
	(void)test;
	reports_stop();
}

static struct kunit_suite kfree_suite = { .name = "kfree",
					  .exit = kfree_exit,
					  .test_cases = kfree_cases };
kunit_test_suite(kfree_suite);
