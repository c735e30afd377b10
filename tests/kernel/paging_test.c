// SPDX-License-Identifier: MIT
/*
 * The page tables themselves: rights of every mapping, large leaves, splitting
 * and joining in the direct map, the shared zeroes of the window, several CPUs
 * that map at once. What any port must do is in tests/suites/port_test.c.
 *
 * Memory is a whole chunk out of the page heap: its leaf in the direct map is
 * taken apart and put together again behind the heap's back, and is whole at the
 * end of each case. The middle of the window is nobody else's; frames of the image
 * serve for tables there, which stay.
 */
#include <kernel/arch.h>
#include <kernel/image.h>
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/string.h"

#define RW (PORT_READ | PORT_WRITE)
#define AREA (PORT_WINDOW_BASE + PORT_WINDOW_SIZE / 2)
#define POOL_FRAMES 16
#define MAP_CPUS 8

static uint8_t pool_frame[POOL_FRAMES][FRAME_SIZE] __attribute__((aligned(4096)));
static struct port_pool pool;
static uint8_t *chunk;

static int paging_suite_init(struct kunit_suite *suite)
{
	static bool filled;

	(void)suite;
	for (unsigned i = 0; i < POOL_FRAMES && !filled; i++)
		port_pool_give(&pool, pool_frame[i]);
	filled = true;
	chunk = page_alloc_range(CHUNK_FRAMES, CHUNK_SIZE, 0, ~0ULL, GFP_KERNEL);
	return chunk ? 0 : -ENOMEM;
}

static void paging_suite_exit(struct kunit_suite *suite)
{
	(void)suite;
	free_pages_exact(chunk, CHUNK_SIZE);
}

static int level_of(uintptr_t va)
{
	int level;

	paging_lookup(va, &level);
	return level;
}

static pte_t entry_of(uintptr_t va)
{
	int level;

	return paging_lookup(va, &level);
}

/* ---- Rights ---- */

struct rights {
	unsigned executable, writable_too, outside_text, leaves;
};

static void check_leaf(struct rights *r, uintptr_t va, pte_t entry)
{
	r->leaves++;
	if (entry & PTE_NX)
		return;
	r->executable++;
	r->writable_too += !!(entry & PTE_WRITE);
	r->outside_text += va < (uintptr_t)__text_start || va >= (uintptr_t)__text_end;
}

/* Shared tables are looked at once, where they first appear. */
static void walk_tables(struct rights *r, const pte_t *table, uintptr_t base, int level)
{
	bool shared_seen = false;

	for (unsigned i = 0; i < PTE_COUNT; i++) {
		uintptr_t va = base + ((uintptr_t)i << pte_shift(level));
		pte_t entry = table[i];

		if (level == PAGING_TOP && i >= PTE_COUNT / 2)
			va |= 0xffff000000000000UL;
		if (!(entry & PTE_PRESENT) || (entry & PTE_SHARED && shared_seen))
			continue;
		shared_seen |= !!(entry & PTE_SHARED);
		if (!level || entry & PTE_LARGE)
			check_leaf(r, va, entry);
		else
			walk_tables(r, table_of(entry), va, level - 1);
	}
}

static void nothing_is_writable_and_executable(struct kunit *test)
{
	struct rights r = { 0 };

	walk_tables(&r, paging_root(), 0, PAGING_TOP);
	KUNIT_EXPECT_EQ(test, r.writable_too, 0U);
	KUNIT_EXPECT_EQ(test, r.outside_text, 0U);
	KUNIT_EXPECT_EQ(test, r.executable, (unsigned)((__text_end - __text_start) / FRAME_SIZE));
	KUNIT_EXPECT_GT(test, r.leaves, r.executable);
}

static bool is_boot_guard(uintptr_t va)
{
	uintptr_t guard;

	for (unsigned i = 0; (guard = boot_stack_guard(i)); i++)
		if (guard == va)
			return true;
	return false;
}

