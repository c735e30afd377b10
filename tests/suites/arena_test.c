// SPDX-License-Identifier: MIT
/*
 * Arenas: found by address, made once however many CPUs ask for one; and the
 * states of a chunk's frames, in packed form, against an array.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/memmap.h"

#define F FRAME_SIZE
#define METADATA (1UL << 20)
#define NARENAS 48

static struct meta_pool pool;
static struct memmap map;
static void *metadata;

static int arena_init(struct kunit *test)
{
	static const struct mem_range all[] = { { .size = (uint64_t)NARENAS * ARENA_SIZE } };

	(void)test;
	memset(&map, 0, sizeof(map));
	memset(&pool, 0, sizeof(pool));
	map.tracked_only = true;
	metadata = alloc_pages_exact(2 * METADATA, GFP_KERNEL);
	if (!metadata)
		return -ENOMEM;
	meta_feed(&map.pool[0], metadata, METADATA);
	meta_feed(&pool, (uint8_t *)metadata + METADATA, METADATA);
	return memmap_init(&map, all, 1);
}

static void arena_exit(struct kunit *test)
{
	(void)test;
	free_pages_exact(metadata, 2 * METADATA);
}

/* ---- Finding ---- */

static void found_from_any_address(struct kunit *test)
{
	struct arena *arena[NARENAS];

	for (phys_addr_t nr = 0; nr < NARENAS; nr++)
		KUNIT_EXPECT_NULL(test, arena_find(&map.index, nr << ARENA_SHIFT));
	for (phys_addr_t nr = 0; nr < NARENAS; nr++) {
		arena[nr] = memmap_arena(&map, (nr << ARENA_SHIFT) + nr * 12345);
		KUNIT_ASSERT_NOT_NULL(test, arena[nr]);
		KUNIT_EXPECT_EQ(test, arena[nr]->base, nr << ARENA_SHIFT);
	}
	for (phys_addr_t nr = 0; nr < NARENAS; nr++) {
		phys_addr_t base = nr << ARENA_SHIFT;

		KUNIT_EXPECT_PTR_EQ(test, arena_find(&map.index, base), arena[nr]);
		KUNIT_EXPECT_PTR_EQ(test, arena_find(&map.index, base + ARENA_SIZE - 1), arena[nr]);
		KUNIT_EXPECT_PTR_EQ(test, memmap_arena(&map, base + 99), arena[nr]);
		for (phys_addr_t i = 0; i < ARENA_CHUNKS; i++) {
			KUNIT_EXPECT_PTR_EQ(test, chunk_find(&map.index, base + i * CHUNK_SIZE),
					    &arena[nr]->chunk[i]);
			KUNIT_EXPECT_PTR_EQ(test,
					    chunk_find(&map.index, base + (i + 1) * CHUNK_SIZE - 1),
					    &arena[nr]->chunk[i]);
		}
	}
}

/* No address makes the lookup leave its tables. */
static void no_address_is_too_high(struct kunit *test)
{
	static const phys_addr_t high[] = { ~0ULL, 1ULL << 63, 1ULL << 52, PFN_LIMIT << FRAME_SHIFT,
					    (PFN_LIMIT << FRAME_SHIFT) + ARENA_SIZE };

	for (unsigned i = 0; i < ARRAY_SIZE(high); i++) {
		KUNIT_EXPECT_NULL(test, arena_find(&map.index, high[i]));
		KUNIT_EXPECT_NULL(test, chunk_find(&map.index, high[i]));
		KUNIT_EXPECT_NULL(test, memmap_chunk(&map, high[i]));
		KUNIT_EXPECT_EQ(test, memmap_state(&map, high[i]), MEM_NONE);
	}
	KUNIT_EXPECT_NULL(test, arena_find(&map.index, (PFN_LIMIT << FRAME_SHIFT) - 1));
}

struct maker {
	uint32_t *go;
	struct arena *arena[NARENAS];
	struct chunk_side *side[NARENAS];
};

static void make_all(void *arg)
{
	struct maker *m = arg;

	while (!atomic_load(m->go))
		task_yield();
	for (unsigned nr = 0; nr < NARENAS; nr++) {
		m->arena[nr] = memmap_arena(&map, (phys_addr_t)nr << ARENA_SHIFT);
		if (m->arena[nr])
			m->side[nr] = chunk_side_get(&m->arena[nr]->chunk[5], &map.pool[0]);
	}
}

/* All CPUs at once: one record for each arena, and none lost. */
static void made_once(struct kunit *test)
{
	static struct maker maker[PORT_MAX_CPUS];
	static struct task *task[PORT_MAX_CPUS];
	uint32_t go = 0;

	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		maker[cpu].go = &go;
		task[cpu] = task_start(cpu, make_all, &maker[cpu], "maker");
		KUNIT_EXPECT_NOT_NULL(test, task[cpu]);
	}
	atomic_store(&go, 1);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		if (!task[cpu])
			continue;
		task_join(task[cpu]);
		for (unsigned nr = 0; nr < NARENAS; nr++) {
			KUNIT_EXPECT_NOT_NULL(test, maker[cpu].arena[nr]);
			KUNIT_EXPECT_PTR_EQ(test, maker[cpu].arena[nr], maker[0].arena[nr]);
			KUNIT_EXPECT_NOT_NULL(test, maker[cpu].side[nr]);
			KUNIT_EXPECT_PTR_EQ(test, maker[cpu].side[nr], maker[0].side[nr]);
		}
	}
	KUNIT_EXPECT_EQ(test, map.pool[0].used[META_SIDE], NARENAS);
