// SPDX-License-Identifier: MIT
/*
 * memblock under a fuzzer: each input is a list of calls, and after each call
 * the tables must be what the frame map of memblock_oracle.h says.
 *
 *	byte 0		bits 0-3 floor in 4-frame steps, 4 top-down, 5 start with RAM,
 *			6 with a nearly full table of RAM, 7 of reservations
 *	then per call	op, kind of range, four bytes of base and size, node
 *
 * Physical memory from 0 to ORACLE_LOW_END is real here, so memblock_alloc_in()
 * can zero it; port_map() stands for the rest of the machine and may refuse.
 */
#include <stdio.h>
#include <stdlib.h>

#include <spanheap/page.h>

/* The fuzzer is to look for ways through memblock.c, not through the oracle. */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)

#include "tests/suites/memblock_oracle.h"

#define MAX_PARTS 256

/* Starts each input full of DIRT, so that nothing reads as zeroes by chance. */
#define DIRT 0xa5
static uint8_t ram[ORACLE_LOW_END] __attribute__((aligned(4096)));
static uint8_t mapped[ORACLE_LOW];
uintptr_t fuzz_direct_base;

static struct memblock mb;
static struct oracle oracle;
static struct mem_range runs[MEMBLOCK_MAX_RUNS];

/* What memblock_alloc_in() is doing: wanted frames, and what port_map() saw. */
static struct {
	uint64_t align;
	int refuse;
	phys_addr_t mapped;
	uint64_t mapped_size;
	unsigned nmaps;
} now;

static struct {
	uint8_t *p;
	size_t size;
	uint8_t tag;
} part[MAX_PARTS];
static unsigned nparts;

struct input {
	const uint8_t *p, *end;
};

static uint8_t take(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "memblock_fuzz: %s\n", what);
	abort();
}

int port_map(uintptr_t va, phys_addr_t pa, size_t size, unsigned prot, struct port_pool *pool)
{
	check(va == fuzz_direct_base + pa, "mapped outside the direct map");
	check(prot == (PORT_READ | PORT_WRITE) && !pool, "mapped with other rights");
	check(pa == oracle_find(&oracle, &mb, size, now.align, NUMA_NO_NODE), "not the first fit");
	check(!now.nmaps++, "mapped twice in one call");
	if (now.refuse)
		return now.refuse;
	if (pa + size > ORACLE_LOW_END)
		return -EIO;
	for (size_t at = 0; at < size; at += FRAME_SIZE)
		check(!mapped[(pa + at) / FRAME_SIZE]++, "mapped a second time");
	now.mapped = pa;
	now.mapped_size = size;
	return 0;
}

static phys_addr_t take_address(struct input *in, uint8_t kind)
{
	uint64_t frame = take(in) | (uint64_t)take(in) << 8;
	static const int16_t skew[4] = { 0, 1, -1, 0x800 };
	phys_addr_t pa;

	if (kind & 1)
		pa = ORACLE_HIGH_BASE + frame % (ORACLE_HIGH + 4) * FRAME_SIZE;
	else
		pa = frame % (ORACLE_LOW + 1) * FRAME_SIZE;
	return oracle_clamp(pa + (uint64_t)(int64_t)skew[kind >> 1 & 3]);
}

/* A range: an address and a short length, or two addresses, or one that wraps. */
static void take_range(struct input *in, phys_addr_t *base, uint64_t *size)
{
	uint8_t kind = take(in);

	*base = take_address(in, kind & 7);
	switch (kind >> 5) {
	case 0:
		*size = ~0ULL - take(in);
		return;
	case 1:
		*size = 0;
		return;
	case 2:
	case 3:
		*size = take_address(in, kind >> 3 & 3) - *base;
		break;
	default:
		*size = (take(in) % 32) * FRAME_SIZE + (kind & 0x18 ? take(in) * 16 : 0);
	}
	if (*base + *size >= *base)
		*size = MAX(oracle_clamp(*base + *size), *base) - *base;
}

static void do_alloc_phys(struct input *in)
{
	uint64_t size = take(in) * FRAME_SIZE / 4, align = 1ULL << take(in) % 64;
	int node = take(in) % 6 - 1;
	phys_addr_t want = oracle_find(&oracle, &mb, size, align, node), got;

	got = memblock_alloc_phys(&mb, size, align, node);
	if (got == MEMBLOCK_FAILED && want != MEMBLOCK_FAILED) {
		check(mb.taken.n == MEMBLOCK_MAX_RANGES, "room was there");
		return;
	}
	check(got == want, "not the first fit");
	if (got != MEMBLOCK_FAILED)
		oracle_take(&oracle, got, size);
}

static void do_alloc(struct input *in)
{
	uint64_t size = take(in) << take(in) % 8, align = 1ULL << take(in) % 16;
	static const int refusals[] = { -ENOMEM, -EEXIST, -EIO };
	uint8_t refuse = take(in), *p;

	now.refuse = refuse < 64 ? refusals[refuse % 3] : 0;
	now.align = align;
	now.nmaps = 0;
	now.mapped_size = 0;
	p = memblock_alloc_in(&mb, size, align);
	oracle_take(&oracle, now.mapped, now.mapped_size);
	if (!p) {
		check(!now.mapped_size, "mapped and lost");
		return;
	}
	check(size && !(virt_to_phys(p) & (MAX(align, 64) - 1)), "misaligned");
	check(p >= ram && p + size <= ram + sizeof(ram), "outside RAM");
	for (phys_addr_t pa = (phys_addr_t)(p - ram); pa < (phys_addr_t)(p - ram) + size; pa++) {
		check(oracle.use[pa / FRAME_SIZE] == MEM_USE_BOOT, "not taken");
		check(!ram[pa], "not zeroed, or handed out twice");
	}
	if (nparts == MAX_PARTS)
		return;
	part[nparts].p = p;
	part[nparts].size = size;
	part[nparts].tag = (uint8_t)(nparts | 1);
	memset(p, part[nparts].tag, size);
	nparts++;
}

