// SPDX-License-Identifier: MIT
/*
 * Guarded objects; <spanheap/guard.h> has the picture.
 *
 *	free ──guard_alloc()──► live ──guard_free()──► free, at the end of the line
 *
 * The memory is a caller's, claimed by mem_map(): of each slot the first half is
 * made Ready and the second never is.
 *
 * Locking: guard.lock, interrupts off, for the line of free slots alone. A slot is
 * its holder's: who takes it from the line; who changes its state from live. An
 * NMI that cannot have the lock leaves the slot in a second line (late), by
 * compare-and-swap. mm_guard_stop() takes all slots out of the line at once, or
 * none: so what it takes down is in nobody's hands. guard.room changes only while
 * the line is empty; who relies on it holds a slot, or the lock.
 */
#include <spanheap/gfp.h>
#include <spanheap/misuse.h>

#include "lib/spinlock.h"
#include "lib/string.h"
#include "mm/fault.h"
#include "mm/guard.h"
#include "mm/kmalloc.h"
#include "mm/memmap.h"
#include "mm/metaframe.h"
#include "mm/misuse.h"
#include "mm/numa.h"

#define BESIDE 0x5a
#define FREED 0x6b
#define NOWHERE (~(phys_addr_t)0) /* is no page's address: walks over spans pass by */
#define SLOTS_MAX (1UL << 20)

/* Without an MMU nothing faults behind a slot: a stretch of pattern stands for it. */
#define BEHIND_MIN (PORT_HAS_MMU ? 0 : 64)

/**
 * struct guard_slot
 * @next: in a line
 * @start: of the half that is Ready
 * @object, @size: what is in it, or was
 * @live: 1 while a caller holds the object
 */
struct guard_slot {
	struct guard_slot *next;
	char *start, *object;
	size_t size;
	uint32_t live;
	struct span span;
};

struct span_class guard_class;
uint32_t guard_one_in;

/*
 * @nfree: slots in the line from @first on
 * @late: what NMIs gave back past the lock
 * @room: bytes of a slot's half that is Ready
 * @turn: requests that passed, for the sample
 * @allocs, @frees, @bytes: since the start; changed atomically
 */
static struct {
	struct spinlock lock;
	struct guard_slot *first, **last, *late;
	size_t nfree;
	struct guard_slot **slot;
	size_t nslots, room;
	phys_addr_t base;
	uint64_t size;
	uint64_t turn, allocs, frees, bytes;
} guard = { .last = &guard.first };

/* ---- Patterns ---- */

static char *find_other(char *from, const char *end, int pattern)
{
	while (from < end && *from == (char)pattern)
		from++;
	return from < end ? from : NULL;
}

/* The first byte of the slot that somebody wrote, beside an object in use; or NULL. */
static char *damage_beside(const struct guard_slot *slot)
{
	char *behind = slot->object + slot->size, *end = slot->start + guard.room;
	char *at = find_other(slot->start, slot->object, BESIDE);

	if (at || behind == end)
		return at;
	return *behind ? behind : find_other(behind + 1, end, BESIDE);
}

static void paint_beside(struct guard_slot *slot)
{
	char *behind = slot->object + slot->size;
	size_t nbehind = (size_t)(slot->start + guard.room - behind);

	memset(slot->start, BESIDE, (size_t)(slot->object - slot->start));
	memset(behind, BESIDE, nbehind);
	if (nbehind)
		*behind = 0;
}

/* Found later than it was done: nobody knows by whom. */
static void report_damage(enum mm_misuse kind, const char *at, const struct guard_slot *slot)
{
	if (at)
		mm_report_misuse(kind, at, slot->size, NULL);
}

/* ---- Lines of free slots; up to first_slot() guard.lock is held ---- */

static void append(struct guard_slot *slot)
{
	slot->next = NULL;
	*guard.last = slot;
	guard.last = &slot->next;
	guard.nfree++;
}

static void append_late(void)
{
	struct guard_slot *slot = atomic_xchg(&guard.late, NULL), *next;

	for (; slot; slot = next) {
		next = slot->next;
		append(slot);
	}
}

static void empty_line(void)
{
	guard.first = NULL;
	guard.last = &guard.first;
	guard.nfree = 0;
}

static struct guard_slot *take_first(void)
{
	struct guard_slot *slot = guard.first;