static void image_is_mapped_by_its_parts(struct kunit *test)
{
	for (uintptr_t va = (uintptr_t)__image_start; va < (uintptr_t)__image_end;
	     va += FRAME_SIZE) {
		pte_t want = MAP_DATA, entry = entry_of(va);

		if (va < (uintptr_t)__text_end)
			want = MAP_CODE;
		else if (va < (uintptr_t)__rodata_end)
			want = MAP_CONST;
		if (is_boot_guard(va))
			want = 0;
		KUNIT_ASSERT_EQ_MSG(test, entry & ~PTE_ADDRESS, want, "at 0x%lx", va);
		KUNIT_ASSERT_EQ(test, level_of(va), 0);
	}
	KUNIT_EXPECT_FALSE(test, entry_of((uintptr_t)__image_start - 1) & PTE_PRESENT);
	KUNIT_EXPECT_FALSE(test, entry_of((uintptr_t)__image_end) & PTE_PRESENT);
}

static void nothing_lies_in_the_lower_half(struct kunit *test)
{
	for (unsigned i = 0; i < PTE_COUNT / 2; i++)
		KUNIT_EXPECT_EQ(test, paging_root()[i], 0ULL);
}

static void every_cpu_stack_has_a_guard(struct kunit *test)
{
	for (unsigned i = 0; i < cpu_count(); i++) {
		const struct cpu_stacks *s = &cpu_by_number(i)->stacks;
		const struct {
			uintptr_t top;
			size_t size;
		} stacks[] = {
			{ s->idle, SCHED_STACK_SIZE }, { s->df, DF_STACK_SIZE },
			{ s->nmi, NMI_STACK_SIZE },    { s->mc, MC_STACK_SIZE },
			{ s->pf, PF_STACK_SIZE },
		};

		for (unsigned j = 0; j < ARRAY_SIZE(stacks); j++) {
			uintptr_t bottom = stacks[j].top - stacks[j].size;

			KUNIT_EXPECT_EQ(test, entry_of(stacks[j].top - 1) & ~PTE_ADDRESS, MAP_DATA);
			KUNIT_EXPECT_EQ(test, entry_of(bottom) & ~PTE_ADDRESS, MAP_DATA);
			KUNIT_EXPECT_FALSE(test, entry_of(bottom - 1) & PTE_PRESENT);
			KUNIT_EXPECT_FALSE(test, entry_of(bottom - FRAME_SIZE) & PTE_PRESENT);
		}
	}
}

static void devices_are_not_cached(struct kunit *test)
{
	pte_t entry;
	uint32_t *apic = mmio_map(0xfee00020, 4);

	KUNIT_ASSERT_NOT_NULL(test, apic);
	entry = entry_of((uintptr_t)apic);
	KUNIT_EXPECT_EQ(test, entry, 0xfee00000UL | MAP_DEVICE);
	KUNIT_EXPECT_EQ(test, *(volatile uint32_t *)apic >> 24, cpu_self()->apic_id);
	KUNIT_EXPECT_NULL(test, mmio_map(0xfee00000, MMIO_WINDOW_SIZE));
}

/* ---- Splitting and joining in the direct map ---- */

/* A frame that a join can give back, unlike those of the image. */
static void give_frame(struct kunit *test, struct port_pool *one)
{
	void *frame = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, frame);
	port_pool_give(one, frame);
}

static void fill_chunk(void)
{
	for (unsigned i = 0; i < CHUNK_FRAMES; i++)
		*(volatile unsigned *)(chunk + i * FRAME_SIZE) = i;
}

/* On all CPUs: page i of the chunk holds i, or faults if it is in the hole. */
struct hole {
	unsigned from, to, wrong;
};

static void look_at_chunk(void *arg)
{
	struct hole *h = arg;

	for (unsigned i = 0; i < CHUNK_FRAMES; i++) {
		volatile unsigned *page = (void *)(chunk + i * FRAME_SIZE);
		bool gone = i >= h->from && i < h->to;

		if (probe_write((void *)page) != (gone ? -EFAULT : 0) || (!gone && *page != i))
			atomic_fetch_add(&h->wrong, 1);
	}
}

static void expect_hole(struct kunit *test, unsigned from, unsigned to)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct hole h = { .from = from, .to = to };

		run_in_irq(cpu, look_at_chunk, &h);
		KUNIT_EXPECT_EQ_MSG(test, h.wrong, 0U, "cpu %u", cpu);
	}
}

static void heap_uses_large_leaves(struct kunit *test)
{
	pte_t entry = entry_of((uintptr_t)chunk);

	KUNIT_EXPECT_EQ(test, level_of((uintptr_t)chunk), 1);
	KUNIT_EXPECT_EQ(test, entry, virt_to_phys(chunk) | MAP_DATA | PTE_LARGE);
}

