// SPDX-License-Identifier: MIT
/*
 * The page heap on made-up chunks: the tables of Go's page allocator tests
 * (mpagealloc_test.go), then random operations against a naive first fit.
 *
 * P is a chunk's worth of frames. A row says which frames are in use before,
 * then what is asked for and which frame is expected, F for failure.
 */
#include <kunit/test.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/framebits.h"
#include "mm/misuse.h"

#define P CHUNK_FRAMES
#define F PFN_NONE
#define FAR ((uint64_t)FIX_FAR * P)

struct run {
	uint64_t first, n;
};

struct hit {
	uint64_t n, at;
};

struct alloc_row {
	const char *name;
	struct fix_chunks chunks[4];
	struct run used[8];
	struct hit hits[12];
};

static const struct alloc_row alloc_rows[] = {
	{ "all free, 1", { { 0, 1 } }, { { 0 } }, { { 1, 0 }, { 1, 1 }, { 1, 2 }, { 1, 3 } } },
	{ "all free, 2", { { 0, 1 } }, { { 0 } }, { { 2, 0 }, { 2, 2 }, { 2, 4 }, { 2, 6 } } },
	{ "all free, 5", { { 0, 1 } }, { { 0 } }, { { 5, 0 }, { 5, 5 }, { 5, 10 }, { 5, 15 } } },
	{ "all free, 64", { { 0, 1 } }, { { 0 } }, { { 64, 0 }, { 64, 64 }, { 64, 128 } } },
	{ "all free, 65", { { 0, 1 } }, { { 0 } }, { { 65, 0 }, { 65, 65 }, { 65, 130 } } },
	{ "last frame of the last chunk",
	  { { 0, 3 } },
	  { { 0, 3 * P - 1 } },
	  { { 1, 3 * P - 1 }, { 1, F } } },
	{ "a hole between chunks", { { 0, 1 }, { 0xff, 1 } }, { { 0, P } }, { { 1, 0xff * P } } },
	{ "straddle 2",
	  { { 0, 2 } },
	  { { 0, P - 1 }, { P + 1, P - 1 } },
	  { { 2, P - 1 }, { 1, F } } },
	{ "straddle P",
	  { { 0, 2 } },
	  { { 0, P / 2 }, { P + P / 2, P / 2 } },
	  { { P, P / 2 }, { P, F }, { 1, F } } },
	{ "straddle 2P",
	  { { 0, 3 } },
	  { { 0, P / 2 }, { 2 * P + P / 2, P / 2 } },
	  { { 2 * P, P / 2 }, { 1, F } } },
	{ "straddle P+1",
	  { { 0, 2 } },
	  { { 0, P / 2 } },
	  { { P + 1, P / 2 }, { P, F }, { 1, P + P / 2 + 1 } } },
	{ "straddle 5/4 P",
	  { { 0, 4 } },
	  { { 0, P }, { P, P - P / 4 }, { 2 * P, P - P / 4 } },
	  { { P + P / 4, 3 * P - P / 4 }, { P + P / 4, F }, { 1, 2 * P - P / 4 } } },
	{ "exhaust P-3",
	  { { 0, 1 } },
	  { { 0 } },
	  { { P - 3, 0 }, { P - 3, F }, { 1, P - 3 }, { 2, P - 2 }, { 1, F }, { P - 3, F } } },
	{ "all free, P", { { 0, 1 } }, { { 0 } }, { { P, 0 }, { P, F } } },
	{ "all free, 2P", { { 0, 2 } }, { { 0 } }, { { 2 * P, 0 }, { 2 * P, F } } },
	{ "2P beyond a hole",
	  { { 0, 1 }, { 0x40, 2 } },
	  { { 0 } },
	  { { 2 * P, 0x40 * P }, { 21, 0 }, { 1, 21 } } },
	{ "all free, 7P+5",
	  { { 0, 8 } },
	  { { 0 } },
	  { { 7 * P + 5, 0 }, { 7 * P + 5, F }, { 1, 7 * P + 5 } } },
	{ "into a chunk far away",
	  { { 0, 1 }, { FIX_FAR, 1 } },
	  { { 0 } },
	  { { P - 1, 0 }, { 1, P - 1 }, { 1, FAR }, { P - 1, FAR + 1 }, { 1, F } } },
	{ "search start in unmapped space",
	  { { 0, 1 }, { 0x40, 1 }, { FIX_FAR, 1 } },
	  { { 0, P - 1 }, { 0x40 * P, P - 10 }, { 0x40 * P + P - 1, 1 } },
	  { { 1, P - 1 }, { 100, FAR }, { 9, 0x40 * P + P - 10 } } },
};

