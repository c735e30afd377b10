// SPDX-License-Identifier: MIT
/*
 * The memory map: states told by ranges and by arenas, walks, chunks that
 * several ranges share, on made-up addresses; then the machine's own.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>
#include <spanheap/state.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/addrstate.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE
#define A ARENA_SIZE
#define METADATA (1UL << 20)
#define SEEN_MAX 64

static struct memmap map;
static void *metadata;

struct seen {
	phys_addr_t base;
	uint64_t size;
	enum mem_state state;
};

static struct seen seen[SEEN_MAX];
static unsigned nseen;

static int see(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	int *stop_after = arg;

	if (nseen < SEEN_MAX)
		seen[nseen++] = (struct seen){ base, size, s };
	return stop_after && --*stop_after == 0 ? 77 : 0;
}

static void make_map(struct kunit *test, const struct mem_range *ranges, size_t n)
{
	memset(&map, 0, sizeof(map));
	map.tracked_only = true;
	metadata = alloc_pages_exact(METADATA, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, metadata);
	meta_feed(&map.pool[0], metadata, METADATA);
	KUNIT_ASSERT_EQ(test, memmap_init(&map, ranges, n), 0);
}

static void memmap_exit(struct kunit *test)
{
	(void)test;
	free_pages_exact(metadata, METADATA);
	metadata = NULL;
}

static void expect_walk(struct kunit *test, const struct seen *want, unsigned n)
{
	nseen = 0;
	KUNIT_EXPECT_EQ(test, memmap_walk(&map, see, NULL), 0);
	KUNIT_EXPECT_EQ(test, nseen, n);
	for (unsigned i = 0; i < MIN(n, nseen); i++) {
		KUNIT_EXPECT_EQ_MSG(test, seen[i].base, want[i].base, "run %u", i);
		KUNIT_EXPECT_EQ_MSG(test, seen[i].size, want[i].size, "run %u", i);
		KUNIT_EXPECT_EQ_MSG(test, seen[i].state, want[i].state, "run %u", i);
	}
}

/* Ranges of every kind, most of whose borders lie inside a chunk or an arena. */
#define BASE (16 * A)

static const struct mem_range mixed[] = {
	{ .base = BASE, .size = 3 * F, .use = MEM_USE_FREE },
	{ .base = BASE + 3 * F, .size = 2 * F, .use = MEM_USE_KEPT },
	{ .base = BASE + 5 * F, .size = F, .use = MEM_USE_BOOT },
	{ .base = BASE + 6 * F, .size = C - 6 * F, .use = MEM_USE_FREE },
	{ .base = BASE + C, .size = C, .use = MEM_USE_FREE },
	/* a hole of one frame, then RAM over the end of the arena */
	{ .base = BASE + 2 * C + F, .size = A, .use = MEM_USE_FREE },
	/* a hole; RAM that starts and ends in the middle of a chunk */
	{ .base = BASE + 4 * A + C / 2, .size = C, .use = MEM_USE_BOOT },
	{ .base = BASE + 4 * A + C / 2 + C, .size = 7 * F, .use = MEM_USE_KEPT },
	{ .base = BASE + 4 * A + C / 2 + C + 7 * F, .size = 2 * F, .use = MEM_USE_FREE },
};

static const struct seen mixed_walk[] = {
	{ BASE, 3 * F, MEM_RESERVED },
	{ BASE + 3 * F, 2 * F, MEM_NONE },
	{ BASE + 5 * F, F, MEM_READY },
	{ BASE + 6 * F, 2 * C - 6 * F, MEM_RESERVED },
	{ BASE + 2 * C + F, A, MEM_RESERVED },
	{ BASE + 4 * A + C / 2, C, MEM_READY },
	{ BASE + 4 * A + C / 2 + C, 7 * F, MEM_NONE },
	{ BASE + 4 * A + C / 2 + C + 7 * F, 2 * F, MEM_RESERVED },
};

static void walk_merges_ranges(struct kunit *test)
{
	make_map(test, mixed, ARRAY_SIZE(mixed));
	expect_walk(test, mixed_walk, ARRAY_SIZE(mixed_walk));
}

