// SPDX-License-Identifier: MIT
/*
 * The scavenger: which chunks it takes and how they come back, on made-up
 * addresses; then on live memory that they are really unmapped.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/page.h>
#include <spanheap/scavenge.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>

#include "heap_fixture.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/misuse.h"
#include "mm/scavenge.h"

#define P CHUNK_FRAMES
#define ALL (~0ULL)

static enum mem_state state_of(uint64_t chunk)
{
	return memmap_state(&fix_map, (FIX_PFN0 + chunk * P) << FRAME_SHIFT);
}

/* A letter a chunk: r Reserved, p Prepared, R Ready. */
static void expect_states(struct kunit *test, const char *states)
{
	static const char letter[] = "-rpR";
	char now[65] = "";

	for (unsigned c = 0; states[c]; c++)
		now[c] = letter[state_of(c)];
	KUNIT_EXPECT_STREQ(test, now, states);
}

static void highest_whole_chunks_first(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 8 }, { 0 } });
	KUNIT_ASSERT_EQ(test, fix_alloc_in(1, 1, 6 * P + 17, 7 * P), 6 * P + 17);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(P, 1, 2 * P, 3 * P), 2 * P);
	expect_states(test, "RRRRRRRR");
	KUNIT_EXPECT_EQ(test, scavenge_heap(&fix_heap, CHUNK_SIZE), CHUNK_SIZE);
	expect_states(test, "RRRRRRRp");
	KUNIT_EXPECT_EQ(test, scavenge_heap(&fix_heap, 1), CHUNK_SIZE);
	expect_states(test, "RRRRRpRp");
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 6 * P);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 6 * P - P - 1);
	KUNIT_EXPECT_EQ(test, fix_heap.scavenged, 2 * P);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	KUNIT_EXPECT_EQ(test, scavenge_heap(&fix_heap, ALL), 4 * CHUNK_SIZE);
	expect_states(test, "ppRpppRp");
	KUNIT_EXPECT_EQ(test, scavenge_heap(&fix_heap, ALL), 0);
	KUNIT_EXPECT_EQ(test, scavenge_heap(&fix_heap, 0), 0);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, P - 1);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* What was scavenged comes back, lowest first, before what the heap never had. */
static void comes_back(struct kunit *test)
{
	fix_reserve(test, (struct fix_chunks[]){ { 0, 12 }, { 0 } });
	KUNIT_ASSERT_EQ(test, fix_alloc(6 * P), 0);
	KUNIT_ASSERT_EQ(test, fix_free(0, 6 * P), -1);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(1, 1, 3 * P, 4 * P), 3 * P);
	KUNIT_EXPECT_EQ(test, scavenge_heap(&fix_heap, ALL), 5 * CHUNK_SIZE);
	expect_states(test, "pppRpprrrrrr");
	/* The only Ready chunk is used up first. */
	KUNIT_EXPECT_EQ(test, fix_alloc(P - 1), 3 * P + 1);
	KUNIT_EXPECT_EQ(test, fix_alloc(1), 0);
	expect_states(test, "RppRpprrrrrr");
	KUNIT_EXPECT_EQ(test, fix_alloc_in(P, P, 0, 12 * P), P);
	expect_states(test, "RRpRpprrrrrr");
	/* Two in a row: past the hole, over what was scavenged. */
	KUNIT_EXPECT_EQ(test, fix_alloc(2 * P), 4 * P);
	expect_states(test, "RRpRRRrrrrrr");
	KUNIT_EXPECT_EQ(test, fix_heap.scavenged, P);
	KUNIT_EXPECT_EQ(test, fix_free(4 * P, 2 * P), -1);
	KUNIT_EXPECT_EQ(test, scavenge_heap(&fix_heap, ALL), 2 * CHUNK_SIZE);
	/* And over what it never had. */
	KUNIT_EXPECT_EQ(test, fix_alloc(4 * P), 4 * P);
	expect_states(test, "RRpRRRRRrrrr");
	/* Nothing is lost: all of it can be had. */
	KUNIT_EXPECT_EQ(test, fix_alloc(4 * P), 8 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(P, P, 0, 12 * P), 2 * P);
	KUNIT_EXPECT_EQ(test, fix_alloc(P - 1), 1);
	KUNIT_EXPECT_EQ(test, fix_alloc(1), PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_heap.scavenged, 0);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

