// SPDX-License-Identifier: MIT
/*
 * The boot-time allocator: from a firmware's memory map to sorted runs of RAM.
 *
 *	calls    add(node 0) ├───────────────────┤      add(node 1) ├───────┤
 *	                        reserve ├──┤
 *	memory   [         node 0            ]          [  node 1   ]
 *	taken    [BOOT][..]     [KEPT]
 *	close()  |boot |  free  | kept | free |         |   free    |
 *
 * Two tables of disjoint, ascending, merged ranges of whole frames. All that
 * changes a table goes through one plan, which says how many entries the change
 * will need, and one commit, which cannot fail: so every call does all or
 * nothing. Memory is trimmed inwards to whole frames and reservations outwards,
 * call by call.
 *
 * Allocation is a bump: first fit from one end, so that ranges handed out touch
 * and merge into few. What is smaller than a frame shares frames.
 *
 * Locking: none. Boot time, one CPU; read-only once closed.
 * Cost: O(log ranges) to find the place, O(ranges) to change or allocate; the
 * amount of RAM does not matter.
 */
#include <spanheap/page.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "mm/memblock.h"

#define MEMBLOCK_MIN_ALIGN 64

static_assert(PORT_PHYS_BITS < 62, "aligning upwards must not wrap");
static_assert(MEMBLOCK_ALLOC_RANGES < MEMBLOCK_MAX_RANGES, "some are for reservations");

struct memblock boot_memblock;

/* Entries lo .. hi - 1 of a table give way to the n of @piece. */
struct memblock_edit {
	size_t lo, hi, n;
	struct mem_range piece[3];
};

static bool memblock_clip(phys_addr_t *base, phys_addr_t *end, uint64_t size);
static int memblock_set(struct memblock_table *t, size_t max, struct mem_range want);
static int memblock_plan(const struct memblock_table *t, size_t max, struct mem_range want,
			 struct memblock_edit *edit);
static void memblock_commit(struct memblock_table *t, const struct memblock_edit *edit);
static size_t memblock_first(const struct memblock_table *t, phys_addr_t pa);
static phys_addr_t memblock_find(const struct memblock *mb, uint64_t size, uint64_t align,
				 int node);

static phys_addr_t range_end(const struct mem_range *r)
{
	return r->base + r->size;
}

int memblock_add(phys_addr_t base, uint64_t size, int node)
{
	return memblock_add_to(&boot_memblock, base, size, node);
}

int memblock_reserve(phys_addr_t base, uint64_t size)
{
	return memblock_reserve_in(&boot_memblock, base, size);
}

void *memblock_alloc(size_t size, size_t align)
{
	return memblock_alloc_in(&boot_memblock, size, align);
}

int memblock_add_to(struct memblock *mb, phys_addr_t base, uint64_t size, int node)
{
	phys_addr_t end;

	if (mb->closed)
		return -EBUSY;
	if (node == NUMA_NO_NODE)
		node = 0;
	if (node < 0 || node >= PORT_MAX_NODES)
		return -EINVAL;
	if (!memblock_clip(&base, &end, size))
		return 0;
	base = round_up(base, FRAME_SIZE);
	end = round_down(end, FRAME_SIZE);
	if (base >= end)
		return 0;
	return memblock_set(&mb->memory, MEMBLOCK_MAX_RANGES,
			    (struct mem_range){ base, end - base, node, MEM_USE_FREE });
}

int memblock_reserve_in(struct memblock *mb, phys_addr_t base, uint64_t size)
{
	struct memblock_table *t = &mb->taken;
	phys_addr_t end;

	if (mb->closed)
		return -EBUSY;
	if (!memblock_clip(&base, &end, size))
		return 0;
	base = round_down(base, FRAME_SIZE);
	end = round_up(end, FRAME_SIZE);
	for (size_t i = memblock_first(t, base); i < t->n && t->r[i].base < end; i++)
		if (t->r[i].use == MEM_USE_BOOT)
			return -EBUSY;
	return memblock_set(t, MEMBLOCK_MAX_RANGES - MEMBLOCK_ALLOC_RANGES,
			    (struct mem_range){ base, end - base, 0, MEM_USE_KEPT });
}

/* Cut [base, base + size) at MEMBLOCK_LIMIT; false if nothing is left of it. */
static bool memblock_clip(phys_addr_t *base, phys_addr_t *end, uint64_t size)
{
	if (!size || *base >= MEMBLOCK_LIMIT)
		return false;
	*end = size > MEMBLOCK_LIMIT - *base ? MEMBLOCK_LIMIT : *base + size;
	return true;
}