	if (!slot || guard.nfree == 1) {
		empty_line();
		return slot;
	}
	guard.first = slot->next;
	guard.nfree--;
	return slot;
}

/* The slot whose turn it is, if it has room; or NULL. */
static struct guard_slot *first_slot(size_t size, size_t align)
{
	struct guard_slot *slot = NULL;
	unsigned long flags;

	if (!spin_lock_context(&guard.lock, &flags))
		return NULL;
	append_late();
	if (size + BEHIND_MIN <= guard.room && align <= guard.room)
		slot = take_first();
	spin_unlock_irqrestore(&guard.lock, flags);
	return slot;
}

/* Are all slots in the line? Then none is any longer. */
static bool take_all_slots(void)
{
	unsigned long flags = spin_lock_irqsave(&guard.lock);
	bool all;

	append_late();
	all = guard.nfree == guard.nslots;
	if (all)
		empty_line();
	spin_unlock_irqrestore(&guard.lock, flags);
	return all;
}

static void give_slot(struct guard_slot *slot)
{
	unsigned long flags;

	if (spin_lock_context(&guard.lock, &flags)) {
		append(slot);
		spin_unlock_irqrestore(&guard.lock, flags);
		return;
	}
	slot->next = atomic_load(&guard.late);
	while (!atomic_cas(&guard.late, &slot->next, slot))
		;
}

/* ---- Objects ---- */

/* As kmalloc() aligns. */
static size_t guarded_align(size_t size, size_t align)
{
	return MAX(align, is_pow2(size) ? MAX(size, 8UL) : size < 16 ? 8 : 16);
}

static bool is_chosen(void)
{
	uint32_t one_in = atomic_load_relaxed(&guard_one_in);

	return one_in == 1 || (one_in && atomic_fetch_add(&guard.turn, 1) % one_in == 0);
}

static void *guard_alloc(size_t size, gfp_t gfp, size_t align)
{
	struct guard_slot *slot;
	char *damaged;

	align = guarded_align(size, align);
	if (gfp & (GFP_DMA | GFP_DMA32 | __GFP_THISNODE) || gfp_has_node(gfp) || !is_chosen())
		return NULL;
	slot = first_slot(size, align);
	if (!slot)
		return NULL;
	damaged = find_other(slot->start, slot->start + guard.room, FREED);
	report_damage(MM_WRITE_AFTER_FREE, damaged, slot);
	slot->size = size;
	slot->object =
		(char *)round_down((uintptr_t)slot->start + guard.room - BEHIND_MIN - size, align);
	slot->span.size = (uint32_t)size;
	paint_beside(slot);
	memset(slot->object, 0, size);
	(void)atomic_fetch_add(&guard.allocs, 1);
	(void)atomic_fetch_add(&guard.bytes, size);
	atomic_store(&slot->live, 1);
	return slot->object;
}

void *kmalloc_guarded(size_t size, gfp_t gfp, size_t align)
{
	void *object = guard_alloc(size, gfp, align);

	return object ? object : kmalloc_inner(size, gfp, align);
}

int guard_free(struct span *span, phys_addr_t pa)
{
	struct guard_slot *slot = container_of(span, struct guard_slot, span);
	uint32_t live = 1;
	char *damaged;

	if (phys_to_virt(pa) != slot->object)
		return MM_INVALID_FREE;
	/* Of two that free it at once, one goes on. */
	if (!atomic_cas(&slot->live, &live, 0))
		return MM_DOUBLE_FREE;
	damaged = damage_beside(slot);
	memset(slot->start, FREED, guard.room);
	(void)atomic_fetch_add(&guard.frees, 1);
	(void)atomic_fetch_sub(&guard.bytes, slot->size);
	report_damage(MM_WRITE_BESIDE, damaged, slot);
	give_slot(slot);
	return -1;
}

bool guard_holds(const struct span *span, phys_addr_t pa)
{
	const struct guard_slot *slot = container_of(span, struct guard_slot, span);

	return atomic_load(&slot->live) && phys_to_virt(pa) == slot->object;
}

void guard_count(uint64_t *live, uint64_t *bytes, uint64_t *allocs)
{
	uint64_t frees = atomic_load(&guard.frees);

	*allocs = atomic_load(&guard.allocs);
	*live = *allocs - frees;
	*bytes = atomic_load_relaxed(&guard.bytes);
}