/* What ranges say and what the arenas made from them say is the same, to the frame. */
static void ranges_and_arenas_agree(struct kunit *test)
{
	const phys_addr_t end = BASE + 5 * A;
	static uint8_t state[5 * A / F];

	make_map(test, mixed, ARRAY_SIZE(mixed));
	for (phys_addr_t pa = BASE; pa < end; pa += F)
		state[(pa - BASE) / F] = (uint8_t)memmap_state(&map, pa);
	for (unsigned i = 0; i < ARRAY_SIZE(mixed); i++) {
		const struct mem_range *r = &mixed[i];

		KUNIT_ASSERT_NOT_NULL(test, memmap_arena(&map, r->base));
		KUNIT_ASSERT_NOT_NULL(test, memmap_arena(&map, r->base + r->size - F));
		/* Half by arenas, half by ranges: the walk does not show the seam. */
		expect_walk(test, mixed_walk, ARRAY_SIZE(mixed_walk));
	}
	for (phys_addr_t pa = BASE; pa < end; pa += F)
		KUNIT_ASSERT_EQ_MSG(test, memmap_state(&map, pa), state[(pa - BASE) / F],
				    "frame %u", (unsigned)((pa - BASE) / F));
	KUNIT_EXPECT_EQ(test, memmap_state(&map, BASE - 1), MEM_NONE);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, end), MEM_NONE);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, BASE + 3 * F - 1), MEM_RESERVED);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, ~0ULL), MEM_NONE);
}

static void walk_stops_when_told(struct kunit *test)
{
	make_map(test, mixed, ARRAY_SIZE(mixed));
	for (int after = 1; after <= (int)ARRAY_SIZE(mixed_walk); after++) {
		int countdown = after;

		nseen = 0;
		KUNIT_EXPECT_EQ(test, memmap_walk(&map, see, &countdown), 77);
		KUNIT_EXPECT_EQ(test, nseen, after);
	}
}

static void walk_of_nothing(struct kunit *test)
{
	make_map(test, NULL, 0);
	expect_walk(test, NULL, 0);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, 0), MEM_NONE);
	KUNIT_EXPECT_EQ(test, addrstate_move(&map, MOVE_MAP, CHUNK_CALLER, 0, F), -EBUSY);
	KUNIT_EXPECT_EQ(test, addrstate_move(&map, MOVE_RESERVE, CHUNK_CALLER, 0, F), -EINVAL);
}

/* Moves in chunks that ranges share stop at what is not theirs. */
static void moves_in_shared_chunks(struct kunit *test)
{
	const phys_addr_t tail = BASE + 4 * A + C / 2 + C + 7 * F;

	make_map(test, mixed, ARRAY_SIZE(mixed));
	/* A chunk with memory of the boot is the boot's. */
	KUNIT_EXPECT_EQ(test, addrstate_move(&map, MOVE_MAP, CHUNK_CALLER, BASE, F), -EBUSY);
	KUNIT_EXPECT_EQ(test, addrstate_move(&map, MOVE_MAP, CHUNK_CALLER, tail, F), -EBUSY);
	/* Over a hole of one frame. */
	KUNIT_EXPECT_EQ(test, addrstate_move(&map, MOVE_MAP, CHUNK_CALLER, BASE + 2 * C - F, 3 * F),
			-EBUSY);
	expect_walk(test, mixed_walk, ARRAY_SIZE(mixed_walk));
	KUNIT_EXPECT_EQ(test, addrstate_move(&map, MOVE_MAP, CHUNK_CALLER, BASE + C, C), 0);
	KUNIT_EXPECT_EQ(test, addrstate_move(&map, MOVE_MAP, CHUNK_CALLER, BASE + 2 * C + F, A), 0);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, BASE + C - F), MEM_RESERVED);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, BASE + C), MEM_PREPARED);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, BASE + 2 * C), MEM_NONE);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, BASE + 2 * C + A), MEM_PREPARED);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, BASE + 2 * C + A + F), MEM_NONE);
}

