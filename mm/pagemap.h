/* SPDX-License-Identifier: MIT */
/*
 * The page map: from any address to the span that lies there.
 *
 *	address ─► number of its 8 KiB page ─► entry[] ─► struct span
 *
 * With an MMU the entries are one flat array in the port's window, so that a
 * look-up is one load. The array exists only where there are spans: one frame
 * of entries for each 4 MiB, mapped when the first span there is made; elsewhere
 * the window reads as zeroes. Without an MMU the same frames are found through
 * the arena.
 *
 * An entry is the distance from null_span, so that an absent entry, 0, leads to
 * null_span and needs no test: null_span owns nothing, every check on it fails.
 * Where a span has been and is no more the entry leads to gone_span, which is the
 * same in all but its name: it tells a double free from a free of anything.
 *
 * Where the window is memory of its own (a process), the entries lie there and
 * nowhere else.
 *
 * A CPU may see a zero of the window for a while after entries were mapped
 * there; pagemap_find() looks at the frames themselves and is never wrong.
 */
#ifndef MM_PAGEMAP_H
#define MM_PAGEMAP_H

#include <spanheap/page.h>

#include "mm/memmap.h"

#define PAGE_SHIFT 13
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_FRAMES (PAGE_SIZE / FRAME_SIZE)

struct span;
extern struct span null_span, gone_span;

typedef intptr_t pagemap_entry_t;

/* In integers: what comes out points to any span, and a compiler must not think otherwise. */
static inline struct span *pagemap_span(pagemap_entry_t entry)
{
	return (struct span *)((uintptr_t)&null_span + (uintptr_t)entry);
}

static inline pagemap_entry_t pagemap_entry_of(const struct span *span)
{
	return (pagemap_entry_t)((uintptr_t)span - (uintptr_t)&null_span);
}

/**
 * pagemap_find() - the span whose first or any page (small spans) holds @pa; or null_span.
 *
 * Any context. An address that the caller does not hold may be another's at any time, and
 * so may its span, whose structure stays one (span.c): what is said of it then says
 * something about a wrong pointer, no more.
 */
struct span *pagemap_find(phys_addr_t pa);

/* What the window shows entries of; in memory: to compare with it takes no register. */
extern uint64_t pagemap_limit;

/** pagemap_init() - before the first look-up. */
void pagemap_init(void);

/* What pagemap_lookup() reads. */
static inline pagemap_entry_t pagemap_entry(phys_addr_t pa)
{
	if (unlikely(pa >= pagemap_limit))
		return 0;
	if (!PORT_HAS_WINDOW)
		return pagemap_entry_of(pagemap_find(pa));
	return ((const pagemap_entry_t *)PORT_WINDOW_BASE)[pa >> PAGE_SHIFT];
}

/*
 * If the window has entries for all addresses from the direct map up, only those
 * below need a test, and the place of an entry follows from the address itself.
 */
#define PAGEMAP_TO_TOP                                                                    \
	(PORT_HAS_WINDOW &&                                                               \
	 __builtin_constant_p(PORT_DIRECT_BASE + PORT_WINDOW_BASE + PORT_WINDOW_SIZE) &&  \
	 PORT_WINDOW_SIZE >= (0 - (uint64_t)PORT_DIRECT_BASE) / PAGE_SIZE * sizeof(pagemap_entry_t))

/* PORT_DIRECT_BASE, in memory. */
extern const uintptr_t pagemap_first;

/** pagemap_entry_at() - pagemap_entry() by the address in the direct map; of any address. */
static inline pagemap_entry_t pagemap_entry_at(const void *p)
{
	intptr_t first = (intptr_t)PORT_DIRECT_BASE >> PAGE_SHIFT;
	uintptr_t at = PORT_WINDOW_BASE - (uintptr_t)first * sizeof(pagemap_entry_t);

	if (!PAGEMAP_TO_TOP)
		return pagemap_entry(virt_to_phys(p));
	if (unlikely((uintptr_t)p < pagemap_first))
		return 0;
	HIDE_VALUE(at);
	return ((const pagemap_entry_t *)at)[(intptr_t)p >> PAGE_SHIFT];
}

/*
 * The span of an entry, for one access: the entry is hidden before each, so that
 * null_span's address becomes part of the access in place of an addition before it.
 */
#define PAGEMAP_SPAN_ONCE(entry) (HIDE_VALUE(entry), pagemap_span(entry))

/**
 * pagemap_lookup() - the same, fast. Any physical address, any context.
 *
 * Return: null_span if there is none, and perhaps if there is one: ask
 * pagemap_find() before saying that there is none.
 */
static inline struct span *pagemap_lookup(phys_addr_t pa)
{
	return pagemap_span(pagemap_entry(pa));
}

/** pagemap_is_span() - neither null_span nor gone_span. */
static inline bool pagemap_is_span(const struct span *span)
{
	return span != &null_span && span != &gone_span;
}

/* One frame of entries stands for this much memory. */
#define PAGEMAP_BLOCK_ENTRIES (FRAME_SIZE / sizeof(pagemap_entry_t))
#define PAGEMAP_BLOCK (PAGEMAP_BLOCK_ENTRIES * PAGE_SIZE)

/**
 * pagemap_has_span() - does pagemap_find() find one? For those who know the chunk. Any context.
 *
 * Entries of chunks that lie side by side are found through the first of them.
 */
static inline bool pagemap_has_span(const struct chunk *chunk, phys_addr_t pa)
{
	unsigned nr = (unsigned)(pa >> CHUNK_SHIFT & (PAGEMAP_BLOCK / CHUNK_SIZE - 1));
	unsigned at = (unsigned)(pa >> PAGE_SHIFT & (PAGEMAP_BLOCK_ENTRIES - 1));
	pagemap_entry_t *block = atomic_load(&(chunk - nr)->spans);

	return unlikely(block != NULL) && pagemap_is_span(pagemap_span(atomic_load(&block[at])));
}

/** pagemap_set() - enter @span for @npages pages; false: no memory for entries. Any context. */
bool pagemap_set(phys_addr_t pa, size_t npages, struct span *span);

/** pagemap_clear() - forget the span of these pages. Any context. */
void pagemap_clear(phys_addr_t pa, size_t npages);

/**
 * pagemap_forget() - give back the entries of an arena that nobody finds any longer.
 *
 * Its memory has left: there are no spans. Task context, waits.
 */
void pagemap_forget(struct arena *arena);

#endif
