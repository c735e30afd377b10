// SPDX-License-Identifier: MIT
/*
 * The public calls of <spanheap/page.h>, one by one: sizes, alignment, windows,
 * zeroing, absurd requests, wrong frees, injection, counts.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/misuse.h>
#include <spanheap/page.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "mm/memmap.h"
#include "mm/numa.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE
#define MIB (1ULL << 20)
#define NOWHERE (~(phys_addr_t)0)

static struct mm_stats start;

static int page_init(struct kunit *test)
{
	(void)test;
	mm_drain();
	mm_stats(&start);
	return 0;
}

/* Each case gives back what it took. */
static void page_exit(struct kunit *test)
{
	struct mm_stats s;

	mm_fail_off();
	mm_set_misuse_handler(NULL);
	mm_drain();
	mm_stats(&s);
	KUNIT_EXPECT_EQ(test, s.frames_used, start.frames_used);
	KUNIT_EXPECT_EQ(test, s.alloc_calls - s.free_calls, start.alloc_calls - start.free_calls);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static void expect_good(struct kunit *test, void *addr, uint64_t nframes, uint64_t align)
{
	phys_addr_t pa = virt_to_phys(addr);

	KUNIT_ASSERT_NOT_NULL(test, addr);
	KUNIT_EXPECT_EQ(test, pa & (MAX(align, F) - 1), 0);
	KUNIT_EXPECT_PTR_EQ(test, phys_to_virt(pa), addr);
	for (uint64_t i = 0; i < nframes; i++) {
		KUNIT_EXPECT_EQ(test, mem_state(pa + i * F), MEM_READY);
		memset((uint8_t *)addr + i * F, 0xee, F);
	}
}

/* ---- Sizes ---- */

static void exact_sizes(struct kunit *test)
{
	static const size_t sizes[] = { 1,     8,      F - 1,	     F,	    F + 1,
					3 * F, 64 * F, 65 * F - 7,   C - 1, C,
					C + 1, 2 * C,  3 * C + 5 * F };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t n = (sizes[i] + F - 1) / F;
		struct mm_stats s;
		void *p = alloc_pages_exact(sizes[i], GFP_KERNEL);

		expect_good(test, p, n, F);
		mm_drain();
		mm_stats(&s);
		KUNIT_EXPECT_EQ(test, s.frames_used - start.frames_used, n);
		free_pages_exact(p, sizes[i]);
	}
}

