// SPDX-License-Identifier: MIT
/*
 * Bits and summaries of one chunk, against slow references; the fixed cases are
 * those of Go's page allocator tests (mpallocbits_test.go).
 */
#include <kunit/test.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/framebits.h"
#include "mm/sumtree.h"

struct range {
	unsigned first, n;
};

static struct chunk chunk;

/* All held, then the given frames free. */
static void set_free(const struct range *free)
{
	for (unsigned w = 0; w < CHUNK_WORDS; w++)
		chunk.word[w] = (struct frame_word){ ~0ULL, ~0ULL };
	for (; free->n; free++)
		chunk_offer(&chunk, free->first, free->n);
}

static void set_random(uint64_t *rng)
{
	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		uint64_t a = fix_rng(rng), b = fix_rng(rng), how = fix_rng(rng) % 5;

		chunk.word[w].free = ~0ULL;
		chunk.word[w].end = how == 0   ? 0
				    : how == 1 ? ~0ULL
				    : how == 2 ? a
				    : how == 3 ? a & b & fix_rng(rng)
					       : a | b | fix_rng(rng);
	}
}

static uint64_t slow_sum(void)
{
	unsigned start = 0, max = 0, run = 0;
	bool seen = false;

	for (unsigned f = 0; f < CHUNK_FRAMES; f++) {
		if (frame_use(&chunk, f) == FRAME_FREE) {
			run++;
			max = MAX(max, run);
			continue;
		}
		if (!seen)
			start = run;
		seen = true;
		run = 0;
	}
	return seen ? sum_pack(start, max, run) : SUM_FULL | sum_pack(run, run, run);
}

static void summary_of_fixed_chunks(struct kunit *test)
{
	static const struct {
		struct range free[8];
		unsigned start, max, end;
	} rows[] = {
		{ { { 0 } }, 0, 0, 0 },
		{ { { 0, 10 } }, 10, 10, 0 },
		{ { { 472, 40 } }, 0, 40, 40 },
		{ { { 0, 11 }, { 489, 23 } }, 11, 23, 23 },
		{ { { 0, 4 }, { 50, 100 }, { 508, 4 } }, 4, 100, 4 },
		{ { { 1, 20 }, { 35, 241 }, { 462, 30 } }, 0, 241, 0 },
		{ { { 35, 2 }, { 40, 5 }, { 100, 5 } }, 0, 5, 0 },
		{ { { 2, 1 } }, 0, 1, 0 },
		{ { { 63, 2 } }, 0, 2, 0 },
		{ { { 1, 62 } }, 0, 62, 0 },
		{ { { 0, 511 } }, 511, 511, 0 },
		{ { { 1, 511 } }, 0, 511, 511 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		set_free(rows[i].free);
		KUNIT_EXPECT_EQ_MSG(test, chunk_sum(&chunk),
				    sum_pack(rows[i].start, rows[i].max, rows[i].end), "row %u", i);
	}
	set_free((struct range[]){ { 0, 512 }, { 0 } });
	KUNIT_EXPECT_EQ(test, chunk_sum(&chunk), SUM_FULL | sum_pack(512, 512, 512));
}

static void summary_of_random_chunks(struct kunit *test)
{
	uint64_t rng = 0x5eed0001;

	for (unsigned i = 0; i < 2000; i++) {
		set_random(&rng);
		KUNIT_ASSERT_EQ_MSG(test, chunk_sum(&chunk), slow_sum(), "chunk %u", i);
	}
}

static void runs_of_random_chunks(struct kunit *test)
{
	uint64_t rng = 0x5eed0002;

	for (unsigned i = 0; i < 1000; i++) {
		unsigned at = 0, n, free = 0, expect = 0;

		set_random(&rng);
		while ((n = chunk_next_run(&chunk, &at))) {
			while (frame_use(&chunk, expect) != FRAME_FREE)
				expect++;
			KUNIT_ASSERT_EQ(test, at, expect);
			while (expect < CHUNK_FRAMES && frame_use(&chunk, expect) == FRAME_FREE)
				expect++;
			KUNIT_ASSERT_EQ(test, at + n, expect);
			free += n;
			at += n;
		}
		KUNIT_ASSERT_EQ(test, at, CHUNK_FRAMES);
		KUNIT_ASSERT_EQ(test, free, chunk_count_free(&chunk));
	}
}

/* Taking and putting any run changes its frames and no others. */
static void take_and_put(struct kunit *test)
{
	static const struct range rows[] = { { 0, 1 },	 { 63, 1 },  { 63, 2 },	  { 0, 64 },
					     { 1, 63 },	 { 1, 64 },  { 60, 200 }, { 0, 512 },
					     { 511, 1 }, { 448, 64 } };

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned first = rows[i].first, n = rows[i].n;

		set_free((struct range[]){ { 0, 512 }, { 0 } });
		chunk_take(&chunk, first, n, true);
		for (unsigned f = 0; f < CHUNK_FRAMES; f++) {
			enum frame_use want = f < first || f >= first + n ? FRAME_FREE
					      : f == first + n - 1	  ? FRAME_LAST
									  : FRAME_INNER;
			KUNIT_ASSERT_EQ(test, frame_use(&chunk, f), want);
		}
		KUNIT_EXPECT_EQ(test, chunk_run_length(&chunk, first), n);
		KUNIT_EXPECT_EQ(test, chunk_count_used(&chunk), n);
		chunk_put(&chunk, first, n, true);
		KUNIT_EXPECT_EQ(test, chunk_count_free(&chunk), CHUNK_FRAMES);
		chunk_withhold(&chunk, first, n);
		KUNIT_EXPECT_EQ(test, chunk_count_free(&chunk), CHUNK_FRAMES - n);
		KUNIT_EXPECT_EQ(test, frame_use(&chunk, first), FRAME_HELD);
	}
}

