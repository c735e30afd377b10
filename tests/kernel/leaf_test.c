// SPDX-License-Identifier: MIT
/*
 * What the public moves leave in the page tables: large leaves where a chunk is
 * whole, small ones where it is not, large ones again after mm_drain().
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>

#include "arch/x86_64/paging.h"
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/string.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE

static phys_addr_t base;

static int note_chunks(phys_addr_t at, uint64_t size, enum mem_state s, void *arg)
{
	phys_addr_t first = round_up(at + size / 2, C);

	(void)arg;
	if (s == MEM_RESERVED && first + 3 * C <= at + size)
		base = first;
	return 0;
}

static int leaf_init(struct kunit *test)
{
	base = 0;
	mem_walk(note_chunks, NULL);
	if (!base)
		kunit_skip(test, "the page heap has all chunks of this machine");
	return 0;
}

static void leaf_exit(struct kunit *test)
{
	for (phys_addr_t at = base; base && at < base + 3 * C; at += F)
		if (mem_state(at) >= MEM_PREPARED)
			KUNIT_EXPECT_EQ(test, mem_fault(at, F), 0);
}

/* The level of the leaf at an address: 1 large, 0 small; -1: nothing is mapped there. */
static int leaf_level(phys_addr_t pa)
{
	int level;
	pte_t entry = paging_lookup((uintptr_t)phys_to_virt(pa), &level);

	return entry & PTE_PRESENT ? level : -1;
}

static pte_t leaf_bits(phys_addr_t pa)
{
	int level;

	return paging_lookup((uintptr_t)phys_to_virt(pa), &level) & ~PTE_ADDRESS;
}

/* Read-write, no-execute, and of that very frame. */
static void expect_mapped(struct kunit *test, phys_addr_t pa)
{
	int level;
	pte_t entry = paging_lookup((uintptr_t)phys_to_virt(pa), &level);
	uint64_t size = 1ULL << pte_shift(level);

	KUNIT_EXPECT_EQ(test, entry & (PTE_PRESENT | PTE_WRITE | PTE_NX),
			PTE_PRESENT | PTE_WRITE | PTE_NX);
	KUNIT_EXPECT_EQ(test, entry & PTE_ADDRESS & ~(size - 1), round_down(pa, size));
}

static void whole_chunks_are_large(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, mem_map(base, 3 * C), 0);
	KUNIT_EXPECT_EQ(test, leaf_level(base), -1);
	KUNIT_ASSERT_EQ(test, mem_used(base, 3 * C), 0);
	mm_drain();
	for (phys_addr_t at = base; at < base + 3 * C; at += C / 4) {
		KUNIT_EXPECT_EQ(test, leaf_level(at), 1);
		expect_mapped(test, at);
	}
	KUNIT_ASSERT_EQ(test, mem_unused(base, 3 * C), 0);
	for (phys_addr_t at = base; at < base + 3 * C; at += C / 4)
		KUNIT_EXPECT_EQ(test, leaf_level(at), -1);
}

static void parts_are_small_until_joined(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, mem_map(base, 3 * C), 0);
	KUNIT_ASSERT_EQ(test, mem_used(base, 3 * C), 0);
	mm_drain();
	KUNIT_ASSERT_EQ(test, mem_unused(base + C + 5 * F, F), 0);
	KUNIT_EXPECT_EQ(test, leaf_level(base), 1);
	KUNIT_EXPECT_EQ(test, leaf_level(base + C), 0);
	KUNIT_EXPECT_EQ(test, leaf_level(base + C + 5 * F), -1);
	KUNIT_EXPECT_EQ(test, leaf_level(base + 2 * C - F), 0);
	KUNIT_EXPECT_EQ(test, leaf_level(base + 2 * C), 1);
	expect_mapped(test, base + C);
	/* Nothing to join while a frame is missing. */
	mm_drain();
	KUNIT_EXPECT_EQ(test, leaf_level(base + C), 0);
	KUNIT_ASSERT_EQ(test, mem_used(base + C + 5 * F, F), 0);
	KUNIT_EXPECT_EQ(test, leaf_level(base + C + 5 * F), 0);
	memset(phys_to_virt(base), 0x5a, 3 * C);
	mm_drain();
	KUNIT_EXPECT_EQ(test, leaf_level(base + C + 5 * F), 1);
	expect_mapped(test, base + C + 5 * F);
	KUNIT_EXPECT_EQ(test, leaf_bits(base + C), leaf_bits(base));
	for (uint64_t i = 0; i < 3 * C; i += F / 2)
		KUNIT_ASSERT_EQ(test, *(uint8_t *)phys_to_virt(base + i), 0x5a);
}

/* Made Ready a piece at a time, as the page heap does with what metadata leaves it. */
static void pieces_are_joined(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, mem_map(base, C), 0);
	for (unsigned i = 0; i < CHUNK_FRAMES; i += 64)
		KUNIT_ASSERT_EQ(test, mem_used(base + i * F, 64 * F), 0);
	KUNIT_EXPECT_EQ(test, leaf_level(base), 0);
	mm_drain();
	KUNIT_EXPECT_EQ(test, leaf_level(base), 1);
	expect_mapped(test, base);
}

struct reader {
	uint32_t stop;
	uint64_t rounds, faults;
};

static void read_all_the_time(void *arg)
{
	struct reader *r = arg;

	while (!atomic_load(&r->stop)) {
		for (unsigned i = 0; i < CHUNK_FRAMES; i += 37)
			r->faults += probe_read(phys_to_virt(base + i * F)) != 0;
		r->faults += probe_read(phys_to_virt(base)) != 0;
		r->rounds++;
		/* A drain waits until it has passed between two tasks. */
		task_yield();
	}
}

/* Splitting and joining are not seen by who reads what stays Ready. */
static void readers_see_no_gap(struct kunit *test)
{
	struct reader r = { 0 };
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	KUNIT_ASSERT_EQ(test, mem_map(base, C), 0);
	KUNIT_ASSERT_EQ(test, mem_used(base, C), 0);
	t = task_start(1, read_all_the_time, &r, "reader");
	KUNIT_ASSERT_NOT_NULL(test, t);
	for (unsigned i = 0; i < 60; i++) {
		KUNIT_EXPECT_EQ(test, mem_unused(base + 36 * F, F), 0);
		KUNIT_EXPECT_EQ(test, mem_used(base + 36 * F, F), 0);
		mm_drain();
		KUNIT_EXPECT_EQ(test, leaf_level(base), 1);
	}
	atomic_store(&r.stop, 1);
	task_join(t);
	KUNIT_EXPECT_GT(test, r.rounds, 0);
	KUNIT_EXPECT_EQ(test, r.faults, 0);
}

static struct kunit_case leaf_cases[] = {
	KUNIT_CASE(whole_chunks_are_large),
	KUNIT_CASE(parts_are_small_until_joined),
	KUNIT_CASE(pieces_are_joined),
	KUNIT_CASE(readers_see_no_gap),
	{},
};

static struct kunit_suite leaf_suite = {
	.name = "leaf",
	.init = leaf_init,
	.exit = leaf_exit,
	.test_cases = leaf_cases,
};
kunit_test_suite(leaf_suite);
