// SPDX-License-Identifier: MIT
/*
 * memblock's tables: small pictures, the maps of real firmware, the limits of
 * the tables, and random calls against the frame map of memblock_oracle.h. How
 * it allocates is in memblock_alloc_test.c.
 *
 * In a picture each character is a frame, from PICTURE_BASE on:
 *
 *	calls, top to bottom	0 1 2  memblock_add() to this node
 *				k      memblock_reserve()
 *				b      memblock_alloc_phys(), which must land there
 *	what close() gives	node   0 1 2, . for no RAM
 *				use    f free, k kept, b boot, . for no RAM
 */
#include <kunit/test.h>

#include "tests/suites/memblock_oracle.h"

#define PICTURE_BASE 0x100000UL
#define PICTURE_MAX 40
#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static struct memblock mb, snapshot;
static struct mem_range runs[MEMBLOCK_MAX_RUNS];
static struct oracle oracle;

static int memblock_test_init(struct kunit *test)
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

/* ---- Pictures ---- */

static const struct picture {
	const char *name;
	const char *calls[6];
	const char *node, *use;
} pictures[] = {
	{ "one range", { "..000.." }, "..000..", "..fff.." },
	{ "nothing", { "......." }, ".......", "......." },
	{ "touching, one node", { "00....", "..00.." }, "0000..", "ffff.." },
	{ "touching, from above", { "..00..", "00...." }, "0000..", "ffff.." },
	{ "touching, two nodes", { "00....", "..11.." }, "0011..", "ffff.." },
	{ "a hole stays", { "00....", "...00." }, "00.00.", "ff.ff." },
	{ "the hole is filled", { "00....", "...00.", "..0..." }, "00000.", "fffff." },
	{ "the same twice", { ".000..", ".000.." }, ".000..", ".fff.." },
	{ "later node wins: below", { "..0000", "1111.." }, "111100", "ffffff" },
	{ "later node wins: above", { "0000..", "..1111" }, "001111", "ffffff" },
	{ "later node wins: inside", { "000000", "..11.." }, "001100", "ffffff" },
	{ "later node wins: around", { "..00..", "111111" }, "111111", "ffffff" },
	{ "and back again", { "000000", "..11..", "..00.." }, "000000", "ffffff" },
	{ "one over many", { "0.1.0.1", ".22222." }, "0222221", "fffffff" },
	{ "joins at both ends", { "00...00", "..000.." }, "0000000", "fffffff" },
	{ "joins at one end, over another node", { "00.11.0", "..000.." }, "00000.0", "fffff.f" },
	{ "node 1 between nodes 0", { "00...00", "..111.." }, "0011100", "fffffff" },
	{ "reserved after", { "000000", "..kk.." }, "000000", "ffkkff" },
	{ "reserved before", { "..kk..", "000000" }, "000000", "ffkkff" },
	{ "reserved between", { "000...", "..kk..", "...000" }, "000000", "ffkkff" },
	{ "reserved at the start", { "000000", "kk...." }, "000000", "kkffff" },
	{ "reserved at the end", { "000000", "....kk" }, "000000", "ffffkk" },
	{ "reserved wholly", { ".0000.", "kkkkkk" }, ".0000.", ".kkkk." },
	{ "reserved where no RAM is", { "00....", "...kk." }, "00....", "ff...." },
	{ "reserved across a hole", { "00..00", ".kkkk." }, "00..00", "fk..kf" },
	{ "reserved across nodes", { "000111", "..kk.." }, "000111", "ffkkff" },
	{ "added again, still reserved", { "0000..", ".kk...", "000000" }, "000000", "fkkfff" },
	{ "a new node, still reserved", { "000000", ".kk...", "111111" }, "111111", "fkkfff" },
	{ "reservations that touch", { "000000", ".k....", "..k...", "...k.." },
	  "000000", "fkkkff" },
	{ "reservations that overlap", { "000000", ".kkk..", "..kkk." }, "000000", "fkkkkf" },
	{ "three holes", { "0000000", ".k.....", "...k...", ".....k." }, "0000000", "fkfkfkf" },
	{ "first fit", { "000000", "bb....", "..b..." }, "000000", "bbbfff" },
	{ "first fit after a reservation", { "000000", "k.....", ".bb..." }, "000000", "kbbfff" },
	{ "too small a gap is passed", { "000000", ".k....", "..bb..", "b....." },
	  "000000", "bkbbff" },
	{ "never out of two nodes", { "001111", "..bbb." }, "001111", "ffbbbf" },
	{ "never out of two ranges", { "00.000", "...bbb" }, "00.000", "ff.bbb" },
	{ "a new node of what is allocated", { "000000", "bbb...", ".1111." },
	  "011110", "bbbfff" },
};

