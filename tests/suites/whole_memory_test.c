// SPDX-License-Identifier: MIT
/*
 * All memory there is, to the last frame, and back; several times, by one CPU and
 * by all at once. What was Reserved is the heap's afterwards: hence this suite
 * comes last, by its name.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/page.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>

#include "lib/atomic.h"
#include "lib/bits.h"
#include "mm/addrstate.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE
#define MOST_RAM (4UL << 30) /* on a larger machine it takes too long */
#define METADATA_MAX (256UL << 10)
#define MARK 0x9e3779b97f4a7c15ULL

/* In the first words of what is held. */
struct link {
	struct link *next;
	uint64_t mark, size;
};

static struct mm_stats start;

static int whole_init(struct kunit *test)
{
	mm_drain();
	mm_stats(&start);
	if (start.ram_bytes > MOST_RAM)
		kunit_skip(test, "more RAM than this test has time for");
	return 0;
}

static void whole_exit(struct kunit *test)
{
	struct mm_stats s;

	mm_fail_off();
	mm_drain();
	mm_stats(&s);
	KUNIT_EXPECT_EQ(test, s.frames_used, start.frames_used);
	KUNIT_EXPECT_EQ(test, s.ram_bytes, start.ram_bytes);
	KUNIT_EXPECT_EQ(test, s.none_bytes, start.none_bytes);
	KUNIT_EXPECT_EQ(test, s.alloc_calls - s.free_calls, start.alloc_calls - start.free_calls);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* Runs of one size until there is no more, each marked. Return: frames taken. */
static uint64_t take_all(struct link **list, size_t size, gfp_t gfp)
{
	uint64_t frames = 0;
	struct link *l;

	while ((l = alloc_pages_exact(size, gfp))) {
		*l = (struct link){ *list, (uintptr_t)l * MARK, size };
		*list = l;
		frames += size / F;
	}
	return frames;
}

/* Return: how many marks were not as they were written: memory given out twice. */
static unsigned give_all(struct link *list)
{
	unsigned wrong = 0;

	while (list) {
		struct link *next = list->next;

		wrong += list->mark != (uintptr_t)list * MARK;
		free_pages_exact(list, list->size);
		list = next;
	}
	return wrong;
}

/* Nothing is left anywhere, and all that is Ready is accounted for. */
static void expect_empty(struct kunit *test, uint64_t held)
{
	struct mm_stats s;

	mm_drain();
	mm_stats(&s);
	KUNIT_EXPECT_EQ(test, s.frames_free, 0);
	KUNIT_EXPECT_EQ(test, s.reserved_bytes, 0);
	KUNIT_EXPECT_EQ(test, s.frames_used, start.frames_used + held);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* What describes frames costs at most 256 KiB for each GiB, whoever uses them. */
static void expect_little_metadata(struct kunit *test)
{
	uint64_t used = 0, gib = (start.ram_bytes >> 30) + 1;

	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		for (unsigned kind = 0; kind < META_KINDS; kind++)
			used += main_map.pool[node].used[kind] * meta_size((enum meta_kind)kind);
	KUNIT_EXPECT_LE(test, used, gib * METADATA_MAX);
}

static void to_the_last_frame(struct kunit *test)
{
	uint64_t all = 0;

	for (unsigned round = 0; round < 3; round++) {
		struct link *list = NULL;
		uint64_t frames = 0;

		if (round == 2)
			frames += take_all(&list, C, GFP_ATOMIC);
		if (round)
			frames += take_all(&list, 3 * F, GFP_ATOMIC);
		frames += take_all(&list, F, GFP_ATOMIC);
		expect_empty(test, frames);
		expect_little_metadata(test);
		/* What metadata there is was made in the first round. */
		if (round)
			KUNIT_EXPECT_EQ(test, frames, all);
		all = frames;
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(F, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(C, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(F, GFP_DMA));
		KUNIT_EXPECT_EQ(test, give_all(list), 0);
	}
}

/* One frame comes back, wherever it is, and is the one that is given out next. */
static void the_only_free_frame(struct kunit *test)
{
	struct link *list = NULL, *l;
	uint64_t frames = take_all(&list, F, GFP_ATOMIC), n = 0;

	for (l = list; l; l = l->next) {
		struct link keep = *l, *again;

		if (n++ % 997)
			continue;
		free_pages_exact(l, F);
		mm_drain();
		again = alloc_pages_exact(F, GFP_ATOMIC);
		KUNIT_ASSERT_PTR_EQ(test, again, l);
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(F, GFP_ATOMIC));
		*l = keep;
	}
	KUNIT_EXPECT_EQ(test, n, frames);
	KUNIT_EXPECT_EQ(test, give_all(list), 0);
}

static void dma_to_the_last_frame(struct kunit *test)
{
	uint64_t all = 0;

	for (unsigned round = 0; round < 3; round++) {
		struct link *list = NULL, *l;
		uint64_t frames = take_all(&list, F, GFP_DMA);
		void *other;

		for (l = list; l; l = l->next)
			KUNIT_ASSERT_LT(test, virt_to_phys(l), 16UL << 20);
		if (round)
			KUNIT_EXPECT_EQ(test, frames, all);
		all = frames;
		/* Others have memory all the same. */
		other = alloc_pages_exact(F, GFP_KERNEL);
		if (start.ram_bytes > 64UL << 20)
			KUNIT_EXPECT_NOT_NULL(test, other);
		free_pages_exact(other, F);
		KUNIT_EXPECT_EQ(test, give_all(list), 0);
		mm_drain();
	}
}

/*
 * Growth that fails on purpose, here and there, in everything it consists of. What
 * was passed over must be found again: the next case takes it all.
 */
static void failing_growth(struct kunit *test)
{
	for (unsigned seed = 1; seed <= 40; seed++) {
		struct link *list = NULL;

		mm_fail_rate(2 + seed % 3, seed);
		for (unsigned i = 0; i < 20; i++) {
			size_t size = (i % 5 + 1) * C;
			struct link *l = alloc_pages_exact(size, GFP_KERNEL);

			if (!l)
				continue;
			*l = (struct link){ list, (uintptr_t)l * MARK, size };
			list = l;
		}
		addrstate_feed(&main_map, 0, meta_room(&main_map.pool[0]) + 1);
		mm_fail_off();
		KUNIT_EXPECT_EQ(test, give_all(list), 0);
		mm_drain();
	}
}

struct taker {
	struct link *list;
	uint64_t frames;
	uint32_t *go;
};

static void take_with_others(void *arg)
{
	struct taker *t = arg;

	while (!atomic_load(t->go))
		task_yield();
	t->frames = take_all(&t->list, F, GFP_ATOMIC);
}

/* All CPUs empty the machine together: no frame twice, none lost. */
static void all_cpus_empty_it(struct kunit *test)
{
	static struct taker taker[PORT_MAX_CPUS];
	static struct task *task[PORT_MAX_CPUS];
	uint64_t frames = 0;
	uint32_t go = 0;

	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		taker[cpu] = (struct taker){ .go = &go };
		task[cpu] = task_start(cpu, take_with_others, &taker[cpu], "taker");
		KUNIT_EXPECT_NOT_NULL(test, task[cpu]);
	}
	atomic_store(&go, 1);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		if (task[cpu])
			task_join(task[cpu]);
		frames += taker[cpu].frames;
	}
	/* The stack of a task that has ended may have come back meanwhile. */
	frames += take_all(&taker[0].list, F, GFP_ATOMIC);
	expect_empty(test, frames);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
		KUNIT_EXPECT_EQ(test, give_all(taker[cpu].list), 0);
}

static struct kunit_case whole_cases[] = {
	/* First, while there is memory that the heap does not have yet. */
	KUNIT_CASE_SLOW(failing_growth),	KUNIT_CASE_SLOW(all_cpus_empty_it),
	KUNIT_CASE_SLOW(to_the_last_frame),	KUNIT_CASE_SLOW(the_only_free_frame),
	KUNIT_CASE_SLOW(dma_to_the_last_frame), {},
};

static struct kunit_suite whole_suite = {
	.name = "whole_memory",
	.init = whole_init,
	.exit = whole_exit,
	.test_cases = whole_cases,
};
kunit_test_suite(whole_suite);
