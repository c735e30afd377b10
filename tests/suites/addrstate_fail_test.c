// SPDX-License-Identifier: MIT
/*
 * Moves that run out of memory in the middle: every point inside fails once, one
 * after another; each time the move says -ENOMEM and nothing has changed.
 */
#include <spanheap/fault.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "mm/addrstate.h"
#include "state_fixture.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE
#define MOST_POINTS 200

static struct walk_table before, after;

static bool same_count(const struct meta_count *a, const struct meta_count *b)
{
	return !memcmp(a->used, b->used, sizeof(a->used));
}

/* Return: how often it failed. */
static unsigned fail_until_done(struct kunit *test, enum state_move move, phys_addr_t base,
				uint64_t size, bool count)
{
	unsigned n;

	for (n = 1; n < MOST_POINTS; n++) {
		struct meta_count then, now;
		int err;

		walk_save(&before);
		then = meta_count();
		mm_fail_nth(n);
		err = state_move(move, base, size);
		mm_fail_off();
		if (!err)
			break;
		walk_save(&after);
		now = meta_count();
		KUNIT_EXPECT_EQ_MSG(test, err, -ENOMEM, "%s, point %u", state_move_name(move), n);
		KUNIT_EXPECT_TRUE_MSG(test, walk_same(test, &before, &after), "%s, point %u",
				      state_move_name(move), n);
		if (count)
			KUNIT_EXPECT_TRUE_MSG(test, same_count(&then, &now), "%s, point %u",
					      state_move_name(move), n);
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
	KUNIT_EXPECT_LT(test, n, MOST_POINTS);
	return n - 1;
}

struct range {
	const char *name;
	uint64_t first, size;
};

static const struct range ranges[] = {
	{ "a chunk", 0, C },
	{ "a frame", 3 * F, F },
	{ "a frame of each of two chunks", C - F, 2 * F },
	{ "end, whole, start", C - 5 * F, C + 9 * F },
};

static void describe_range(const struct range *range, char *desc)
{
	memcpy(desc, range->name, strlen(range->name) + 1);
}

KUNIT_ARRAY_PARAM(range, ranges, describe_range)

/* All moves there and back. What the first round had to make is there in the second. */
static void every_point_of_every_move(struct kunit *test)
{
	static const enum state_move moves[] = { DO_MAP, DO_USED, DO_UNUSED,  DO_USED,	 DO_FAULT,
						 DO_MAP, DO_USED, DO_RELEASE, DO_RESERVE };
	const struct range *r = test->param_value;
	phys_addr_t base = state_find(3 * C, C, 0) + r->first;

	KUNIT_ASSERT_NE(test, base, r->first);
	for (unsigned round = 0; round < 2; round++) {
		struct meta_count start = meta_count(), end;
		unsigned failed = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(moves); i++)
			failed += fail_until_done(test, moves[i], base, r->size, round > 0);
		end = meta_count();
		if (PORT_HAS_MMU)
			KUNIT_EXPECT_GT(test, failed, 0);
		if (round)
			KUNIT_EXPECT_TRUE(test, same_count(&start, &end));
		KUNIT_EXPECT_TRUE(test, state_all(base, r->size, MEM_RESERVED));
	}
}

/* A part of a large leaf: the frame for the table is what is missing. */
static void splitting_a_leaf(struct kunit *test)
{
	static const enum state_move out[] = { DO_UNUSED, DO_FAULT, DO_RELEASE };
	phys_addr_t base = state_find(2 * C, C, 0), at = base + C - F;

	KUNIT_ASSERT_NE(test, base, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(out); i++) {
		uint64_t *word = phys_to_virt(at);

		KUNIT_ASSERT_EQ(test, state_bring(base, 2 * C, MEM_RESERVED, MEM_READY), 0);
		*word = 0x1122334455667788ULL;
		mm_fail_nth(1);
		KUNIT_EXPECT_EQ(test, state_move(out[i], at, 2 * F), PORT_HAS_MMU ? -ENOMEM : 0);
		mm_fail_off();
		if (PORT_HAS_MMU) {
			/* Still there, and still what it was. */
			KUNIT_EXPECT_EQ(test, *word, 0x1122334455667788ULL);
			KUNIT_EXPECT_TRUE(test, state_all(base, 2 * C, MEM_READY));
			fail_until_done(test, out[i], at, 2 * F, false);
		}
		KUNIT_ASSERT_EQ(test, state_bring(at, 2 * F, mem_state(at), MEM_RESERVED), 0);
		KUNIT_ASSERT_EQ(test, mem_fault(base, C - F), 0);
		KUNIT_ASSERT_EQ(test, mem_fault(base + C + F, C - F), 0);
	}
}

static int note_top(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	struct walk_run *top = arg;

	if (s == MEM_RESERVED && size >= 2 * C)
		*top = (struct walk_run){ base, size, s };
	return 0;
}

/* Metadata is taken from the top; but not from what is being asked for just then. */
static void feeding_leaves_the_range_alone(struct kunit *test)
{
	for (unsigned whole = 0; whole < 2; whole++) {
		struct walk_run top = { 0 };
		struct meta_pool *pool;
		struct port_pool all = { 0 };
		struct ram_range r;
		phys_addr_t base;
		uint64_t size;
		int err;

		mem_walk(note_top, &top);
		KUNIT_ASSERT_NE(test, top.size, 0);
		size = round_down(top.base + top.size, C);
		base = whole ? round_up(top.base, C) : size - C;
		size -= base;
		if (size > 256UL << 20)
			continue;
		KUNIT_ASSERT_TRUE(test, memmap_range(&main_map, base, &r));
		pool = memmap_node_pool(&main_map, r.node);
		/* So low that any move must feed first, but for a record of where it feeds from. */
		meta_fill_tables(pool, &all, (meta_room(pool) - MIN(meta_room(pool), 5 * F)) / F);
		err = mem_map(base, size);
		/* There may be nothing besides. */
		KUNIT_EXPECT_EQ_MSG(test, err, whole && err ? -ENOMEM : 0, "0x%llx bytes",
				    (unsigned long long)size);
		if (!err) {
			KUNIT_EXPECT_TRUE(test, state_all(base, size, MEM_PREPARED));
			KUNIT_EXPECT_EQ(test, mem_fault(base, size), 0);
		}
		meta_return_tables(pool, &all);
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
}

static struct kunit_case fail_cases[] = {
	KUNIT_CASE_PARAM(every_point_of_every_move, range_gen_params),
	KUNIT_CASE(splitting_a_leaf),
	KUNIT_CASE(feeding_leaves_the_range_alone),
	{},
};

static struct kunit_suite fail_suite = {
	.name = "addrstate_fail",
	.test_cases = fail_cases,
};
kunit_test_suite(fail_suite);
