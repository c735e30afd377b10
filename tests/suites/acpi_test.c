// SPDX-License-Identifier: MIT
/*
 * The ACPI parser on tables built byte by byte (acpi_image.h): good ones, odd
 * ones that firmware really writes, and broken ones.
 */
#include <kunit/test.h>
#include <kernel/acpi.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "tests/suites/acpi_check.h"
#include "tests/suites/acpi_image.h"

static struct acpi_info info;

static int acpi_test_init(struct kunit *test)
{
	(void)test;
	image_init();
	return 0;
}

/* ---- Good tables ---- */

static void two_node_machine(void)
{
	static const uint8_t distances[] = { 10, 20, 21, 10 };

	madt_begin();
	for (uint8_t i = 0; i < 4; i++)
		madt_lapic(i, i, 1);
	put(1 | 12 << 8, 4);
	put(0xfec00000, 8);
	table_end();
	srat_begin(1);
	srat_cpu(0, 0, 1);
	srat_cpu(0, 1, 1);
	srat_cpu(1, 2, 1);
	srat_cpu(1, 3, 1);
	srat_memory(0, 0, 0xa0000, 1);
	srat_memory(0, 0x100000, 0x3ff00000, 1);
	srat_memory(1, 0x40000000, 0x40000000, 1);
	srat_memory(0, 0, 0, 0);
	srat_memory(1, 0x100000000, 0x40000000, 1);
	srat_memory(1, 0x140000000, 0x200000000, 3);
	table_end();
	slit(2, distances);
}

static void expect_two_nodes(struct kunit *test)
{
	static const struct acpi_memory want[] = {
		{ 0, 0xa0000, 0, false, false },
		{ 0x100000, 0x3ff00000, 0, false, false },
		{ 0x40000000, 0x40000000, 1, false, false },
		{ 0x100000000, 0x40000000, 1, false, false },
		{ 0x140000000, 0x200000000, 1, true, false },
	};

	KUNIT_EXPECT_EQ(test, info.ncpus, 4);
	for (unsigned i = 0; i < 4; i++) {
		KUNIT_EXPECT_EQ(test, info.cpu[i].apic_id, i);
		KUNIT_EXPECT_EQ(test, info.cpu[i].uid, i);
		KUNIT_EXPECT_EQ(test, info.cpu[i].node, (int)i / 2);
		KUNIT_EXPECT_TRUE(test, info.cpu[i].enabled);
	}
	KUNIT_EXPECT_EQ(test, info.lapic_base, 0xfee00000);
	KUNIT_EXPECT_EQ(test, info.nioapics, 1);
	KUNIT_EXPECT_EQ(test, info.ioapic[0], 0xfec00000);
	KUNIT_EXPECT_EQ(test, info.nnodes, 2);
	KUNIT_ASSERT_EQ(test, info.nmemory, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		KUNIT_EXPECT_EQ(test, info.memory[i].base, want[i].base);
		KUNIT_EXPECT_EQ(test, info.memory[i].size, want[i].size);
		KUNIT_EXPECT_EQ(test, info.memory[i].node, want[i].node);
		KUNIT_EXPECT_EQ(test, info.memory[i].hotplug, want[i].hotplug);
		KUNIT_EXPECT_EQ(test, info.memory[i].persistent, want[i].persistent);
	}
	KUNIT_EXPECT_EQ(test, info.distance[0][0], 10);
	KUNIT_EXPECT_EQ(test, info.distance[0][1], 20);
	KUNIT_EXPECT_EQ(test, info.distance[1][0], 21);
	KUNIT_EXPECT_EQ(test, info.distance[1][1], 10);
}

static void reads_two_nodes(struct kunit *test)
{
	for (uint8_t revision = 0; revision <= 2; revision += 2) {
		acpi_test_init(test);
		two_node_machine();
		KUNIT_ASSERT_EQ(test, acpi_parse(finish(revision), map_image, &info), 0);
		expect_two_nodes(test);
		KUNIT_EXPECT_EQ(test, info.ntables_bad, 0);
	}
}

