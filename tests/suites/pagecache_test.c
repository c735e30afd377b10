// SPDX-License-Identifier: MIT
/*
 * One page cache at a time, over a page heap of made-up frames: tables of Go's
 * page cache tests (mpagecache_test.go), then random operations of two caches and
 * the heap beside them against a map of frames.
 */
#include <kunit/test.h>
#include <spanheap/misuse.h>
#include <spanheap/page.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/pagecache.h"

#define P CHUNK_FRAMES
#define NSLOTS 31
#define ROOM 20

struct small_cache {
	struct pagecache cache;
	struct held_frame slots[NSLOTS + 1];
};

static struct small_cache one, other;

static void *addr_of(uint64_t frame)
{
	return phys_to_virt((FIX_PFN0 + frame) << FRAME_SHIFT);
}

static uint64_t frame_of(const void *addr)
{
	return addr ? (virt_to_phys(addr) >> FRAME_SHIFT) - FIX_PFN0 : PFN_NONE;
}

static void start(struct kunit *test, const struct fix_chunks *chunks)
{
	fix_setup(test, chunks);
	pagecache_init(&one.cache, &fix_heap, 0, one.slots, NSLOTS);
	pagecache_init(&other.cache, &fix_heap, 1, other.slots, NSLOTS);
	pagecache_set_room(&one.cache, ROOM, 64, 2);
	pagecache_set_room(&other.cache, ROOM, 64, 2);
}

static void empty(struct pagecache *cache)
{
	struct pagecache_haul haul;

	pagecache_take_all(cache, &haul);
	pagecache_give_back(&haul);
}

/* Nothing is lost: all that is not used is free again once the caches are empty. */
static void stop(struct kunit *test, uint64_t used)
{
	struct pagecache_sums sums = { 0 };

	pagecache_add_sums(&one.cache, &fix_heap, &sums);
	pagecache_add_sums(&other.cache, &fix_heap, &sums);
	KUNIT_EXPECT_EQ(test, pagecache_check(&one.cache), 0);
	KUNIT_EXPECT_EQ(test, pagecache_check(&other.cache), 0);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free + sums.frames + used, fix_heap.frames);
	KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), used);
	empty(&one.cache);
	empty(&other.cache);
	KUNIT_EXPECT_EQ(test, pagecache_held(&one.cache), 0);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free + used, fix_heap.frames);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* ---- Single frames ---- */

static void last_in_first_out(struct kunit *test)
{
	void *a, *b, *c;

	start(test, (struct fix_chunks[]){ { 0, 1 }, { 0 } });
	a = pagecache_alloc(&one.cache, 1, 1);
	b = pagecache_alloc(&one.cache, 1, 1);
	c = pagecache_alloc(&one.cache, 1, 1);
	/* The first frame of a word comes last. */
	KUNIT_EXPECT_EQ(test, frame_of(a), 1);
	KUNIT_EXPECT_EQ(test, frame_of(b), 2);
	KUNIT_EXPECT_EQ(test, frame_of(c), 3);
	KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, a, 1));
	KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, c, 1));
	KUNIT_EXPECT_PTR_EQ(test, pagecache_alloc(&one.cache, 1, 1), c);
	KUNIT_EXPECT_PTR_EQ(test, pagecache_alloc(&one.cache, 1, 1), a);
	/* What the caller holds stays in use when the cache is emptied. */
	empty(&one.cache);
	KUNIT_EXPECT_EQ(test, fix_heap.frames - fix_heap.frames_free, 3);
	KUNIT_EXPECT_TRUE(test, pagecache_free(&other.cache, a, 1));
	KUNIT_EXPECT_TRUE(test, pagecache_free(&other.cache, b, 1));
	KUNIT_EXPECT_TRUE(test, pagecache_free(&other.cache, c, 1));
	stop(test, 0);
}

/* Refilled and spilled by halves; what was there longest goes first. */
static void batches(struct kunit *test)
{
	void *p[3 * ROOM];

	start(test, (struct fix_chunks[]){ { 0, 1 }, { 0 } });
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = pagecache_alloc(&one.cache, 1, 1);
		KUNIT_ASSERT_EQ(test, frame_of(p[i]) / (ROOM / 2), i / (ROOM / 2));
		KUNIT_EXPECT_EQ(test, pagecache_held(&one.cache),
				ROOM / 2 - 1 - i % (ROOM / 2));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, p[i], 1));
		KUNIT_EXPECT_LE(test, pagecache_held(&one.cache), (uint64_t)ROOM);
	}
	KUNIT_EXPECT_EQ(test, fix_alloc_in(1, 1, 0, P), 0);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(1, 1, 3 * ROOM - 1, 3 * ROOM), PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_free(0, 1), -1);
	stop(test, 0);
}

