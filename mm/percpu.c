// SPDX-License-Identifier: MIT
/*
 * Per-CPU memory, in areas:
 *
 *	base ──► |   unit of CPU 0   |   unit of CPU 1   |   unit of CPU 2   | ...
 *		  aaabbb..c           aaabbb..c           aaabbb..c
 *		  ◄── PERCPU_STRIDE ──►
 *
 * An area is one run of pages. All units are divided alike, in granules of 8
 * bytes; what is written about the granules lies beside the area, once for all
 * units. An address in CPU 0's unit stands for all copies. First fit, first area
 * first; an area that becomes empty goes.
 *
 * Locking: areas.lock, interrupts off, before the page heap's. Copies are
 * cleared outside of it.
 */
#include <spanheap/page.h>

#include "lib/spinlock.h"
#include "lib/string.h"
#include "mm/fault.h"
#include "mm/log.h"
#include "mm/metaframe.h"
#include "mm/misuse.h"
#include "mm/percpu.h"

#define GRANULE 8UL
#define UNIT_GRANULES (PERCPU_STRIDE / GRANULE)
#define UNIT_WORDS (UNIT_GRANULES / 64)

/**
 * struct percpu_area
 * @base: of CPU 0's unit
 * @nfree: granules of a unit
 * @used: granule is part of an object
 * @start: and is its first one
 * @freed: an object that started here was freed, and the granule not used since
 */
struct percpu_area {
	struct percpu_area *next;
	char *base;
	size_t nfree;
	uint64_t used[UNIT_WORDS], start[UNIT_WORDS], freed[UNIT_WORDS];
};

static_assert(sizeof(struct percpu_area) <= FRAME_SIZE, "an area's book is a frame");
static_assert(PERCPU_STRIDE % FRAME_SIZE == 0, "units are aligned alike");

static struct {
	struct spinlock lock;
	struct percpu_area *first;
} areas;

static uint64_t failed_percpu;

uint64_t percpu_failed_calls(void)
{
	return atomic_load_relaxed(&failed_percpu);
}

static size_t area_frames(void)
{
	return PORT_POSSIBLE_CPUS * PERCPU_STRIDE / FRAME_SIZE;
}

/* ---- Granules ---- */

static bool granule_is(const uint64_t *bits, size_t granule)
{
	return bits[granule / 64] >> granule % 64 & 1;
}

static void set_granules(uint64_t *bits, size_t first, size_t n, bool set)
{
	while (n) {
		size_t part = MIN(n, 64 - first % 64);
		uint64_t mask = mask_range(first % 64, (unsigned)part);

		if (set)
			bits[first / 64] |= mask;
		else
			bits[first / 64] &= ~mask;
		first += part;
		n -= part;
	}
}

/* The first granule from @from on that is used, or is not; UNIT_GRANULES if none. */
static size_t next_granule(const uint64_t *used, size_t from, bool is_used)
{
	while (from < UNIT_GRANULES) {
		uint64_t bits = used[from / 64] ^ (is_used ? 0 : ~0ULL);

		bits &= ~mask_low(from % 64);
		if (bits)
			return from / 64 * 64 + ctz64(bits);
		from = (from / 64 + 1) * 64;
	}
	return UNIT_GRANULES;
}

/* UNIT_GRANULES if there is no place for @n granules. */
static size_t find_granules(const struct percpu_area *area, size_t n, size_t align)
{
	size_t at = 0, end;

	if (area->nfree < n)
		return UNIT_GRANULES;
	while ((at = round_up(next_granule(area->used, at, false), align)) + n <= UNIT_GRANULES) {
		end = next_granule(area->used, at, true);
		if (end >= at + n)
			return at;
		at = end;
	}
	return UNIT_GRANULES;
}

static size_t object_granules(const struct percpu_area *area, size_t first)
{
	size_t end = first + 1;

	while (end < UNIT_GRANULES && granule_is(area->used, end) && !granule_is(area->start, end))
		end++;
	return end - first;
}

static void *take_granules(struct percpu_area *area, size_t n, size_t align)
{
	size_t at = find_granules(area, n, align);

	if (at == UNIT_GRANULES)
		return NULL;
	set_granules(area->used, at, n, true);
	set_granules(area->start, at, 1, true);
	set_granules(area->freed, at, n, false);
	area->nfree -= n;
	return area->base + at * GRANULE;
}

/* ---- Areas ---- */

static struct percpu_area *new_area(gfp_t gfp)
{
	struct percpu_area *area = metaframe_alloc();

	if (!area)
		return NULL;
	memset(area, 0, sizeof(*area));
	area->nfree = UNIT_GRANULES;
	area->base =
		inner_pages_alloc(area_frames(), FRAME_SIZE, gfp & ~(__GFP_ZERO | __GFP_NOFAIL));
	if (area->base)
		return area;
	metaframe_free(area);
	return NULL;
}