static void expect_nothing(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, info.ncpus, 0);
	KUNIT_EXPECT_EQ(test, info.nmemory, 0);
	KUNIT_EXPECT_EQ(test, info.nnodes, 1);
	KUNIT_EXPECT_EQ(test, info.lapic_base, 0xfee00000);
	KUNIT_EXPECT_EQ(test, info.distance[0][0], 10);
}

static void no_tables(struct kunit *test)
{
	uint64_t end;

	KUNIT_EXPECT_EQ(test, acpi_parse(0, map_image, &info), -ENOENT);
	expect_nothing(test);
	KUNIT_EXPECT_EQ(test, acpi_parse(0x1000, map_image, &info), -EINVAL);
	expect_nothing(test);
	KUNIT_EXPECT_EQ(test, acpi_parse(UINT64_MAX, map_image, &info), -EINVAL);
	KUNIT_EXPECT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	expect_nothing(test);
	KUNIT_EXPECT_EQ(test, acpi_node_of(&info, 0x1234, &end), 0);
	KUNIT_EXPECT_EQ(test, end, UINT64_MAX);
}

static void reads_odd_cpus(struct kunit *test)
{
	madt_begin();
	madt_lapic(0, 0, 1);
	madt_lapic(1, 2, 0);	  /* switched off */
	madt_lapic(2, 0xff, 0);	  /* an empty place */
	madt_lapic(3, 0xff, 1);	  /* out of reach */
	madt_x2apic(4, 4, 1);	  /* an xAPIC can send to that */
	madt_x2apic(5, 0x100, 1); /* not to that */
	madt_x2apic(6, 0x101, 0);
	madt_lapic(7, 0, 1);   /* told twice */
	madt_lapic(8, 2, 1);   /* and on after all */
	put(4 | 6 << 8, 6);    /* LAPIC NMI: not for us */
	put(0x77 | 3 << 8, 3); /* a type of the future */
	put(5 | 12 << 8, 4);
	put(0x1fee01000, 8);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_EXPECT_EQ(test, info.ntables_bad, 0);
	KUNIT_ASSERT_EQ(test, info.ncpus, 3);
	KUNIT_EXPECT_EQ(test, info.ncpus_skipped, 2);
	KUNIT_EXPECT_EQ(test, info.cpu[0].apic_id, 0);
	KUNIT_EXPECT_EQ(test, info.cpu[1].apic_id, 2);
	KUNIT_EXPECT_TRUE(test, info.cpu[1].enabled);
	KUNIT_EXPECT_EQ(test, info.cpu[1].uid, 1);
	KUNIT_EXPECT_EQ(test, info.cpu[2].apic_id, 4);
	KUNIT_EXPECT_EQ(test, info.cpu[2].uid, 4);
	KUNIT_EXPECT_EQ(test, info.lapic_base, 0x1fee01000);
}

static void reads_all_ids(struct kunit *test)
{
	madt_begin();
	for (unsigned i = 0; i < 256; i++)
		madt_lapic((uint8_t)i, (uint8_t)i, i & 1);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_EXPECT_EQ(test, info.ncpus, 255);
	KUNIT_EXPECT_EQ(test, info.ncpus_skipped, 1);
	KUNIT_EXPECT_EQ(test, info.cpu[254].apic_id, 254);
}

static void senseless_lapic_address_is_ignored(struct kunit *test)
{
	madt_begin();
	put(5 | 12 << 8, 4);
	put(0xfee00010, 8);
	put(5 | 12 << 8, 4);
	put(0, 8);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_EXPECT_EQ(test, info.lapic_base, 0xfee00000);
}