static void split_and_join(struct kunit *test)
{
	uintptr_t va = (uintptr_t)chunk, hole = va + 7 * FRAME_SIZE;
	struct port_pool none = { 0 }, one = { 0 };
	pte_t first;
	void *table;

	give_frame(test, &one);
	fill_chunk();
	expect_hole(test, 0, 0);
	KUNIT_EXPECT_EQ(test, port_unmap(hole, 3 * FRAME_SIZE, &none), -ENOMEM);
	expect_hole(test, 0, 0);
	KUNIT_EXPECT_FALSE(test, port_join(va, &table));

	KUNIT_ASSERT_EQ(test, port_unmap(hole, 3 * FRAME_SIZE, &one), 0);
	port_flush(hole, 3 * FRAME_SIZE);
	expect_hole(test, 7, 10);
	KUNIT_EXPECT_EQ(test, level_of(va), 0);
	KUNIT_EXPECT_EQ(test, one.nframes, 0UL);
	KUNIT_EXPECT_FALSE(test, port_join(va, &table));

	KUNIT_ASSERT_EQ(test, port_map(hole, virt_to_phys((void *)hole), 3 * FRAME_SIZE, RW, &none),
			0);
	expect_hole(test, 0, 0);
	first = entry_of(va);
	KUNIT_EXPECT_TRUE(test, port_join(va, &table));
	KUNIT_ASSERT_NOT_NULL(test, table);
	/* Another CPU may still be on its way through the table: nothing is written there. */
	KUNIT_EXPECT_EQ(test, *(pte_t *)table, first);
	port_flush(va, CHUNK_SIZE);
	KUNIT_EXPECT_EQ(test, level_of(va), 1);
	expect_hole(test, 0, 0);
	free_pages_exact(table, FRAME_SIZE);
}

static void join_wants_all_alike(struct kunit *test)
{
	uintptr_t va = (uintptr_t)chunk, last = va + CHUNK_SIZE - FRAME_SIZE;
	phys_addr_t pa = virt_to_phys((void *)last);
	struct port_pool none = { 0 }, one = { 0 };
	void *table;

	give_frame(test, &one);
	fill_chunk();
	KUNIT_ASSERT_EQ(test, port_unmap(last, FRAME_SIZE, &one), 0);
	port_flush(last, FRAME_SIZE);
	/* Read-only, then another frame, then right. */
	KUNIT_ASSERT_EQ(test, port_map(last, pa, FRAME_SIZE, PORT_READ, &none), 0);
	KUNIT_EXPECT_FALSE(test, port_join(va, &table));
	port_unmap(last, FRAME_SIZE, &none);
	port_flush(last, FRAME_SIZE);
	KUNIT_ASSERT_EQ(test, port_map(last, pa - FRAME_SIZE, FRAME_SIZE, RW, &none), 0);
	KUNIT_EXPECT_FALSE(test, port_join(va, &table));
	port_unmap(last, FRAME_SIZE, &none);
	port_flush(last, FRAME_SIZE);
	KUNIT_ASSERT_EQ(test, port_map(last, pa, FRAME_SIZE, RW, &none), 0);
	KUNIT_EXPECT_TRUE(test, port_join(va, &table));
	port_flush(va, CHUNK_SIZE);
	expect_hole(test, 0, 0);
	free_pages_exact(table, FRAME_SIZE);
}

/* ---- The window ---- */

static void window_shares_its_zeroes(struct kunit *test)
{
	pte_t zeroes = entry_of(PORT_WINDOW_BASE + PORT_WINDOW_SIZE / 8 * 7);
	int level;
	uintptr_t places[] = { PORT_WINDOW_BASE + PORT_WINDOW_SIZE / 4 * 3,
			       PORT_WINDOW_BASE + PORT_WINDOW_SIZE - FRAME_SIZE - 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		pte_t entry = paging_lookup(places[i], &level);

		KUNIT_EXPECT_EQ(test, level, 0);
		KUNIT_EXPECT_TRUE(test, entry & PTE_SHARED);
		KUNIT_EXPECT_EQ(test, entry & PTE_ADDRESS, zeroes & PTE_ADDRESS);
		KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)places[i], 0);
		KUNIT_EXPECT_EQ(test, probe_write((void *)places[i]), -EFAULT);
	}
}