static void alloc_by_table(struct kunit *test)
{
	for (unsigned i = 0; i < ARRAY_SIZE(alloc_rows); i++) {
		const struct alloc_row *row = &alloc_rows[i];

		fix_setup(test, row->chunks);
		for (const struct run *u = row->used; u->n; u++)
			KUNIT_EXPECT_EQ_MSG(test, fix_alloc_in(u->n, 1, u->first, u->first + u->n),
					    u->first, "%s", row->name);
		for (unsigned h = 0; row->hits[h].n; h++)
			KUNIT_EXPECT_EQ_MSG(test, fix_alloc(row->hits[h].n), row->hits[h].at,
					    "%s, request %u", row->name, h);
		KUNIT_EXPECT_EQ_MSG(test, pageheap_check(&fix_heap), 0, "%s", row->name);
		fix_teardown();
	}
}

/* Runs of every length at every distance: taken in order, freed, all again. */
static void exhaust(struct kunit *test)
{
	static const uint64_t lengths[] = { 1, 2, 3, 4, 5, 8, 16, 64, 1024, 1025, 2048, 2049 };

	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint64_t n = lengths[i], fit = 4 * P / n;

		fix_setup(test, (struct fix_chunks[]){ { 0, 4 }, { 0 } });
		for (unsigned round = 0; round < 2; round++) {
			for (uint64_t k = 0; k < fit; k++)
				KUNIT_ASSERT_EQ(test, fix_alloc(n), k * n);
			KUNIT_ASSERT_EQ(test, fix_alloc(n), F);
			KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 4 * P - fit * n);
			for (uint64_t k = 0; k < fit; k++)
				KUNIT_ASSERT_EQ(test, fix_free(k * n, n), -1);
			KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 4 * P);
		}
		KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
		fix_teardown();
	}
}

static void free_by_table(struct kunit *test)
{
	static const struct run rows[] = {
		{ 0, 1 },  { 0, 2 },	     { 0, 5 },	       { 0, 64 },
		{ 0, 65 }, { P - 1, 2 },     { P / 2, P },     { P / 2, P + 1 },
		{ 0, P },  { P / 2, 2 * P }, { 0, 7 * P + 5 }, { 3, 7 * P + 5 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct run *r = &rows[i];

		fix_setup(test, (struct fix_chunks[]){ { 0, 8 }, { 0 } });
		KUNIT_ASSERT_EQ(test, fix_alloc(8 * P), 0);
		KUNIT_ASSERT_EQ(test, fix_free(0, 8 * P), -1);
		KUNIT_ASSERT_EQ(test, fix_alloc_in(r->n, 1, r->first, r->first + r->n), r->first);
		KUNIT_ASSERT_EQ(test, fix_free(r->first, r->n), -1);
		KUNIT_EXPECT_EQ_MSG(test, fix_alloc(8 * P), 0, "row %u", i);
		KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
		fix_teardown();
	}
}

static void alloc_and_free(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 8 }, { 0 } });
	for (unsigned round = 0; round < 3; round++) {
		KUNIT_EXPECT_EQ(test, fix_alloc(8 * P), 0);
		KUNIT_EXPECT_EQ(test, fix_free(0, 8 * P), -1);
	}
	KUNIT_EXPECT_EQ(test, fix_alloc(1), 0);
	KUNIT_EXPECT_EQ(test, fix_free(0, 1), -1);
	KUNIT_EXPECT_EQ(test, fix_alloc(8 * P), 0);
	fix_teardown();
}

