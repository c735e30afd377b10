// SPDX-License-Identifier: MIT
/*
 * The back ends: what stands for RAM, on a part of the physical address space
 * that is no RAM of mm/'s (main.c leaves the last GiB free).
 */
#include <string.h>

#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>

#include "tests/host/host_test.h"

#define RW (PORT_READ | PORT_WRITE)
#define POOL_FRAMES 16

static uint8_t frame[POOL_FRAMES][FRAME_SIZE] __attribute__((aligned(4096)));

/* Each case has a chunk pair of its own: tables stay when mappings go. */
static phys_addr_t place(unsigned number)
{
	return host_port.phys_size - (512 + 4 * number) * CHUNK_SIZE;
}

static uintptr_t direct(phys_addr_t pa)
{
	return (uintptr_t)phys_to_virt(pa);
}

static void need_enforced(struct kunit *test)
{
	if (host_backend() != HOST_ENFORCED)
		kunit_skip(test, "nothing is enforced");
}

static void fill(struct port_pool *pool, size_t n)
{
	*pool = (struct port_pool){ 0 };
	for (size_t i = 0; i < n; i++)
		port_pool_give(pool, frame[i]);
}

static void mapping_is_booked(struct kunit *test)
{
	phys_addr_t pa = place(0);

	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, 2 * CHUNK_SIZE, RW, NULL), 0);
	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, FRAME_SIZE, RW, NULL), -EEXIST);
	KUNIT_EXPECT_EQ(test, probe_write((void *)direct(pa)), 0);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), CHUNK_SIZE, NULL), 0);
	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, 2 * CHUNK_SIZE, RW, NULL), -EEXIST);
	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, CHUNK_SIZE, RW, NULL), 0);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), 2 * CHUNK_SIZE, NULL), 0);
	KUNIT_EXPECT_EQ(test,
			port_map(direct(host_port.phys_size - FRAME_SIZE),
				 host_port.phys_size - FRAME_SIZE, FRAME_SIZE, RW, NULL),
			0);
	KUNIT_EXPECT_EQ(test,
			port_unmap(direct(host_port.phys_size - FRAME_SIZE), FRAME_SIZE, NULL), 0);
}

static void states_are_enforced(struct kunit *test)
{
	phys_addr_t pa = place(1);
	uint8_t *at = (uint8_t *)direct(pa);

	need_enforced(test);
	KUNIT_EXPECT_EQ(test, probe_read(at), -EFAULT);
	KUNIT_ASSERT_EQ(test, port_map(direct(pa), pa, 3 * FRAME_SIZE, RW, NULL), 0);
	memset(at, 7, 3 * FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, probe_read(at + 3 * FRAME_SIZE), -EFAULT);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa) + FRAME_SIZE, FRAME_SIZE, NULL), 0);
	KUNIT_EXPECT_EQ(test, probe_read(at), 0);
	KUNIT_EXPECT_EQ(test, probe_read(at + FRAME_SIZE), -EFAULT);
	KUNIT_EXPECT_EQ(test, probe_write(at + 2 * FRAME_SIZE), 0);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), FRAME_SIZE, NULL), 0);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa) + 2 * FRAME_SIZE, FRAME_SIZE, NULL), 0);
}

static bool all_bytes(const uint8_t *at, size_t size, uint8_t byte)
{
	for (size_t i = 0; i < size; i++)
		if (at[i] != byte)
			return false;
	return true;
}

/* RAM is dirty until it was discarded, once. */
static void ram_is_dirty(struct kunit *test)
{
	phys_addr_t pa = place(2);
	uint8_t *at = (uint8_t *)direct(pa);

	need_enforced(test);
	KUNIT_ASSERT_EQ(test, port_map(direct(pa), pa, 2 * FRAME_SIZE, RW, NULL), 0);
	KUNIT_EXPECT_FALSE(test, all_bytes(at, 1, 0));
	KUNIT_EXPECT_TRUE(test, all_bytes(at, 2 * FRAME_SIZE, at[0]));
	at[FRAME_SIZE] = 9;
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), 2 * FRAME_SIZE, NULL), 0);
	KUNIT_EXPECT_TRUE(test, port_discard(pa, FRAME_SIZE));
	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, 2 * FRAME_SIZE, RW, NULL), 0);
	KUNIT_EXPECT_TRUE(test, all_bytes(at, FRAME_SIZE, 0));
	KUNIT_EXPECT_EQ(test, at[FRAME_SIZE], 9);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), 2 * FRAME_SIZE, NULL), 0);
}

static void discarded_reads_as_promised(struct kunit *test)
{
	phys_addr_t pa = place(3);
	uint8_t *at = (uint8_t *)direct(pa);
	bool zero;

	KUNIT_ASSERT_EQ(test, port_map(direct(pa), pa, CHUNK_SIZE, RW, NULL), 0);
	memset(at, 0x77, CHUNK_SIZE);
	KUNIT_ASSERT_EQ(test, port_unmap(direct(pa), CHUNK_SIZE, NULL), 0);
	zero = port_discard(pa, CHUNK_SIZE);
	KUNIT_EXPECT_EQ(test, zero, host_backend() != HOST_FLAT);
	KUNIT_ASSERT_EQ(test, port_map(direct(pa), pa, CHUNK_SIZE, RW, NULL), 0);
	if (zero)
		KUNIT_EXPECT_TRUE(test, all_bytes(at, CHUNK_SIZE, 0));
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), CHUNK_SIZE, NULL), 0);
}

