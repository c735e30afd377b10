// SPDX-License-Identifier: MIT
/*
 * Changing the page tables: port_map(), port_unmap(), port_join().
 *
 * Each call first goes over its range without changing anything: is all of it
 * empty, and do the frames of the pool suffice? Then it acts, and cannot fail.
 *
 * Several CPUs map at once, in different blocks of 2 MiB. A table of 4 KiB leaves
 * so has one writer at a time; the tables above it are shared, and a new table is
 * put into them by compare and exchange: who comes second uses the first one's.
 * Tables stay when they become empty, except where port_join() and
 * paging_prune() take one out, whose callers own the block.
 *
 * In mm/'s window "empty" means leading to the shared zeroes; a new table starts
 * as a copy of the shared one it replaces, and unmapping restores that.
 */
#include <spanheap/page.h>
#include "arch/x86_64/paging.h"
#include "arch/x86_64/x86.h"
#include "lib/atomic.h"
#include "lib/bits.h"

#define LARGE_LEVEL 1
#define SPAN_1G (1UL << 30)
#define SPAN_512G (1UL << 39)

static int tables_needed(uintptr_t va, phys_addr_t pa, uintptr_t end, bool large, bool first);
static void map_block(uintptr_t va, phys_addr_t pa, uintptr_t end, pte_t leaf, bool large,
		      struct port_pool *pool);
static pte_t *find_block(uintptr_t va);
static pte_t *make_table(pte_t *entry, uintptr_t va, int level, struct port_pool *pool);
static void split(pte_t *pde, struct port_pool *pool);

/* Where the part of the range that lies in the block of @va ends. */
static uintptr_t block_end(uintptr_t va, uintptr_t end)
{
	uintptr_t next = round_down(va, CHUNK_SIZE) + CHUNK_SIZE;

	/* The image's last block may end at address 0. */
	return next - 1 < end - 1 ? next : end;
}

static bool fits_large(uintptr_t va, phys_addr_t pa, uintptr_t end)
{
	return end - va == CHUNK_SIZE && !(pa & (CHUNK_SIZE - 1));
}

static unsigned phys_bits(void)
{
	static uint32_t bits;

	if (!bits)
		bits = cpuid(0x80000000).eax >= 0x80000008 ? cpuid(0x80000008).eax & 0xff : 36;
	return bits;
}

int port_map(uintptr_t va, phys_addr_t pa, size_t size, unsigned prot, struct port_pool *pool)
{
	return paging_map(va, pa, size, prot & PORT_WRITE ? MAP_DATA : MAP_CONST, true, pool);
}

int paging_map(uintptr_t va, phys_addr_t pa, size_t size, pte_t leaf, bool large,
	       struct port_pool *pool)
{
	uintptr_t end = va + size, next;
	phys_addr_t delta = pa - va;
	size_t need = 0;

	if ((pa + size - 1) >> phys_bits())
		return -EIO;
	for (uintptr_t at = va; at != end; at = next) {
		int n;

		next = block_end(at, end);
		n = tables_needed(at, at + delta, next, large, at == va);
		if (n < 0)
			return n;
		need += (size_t)n;
	}
	if (need > (pool ? pool->nframes : paging_own_left()))
		return -ENOMEM;
	for (uintptr_t at = va; at != end; at = next) {
		next = block_end(at, end);
		map_block(at, at + delta, next, leaf, large, pool);
	}
	return 0;
}

/*
 * How many tables mapping a block takes. A missing table of a higher level is
 * counted by the first block of the range in its span. -EEXIST: not empty.
 */
static int tables_needed(uintptr_t va, phys_addr_t pa, uintptr_t end, bool large, bool first)
{
	int leaf_table = !(large && fits_large(va, pa, end));
	const pte_t *table = paging_root();
	pte_t entry = table[pte_index(va, 3)];

	if (is_empty(entry)) {
		if (first || !(va & (SPAN_512G - 1)))
			return leaf_table + 2;
		return leaf_table + !(va & (SPAN_1G - 1));
	}
	entry = table_of(entry)[pte_index(va, 2)];
	if (is_empty(entry))
		return leaf_table + (first || !(va & (SPAN_1G - 1)));
	entry = table_of(entry)[pte_index(va, LARGE_LEVEL)];
	if (is_empty(entry))
		return leaf_table;
	if (entry & PTE_LARGE)
		return -EEXIST;
	table = table_of(entry);
	for (; va != end; va += FRAME_SIZE)
		if (!is_empty(table[pte_index(va, 0)]))
			return -EEXIST;
	return 0;
}

static void map_block(uintptr_t va, phys_addr_t pa, uintptr_t end, pte_t leaf, bool large,
		      struct port_pool *pool)
{
	pte_t *table = paging_root(), *pde;