/* The index of the first range that ends above @pa; t->n if there is none. */
static size_t memblock_first(const struct memblock_table *t, phys_addr_t pa)
{
	size_t lo = 0, hi = t->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (range_end(&t->r[mid]) > pa)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static bool same_kind(const struct mem_range *a, const struct mem_range *b)
{
	return a->node == b->node && a->use == b->use;
}

static int memblock_set(struct memblock_table *t, size_t max, struct mem_range want)
{
	struct memblock_edit edit;
	int err = memblock_plan(t, max, want, &edit);

	if (!err)
		memblock_commit(t, &edit);
	return err;
}

/*
 * How to lay @want over the table. It replaces what it covers; of a range that
 * it covers in part the rest stays, and one of its own kind that it overlaps or
 * touches becomes one with it:
 *
 *	before   [  A  ][   B   ]  [ C ]    [   B   ]
 *	want             [      B         ]
 *	after    [  A  ][        B        ] [   B   ]
 *
 * -ENOSPC if the table would grow to more than @max entries.
 */
static int memblock_plan(const struct memblock_table *t, size_t max, struct mem_range want,
			 struct memblock_edit *edit)
{
	phys_addr_t base = want.base, end = range_end(&want);
	size_t lo = memblock_first(t, base), hi, grown;
	bool left = false, right = false;

	if (lo > 0 && range_end(&t->r[lo - 1]) == base && same_kind(&t->r[lo - 1], &want))
		lo--;
	for (hi = lo; hi < t->n && t->r[hi].base < end; hi++)
		;
	if (hi < t->n && t->r[hi].base == end && same_kind(&t->r[hi], &want))
		hi++;

	if (lo < hi) {
		const struct mem_range *first = &t->r[lo], *last = &t->r[hi - 1];

		if (same_kind(first, &want))
			base = MIN(base, first->base);
		else
			left = first->base < base;
		if (same_kind(last, &want))
			end = MAX(end, range_end(last));
		else
			right = range_end(last) > end;
	}

	edit->lo = lo;
	edit->hi = hi;
	edit->n = 0;
	if (left) {
		edit->piece[0] = t->r[lo];
		edit->piece[edit->n++].size = base - t->r[lo].base;
	}
	want.base = base;
	want.size = end - base;
	edit->piece[edit->n++] = want;
	if (right) {
		edit->piece[edit->n] = t->r[hi - 1];
		edit->piece[edit->n].size = range_end(&t->r[hi - 1]) - end;
		edit->piece[edit->n++].base = end;
	}
	grown = t->n - (hi - lo) + edit->n;
	return grown > t->n && grown > max ? -ENOSPC : 0;
}

static void memblock_commit(struct memblock_table *t, const struct memblock_edit *edit)
{
	memmove(&t->r[edit->lo + edit->n], &t->r[edit->hi], (t->n - edit->hi) * sizeof(t->r[0]));
	for (size_t i = 0; i < edit->n; i++)
		t->r[edit->lo + i] = edit->piece[i];
	t->n = t->n - (edit->hi - edit->lo) + edit->n;
}

/* Find room for @size bytes, rounded up to frames, and plan to take it. */
static phys_addr_t memblock_plan_alloc(const struct memblock *mb, uint64_t *size, uint64_t align,
				       int node, struct memblock_edit *edit)
{
	phys_addr_t pa;

	if (mb->closed || !*size || *size > MEMBLOCK_LIMIT || !is_pow2(align))
		return MEMBLOCK_FAILED;
	*size = round_up(*size, FRAME_SIZE);
	pa = memblock_find(mb, *size, MAX(align, FRAME_SIZE), node);
	if (pa == MEMBLOCK_FAILED)
		return MEMBLOCK_FAILED;
	if (memblock_plan(&mb->taken, MEMBLOCK_MAX_RANGES,
			  (struct mem_range){ pa, *size, 0, MEM_USE_BOOT }, edit))
		return MEMBLOCK_FAILED;
	return pa;
}

phys_addr_t memblock_alloc_phys(struct memblock *mb, uint64_t size, uint64_t align, int node)
{
	struct memblock_edit edit;
	phys_addr_t pa = memblock_plan_alloc(mb, &size, align, node, &edit);

	if (pa != MEMBLOCK_FAILED)
		memblock_commit(&mb->taken, &edit);
	return pa;
}

void *memblock_alloc_in(struct memblock *mb, size_t size, size_t align)
{
	phys_addr_t pa, left;
	uint64_t whole;
	void *p;

	if (mb->closed || !size || size > MEMBLOCK_LIMIT || !is_pow2(align))
		return NULL;
	align = MAX(align, MEMBLOCK_MIN_ALIGN);
	size = round_up(size, MEMBLOCK_MIN_ALIGN);
	pa = round_up(mb->part, align);
	if (pa < mb->part_end && mb->part_end - pa >= size) {
		mb->part = pa + size;
		return phys_to_virt(pa);
	}
	p = memblock_map_in(mb, size, align, NUMA_NO_NODE);
	if (!p)
		return NULL;
	whole = round_up(size, FRAME_SIZE);
	memset(p, 0, whole);
	left = virt_to_phys(p) + size;
	if (whole - size > mb->part_end - mb->part) {
		mb->part = left;
		mb->part_end = left + (whole - size);
	}
	return p;
}

/* The table changes only once the frames are mapped. */
void *memblock_map_in(struct memblock *mb, uint64_t size, uint64_t align, int node)
{
	struct memblock_edit edit;
	phys_addr_t pa = memblock_plan_alloc(mb, &size, align, node, &edit);
	uintptr_t va;

	if (pa == MEMBLOCK_FAILED)
		return NULL;
	va = (uintptr_t)phys_to_virt(pa);
	if (mb->map ? mb->map(va, pa, size) : port_map(va, pa, size, PORT_READ | PORT_WRITE, NULL))
		return NULL;
	memblock_commit(&mb->taken, &edit);
	return (void *)va;
}

/* The lowest room at or above @floor; one step for each range passed. */
static phys_addr_t memblock_find_low(const struct memblock *mb, uint64_t size, uint64_t align,
				     int node, phys_addr_t floor)
{
	const struct memblock_table *mem = &mb->memory, *taken = &mb->taken;
	size_t t = 0;

	for (size_t m = memblock_first(mem, floor); m < mem->n; m++) {
		phys_addr_t at = MAX(mem->r[m].base, floor), end = range_end(&mem->r[m]);

		if (node != NUMA_NO_NODE && mem->r[m].node != node)
			continue;
		for (;;) {
			at = round_up(at, align);
			if (at >= end || end - at < size)
				break;
			while (t < taken->n && range_end(&taken->r[t]) <= at)
				t++;
			if (t == taken->n || taken->r[t].base >= at + size)
				return at;
			at = range_end(&taken->r[t]);
		}
	}
	return MEMBLOCK_FAILED;
}

/* The highest room; t is the number of taken ranges not passed yet. */
static phys_addr_t memblock_find_high(const struct memblock *mb, uint64_t size, uint64_t align,
				      int node)
{
	const struct memblock_table *mem = &mb->memory, *taken = &mb->taken;
	size_t t = taken->n;

	for (size_t m = mem->n; m-- > 0;) {
		phys_addr_t base = mem->r[m].base, end = range_end(&mem->r[m]), at;

		if (node != NUMA_NO_NODE && mem->r[m].node != node)
			continue;
		while (end > base && end - base >= size) {
			at = round_down(end - size, align);
			if (at < base)
				break;
			while (t > 0 && taken->r[t - 1].base >= at + size)
				t--;
			if (!t || range_end(&taken->r[t - 1]) <= at)
				return at;
			end = taken->r[t - 1].base;
		}
	}
	return MEMBLOCK_FAILED;
}

/* The wanted node counts for more than the floor. */
static phys_addr_t memblock_find(const struct memblock *mb, uint64_t size, uint64_t align, int node)
{
	phys_addr_t pa;

	if (mb->top_down) {
		pa = memblock_find_high(mb, size, align, node);
	} else {
		pa = memblock_find_low(mb, size, align, node, mb->floor);
		if (pa == MEMBLOCK_FAILED && mb->floor)
			pa = memblock_find_low(mb, size, align, node, 0);
	}
	if (pa == MEMBLOCK_FAILED && node != NUMA_NO_NODE)
		return memblock_find(mb, size, align, NUMA_NO_NODE);
	return pa;
}

/* Runs of one memory range from @n on; what does not fit is counted all the same. */
static size_t memblock_cut(const struct mem_range *mem, const struct memblock_table *taken,
			   struct mem_range *out, size_t n, size_t max)
{
	phys_addr_t at = mem->base, end = range_end(mem), next;

	for (size_t t = memblock_first(taken, at); at < end; at = next, n++) {
		enum mem_use use = MEM_USE_FREE;

		next = end;
		if (t < taken->n && taken->r[t].base > at) {
			next = MIN(end, taken->r[t].base);
		} else if (t < taken->n) {
			use = taken->r[t].use;
			next = MIN(end, range_end(&taken->r[t]));
			t++;
		}
		if (n < max)
			out[n] = (struct mem_range){ at, next - at, mem->node, use };
	}
	return n;
}

int memblock_close(struct memblock *mb, struct mem_range *out, size_t max)
{
	size_t n = 0;

	if (mb->closed)
		return -EBUSY;
	for (size_t m = 0; m < mb->memory.n; m++)
		n = memblock_cut(&mb->memory.r[m], &mb->taken, out, n, max);
	if (n > max)
		return -ENOSPC;
	mb->closed = true;
	return (int)n;
}
