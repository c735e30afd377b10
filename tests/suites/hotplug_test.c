// SPDX-License-Identifier: MIT
/*
 * Memory that arrives and leaves, on made-up addresses: nothing is mapped. What
 * real memory does is tested with DIMMs (tests/hotplug.py) and on the host.
 *
 * Chunks are counted from FIX_CHUNK0. Boot memory ends in the middle of an arena.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/page.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/addrstate.h"
#include "mm/hotplug.h"
#include "mm/scavenge.h"

#define P CHUNK_FRAMES
#define BOOT ((struct fix_chunks[]){ { 0, 40 }, { 0 } })
#define MAX_RUNS 256

static phys_addr_t chunk_pa(uint64_t chunk)
{
	return (FIX_CHUNK0 + chunk) << CHUNK_SHIFT;
}

static int plug(uint64_t first, uint64_t n)
{
	return hotplug_add(&fix_map, chunk_pa(first), n << CHUNK_SHIFT, 0);
}

static void no_drain(void)
{
}

static int unplug(uint64_t first, uint64_t n)
{
	return hotplug_remove(&fix_map, &fix_heap, no_drain, chunk_pa(first), n << CHUNK_SHIFT);
}

static uint64_t alloc_chunks(uint64_t first, uint64_t n, uint64_t frames)
{
	return fix_alloc_in(frames, 1, first * P, (first + n) * P);
}

/* ---- What is seen from outside ---- */

struct run {
	phys_addr_t base;
	uint64_t size;
	enum mem_state state;
};

struct picture {
	unsigned n;
	struct run run[MAX_RUNS];
};

static int add_run(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	struct picture *p = arg;

	if (p->n < MAX_RUNS)
		p->run[p->n++] = (struct run){ base, size, s };
	return 0;
}

static void take_picture(struct picture *p)
{
	memset(p, 0, sizeof(*p));
	memmap_walk(&fix_map, add_run, p);
}

static void expect_same(struct kunit *test, const struct picture *a)
{
	static struct picture b;

	take_picture(&b);
	KUNIT_EXPECT_EQ(test, b.n, a->n);
	KUNIT_EXPECT_EQ(test, memcmp(&b, a, sizeof(b)), 0);
}

static void expect_state(struct kunit *test, uint64_t first, uint64_t n, enum mem_state state)
{
	for (uint64_t c = first; c < first + n; c++) {
		KUNIT_EXPECT_EQ_MSG(test, memmap_state(&fix_map, chunk_pa(c)), state, "chunk %u",
				    (unsigned)c);
		KUNIT_EXPECT_EQ_MSG(test,
				    memmap_state(&fix_map, chunk_pa(c) + CHUNK_SIZE - FRAME_SIZE),
				    state, "chunk %u", (unsigned)c);
	}
}

static void count_metadata(size_t used[META_KINDS])
{
	memcpy(used, fix_map.pool[0].used, sizeof(fix_map.pool[0].used));
}

/* ---- Cases ---- */

