// SPDX-License-Identifier: MIT
/*
 * The summary tree by itself: chunks that are all free or not at all, so that no
 * bitmap is ever looked at, at addresses from the lowest to the highest; runs so
 * long that the summaries can no longer tell their length.
 */
#include <kunit/test.h>
#include <spanheap/page.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/sumtree.h"

#define P CHUNK_FRAMES
#define METADATA (1UL << 20)
#define FULL (SUM_FULL | sum_pack(P, P, P))
#define TOP_CHUNK ((1ULL << (46 - CHUNK_SHIFT)) - 1)

static struct meta_pool pool;
static struct sumtree tree;
static void *metadata;

static int sumtree_init(struct kunit *test)
{
	(void)test;
	memset(&pool, 0, sizeof(pool));
	memset(&tree, 0, sizeof(tree));
	metadata = alloc_pages_exact(METADATA, GFP_KERNEL);
	if (!metadata)
		return -ENOMEM;
	meta_feed(&pool, metadata, METADATA);
	return 0;
}

static void sumtree_exit(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, sumtree_check(&tree), 0);
	free_pages_exact(metadata, METADATA);
}

static bool set(uint64_t first, uint64_t n, bool free)
{
	for (uint64_t nr = first; nr < first + n; nr++) {
		struct sumnode *leaf = sumtree_leaf(&tree, nr, &pool);

		if (!leaf)
			return false;
		sumtree_update(leaf, nr, free ? FULL : 0);
	}
	return true;
}

/* In chunks, all of them; the answer is a frame. */
static uint64_t find_in(uint64_t n, uint64_t align, uint64_t lo, uint64_t hi)
{
	struct run_wanted want = { .n = n, .align = align, .lo = lo, .hi = hi };

	return sumtree_search(&tree, &want);
}

static uint64_t find(uint64_t n)
{
	return find_in(n, 1, 0, (TOP_CHUNK + 1) * P);
}

static void empty_tree(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, find(1), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, sumtree_top(&tree), 0);
	KUNIT_ASSERT_TRUE(test, set(77, 1, false));
	KUNIT_EXPECT_EQ(test, find(1), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, sumtree_top(&tree), 0);
}

/* The tree grows upwards when higher chunks come, whatever the order. */
static void grows_to_any_height(struct kunit *test)
{
	static const uint64_t chunks[] = {
		0,    7,    8,	     63,      64,      511,	      512,
		4095, 4096, 1 << 15, 1 << 18, 1 << 21, (1 << 24) + 5, TOP_CHUNK
	};

	for (unsigned down = 0; down < 2; down++) {
		memset(&tree, 0, sizeof(tree));
		for (unsigned i = 0; i < ARRAY_SIZE(chunks); i++) {
			unsigned k = down ? ARRAY_SIZE(chunks) - 1 - i : i;
			uint64_t lowest = down ? chunks[k] : chunks[0];

			KUNIT_ASSERT_TRUE(test, set(chunks[k], 1, true));
			KUNIT_EXPECT_EQ(test, find(1), lowest * P);
			KUNIT_EXPECT_EQ(test, find_in(P, P, chunks[k] * P, ~0ULL), chunks[k] * P);
			KUNIT_EXPECT_EQ(test, sumtree_check(&tree), 0);
		}
		/* Chunks 7 and 8, 63 and 64, ... touch, across nodes of every level. */
		for (unsigned i = 1; i < 9; i += 2)
			KUNIT_EXPECT_EQ(test, find_in(2 * P, 1, chunks[i] * P, ~0ULL),
					chunks[i] * P);
		KUNIT_EXPECT_EQ(test, find(2 * P + 1), SUM_NOT_FOUND);
		for (unsigned i = 0; i < ARRAY_SIZE(chunks); i++) {
			KUNIT_EXPECT_EQ(test, find(1), chunks[i] * P);
			KUNIT_ASSERT_TRUE(test, set(chunks[i], 1, false));
		}
		KUNIT_EXPECT_EQ(test, sumtree_top(&tree), 0);
	}
}