/* Leaves by size and alignment of both addresses; whatever is not mapped stays zero. */
static void window_leaves(struct kunit *test)
{
	phys_addr_t pa = virt_to_phys(chunk);
	struct port_pool none = { 0 };

	KUNIT_ASSERT_EQ(test, port_map(AREA, pa, CHUNK_SIZE, RW, &pool), 0);
	KUNIT_EXPECT_EQ(test, level_of(AREA), 1);
	KUNIT_EXPECT_EQ(test, port_map(AREA, pa, CHUNK_SIZE, RW, &pool), -EEXIST);
	KUNIT_EXPECT_EQ(test, port_map(AREA - FRAME_SIZE, pa, 2 * FRAME_SIZE, RW, &pool), -EEXIST);
	KUNIT_EXPECT_TRUE(test, entry_of(AREA - FRAME_SIZE) & PTE_SHARED);
	KUNIT_ASSERT_EQ(test, port_unmap(AREA, CHUNK_SIZE, &none), 0);
	port_flush(AREA, CHUNK_SIZE);
	KUNIT_EXPECT_TRUE(test, entry_of(AREA) & PTE_SHARED);

	/* Not aligned alike: small leaves, in two tables. */
	KUNIT_ASSERT_EQ(test,
			port_map(AREA + CHUNK_SIZE - FRAME_SIZE, pa, 4 * FRAME_SIZE, RW, &pool), 0);
	KUNIT_EXPECT_EQ(test, level_of(AREA + CHUNK_SIZE), 0);
	KUNIT_EXPECT_EQ(test, entry_of(AREA + CHUNK_SIZE), (pa + FRAME_SIZE) | MAP_DATA);
	KUNIT_EXPECT_TRUE(test, entry_of(AREA + CHUNK_SIZE + 3 * FRAME_SIZE) & PTE_SHARED);
	KUNIT_ASSERT_EQ(test, port_unmap(AREA + CHUNK_SIZE - FRAME_SIZE, 4 * FRAME_SIZE, &none), 0);
	port_flush(AREA + CHUNK_SIZE - FRAME_SIZE, 4 * FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, probe_write((void *)(AREA + CHUNK_SIZE)), -EFAULT);
	KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)(AREA + CHUNK_SIZE), 0);
}

/* Refused is refused whole: neither a mapping nor a frame of the pool has gone. */
static void refusals_change_nothing(struct kunit *test)
{
	uintptr_t va = AREA + (4UL << 30) - CHUNK_SIZE;
	struct port_pool two = { 0 };

	port_pool_give(&two, port_pool_take(&pool));
	port_pool_give(&two, port_pool_take(&pool));
	/* Two tables of leaves, and a PD for the second, at least. */
	KUNIT_EXPECT_EQ(test,
			port_map(va + FRAME_SIZE, virt_to_phys(chunk), CHUNK_SIZE, RW, &two),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, two.nframes, 2UL);
	KUNIT_EXPECT_EQ(test, port_map(va, 1ULL << 52, CHUNK_SIZE, RW, &two), -EIO);
	KUNIT_EXPECT_EQ(test, port_map(va, (1ULL << 52) - FRAME_SIZE, CHUNK_SIZE, RW, &two), -EIO);
	KUNIT_EXPECT_EQ(test, two.nframes, 2UL);
	KUNIT_EXPECT_TRUE(test, entry_of(va + FRAME_SIZE) & PTE_SHARED);
	port_pool_give(&pool, port_pool_take(&two));
	port_pool_give(&pool, port_pool_take(&two));
}

/* ---- Several CPUs ---- */

struct mapper {
	uint32_t *gate;
	uintptr_t va;
	struct port_pool pool;
	void *frames;
	int err;
};

static void map_at_once(void *arg)
{
	struct mapper *m = arg;

	atomic_fetch_sub(m->gate, 1);
	while (atomic_load(m->gate))
		task_yield();
	m->err = port_map(m->va, virt_to_phys(chunk), FRAME_SIZE, RW, &m->pool);
}