/* Frames of the run of equal characters that starts at @p. */
static size_t run_length(const char *p)
{
	size_t n = 1;

	while (p[n] == p[0])
		n++;
	return n;
}

static void draw(struct kunit *test, const struct picture *pic, const char *calls)
{
	for (size_t at = 0, n; calls[at]; at += n) {
		phys_addr_t base = PICTURE_BASE + at * FRAME_SIZE;
		uint64_t size = (n = run_length(calls + at)) * FRAME_SIZE;
		phys_addr_t got;

		switch (calls[at]) {
		case '.':
			break;
		case 'k':
			KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, base, size), 0);
			break;
		case 'b':
			got = memblock_alloc_phys(&mb, size, 1, NUMA_NO_NODE);
			KUNIT_EXPECT_EQ_MSG(test, got, base, "%s", pic->name);
			break;
		default:
			KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, base, size, calls[at] - '0'), 0);
		}
	}
}

static void pictures_come_out(struct kunit *test)
{
	for (const struct picture *pic = pictures; pic < pictures + ARRAY_SIZE(pictures); pic++) {
		char node[PICTURE_MAX], use[PICTURE_MAX];
		size_t width = strlen(pic->node);
		int n;

		memset(&mb, 0, sizeof(mb));
		for (size_t i = 0; i < ARRAY_SIZE(pic->calls) && pic->calls[i]; i++)
			draw(test, pic, pic->calls[i]);
		KUNIT_EXPECT_TRUE_MSG(test, oracle_table_sane(&mb.memory), "%s", pic->name);
		KUNIT_EXPECT_TRUE_MSG(test, oracle_table_sane(&mb.taken), "%s", pic->name);

		n = memblock_close(&mb, runs, ARRAY_SIZE(runs));
		memset(node, '.', width);
		memset(use, '.', width);
		node[width] = use[width] = 0;
		for (int i = 0; i < n; i++) {
			size_t at = (runs[i].base - PICTURE_BASE) / FRAME_SIZE;
			size_t len = runs[i].size / FRAME_SIZE;

			KUNIT_ASSERT_LE_MSG(test, at + len, width, "%s", pic->name);
			memset(node + at, '0' + runs[i].node, len);
			memset(use + at, "fbk"[runs[i].use], len);
		}
		KUNIT_EXPECT_STREQ_MSG(test, node, pic->node, "%s", pic->name);
		KUNIT_EXPECT_STREQ_MSG(test, use, pic->use, "%s", pic->name);
	}
}

/* ---- Bytes, and the end of the address space ---- */

enum { END, ADD, RESERVE };

struct want {
	phys_addr_t base, end;
	int node;
	enum mem_use use;
};