static void without_room(struct kunit *test)
{
	void *p;

	start(test, (struct fix_chunks[]){ { 0, 2 }, { 0 } });
	p = pagecache_alloc(&one.cache, 1, 1);
	pagecache_set_room(&other.cache, 0, 0, 0);
	for (unsigned n = 1; n <= P; n *= 2)
		KUNIT_EXPECT_NULL(test, pagecache_alloc(&other.cache, n, n));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&other.cache, p, 1));
	KUNIT_EXPECT_FALSE(test, pagecache_push(&other.cache, p));
	/* Less room than there was: the next free makes it so. */
	pagecache_set_room(&one.cache, 2, 0, 0);
	for (unsigned i = 0; i < 8; i++) {
		KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, p, 1));
		KUNIT_ASSERT_EQ(test, fix_alloc_in(1, 1, 100 + i, 101 + i), 100 + i);
		p = addr_of(100 + i);
	}
	KUNIT_EXPECT_LE(test, pagecache_held(&one.cache), 2);
	stop(test, 1);
}

/* The first frame of a word, of a chunk; the frame before is in other places each time. */
static void first_of_its_word(struct kunit *test)
{
	static const uint64_t frames[] = { 0, 64, 128, P - 64, P, P + 64, 3 * P, 4 * P - 64 };

	start(test, (struct fix_chunks[]){ { 0, 2 }, { 3, 1 }, { 0 } });
	for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
		uint64_t f = frames[i];

		KUNIT_ASSERT_EQ(test, fix_alloc_in(1, 1, f, f + 1), f);
		KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, addr_of(f), 1));
		KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, addr_of(f), 1));
		KUNIT_EXPECT_FALSE(test, pagecache_free(&other.cache, addr_of(f), 1));
		empty(&one.cache);
		/* Now it is the end of a run of two. */
		if (!f || f == 3 * P)
			continue;
		KUNIT_ASSERT_EQ(test, fix_alloc_in(2, 1, f - 1, f + 1), f - 1);
		KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, addr_of(f), 1));
		KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, addr_of(f - 1), 1));
		KUNIT_EXPECT_EQ(test, fix_free(f - 1, 2), -1);
	}
	stop(test, 0);
}

/* ---- What is wrong is left to the heap, which says so; nothing changes ---- */

static void expect_refused(struct kunit *test, uint64_t frame, uint64_t n, int kind)
{
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, addr_of(frame), n));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&other.cache, addr_of(frame), n));
	KUNIT_EXPECT_EQ(test, fix_free(frame, n), kind);
}

static void wrong_frees_of_cached(struct kunit *test)
{
	void *p, *run, *chunk;

	start(test, (struct fix_chunks[]){ { 0, 4 }, { 0 } });
	p = pagecache_alloc(&one.cache, 1, 1);
	run = pagecache_alloc(&one.cache, 16, 16);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(P, P, P, 4 * P), P);
	chunk = addr_of(P);

	/* Never handed out: in slots, in the run word, in the heap. */
	expect_refused(test, frame_of(p) + 1, 1, MM_PAGE_DOUBLE_FREE);
	expect_refused(test, frame_of(run) + 16, 16, MM_PAGE_DOUBLE_FREE);
	expect_refused(test, 3 * P, P, MM_PAGE_DOUBLE_FREE);
	/* In the middle, and with other sizes. */
	expect_refused(test, frame_of(run) + 1, 15, MM_PAGE_INVALID_FREE);
	expect_refused(test, frame_of(run) + 15, 1, MM_PAGE_INVALID_FREE);
	expect_refused(test, frame_of(run), 1, MM_PAGE_WRONG_SIZE);
	expect_refused(test, frame_of(run), 8, MM_PAGE_WRONG_SIZE);
	expect_refused(test, frame_of(run), 17, MM_PAGE_WRONG_SIZE);
	expect_refused(test, frame_of(run), 32, MM_PAGE_WRONG_SIZE);
	expect_refused(test, frame_of(p), 2, MM_PAGE_WRONG_SIZE);
	expect_refused(test, P, 1, MM_PAGE_WRONG_SIZE);
	expect_refused(test, P, 32, MM_PAGE_WRONG_SIZE);
	expect_refused(test, P + 1, 1, MM_PAGE_INVALID_FREE);
	expect_refused(test, 2 * P - 1, 1, MM_PAGE_INVALID_FREE);
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, (char *)p + 8, 1));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, (char *)run + 8, 16));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, (char *)chunk + 8, P));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, p, 0));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, NULL, 1));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, NULL, 2));

	/* Twice: from the same cache and from another. */
	KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, p, 1));
	KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, run, 16));
	KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, chunk, P));
	for (unsigned round = 0; round < 2; round++) {
		expect_refused(test, frame_of(p), 1, MM_PAGE_DOUBLE_FREE);
		expect_refused(test, frame_of(run), 16, MM_PAGE_DOUBLE_FREE);
		expect_refused(test, P, P, MM_PAGE_DOUBLE_FREE);
		expect_refused(test, P + 5, 1, MM_PAGE_DOUBLE_FREE);
		empty(&one.cache);
	}
	stop(test, 0);
}