/* Any size of the same number of frames is right for the free. */
static void sizes_are_rounded_to_frames(struct kunit *test)
{
	void *p = alloc_pages_exact(2 * F, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	free_pages_exact(p, F + 1);
	p = __get_free_pages(GFP_KERNEL, 3);
	KUNIT_ASSERT_NOT_NULL(test, p);
	free_pages_exact(p, 8 * F);
	p = alloc_pages_exact(4 * F, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	free_pages(p, 2);
}

static void orders(struct kunit *test)
{
	for (unsigned order = 0; order <= 11; order++) {
		void *p = __get_free_pages(GFP_KERNEL, order);

		expect_good(test, p, 1ULL << order, F << order);
		free_pages(p, order);
	}
}

static void alignments(struct kunit *test)
{
	struct mm_stats before, after;

	for (size_t align = 1; align <= 4 * C; align *= 2) {
		static const size_t frames[] = { 1, 3, 513 };

		for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
			void *p = page_alloc_range(frames[i], align, 0, NOWHERE, GFP_KERNEL);

			expect_good(test, p, frames[i], align);
			free_pages_exact(p, frames[i] * F);
		}
	}
	KUNIT_EXPECT_NULL(test, page_alloc_range(1, 3, 0, NOWHERE, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, page_alloc_range(1, F + 1, 0, NOWHERE, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, page_alloc_range(1, 3 * F, 0, NOWHERE, GFP_KERNEL));
	/* Only address 0 is so well aligned, and it is never given out. */
	mm_stats(&before);
	KUNIT_EXPECT_NULL(test, page_alloc_range(1, 1ULL << 63, 0, NOWHERE, GFP_KERNEL));
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.ready_bytes, before.ready_bytes);
}

static void absurd_requests(struct kunit *test)
{
	static const size_t sizes[] = {
		0,	    SIZE_MAX,	SIZE_MAX - F, SIZE_MAX - F + 1, SIZE_MAX / 2,
		1ULL << 63, 1ULL << 52, 1ULL << 46,   (1ULL << 46) + 1
	};
	static const size_t frames[] = { 0,	     SIZE_MAX,	 SIZE_MAX / F, SIZE_MAX / F + 1,
					 1ULL << 63, 1ULL << 52, 1ULL << 34,   (1ULL << 34) + 1 };
	static const unsigned too_high[] = { 30, 34, 35, 51, 52, 53, 63, 64, 65, 1000, ~0U };
	struct mm_stats before, after;

	mm_stats(&before);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(sizes[i], GFP_KERNEL));
	for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
		KUNIT_EXPECT_NULL(test, page_alloc_range(frames[i], 0, 0, NOWHERE, GFP_KERNEL));
		KUNIT_EXPECT_NULL(test, page_alloc_range(frames[i], 1ULL << 62, ~0ULL - 1, NOWHERE,
							 GFP_KERNEL));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(too_high); i++)
		KUNIT_EXPECT_NULL(test, __get_free_pages(GFP_KERNEL, too_high[i]));
	mm_stats(&after);
	/* Asking for nonsense makes nothing Ready. */
	KUNIT_EXPECT_EQ(test, after.ready_bytes, before.ready_bytes);
	KUNIT_EXPECT_EQ(test, after.failed_calls - before.failed_calls,
			ARRAY_SIZE(sizes) + 2 * ARRAY_SIZE(frames) + ARRAY_SIZE(too_high));
}

static void null_frees(struct kunit *test)
{
	void *none[3] = { NULL, NULL, NULL };

	free_pages_exact(NULL, F);
	free_pages_exact(NULL, 0);
	free_pages(NULL, 0);
	free_pages(NULL, 70);
	page_free_bulk(3, none);
	page_free_bulk(0, NULL);
	KUNIT_EXPECT_EQ(test, page_alloc_bulk(0, NULL, GFP_KERNEL), 0);
}

/* ---- Windows ---- */

static void dma_windows(struct kunit *test)
{
	static const struct {
		gfp_t gfp;
		phys_addr_t end;
	} rows[] = { { GFP_DMA, 16 * MIB },
		     { GFP_DMA32, 4096 * MIB },
		     { GFP_DMA | GFP_DMA32, 16 * MIB } };

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		void *p[4] = {
			alloc_pages_exact(F, rows[i].gfp),
			alloc_pages_exact(5 * F, rows[i].gfp | __GFP_ZERO),
			__get_free_pages(rows[i].gfp | GFP_ATOMIC, 4),
			page_alloc_range(7, 8 * F, 0, NOWHERE, rows[i].gfp),
		};
		static const size_t size[4] = { F, 5 * F, 16 * F, 7 * F };

		for (unsigned k = 0; k < 4; k++) {
			KUNIT_ASSERT_NOT_NULL(test, p[k]);
			KUNIT_EXPECT_LE(test, virt_to_phys(p[k]) + size[k], rows[i].end);
			free_pages_exact(p[k], size[k]);
		}
	}
}