/* Domains have gaps and upper bytes; nodes have not. */
static void numbers_nodes_densely(struct kunit *test)
{
	madt_begin();
	madt_lapic(0, 0, 1);
	madt_lapic(1, 1, 1);
	madt_lapic(2, 2, 1);
	madt_lapic(3, 3, 1);
	table_end();
	srat_begin(3);
	srat_cpu(0x01000007, 0, 1);
	srat_x2apic(0x80000000, 1, 1);
	srat_cpu(7, 2, 1);
	srat_cpu(9, 3, 0);  /* not enabled: says nothing */
	srat_cpu(7, 77, 1); /* a CPU that nobody knows */
	srat_memory(0x80000000, 0x5000, 0x1000, 1);
	srat_memory(7, 0x3000, 0x1000, 5);
	srat_memory(12, 0x9000, 0x1000, 0);
	srat_memory(13, 0x9000, 0, 1);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_ASSERT_EQ(test, info.nnodes, 3);
	KUNIT_EXPECT_EQ(test, info.domain[0], 7);
	KUNIT_EXPECT_EQ(test, info.domain[1], 0x01000007);
	KUNIT_EXPECT_EQ(test, info.domain[2], 0x80000000);
	KUNIT_EXPECT_EQ(test, info.cpu[0].node, 1);
	KUNIT_EXPECT_EQ(test, info.cpu[1].node, 2);
	KUNIT_EXPECT_EQ(test, info.cpu[2].node, 0);
	KUNIT_EXPECT_EQ(test, info.cpu[3].node, 0);
	KUNIT_ASSERT_EQ(test, info.nmemory, 2);
	KUNIT_EXPECT_EQ(test, info.memory[0].base, 0x3000);
	KUNIT_EXPECT_TRUE(test, info.memory[0].persistent);
	KUNIT_EXPECT_FALSE(test, info.memory[0].hotplug);
	KUNIT_EXPECT_EQ(test, info.memory[1].node, 2);
}

static void old_revision_has_one_byte_domains(struct kunit *test)
{
	madt_begin();
	madt_lapic(0, 0, 1);
	table_end();
	srat_begin(1);
	srat_cpu(0xabcdef01, 0, 1);
	srat_memory(0x12345601, 0x1000, 0x1000, 1);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_EXPECT_EQ(test, info.nnodes, 1);
	KUNIT_EXPECT_EQ(test, info.domain[0], 1);
}

static void too_much_is_cut_off(struct kunit *test)
{
	srat_begin(3);
	for (unsigned i = 0; i <= ACPI_MAX_NODES; i++)
		srat_memory(1000 - i, 0x1000 * i, 0x1000, 1);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_EXPECT_EQ(test, info.nnodes, ACPI_MAX_NODES);
	KUNIT_EXPECT_TRUE(test, info.domains_lost);
	KUNIT_EXPECT_EQ(test, info.memory[0].node, 0);
	KUNIT_EXPECT_EQ(test, info.memory[1].node, ACPI_MAX_NODES - 1);
	KUNIT_EXPECT_EQ(test, info.memory[ACPI_MAX_NODES].node, 0);
}

static void more_ranges_than_places(struct kunit *test)
{
	srat_begin(3);
	for (unsigned i = 0; i < ACPI_MAX_MEMORY + 3; i++)
		srat_memory(0, 0x1000ULL * (2000 - i), 0x1000, 1);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_EXPECT_EQ(test, info.nmemory, ACPI_MAX_MEMORY);
	KUNIT_EXPECT_EQ(test, info.nmemory_skipped, 3);
	KUNIT_EXPECT_TRUE(test, acpi_info_is_sane(&info));
}

static void memory_that_wraps_is_cut_off(struct kunit *test)
{
	uint64_t end;

	srat_begin(3);
	srat_memory(1, ~0xfffULL, 0x2000, 1);
	srat_memory(0, 0x1000, ~0ULL, 1);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_ASSERT_EQ(test, info.nmemory, 2);
	KUNIT_EXPECT_EQ(test, info.memory[0].base, 0x1000);
	KUNIT_EXPECT_EQ(test, info.memory[0].size, UINT64_MAX - 0x1000);
	KUNIT_EXPECT_EQ(test, info.memory[1].size, 0xfff);
	KUNIT_EXPECT_EQ(test, acpi_node_of(&info, ~0xfffULL, &end), 1);
	KUNIT_EXPECT_EQ(test, acpi_node_of(&info, 0x1000, &end), 0);
	KUNIT_EXPECT_EQ(test, end, ~0xfffULL);
}

