// SPDX-License-Identifier: MIT
/*
 * Memory modules that come and go, as the kernel sees them. tests/hotplug.py sits
 * at the other end: it plugs and pulls when a line of the console asks for it.
 * Without `dimms=N` on the command line there is nobody, and the case is skipped.
 */
#include <kernel/arch.h>
#include <kernel/cmdline.h>
#include <kernel/console.h>
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include <spanheap/scavenge.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>
#include "lib/atomic.h"
#include "lib/bits.h"

#define PATIENCE_US (30 * 1000 * 1000)
#define PIECE (16UL << 20)
#define MAX_PIECES 1024
#define CYCLES 100

static void *piece[MAX_PIECES];

static bool poll_until(unsigned (*count)(const struct dimm_counts *c), unsigned wanted)
{
	uint64_t end = clock_us() + PATIENCE_US;
	struct dimm_counts c;

	do {
		dimm_poll();
		dimm_counts(&c);
		if (count(&c) >= wanted)
			return true;
		arch_sleep_us(1000);
	} while (clock_us() < end);
	return false;
}

static unsigned added(const struct dimm_counts *c)
{
	return c->added;
}

static unsigned removed(const struct dimm_counts *c)
{
	return c->removed;
}

static unsigned refused(const struct dimm_counts *c)
{
	return c->refused;
}

/* Take @bytes of the module and write to each frame. Return: how many pieces. */
static unsigned use(struct kunit *test, uint64_t base, uint64_t size, uint64_t bytes)
{
	unsigned n = 0;

	for (uint64_t done = 0; done < bytes && n < MAX_PIECES; done += PIECE, n++) {
		piece[n] = page_alloc_range(PIECE >> FRAME_SHIFT, 0, base, base + size, GFP_KERNEL);
		if (!piece[n])
			break;
		for (size_t at = 0; at < PIECE; at += FRAME_SIZE)
			*(uint64_t *)((char *)piece[n] + at) = (uintptr_t)piece[n] + at;
	}
	for (unsigned i = 0; i < n; i++)
		for (size_t at = 0; at < PIECE; at += FRAME_SIZE)
			if (*(uint64_t *)((char *)piece[i] + at) != (uintptr_t)piece[i] + at)
				KUNIT_FAIL(test, "piece %u holds something else", i);
	return n;
}

/* Though it is Ready and free now, ordinary requests do not settle here. */
static void others_come_first(struct kunit *test, uint64_t base, uint64_t size)
{
	static const size_t sizes[] = { FRAME_SIZE, 16 * FRAME_SIZE, 100 * FRAME_SIZE, CHUNK_SIZE };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *p = alloc_pages_exact(sizes[i], GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_EXPECT_GE(test, virt_to_phys(p) - base, size);
		free_pages_exact(p, sizes[i]);
	}
}

struct all_runs {
	uint64_t hash;
};

static int hash_run(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	struct all_runs *all = arg;

	all->hash = (all->hash ^ base ^ size << 8 ^ s) * 0x100000001b3ULL;
	return 0;
}

static uint64_t picture(void)
{
	struct all_runs all = { 0 };

	mem_walk(hash_run, &all);
	return all.hash;
}