/* Within a node; windows below are for those who can use no others. */
static void high_memory_is_preferred(struct kunit *test)
{
	struct ram_range r;
	void *p, *high;

	high = page_alloc_range(1, 0, 4096 * MIB, NOWHERE, GFP_KERNEL);
	if (high)
		memmap_range(&main_map, virt_to_phys(high), &r);
	p = alloc_pages_exact(F, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	/* What arrived at run time comes last, however high it lies. */
	if (high && !r.arrived && r.node == numa_node_of(port_cpu()))
		KUNIT_EXPECT_GE(test, virt_to_phys(p), 4096 * MIB);
	else
		KUNIT_EXPECT_GE(test, virt_to_phys(p), 16 * MIB);
	free_pages_exact(p, F);
	free_pages_exact(high, F);
}

/* [lo, hi) to the byte; partial frames at the edges do not count. */
static void window_edges(struct kunit *test)
{
	uint8_t *area = page_alloc_range(16, 16 * F, 0, NOWHERE, GFP_KERNEL);
	phys_addr_t pa = virt_to_phys(area);
	static const struct {
		uint64_t n, lo, hi;
		bool fits;
	} rows[] = {
		{ 1, 0, F, true },	  { 1, 0, F - 1, false },	 { 1, 1, F, false },
		{ 1, 1, 2 * F, true },	  { 2, 0, 2 * F - 1, false },	 { 2, 1, 3 * F, true },
		{ 1, F, F, false },	  { 1, 2 * F, F, false },	 { 16, 0, 16 * F, true },
		{ 16, 1, 16 * F, false }, { 3, 5 * F - 1, 8 * F, true }, { 1, 0, 0, false },
	};

	KUNIT_ASSERT_NOT_NULL(test, area);
	free_pages_exact(area, 16 * F);
	mm_drain();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t lo = pa + rows[i].lo, hi = pa + rows[i].hi;
		void *p = page_alloc_range(rows[i].n, 0, lo, hi, GFP_KERNEL);

		KUNIT_EXPECT_EQ_MSG(test, p != NULL, rows[i].fits, "row %u", i);
		if (p) {
			KUNIT_EXPECT_EQ(test, virt_to_phys(p), round_up(lo, F));
			KUNIT_EXPECT_LE(test, virt_to_phys(p) + rows[i].n * F, hi);
		}
		free_pages_exact(p, rows[i].n * F);
		mm_drain();
	}
	KUNIT_EXPECT_NULL(test, page_alloc_range(1, 0, NOWHERE, NOWHERE, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, page_alloc_range(1, 0, NOWHERE, 0, GFP_KERNEL));
	KUNIT_EXPECT_NULL(test, page_alloc_range(1, 0, 0, F, GFP_KERNEL));
}

/* ---- Zeroes ---- */

static bool is_zero(const void *p, size_t size)
{
	const uint64_t *word = p;

	for (size_t i = 0; i < size / 8; i++)
		if (word[i])
			return false;
	return true;
}

static void zeroes_over_dirt(struct kunit *test)
{
	static const size_t sizes[] = { F, 2 * F, 63 * F, 64 * F, C - F, C, C + 3 * F };

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			void *p = alloc_pages_exact(sizes[i], GFP_KERNEL), *q;

			KUNIT_ASSERT_NOT_NULL(test, p);
			memset(p, 0xd1, sizes[i]);
			free_pages_exact(p, sizes[i]);
			if (round == 2)
				mm_drain();
			p = alloc_pages_exact(sizes[i], GFP_KERNEL | __GFP_ZERO);
			q = alloc_pages_exact(sizes[i], GFP_KERNEL | __GFP_ZERO);
			KUNIT_ASSERT_NOT_NULL(test, p);
			KUNIT_ASSERT_NOT_NULL(test, q);
			KUNIT_EXPECT_TRUE(test, is_zero(p, sizes[i]));
			memset(p, 0xd2, sizes[i]);
			KUNIT_EXPECT_TRUE(test, is_zero(q, sizes[i]));
			memset(q, 0xd3, sizes[i]);
			free_pages_exact(p, sizes[i]);
			free_pages_exact(q, sizes[i]);
		}
	}
}

/* ---- Bulk ---- */