/* Every frame for itself, against an array. */
static void random_states(struct kunit *test)
{
	static const struct mem_range two[] = { { .base = BASE + A - 2 * C, .size = 4 * C } };
	static uint8_t want[4 * C / F];
	uint64_t rng = 0x5eed0031;

	make_map(test, two, 1);
	memset(want, MEM_RESERVED, sizeof(want));
	for (unsigned op = 0; op < 4000; op++) {
		static const uint8_t to[] = { MEM_RESERVED, MEM_PREPARED, MEM_READY,
					      MEM_PREPARED, MEM_RESERVED, MEM_NONE };
		static const uint8_t from[] = { 1, 2, 4, 8, 12, 14 };
		enum mem_move move = (enum mem_move)(fix_rng(&rng) % 6);
		unsigned first = fix_rng(&rng) % (ARRAY_SIZE(want) - 1);
		unsigned n =
			1 + fix_rng(&rng) % (fix_rng(&rng) % 3 ? 40 : ARRAY_SIZE(want) - first);
		bool legal = true;
		int err;

		n = MIN(n, (unsigned)ARRAY_SIZE(want) - first);
		for (unsigned i = first; i < first + n; i++)
			legal = legal && from[move] >> want[i] & 1;
		err = addrstate_move(&map, move, CHUNK_CALLER, two[0].base + first * F, n * F);
		KUNIT_ASSERT_EQ(test, err, legal ? 0 : -EBUSY);
		if (legal)
			memset(want + first, to[move], n);
		if (op % 64)
			continue;
		for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
			KUNIT_ASSERT_EQ(test, memmap_state(&map, two[0].base + i * F), want[i]);
	}
}

/* ---- Chunks that belong to two nodes ---- */

/* A chunk has one node: all of its frames are in that node's heap, whoever named them. */
static void border_of_nodes_inside_a_chunk(struct kunit *test)
{
	static const struct mem_range ranges[] = {
		{ .base = BASE, .size = C + C / 2, .node = 0 },
		{ .base = BASE + C + C / 2, .size = 2 * C, .node = 1 },
		{ .base = BASE + 3 * C + C / 2, .size = 3 * F, .node = 2 },
		{ .base = BASE + 3 * C + C / 2 + 3 * F, .size = C, .node = 3 },
	};
	struct ram_range r;

	make_map(test, ranges, ARRAY_SIZE(ranges));
	for (phys_addr_t at = 0; memmap_range(&map, at, &r); at = r.base + r.size) {
		for (phys_addr_t pa = r.base; pa < r.base + r.size; pa += F) {
			struct chunk *chunk = memmap_chunk(&map, pa);

			KUNIT_ASSERT_NOT_NULL(test, chunk);
			KUNIT_ASSERT_EQ_MSG(test, chunk->node, r.node, "frame 0x%llx",
					    (unsigned long long)pa);
		}
	}
	expect_walk(test, (struct seen[]){ { BASE, 4 * C + C / 2 + 3 * F, MEM_RESERVED } }, 1);
}

/* ---- Races ---- */

struct flipper {
	phys_addr_t base;
	uint32_t stop, rounds;
};

/* Frame 0 alone is ever Ready. */
static void flip_one_frame(void *arg)
{
	struct flipper *f = arg;

	while (!atomic_load(&f->stop)) {
		addrstate_move(&map, MOVE_USED, CHUNK_CALLER, f->base, F);
		addrstate_move(&map, MOVE_UNUSED, CHUNK_CALLER, f->base, F);
		atomic_store_relaxed(&f->rounds, f->rounds + 1);
	}
}

struct sighting {
	phys_addr_t base;
	uint64_t wrong, total;
};

static int look_for_ready(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	struct sighting *sight = arg;

	sight->total += size;
	sight->wrong += s == MEM_READY && base + size > sight->base + F;
	return 0;
}

