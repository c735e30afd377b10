// SPDX-License-Identifier: MIT
/*
 * The machine's page caches: who frees where, what is found, what a drain brings
 * back while others go on, and that nothing is lost on the way.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/misuse.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>

#include "heap_fixture.h"
#include "mm/numa.h"
#include "mm/pagecache.h"

#define F FRAME_SIZE

static struct mm_stats before;
static struct mm_misuse_report last;
static uint32_t reports;

static void note_report(const struct mm_misuse_report *report)
{
	last = *report;
	(void)atomic_fetch_add(&reports, 1);
}

static struct mm_stats stats_now(void)
{
	struct mm_stats s;

	mm_stats(&s);
	return s;
}

static uint64_t cached(void)
{
	uint64_t n = 0;

	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		n += pagecache_sum(&main_heap[node]).frames;
	return n;
}

static int cpus_init(struct kunit *test)
{
	(void)test;
	mm_set_misuse_handler(note_report);
	reports = 0;
	mm_drain();
	mm_stats(&before);
	return 0;
}

static void cpus_exit(struct kunit *test)
{
	struct mm_stats s;

	mm_fail_off();
	mm_drain();
	mm_stats(&s);
	mm_set_misuse_handler(NULL);
	KUNIT_EXPECT_EQ(test, cached(), 0);
	KUNIT_EXPECT_EQ(test, s.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, s.alloc_calls - before.alloc_calls, s.free_calls - before.free_calls);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* Is there a cache at all? Not on the smallest machines. */
static void need_cache(struct kunit *test)
{
	void *p = __get_free_pages(GFP_KERNEL, 0);

	free_pages(p, 0);
	if (!cached())
		kunit_skip(test, "no frames are cached here");
}

/* ---- Running something elsewhere ---- */

static void on_cpu(struct kunit *test, unsigned cpu, void (*fn)(void *), void *arg)
{
	struct task *t = task_start(cpu, fn, arg, "elsewhere");

	KUNIT_ASSERT_NOT_NULL(test, t);
	task_join(t);
}

static void free_frame_there(void *frame)
{
	free_pages(frame, 0);
}

static void free_chunk_there(void *chunk)
{
	free_pages(chunk, CHUNK_SHIFT - FRAME_SHIFT);
}

static void alloc_frame_there(void *where)
{
	*(void **)where = __get_free_pages(GFP_KERNEL, 0);
}

/* ---- Counting ---- */

static void counts_are_exact(struct kunit *test)
{
	static void *p[300];
	struct mm_stats s;

	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = __get_free_pages(GFP_KERNEL, 0);
		KUNIT_ASSERT_NOT_NULL(test, p[i]);
	}
	/* Also while frames are cached. */
	s = stats_now();
	KUNIT_EXPECT_EQ(test, s.frames_used - before.frames_used, ARRAY_SIZE(p));
	KUNIT_EXPECT_EQ(test, s.alloc_calls - before.alloc_calls, ARRAY_SIZE(p));
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		free_pages(p[i], 0);
	for (unsigned i = 0; i < 1000; i++)
		free_pages(__get_free_pages(GFP_KERNEL, i % 6), i % 6);
	free_pages(__get_free_pages(GFP_KERNEL, 9), 9);
	KUNIT_ASSERT_EQ(test, page_alloc_bulk(200, p, GFP_KERNEL), 200);
	page_free_bulk(200, p);
	s = stats_now();
	KUNIT_EXPECT_EQ(test, s.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, s.alloc_calls - before.alloc_calls, ARRAY_SIZE(p) + 1000 + 1 + 200);
	KUNIT_EXPECT_EQ(test, s.free_calls - before.free_calls, ARRAY_SIZE(p) + 1000 + 1 + 200);
}

/* Caches that are as full as they get. */
static void at_most_a_64th(struct kunit *test)
{
	static void *p[2000];

	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
			p[i] = __get_free_pages(GFP_KERNEL, i % 7 ? 0 : 1);
			KUNIT_ASSERT_NOT_NULL(test, p[i]);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
			if (i % 7)
				on_cpu(test, cpu, free_frame_there, p[i]);
			else
				free_pages(p[i], 1);
			if (i == 300)
				break;
		}
		for (unsigned i = 301; i < ARRAY_SIZE(p); i++)
			free_pages(p[i], i % 7 ? 0 : 1);
		for (unsigned i = 0; i < 6; i++)
			p[i] = __get_free_pages(GFP_KERNEL, 9);
		for (unsigned i = 0; i < 6; i++)
			if (p[i])
				on_cpu(test, cpu, free_chunk_there, p[i]);
	}
	KUNIT_EXPECT_LE(test, cached() * F, before.ram_bytes / 64);
}

/* ---- Misuse ---- */