static void bulk(struct kunit *test)
{
	static void *page[700];
	struct mm_stats s;

	for (unsigned round = 0; round < 3; round++) {
		gfp_t gfp = GFP_KERNEL | (round == 1 ? __GFP_ZERO : 0) | (round == 2 ? GFP_DMA : 0);
		size_t n = page_alloc_bulk(ARRAY_SIZE(page), page, gfp);

		/* Some machines have no more below 16 MiB. */
		if (round == 2)
			KUNIT_EXPECT_GT(test, n, 0);
		else
			KUNIT_EXPECT_EQ(test, n, ARRAY_SIZE(page));
		mm_drain();
		mm_stats(&s);
		KUNIT_EXPECT_EQ(test, s.frames_used - start.frames_used, n);
		for (size_t i = 0; i < n; i++) {
			KUNIT_ASSERT_NOT_NULL(test, page[i]);
			KUNIT_EXPECT_EQ(test, (uintptr_t)page[i] % F, 0);
			if (round == 1)
				KUNIT_EXPECT_TRUE(test, is_zero(page[i], F));
			if (round == 2)
				KUNIT_EXPECT_LT(test, virt_to_phys(page[i]), 16 * MIB);
			*(uint64_t *)page[i] = i + 1;
		}
		/* No frame twice: each still carries its own number. */
		for (size_t i = 0; i < n; i++)
			KUNIT_ASSERT_EQ(test, *(uint64_t *)page[i], i + 1);
		free_pages_exact(page[3], F);
		page[3] = NULL;
		page_free_bulk(n, page);
	}
}

/* ---- Injection ---- */

/* Every public call is one point; without growth there are no points inside. */
static void nth_call_fails(struct kunit *test)
{
	void *p = alloc_pages_exact(C, GFP_KERNEL), *page[4];

	KUNIT_ASSERT_NOT_NULL(test, p);
	free_pages_exact(p, C);
	for (unsigned nth = 1; nth <= 5; nth++) {
		mm_fail_nth(nth);
		for (unsigned call = 1; call <= 6; call++) {
			p = call % 2 ? alloc_pages_exact(F, GFP_KERNEL)
				     : __get_free_pages(GFP_KERNEL, 0);
			KUNIT_EXPECT_EQ_MSG(test, !p, call == nth, "call %u of nth %u", call, nth);
			free_pages(p, 0);
		}
		mm_fail_off();
	}
	mm_fail_nth(1);
	KUNIT_EXPECT_NULL(test, page_alloc_range(1, 0, 0, NOWHERE, GFP_KERNEL));
	mm_fail_nth(1);
	KUNIT_EXPECT_EQ(test, page_alloc_bulk(4, page, GFP_KERNEL), 0);
	/* Off, before it was reached. */
	mm_fail_nth(1);
	mm_fail_nth(0);
	p = alloc_pages_exact(F, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	free_pages(p, 0);
}

static void rate_of_failures(struct kunit *test)
{
	unsigned failed[2] = { 0 };

	for (unsigned run = 0; run < 2; run++) {
		mm_fail_rate(10, 4711);
		for (unsigned i = 0; i < 2000; i++) {
			void *p = alloc_pages_exact(F, GFP_KERNEL);

			failed[run] += !p;
			free_pages(p, 0);
		}
		mm_fail_off();
	}
	KUNIT_EXPECT_GT(test, failed[0], 100);
	KUNIT_EXPECT_LT(test, failed[0], 400);
	/* One CPU and the same seed: the same failures. */
	KUNIT_EXPECT_EQ(test, failed[0], failed[1]);
}

static int longest_reserved(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	uint64_t *longest = arg;

	(void)base;
	if (s == MEM_RESERVED && size > *longest)
		*longest = size;
	return 0;
}

/* Not even where memory must be made Ready first, with all that takes. */
static void nofail_is_exempt(struct kunit *test)
{
	uint64_t longest = 0;
	size_t sizes[] = { F, 5 * F, C, 3 * C };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *p;

		mm_fail_rate(1, 1);
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(sizes[i], GFP_KERNEL));
		p = alloc_pages_exact(sizes[i], GFP_KERNEL | __GFP_NOFAIL);
		KUNIT_EXPECT_NOT_NULL(test, p);
		KUNIT_EXPECT_NULL(test, alloc_pages_exact(sizes[i], GFP_KERNEL));
		mm_fail_off();
		free_pages_exact(p, sizes[i]);
	}
	/* Larger than what is free: it can come from Reserved memory alone. */
	mem_walk(longest_reserved, &longest);
	if (longest >= 8 * C && longest < 4096 * MIB) {
		size_t size = round_down(start.frames_free * F + F, C) + C;
		void *p;

		size = MIN(MAX(size, 2 * C), longest / 2);
		mm_fail_rate(1, 1);
		p = alloc_pages_exact(size, GFP_KERNEL | __GFP_NOFAIL);
		mm_fail_off();
		KUNIT_EXPECT_NOT_NULL(test, p);
		free_pages_exact(p, size);
	}
}

