/* SPDX-License-Identifier: MIT */
/*
 * What lies between an empty window and the locks.
 *
 *	malloc()   window ─► window_reload(): what was freed in the window's own word
 *		          ─► recent: objects freed in full spans, last in, first out
 *		          ─► heap_alloc()
 *	free(p)    in the window's span, or a listed one: clear the bit
 *	           in a full span: clear the bit, and remember p
 *
 * A program that replaces objects at random frees in a full span nearly each time,
 * and finds its window empty nearly each time. To list that span for one free
 * object, and to load a window with that, is some 500 instructions a pair.
 *
 * The bits alone say what is free; an address here is a hint, and good if its object
 * is free and its span still not listed and in no window. Else somebody has listed
 * the span meanwhile, who finds all that is free in it by the bits: then the hint
 * is dropped. So a span may end or change hands without a look at this table; and
 * a span that is not listed has a hint for each of its free objects, or mail, which
 * lists it.
 *
 * Only the CPU's thread touches its table, its windows, its spans' lists and its
 * bits (others set remote bits): no lock. fork() may cut any of this off halfway; at
 * worst the child has lost an object of a thread that it does not have.
 */
#ifndef MALLOC_RECENT_H
#define MALLOC_RECENT_H

#include <spanheap/page.h>

#include "arch/malloc/port.h"
#include "malloc/heap.h"
#include "mm/mcache.h"

#define RECENT_OBJECTS 31

/**
 * struct recent
 * @n: how many
 * @size: of the objects; 0 of classes with a stack, and if the thread is no CPU
 */
struct recent {
	uint32_t n, size;
	void *object[RECENT_OBJECTS];
};

/* By where the class has its window. */
static inline struct recent *recent_at(size_t offset)
{
	static_assert(sizeof(struct recent) == 4 * KMALLOC_WINDOW(1), "an offset times four");
	return (struct recent *)((char *)malloc_self.recent + offset * 4);
}

static inline uint64_t recent_product(const struct span *span, const void *p)
{
	return ((uintptr_t)p - span->start) * atomic_peek(&span->magic);
}

/** recent_take() - the last object remembered, if that is good; else NULL. There is one. */
static inline void *recent_take(struct recent *recent)
{
	void *p = recent->object[--recent->n];
	struct span *span = pagemap_span(pagemap_entry_at(p));
	uint64_t product, index;

	/* Whose it is comes first: the rest of another's span may change. */
	if (unlikely(atomic_peek(&span->cpu) != malloc_self.cpu) ||
	    unlikely(span->size != recent->size) || unlikely(span->window != &window_unlisted))
		return NULL;
	product = recent_product(span, p);
	index = product >> 32;
	if (unlikely((uint32_t)product >= (uint32_t)span->magic) ||
	    unlikely(bit_of(span->used[index / 64], index)))
		return NULL;
	cpu_local_or(&span->used[index / 64], 1ULL << index % 64);
	return p;
}

/**
 * recent_put() - free an object, and remember it if its span is full.
 * @entry: what pagemap_entry_at() gives for it
 *
 * Return: false if nothing was done: it is not an object of this CPU that is in use, its
 * class has a stack, or there is no room and its span must be listed.
 */
static inline bool recent_put(pagemap_entry_t entry, void *p)
{
	struct span *span = pagemap_span(entry);
	uint64_t product, index, word;
	const struct window *window;
	struct recent *recent;

	if (unlikely(atomic_peek(&span->cpu) != malloc_self.cpu))
		return false;
	product = recent_product(span, p);
	index = product >> 32;
	word = index / 64;
	if (unlikely((uint32_t)product >= (uint32_t)atomic_peek(&span->magic)) ||
	    unlikely(!bit_of(span->used[word], index)))
		return false;
	window = span->window;
	if (likely(window->span == span)) {
		if (unlikely(!bit_of(window->taken, index)) && window->word == word)
			return false;
		(void)cpu_local_and(&span->used[word], all_but(index));
		return true;
	}
	if (window == &window_unlisted) {
		recent = recent_at(mcache_offset[(span->size + 7) / 8]);
		if (unlikely(recent->n == RECENT_OBJECTS))
			return false;
		recent->object[recent->n++] = p;
	}
	if (unlikely(cpu_local_and(&span->used[word], all_but(index))))
		heap_word_empty(p, entry);
	return true;
}

/** recent_init() - a new CPU. Between heap_enter() and heap_leave(), like the next. */
void recent_init(void);

/** recent_flush() - list the spans that are not for the sake of what is remembered. */
void recent_flush(void);

#endif