	table = make_table(&table[pte_index(va, 3)], va, 3, pool);
	table = make_table(&table[pte_index(va, 2)], va, 2, pool);
	pde = &table[pte_index(va, LARGE_LEVEL)];
	if (large && fits_large(va, pa, end) && is_empty(*pde)) {
		atomic_store(pde, pa | leaf | PTE_LARGE);
		return;
	}
	table = make_table(pde, va, LARGE_LEVEL, pool);
	for (; va != end; va += FRAME_SIZE, pa += FRAME_SIZE)
		atomic_store_relaxed(&table[pte_index(va, 0)], pa | leaf);
}

/* The table that an entry of @level leads to, made if there is none. */
static pte_t *make_table(pte_t *entry, uintptr_t va, int level, struct port_pool *pool)
{
	pte_t old = atomic_load(entry), empty = empty_entry(va, level - 1);
	pte_t *table;

	if (!is_empty(old))
		return table_of(old);
	table = pool ? port_pool_take(pool) : paging_own_frame();
	for (unsigned i = 0; i < PTE_COUNT; i++)
		table[i] = empty;
	if (atomic_cas(entry, &old, table_pa(table) | PTE_TABLE))
		return table;
	if (pool)
		port_pool_give(pool, table);
	return table_of(old);
}

/* The entry of the block at level 1; NULL if the tables do not go so far. */
static pte_t *find_block(uintptr_t va)
{
	pte_t *table = paging_root();

	for (int level = PAGING_TOP; level > LARGE_LEVEL; level--) {
		pte_t entry = atomic_load(&table[pte_index(va, level)]);

		if (is_empty(entry))
			return NULL;
		table = table_of(entry);
	}
	return &table[pte_index(va, LARGE_LEVEL)];
}

static bool must_split(const pte_t *pde, uintptr_t va, uintptr_t end)
{
	return pde && !is_empty(*pde) && *pde & PTE_LARGE && end - va != CHUNK_SIZE;
}

int port_unmap(uintptr_t va, size_t size, struct port_pool *pool)
{
	uintptr_t end = va + size, next;
	size_t need = 0;

	/* Only the first and the last block can be partial. */
	next = block_end(va, end);
	need += must_split(find_block(va), va, next);
	if (next != end)
		need += must_split(find_block(end - 1), round_down(end - 1, CHUNK_SIZE), end);
	if (need && (!pool || need > pool->nframes))
		return -ENOMEM;

	for (uintptr_t at = va; at != end; at = next) {
		pte_t *pde = find_block(at), *table;

		next = block_end(at, end);
		if (!pde || is_empty(*pde))
			continue;
		if (must_split(pde, at, next))
			split(pde, pool);
		if (*pde & PTE_LARGE) {
			atomic_store(pde, empty_entry(at, LARGE_LEVEL));
			continue;
		}
		table = table_of(*pde);
		for (uintptr_t page = at; page != next; page += FRAME_SIZE)
			atomic_store_relaxed(&table[pte_index(page, 0)], empty_entry(page, 0));
	}
	return 0;
}

/* The same translations by 4 KiB leaves: the CPU may use either until it is flushed. */
static void split(pte_t *pde, struct port_pool *pool)
{
	pte_t *table = port_pool_take(pool);
	pte_t leaf = *pde & ~PTE_LARGE;

	for (unsigned i = 0; i < PTE_COUNT; i++)
		table[i] = leaf + i * FRAME_SIZE;
	atomic_store(pde, table_pa(table) | PTE_TABLE);
}

bool port_join(uintptr_t va, void **gone)
{
	pte_t *pde = find_block(va), *table, first;

	*gone = NULL;
	if (!pde || is_empty(*pde) || *pde & PTE_LARGE)
		return false;
	table = table_of(*pde);
	first = table[0];
	if (is_empty(first) || (first & PTE_ADDRESS) & (CHUNK_SIZE - 1))
		return false;
	for (unsigned i = 1; i < PTE_COUNT; i++)
		if (table[i] != first + i * FRAME_SIZE)
			return false;
	atomic_store(pde, first | PTE_LARGE);
	/* A table of the image is no frame that mm/ could use for anything. */
	if (!paging_is_own(table))
		*gone = table;
	return true;
}

void *paging_prune(uintptr_t va)
{
	pte_t *pde = find_block(va), *table;

	if (!pde || is_empty(*pde) || *pde & PTE_LARGE)
		return NULL;
	table = table_of(*pde);
	for (unsigned i = 0; i < PTE_COUNT; i++)
		if (!is_empty(table[i]))
			return NULL;
	atomic_store(pde, empty_entry(va, LARGE_LEVEL));
	return table;
}
