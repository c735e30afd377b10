// SPDX-License-Identifier: MIT
/*
 * Draining while tasks of the other CPUs allocate and free without ever yielding,
 * and while they do nothing with memory at all.
 *
 *	this CPU:	mm_drain(), mm_validate(), again and again
 *	the others:	while (!stop) { allocate; write; check; free; }
 *
 * Nobody waits for ever, and in the end nothing is lost.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>
#include <spanheap/port.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>
#include "lib/atomic.h"
#include "lib/bits.h"

#define DRAINS 5
#define BATCH 100

struct worker {
	struct task *task;
	struct kmem_cache *cache;
	uint64_t rounds, errors;
} cacheline_aligned;

static struct worker workers[PORT_MAX_CPUS];
static uint32_t stop;

static void never_allocates(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&stop))
		w->rounds++;
}

static void check_word(struct worker *w, uint64_t *p, uint64_t value)
{
	if (p && *p != value)
		w->errors++;
}

static void allocates(void *arg)
{
	struct worker *w = arg;
	uint64_t *p[BATCH];

	while (!atomic_load(&stop)) {
		for (unsigned i = 0; i < BATCH; i++) {
			size_t size = 8UL << i % 10;

			p[i] = i % 3 ? kmalloc(size, GFP_KERNEL)
				     : kmem_cache_alloc(w->cache, GFP_KERNEL);
			if (p[i])
				*p[i] = w->rounds + i;
		}
		for (unsigned i = 0; i < BATCH; i++) {
			check_word(w, p[i], w->rounds + i);
			kfree(p[i]);
		}
		w->rounds++;
	}
}

static void allocates_frames(void *arg)
{
	struct worker *w = arg;
	uint64_t *p[BATCH];

	while (!atomic_load(&stop)) {
		for (unsigned i = 0; i < BATCH; i++) {
			p[i] = alloc_pages_exact(FRAME_SIZE << i % 4, GFP_KERNEL);
			if (p[i])
				*p[i] = w->rounds + i;
		}
		for (unsigned i = 0; i < BATCH; i++) {
			check_word(w, p[i], w->rounds + i);
			free_pages_exact(p[i], FRAME_SIZE << i % 4);
		}
		w->rounds++;
	}
}

/* Its processor may be another program's for a while. */
static void wait_until_busy(const struct worker *w)
{
	while (w->task && !atomic_load(&w->rounds))
		task_yield();
}

static void drain_beside(struct kunit *test, void (*fn)(void *))
{
	struct kmem_cache *cache = kmem_cache_create("drained", 200, 0, 0, NULL);
	struct mm_stats before, after;
	unsigned self = this_cpu();

	KUNIT_ASSERT_NOT_NULL(test, cache);
	mm_drain();
	mm_stats(&before);
	atomic_store(&stop, 0);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		workers[cpu] = (struct worker){ .cache = cache };
		if (cpu != self)
			workers[cpu].task = task_start(cpu, fn, &workers[cpu], "busy");
	}
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		wait_until_busy(&workers[cpu]);
	for (unsigned i = 0; i < DRAINS; i++) {
		mm_drain();
		kmem_cache_shrink(cache);
	}
	atomic_store(&stop, 1);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		if (cpu == self)
			continue;
		KUNIT_ASSERT_NOT_NULL(test, workers[cpu].task);
		task_join(workers[cpu].task);
		KUNIT_EXPECT_GT_MSG(test, workers[cpu].rounds, 0, "CPU %u", cpu);
		KUNIT_EXPECT_EQ_MSG(test, workers[cpu].errors, 0, "CPU %u", cpu);
	}
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, after.objects_live, before.objects_live);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	kmem_cache_destroy(cache);
}

static void beside_objects(struct kunit *test)
{
	drain_beside(test, allocates);
}

static void beside_frames(struct kunit *test)
{
	drain_beside(test, allocates_frames);
}

static void beside_nothing(struct kunit *test)
{
	drain_beside(test, never_allocates);
}

/* A task that is anywhere gives what its CPU owns, as much as an idle one would. */
static void asked_beside(struct kunit *test, void (*fn)(void *))
{
	unsigned self = this_cpu(), cpu = (self + 1) % cpu_count();
	void *p[BATCH];

	mm_drain();
	atomic_store(&stop, 0);
	workers[cpu] = (struct worker){ .cache = kmem_cache_create("asked", 200, 0, 0, NULL) };
	KUNIT_ASSERT_NOT_NULL(test, workers[cpu].cache);
	workers[cpu].task = task_start(cpu, fn, &workers[cpu], "busy");
	KUNIT_ASSERT_NOT_NULL(test, workers[cpu].task);
	wait_until_busy(&workers[cpu]);
	for (unsigned round = 0; round < 100 * DRAINS; round++) {
		for (unsigned i = 0; i < BATCH; i++)
			p[i] = kmalloc(8UL << i % 10, GFP_KERNEL);
		for (unsigned i = 0; i < BATCH; i++)
			kfree(p[i]);
		/* There is no such run: so whoever has anything is asked for it. */
		if (round % 100 == 0)
			KUNIT_EXPECT_NULL(test, kmalloc(1UL << 45, GFP_KERNEL));
	}
	atomic_store(&stop, 1);
	task_join(workers[cpu].task);
	KUNIT_EXPECT_GT(test, workers[cpu].rounds, 0);
	KUNIT_EXPECT_EQ(test, workers[cpu].errors, 0);
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(workers[cpu].cache), 0);
	mm_drain();
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static void asked_beside_objects(struct kunit *test)
{
	asked_beside(test, allocates);
}

static void asked_beside_frames(struct kunit *test)
{
	asked_beside(test, allocates_frames);
}

static void asked_beside_nothing(struct kunit *test)
{
	asked_beside(test, never_allocates);
}

static struct kunit_case drain_cases[] = {
	KUNIT_CASE(beside_objects),
	KUNIT_CASE(beside_frames),
	KUNIT_CASE(beside_nothing),
	KUNIT_CASE(asked_beside_objects),
	KUNIT_CASE(asked_beside_frames),
	KUNIT_CASE(asked_beside_nothing),
	{},
};

static int drain_test_init(struct kunit *test)
{
	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	return 0;
}

static struct kunit_suite drain_suite = {
	.name = "drain",
	.init = drain_test_init,
	.test_cases = drain_cases,
};

kunit_test_suite(drain_suite);
