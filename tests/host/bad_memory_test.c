// SPDX-License-Identifier: MIT
/*
 * Memory that the machine refuses to map: the move says so and changes nothing,
 * the page heap goes past it, and finds it again when it has become good.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "tests/host/host_test.h"
#include "tests/suites/state_fixture.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE

static phys_addr_t base, bad;

/* Three Reserved chunks, of which the middle one is bad. */
static int bad_init(struct kunit *test)
{
	(void)test;
	base = state_find(3 * C, C, 0);
	bad = base + C;
	if (!base)
		return -ENOMEM;
	host_bad_memory(bad, C);
	return 0;
}

static void bad_exit(struct kunit *test)
{
	host_bad_memory(0, 0);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static void a_move_over_it_changes_nothing(struct kunit *test)
{
	static const struct {
		uint64_t first, size;
	} rows[] = {
		{ C, C }, { C, F }, { 0, 2 * C }, { 0, 3 * C }, { C - F, 2 * F }, { F, 2 * C }
	};
	static struct walk_table before, after;

	KUNIT_ASSERT_EQ(test, mem_map(base, 3 * C), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		walk_save(&before);
		KUNIT_EXPECT_EQ(test, mem_used(base + rows[i].first, rows[i].size), -EIO);
		walk_save(&after);
		KUNIT_EXPECT_TRUE(test, walk_same(test, &before, &after));
		if (PORT_HAS_MMU)
			KUNIT_EXPECT_EQ(test, probe_read(phys_to_virt(base)), -EFAULT);
	}
	/* Beside it all is well. */
	KUNIT_EXPECT_EQ(test, mem_used(base, C), 0);
	KUNIT_EXPECT_EQ(test, mem_used(base + 2 * C, C), 0);
	KUNIT_EXPECT_EQ(test, mem_fault(base, 3 * C), 0);
}

/* All the heap can get of the three chunks, frame by frame. */
static unsigned take_all(struct kunit *test, uint8_t **frame)
{
	unsigned n = 0;

	while ((frame[n] = page_alloc_range(1, 0, base, base + 3 * C, GFP_KERNEL))) {
		phys_addr_t pa = virt_to_phys(frame[n]);

		KUNIT_EXPECT_TRUE(test, pa >= base && pa < base + 3 * C);
		memset(frame[n++], 0x5a, F);
	}
	return n;
}

static void the_heap_goes_past_it(struct kunit *test)
{
	static uint8_t *frame[3 * CHUNK_FRAMES + 1];
	unsigned n = take_all(test, frame);

	KUNIT_EXPECT_EQ(test, n, 2 * CHUNK_FRAMES);
	for (unsigned i = 0; i < n; i++)
		KUNIT_EXPECT_FALSE(test, virt_to_phys(frame[i]) - bad < C);
	KUNIT_EXPECT_TRUE(test, state_all(bad, C, MEM_RESERVED));
	KUNIT_EXPECT_NULL(test,
			  page_alloc_range(2 * CHUNK_FRAMES, 0, base, base + 3 * C, GFP_KERNEL));
	/* It has become good. */
	host_bad_memory(0, 0);
	n += take_all(test, frame + n);
	KUNIT_EXPECT_EQ(test, n, 3 * CHUNK_FRAMES);
	while (n)
		free_pages_exact(frame[--n], F);
	mm_drain();
}

static struct kunit_case bad_cases[] = {
	KUNIT_CASE(a_move_over_it_changes_nothing),
	KUNIT_CASE(the_heap_goes_past_it),
	{},
};

static struct kunit_suite bad_suite = {
	.name = "host_bad_memory",
	.init = bad_init,
	.exit = bad_exit,
	.test_cases = bad_cases,
};
kunit_test_suite(bad_suite);
