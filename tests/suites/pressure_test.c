// SPDX-License-Identifier: MIT
/*
 * Low memory: reserves, marks, and the handlers that are asked.
 *
 * The cases that need an empty machine take all memory there is; on a machine
 * with very much of it they are left out.
 */
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/page.h>
#include <spanheap/pressure.h>
#include <spanheap/stats.h>

#include "heap_fixture.h"
#include "lib/bits.h"
#include "mm/pressure.h"

#define P CHUNK_FRAMES
#define EXHAUST_MAX (4ULL << 30)

/* ---- Floors, on made-up addresses ---- */

static uint64_t alloc_ordinary(uint64_t n)
{
	struct run_wanted want = {
		.n = n, .align = 1, .lo = FIX_PFN0, .hi = window_end(FIX_WINDOW), .keep_floor = true
	};
	bool zero;
	uint64_t pfn = pageheap_alloc(&fix_heap, &want, &zero);

	return pfn == PFN_NONE ? PFN_NONE : pfn - FIX_PFN0;
}

static void ordinary_requests_keep_the_floor(struct kunit *test)
{
	fix_reserve(test, (struct fix_chunks[]){ { 0, 3 }, { 0 } });
	fix_heap.floor[FIX_WINDOW] = 100;
	/* The heap grows rather than go below. */
	KUNIT_EXPECT_EQ(test, alloc_ordinary(P - 100), 0);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, P);
	KUNIT_EXPECT_EQ(test, alloc_ordinary(1), P - 100);
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 2 * P);
	KUNIT_EXPECT_EQ(test, alloc_ordinary(2 * P), PFN_NONE);
	KUNIT_EXPECT_EQ(test, alloc_ordinary(2 * P - 1), P - 99);
	/* All but the floor is theirs, to the frame; the rest others', to the last. */
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 100);
	KUNIT_EXPECT_EQ(test, alloc_ordinary(1), PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_alloc(99), 3 * P - 100);
	KUNIT_EXPECT_EQ(test, fix_alloc(1), 3 * P - 1);
	KUNIT_EXPECT_EQ(test, fix_alloc(1), PFN_NONE);
	/* What comes back fills the reserve first. */
	KUNIT_EXPECT_EQ(test, fix_free(3 * P - 100, 99), -1);
	KUNIT_EXPECT_EQ(test, alloc_ordinary(1), PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_free(0, P - 100), -1);
	KUNIT_EXPECT_EQ(test, alloc_ordinary(P - 101), 0);
	KUNIT_EXPECT_EQ(test, alloc_ordinary(1), PFN_NONE);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

static void floors_scale_with_memory(struct kunit *test)
{
	for (unsigned node = 0; node < PORT_MAX_NODES; node++) {
		const struct pageheap *heap = &main_heap[node];
		uint64_t sum = 0;

		for (unsigned w = 0; w < MEM_WINDOWS; w++)
			sum += heap->floor[w];
		/* A hundredth at most, whatever the shape. */
		KUNIT_EXPECT_LE(test, sum * 100, main_map.reserved[node] + heap->frames +
							 heap->scavenged);
	}
}

/* ---- Marks ---- */

static struct {
	unsigned calls;
	enum mm_pressure level;
} told;

static void note(enum mm_pressure level)
{
	void *p;

	told.calls++;
	told.level = level;
	/* No lock is held: the handler may allocate. */
	p = alloc_pages_exact(64 * FRAME_SIZE, GFP_ATOMIC);
	free_pages_exact(p, 64 * FRAME_SIZE);
}

/* Longer than anything that a cache would serve. */
static void ask(struct kunit *test)
{
	void *p = alloc_pages_exact(100 * FRAME_SIZE, GFP_KERNEL);

	KUNIT_EXPECT_NOT_NULL(test, p);
	free_pages_exact(p, 100 * FRAME_SIZE);
}

static void marks_are_told(struct kunit *test)
{
	uint64_t all = mm_available();

	told.calls = 0;
	mm_set_pressure_handler(note);
	ask(test);
	KUNIT_EXPECT_EQ(test, told.calls, 0);
	KUNIT_EXPECT_EQ(test, mm_set_watermarks(all / 4, all / 2), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_watermarks(2 * all, all / 2), 0);
	KUNIT_EXPECT_EQ(test, mm_pressure(), MM_PRESSURE_LOW);
	ask(test);
	KUNIT_EXPECT_EQ(test, told.calls, 1);
	KUNIT_EXPECT_EQ(test, told.level, MM_PRESSURE_LOW);
	ask(test);
	KUNIT_EXPECT_EQ(test, told.calls, 1);
	KUNIT_EXPECT_EQ(test, mm_set_watermarks(2 * all, 2 * all), 0);
	ask(test);
	KUNIT_EXPECT_EQ(test, told.calls, 2);
	KUNIT_EXPECT_EQ(test, told.level, MM_PRESSURE_CRITICAL);
	pressure_init();
	ask(test);
	KUNIT_EXPECT_EQ(test, told.calls, 3);
	KUNIT_EXPECT_EQ(test, told.level, MM_PRESSURE_NONE);
	mm_set_pressure_handler(NULL);
}