/* What lies above the limit of a build with flat arenas is not to be expected. */
static void expect_runs(struct kunit *test, const char *name, const struct want *want)
{
	int n = memblock_close(&mb, runs, ARRAY_SIZE(runs)), i = 0;

	for (; want->end; want++) {
		if (want->base >= MEMBLOCK_LIMIT)
			continue;
		KUNIT_ASSERT_LT_MSG(test, i, n, "%s: too few runs", name);
		KUNIT_EXPECT_EQ_MSG(test, runs[i].base, want->base, "%s: run %d", name, i);
		KUNIT_EXPECT_EQ_MSG(test, runs[i].base + runs[i].size,
				    MIN(want->end, MEMBLOCK_LIMIT), "%s: run %d", name, i);
		KUNIT_EXPECT_EQ_MSG(test, runs[i].node, want->node, "%s: run %d", name, i);
		KUNIT_EXPECT_EQ_MSG(test, runs[i].use, want->use, "%s: run %d", name, i);
		i++;
	}
	KUNIT_EXPECT_EQ_MSG(test, n, i, "%s: number of runs", name);
}

#define LIMIT MEMBLOCK_LIMIT
#define FREE_ON(node, base, end) { base, end, node, MEM_USE_FREE }
#define FREE(base, end) FREE_ON(0, base, end)
#define KEPT(base, end) { base, end, 0, MEM_USE_KEPT }

static const struct byte_row {
	const char *name;
	struct {
		int op;
		phys_addr_t base;
		uint64_t size;
	} call[4];
	struct want want[4];
} byte_rows[] = {
	{ "trimmed inwards", { { ADD, 0x1001, 0x2ffe } }, { FREE(0x2000, 0x3000) } },
	{ "aligned already", { { ADD, 0x1000, 0x3000 } }, { FREE(0x1000, 0x4000) } },
	{ "a byte short", { { ADD, 0x1000, 0x2fff } }, { FREE(0x1000, 0x3000) } },
	{ "a frame's size, but no frame", { { ADD, 0x1800, 0x1000 } }, {} },
	{ "two bytes over a border", { { ADD, 0x1fff, 2 } }, {} },
	{ "empty", { { ADD, 0x1000, 0 }, { ADD, 0, 0 }, { RESERVE, 0x1800, 0 } }, {} },
	{ "reserve one byte",
	  { { ADD, 0x1000, 0x4000 }, { RESERVE, 0x2fff, 1 } },
	  { FREE(0x1000, 0x2000), KEPT(0x2000, 0x3000), FREE(0x3000, 0x5000) } },
	{ "reserve two bytes over a border",
	  { { RESERVE, 0x2fff, 2 }, { ADD, 0x1000, 0x4000 } },
	  { FREE(0x1000, 0x2000), KEPT(0x2000, 0x4000), FREE(0x4000, 0x5000) } },
	{ "reserve no byte", { { ADD, 0, 0x4000 }, { RESERVE, 0x2800, 0 } }, { FREE(0, 0x4000) } },
	{ "all there is", { { ADD, 0, ~0ULL } }, { FREE(0, LIMIT) } },
	{ "cut at the limit",
	  { { ADD, LIMIT - 0x2800, 0x10000 } },
	  { FREE(LIMIT - 0x2000, LIMIT) } },
	{ "wraps", { { ADD, LIMIT - 0x2000, ~0ULL } }, { FREE(LIMIT - 0x2000, LIMIT) } },
	{ "wraps from beyond the limit",
	  { { ADD, ~0xfffULL, 0x10000 }, { ADD, ~0ULL, ~0ULL } },
	  {} },
	{ "from the limit on", { { ADD, LIMIT, 0x1000 }, { ADD, LIMIT - 1, 0x1000 } }, {} },
	{ "reserve all",
	  { { ADD, 0x1000, 0x4000 }, { RESERVE, 0, ~0ULL } },
	  { KEPT(0x1000, 0x5000) } },
	{ "reserve wraps",
	  { { RESERVE, 0x3001, ~0ULL }, { ADD, 0x1000, 0x4000 } },
	  { FREE(0x1000, 0x3000), KEPT(0x3000, 0x5000) } },
	{ "reserve beyond the limit",
	  { { ADD, 0, 0x4000 }, { RESERVE, LIMIT, 0x4000 }, { RESERVE, ~0ULL, 1 } },
	  { FREE(0, 0x4000) } },
	{ "reserve the last byte",
	  { { ADD, LIMIT - 0x2000, 0x2000 }, { RESERVE, LIMIT - 1, 1 } },
	  { FREE(LIMIT - 0x2000, LIMIT - 0x1000), KEPT(LIMIT - 0x1000, LIMIT) } },
};