static void states_of_a_mixed_chunk(struct kunit *test)
{
	static struct chunk_side side;
	static uint8_t oracle[CHUNK_FRAMES];
	uint64_t rng = 0x5eed0003;

	memset(&chunk, 0, sizeof(chunk));
	memset(oracle, MEM_NONE, sizeof(oracle));
	chunk.side = &side;
	for (unsigned i = 0; i < 500; i++) {
		unsigned first = fix_rng(&rng) % CHUNK_FRAMES;
		unsigned n = 1 + fix_rng(&rng) % (CHUNK_FRAMES - first), run = 0;
		enum mem_state state = fix_rng(&rng) % 4;
		unsigned set = fix_rng(&rng) % 16;
		bool within = true;

		if (fix_rng(&rng) % 8 == 0)
			first = 0, n = CHUNK_FRAMES;
		chunk_set_states(&chunk, first, n, state);
		memset(oracle + first, state, n);
		first = fix_rng(&rng) % CHUNK_FRAMES;
		n = 1 + fix_rng(&rng) % (CHUNK_FRAMES - first);
		for (unsigned f = 0; f < CHUNK_FRAMES; f++) {
			KUNIT_ASSERT_EQ(test, chunk_frame_state(&chunk, f), oracle[f]);
			if (f >= first && f < first + n)
				within &= set >> oracle[f] & 1;
		}
		while (first + run < CHUNK_FRAMES && oracle[first + run] == oracle[first])
			run++;
		KUNIT_ASSERT_EQ(test, chunk_states_within(&chunk, first, n, set), within);
		KUNIT_ASSERT_EQ(test, chunk_state_run(&chunk, first), run);
	}
}

static void merge_of_random_sums(struct kunit *test)
{
	uint64_t rng = 0x5eed0004;

	for (unsigned i = 0; i < 500; i++) {
		uint64_t sum[SUM_FANOUT], start = 0, max = 0, run = 0;
		bool seen = false;

		/* Children of 64 frames each, from the words of a random chunk. */
		set_random(&rng);
		for (unsigned w = 0; w < SUM_FANOUT; w++) {
			uint64_t free = word_free(&chunk.word[w]);
			unsigned inner = 0, longest = 0;

			for (unsigned b = 0; b < 64; b++) {
				inner = free >> b & 1 ? inner + 1 : 0;
				longest = MAX(longest, inner);
			}
			sum[w] = sum_pack(ctz64(~free), longest, clz64(~free));
			if (free == ~0ULL)
				sum[w] |= SUM_FULL;
		}
		for (unsigned f = 0; f < CHUNK_FRAMES; f++) {
			bool free = frame_use(&chunk, f) == FRAME_FREE;

			run = free ? run + 1 : 0;
			max = MAX(max, run);
			if (!free && !seen)
				start = f, seen = true;
		}
		if (seen)
			KUNIT_ASSERT_EQ(test, sum_merge(sum, 64), sum_pack(start, max, run));
		else
			KUNIT_ASSERT_EQ(test, sum_merge(sum, 64),
					SUM_FULL | sum_pack(512, 512, 512));
	}
}

/* In a word, by trying each place. */
static void runs_of_random_words(struct kunit *test)
{
	uint64_t rng = 0x5eed0007;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t r = fix_rng(&rng), bits = fix_rng(&rng) | fix_rng(&rng) | (r & 3) * ~0ULL;
		unsigned n = 1 + (unsigned)(r >> 8) % 64, align = 1U << (r >> 16) % 7, at = 0;

		bits &= r & 4 ? ~0ULL : fix_rng(&rng);
		while (at < 64 && (at + n > 64 || ~bits & mask_range(at, n)))
			at += align;
		KUNIT_ASSERT_EQ(test, word_find_run(bits, n, align), MIN(at, 64U));
	}
}

static struct kunit_case framebits_cases[] = {
	KUNIT_CASE(runs_of_random_words),
	KUNIT_CASE(summary_of_fixed_chunks),
	KUNIT_CASE(summary_of_random_chunks),
	KUNIT_CASE(runs_of_random_chunks),
	KUNIT_CASE(take_and_put),
	KUNIT_CASE(states_of_a_mixed_chunk),
	KUNIT_CASE(merge_of_random_sums),
	{}
};

static struct kunit_suite framebits_suite = {
	.name = "framebits",
	.test_cases = framebits_cases,
};
kunit_test_suite(framebits_suite);