/* Which node each address belongs to, where ranges overlap and leave holes. */
static void cuts_memory_by_node(struct kunit *test)
{
	static const struct {
		uint64_t pa, end;
		int node;
	} rows[] = {
		{ 0, 0x1000, 0 },      { 0xfff, 0x1000, 0 },	  { 0x1000, 0x2000, 1 },
		{ 0x2000, 0x3000, 2 }, { 0x3000, 0x4000, 1 },	  { 0x4000, 0x6000, 0 },
		{ 0x6000, 0x7000, 1 }, { 0x7000, 0x8000, 2 },	  { 0x8000, 0x9000, 1 },
		{ 0x9000, 0xa000, 1 }, { 0xa000, UINT64_MAX, 0 },
	};
	uint64_t end;

	srat_begin(3);
	srat_memory(0, 0x100000, 0, 1);
	srat_memory(0, 0x4800, 0x100, 0);
	srat_memory(2, 0x2000, 0x1000, 1); /* inside a range of node 1 */
	srat_memory(1, 0x1000, 0x3000, 1);
	srat_memory(1, 0x6000, 0x3000, 3); /* a window, with a module in it */
	srat_memory(2, 0x7000, 0x1000, 1);
	srat_memory(1, 0x9000, 0x1000, 1);
	srat_cpu(0, 0, 1);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int node = acpi_node_of(&info, rows[i].pa, &end);

		KUNIT_EXPECT_EQ_MSG(test, node, rows[i].node, "row %zu", i);
		KUNIT_EXPECT_EQ_MSG(test, end, rows[i].end, "row %zu", i);
	}
}

/* A hotplug window never wins over a range that is none, wherever it starts. */
static void plugged_memory_wins_over_window(struct kunit *test)
{
	uint64_t end;

	srat_begin(3);
	srat_memory(0, 0x1000, 0x4000, 1);
	srat_memory(1, 0x2000, 0x2000, 3);
	table_end();
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_EXPECT_EQ(test, acpi_node_of(&info, 0x2000, &end), 0);
}