static void bytes_become_frames(struct kunit *test)
{
	for (const struct byte_row *r = byte_rows; r < byte_rows + ARRAY_SIZE(byte_rows); r++) {
		memset(&mb, 0, sizeof(mb));
		for (size_t i = 0; r->call[i].op != END; i++) {
			phys_addr_t base = r->call[i].base;
			uint64_t size = r->call[i].size;
			int err = r->call[i].op == ADD ? memblock_add_to(&mb, base, size, 0)
						       : memblock_reserve_in(&mb, base, size);

			KUNIT_EXPECT_EQ_MSG(test, err, 0, "%s", r->name);
		}
		expect_runs(test, r->name, r->want);
	}
}

/* ---- Maps of real firmware ---- */

/* Types of the E820 interface; everything that is not RAM is reserved. */
enum { RAM = 1, RES, ACPI, NVS, BAD };

static const struct e820_row {
	const char *name;
	struct {
		phys_addr_t base;
		uint64_t size;
		uint32_t type;
		int node;
	} map[12];
	struct want want[8];
} e820_rows[] = {
	{ "q35, 256 MiB",
	  { { 0, 0x9fc00, RAM, 0 },
	    { 0x9fc00, 0x400, RES, 0 },
	    { 0xf0000, 0x10000, RES, 0 },
	    { 0x100000, 0xfee0000, RAM, 0 },
	    { 0xffe0000, 0x20000, RES, 0 },
	    { 0xb0000000, 0x10000000, RES, 0 },
	    { 0xfed1c000, 0x4000, RES, 0 },
	    { 0xfffc0000, 0x40000, RES, 0 },
	    { 0xfd00000000, 0x300000000, RES, 0 } },
	  { FREE(0, 0x9f000), FREE(0x100000, 0xffe0000) } },
	{ "q35, 3 GiB on two nodes",
	  { { 0, 0x9fc00, RAM, 0 },
	    { 0x9fc00, 0x400, RES, 0 },
	    { 0xf0000, 0x10000, RES, 0 },
	    { 0x100000, 0x5ff00000, RAM, 0 },
	    { 0x60000000, 0x1ffdf000, RAM, 1 },
	    { 0x7ffdf000, 0x21000, RES, 0 },
	    { 0xb0000000, 0x10000000, RES, 0 },
	    { 0xfffc0000, 0x40000, RES, 0 },
	    { 4 * GIB, GIB, RAM, 1 } },
	  { FREE(0, 0x9f000),
	    FREE(0x100000, 0x60000000),
	    FREE_ON(1, 0x60000000, 0x7ffdf000),
	    FREE_ON(1, 4 * GIB, 5 * GIB) } },
	{ "q35, 1 TiB, the upper part moved up",
	  { { 0, 0x9fc00, RAM, 0 },
	    { 0x100000, 0x7fedf000, RAM, 0 },
	    { 0x7ffdf000, 0x21000, RES, 0 },
	    { 1024 * GIB, 1022 * GIB, RAM, 0 },
	    { 0xfd00000000, 0x300000000, RES, 0 } },
	  { FREE(0, 0x9f000), FREE(0x100000, 0x7ffdf000), FREE(1024 * GIB, 2046 * GIB) } },
	{ "microvm: an entry without size and type",
	  { { 0, 0x9fc00, RAM, 0 },
	    { 0x9fc00, 0x400, RES, 0 },
	    { 0x100000, 0xbff00000, RAM, 0 },
	    { 4 * GIB, GIB, RAM, 0 },
	    { 0, 0, 0, 0 },
	    { 0xfffc0000, 0x40000, RES, 0 } },
	  { FREE(0, 0x9f000), FREE(0x100000, 0xc0000000), FREE(4 * GIB, 5 * GIB) } },
	{ "qboot: not in order",
	  { { 4 * GIB, GIB, RAM, 0 },
	    { 0xfffc0000, 0x40000, RES, 0 },
	    { 0x100000, 0x7ff00000, RAM, 0 },
	    { 0x9fc00, 0x400, RES, 0 },
	    { 0, 0x9fc00, RAM, 0 } },
	  { FREE(0, 0x9f000), FREE(0x100000, 0x80000000), FREE(4 * GIB, 5 * GIB) } },
	{ "reserved over RAM, defective RAM, tables in the middle",
	  { { 0, 16 * MIB, RAM, 0 },
	    { 0x9f800, 0x60800, RES, 0 },
	    { 8 * MIB, 1, BAD, 0 },
	    { 15 * MIB, 0x1800, ACPI, 0 },
	    { 15 * MIB + 0x1800, 0x800, NVS, 0 },
	    { 12 * MIB, 8 * MIB, RAM, 0 } },
	  { FREE(0, 0x9f000),
	    KEPT(0x9f000, 0x100000),
	    FREE(0x100000, 8 * MIB),
	    KEPT(8 * MIB, 8 * MIB + 0x1000),
	    FREE(8 * MIB + 0x1000, 15 * MIB),
	    KEPT(15 * MIB, 15 * MIB + 0x2000),
	    FREE(15 * MIB + 0x2000, 20 * MIB) } },
	{ "a guest of 4 MiB: no map at all", { { 0, 0, 0, 0 } }, {} },
};