static void check_parts(void)
{
	for (unsigned i = 0; i < nparts; i++)
		for (size_t at = 0; at < part[i].size; at++)
			check(part[i].p[at] == part[i].tag, "written after it was handed out");
}

static void check_tables(void)
{
	check(oracle_table_sane(&mb.memory), "the memory table is out of order");
	check(oracle_table_sane(&mb.taken), "the taken table is out of order");
	check(oracle_differs(&oracle, &mb) == ORACLE_CELLS, "the tables are wrong");
}

static void do_close(void)
{
	int n = memblock_close(&mb, runs, MEMBLOCK_MAX_RUNS);

	check(n >= 0, "too many runs");
	check(oracle_runs_differ(&oracle, runs, (size_t)n) == ORACLE_CELLS, "the runs are wrong");
	check(memblock_close(&mb, runs, MEMBLOCK_MAX_RUNS) == -EBUSY, "closed twice");
	check(memblock_add_to(&mb, 0, FRAME_SIZE, 0) == -EBUSY, "added after closing");
	check(memblock_reserve_in(&mb, 0, FRAME_SIZE) == -EBUSY, "reserved after closing");
	check(!memblock_alloc_in(&mb, 1, 1), "allocated after closing");
	check_tables();
}

static void do_add(phys_addr_t base, uint64_t size, int node)
{
	int err = memblock_add_to(&mb, base, size, node);

	check(err == oracle_add(&oracle, base, size, node), "wrong result of add");
}

static void do_reserve(phys_addr_t base, uint64_t size)
{
	int err = memblock_reserve_in(&mb, base, size);

	check(err == oracle_reserve(&oracle, base, size), "wrong result of reserve");
}

/* Many one-frame ranges at once. */
static void do_comb(struct input *in)
{
	size_t first = take(in) * 4, n = take(in) % 32, step = 2 + take(in) % 2;
	bool reserve = take(in) & 1;
	int node = take(in) % 3;

	for (size_t cell = first; n-- && cell < ORACLE_LOW; cell += step) {
		if (reserve)
			do_reserve(oracle_base(cell), 1);
		else
			do_add(oracle_base(cell), FRAME_SIZE, node);
	}
}

/* What would take an input too many calls to reach. Not checked one by one: it is slow. */
static void prepare(uint8_t knobs)
{
	if (knobs & 64) {
		for (size_t i = 0; i < MEMBLOCK_MAX_RANGES - 3; i++) {
			memblock_add_to(&mb, oracle_base(2 * i), FRAME_SIZE, 0);
			oracle.node[2 * i] = 0;
		}
	} else if (knobs & 32) {
		do_add(oracle_base(1), 1024 * FRAME_SIZE, 0);
		do_add(oracle_base(700), 128 * FRAME_SIZE, 1);
	}
	if (knobs & 128) {
		for (size_t i = 0; i < MEMBLOCK_MAX_RANGES - MEMBLOCK_ALLOC_RANGES - 3; i++) {
			memblock_reserve_in(&mb, oracle_base(2 * i + 1), FRAME_SIZE);
			oracle.use[2 * i + 1] = MEM_USE_KEPT;
		}
	}
}

static void do_call(struct input *in)
{
	phys_addr_t base;
	uint64_t size;
	int node;

	switch (take(in) % 8) {
	case 0:
	case 1:
		take_range(in, &base, &size);
		node = take(in) % (PORT_MAX_NODES + 4) - 2;
		do_add(base, size, node);
		break;
	case 2:
	case 3:
		take_range(in, &base, &size);
		do_reserve(base, size);
		break;
	case 4:
		do_alloc_phys(in);
		break;
	case 5:
	case 6:
		do_alloc(in);
		break;
	case 7:
		do_comb(in);
		break;
	}
	check_tables();
}

/* Only what was mapped can have been written. */
static void clean_ram(void)
{
	if (!fuzz_direct_base)
		memset(ram, DIRT, sizeof(ram));
	fuzz_direct_base = (uintptr_t)ram;
	for (size_t i = 0; i < ORACLE_LOW; i++)
		if (mapped[i])
			memset(ram + i * FRAME_SIZE, DIRT, FRAME_SIZE);
	memset(mapped, 0, sizeof(mapped));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	uint8_t knobs = take(&in);

	clean_ram();
	oracle_init(&oracle);
	oracle_init_memblock(&mb);
	mb.floor = (knobs & 15) * 4 * FRAME_SIZE;
	mb.top_down = knobs & 16;
	nparts = 0;
	prepare(knobs);
	while (in.p < in.end)
		do_call(&in);
	check_parts();
	do_close();
	return 0;
}

#pragma clang attribute pop