static void aligned_and_windowed(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 4 }, { 8, 2 }, { 0 } });
	KUNIT_ASSERT_EQ(test, fix_alloc(1), 0);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(4, 4, 0, 16 * P), 4);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(1, P, 0, 16 * P), P);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(P, P, 0, 16 * P), 2 * P);
	/* The only run of two whole chunks that starts at an even chunk. */
	KUNIT_EXPECT_EQ(test, fix_alloc_in(2 * P, 2 * P, 0, 16 * P), 8 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(2 * P, 2 * P, 0, 16 * P), F);
	/* Windows: the run lies inside, to the frame. */
	KUNIT_EXPECT_EQ(test, fix_alloc_in(10, 1, 3 * P + 7, 3 * P + 17), 3 * P + 7);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(1, 1, 3 * P + 7, 3 * P + 17), F);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(10, 1, 3 * P, 3 * P + 16), F);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(7, 1, 3 * P, 3 * P + 16), 3 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(1, 1, 5 * P, 8 * P), F);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* A run that an aligned search must not miss: aligned only inside a longer one. */
static void aligned_inside_a_run(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 2 }, { 0 } });
	KUNIT_ASSERT_EQ(test, fix_alloc(2 * P), 0);
	KUNIT_ASSERT_EQ(test, fix_free(0, 2 * P), -1);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(61, 1, 0, 61), 0);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(60, 1, 100, 160), 100);
	/* Free: 61..99, 160..; 32 aligned at 64 fits into the first, 64 not. */
	KUNIT_EXPECT_EQ(test, fix_alloc_in(32, 64, 0, 2 * P), 64);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(64, 64, 0, 2 * P), 192);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(512, 512, 0, 2 * P), P);
	fix_teardown();
}

/* Memory is made Ready a chunk at a time, where it is needed. */
static void grows_on_demand(struct kunit *test)
{
	fix_reserve(test, (struct fix_chunks[]){ { 0, 64 }, { 0 } });
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 0);
	KUNIT_EXPECT_EQ(test, fix_alloc(1), 0);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, P);
	/* The rest of the first chunk and the first frame of the second. */
	KUNIT_EXPECT_EQ(test, fix_alloc(P), 1);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 2 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc(P - 1), P + 1);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 2 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(1, 1, 40 * P + 3, 41 * P), 40 * P + 3);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 3 * P);
	/* Longer than a chunk: the first stretch that could hold it, no more. */
	KUNIT_EXPECT_EQ(test, fix_alloc_in(5 * P, 4 * P, 0, 64 * P), 4 * P);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 8 * P);
	KUNIT_EXPECT_EQ(test, memmap_state(&fix_map, (FIX_PFN0 + 30 * P) << FRAME_SHIFT),
			MEM_RESERVED);
	/* More than there is makes nothing Ready. */
	KUNIT_EXPECT_EQ(test, fix_alloc(65 * P), F);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 8 * P);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* What is wrong with a free is said, and nothing has changed. */
static void wrong_frees(struct kunit *test)
{
	uint64_t a, b;

	fix_setup(test, (struct fix_chunks[]){ { 0, 2 }, { 0 } });
	a = fix_alloc(10);
	b = fix_alloc(P);
	KUNIT_EXPECT_EQ(test, fix_free(a + 1, 9), MM_PAGE_INVALID_FREE);
	KUNIT_EXPECT_EQ(test, fix_free(a + 9, 1), MM_PAGE_INVALID_FREE);
	KUNIT_EXPECT_EQ(test, fix_free(a, 9), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(a, 11), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(a, 1), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(b, P - 1), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(b, 100 * P), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(b + P - 10, 10), MM_PAGE_INVALID_FREE);
	KUNIT_EXPECT_EQ(test, fix_free(b + P, 1), MM_PAGE_DOUBLE_FREE);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 2 * P - 10 - P);
	KUNIT_EXPECT_EQ(test, fix_free(a, 10), -1);
	KUNIT_EXPECT_EQ(test, fix_free(a, 10), MM_PAGE_DOUBLE_FREE);
	KUNIT_EXPECT_EQ(test, fix_free(b, P), -1);
	KUNIT_EXPECT_EQ(test, fix_free(b, P), MM_PAGE_DOUBLE_FREE);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* Random operations against a map of frames; chunk 5 is a hole. */