static void e820_maps_come_out(struct kunit *test)
{
	for (const struct e820_row *r = e820_rows; r < e820_rows + ARRAY_SIZE(e820_rows); r++) {
		memset(&mb, 0, sizeof(mb));
		for (size_t i = 0; i < ARRAY_SIZE(r->map); i++) {
			phys_addr_t base = r->map[i].base;
			uint64_t size = r->map[i].size;
			int err = r->map[i].type == RAM
					  ? memblock_add_to(&mb, base, size, r->map[i].node)
					  : memblock_reserve_in(&mb, base, size);

			KUNIT_EXPECT_EQ_MSG(test, err, 0, "%s", r->name);
		}
		expect_runs(test, r->name, r->want);
	}
}

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void expect_as_oracle(struct kunit *test, uint64_t seed)
{
	KUNIT_ASSERT_TRUE_MSG(test, oracle_table_sane(&mb.memory), "seed %llu",
			      (unsigned long long)seed);
	KUNIT_ASSERT_TRUE_MSG(test, oracle_table_sane(&mb.taken), "seed %llu",
			      (unsigned long long)seed);
	KUNIT_ASSERT_EQ_MSG(test, oracle_differs(&oracle, &mb), ORACLE_CELLS,
			    "first wrong cell, seed %llu", (unsigned long long)seed);
}

/*
 * A UEFI map: 120 descriptors of a few pages, boot services code and data in
 * turn, some of the runtime's among them, in an order that is not ascending.
 */
static void efi_map_comes_out(struct kunit *test)
{
	static struct {
		phys_addr_t base;
		uint64_t size;
		bool ram;
	} map[120], swap;
	uint64_t seed = 1;
	phys_addr_t at = MIB;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
		map[i].base = at;
		map[i].size = (1 + next_random(&seed) % 8) * FRAME_SIZE;
		map[i].ram = i % 24 != 23;
		at += map[i].size;
	}
	for (int round = 0; round < 20; round++) {
		for (size_t i = ARRAY_SIZE(map) - 1; i > 0; i--) {
			size_t j = next_random(&seed) % (i + 1);

			swap = map[i];
			map[i] = map[j];
			map[j] = swap;
		}
		oracle_init(&oracle);
		oracle_init_memblock(&mb);
		for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
			phys_addr_t base = map[i].base;
			uint64_t size = map[i].size;

			if (map[i].ram) {
				KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, base, size, 0), 0);
				oracle_add(&oracle, base, size, 0);
			} else {
				KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, base, size), 0);
				oracle_reserve(&oracle, base, size);
			}
		}
		expect_as_oracle(test, (uint64_t)round);
		KUNIT_EXPECT_EQ(test, mb.memory.n, 5);
		KUNIT_EXPECT_EQ(test, mb.taken.n, 5 + 1);
	}
}