/* ---- Runs ---- */

struct fit {
	unsigned n;
	uint64_t hits[10]; /* ends with 64: no more */
};

static const struct {
	uint64_t frames;
	unsigned align;
	struct fit fit[4];
} run_rows[] = {
	{ ~0ULL, 1, { { 5, { 0, 5, 10, 15, 20, 25, 30, 35, 40, 45 } } } },
	{ ~0ULL, 1, { { 32, { 0, 32, 64 } } } },
	{ ~0ULL, 1, { { 31, { 0, 31, 64 } }, { 2, { 62, 64 } } } },
	{ ~0ULL, 1, { { 7, { 0, 7 } }, { 23, { 14 } }, { 12, { 37, 49 } }, { 3, { 61, 64 } } } },
	{ 1ULL << 63, 1, { { 2, { 64 } } } },
	{ 0xc000010001010000, 1, { { 2, { 62, 64 } } } },
	{ 0xc000010001030000, 1, { { 2, { 16, 62, 64 } } } },
	{ 0xe000030001030000, 1, { { 3, { 61, 64 } } } },
	{ 0xe000030001070000, 1, { { 3, { 16, 61, 64 } } } },
	{ 0xffff03ff01070000, 1, { { 16, { 48, 64 } } } },
	{ 0xffff03ff0107ffff, 1, { { 16, { 0, 48, 64 } } } },
	{ 0x0fff03ff01079fff, 1, { { 16, { 64 } } } },
	{ 0x3333ULL << 31, 1, { { 2, { 31, 35, 39, 43, 64 } } } },
	{ 0xfffffffffffff800, 1, { { 32, { 11, 64 } }, { 20, { 43, 64 } } } },
	{ ~0ULL, 16, { { 16, { 0, 16, 32, 48, 64 } } } },
	{ ~0ULL, 2, { { 3, { 0, 4, 8, 12, 16, 20, 24 } } } },
	{ 0xffff03ff0107fffe, 16, { { 16, { 48, 64 } } } },
	{ 0xfffe03ff010ffff0, 4, { { 4, { 4, 8, 12, 16, 32, 36, 52, 56, 60, 64 } } } },
	{ 0x0000000300000006, 2, { { 2, { 32, 64 } } } },
};

/* Each row's frames as a run word of its own; nobody else sees them. */
static void runs_by_table(struct kunit *test)
{
	start(test, (struct fix_chunks[]){ { 0, 1 }, { 0 } });
	pagecache_set_room(&one.cache, 0, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(run_rows); i++) {
		static struct frame_word word;
		unsigned align = run_rows[i].align;

		word = (struct frame_word){ .free = run_rows[i].frames, .end = ~0ULL };
		one.cache.run = (struct held_word){ &word, addr_of(0), run_rows[i].frames };
		for (const struct fit *fit = run_rows[i].fit; fit->n; fit++)
			for (unsigned k = 0; k < ARRAY_SIZE(fit->hits); k++) {
				uint64_t hit = fit->hits[k], run = mask_low(fit->n) << hit % 64;
				void *p;

				if (k && !hit)
					break;
				p = pagecache_alloc(&one.cache, fit->n, align);
				KUNIT_EXPECT_EQ_MSG(test, frame_of(p), hit < 64 ? hit : PFN_NONE,
						    "row %u, %u frames", i, fit->n);
				if (hit >= 64)
					break;
				KUNIT_EXPECT_EQ(test, word.free & run, 0);
				KUNIT_EXPECT_EQ(test, word.end & run, run & ~(run >> 1));
			}
		KUNIT_EXPECT_EQ(test, word.free, one.cache.run.frames);
	}
	one.cache.run.frames = 0;
	stop(test, 0);
}