size_t mm_guard_live(void)
{
	/* In this order there are never more frees than allocations. */
	uint64_t frees = atomic_load(&guard.frees);

	return atomic_load(&guard.allocs) - frees;
}

/* ---- Slots come and go ---- */

static size_t table_frames(size_t nslots)
{
	return round_up(nslots * sizeof(guard.slot[0]), FRAME_SIZE) >> FRAME_SHIFT;
}

/* The highest Reserved run that has room; @arg: run_wanted, whose lo gets the place. */
static int note_place(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	struct run_wanted *want = arg;
	phys_addr_t at =
		base + size >= want->n ? round_down(base + size - want->n, want->align) : 0;

	if (s == MEM_RESERVED && size >= want->n && at >= base)
		want->lo = at;
	return 0;
}

/* Claim memory for the slots. */
static int claim_slots(void)
{
	struct run_wanted want = { .n = guard.size,
				   .align = MAX(2 * guard.room, CHUNK_SIZE),
				   .lo = NOWHERE };

	(void)mem_walk(note_place, &want);
	guard.base = want.lo;
	return want.lo == NOWHERE || mem_map(want.lo, guard.size) ? -ENOMEM : 0;
}

static void unmake_slot(struct guard_slot *slot)
{
	pagemap_clear(virt_to_phys(slot->start), guard.room >> PAGE_SHIFT);
	metaframe_free(slot);
}

static struct guard_slot *make_slot(phys_addr_t base)
{
	struct guard_slot *slot = metaframe_alloc();

	static_assert(sizeof(struct guard_slot) <= FRAME_SIZE, "a slot is told of in one frame");
	if (!slot)
		return NULL;
	memset(slot, 0, sizeof(*slot));
	slot->start = slot->object = phys_to_virt(base);
	slot->span.base = NOWHERE;
	slot->span.class = &guard_class;
	slot->span.cpu = SPAN_NOBODY;
	slot->span.window = &window_unlisted;
	slot->span.inbox_next = SPAN_CLAIMED;
	if (mem_used(base, guard.room) ||
	    !pagemap_set(base, guard.room >> PAGE_SHIFT, &slot->span)) {
		metaframe_free(slot);
		return NULL;
	}
	memset(slot->start, FREED, guard.room);
	return slot;
}

/* All that was made, the first @n slots; none is in the line. */
static void take_down(size_t n)
{
	for (size_t i = 0; i < n; i++)
		unmake_slot(guard.slot[i]);
	metaframe_free_run(guard.slot, table_frames(guard.nslots));
	(void)mem_fault(guard.base, guard.size);
	guard.slot = NULL;
}

int mm_guard_start(size_t nslots, size_t largest, unsigned one_in)
{
	if (guard.slot)
		return -EBUSY;
	if (!nslots || nslots > SLOTS_MAX || !largest || largest > ARENA_SIZE)
		return -EINVAL;
	guard.room = PAGE_SIZE;
	while (guard.room < largest + BEHIND_MIN)
		guard.room *= 2;
	guard.size = round_up(nslots * 2 * guard.room, CHUNK_SIZE);
	guard.slot = metaframe_alloc_run(table_frames(nslots));
	if (!guard.slot)
		return -ENOMEM;
	guard.nslots = nslots;
	if (claim_slots()) {
		metaframe_free_run(guard.slot, table_frames(nslots));
		guard.slot = NULL;
		return -ENOMEM;
	}
	for (size_t i = 0; i < nslots; i++) {
		guard.slot[i] = make_slot(guard.base + i * 2 * guard.room);
		if (!guard.slot[i]) {
			take_down(i);
			return -ENOMEM;
		}
	}
	for (size_t i = 0; i < nslots; i++)
		give_slot(guard.slot[i]);
	mm_guard_rate(one_in);
	return 0;
}

void mm_guard_rate(unsigned one_in)
{
	if (!guard.slot)
		return;
	atomic_store(&guard_one_in, one_in);
	mm_fail_watch(one_in == 1);
}

int mm_guard_stop(void)
{
	mm_guard_rate(0);
	if (!guard.slot)
		return 0;
	if (!take_all_slots())
		return -EBUSY;
	for (size_t i = 0; i < guard.nslots; i++) {
		struct guard_slot *slot = guard.slot[i];

		report_damage(MM_WRITE_AFTER_FREE,
			      find_other(slot->start, slot->start + guard.room, FREED), slot);
	}
	take_down(guard.nslots);
	return 0;
}