/* ---- Counting ---- */

static int add_state(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	(void)base;
	((uint64_t *)arg)[s] += size;
	return 0;
}

static void counts_add_up(struct kunit *test)
{
	uint64_t by_walk[4] = { 0 };
	struct mm_stats s;
	void *p = alloc_pages_exact(9 * F, GFP_KERNEL), *q = __get_free_pages(GFP_KERNEL, 2);

	mm_drain();
	mm_stats(&s);
	mem_walk(add_state, by_walk);
	KUNIT_EXPECT_EQ(test, s.none_bytes, by_walk[MEM_NONE]);
	KUNIT_EXPECT_EQ(test, s.reserved_bytes, by_walk[MEM_RESERVED]);
	KUNIT_EXPECT_EQ(test, s.prepared_bytes, by_walk[MEM_PREPARED]);
	KUNIT_EXPECT_EQ(test, s.ready_bytes, by_walk[MEM_READY]);
	KUNIT_EXPECT_EQ(test, s.ram_bytes,
			s.none_bytes + s.reserved_bytes + s.prepared_bytes + s.ready_bytes);
	KUNIT_EXPECT_EQ(test, s.frames_used, start.frames_used + 13);
	KUNIT_EXPECT_EQ(test, s.alloc_calls, start.alloc_calls + 2);
	KUNIT_EXPECT_EQ(test, s.free_calls, start.free_calls);
	KUNIT_EXPECT_EQ(test, s.failed_calls, start.failed_calls);
	KUNIT_EXPECT_LE(test, (s.frames_used + s.frames_free) * F, s.ready_bytes);
	KUNIT_EXPECT_GT(test, s.metadata_bytes, 0);
	free_pages_exact(p, 9 * F);
	free_pages(q, 2);
	mm_drain();
	mm_stats(&s);
	KUNIT_EXPECT_EQ(test, s.free_calls, start.free_calls + 2);
	KUNIT_EXPECT_EQ(test, s.frames_used, start.frames_used);
}

static struct kunit_case page_cases[] = {
	KUNIT_CASE(exact_sizes),
	KUNIT_CASE(sizes_are_rounded_to_frames),
	KUNIT_CASE(orders),
	KUNIT_CASE(alignments),
	KUNIT_CASE(absurd_requests),
	KUNIT_CASE(null_frees),
	KUNIT_CASE(dma_windows),
	KUNIT_CASE(high_memory_is_preferred),
	KUNIT_CASE(window_edges),
	KUNIT_CASE(zeroes_over_dirt),
	KUNIT_CASE(bulk),
	KUNIT_CASE(nth_call_fails),
	KUNIT_CASE(rate_of_failures),
	KUNIT_CASE(nofail_is_exempt),
	KUNIT_CASE(counts_add_up),
	{},
};

static struct kunit_suite page_suite = {
	.name = "page",
	.init = page_init,
	.exit = page_exit,
	.test_cases = page_cases,
};
kunit_test_suite(page_suite);