/* A walk says of each frame what it was at some moment of the walk. */
static void walk_sees_before_or_after(struct kunit *test)
{
	static const struct mem_range one[] = { { .base = BASE, .size = 2 * C } };
	struct flipper f = { .base = BASE };
	struct sighting sight = { .base = BASE };
	struct task *task;

	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	make_map(test, one, 1);
	KUNIT_ASSERT_EQ(test, addrstate_move(&map, MOVE_MAP, CHUNK_CALLER, BASE, 2 * C), 0);
	task = task_start(1, flip_one_frame, &f, "flipper");
	KUNIT_ASSERT_NOT_NULL(test, task);
	while (!atomic_load(&f.rounds))
		port_relax();
	for (unsigned i = 0; i < 400000 && atomic_load(&f.rounds) < 20000; i++) {
		sight.total = 0;
		memmap_walk(&map, look_for_ready, &sight);
		KUNIT_EXPECT_EQ(test, sight.total, 2 * C);
	}
	atomic_store(&f.stop, 1);
	task_join(task);
	KUNIT_EXPECT_EQ(test, sight.wrong, 0);
}

/* ---- The machine's ---- */

static int allocate_in_walk(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	void *p = alloc_pages_exact(F, GFP_KERNEL);

	(void)base;
	(void)s;
	if (!p)
		return -ENOMEM;
	free_pages_exact(p, F);
	*(uint64_t *)arg += size;
	return 0;
}

/* Ascending, disjoint, merged; no lock is held, so that the visitor may allocate. */
static void walk_of_the_machine(struct kunit *test)
{
	uint64_t total = 0, sum = 0;
	phys_addr_t end = 0;

	metadata = NULL;
	nseen = 0;
	KUNIT_EXPECT_EQ(test, mem_walk(see, NULL), 0);
	KUNIT_ASSERT_GT(test, nseen, 0);
	for (unsigned i = 0; i < nseen; i++) {
		KUNIT_EXPECT_GT(test, seen[i].size, 0);
		KUNIT_EXPECT_EQ(test, (seen[i].base | seen[i].size) % F, 0);
		KUNIT_EXPECT_GE(test, seen[i].base, end);
		if (i && seen[i].base == end)
			KUNIT_EXPECT_NE(test, seen[i].state, seen[i - 1].state);
		KUNIT_EXPECT_EQ(test, mem_state(seen[i].base), seen[i].state);
		KUNIT_EXPECT_EQ(test, mem_state(seen[i].base + seen[i].size - 1), seen[i].state);
		end = seen[i].base + seen[i].size;
		total += seen[i].size;
	}
	KUNIT_EXPECT_EQ(test, mem_walk(allocate_in_walk, &sum), 0);
	if (nseen < SEEN_MAX)
		KUNIT_EXPECT_EQ(test, sum, total);
}

/* Whatever memblock_close() may give is taken; what is more is refused. */
static void as_many_runs_as_memblock(struct kunit *test)
{
	static struct mem_range runs[MEMMAP_MAX_RANGES + 1];

	static_assert(MEMMAP_MAX_RANGES > MEMBLOCK_MAX_RUNS, "room for what arrives later");
	for (unsigned i = 0; i < ARRAY_SIZE(runs); i++)
		runs[i] = (struct mem_range){ .base = i * 2 * F, .size = F, .use = MEM_USE_FREE };
	make_map(test, runs, MEMBLOCK_MAX_RUNS);
	KUNIT_EXPECT_EQ(test, map.reserved[0], MEMBLOCK_MAX_RUNS);
	KUNIT_EXPECT_EQ(test, memmap_state(&map, runs[MEMBLOCK_MAX_RUNS - 1].base), MEM_RESERVED);
	memset(&map, 0, sizeof(map));
	KUNIT_EXPECT_EQ(test, memmap_init(&map, runs, ARRAY_SIZE(runs)), -ENOSPC);
}

static struct kunit_case memmap_cases[] = {
	KUNIT_CASE(walk_merges_ranges),
	KUNIT_CASE(ranges_and_arenas_agree),
	KUNIT_CASE(walk_stops_when_told),
	KUNIT_CASE(walk_of_nothing),
	KUNIT_CASE(moves_in_shared_chunks),
	KUNIT_CASE(random_states),
	KUNIT_CASE(as_many_runs_as_memblock),
	KUNIT_CASE(border_of_nodes_inside_a_chunk),
	KUNIT_CASE_SLOW(walk_sees_before_or_after),
	KUNIT_CASE(walk_of_the_machine),
	{},
};

static struct kunit_suite memmap_suite = {
	.name = "memmap",
	.exit = memmap_exit,
	.test_cases = memmap_cases,
};
kunit_test_suite(memmap_suite);