/* Neighbouring blocks under tables that nobody has made yet: of those made twice one is kept. */
static void cpus_map_side_by_side(struct kunit *test)
{
	static uint8_t frames[MAP_CPUS][3][FRAME_SIZE] __attribute__((aligned(4096)));
	static struct mapper m[MAP_CPUS];
	static const uintptr_t base = AREA + (1UL << 40);
	static bool ran;
	unsigned n = MIN(cpu_count(), (unsigned)MAP_CPUS);
	struct task *t[MAP_CPUS];
	uint32_t gate = n;
	size_t left = 0;

	if (ran)
		kunit_skip(test, "the tables are there from an earlier run");
	ran = true;
	for (unsigned i = 0; i < n; i++) {
		m[i] = (struct mapper){ .gate = &gate, .va = base + i * CHUNK_SIZE };
		for (unsigned j = 0; j < 3; j++)
			port_pool_give(&m[i].pool, frames[i][j]);
	}
	*(volatile uint8_t *)chunk = 0x77;
	for (unsigned i = 0; i < n; i++) {
		t[i] = task_start(i, map_at_once, &m[i], "map");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		task_join(t[i]);
		KUNIT_EXPECT_EQ(test, m[i].err, 0);
		left += m[i].pool.nframes;
	}
	/* One PDPT, one PD, and a PT each: all the rest is back. */
	KUNIT_EXPECT_EQ(test, left, 3 * n - 2 - n);
	for (unsigned i = 0; i < n; i++) {
		port_flush(m[i].va, FRAME_SIZE);
		KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)m[i].va, 0x77);
		KUNIT_EXPECT_EQ(test, *(volatile uint8_t *)(m[i].va + FRAME_SIZE), 0);
		KUNIT_EXPECT_EQ(test, port_unmap(m[i].va, FRAME_SIZE, NULL), 0);
	}
	port_flush(base, n * CHUNK_SIZE);
}

struct remap {
	uintptr_t va;
	uint32_t want, wrong;
};

static void read_remapped(void *arg)
{
	struct remap *r = arg;

	if (*(volatile uint32_t *)r->va != r->want)
		atomic_fetch_add(&r->wrong, 1);
}

/* Each CPU has used the old translation just before: a flush that leaves one out shows. */
static void flush_reaches_every_cpu(struct kunit *test)
{
	struct remap r = { .va = AREA };

	fill_chunk();
	for (uint32_t i = 0; i < 20; i++) {
		phys_addr_t pa = virt_to_phys(chunk) + i * FRAME_SIZE;

		KUNIT_ASSERT_EQ(test, port_map(r.va, pa, FRAME_SIZE, RW, &pool), 0);
		port_flush(r.va, i % 2 ? FRAME_SIZE : 1024 * FRAME_SIZE);
		r.want = i;
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			run_in_irq(cpu, read_remapped, &r);
		KUNIT_ASSERT_EQ(test, port_unmap(r.va, FRAME_SIZE, NULL), 0);
		port_flush(r.va, i % 2 ? 1024 * FRAME_SIZE : FRAME_SIZE);
		r.want = 0;
		for (unsigned cpu = 0; cpu < cpu_count(); cpu++)
			run_in_irq(cpu, read_remapped, &r);
	}
	KUNIT_EXPECT_EQ(test, r.wrong, 0U);
}

static struct kunit_case paging_cases[] = {
	KUNIT_CASE(nothing_is_writable_and_executable),
	KUNIT_CASE(image_is_mapped_by_its_parts),
	KUNIT_CASE(nothing_lies_in_the_lower_half),
	KUNIT_CASE(every_cpu_stack_has_a_guard),
	KUNIT_CASE(devices_are_not_cached),
	KUNIT_CASE(heap_uses_large_leaves),
	KUNIT_CASE(split_and_join),
	KUNIT_CASE(join_wants_all_alike),
	KUNIT_CASE(window_shares_its_zeroes),
	KUNIT_CASE(window_leaves),
	KUNIT_CASE(refusals_change_nothing),
	KUNIT_CASE(cpus_map_side_by_side),
	KUNIT_CASE(flush_reaches_every_cpu),
	{}
};

static struct kunit_suite paging_suite = {
	.name = "paging",
	.suite_init = paging_suite_init,
	.suite_exit = paging_suite_exit,
	.test_cases = paging_cases,
};
kunit_test_suite(paging_suite);