/* Whatever order the same calls come in, the result is the same. */
static void order_does_not_matter(struct kunit *test)
{
	static struct memblock_table memory, taken;
	size_t order[5] = { 0 };

	for (int perm = 0; perm < 120; perm++) {
		bool used[5] = { false };

		for (int i = 0, left = perm; i < 5; left /= 5 - i++) {
			int skip = left % (5 - i);
			size_t k = 0;

			for (; used[k] || skip--; k++)
				;
			used[k] = true;
			order[i] = k;
		}
		memset(&mb, 0, sizeof(mb));
		for (int i = 0; i < 5; i++) {
			switch (order[i]) {
			case 0:
				memblock_add_to(&mb, 0x0000, 0x8000, 0);
				break;
			case 1:
				memblock_add_to(&mb, 0x6800, 0x9000, 0);
				break;
			case 2:
				memblock_add_to(&mb, 0xf000, 0x4000, 1);
				break;
			case 3:
				memblock_reserve_in(&mb, 0x4010, 0x10);
				break;
			case 4:
				memblock_reserve_in(&mb, 0x7fff, 0x8002);
				break;
			}
		}
		if (!perm) {
			memory = mb.memory;
			taken = mb.taken;
		}
		KUNIT_ASSERT_EQ(test, mb.memory.n, 2);
		KUNIT_ASSERT_EQ(test, mb.taken.n, 2);
		KUNIT_EXPECT_MEMEQ(test, mb.memory.r, memory.r, 2 * sizeof(memory.r[0]));
		KUNIT_EXPECT_MEMEQ(test, mb.taken.r, taken.r, 2 * sizeof(taken.r[0]));
	}
}

/* ---- Full tables ---- */

/* Where the i-th of many one-frame ranges with gaps of one frame between lies. */
static phys_addr_t comb(size_t i)
{
	return (1 + 2 * i) * FRAME_SIZE;
}

static void full_memory_table_changes_nothing(struct kunit *test)
{
	size_t max = MEMBLOCK_MAX_RANGES;

	for (size_t i = 0; i < max; i++)
		KUNIT_ASSERT_EQ(test, memblock_add_to(&mb, comb(i), FRAME_SIZE, 0), 0);
	take_snapshot();
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, comb(max), FRAME_SIZE, 0), -ENOSPC);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, comb(0) - FRAME_SIZE, FRAME_SIZE, 1), -ENOSPC);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, comb(7) + FRAME_SIZE, FRAME_SIZE, 1), -ENOSPC);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, comb(max + 9), ~0ULL, 0), -ENOSPC);
	EXPECT_UNCHANGED(test);
	/* What needs no entry more still works, and what frees one makes room. */
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, comb(7), FRAME_SIZE, 1), 0);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, comb(max - 1), 2 * FRAME_SIZE, 0), 0);
	KUNIT_EXPECT_EQ(test, mb.memory.n, max);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, comb(3), 3 * FRAME_SIZE, 0), 0);
	KUNIT_EXPECT_EQ(test, mb.memory.n, max - 1);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, comb(max), FRAME_SIZE, 1), 0);
	KUNIT_EXPECT_EQ(test, mb.memory.n, max);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, 0, ~0ULL, 0), 0);
	KUNIT_EXPECT_EQ(test, mb.memory.n, 1);
}

