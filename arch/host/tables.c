// SPDX-License-Identifier: MIT
/*
 * A model of x86 page tables, so that the pools of frames that mm/ fills for
 * the port are put to the test on the host as well.
 *
 *	512 GiB  upper[1]   a table, once anything below is mapped
 *	  1 GiB  upper[0]   a table, likewise
 *	  2 MiB  leaf       nothing, a large leaf, or a table of 4 KiB leaves
 *
 * A chunk that is mapped whole, at once and at a multiple of its size becomes
 * a large leaf if it has no table yet. Unmapping a part of a large leaf takes
 * a frame for the table; tables stay until port_join().
 *
 * The frames are not used for anything: they are filled with a pattern, and a
 * frame that lost it by the time it is given back was in two hands.
 */
#include <string.h>

#include "arch/host/host.h"

#define TABLE_PATTERN 0x7ab1e7ab1e7ab1eULL

static size_t table_frames;

size_t host_table_frames(void)
{
	return __atomic_load_n(&table_frames, __ATOMIC_RELAXED);
}

static uint64_t chunk_of(const struct host_region *r, uintptr_t va)
{
	return (va - r->base) / CHUNK_SIZE;
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Before mm_init() there is no pool; the port then has memory of its own. */
static void *take(struct port_pool *pool)
{
	uint64_t *frame = pool ? port_pool_take(pool) : NULL;

	__atomic_fetch_add(&table_frames, 1, __ATOMIC_RELAXED);
	if (frame)
		for (size_t i = 0; i < FRAME_SIZE / 8; i++)
			frame[i] = TABLE_PATTERN;
	return frame;
}

static bool fits_large(uintptr_t va, phys_addr_t pa, size_t size)
{
	return va % CHUNK_SIZE == 0 && pa % CHUNK_SIZE == 0 && size >= CHUNK_SIZE;
}

static size_t upper_need(const struct host_region *r, unsigned level, uintptr_t va, size_t size)
{
	unsigned shift = level ? 39 : 30;
	size_t need = 0;

	for (uint64_t i = (va - r->base) >> shift; i <= (va - r->base + size - 1) >> shift; i++)
		need += !r->upper[level][i];
	return need;
}

static void upper_take(struct host_region *r, unsigned level, uintptr_t va, size_t size,
		       struct port_pool *pool)
{
	unsigned shift = level ? 39 : 30;

	for (uint64_t i = (va - r->base) >> shift; i <= (va - r->base + size - 1) >> shift; i++) {
		if (!r->upper[level][i])
			take(pool);
		r->upper[level][i] = 1;
	}
}

/* Calls of one walk over the chunks: first to count, then to do. */
static size_t leaf_walk(struct host_region *r, uintptr_t va, phys_addr_t pa, size_t size,
			struct port_pool *pool, bool act)
{
	size_t need = 0, n;

	for (; size; va += n, pa += n, size -= n) {
		uint64_t c = chunk_of(r, va);

		n = min_size(size, CHUNK_SIZE - va % CHUNK_SIZE);
		if (r->leaf[c] != HOST_LEAF_NONE)
			continue;
		if (fits_large(va, pa, size)) {
			if (act)
				r->leaf[c] = HOST_LEAF_LARGE;
			continue;
		}
		need++;
		if (act) {
			r->table[c] = take(pool);
			r->leaf[c] = HOST_LEAF_TABLE;
		}
	}
	return need;
}

int host_tables_map(struct host_region *r, uintptr_t va, phys_addr_t pa, size_t size,
		    struct port_pool *pool)
{
	size_t need = leaf_walk(r, va, pa, size, pool, false) + upper_need(r, 0, va, size) +
		      upper_need(r, 1, va, size);

	if (pool && pool->nframes < need)
		return -ENOMEM;
	upper_take(r, 1, va, size, pool);
	upper_take(r, 0, va, size, pool);
	leaf_walk(r, va, pa, size, pool, true);
	return 0;
}

int host_tables_unmap(struct host_region *r, uintptr_t va, size_t size, struct port_pool *pool)
{
	uintptr_t last = va + size - 1;
	bool split_first = va % CHUNK_SIZE && r->leaf[chunk_of(r, va)] == HOST_LEAF_LARGE;
	bool split_last = (last + 1) % CHUNK_SIZE &&
			  r->leaf[chunk_of(r, last)] == HOST_LEAF_LARGE &&
			  !(split_first && chunk_of(r, va) == chunk_of(r, last));
	size_t n;

	if (pool && pool->nframes < (size_t)split_first + split_last)
		return -ENOMEM;
	for (; size; va += n, size -= n) {
		uint64_t c = chunk_of(r, va);

		n = min_size(size, CHUNK_SIZE - va % CHUNK_SIZE);
		if (r->leaf[c] != HOST_LEAF_LARGE)
			continue;
		if (n == CHUNK_SIZE) {
			r->leaf[c] = HOST_LEAF_NONE;
			continue;
		}
		r->table[c] = take(pool);
		r->leaf[c] = HOST_LEAF_TABLE;
	}
	return 0;
}

bool host_tables_join(struct host_region *r, uintptr_t va, void **table)
{
	uint64_t c = chunk_of(r, va);
	uint64_t *frame = r->table[c];

	if (r->leaf[c] != HOST_LEAF_TABLE ||
	    !host_bits_all(r->mapped, c * CHUNK_FRAMES, CHUNK_FRAMES))
		return false;
	r->leaf[c] = HOST_LEAF_LARGE;
	r->table[c] = NULL;
	__atomic_fetch_sub(&table_frames, 1, __ATOMIC_RELAXED);
	if (!frame)
		return true;
	for (size_t i = 0; i < FRAME_SIZE / 8; i++)
		if (frame[i] != TABLE_PATTERN)
			port_panic("port_join: somebody wrote into a page table");
	*table = frame;
	return true;
}