/* The two searches find the same places. */
static void orders_are_aligned_runs(struct kunit *test)
{
	uint64_t rng = 0x5eed0061;

	start(test, (struct fix_chunks[]){ { 0, 1 }, { 0 } });
	pagecache_set_room(&one.cache, 0, 0, 0);
	pagecache_set_room(&other.cache, 0, 0, 0);
	for (unsigned i = 0; i < 4000; i++) {
		unsigned order = 1 + i % PAGECACHE_ORDER_MAX;
		uint64_t frames = fix_rng(&rng) | fix_rng(&rng) | (i & 8 ? fix_rng(&rng) : 0);
		static struct frame_word a, b;

		a = b = (struct frame_word){ frames, ~0ULL };
		one.cache.run = (struct held_word){ &a, addr_of(0), frames };
		other.cache.run = (struct held_word){ &b, addr_of(0), frames };
		KUNIT_ASSERT_PTR_EQ(test, pagecache_take_order(&one.cache, order),
				    pagecache_alloc(&other.cache, 1ULL << order, 1ULL << order));
		KUNIT_ASSERT_EQ(test, one.cache.run.frames, other.cache.run.frames);
		KUNIT_ASSERT_EQ(test, a.end, b.end);
	}
	one.cache.run.frames = other.cache.run.frames = 0;
	stop(test, 0);
}

/* A run that ends a word, starts one, starts a chunk; and freed by another cache. */
static void runs_go_home(struct kunit *test)
{
	start(test, (struct fix_chunks[]){ { 0, 2 }, { 0 } });
	for (unsigned order = 1; order <= PAGECACHE_ORDER_MAX; order++) {
		unsigned n = 1U << order;
		void *p[P / 2];

		for (unsigned i = 0; i < P / n; i++) {
			p[i] = pagecache_alloc(&one.cache, n, n);
			KUNIT_ASSERT_EQ(test, frame_of(p[i]), i * n);
		}
		KUNIT_EXPECT_LE(test, pagecache_held(&one.cache), 64);
		for (unsigned i = 0; i < P / n; i++)
			if (!pagecache_free(i % 2 ? &one.cache : &other.cache, p[i], n))
				KUNIT_ASSERT_EQ(test, fix_free(i * n, n), -1);
		empty(&one.cache);
		empty(&other.cache);
		KUNIT_EXPECT_EQ(test, fix_heap.frames_free, fix_heap.frames);
	}
	stop(test, 0);
}

static void chunks(struct kunit *test)
{
	void *p[3];

	start(test, (struct fix_chunks[]){ { 0, 3 }, { 0 } });
	KUNIT_EXPECT_NULL(test, pagecache_alloc(&one.cache, P, P));
	for (unsigned i = 0; i < 3; i++) {
		KUNIT_ASSERT_EQ(test, fix_alloc(P), i * P);
		p[i] = addr_of(i * P);
	}
	KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, p[0], P));
	KUNIT_EXPECT_TRUE(test, pagecache_free(&one.cache, p[1], P));
	/* There is room for two. */
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, p[2], P));
	KUNIT_EXPECT_EQ(test, fix_free(2 * P, P), -1);
	KUNIT_EXPECT_EQ(test, pagecache_held(&one.cache), 2 * P);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	KUNIT_EXPECT_PTR_EQ(test, pagecache_alloc(&one.cache, P, 1), p[1]);
	KUNIT_EXPECT_TRUE(test, pagecache_free(&other.cache, p[1], P));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, p[1], P));
	stop(test, 0);
}

