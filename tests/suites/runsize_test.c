// SPDX-License-Identifier: MIT
/*
 * Runs that grow and shrink where they are, on made-up chunks: a table, then
 * random operations against a map of frames. P is a chunk's worth of frames.
 */
#include <kunit/test.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/misuse.h"
#include "mm/runsize.h"

#define P CHUNK_FRAMES
#define CHUNKS 6 /* the fourth is a hole */

static bool extend(uint64_t frame, uint64_t n, uint64_t more)
{
	return runsize_extend(&fix_heap, FIX_PFN0 + frame, n, more, PFN_LIMIT, false);
}

static bool trim(uint64_t frame, uint64_t n, uint64_t keep)
{
	return runsize_trim(&fix_heap, FIX_PFN0 + frame, n, keep);
}

/* A run of @n at the start of the heap, the next one at @next; then @more frames for it. */
static const struct {
	const char *name;
	uint64_t n, next, more;
	bool grows;
} rows[] = {
	{ "by one", 1, 0, 1, true },
	{ "to the end of a word", 60, 0, 4, true },
	{ "over the end of a word", 60, 0, 5, true },
	{ "a single before a neighbour", 1, 1, 1, false },
	{ "up to a neighbour", 10, 20, 10, true },
	{ "one too many for a neighbour", 10, 20, 11, false },
	{ "to the end of the chunk", P - 1, 0, 1, true },
	{ "into the next chunk", P - 1, 0, 2, true },
	{ "a whole chunk, by one", P, 0, 1, true },
	{ "a whole chunk, by a whole one", P, 0, P, true },
	{ "over all of the next chunk", 1, 0, 2 * P + 7, true },
	{ "to the hole", 5, 0, 3 * P - 5, true },
	{ "into the hole", 5, 0, 3 * P - 4, false },
	{ "beyond the hole", 5, 0, 4 * P, false },
	{ "more than there is", 5, 0, ~0ULL, false },
	{ "more than there is, around", 5, 0, -(uint64_t)4, false },
};

static void extend_by_table(struct kunit *test)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t n = rows[i].n, more = rows[i].more, used;

		fix_setup(test, (struct fix_chunks[]){ { 0, 3 }, { 4, 2 }, { 0 } });
		KUNIT_ASSERT_EQ(test, fix_alloc_in(n, 1, 0, P * CHUNKS), 0);
		if (rows[i].next)
			KUNIT_ASSERT_EQ(test, fix_alloc_in(3, 1, rows[i].next, P), rows[i].next);
		used = fix_heap.frames - fix_heap.frames_free;
		KUNIT_EXPECT_EQ_MSG(test, extend(0, n, more), rows[i].grows, "%s", rows[i].name);
		if (rows[i].grows)
			n += more, used += more;
		KUNIT_EXPECT_EQ_MSG(test, fix_heap.frames - fix_heap.frames_free, used, "%s",
				    rows[i].name);
		KUNIT_EXPECT_EQ_MSG(test, pageheap_check(&fix_heap), 0, "%s", rows[i].name);
		/* It is one run now: nothing but the whole of it can be freed. */
		KUNIT_EXPECT_EQ(test, fix_free(0, n + 1), MM_PAGE_WRONG_SIZE);
		if (n > 1)
			KUNIT_EXPECT_EQ(test, fix_free(n - 1, 1), MM_PAGE_INVALID_FREE);
		KUNIT_EXPECT_EQ_MSG(test, fix_free(0, n), -1, "%s", rows[i].name);
		KUNIT_EXPECT_EQ(test, fix_free(0, n), MM_PAGE_DOUBLE_FREE);
		fix_teardown();
	}
}

/* What is trimmed off is free at once, and the rest is a run of its own length. */
static void trim_and_back(struct kunit *test)
{
	static const uint64_t keeps[] = { 1, 2, 63, 64, 65, P - 1, P, P + 1, 2 * P, 3 * P - 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(keeps); i++) {
		uint64_t keep = keeps[i];

		fix_setup(test, (struct fix_chunks[]){ { 0, 3 }, { 0 } });
		KUNIT_ASSERT_EQ(test, fix_alloc(3 * P), 0);
		KUNIT_EXPECT_TRUE(test, trim(0, 3 * P, keep));
		KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 3 * P - keep);
		KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
		KUNIT_EXPECT_EQ(test, fix_free(0, 3 * P), MM_PAGE_WRONG_SIZE);
		KUNIT_EXPECT_EQ(test, fix_free(keep, 3 * P - keep), MM_PAGE_DOUBLE_FREE);
		KUNIT_EXPECT_EQ(test, fix_alloc(1), keep);
		KUNIT_EXPECT_FALSE(test, extend(0, keep, 1));
		KUNIT_EXPECT_EQ(test, fix_free(keep, 1), -1);
		KUNIT_EXPECT_TRUE(test, extend(0, keep, 3 * P - keep));
		KUNIT_EXPECT_EQ(test, fix_free(0, 3 * P), -1);
		KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
		fix_teardown();
	}
}