static void last_chunk_of_all(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, set(TOP_CHUNK - 1, 2, true));
	KUNIT_EXPECT_EQ(test, find(2 * P), (TOP_CHUNK - 1) * P);
	KUNIT_EXPECT_EQ(test, find(2 * P + 1), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, find_in(1, 1, (TOP_CHUNK + 1) * P - 1, ~0ULL),
			(TOP_CHUNK + 1) * P - 1);
	KUNIT_EXPECT_EQ(test, find_in(1, 1, (TOP_CHUNK + 1) * P, ~0ULL), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, find_in(1, 1ULL << 34, 1, ~0ULL), SUM_NOT_FOUND);
}

/*
 * More than 2^21 - 1 frames in a row: a summary only says "at least so many". Runs
 * of 5000 chunks (2,560,000 frames) and of 9000 around a node border.
 */
static void runs_beyond_the_summaries(struct kunit *test)
{
	const uint64_t a = 3, na = 5000, b = 8191 - 100, nb = 9000 - 4096;

	KUNIT_ASSERT_TRUE(test, set(a, na, true));
	KUNIT_EXPECT_EQ(test, sum_max(sumtree_top(&tree)), SUM_MAX);
	KUNIT_EXPECT_EQ(test, find(na * P), a * P);
	KUNIT_EXPECT_EQ(test, find(na * P - 1), a * P);
	KUNIT_EXPECT_EQ(test, find(na * P + 1), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, find(SUM_MAX), a * P);
	KUNIT_EXPECT_EQ(test, find(SUM_MAX + 1), a * P);
	KUNIT_EXPECT_EQ(test, find_in(SUM_MAX + 1, 1, (a + 7) * P, ~0ULL), (a + 7) * P);
	KUNIT_EXPECT_EQ(test, find_in(SUM_MAX + 1, 4096 * P, 0, ~0ULL), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, find_in(SUM_MAX + 1, 512 * P, 0, ~0ULL), 512 * P);
	KUNIT_EXPECT_EQ(test, find_in(na * P, 1, a * P, (a + na) * P), a * P);
	KUNIT_EXPECT_EQ(test, find_in(na * P, 1, a * P + 1, ~0ULL), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, find_in(na * P, 1, 0, (a + na) * P - 1), SUM_NOT_FOUND);
	/* Two long ones: the lower does for what fits, the upper for what is longer. */
	KUNIT_ASSERT_TRUE(test, set(b, nb, true));
	KUNIT_EXPECT_EQ(test, find(nb * P), a * P);
	KUNIT_ASSERT_TRUE(test, set(b + nb, 200, true));
	KUNIT_EXPECT_EQ(test, find((nb + 200) * P), b * P);
	KUNIT_EXPECT_EQ(test, find((nb + 200) * P + 1), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, find(na * P), a * P);
	/* A hole of one chunk in the middle of the lower one. */
	KUNIT_ASSERT_TRUE(test, set(a + 4200, 1, false));
	KUNIT_EXPECT_EQ(test, find(4200 * P), a * P);
	KUNIT_EXPECT_EQ(test, find(4200 * P + 1), b * P);
	KUNIT_EXPECT_EQ(test, find_in(799 * P, 1, (a + 4200) * P, ~0ULL), (a + 4201) * P);
	KUNIT_EXPECT_EQ(test, find_in(800 * P, 1, (a + 4200) * P, ~0ULL), b * P);
	KUNIT_EXPECT_EQ(test, sumtree_check(&tree), 0);
}

