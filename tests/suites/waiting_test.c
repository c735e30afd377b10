// SPDX-License-Identifier: MIT
/*
 * Who waits for whom: mm_drain() for each CPU's running task to be where nothing is
 * pinned, no allocation for anybody's task.
 */
#include <kernel/task.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>

#include "mm/mcache.h"
#include "tests/suites/object_fixture.h"

#define ROUNDS 12

static struct {
	struct kunit *test;
	uint32_t ready, draining, drained, done;
} meeting;

static void open_meeting(struct kunit *test)
{
	meeting.test = test;
	atomic_store(&meeting.ready, 0);
	atomic_store(&meeting.draining, 0);
	atomic_store(&meeting.drained, 0);
	atomic_store(&meeting.done, 0);
}

/* ---- All at once ---- */

static void drain_and_be_drained(void *arg)
{
	uint64_t rng = 0x5eed0007 + (uintptr_t)arg;
	void *p[16];

	(void)atomic_fetch_add(&meeting.ready, 1);
	while (atomic_load(&meeting.ready) < cpu_count())
		task_yield();
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
			p[i] = kmalloc_any(random_size(&rng, 10000), GFP_KERNEL);
		mm_drain();
		for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
			kfree(p[i]);
	}
}

/* Each waits for all others, and does for them what they wait for. */
static void every_cpu_drains_at_once(struct kunit *test)
{
	struct task *t[PORT_MAX_CPUS];
	struct mm_stats before;
	unsigned n = cpu_count();

	books_open(&before);
	open_meeting(test);
	for (uintptr_t i = 0; i < n; i++) {
		t[i] = task_start((unsigned)i, drain_and_be_drained, (void *)i, "drain");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(t[i]);
	books_close(test, &before);
}

/* ---- Not in the middle of a task's work ---- */

#ifdef CONFIG_PREEMPT
static const struct span *loaded_span(unsigned cpu)
{
	const struct window *window = mcache_window(mcache_heap(cpu)->mcache[MM_TASK],
						    KMALLOC_WINDOW(KMALLOC_CLASS_CONST(64)));

	return atomic_load(&window->span);
}

static void hold_on(void *unused)
{
	unsigned cpu = this_cpu();
	const struct span *span;

	(void)unused;
	port_pin();
	kfree(kmalloc_any(64, GFP_KERNEL));
	span = loaded_span(cpu);
	KUNIT_EXPECT_NOT_NULL(meeting.test, span);
	atomic_store(&meeting.ready, 1);
	while (!atomic_load(&meeting.draining))
		port_relax();
	/* Long enough for an interrupt to come and do it. */
	for (unsigned i = 0; i < 300000 && loaded_span(cpu) == span; i++)
		port_relax();
	KUNIT_EXPECT_PTR_EQ(meeting.test, loaded_span(cpu), span);
	KUNIT_EXPECT_FALSE(meeting.test, atomic_load(&meeting.drained));
	port_unpin();
	while (!atomic_load(&meeting.drained))
		task_yield();
	KUNIT_EXPECT_NULL(meeting.test, loaded_span(cpu));
}

static void drain_waits_for_a_pinned_task(struct kunit *test)
{
	unsigned cpu = (this_cpu() + 1) % cpu_count();
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	open_meeting(test);
	t = task_start(cpu, hold_on, NULL, "hold on");
	KUNIT_ASSERT_NOT_NULL(test, t);
	while (!atomic_load(&meeting.ready))
		task_yield();
	atomic_store(&meeting.draining, 1);
	mm_drain();
	atomic_store(&meeting.drained, 1);
	task_join(t);
}
#else
static void drain_waits_for_a_pinned_task(struct kunit *test)
{
	kunit_skip(test, "nothing counts pins");
}
#endif

/* ---- Allocations ---- */

static void never_give_way(void *unused)
{
	(void)unused;
	port_pin();
	kfree(kmalloc_any(64, GFP_KERNEL));
	atomic_store(&meeting.ready, 1);
	while (!atomic_load(&meeting.done))
		port_relax();
	port_unpin();
}

/* Also not one that fails after it has asked for what other CPUs' caches hold. */
static void allocations_wait_for_no_task(struct kunit *test)
{
	unsigned cpu = (this_cpu() + 1) % cpu_count();
	struct mm_stats before;
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	books_open(&before);
	open_meeting(test);
	t = task_start(cpu, never_give_way, NULL, "never");
	KUNIT_ASSERT_NOT_NULL(test, t);
	while (!atomic_load(&meeting.ready))
		task_yield();
	for (size_t size = 1; size <= 4UL << 20; size += size / 2 + 1) {
		void *p = kmalloc_any(size, GFP_KERNEL), *q = kmalloc_any(size, GFP_KERNEL);

		KUNIT_EXPECT_TRUE(test, p && q);
		kfree(p);
		kfree(q);
	}
	KUNIT_EXPECT_NULL(test, kmalloc_any(1UL << 45, GFP_KERNEL | __GFP_NOWARN));
	atomic_store(&meeting.done, 1);
	task_join(t);
	books_close(test, &before);
}

static struct kunit_case waiting_cases[] = {
	KUNIT_CASE(every_cpu_drains_at_once),
	KUNIT_CASE(drain_waits_for_a_pinned_task),
	KUNIT_CASE(allocations_wait_for_no_task),
	{},
};

static struct kunit_suite waiting_suite = { .name = "waiting", .test_cases = waiting_cases };

kunit_test_suite(waiting_suite);