/* ---- A full machine ---- */

struct hoard {
	struct hoard *next;
	size_t size;
};

/* Everything that requests with these flags get, in pieces as large as possible. */
static struct hoard *take_all(gfp_t gfp)
{
	struct hoard *all = NULL;

	for (size_t size = 64UL << 20; size >= FRAME_SIZE; size /= 2) {
		struct hoard *h;

		while ((h = alloc_pages_exact(size, gfp & ~__GFP_RECLAIM))) {
			h->next = all;
			h->size = size;
			all = h;
		}
	}
	return all;
}

static uint64_t give_all(struct hoard *h)
{
	struct hoard *next;
	uint64_t n = 0;

	for (; h; h = next) {
		next = h->next;
		n += h->size;
		free_pages_exact(h, h->size);
	}
	return n;
}

static void need_small_machine(struct kunit *test)
{
	if (mm_available() > EXHAUST_MAX)
		kunit_skip(test, "too much memory to take it all");
}

static void reserves_are_kept(struct kunit *test)
{
	struct hoard *ordinary, *rest;
	uint64_t floors = 0;
	void *dma;

	need_small_machine(test);
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		for (unsigned w = 0; w < MEM_WINDOWS; w++)
			floors += main_heap[node].floor[w];
	ordinary = take_all(GFP_KERNEL);
	KUNIT_EXPECT_NULL(test, alloc_pages_exact(FRAME_SIZE, GFP_KERNEL));
	mm_drain();
	KUNIT_EXPECT_GE(test, mm_available(), floors << FRAME_SHIFT);
	/* Metadata for a machine in use may come out of what nobody had yet. */
	KUNIT_EXPECT_LE(test, mm_available(), (floors << FRAME_SHIFT) + (1 << 20));
	if (main_heap[0].floor[WINDOW_DMA]) {
		dma = alloc_pages_exact(4 * FRAME_SIZE, GFP_KERNEL | GFP_DMA);
		KUNIT_EXPECT_NOT_NULL(test, dma);
		free_pages_exact(dma, 4 * FRAME_SIZE);
	}
	rest = take_all(GFP_ATOMIC);
	KUNIT_EXPECT_NOT_NULL(test, rest);
	KUNIT_EXPECT_NULL(test, alloc_pages_exact(FRAME_SIZE, GFP_ATOMIC));
	mm_drain();
	KUNIT_EXPECT_EQ(test, mm_available(), 0);
	give_all(rest);
	give_all(ordinary);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct hoard *stock;
static unsigned asked;
static gfp_t asked_with;

/* Gives one piece each time. */
static size_t reclaim(size_t bytes, gfp_t gfp)
{
	struct hoard *h = stock;
	size_t size = h ? h->size : 0;

	(void)bytes;
	asked++;
	asked_with = gfp;
	if (h) {
		stock = h->next;
		free_pages_exact(h, size);
	}
	return size;
}

static void reclaim_before_failure(struct kunit *test)
{
	struct hoard *others;
	void *p;

	need_small_machine(test);
	/* What caches of objects and stacks hold would come back in the midst of this. */
	mm_drain();
	/* The first piece would fill up what metadata has drawn from the reserve. */
	mm_set_reserves(0);
	others = take_all(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, others);
	/* The smallest pieces were taken last. */
	stock = others;
	asked = 0;
	mm_set_reclaim_handler(reclaim);
	KUNIT_EXPECT_NULL(test, alloc_pages_exact(FRAME_SIZE, 0));
	KUNIT_EXPECT_EQ(test, asked, 0);
	p = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, asked, 1);
	KUNIT_EXPECT_TRUE(test, asked_with & __GFP_RECLAIM);
	free_pages_exact(p, FRAME_SIZE);
	mm_set_reclaim_handler(NULL);
	give_all(stock);
	stock = NULL;
	/* A handler that has nothing is asked once. */
	asked = 0;
	mm_set_reclaim_handler(reclaim);
	KUNIT_EXPECT_NULL(test, alloc_pages_exact(PFN_LIMIT << FRAME_SHIFT, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, asked, 1);
	mm_set_reclaim_handler(NULL);
	mm_set_reserves(256);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static void without_reserves_to_the_last(struct kunit *test)
{
	struct hoard *all;

	need_small_machine(test);
	mm_set_reserves(0);
	all = take_all(GFP_KERNEL);
	mm_drain();
	KUNIT_EXPECT_EQ(test, mm_available(), 0);
	KUNIT_EXPECT_NULL(test, alloc_pages_exact(FRAME_SIZE, GFP_ATOMIC));
	give_all(all);
	mm_set_reserves(256);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct kunit_case pressure_cases[] = {
	KUNIT_CASE(ordinary_requests_keep_the_floor),
	KUNIT_CASE(floors_scale_with_memory),
	KUNIT_CASE(marks_are_told),
	KUNIT_CASE(reserves_are_kept),
	KUNIT_CASE(reclaim_before_failure),
	KUNIT_CASE(without_reserves_to_the_last),
	{},
};

static struct kunit_suite pressure_suite = {
	.name = "pressure",
	.test_cases = pressure_cases,
};
kunit_test_suite(pressure_suite);