static void expect_double_free(struct kunit *test, const void *addr, uint32_t seen)
{
	KUNIT_EXPECT_EQ(test, reports, seen + 1);
	KUNIT_EXPECT_EQ(test, last.kind, MM_PAGE_DOUBLE_FREE);
	KUNIT_EXPECT_PTR_EQ(test, last.addr, addr);
}

/* Cached on the same CPU, cached on another, and by another that has cached it. */
static void double_free_of_cached(struct kunit *test)
{
	unsigned there = cpu_count() - 1;
	void *p;

	need_cache(test);
	for (unsigned round = 0; round < 3; round++) {
		p = __get_free_pages(GFP_KERNEL, 0);
		if (round == 1)
			on_cpu(test, there, free_frame_there, p);
		else
			free_pages(p, 0);
		KUNIT_EXPECT_GT(test, cached(), 0);
		for (uint32_t seen = 0; seen < 2; seen++) {
			reports = seen;
			if (round == 2)
				on_cpu(test, there, free_frame_there, p);
			else
				free_pages(p, 0);
			expect_double_free(test, p, seen);
		}
	}
	p = __get_free_pages(GFP_KERNEL, 9);
	if (!p)
		return;
	free_pages(p, 9);
	reports = 0;
	on_cpu(test, there, free_chunk_there, p);
	expect_double_free(test, p, 0);
	free_pages(p, 0);
	expect_double_free(test, p, 1);
	free_pages_exact(p, 3 * CHUNK_SIZE);
	expect_double_free(test, p, 2);
	reports = 0;
}

struct race {
	void *frame[256];
	uint32_t ready;
};

static void free_all_of_race(void *arg)
{
	struct race *race = arg;

	(void)atomic_fetch_add(&race->ready, 1);
	while (atomic_load(&race->ready) < 2)
		port_relax();
	for (unsigned i = 0; i < ARRAY_SIZE(race->frame); i++)
		free_pages(race->frame[i], 0);
}

/* Two CPUs free the same frames at once: each is freed by one of them. */
static void two_cpus_free_the_same(struct kunit *test)
{
	static struct race race;
	unsigned n = ARRAY_SIZE(race.frame);
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	for (unsigned round = 0; round < 20; round++) {
		KUNIT_ASSERT_EQ(test, page_alloc_bulk(n, race.frame, GFP_KERNEL), n);
		race.ready = 0;
		reports = 0;
		t = task_start(1, free_all_of_race, &race, "race");
		KUNIT_ASSERT_NOT_NULL(test, t);
		free_all_of_race(&race);
		task_join(t);
		KUNIT_EXPECT_EQ(test, reports, n);
		KUNIT_EXPECT_EQ(test, stats_now().frames_used, before.frames_used);
		KUNIT_EXPECT_EQ(test, pagecache_check_all(), 0);
		if (round % 4 == 0)
			mm_drain();
	}
	reports = 0;
}

/* ---- Injection ---- */

/* The very next call fails, though there are cached frames, on whichever CPU. */
static void armed_while_cached(struct kunit *test)
{
	void *p;

	need_cache(test);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		for (unsigned k = 0; k < cpu_count(); k++) {
			on_cpu(test, k, alloc_frame_there, &p);
			on_cpu(test, k, free_frame_there, p);
		}
		mm_fail_nth(1);
		if (cpu == this_cpu())
			alloc_frame_there(&p);
		else
			run_in_irq(cpu, alloc_frame_there, &p);
		KUNIT_EXPECT_NULL(test, p);
		mm_fail_off();
		for (unsigned k = 0; k < 3; k++) {
			p = __get_free_pages(GFP_KERNEL, 0);
			KUNIT_EXPECT_NOT_NULL(test, p);
			free_pages(p, 0);
		}
	}
	/* Every call is a point, whatever its size; a free is none. */
	for (unsigned order = 0; order < 7; order++) {
		p = __get_free_pages(GFP_KERNEL, order);
		KUNIT_ASSERT_NOT_NULL(test, p);
		mm_fail_nth(1);
		free_pages(p, order);
		KUNIT_EXPECT_NULL(test, __get_free_pages(GFP_KERNEL, order));
		p = __get_free_pages(GFP_KERNEL, order);
		KUNIT_EXPECT_NOT_NULL(test, p);
		free_pages(p, order);
	}
	mm_fail_nth(1);
	KUNIT_EXPECT_EQ(test, page_alloc_bulk(1, &p, GFP_KERNEL), 0);
}

/* ---- Draining ---- */

struct mill {
	uint32_t stop, running;
	uint64_t rounds, torn;
	bool allocates;
};

static struct mill mills[PORT_MAX_CPUS];