static void full_taken_table_still_allocates(struct kunit *test)
{
	size_t max = MEMBLOCK_MAX_RANGES - MEMBLOCK_ALLOC_RANGES;

	memblock_add_to(&mb, FRAME_SIZE, comb(2 * max), 0);
	for (size_t i = 0; i < max; i++)
		KUNIT_ASSERT_EQ(test, memblock_reserve_in(&mb, comb(i), FRAME_SIZE), 0);
	take_snapshot();
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, comb(max), 1), -ENOSPC);
	EXPECT_UNCHANGED(test);
	/* Each allocation fills a gap; it joins nothing, and needs an entry. */
	for (size_t i = 0; i < MEMBLOCK_ALLOC_RANGES; i++)
		KUNIT_EXPECT_EQ(test, memblock_alloc_phys(&mb, 1, 1, NUMA_NO_NODE),
				comb(i) + FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, mb.taken.n, MEMBLOCK_MAX_RANGES);
	take_snapshot();
	KUNIT_EXPECT_EQ(test, memblock_alloc_phys(&mb, 1, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
	EXPECT_UNCHANGED(test);
	/* A reservation that needs no entry, or joins others, still works. */
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, comb(20), FRAME_SIZE), 0);
	EXPECT_UNCHANGED(test);
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, comb(20), 3 * FRAME_SIZE), 0);
	KUNIT_EXPECT_EQ(test, mb.taken.n, MEMBLOCK_MAX_RANGES - 1);
	KUNIT_EXPECT_EQ(test, memblock_alloc_phys(&mb, 1, 1, NUMA_NO_NODE),
			comb(MEMBLOCK_ALLOC_RANGES) + FRAME_SIZE);
}

/* ---- Closing ---- */

static void closes_once(struct kunit *test)
{
	memblock_add_to(&mb, 0x1000, 0x5000, 0);
	memblock_reserve_in(&mb, 0x2000, 1);
	memblock_reserve_in(&mb, 0x4000, 1);
	take_snapshot();
	for (size_t max = 0; max < 5; max++)
		KUNIT_EXPECT_EQ(test, memblock_close(&mb, runs, max), -ENOSPC);
	EXPECT_UNCHANGED(test);
	KUNIT_EXPECT_EQ(test, memblock_close(&mb, runs, 5), 5);
	take_snapshot();
	KUNIT_EXPECT_EQ(test, memblock_close(&mb, runs, 5), -EBUSY);
	KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, 0x10000, 0x1000, 0), -EBUSY);
	KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, 0x10000, 0x1000), -EBUSY);
	KUNIT_EXPECT_EQ(test, memblock_alloc_phys(&mb, 1, 1, NUMA_NO_NODE), MEMBLOCK_FAILED);
	KUNIT_EXPECT_NULL(test, memblock_alloc_in(&mb, 1, 1));
	EXPECT_UNCHANGED(test);
}

static void closes_empty(struct kunit *test)
{
	memblock_reserve_in(&mb, 0x2000, 1);
	KUNIT_EXPECT_EQ(test, memblock_close(&mb, runs, 0), 0);
}

/* As many runs as there can be: each reservation cuts a range of its own in three. */
static void closes_into_many_runs(struct kunit *test)
{
	size_t max = MEMBLOCK_MAX_RANGES - MEMBLOCK_ALLOC_RANGES;

	for (size_t i = 0; i < max; i++) {
		memblock_add_to(&mb, i * 4 * FRAME_SIZE, 3 * FRAME_SIZE, 0);
		memblock_reserve_in(&mb, (i * 4 + 1) * FRAME_SIZE, FRAME_SIZE);
	}
	KUNIT_EXPECT_EQ(test, memblock_close(&mb, runs, ARRAY_SIZE(runs)), (int)(3 * max));
}

static void machine_has_closed_its_own(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, boot_memblock.closed);
	KUNIT_EXPECT_TRUE(test, oracle_table_sane(&boot_memblock.memory));
	KUNIT_EXPECT_TRUE(test, oracle_table_sane(&boot_memblock.taken));
	KUNIT_EXPECT_EQ(test, memblock_add(0, MIB, 0), -EBUSY);
	KUNIT_EXPECT_EQ(test, memblock_reserve(0, MIB), -EBUSY);
	KUNIT_EXPECT_NULL(test, memblock_alloc(64, 64));
	KUNIT_EXPECT_NULL(test, memblock_map_in(&boot_memblock, 64, 64, 0));
}