static void drop_area(struct percpu_area *area)
{
	inner_pages_free(area->base, area_frames());
	metaframe_free(area);
}

/* From the areas there are, and from @fresh, which joins them behind the last one. */
static void *take_from_areas(size_t n, size_t align, struct percpu_area *fresh, bool *locked)
{
	struct percpu_area **link = &areas.first;
	unsigned long flags;
	void *p = NULL;

	*locked = spin_lock_context(&areas.lock, &flags);
	if (!*locked)
		return NULL;
	for (; *link && !p; link = &(*link)->next)
		p = take_granules(*link, n, align);
	if (!p && fresh) {
		p = take_granules(fresh, n, align);
		*link = fresh;
	}
	spin_unlock_irqrestore(&areas.lock, flags);
	return p;
}

static void *alloc_granules(size_t n, size_t align, gfp_t gfp)
{
	struct percpu_area *fresh;
	bool locked;
	void *p = take_from_areas(n, align, NULL, &locked);

	if (p || !locked)
		return p;
	fresh = new_area(gfp);
	if (!fresh)
		return NULL;
	p = take_from_areas(n, align, fresh, &locked);
	/* Not needed if somebody made room meanwhile. */
	if ((char *)p < fresh->base || (char *)p >= fresh->base + PERCPU_STRIDE)
		drop_area(fresh);
	return p;
}

void *__alloc_percpu_gfp(size_t size, size_t align, gfp_t gfp)
{
	bool spared = mm_fail_spare(gfp);
	void *p = NULL;

	if (size && size <= PERCPU_STRIDE && is_pow2(align) && align <= FRAME_SIZE &&
	    !mm_should_fail(gfp))
		p = alloc_granules((size + GRANULE - 1) / GRANULE, MAX(align, GRANULE) / GRANULE,
				   gfp);
	mm_fail_resume(spared);
	if (!p) {
		if (gfp & __GFP_NOFAIL)
			mm_panic("out of memory: %zu bytes per CPU, flags 0x%x", size, gfp);
		(void)atomic_fetch_add(&failed_percpu, 1);
		return NULL;
	}
	for (unsigned cpu = 0; cpu < PORT_POSSIBLE_CPUS; cpu++)
		memset(per_cpu_ptr(p, cpu), 0, size);
	return p;
}

/* ---- Freeing ---- */

/* -1, or what is wrong; areas.lock is held. *empty: the area is to be dropped. */
static int free_granules(const char *p, struct percpu_area **empty)
{
	struct percpu_area **link = &areas.first, *area;
	size_t at, n;

	while (*link && (p < (*link)->base || p >= (*link)->base + PERCPU_STRIDE))
		link = &(*link)->next;
	area = *link;
	if (!area || (size_t)(p - area->base) % GRANULE)
		return MM_INVALID_FREE;
	at = (size_t)(p - area->base) / GRANULE;
	if (!granule_is(area->start, at))
		return granule_is(area->freed, at) ? MM_DOUBLE_FREE : MM_INVALID_FREE;
	n = object_granules(area, at);
	set_granules(area->used, at, n, false);
	set_granules(area->start, at, 1, false);
	set_granules(area->freed, at, 1, true);
	area->nfree += n;
	if (area->nfree == UNIT_GRANULES) {
		*link = area->next;
		*empty = area;
	}
	return -1;
}

void free_percpu(void *p)
{
	struct percpu_area *empty = NULL;
	unsigned long flags;
	int bad;

	if (!p)
		return;
	flags = spin_lock_irqsave(&areas.lock);
	bad = free_granules(p, &empty);
	spin_unlock_irqrestore(&areas.lock, flags);
	if (empty)
		drop_area(empty);
	if (bad >= 0)
		mm_report_misuse((enum mm_misuse)bad, p, 0, __builtin_return_address(0));
}

unsigned percpu_check(void)
{
	unsigned long flags = spin_lock_irqsave(&areas.lock);
	unsigned bad = 0;

	for (struct percpu_area *area = areas.first; area; area = area->next) {
		size_t nfree = UNIT_GRANULES;
		uint64_t faults = 0;

		for (unsigned w = 0; w < UNIT_WORDS; w++) {
			nfree -= popcount64(area->used[w]);
			faults |= (area->start[w] & ~area->used[w]) |
				  (area->freed[w] & area->used[w]);
		}
		if (nfree == area->nfree && !faults)
			continue;
		mm_log("per-CPU area at %p: %zu granules free, %zu counted", (void *)area->base,
		       nfree, area->nfree);
		bad++;
	}
	spin_unlock_irqrestore(&areas.lock, flags);
	return bad;
}