#define ORACLE_CHUNKS 9
static bool taken[ORACLE_CHUNKS * P];

static uint64_t naive_fit(uint64_t n, uint64_t align, uint64_t lo, uint64_t hi)
{
	for (uint64_t at = round_up(lo, align); at + n <= MIN(hi, ORACLE_CHUNKS * P); at += align) {
		uint64_t k = 0;

		while (k < n && !taken[at + k])
			k++;
		if (k == n)
			return at;
	}
	return F;
}

static void random_against_first_fit(struct kunit *test)
{
	static struct run live[ORACLE_CHUNKS * P];
	uint64_t rng = 0x5eed0005;
	unsigned nlive = 0;

	fix_setup(test, (struct fix_chunks[]){ { 0, 5 }, { 6, 3 }, { 0 } });
	memset(taken, 0, sizeof(taken));
	memset(taken + 5 * P, true, P);
	for (unsigned op = 0; op < 6000; op++) {
		uint64_t r = fix_rng(&rng);

		if (nlive && r % 9 < (op / 1000 % 2 ? 5 : 4)) {
			unsigned i = fix_rng(&rng) % nlive;

			KUNIT_ASSERT_EQ(test, fix_free(live[i].first, live[i].n), -1);
			memset(taken + live[i].first, false, live[i].n);
			live[i] = live[--nlive];
		} else {
			uint64_t n = 1 + fix_rng(&rng) % (r % 16 == 0 ? 3 * P : (r % 4 ? 8 : 100));
			uint64_t align = r >> 20 & 1 ? 1ULL << (fix_rng(&rng) % 10) : 1;
			bool window = r >> 21 & 1;
			uint64_t lo = window ? fix_rng(&rng) % (4 * P) : 0;
			uint64_t hi = window ? lo + fix_rng(&rng) % (5 * P) : ORACLE_CHUNKS * P;
			uint64_t want = naive_fit(n, align, lo, hi);

			KUNIT_ASSERT_EQ_MSG(test, fix_alloc_in(n, align, lo, hi), want,
					    "op %u: %u frames, align %u, window %u..%u", op,
					    (unsigned)n, (unsigned)align, (unsigned)lo,
					    (unsigned)hi);
			if (want != F) {
				memset(taken + want, true, n);
				live[nlive++] = (struct run){ want, n };
			}
		}
		if (op % 500 == 0)
			KUNIT_ASSERT_EQ(test, pageheap_check(&fix_heap), 0);
	}
	while (nlive--)
		KUNIT_ASSERT_EQ(test, fix_free(live[nlive].first, live[nlive].n), -1);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, fix_heap.frames);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

static struct kunit_case pageheap_cases[] = { KUNIT_CASE(alloc_by_table),
					      KUNIT_CASE(exhaust),
					      KUNIT_CASE(free_by_table),
					      KUNIT_CASE(alloc_and_free),
					      KUNIT_CASE(aligned_and_windowed),
					      KUNIT_CASE(aligned_inside_a_run),
					      KUNIT_CASE(grows_on_demand),
					      KUNIT_CASE(wrong_frees),
					      KUNIT_CASE_SLOW(random_against_first_fit),
					      {} };

static struct kunit_suite pageheap_suite = {
	.name = "pageheap",
	.test_cases = pageheap_cases,
};
kunit_test_suite(pageheap_suite);