/* Out of metadata memory in the middle: what is there still works. */
static void grows_as_far_as_memory_goes(struct kunit *test)
{
	static struct meta_pool small;
	uint64_t nr = 0, n = 0;

	memset(&small, 0, sizeof(small));
	pool = small;
	KUNIT_EXPECT_FALSE(test, set(5, 1, true));
	KUNIT_EXPECT_EQ(test, find(1), SUM_NOT_FOUND);
	KUNIT_EXPECT_EQ(test, sumtree_check(&tree), 0);
	meta_feed(&pool, metadata, FRAME_SIZE);
	/* Each chunk eight times as high as the one before it, so that each takes new levels. */
	while (set(nr, 1, true)) {
		n++;
		nr = (nr + 1) * 64 % TOP_CHUNK + n;
	}
	KUNIT_EXPECT_GT(test, n, 3);
	KUNIT_EXPECT_EQ(test, sumtree_check(&tree), 0);
	KUNIT_EXPECT_EQ(test, find(1), 0);
	/* With more memory it goes on. */
	meta_feed(&pool, (uint8_t *)metadata + FRAME_SIZE, FRAME_SIZE);
	KUNIT_ASSERT_TRUE(test, set(nr, 1, true));
	KUNIT_EXPECT_EQ(test, find_in(1, 1, nr * P, ~0ULL), nr * P);
}

/* ---- Against a naive search, chunk by chunk ---- */

#define PART 96

static const uint64_t parts[] = { 0, 4000, (1 << 18) - 40, (1 << 21) + 1, TOP_CHUNK + 1 - PART };
static bool is_free[ARRAY_SIZE(parts)][PART];

static uint64_t naive_find(uint64_t n, uint64_t align, uint64_t lo, uint64_t hi)
{
	for (unsigned p = 0; p < ARRAY_SIZE(parts); p++) {
		for (unsigned i = 0; i < PART; i++) {
			uint64_t first = parts[p] + i, end = first, at;

			if (!is_free[p][i])
				continue;
			for (unsigned k = i; k < PART && is_free[p][k]; k++)
				end++;
			at = round_up(MAX(first * P, lo), align);
			if (at + n <= MIN(end * P, hi))
				return at;
		}
	}
	return SUM_NOT_FOUND;
}

static void random_against_naive(struct kunit *test)
{
	uint64_t rng = 0x5eed0061;

	memset(is_free, 0, sizeof(is_free));
	for (unsigned op = 0; op < 6000; op++) {
		uint64_t r = fix_rng(&rng);
		unsigned p = r % ARRAY_SIZE(parts), i = (r >> 8) % PART;
		unsigned n = 1 + (r >> 20) % (r & 1 << 30 ? 40 : 3);
		uint64_t frames, align, lo, hi;
		bool free = r >> 40 & 1;

		n = MIN(n, PART - i);
		KUNIT_ASSERT_TRUE(test, set(parts[p] + i, n, free));
		memset(&is_free[p][i], free, n);
		r = fix_rng(&rng);
		frames = 1 + r % (r >> 60 & 1 ? 2 * P : 60 * P);
		align = 1ULL << (r >> 20) % 16;
		lo = r >> 58 & 1 ? (parts[(r >> 30) % ARRAY_SIZE(parts)] + (r >> 34) % PART) * P + 3
				 : 0;
		hi = r >> 59 & 1 ? lo + (r >> 40) % (300 * P) : ~0ULL;
		KUNIT_ASSERT_EQ_MSG(test, find_in(frames, align, lo, hi),
				    naive_find(frames, align, lo, hi),
				    "op %u: %llu frames, align %llu", op,
				    (unsigned long long)frames, (unsigned long long)align);
		if (op % 500 == 0)
			KUNIT_ASSERT_EQ(test, sumtree_check(&tree), 0);
	}
}

static struct kunit_case sumtree_cases[] = {
	KUNIT_CASE(empty_tree),
	KUNIT_CASE(grows_to_any_height),
	KUNIT_CASE(last_chunk_of_all),
	KUNIT_CASE(runs_beyond_the_summaries),
	KUNIT_CASE(grows_as_far_as_memory_goes),
	KUNIT_CASE(random_against_naive),
	{},
};

static struct kunit_suite sumtree_suite = {
	.name = "sumtree",
	.init = sumtree_init,
	.exit = sumtree_exit,
	.test_cases = sumtree_cases,
};
kunit_test_suite(sumtree_suite);