/* A run of a chunk's length that is no chunk, and one of two chunks. */
static void not_quite_chunks(struct kunit *test)
{
	start(test, (struct fix_chunks[]){ { 0, 4 }, { 0 } });
	KUNIT_ASSERT_EQ(test, fix_alloc_in(P, 1, 1, 4 * P), 1);
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, addr_of(1), P));
	KUNIT_ASSERT_EQ(test, fix_alloc_in(2 * P, P, 2 * P, 4 * P), 2 * P);
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, addr_of(2 * P), P));
	KUNIT_EXPECT_FALSE(test, pagecache_free(&one.cache, addr_of(3 * P), P));
	KUNIT_EXPECT_EQ(test, fix_free(2 * P, P), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(2 * P, 2 * P), -1);
	KUNIT_EXPECT_EQ(test, fix_free(1, P), -1);
	stop(test, 0);
}

/* ---- Random operations against a map of frames ---- */

#define ORACLE_CHUNKS 6
#define LIVE_MAX 400

static uint8_t owner[ORACLE_CHUNKS * P];
static struct {
	void *addr;
	unsigned n;
} live[LIVE_MAX];

static void mark(struct kunit *test, const void *addr, unsigned n, uint8_t was, uint8_t is)
{
	for (unsigned i = 0; i < n; i++) {
		KUNIT_ASSERT_EQ(test, owner[frame_of(addr) + i], was);
		owner[frame_of(addr) + i] = is;
	}
}

static void random_operations_of_two(struct kunit *test)
{
	static const unsigned lengths[] = { 1, 1, 1, 1, 2, 3, 4, 7, 8, 16, 29, 32, P };
	uint64_t rng = 0x5eed0062, used = 0;
	unsigned nlive = 0;

	start(test, (struct fix_chunks[]){ { 0, 3 }, { 4, 2 }, { 0 } });
	memset(owner, 0, sizeof(owner));
	for (unsigned op = 0; op < 20000; op++) {
		uint64_t r = fix_rng(&rng);
		struct pagecache *cache = r & 1 ? &one.cache : &other.cache;

		if (r >> 8 & 127 && nlive < LIVE_MAX && r >> 16 & (op / 2000 % 2 ? 1 : 3)) {
			unsigned n = lengths[(r >> 24) % ARRAY_SIZE(lengths)];
			unsigned align = is_pow2(n) && r & 2 ? n : 1;
			void *p = pagecache_alloc(cache, n, align);

			if (!p) {
				uint64_t f = fix_alloc_in(n, align, 0, ORACLE_CHUNKS * P);

				p = f == PFN_NONE ? NULL : addr_of(f);
			}
			if (!p)
				continue;
			KUNIT_ASSERT_EQ(test, frame_of(p) % align, 0);
			mark(test, p, n, 0, 1);
			live[nlive].addr = p;
			live[nlive++].n = n;
			used += n;
		} else if (nlive) {
			unsigned i = (r >> 24) % nlive;
			void *p = live[i].addr;
			unsigned n = live[i].n;

			if (!pagecache_free(cache, p, n))
				KUNIT_ASSERT_EQ(test, fix_free(frame_of(p), n), -1);
			KUNIT_ASSERT_FALSE(test, pagecache_free(&one.cache, p, n));
			KUNIT_ASSERT_FALSE(test, pagecache_free(&other.cache, p, n));
			mark(test, p, n, 1, 0);
			used -= n;
			live[i] = live[--nlive];
		}
		if (op % 512 == 0)
			empty(cache);
		if (op % 1024 == 7) {
			KUNIT_ASSERT_EQ(test, pageheap_check(&fix_heap), 0);
			KUNIT_ASSERT_EQ(test, pageheap_count_used(&fix_heap), used);
		}
	}
	while (nlive--)
		if (!pagecache_free(&one.cache, live[nlive].addr, live[nlive].n))
			KUNIT_EXPECT_EQ(test, fix_free(frame_of(live[nlive].addr), live[nlive].n),
					-1);
	stop(test, 0);
}

static struct kunit_case pagecache_cases[] = {
	KUNIT_CASE(last_in_first_out),
	KUNIT_CASE(batches),
	KUNIT_CASE(without_room),
	KUNIT_CASE(first_of_its_word),
	KUNIT_CASE(wrong_frees_of_cached),
	KUNIT_CASE(runs_by_table),
	KUNIT_CASE(orders_are_aligned_runs),
	KUNIT_CASE(runs_go_home),
	KUNIT_CASE(chunks),
	KUNIT_CASE(not_quite_chunks),
	KUNIT_CASE_SLOW(random_operations_of_two),
	{}
};

static struct kunit_suite pagecache_suite = {
	.name = "pagecache",
	.test_cases = pagecache_cases,
};
kunit_test_suite(pagecache_suite);
