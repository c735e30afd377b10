// SPDX-License-Identifier: MIT
/*
 * Real memory that arrives and leaves, in the part of the process's physical
 * addresses that start-up left out: at places that share arenas with nothing, with
 * each other, and with whole arenas between.
 */
#include <host_port.h>
#include <kunit/test.h>
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include <spanheap/scavenge.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>
#include <string.h>

#include "lib/bits.h"
#include "mm/arena.h"

#define CYCLES 30

static phys_addr_t spare(void)
{
	return MIN(host_port.phys_size, PFN_LIMIT << FRAME_SHIFT) - (512UL << 20);
}

static void use_all(struct kunit *test, phys_addr_t base, uint64_t size)
{
	unsigned n = 0;
	void *list = NULL, *p;

	/* Chunks of it, as many as can be had. */
	while ((p = page_alloc_range(CHUNK_FRAMES, CHUNK_SIZE, base, base + size, GFP_KERNEL))) {
		memset(p, 0x3c, CHUNK_SIZE);
		*(void **)p = list;
		list = p;
		n++;
	}
	/* All but those that hold its metadata. */
	KUNIT_EXPECT_GE(test, n + 1, size >> CHUNK_SHIFT);
	KUNIT_EXPECT_EQ(test, mm_remove_memory(base, size), -EBUSY);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	for (; list; list = p) {
		p = *(void **)list;
		free_pages_exact(list, CHUNK_SIZE);
	}
}

static void arrives_and_leaves(struct kunit *test)
{
	static const struct {
		uint64_t offset, size;
	} rows[] = {
		{ 0, 64UL << 20 }, { 6UL << 20, 8UL << 20 }, { 34UL << 20, 256UL << 20 },
		{ 62UL << 20, 4UL << 20 }, { 2UL << 20, 126UL << 20 },
	};
	struct mm_stats before, after;

	mm_drain();
	for (unsigned i = 0; i < CYCLES; i++) {
		phys_addr_t base = spare() + rows[i % ARRAY_SIZE(rows)].offset;
		uint64_t size = rows[i % ARRAY_SIZE(rows)].size;

		/* Each row has been there with and without scavenging. */
		if (i == 3 * ARRAY_SIZE(rows))
			mm_stats(&before);
		KUNIT_ASSERT_EQ(test, mm_add_memory(base, size, NUMA_NO_NODE), 0);
		KUNIT_EXPECT_EQ(test, mm_add_memory(base, size, NUMA_NO_NODE), -EEXIST);
		KUNIT_EXPECT_EQ(test, mem_state(base + size - 1), MEM_RESERVED);
		use_all(test, base, size);
		if (i % 3 == 0)
			mm_scavenge(size / 2);
		KUNIT_ASSERT_EQ(test, mm_remove_memory(base, size), 0);
		KUNIT_EXPECT_EQ(test, mem_state(base), MEM_NONE);
		KUNIT_EXPECT_EQ(test, mem_state(base + size - 1), MEM_NONE);
	}
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.ram_bytes, before.ram_bytes);
	KUNIT_EXPECT_EQ(test, after.metadata_bytes, before.metadata_bytes);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* A node that nobody had heard of. */
static void a_new_node(struct kunit *test)
{
	int node = PORT_MAX_NODES - 1;
	void *p;

	KUNIT_ASSERT_EQ(test, mm_add_memory(spare(), 128UL << 20, node), 0);
	p = page_alloc_range(10, 0, spare(), spare() + (128UL << 20), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	memset(p, 1, 10 * FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, mm_remove_memory(spare(), 128UL << 20), -EBUSY);
	free_pages_exact(p, 10 * FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, mm_remove_memory(spare(), 128UL << 20), 0);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* Memory that the machine refuses is not taken. */
static void bad_memory(struct kunit *test)
{
	host_bad_memory(spare() + (64UL << 20), FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, mm_add_memory(spare() + (64UL << 20), 64UL << 20, 0), -EIO);
	KUNIT_EXPECT_EQ(test, mem_state(spare() + (64UL << 20)), MEM_NONE);
	host_bad_memory(0, 0);
	KUNIT_EXPECT_EQ(test, mm_add_memory(spare() + (64UL << 20), 64UL << 20, 0), 0);
	KUNIT_EXPECT_EQ(test, mm_remove_memory(spare() + (64UL << 20), 64UL << 20), 0);
}

static struct kunit_case hotplug_host_cases[] = {
	KUNIT_CASE(arrives_and_leaves),
	KUNIT_CASE(a_new_node),
	KUNIT_CASE(bad_memory),
	{},
};

static struct kunit_suite hotplug_host_suite = {
	.name = "hotplug_host",
	.test_cases = hotplug_host_cases,
};
kunit_test_suite(hotplug_host_suite);