static void slit_is_believed_only_if_sensible(struct kunit *test)
{
	static const struct {
		uint8_t n, distance[9], is01, is10, nbad;
	} rows[] = {
		{ 2, { 10, 31, 32, 10 }, 31, 32, 0 },
		{ 3, { 10, 31, 99, 32, 10, 99, 99, 99, 99 }, 31, 32, 0 },
		{ 1, { 10 }, 20, 20, 0 },
		{ 2, { 10, 31, 10, 10 }, 20, 20, 1 },
		{ 2, { 10, 31, 32, 11 }, 20, 20, 1 },
		{ 2, { 10, 31, 9, 10 }, 20, 20, 1 },
		{ 2, { 10, 255, 254, 10 }, 255, 254, 0 },
		{ 0, { 0 }, 20, 20, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		acpi_test_init(test);
		srat_begin(3);
		srat_cpu(0, 0, 1);
		srat_cpu(1, 1, 1);
		table_end();
		slit(rows[i].n, rows[i].distance);
		KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
		KUNIT_EXPECT_EQ_MSG(test, info.distance[0][1], rows[i].is01, "row %zu", i);
		KUNIT_EXPECT_EQ_MSG(test, info.distance[1][0], rows[i].is10, "row %zu", i);
		KUNIT_EXPECT_EQ_MSG(test, info.distance[1][1], 10, "row %zu", i);
		KUNIT_EXPECT_EQ_MSG(test, info.ntables_bad, rows[i].nbad, "row %zu", i);
	}
}
/* ---- Broken tables ---- */

/* Whichever byte is wrong, the table that holds it is not used; nothing else suffers. */
static void every_byte_counts(struct kunit *test)
{
	uint64_t rsdp;
	size_t madt_end;

	two_node_machine();
	madt_end = root[1] - IMAGE_BASE;
	rsdp = finish(2);
	for (size_t i = 0; i < used; i++) {
		int err;

		image[i] ^= 0x10;
		err = acpi_parse(rsdp, map_image, &info);
		KUNIT_EXPECT_TRUE_MSG(test, acpi_info_is_sane(&info), "byte %zu", i);
		if (i < madt_end) {
			KUNIT_EXPECT_EQ_MSG(test, err, 0, "byte %zu", i);
			KUNIT_EXPECT_EQ_MSG(test, info.ncpus, 0, "byte %zu", i);
			KUNIT_EXPECT_EQ_MSG(test, info.nmemory, 5, "byte %zu", i);
			/* With another name it is no table of ours. */
			KUNIT_EXPECT_EQ_MSG(test, info.ntables_bad, i >= 4, "byte %zu", i);
		}
		image[i] ^= 0x10;
	}
	KUNIT_EXPECT_EQ(test, acpi_parse(rsdp, map_image, &info), 0);
	expect_two_nodes(test);
}

static unsigned calls_left;

static const void *map_some(uint64_t pa, size_t len)
{
	return calls_left && calls_left-- ? map_image(pa, len) : NULL;
}

static void copes_with_failing_map(struct kunit *test)
{
	uint64_t rsdp;

	two_node_machine();
	rsdp = finish(2);
	for (unsigned n = 0; n < 40; n++) {
		calls_left = n;
		acpi_parse(rsdp, map_some, &info);
		KUNIT_EXPECT_TRUE_MSG(test, acpi_info_is_sane(&info), "%u calls", n);
	}
	KUNIT_EXPECT_GT(test, calls_left, 0);
	expect_two_nodes(test);
}

static void wrong_table_lengths(struct kunit *test)
{
	static const uint32_t lengths[] = { 0, 1, 35, 36, 43, 0x100000, 0x100001, 0xffffffff };
	size_t at, len;
	uint64_t rsdp;

	two_node_machine();
	rsdp = finish(2);
	for (size_t t = 0; t < nroot; t++) {
		at = root[t] - IMAGE_BASE;
		len = image[at + 4] | image[at + 5] << 8;
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			patch(at + 4, lengths[i], 4);
			/* Right by its sum, where it has one. */
			if (lengths[i] >= 36 && lengths[i] <= used - at)
				fix_sum(at, lengths[i], at + 9);
			acpi_parse(rsdp, map_image, &info);
			KUNIT_EXPECT_TRUE_MSG(test, acpi_info_is_sane(&info), "table %zu, row %zu",
					      t, i);
			KUNIT_EXPECT_TRUE_MSG(test, t == 3 || info.ntables_bad || !info.ncpus,
					      "table %zu, row %zu", t, i);
		}
		patch(at + 4, len, 4);
		fix_sum(at, len, at + 9);
	}
	KUNIT_EXPECT_EQ(test, acpi_parse(rsdp, map_image, &info), 0);
	expect_two_nodes(test);
}

static void wrong_entry_lengths(struct kunit *test)
{
	static const uint8_t lengths[] = { 0, 1, 7, 9, 255 };

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		size_t second;

		acpi_test_init(test);
		madt_begin();
		madt_lapic(0, 0, 1);
		second = used;
		madt_lapic(1, 1, 1);
		image[second + 1] = lengths[i];
		table_end();
		KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
		KUNIT_EXPECT_EQ_MSG(test, info.ncpus, 1, "length %u", lengths[i]);
		KUNIT_EXPECT_EQ_MSG(test, info.ntables_bad, 1, "length %u", lengths[i]);
	}
}

/* Too short for their type, though they fit into the table. */
static void short_entries_are_skipped(struct kunit *test)
{
	for (uint8_t type = 0; type < 12; type++) {
		acpi_test_init(test);
		madt_begin();
		put(type | 4 << 8 | 0x01010000, 4);
		madt_lapic(0, 0, 1);
		table_end();
		srat_begin(3);
		put(type | 6 << 8, 6);
		srat_cpu(5, 0, 1);
		table_end();
		KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
		KUNIT_EXPECT_EQ(test, info.ncpus, 1);
		KUNIT_EXPECT_EQ(test, info.nioapics, 0);
		KUNIT_EXPECT_EQ(test, info.domain[0], 5);
		KUNIT_EXPECT_EQ(test, info.ntables_bad, 0);
	}
}