#ifndef CONFIG_FLAT_ARENAS
	KUNIT_EXPECT_EQ(test, map.pool[0].used[META_ARENA], NARENAS);
	KUNIT_EXPECT_EQ(test, map.pool[0].used[META_INDEX], 1);
#endif
}

/* ---- States of frames ---- */

static struct chunk chunk;
static uint8_t want[CHUNK_FRAMES];

static void expect_same(struct kunit *test, const char *what)
{
	unsigned f = 0;

	while (f < CHUNK_FRAMES && chunk_frame_state(&chunk, f) == want[f])
		f++;
	KUNIT_ASSERT_EQ_MSG(test, f, CHUNK_FRAMES, "%s", what);
}

static void set_range(struct kunit *test, unsigned first, unsigned n, enum mem_state state)
{
	chunk_set_states(&chunk, first, n, state);
	memset(want + first, state, n);
	expect_same(test, state == MEM_NONE ? "None" : "other");
}

/* At and around the borders of words. */
static void states_at_word_borders(struct kunit *test)
{
	static const unsigned at[] = { 0, 1, 30, 31, 32, 33, 63, 64, 65, 255, 480, 510, 511 };

	memset(&chunk, 0, sizeof(chunk));
	KUNIT_ASSERT_NOT_NULL(test, chunk_side_get(&chunk, &pool));
	memset(want, MEM_NONE, sizeof(want));
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		for (unsigned k = i; k < ARRAY_SIZE(at); k++) {
			unsigned first = at[i], n = at[k] - at[i] + 1;

			set_range(test, 0, CHUNK_FRAMES, MEM_RESERVED);
			KUNIT_EXPECT_EQ(test, chunk.state, MEM_RESERVED);
			set_range(test, first, n, MEM_READY);
			KUNIT_EXPECT_EQ(test, chunk.state,
					n == CHUNK_FRAMES ? MEM_READY : CHUNK_MIXED);
			KUNIT_EXPECT_EQ(test, chunk_state_run(&chunk, first), n);
			KUNIT_EXPECT_TRUE(test,
					  chunk_states_within(&chunk, first, n, 1U << MEM_READY));
			if (first)
				KUNIT_EXPECT_FALSE(test, chunk_states_within(&chunk, first - 1, n,
									     1U << MEM_READY));
			if (first + n < CHUNK_FRAMES)
				KUNIT_EXPECT_FALSE(test, chunk_states_within(&chunk, first, n + 1,
									     1U << MEM_READY));
			set_range(test, first, n, MEM_RESERVED);
			KUNIT_EXPECT_EQ(test, chunk.state, MEM_RESERVED);
		}
	}
}

static bool naive_within(unsigned first, unsigned n, unsigned allowed)
{
	for (unsigned f = first; f < first + n; f++)
		if (!(allowed >> want[f] & 1))
			return false;
	return true;
}

static unsigned naive_run(unsigned first, unsigned state)
{
	unsigned n = 0;

	while (first + n < CHUNK_FRAMES && want[first + n] == state)
		n++;
	return n;
}

static unsigned naive_last(unsigned first, unsigned end, unsigned n, unsigned state)
{
	for (unsigned f = CHUNK_FRAMES; f; f -= n)
		if (f <= end && f - n >= first && naive_within(f - n, n, 1U << state))
			return f - n;
	return CHUNK_FRAMES;
}

static void random_states(struct kunit *test)
{
	uint64_t rng = 0x5eed0071;

	memset(&chunk, 0, sizeof(chunk));
	KUNIT_ASSERT_NOT_NULL(test, chunk_side_get(&chunk, &pool));
	memset(want, MEM_NONE, sizeof(want));
	for (unsigned op = 0; op < 20000; op++) {
		uint64_t r = fix_rng(&rng);
		unsigned first = r % CHUNK_FRAMES,
			 n = 1 + (r >> 10) % (r >> 60 ? 20 : CHUNK_FRAMES);
		unsigned allowed = (r >> 24) % 16, state = (r >> 30) % 4;
		unsigned align = 1U << (r >> 36) % 10;

		n = MIN(n, CHUNK_FRAMES - first);
		if (r >> 32 & 1)
			set_range(test, first, n, (enum mem_state)((r >> 34) % 4));
		KUNIT_ASSERT_EQ(test, chunk_states_within(&chunk, first, n, allowed),
				naive_within(first, n, allowed));
		KUNIT_ASSERT_EQ(test, chunk_state_run(&chunk, first),
				naive_run(first, want[first]));
		KUNIT_ASSERT_EQ(test, chunk_run_in_state(&chunk, first, (enum mem_state)state),
				naive_run(first, state));
		KUNIT_ASSERT_EQ(test,
				chunk_last_in_state(&chunk, first, first + n, align,
						    (enum mem_state)state),
				naive_last(first, first + n, align, state));
		KUNIT_ASSERT_EQ(test, chunk.state == CHUNK_MIXED,
				naive_run(0, want[0]) != CHUNK_FRAMES);
	}
}

static struct kunit_case arena_cases[] = {
	KUNIT_CASE(found_from_any_address),
	KUNIT_CASE(no_address_is_too_high),
	KUNIT_CASE(made_once),
	KUNIT_CASE(states_at_word_borders),
	KUNIT_CASE(random_states),
	{},
};

static struct kunit_suite arena_suite = {
	.name = "arena",
	.init = arena_init,
	.exit = arena_exit,
	.test_cases = arena_cases,
};
kunit_test_suite(arena_suite);
