// SPDX-License-Identifier: MIT
/*
 * memblock's allocation: first fit from either end, alignment, floor, node; and
 * the mapped, zeroed memory of memblock_alloc(), which small requests share.
 *
 * For the latter, frames of the running machine stand for memory that is not
 * mapped yet: an instance's own map function counts in place of port_map().
 */
#include <kunit/test.h>
#include <spanheap/page.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "mm/memblock.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static struct memblock mb, snapshot;

static int memblock_alloc_test_init(struct kunit *test)
{
	(void)test;
	memset(&mb, 0, sizeof(mb));
	return 0;
}

static void take_snapshot(void)
{
	memcpy(&snapshot, &mb, sizeof(mb));
}

#define EXPECT_UNCHANGED(test) KUNIT_EXPECT_MEMEQ(test, &mb, &snapshot, sizeof(mb))

/* ---- Whole frames ---- */

static phys_addr_t alloc(uint64_t size, uint64_t align, int node)
{
	return memblock_alloc_phys(&mb, size, align, node);
}

static void allocates_low_to_high(struct kunit *test)
{
	memblock_add_to(&mb, 0x1000, 0x7000, 0);
	memblock_reserve_in(&mb, 0x3000, 1);
	KUNIT_EXPECT_EQ(test, alloc(1, 1, NUMA_NO_NODE), 0x1000);
	KUNIT_EXPECT_EQ(test, alloc(0x1001, 1, NUMA_NO_NODE), 0x4000);
	KUNIT_EXPECT_EQ(test, alloc(0x1000, 1, NUMA_NO_NODE), 0x2000);
	KUNIT_EXPECT_EQ(test, alloc(0x2001, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_EQ(test, alloc(0x2000, 1, NUMA_NO_NODE), 0x6000);
	KUNIT_EXPECT_EQ(test, alloc(1, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
}

static void allocates_high_to_low(struct kunit *test)
{
	mb.top_down = true;
	memblock_add_to(&mb, 0x1000, 0x7000, 0);
	memblock_reserve_in(&mb, 0x6000, 1);
	KUNIT_EXPECT_EQ(test, alloc(1, 1, NUMA_NO_NODE), 0x7000);
	KUNIT_EXPECT_EQ(test, alloc(0x1000, 0x4000, NUMA_NO_NODE), 0x4000);
	KUNIT_EXPECT_EQ(test, alloc(0x3001, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_EQ(test, alloc(0x3000, 1, NUMA_NO_NODE), 0x1000);
	KUNIT_EXPECT_EQ(test, alloc(1, 1, NUMA_NO_NODE), 0x5000);
	KUNIT_EXPECT_EQ(test, alloc(1, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
}

static void aligns(struct kunit *test)
{
	for (int top_down = 0; top_down < 2; top_down++) {
		for (unsigned shift = 0; shift < 64; shift++) {
			uint64_t align = 1ULL << shift;
			phys_addr_t pa;

			memset(&mb, 0, sizeof(mb));
			mb.top_down = top_down;
			memblock_add_to(&mb, 0x1000, 3 * GIB, 0);
			memblock_reserve_in(&mb, 0x3000, 0x5000);
			pa = alloc(0x3000, align, NUMA_NO_NODE);
			if (shift > 31) {
				KUNIT_EXPECT_EQ(test, pa, MEMBLOCK_FAILED);
				continue;
			}
			KUNIT_EXPECT_NE(test, pa, MEMBLOCK_FAILED);
			KUNIT_EXPECT_EQ(test, pa & (align - 1), 0);
			if (!top_down)
				KUNIT_EXPECT_EQ(test, pa, MAX(round_up(0x8000, align), 0x8000));
		}
	}
}

static void floor_is_kept_while_possible(struct kunit *test)
{
	memblock_add_to(&mb, 0x1000, 32 * MIB - 0x1000, 0);
	mb.floor = 16 * MIB + 1;
	KUNIT_EXPECT_EQ(test, alloc(MIB, 1, NUMA_NO_NODE), 16 * MIB + 0x1000);
	KUNIT_EXPECT_EQ(test, alloc(15 * MIB, 1, NUMA_NO_NODE), 0x1000);
	KUNIT_EXPECT_EQ(test, alloc(14 * MIB, MIB, NUMA_NO_NODE), 18 * MIB);
	/* A floor above all memory is no floor. */
	mb.floor = MEMBLOCK_LIMIT;
	KUNIT_EXPECT_EQ(test, alloc(MIB / 2, 1, NUMA_NO_NODE), 15 * MIB + 0x1000);
}

static void wanted_node_comes_first(struct kunit *test)
{
	memblock_add_to(&mb, 0x1000, 0x3000, 0);
	memblock_add_to(&mb, 0x4000, 0x3000, 1);
	memblock_add_to(&mb, 0x7000, 0x3000, 0);
	mb.floor = 0x7000;
	KUNIT_EXPECT_EQ(test, alloc(0x1000, 1, 1), 0x4000);
	KUNIT_EXPECT_EQ(test, alloc(0x2000, 1, 1), 0x5000);
	KUNIT_EXPECT_EQ(test, alloc(0x1000, 1, 1), 0x7000);
	KUNIT_EXPECT_EQ(test, alloc(0x3000, 1, 1), 0x1000);
	KUNIT_EXPECT_EQ(test, alloc(0x1000, 1, 0), 0x8000);
	KUNIT_EXPECT_EQ(test, alloc(0x1000, 1, 2), 0x9000);
	KUNIT_EXPECT_EQ(test, alloc(0x1000, 1, 1), MEMBLOCK_FAILED);
}

static void absurd_requests_fail(struct kunit *test)
{
	memblock_add_to(&mb, 0, 64 * MIB, 0);
	take_snapshot();
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, 0, 0x1000, -2), -EINVAL);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, 0, 0x1000, PORT_MAX_NODES), -EINVAL);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, 0, 0, PORT_MAX_NODES), -EINVAL);
	KUNIT_EXPECT_EQ(test, alloc(0, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_EQ(test, alloc(1, 0, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_EQ(test, alloc(1, 3, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_EQ(test, alloc(64 * MIB + 1, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_EQ(test, alloc(MEMBLOCK_LIMIT, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_EQ(test, alloc(~0ULL, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_EQ(test, alloc(~0ULL - 0x1000, 1ULL << 63, 0), MEMBLOCK_FAILED);
	KUNIT_EXPECT_NULL(test, memblock_alloc_in(&mb, 0, 1));
	KUNIT_EXPECT_NULL(test, memblock_alloc_in(&mb, 1, 0));
	KUNIT_EXPECT_NULL(test, memblock_alloc_in(&mb, 1, 48));
	KUNIT_EXPECT_NULL(test, memblock_alloc_in(&mb, SIZE_MAX, 1));
	KUNIT_EXPECT_NULL(test, memblock_alloc_in(&mb, SIZE_MAX - 62, 1));
	EXPECT_UNCHANGED(test);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, 0, 0x1000, NUMA_NO_NODE), 0);
	EXPECT_UNCHANGED(test);
}

static void allocated_memory_cannot_be_reserved(struct kunit *test)
{
	memblock_add_to(&mb, 0x1000, 0x8000, 0);
	KUNIT_EXPECT_EQ(test, alloc(0x2000, 0x4000, NUMA_NO_NODE), 0x4000);
	take_snapshot();
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, 0x5fff, 1), -EBUSY);
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, 0x1000, 0x3001), -EBUSY);
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, 0, ~0ULL), -EBUSY);
	EXPECT_UNCHANGED(test);
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, 0x3fff, 1), 0);
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, 0x6000, 1), 0);
}

/* ---- Mapped and zeroed memory; real frames stand for an unmapped machine ---- */

#define NREAL 32

static struct {
	uint8_t *at;
	unsigned calls;
	uint8_t mapped[NREAL];
	int refuse;
} real;

static int real_map(uintptr_t va, phys_addr_t pa, size_t size)
{
	size_t first = (pa - virt_to_phys(real.at)) / FRAME_SIZE;

	if (real.refuse)
		return real.refuse;
	if ((void *)va != phys_to_virt(pa))
		return -EINVAL;
	real.calls++;
	for (size_t i = first; i < first + size / FRAME_SIZE; i++)
		if (i >= NREAL || real.mapped[i]++)
			return -EEXIST;
	return 0;
}

static void give_real_memory(struct kunit *test)
{
	memset(&real, 0, sizeof(real));
	real.at = alloc_pages_exact(NREAL * FRAME_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, real.at);
	memset(real.at, 0xa5, NREAL * FRAME_SIZE);
	mb.map = real_map;
	memblock_add_to(&mb, virt_to_phys(real.at), NREAL * FRAME_SIZE, 0);
}

static void memblock_alloc_test_exit(struct kunit *test)
{
	(void)test;
	free_pages_exact(real.at, NREAL * FRAME_SIZE);
	real.at = NULL;
}

static bool all_bytes(const uint8_t *p, size_t n, uint8_t byte)
{
	while (n && *p == byte)
		p++, n--;
	return !n;
}

static void small_ones_share_frames(struct kunit *test)
{
	uint8_t *last = NULL, *p;

	give_real_memory(test);
	for (unsigned i = 0; i < NREAL * FRAME_SIZE / 64; i++, last = p) {
		p = memblock_alloc_in(&mb, 1 + i % 64, 1);
		KUNIT_ASSERT_NOT_NULL(test, p);
		if (last)
			KUNIT_ASSERT_PTR_EQ(test, p, last + 64);
		KUNIT_ASSERT_EQ(test, real.calls, i / (FRAME_SIZE / 64) + 1);
		KUNIT_ASSERT_TRUE(test, all_bytes(p, 64, 0));
		memset(p, 0x5a, 64);
	}
	KUNIT_EXPECT_NULL(test, memblock_alloc_in(&mb, 1, 1));
	KUNIT_EXPECT_TRUE(test, all_bytes(real.at, NREAL * FRAME_SIZE, 0x5a));
}

static void rest_of_large_ones_is_used(struct kunit *test)
{
	uint8_t *a, *b, *c;

	give_real_memory(test);
	a = memblock_alloc_in(&mb, FRAME_SIZE + 100, 1);
	b = memblock_alloc_in(&mb, 64, 2048);
	c = memblock_alloc_in(&mb, 3000, 1);
	KUNIT_EXPECT_PTR_EQ(test, a, real.at);
	KUNIT_EXPECT_PTR_EQ(test, b, real.at + FRAME_SIZE + 2048);
	KUNIT_EXPECT_PTR_EQ(test, c, real.at + 2 * FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, real.calls, 2);
	/* The larger rest was kept: of the frame of b. */
	KUNIT_EXPECT_PTR_EQ(test, memblock_alloc_in(&mb, 1000, 1), b + 64);
	KUNIT_EXPECT_EQ(test, real.calls, 2);
	for (size_t align = 64; align <= 4 * FRAME_SIZE; align *= 2) {
		c = memblock_alloc_in(&mb, 1, align);
		KUNIT_ASSERT_NOT_NULL(test, c);
		KUNIT_EXPECT_EQ(test, virt_to_phys(c) & (align - 1), 0);
		KUNIT_EXPECT_EQ(test, real.mapped[(c - real.at) / FRAME_SIZE], 1);
		KUNIT_EXPECT_EQ(test, *c, 0);
		*c = 1;
	}
}

static void refused_mapping_loses_nothing(struct kunit *test)
{
	static const int refusals[] = { -ENOMEM, -EIO, -EEXIST };
	uint8_t *p;

	give_real_memory(test);
	KUNIT_EXPECT_NOT_NULL(test, memblock_alloc_in(&mb, 64, 1));
	take_snapshot();
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		real.refuse = refusals[i];
		KUNIT_EXPECT_NULL(test, memblock_alloc_in(&mb, FRAME_SIZE, 1));
		EXPECT_UNCHANGED(test);
	}
	real.refuse = 0;
	p = memblock_alloc_in(&mb, (NREAL - 1) * FRAME_SIZE, 1);
	KUNIT_EXPECT_PTR_EQ(test, p, real.at + FRAME_SIZE);
	KUNIT_EXPECT_TRUE(test, all_bytes(p, (NREAL - 1) * FRAME_SIZE, 0));
	KUNIT_EXPECT_TRUE(test, all_bytes(real.mapped, NREAL, 1));
}

static struct kunit_case memblock_alloc_cases[] = {
	KUNIT_CASE(allocates_low_to_high),
	KUNIT_CASE(allocates_high_to_low),
	KUNIT_CASE(aligns),
	KUNIT_CASE(floor_is_kept_while_possible),
	KUNIT_CASE(wanted_node_comes_first),
	KUNIT_CASE(absurd_requests_fail),
	KUNIT_CASE(allocated_memory_cannot_be_reserved),
	KUNIT_CASE(small_ones_share_frames),
	KUNIT_CASE(rest_of_large_ones_is_used),
	KUNIT_CASE(refused_mapping_loses_nothing),
	{},
};

static struct kunit_suite memblock_alloc_suite = {
	.name = "memblock_alloc",
	.init = memblock_alloc_test_init,
	.exit = memblock_alloc_test_exit,
	.test_cases = memblock_alloc_cases,
};
kunit_test_suite(memblock_alloc_suite);