static void frees_of_scavenged_frames(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 2 }, { 0 } });
	KUNIT_ASSERT_EQ(test, scavenge_heap(&fix_heap, ALL), 2 * CHUNK_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(5, 1), MM_PAGE_DOUBLE_FREE);
	KUNIT_EXPECT_EQ(test, fix_free(0, P), MM_PAGE_DOUBLE_FREE);
	expect_states(test, "pp");
	KUNIT_EXPECT_EQ(test, fix_heap.frames, 0);
	fix_teardown();
}

/* Nothing that fails on the way loses or invents a chunk. */
static void fails_cleanly(struct kunit *test)
{
	uint64_t rng = 0x5ca7;

	fix_setup(test, (struct fix_chunks[]){ { 0, 40 }, { 0 } });
	for (unsigned i = 0; i < 200; i++) {
		uint64_t n = 1 + fix_rng(&rng) % (5 * P), at;

		mm_fail_rate(3, i + 1);
		scavenge_heap(&fix_heap, (fix_rng(&rng) % 8) << CHUNK_SHIFT);
		at = fix_alloc(n);
		mm_fail_off();
		if (at != PFN_NONE)
			KUNIT_ASSERT_EQ(test, fix_free(at, n), -1);
		KUNIT_ASSERT_EQ(test, fix_heap.frames + fix_heap.scavenged, 40 * P);
	}
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	KUNIT_EXPECT_EQ(test, fix_alloc(40 * P), 0);
	fix_teardown();
}

/* ---- Live memory ---- */

#define LIVE_CHUNKS 8

static void *take_live(struct kunit *test)
{
	uint8_t *p = page_alloc_range(LIVE_CHUNKS * P, CHUNK_SIZE, 0, ~0ULL, GFP_KERNEL);

	if (!p)
		kunit_skip(test, "too little memory in one piece");
	for (size_t at = 0; at < LIVE_CHUNKS * CHUNK_SIZE; at += FRAME_SIZE)
		p[at] = 0xa5;
	return p;
}

