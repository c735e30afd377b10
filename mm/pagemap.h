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
#define CHUNK_PAGES (CHUNK_SIZE / PAGE_SIZE)

struct span;
extern struct span null_span, gone_span;

typedef intptr_t pagemap_entry_t;

/* In integers: what comes out points to any span, and a compiler must not think otherwise. */
static inline struct span *pagemap_span(pagemap_entry_t entry)
{
	return (struct span *)((uintptr_t)&null_span + (uintptr_t)entry);
}

/** pagemap_find() - the span whose first or any page (small spans) holds @pa; or null_span. */
struct span *pagemap_find(phys_addr_t pa);

/* 1 << ARENA_PHYS_BITS, in memory: to compare with it takes no register. */
extern const uint64_t pagemap_limit;

/**
 * pagemap_lookup() - the same, fast. Any physical address, any context.
 *
 * Return: null_span if there is none, and perhaps if there is one: ask
 * pagemap_find() before saying that there is none.
 */
static inline struct span *pagemap_lookup(phys_addr_t pa)
{
	if (unlikely(pa >= pagemap_limit))
		return &null_span;
	if (!PORT_WINDOW_SIZE)
		return pagemap_find(pa);
	return pagemap_span(((const pagemap_entry_t *)PORT_WINDOW_BASE)[pa >> PAGE_SHIFT]);
}

/** pagemap_is_span() - neither null_span nor gone_span. */
static inline bool pagemap_is_span(const struct span *span)
{
	return span != &null_span && span != &gone_span;
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