static void bad_memory_is_refused(struct kunit *test)
{
	phys_addr_t pa = place(4);

	host_bad_memory(pa + 5 * FRAME_SIZE, FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, 5 * FRAME_SIZE, RW, NULL), 0);
	KUNIT_EXPECT_EQ(test,
			port_map(direct(pa) + 5 * FRAME_SIZE, pa + 5 * FRAME_SIZE, 2 * FRAME_SIZE,
				 RW, NULL),
			-EIO);
	host_bad_memory(0, 0);
	KUNIT_EXPECT_EQ(test,
			port_map(direct(pa) + 5 * FRAME_SIZE, pa + 5 * FRAME_SIZE, 2 * FRAME_SIZE,
				 RW, NULL),
			0);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), 7 * FRAME_SIZE, NULL), 0);
}

/*
 * The page-table model:	pool before and after
 *	whole chunk		large leaf: upper tables at most
 *	2 frames out of it	1 for the split
 *	back in, joined		1 given back
 */
static void tables_come_from_the_pool(struct kunit *test)
{
	phys_addr_t pa = place(5);
	struct port_pool pool;
	void *table = &pool;
	size_t tables;

	need_enforced(test);
	KUNIT_ASSERT_EQ(test, port_map(direct(pa), pa, CHUNK_SIZE, RW, NULL), 0);
	tables = host_table_frames();
	fill(&pool, 0);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa) + FRAME_SIZE, 2 * FRAME_SIZE, &pool), -ENOMEM);
	KUNIT_EXPECT_EQ(test, probe_read((void *)(direct(pa) + FRAME_SIZE)), 0);
	fill(&pool, 1);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa) + FRAME_SIZE, 2 * FRAME_SIZE, &pool), 0);
	KUNIT_EXPECT_EQ(test, pool.nframes, 0);
	KUNIT_EXPECT_EQ(test, host_table_frames(), tables + 1);
	KUNIT_EXPECT_FALSE(test, port_join(direct(pa), &table));
	KUNIT_EXPECT_NULL(test, table);
	KUNIT_EXPECT_EQ(
		test, port_map(direct(pa) + FRAME_SIZE, pa + FRAME_SIZE, 2 * FRAME_SIZE, RW, &pool),
		0);
	KUNIT_EXPECT_TRUE(test, port_join(direct(pa), &table));
	KUNIT_EXPECT_NOT_NULL(test, table);
	KUNIT_EXPECT_EQ(test, host_table_frames(), tables);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), CHUNK_SIZE, &pool), 0);
}

/* A range that begins and ends within chunks: a table at each end, none between. */
static void tables_at_both_ends(struct kunit *test)
{
	phys_addr_t pa = place(6) + CHUNK_SIZE - FRAME_SIZE;
	size_t size = CHUNK_SIZE + 2 * FRAME_SIZE;
	struct port_pool pool;
	size_t tables;

	need_enforced(test);
	tables = host_table_frames();
	fill(&pool, 1);
	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, size, RW, &pool), -ENOMEM);
	KUNIT_EXPECT_EQ(test, pool.nframes, 1);
	KUNIT_EXPECT_EQ(test, probe_read((void *)direct(pa)), -EFAULT);
	fill(&pool, port_pool_worst(size));
	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, size, RW, &pool), 0);
	KUNIT_EXPECT_EQ(test, host_table_frames(), tables + 2);
	KUNIT_EXPECT_EQ(test, port_unmap(direct(pa), size, &pool), 0);
	KUNIT_EXPECT_EQ(test, host_table_frames(), tables + 2);
}

static void ram_text(struct kunit *test)
{
	static const struct {
		const char *text;
		uint64_t end;
	} row[] = {
		{ "64M", 64ULL << 20 },
		{ "640K@0,255M@1M", 256ULL << 20 },
		{ "1G,1G", 2ULL << 30 },
		{ "1G@1T:1,4K@0:0", (1ULL << 40) + (1ULL << 30) },
		{ "0x1000@0x3000", 0x4000 },
		{ "", 0 },
		{ "64Q", 0 },
		{ "64M@", 0 },
		{ "64M,", 0 },
		{ "0@4K", 0 },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		KUNIT_EXPECT_EQ_MSG(test, host_ram_parse(row[i].text, NULL), row[i].end, "%s",
				    row[i].text);
}

static void unmaps_what_is_not_mapped(struct kunit *test)
{
	(void)test;
	port_unmap(direct(place(7)), FRAME_SIZE, NULL);
}

static void discards_what_is_mapped(struct kunit *test)
{
	phys_addr_t pa = place(8);

	KUNIT_EXPECT_EQ(test, port_map(direct(pa), pa, FRAME_SIZE, RW, NULL), 0);
	port_discard(pa, FRAME_SIZE);
}

static struct kunit_case ram_cases[] = {
	KUNIT_CASE(mapping_is_booked),
	KUNIT_CASE(states_are_enforced),
	KUNIT_CASE(ram_is_dirty),
	KUNIT_CASE(discarded_reads_as_promised),
	KUNIT_CASE(bad_memory_is_refused),
	KUNIT_CASE(tables_come_from_the_pool),
	KUNIT_CASE(tables_at_both_ends),
	KUNIT_CASE(ram_text),
	KUNIT_CASE_DIES(unmaps_what_is_not_mapped, "port_unmap: not mapped"),
	KUNIT_CASE_DIES(discards_what_is_mapped, "port_discard: still mapped"),
	{},
};

static struct kunit_suite ram_suite = { .name = "host_ram", .test_cases = ram_cases };
kunit_test_suite(ram_suite);