static void one_cycle(struct kunit *test, unsigned nr, struct mm_stats *gone)
{
	struct dimm_counts c;
	struct mm_stats s;
	uint64_t before;
	unsigned n;

	dimm_counts(&c);
	console_printf("# dimm: plug %u\n", nr);
	KUNIT_ASSERT_TRUE(test, poll_until(added, c.added + 1));
	dimm_counts(&c);
	KUNIT_EXPECT_EQ(test, mem_state(c.last_base + c.last_size - 1), MEM_RESERVED);
	KUNIT_EXPECT_EQ(test, mem_state(c.last_base + c.last_size), MEM_NONE);
	/* Each tenth time all but its own metadata. */
	n = use(test, c.last_base, c.last_size, nr % 10 ? 4 * PIECE : c.last_size);
	KUNIT_EXPECT_GE(test, n, nr % 10 ? 4 : c.last_size / PIECE - 1);
	if (nr % 5 == 0) {
		before = picture();
		console_printf("# dimm: pull %u in use\n", nr);
		KUNIT_ASSERT_TRUE(test, poll_until(refused, c.refused + 1));
		KUNIT_EXPECT_EQ(test, picture(), before);
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
	while (n)
		free_pages_exact(piece[--n], PIECE);
	others_come_first(test, c.last_base, c.last_size);
	if (nr % 3 == 1)
		mm_scavenge(3 * PIECE);
	console_printf("# dimm: pull %u\n", nr);
	KUNIT_ASSERT_TRUE(test, poll_until(removed, c.removed + 1));
	KUNIT_EXPECT_EQ(test, mem_state(c.last_base), MEM_NONE);
	KUNIT_EXPECT_EQ(test, probe_read(phys_to_virt(c.last_base)), -EFAULT);
	mm_drain();
	mm_stats(&s);
	if (!nr)
		*gone = s;
	KUNIT_EXPECT_EQ(test, s.metadata_bytes, gone->metadata_bytes);
	KUNIT_EXPECT_EQ(test, s.ram_bytes, gone->ram_bytes);
	KUNIT_EXPECT_EQ(test, s.frames_used, gone->frames_used);
}

static void plug_and_pull(struct kunit *test)
{
	unsigned cycles = (unsigned)cmdline_number("dimms", 0);
	struct mm_stats gone = { 0 };

	if (!cycles)
		kunit_skip(test, "nobody plugs anything");
	for (unsigned i = 0; i < cycles; i++)
		one_cycle(test, i, &gone);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* A module that was there at the start is used like one that came later. */
static void cold_plugged(struct kunit *test)
{
	struct dimm_counts c;
	unsigned n;

	dimm_counts(&c);
	if (!c.added || cmdline_number("dimms", 0))
		kunit_skip(test, "no module at the start");
	KUNIT_EXPECT_EQ(test, c.failed, 0);
	n = use(test, c.last_base, c.last_size, 4 * PIECE);
	KUNIT_EXPECT_EQ(test, n, 4);
	while (n)
		free_pages_exact(piece[--n], PIECE);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static uint32_t looks, done;

static void look_at_all(void *arg)
{
	struct mm_stats s;

	(void)arg;
	while (!atomic_load(&done)) {
		mm_stats(&s);
		(void)atomic_fetch_add(&looks, 1);
		task_yield();
	}
}

/* Somebody counts all there is, while records of it go. */
static void goes_while_looked_at(struct kunit *test)
{
	unsigned cpu = (this_cpu() + 1) % cpu_count();
	struct dimm_counts c;
	struct task *t[2];

	dimm_counts(&c);
	if (!c.added || cmdline_number("dimms", 0))
		kunit_skip(test, "no module at the start");
	atomic_store(&done, 0);
	for (unsigned i = 0; i < 2; i++) {
		t[i] = task_start(cpu, look_at_all, NULL, "look");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < CYCLES; i++) {
		uint32_t before = atomic_load(&looks);

		KUNIT_EXPECT_EQ(test, mm_remove_memory(c.last_base, c.last_size), 0);
		KUNIT_EXPECT_EQ(test, mm_add_memory(c.last_base, c.last_size, NUMA_NO_NODE), 0);
		while (atomic_load(&looks) == before)
			task_yield();
	}
	atomic_store(&done, 1);
	for (unsigned i = 0; i < 2; i++)
		task_join(t[i]);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct kunit_case dimm_cases[] = {
	KUNIT_CASE(cold_plugged),
	KUNIT_CASE(goes_while_looked_at),
	KUNIT_CASE(plug_and_pull),
	{},
};

static struct kunit_suite dimm_suite = {
	.name = "dimm",
	.test_cases = dimm_cases,
};
kunit_test_suite(dimm_suite);