/* ---- Random calls ---- */

/* In frames, half of them not whole; the upper end of the address space as well. */
static phys_addr_t random_address(uint64_t *seed)
{
	uint64_t r = next_random(seed);
	phys_addr_t pa = r & 7 ? (r >> 8) % ORACLE_LOW * FRAME_SIZE
			       : ORACLE_HIGH_BASE + (r >> 8) % ORACLE_HIGH * FRAME_SIZE;

	return r & 8 ? pa : pa + (r >> 32) % FRAME_SIZE;
}

static uint64_t random_size(uint64_t *seed, phys_addr_t base)
{
	uint64_t r = next_random(seed), size = (r >> 16) % (64 * FRAME_SIZE);

	if (!(r & 31))
		return ~0ULL - (r >> 32);
	if (!(r & 0x3e0))
		return 0;
	return MAX(oracle_clamp(base + size), base) - base;
}

static void random_call(struct kunit *test, uint64_t *seed)
{
	uint64_t r = next_random(seed);
	int node = (int)(r >> 8 & 3) - 1;
	phys_addr_t base = oracle_clamp(random_address(seed));
	uint64_t size = random_size(seed, base);

	if (r % 8 < 3) {
		KUNIT_EXPECT_EQ(test, memblock_add_to(&mb, base, size, node),
				oracle_add(&oracle, base, size, node));
	} else if (r % 8 < 6) {
		KUNIT_EXPECT_EQ(test, memblock_reserve_in(&mb, base, size % (4 * FRAME_SIZE)),
				oracle_reserve(&oracle, base, size % (4 * FRAME_SIZE)));
	} else {
		uint64_t align = 1ULL << (r >> 16) % 20;
		phys_addr_t want;

		size %= 16 * FRAME_SIZE;
		want = oracle_find(&oracle, &mb, size, align, node);
		KUNIT_EXPECT_EQ(test, memblock_alloc_phys(&mb, size, align, node), want);
		if (want != MEMBLOCK_FAILED)
			oracle_take(&oracle, want, size);
	}
}

static void random_calls_match_frame_map(struct kunit *test)
{
	for (uint64_t first = 1; first <= 40; first++) {
		uint64_t seed = first * 0x9e3779b97f4a7c15ULL;
		int n;

		oracle_init(&oracle);
		oracle_init_memblock(&mb);
		mb.top_down = first & 1;
		mb.floor = first & 2 ? 0x200800 : 0;
		for (int i = 0; i < 60; i++) {
			random_call(test, &seed);
			expect_as_oracle(test, first);
		}
		n = memblock_close(&mb, runs, ARRAY_SIZE(runs));
		KUNIT_ASSERT_GE(test, n, 0);
		KUNIT_EXPECT_EQ_MSG(test, oracle_runs_differ(&oracle, runs, (size_t)n),
				    ORACLE_CELLS, "first wrong cell, seed %llu",
				    (unsigned long long)first);
	}
	kunit_info(test, "seeds 1 to 40, 60 calls each");
}

static struct kunit_case memblock_cases[] = {
	KUNIT_CASE(pictures_come_out),
	KUNIT_CASE(bytes_become_frames),
	KUNIT_CASE(e820_maps_come_out),
	KUNIT_CASE(efi_map_comes_out),
	KUNIT_CASE(order_does_not_matter),
	KUNIT_CASE(full_memory_table_changes_nothing),
	KUNIT_CASE(full_taken_table_still_allocates),
	KUNIT_CASE(closes_once),
	KUNIT_CASE(closes_empty),
	KUNIT_CASE(closes_into_many_runs),
	KUNIT_CASE(machine_has_closed_its_own),
	KUNIT_CASE(random_calls_match_frame_map),
	{},
};

static struct kunit_suite memblock_suite = {
	.name = "memblock",
	.init = memblock_test_init,
	.test_cases = memblock_cases,
};
kunit_test_suite(memblock_suite);