static void says_no(struct kunit *test)
{
	static struct picture before;

	fix_reserve(test, BOOT);
	KUNIT_ASSERT_EQ(test, plug(100, 10), 0);
	KUNIT_ASSERT_EQ(test, plug(110, 10), 0);
	take_picture(&before);
	KUNIT_EXPECT_EQ(test, hotplug_add(&fix_map, chunk_pa(200), 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, hotplug_add(&fix_map, chunk_pa(200) + FRAME_SIZE, CHUNK_SIZE, 0),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, hotplug_add(&fix_map, chunk_pa(200), CHUNK_SIZE + FRAME_SIZE, 0),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, hotplug_add(&fix_map, -CHUNK_SIZE, 2 * CHUNK_SIZE, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, hotplug_add(&fix_map, PFN_LIMIT << FRAME_SHIFT, CHUNK_SIZE, 0),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, hotplug_add(&fix_map, chunk_pa(200), CHUNK_SIZE, PORT_MAX_NODES),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, hotplug_add(&fix_map, chunk_pa(200), CHUNK_SIZE, -2), -EINVAL);
	KUNIT_EXPECT_EQ(test, plug(39, 1), -EEXIST);
	KUNIT_EXPECT_EQ(test, plug(39, 10), -EEXIST);
	KUNIT_EXPECT_EQ(test, plug(105, 1), -EEXIST);
	KUNIT_EXPECT_EQ(test, plug(90, 100), -EEXIST);
	/* Exactly one of those that came. */
	KUNIT_EXPECT_EQ(test, unplug(0, 40), -EINVAL);
	KUNIT_EXPECT_EQ(test, unplug(100, 9), -EINVAL);
	KUNIT_EXPECT_EQ(test, unplug(101, 9), -EINVAL);
	KUNIT_EXPECT_EQ(test, unplug(100, 20), -EINVAL);
	KUNIT_EXPECT_EQ(test, unplug(99, 11), -EINVAL);
	KUNIT_EXPECT_EQ(test, unplug(200, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, unplug(100, 0), -EINVAL);
	expect_same(test, &before);
	KUNIT_EXPECT_EQ(test, unplug(110, 10), 0);
	KUNIT_EXPECT_EQ(test, unplug(110, 10), -EINVAL);
	KUNIT_EXPECT_EQ(test, unplug(100, 10), 0);
	fix_teardown();
}

static void is_used_last(struct kunit *test)
{
	fix_reserve(test, (struct fix_chunks[]){ { 64, 2 }, { 0 } });
	KUNIT_ASSERT_EQ(test, plug(32, 4), 0);
	expect_state(test, 32, 4, MEM_RESERVED);
	/* Though it lies lower. */
	KUNIT_EXPECT_EQ(test, fix_alloc(P), 64 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc(P), 65 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc(P), 32 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc(4 * P), PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_alloc(3 * P), 33 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc(1), PFN_NONE);
	/* What comes while there is nothing is found at once. */
	KUNIT_ASSERT_EQ(test, plug(200, 1), 0);
	KUNIT_EXPECT_EQ(test, fix_alloc(P), 200 * P);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

static void refuses_while_in_use(struct kunit *test)
{
	static struct picture before;
	size_t used[META_KINDS], now[META_KINDS];
	uint64_t at, far;

	fix_reserve(test, BOOT);
	KUNIT_ASSERT_EQ(test, plug(64, 64), 0);
	at = alloc_chunks(64, 64, 5);
	far = alloc_chunks(127, 1, 1);
	KUNIT_ASSERT_NE(test, at, PFN_NONE);
	KUNIT_ASSERT_NE(test, far, PFN_NONE);
	take_picture(&before);
	count_metadata(used);
	KUNIT_EXPECT_EQ(test, unplug(64, 64), -EBUSY);
	expect_same(test, &before);
	KUNIT_EXPECT_EQ(test, fix_free(at, 5), -1);
	KUNIT_EXPECT_EQ(test, unplug(64, 64), -EBUSY);
	expect_same(test, &before);
	count_metadata(now);
	KUNIT_EXPECT_EQ(test, memcmp(used, now, sizeof(used)), 0);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	/* It still serves. */
	at = alloc_chunks(64, 64, 3 * P);
	KUNIT_EXPECT_NE(test, at, PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_free(at, 3 * P), -1);
	KUNIT_EXPECT_EQ(test, fix_free(far, 1), -1);
	KUNIT_EXPECT_EQ(test, unplug(64, 64), 0);
	expect_state(test, 64, 64, MEM_NONE);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, fix_heap.frames_free);
	KUNIT_EXPECT_EQ(test, alloc_chunks(64, 64, 1), PFN_NONE);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* What a caller has claimed is his. */
static void refuses_callers_chunks(struct kunit *test)
{
	static struct picture before;

	fix_reserve(test, BOOT);
	KUNIT_ASSERT_EQ(test, plug(64, 8), 0);
	KUNIT_ASSERT_EQ(test, addrstate_move(&fix_map, MOVE_MAP, CHUNK_CALLER, chunk_pa(66),
					     2 * CHUNK_SIZE), 0);
	take_picture(&before);
	KUNIT_EXPECT_EQ(test, unplug(64, 8), -EBUSY);
	expect_same(test, &before);
	KUNIT_ASSERT_EQ(test, addrstate_move(&fix_map, MOVE_RELEASE, CHUNK_CALLER, chunk_pa(66),
					     CHUNK_SIZE), 0);
	KUNIT_ASSERT_EQ(test, addrstate_move(&fix_map, MOVE_FAULT, CHUNK_CALLER, chunk_pa(67),
					     CHUNK_SIZE), 0);
	KUNIT_EXPECT_EQ(test, unplug(64, 8), 0);
	expect_state(test, 64, 8, MEM_NONE);
	fix_teardown();
}

/* Rows: where blocks come, beside boot memory that ends in the middle of an arena. */
static void hundred_cycles_leak_nothing(struct kunit *test)
{
	static const struct fix_chunks rows[] = {
		{ 64, 64 }, { 40, 1 }, { 40, 24 }, { 41, 60 }, { 100, 3 }, { 60, 8 }, { 1000, 100 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct fix_chunks *row = &rows[i];
		static struct picture before;
		size_t used[META_KINDS] = { 0 }, now[META_KINDS];
		uint64_t reserved;

		fix_reserve(test, BOOT);
		KUNIT_ASSERT_EQ(test, fix_alloc(1), 0);
		take_picture(&before);
		reserved = fix_map.reserved[0];
		for (unsigned cycle = 0; cycle < 100; cycle++) {
			uint64_t all;

			KUNIT_ASSERT_EQ(test, plug(row->first, row->n), 0);
			all = alloc_chunks(row->first, row->n, (uint64_t)row->n * P);
			KUNIT_ASSERT_EQ(test, all, (uint64_t)row->first * P);
			KUNIT_ASSERT_EQ(test, fix_free(all, (uint64_t)row->n * P), -1);
			if (cycle % 3 == 1)
				KUNIT_EXPECT_GT(test, scavenge_heap(&fix_heap, 5 * CHUNK_SIZE), 0);
			KUNIT_ASSERT_EQ(test, unplug(row->first, row->n), 0);
			count_metadata(now);
			/* The index's second level stays: it belongs to 64 GiB. */
			if (!cycle)
				memcpy(used, now, sizeof(now));
			KUNIT_ASSERT_EQ_MSG(test, memcmp(used, now, sizeof(now)), 0,
					    "row %u cycle %u", i, cycle);
		}
		expect_same(test, &before);
		KUNIT_EXPECT_EQ(test, fix_map.reserved[0], reserved);
		KUNIT_EXPECT_EQ(test, fix_heap.scavenged, 0);
		KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
		fix_teardown();
	}
}

static void neighbours_in_one_arena(struct kunit *test)
{
	uint64_t boot, a, b;

	fix_reserve(test, BOOT);
	boot = alloc_chunks(39, 1, P);
	KUNIT_ASSERT_EQ(test, plug(40, 5), 0);
	KUNIT_ASSERT_EQ(test, plug(45, 5), 0);
	/* A run over both, and over boot memory. */
	a = fix_alloc_in(4 * P, 1, 43 * P, 50 * P);
	KUNIT_EXPECT_EQ(test, a, 43 * P);
	KUNIT_EXPECT_EQ(test, unplug(40, 5), -EBUSY);
	KUNIT_EXPECT_EQ(test, unplug(45, 5), -EBUSY);
	KUNIT_EXPECT_EQ(test, fix_free(a, 4 * P), -1);
	b = alloc_chunks(45, 5, 7);
	KUNIT_EXPECT_EQ(test, unplug(40, 5), 0);
	expect_state(test, 40, 5, MEM_NONE);
	expect_state(test, 39, 1, MEM_READY);
	KUNIT_EXPECT_EQ(test, fix_free(b, 7), -1);
	KUNIT_EXPECT_EQ(test, fix_free(boot, P), -1);
	KUNIT_EXPECT_EQ(test, unplug(45, 5), 0);
	KUNIT_EXPECT_EQ(test, alloc_chunks(39, 1, P), 39 * P);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* Each point on the way may fail: then everything is as before. */
static void fails_cleanly(struct kunit *test)
{
	static struct picture before;
	bool failed = true;

	fix_reserve(test, BOOT);
	KUNIT_ASSERT_EQ(test, fix_alloc(1), 0);
	take_picture(&before);
	for (unsigned nth = 1; failed && nth < 100; nth++) {
		mm_fail_nth(nth);
		failed = plug(41, 60) != 0;
		mm_fail_off();
		if (failed)
			expect_same(test, &before);
	}
	KUNIT_ASSERT_FALSE(test, failed);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(60 * P, 1, 41 * P, 101 * P), 41 * P);
	KUNIT_ASSERT_EQ(test, fix_free(41 * P, 60 * P), -1);
	failed = true;
	for (unsigned nth = 1; failed && nth < 100; nth++) {
		mm_fail_nth(nth);
		failed = unplug(41, 60) != 0;
		mm_fail_off();
		KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	}
	KUNIT_ASSERT_FALSE(test, failed);
	expect_same(test, &before);
	fix_teardown();
}

static void table_may_be_full(struct kunit *test)
{
	unsigned n = 0;

	if (chunk_pa(64 + 2 * MEMMAP_MAX_RANGES) > PFN_LIMIT << FRAME_SHIFT)
		kunit_skip(test, "too few addresses");
	fix_reserve(test, BOOT);
	while (n < MEMMAP_MAX_RANGES && !plug(64 + 2 * n, 1))
		n++;
	KUNIT_EXPECT_EQ(test, n, MEMMAP_MAX_RANGES - 1);
	KUNIT_EXPECT_EQ(test, plug(64 + 2 * n, 1), -ENOSPC);
	for (unsigned i = 0; i < n; i++)
		KUNIT_ASSERT_EQ(test, unplug(64 + 2 * ((i * 7) % n), 1), 0);
	KUNIT_EXPECT_EQ(test, fix_map.table->n, 1);
	fix_teardown();
}

/* ---- Readers beside a writer ---- */

#define READERS 3

static struct kunit *reading;
static uint32_t stop_reading;

static void check_states(void)
{
	/* Boot memory is there whatever comes and goes beside it. */
	for (unsigned c = 0; c < 40; c += 13)
		KUNIT_EXPECT_NE(reading, memmap_state(&fix_map, chunk_pa(c)), MEM_NONE);
	for (unsigned c = 40; c < 300; c += 7)
		memmap_state(&fix_map, chunk_pa(c));
}

static int check_run(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	phys_addr_t *last = arg;

	(void)s;
	KUNIT_EXPECT_GE(reading, base, *last);
	*last = base + size;
	return 0;
}

static void read_all_the_time(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop_reading)) {
		phys_addr_t last = 0;

		check_states();
		memmap_walk(&fix_map, check_run, &last);
		task_yield();
	}
}

static void readers_beside_a_writer(struct kunit *test)
{
	struct task *task[READERS];
	unsigned n = 0;

	fix_reserve(test, BOOT);
	reading = test;
	atomic_store(&stop_reading, 0);
	for (unsigned cpu = 1; cpu < cpu_count() && n < READERS; cpu++)
		task[n++] = task_start(cpu, read_all_the_time, NULL, "reader");
	for (unsigned i = 0; i < 15; i++) {
		KUNIT_ASSERT_EQ(test, plug(40, 30 + i % 40), 0);
		KUNIT_ASSERT_EQ(test, plug(200, 64), 0);
		KUNIT_ASSERT_EQ(test, fix_alloc_in(40 * P, 1, 200 * P, 264 * P), 200 * P);
		KUNIT_EXPECT_EQ(test, unplug(200, 64), -EBUSY);
		KUNIT_ASSERT_EQ(test, fix_free(200 * P, 40 * P), -1);
		KUNIT_ASSERT_EQ(test, unplug(200, 64), 0);
		KUNIT_ASSERT_EQ(test, unplug(40, 30 + i % 40), 0);
	}
	atomic_store(&stop_reading, 1);
	while (n)
		if (task[--n])
			task_join(task[n]);
	fix_teardown();
}

static struct kunit_case hotplug_cases[] = {
	KUNIT_CASE(says_no),
	KUNIT_CASE(is_used_last),
	KUNIT_CASE(refuses_while_in_use),
	KUNIT_CASE(refuses_callers_chunks),
	KUNIT_CASE(hundred_cycles_leak_nothing),
	KUNIT_CASE(neighbours_in_one_arena),
	KUNIT_CASE(fails_cleanly),
	KUNIT_CASE(table_may_be_full),
	KUNIT_CASE(readers_beside_a_writer),
	{},
};

static struct kunit_suite hotplug_suite = {
	.name = "hotplug",
	.test_cases = hotplug_cases,
};
kunit_test_suite(hotplug_suite);