static void live_memory_faults(struct kunit *test)
{
	uint8_t *p = take_live(test);
	struct mm_stats before, after;

	mm_drain();
	mm_stats(&before);
	free_pages_exact(p, LIVE_CHUNKS * CHUNK_SIZE);
	KUNIT_EXPECT_GE(test, mm_scavenge(ALL), LIVE_CHUNKS * CHUNK_SIZE);
	mm_stats(&after);
	KUNIT_EXPECT_GE(test, after.prepared_bytes,
			before.prepared_bytes + LIVE_CHUNKS * CHUNK_SIZE);
	KUNIT_EXPECT_EQ(test, after.frames_used + LIVE_CHUNKS * P, before.frames_used);
	for (size_t at = 0; at < LIVE_CHUNKS * CHUNK_SIZE; at += CHUNK_SIZE / 2)
		KUNIT_EXPECT_EQ(test, mem_state(virt_to_phys(p + at)), MEM_PREPARED);
	if (PORT_HAS_MMU) {
		KUNIT_EXPECT_EQ(test, probe_read(p), -EFAULT);
		KUNIT_EXPECT_EQ(test, probe_read(p + LIVE_CHUNKS * CHUNK_SIZE - 1), -EFAULT);
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static void live_memory_comes_back(struct kunit *test)
{
	uint8_t *p = take_live(test), *q;
	phys_addr_t pa = virt_to_phys(p);
	size_t size = LIVE_CHUNKS * CHUNK_SIZE, dirty = 0;

	free_pages_exact(p, size);
	mm_scavenge(ALL);
	q = page_alloc_range(LIVE_CHUNKS * P, 0, pa, pa + size, GFP_KERNEL | __GFP_ZERO);
	KUNIT_ASSERT_PTR_EQ(test, q, p);
	for (size_t at = 0; at < size; at += FRAME_SIZE)
		dirty += !!q[at];
	KUNIT_EXPECT_EQ(test, dirty, 0);
	memset(q, 0x5a, size);
	free_pages_exact(q, size);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* A step leaves what the goal says, and takes no more than its budget. */
static void steps_are_paced(struct kunit *test)
{
	uint8_t *p = take_live(test);
	struct mm_stats s;
	uint64_t done;

	free_pages_exact(p, LIVE_CHUNKS * CHUNK_SIZE);
	mm_drain();
	while ((done = mm_scavenge_step(CHUNK_SIZE)))
		KUNIT_ASSERT_EQ(test, done, CHUNK_SIZE);
	mm_stats(&s);
	/* Not everything, and not much more than the goal in whole chunks. */
	KUNIT_EXPECT_GE(test, s.frames_free << FRAME_SHIFT, SCAVENGE_KEEP);
	KUNIT_EXPECT_EQ(test, mm_scavenge_step(64 * CHUNK_SIZE), 0);
}

/* ---- Beside others who allocate ---- */

#define WORKERS 3
#define ROUNDS 150
#define HELD 8

struct worker {
	struct task *task;
	uint64_t rng, bad;
	uint32_t done;
};

/* Whole chunks and less come and go; what is held keeps its content. */
static void allocate_and_check(void *arg)
{
	struct worker *w = arg;
	struct {
		uint64_t *at;
		size_t size;
	} held[HELD] = { 0 };

	for (unsigned round = 0; round < ROUNDS + HELD; round++) {
		unsigned i = round % HELD;

		if (held[i].at) {
			uint64_t last = held[i].size / sizeof(uint64_t) - 1;

			w->bad += held[i].at[0] != held[i].size ||
				  held[i].at[last] != ~held[i].size;
			free_pages_exact(held[i].at, held[i].size);
			held[i].at = NULL;
		}
		if (round < ROUNDS) {
			held[i].size = (1 + fix_rng(&w->rng) % (2 * P)) << FRAME_SHIFT;
			held[i].at = alloc_pages_exact(held[i].size, GFP_KERNEL);
		}
		if (held[i].at) {
			held[i].at[0] = held[i].size;
			held[i].at[held[i].size / sizeof(uint64_t) - 1] = ~held[i].size;
		}
		task_yield();
	}
	atomic_store(&w->done, 1);
}

static void beside_allocations(struct kunit *test)
{
	static struct worker worker[WORKERS];
	struct mm_stats before, after;
	unsigned n = 0;

	mm_drain();
	mm_stats(&before);
	for (; n < WORKERS && n + 1 < cpu_count(); n++) {
		worker[n] = (struct worker){ .rng = 0x5ca0 + n };
		worker[n].task = task_start(n + 1, allocate_and_check, &worker[n], "worker");
		KUNIT_ASSERT_NOT_NULL(test, worker[n].task);
	}
	for (unsigned i = 0; i < n; i++) {
		while (!atomic_load(&worker[i].done)) {
			mm_scavenge(4 * CHUNK_SIZE);
			task_yield();
		}
		task_join(worker[i].task);
		KUNIT_EXPECT_EQ(test, worker[i].bad, 0);
	}
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* ---- However much there is, and wherever ---- */

struct ends {
	phys_addr_t lowest, highest; /* of whole chunks that can be had */
};

static int find_ends(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	phys_addr_t first = round_up(base, CHUNK_SIZE), end = round_down(base + size, CHUNK_SIZE);
	struct ends *ends = arg;

	if ((s != MEM_RESERVED && s != MEM_PREPARED) || first >= end)
		return 0;
	if (!ends->lowest)
		ends->lowest = first;
	ends->highest = end - CHUNK_SIZE;
	return 0;
}

static void use_and_scavenge(struct kunit *test, phys_addr_t pa)
{
	uint8_t *p = page_alloc_range(P, CHUNK_SIZE, pa, pa + CHUNK_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_PTR_EQ(test, p, phys_to_virt(pa));
	memset(p, 0x77, CHUNK_SIZE);
	KUNIT_EXPECT_EQ(test, mem_state(pa), MEM_READY);
	free_pages_exact(p, CHUNK_SIZE);
	KUNIT_EXPECT_GE(test, mm_scavenge(ALL), CHUNK_SIZE);
	KUNIT_EXPECT_EQ(test, mem_state(pa), MEM_PREPARED);
	if (PORT_HAS_MMU)
		KUNIT_EXPECT_EQ(test, probe_read(p), -EFAULT);
}

static void both_ends_of_ram(struct kunit *test)
{
	struct ends ends = { 0 };

	mm_scavenge(ALL);
	mem_walk(find_ends, &ends);
	if (!ends.lowest)
		kunit_skip(test, "no chunk is free");
	use_and_scavenge(test, ends.lowest);
	use_and_scavenge(test, ends.highest);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct kunit_case scavenge_cases[] = {
	KUNIT_CASE(highest_whole_chunks_first),
	KUNIT_CASE(comes_back),
	KUNIT_CASE(frees_of_scavenged_frames),
	KUNIT_CASE(fails_cleanly),
	KUNIT_CASE(live_memory_faults),
	KUNIT_CASE(live_memory_comes_back),
	KUNIT_CASE(steps_are_paced),
	KUNIT_CASE(beside_allocations),
	KUNIT_CASE(both_ends_of_ram),
	{},
};

static struct kunit_suite scavenge_suite = {
	.name = "scavenge",
	.test_cases = scavenge_cases,
};
kunit_test_suite(scavenge_suite);