static void falls_back_to_old_root(struct kunit *test)
{
	uint64_t rsdp;

	two_node_machine();
	rsdp = finish(2);
	/* XSDT, then the newer half of the pointer, then the older half as well. */
	image[root[nroot - 1] - IMAGE_BASE + 20] ^= 1;
	KUNIT_EXPECT_EQ(test, acpi_parse(rsdp, map_image, &info), 0);
	expect_two_nodes(test);
	KUNIT_EXPECT_EQ(test, info.ntables_bad, 1);
	image[rsdp - IMAGE_BASE + 33] ^= 1;
	KUNIT_EXPECT_EQ(test, acpi_parse(rsdp, map_image, &info), 0);
	expect_two_nodes(test);
	image[rsdp - IMAGE_BASE + 9] ^= 1;
	KUNIT_EXPECT_EQ(test, acpi_parse(rsdp, map_image, &info), -EINVAL);
	expect_nothing(test);
}

static void second_table_replaces_a_broken_one(struct kunit *test)
{
	madt_begin();
	madt_lapic(0, 9, 1);
	table_end();
	image[used - 1] ^= 1;
	madt_begin();
	madt_lapic(0, 1, 1);
	table_end();
	madt_begin();
	madt_lapic(0, 2, 1);
	table_end();
	root[nroot++] = 0;
	root[nroot++] = 0x1234;
	KUNIT_ASSERT_EQ(test, acpi_parse(finish(2), map_image, &info), 0);
	KUNIT_ASSERT_EQ(test, info.ncpus, 1);
	KUNIT_EXPECT_EQ(test, info.cpu[0].apic_id, 1);
	KUNIT_EXPECT_EQ(test, info.ntables_bad, 1);
}

/* Random content under good checksums: what fuzzing does, in the kernel too. */
static void random_content_is_survived(struct kunit *test)
{
	uint64_t seed = 20240229, rsdp;

	two_node_machine();
	rsdp = finish(2);
	for (int round = 0; round < 2000; round++) {
		size_t t, at, len, where;
		uint8_t was;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		t = (seed >> 33) % 3;
		at = root[t] - IMAGE_BASE;
		len = image[at + 4] | image[at + 5] << 8;
		where = at + 36 + (seed >> 40) % (len - 36);
		was = image[where];
		image[where] = (uint8_t)(seed >> 56);
		fix_sum(at, len, at + 9);
		KUNIT_EXPECT_EQ(test, acpi_parse(rsdp, map_image, &info), 0);
		KUNIT_ASSERT_TRUE_MSG(test, acpi_info_is_sane(&info), "round %d", round);
		/* Half of the damage stays and adds up. */
		if (seed & 1ULL << 32)
			image[where] = was;
		fix_sum(at, len, at + 9);
	}
}

static struct kunit_case acpi_cases[] = {
	KUNIT_CASE(reads_two_nodes),
	KUNIT_CASE(no_tables),
	KUNIT_CASE(reads_odd_cpus),
	KUNIT_CASE(reads_all_ids),
	KUNIT_CASE(senseless_lapic_address_is_ignored),
	KUNIT_CASE(numbers_nodes_densely),
	KUNIT_CASE(old_revision_has_one_byte_domains),
	KUNIT_CASE(too_much_is_cut_off),
	KUNIT_CASE(more_ranges_than_places),
	KUNIT_CASE(memory_that_wraps_is_cut_off),
	KUNIT_CASE(cuts_memory_by_node),
	KUNIT_CASE(plugged_memory_wins_over_window),
	KUNIT_CASE(slit_is_believed_only_if_sensible),
	KUNIT_CASE(every_byte_counts),
	KUNIT_CASE(copes_with_failing_map),
	KUNIT_CASE(wrong_table_lengths),
	KUNIT_CASE(wrong_entry_lengths),
	KUNIT_CASE(short_entries_are_skipped),
	KUNIT_CASE(falls_back_to_old_root),
	KUNIT_CASE(second_table_replaces_a_broken_one),
	KUNIT_CASE(random_content_is_survived),
	{},
};

static struct kunit_suite acpi_suite = {
	.name = "acpi",
	.init = acpi_test_init,
	.test_cases = acpi_cases,
};
kunit_test_suite(acpi_suite);