/* Below a limit, and not into what is kept for others. */
static void extend_within_limits(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 1 }, { 0 } });
	KUNIT_ASSERT_EQ(test, fix_alloc(10), 0);
	KUNIT_EXPECT_FALSE(test,
			   runsize_extend(&fix_heap, FIX_PFN0, 10, 5, FIX_PFN0 + 14, false));
	KUNIT_EXPECT_TRUE(test, runsize_extend(&fix_heap, FIX_PFN0, 10, 5, FIX_PFN0 + 15, false));
	KUNIT_EXPECT_FALSE(test, runsize_extend(&fix_heap, FIX_PFN0, 15, 1, FIX_PFN0, false));
	fix_heap.floor[FIX_WINDOW] = P - 20;
	KUNIT_EXPECT_FALSE(test, runsize_extend(&fix_heap, FIX_PFN0, 15, 6, PFN_LIMIT, true));
	KUNIT_EXPECT_TRUE(test, runsize_extend(&fix_heap, FIX_PFN0, 15, 5, PFN_LIMIT, true));
	KUNIT_EXPECT_FALSE(test, runsize_extend(&fix_heap, FIX_PFN0, 20, 1, PFN_LIMIT, true));
	KUNIT_EXPECT_TRUE(test, runsize_extend(&fix_heap, FIX_PFN0, 20, 1, PFN_LIMIT, false));
	KUNIT_EXPECT_EQ(test, fix_free(0, 21), -1);
	fix_teardown();
}

/* Frames that were zero when they were taken are not said to be so afterwards. */
static void taken_frames_are_not_zero(struct kunit *test)
{
	struct run_wanted want = { .n = 8, .align = 1, .lo = FIX_PFN0, .hi = FIX_PFN0 + P };
	bool zero = false;

	fix_reserve(test, (struct fix_chunks[]){ { 0, 1 }, { 0 } });
	KUNIT_ASSERT_EQ(test, pageheap_alloc(&fix_heap, &want, &zero), FIX_PFN0);
	KUNIT_EXPECT_TRUE(test, extend(0, 8, 8));
	KUNIT_EXPECT_TRUE(test, trim(0, 16, 4));
	KUNIT_ASSERT_EQ(test, pageheap_alloc(&fix_heap, &want, &zero), FIX_PFN0 + 4);
	KUNIT_EXPECT_FALSE(test, zero);
	fix_teardown();
}

static struct {
	uint64_t first, n;
} live[CHUNKS * P];
static bool taken[CHUNKS * P];

static bool all_free(uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		if (i >= CHUNKS * P || taken[i])
			return false;
	return true;
}

static void random_against_a_map(struct kunit *test)
{
	uint64_t rng = 0x5eed0011, grown = 0, trimmed = 0;
	unsigned nlive = 0;

	fix_setup(test, (struct fix_chunks[]){ { 0, 3 }, { 4, 2 }, { 0 } });
	memset(taken, 0, sizeof(taken));
	memset(taken + 3 * P, true, P);
	for (unsigned op = 0; op < 8000; op++) {
		uint64_t r = fix_rng(&rng), n = 1 + fix_rng(&rng) % (r % 32 ? 40 : P + 40);
		unsigned i = nlive ? (unsigned)(fix_rng(&rng) % nlive) : 0;

		if (!nlive || r >> 8 & 1) {
			uint64_t at = fix_alloc_in(n, 1, 0, CHUNKS * P);

			if (at != PFN_NONE && nlive < ARRAY_SIZE(live)) {
				KUNIT_ASSERT_TRUE(test, all_free(at, n));
				memset(taken + at, true, n);
				live[nlive].first = at, live[nlive++].n = n;
				continue;
			}
			/* Full: make room. */
			r = 0;
		}
		switch (r >> 9 & 3) {
		case 0:
			KUNIT_ASSERT_EQ(test, fix_free(live[i].first, live[i].n), -1);
			memset(taken + live[i].first, false, live[i].n);
			live[i] = live[--nlive];
			break;
		case 1:
			if (live[i].n == 1)
				break;
			n = 1 + n % (live[i].n - 1);
			KUNIT_ASSERT_TRUE(test, trim(live[i].first, live[i].n, n));
			memset(taken + live[i].first + n, false, live[i].n - n);
			live[i].n = n;
			trimmed++;
			break;
		default:
			KUNIT_ASSERT_EQ_MSG(test, extend(live[i].first, live[i].n, n),
					    all_free(live[i].first + live[i].n, n), "op %u", op);
			if (!all_free(live[i].first + live[i].n, n))
				break;
			memset(taken + live[i].first + live[i].n, true, n);
			live[i].n += n;
			grown++;
		}
		if (op % 500 == 0)
			KUNIT_ASSERT_EQ(test, pageheap_check(&fix_heap), 0);
	}
	KUNIT_EXPECT_GT(test, grown, 50);
	KUNIT_EXPECT_GT(test, trimmed, 50);
	while (nlive--)
		KUNIT_ASSERT_EQ(test, fix_free(live[nlive].first, live[nlive].n), -1);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, fix_heap.frames);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

static struct kunit_case runsize_cases[] = {
	KUNIT_CASE(extend_by_table),
	KUNIT_CASE(trim_and_back),
	KUNIT_CASE(extend_within_limits),
	KUNIT_CASE(taken_frames_are_not_zero),
	KUNIT_CASE(random_against_a_map),
	{},
};

static struct kunit_suite runsize_suite = { .name = "runsize", .test_cases = runsize_cases };
kunit_test_suite(runsize_suite);