/* Neither yields nor looks at anything but the flag; may allocate all the time. */
static void turn(void *arg)
{
	struct mill *m = arg;
	uint64_t *p[40];

	atomic_store(&m->running, 1);
	while (!atomic_load(&m->stop)) {
		unsigned order = m->rounds++ % 8 == 7 ? 3 : 0, n = 0;

		if (!m->allocates) {
			port_relax();
			continue;
		}
		for (; n < ARRAY_SIZE(p); n++) {
			p[n] = __get_free_pages(GFP_ATOMIC, order);
			if (!p[n])
				break;
			*(volatile uint64_t *)p[n] = (uintptr_t)p[n] ^ m->rounds;
		}
		while (n--) {
			m->torn += *(volatile uint64_t *)p[n] != ((uintptr_t)p[n] ^ m->rounds);
			free_pages(p[n], order);
		}
	}
}

static void one_turn(void *arg)
{
	struct mill *m = arg;
	void *p = __get_free_pages(GFP_ATOMIC, m->rounds++ % 3);

	if (p)
		free_pages(p, (m->rounds - 1) % 3);
}

static void run_mills(struct kunit *test, bool allocates, unsigned rounds)
{
	static struct mill irq[PORT_MAX_CPUS], nmi[PORT_MAX_CPUS];
	static struct task *task[PORT_MAX_CPUS];
	unsigned ncpus = cpu_count();
	uint64_t torn = 0, rng = 0x5eed0071;

	for (unsigned cpu = 1; cpu < ncpus; cpu++) {
		mills[cpu] = (struct mill){ .allocates = allocates };
		task[cpu] = task_start(cpu, turn, &mills[cpu], "mill");
		KUNIT_EXPECT_NOT_NULL(test, task[cpu]);
		while (task[cpu] && !atomic_load(&mills[cpu].running))
			task_yield();
	}
	for (unsigned i = 0; i < rounds; i++) {
		unsigned cpu = (unsigned)(fix_rng(&rng) % ncpus);

		run_in_irq(cpu, one_turn, &irq[cpu]);
		run_in_nmi(cpu, one_turn, &nmi[cpu]);
		one_turn(&mills[0]);
		if (i % 4 == 0)
			pagecache_drain();
		else
			pagecache_reclaim(true);
	}
	for (unsigned cpu = 1; cpu < ncpus; cpu++) {
		atomic_store(&mills[cpu].stop, 1);
		if (task[cpu])
			task_join(task[cpu]);
		torn += mills[cpu].torn;
	}
	KUNIT_EXPECT_EQ(test, torn, 0);
	KUNIT_EXPECT_EQ(test, reports, 0);
}

/* A drain waits for nobody who only computes. */
static void drain_while_others_compute(struct kunit *test)
{
	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	run_mills(test, false, 6);
}

/* While the others allocate without end, with interrupts and NMIs at random moments. */
static void drain_while_others_allocate(struct kunit *test)
{
	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	run_mills(test, true, 6);
}

/* Caches go back before an allocation fails: all of them, or the own if it may not wait. */
static void caches_before_failure(struct kunit *test)
{
	size_t size = (PFN_LIMIT - 1) << FRAME_SHIFT;

	need_cache(test);
	if (before.ram_bytes / 64 / F / cpu_count() < 64)
		kunit_skip(test, "caches too small to keep a frame in each");
	if (node_order_size(numa_order(0)) > 1)
		kunit_skip(test, "caches keep no frames of other nodes");
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
			void *p = __get_free_pages(GFP_KERNEL, 0);

			on_cpu(test, cpu, free_frame_there, p);
			p = __get_free_pages(GFP_KERNEL, 0);
			run_in_irq(cpu, free_frame_there, p);
			p = __get_free_pages(GFP_KERNEL, 0);
			run_in_nmi(cpu, free_frame_there, p);
		}
		KUNIT_EXPECT_GE(test, cached(), 3 * cpu_count());
		if (round == 0) {
			KUNIT_EXPECT_NULL(test, alloc_pages_exact(size, GFP_ATOMIC));
			/* Its NMIs' cache and those of the other CPUs are left. */
			KUNIT_EXPECT_GE(test, cached(), 3 * cpu_count() - 2);
			KUNIT_EXPECT_EQ(test, pagecache_held(port_frame_cache()), 0);
		} else {
			KUNIT_EXPECT_NULL(test, alloc_pages_exact(size, GFP_KERNEL));
			KUNIT_EXPECT_EQ(test, cached(), 0);
		}
	}
}

static struct kunit_case cpu_cases[] = { KUNIT_CASE(counts_are_exact),
					 KUNIT_CASE(at_most_a_64th),
					 KUNIT_CASE(double_free_of_cached),
					 KUNIT_CASE(two_cpus_free_the_same),
					 KUNIT_CASE(armed_while_cached),
					 KUNIT_CASE(drain_while_others_compute),
					 KUNIT_CASE_SLOW(drain_while_others_allocate),
					 KUNIT_CASE(caches_before_failure),
					 {} };

static struct kunit_suite cpu_suite = {
	.name = "pagecpu",
	.init = cpus_init,
	.exit = cpus_exit,
	.test_cases = cpu_cases,
};
kunit_test_suite(cpu_suite);
