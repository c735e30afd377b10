/* SPDX-License-Identifier: MIT */
/*
 * Magazines: the objects of each small class that a thread freed last, or is to hand
 * out next.
 *
 *	malloc()   pop ─► empty: lowest object of the class's window, as kmalloc()
 *	free(p)    page map ─► span ─► object number ─► checks ─► push
 *			 ├► the window is open: what it has moves in first
 *			 └► full: clear the object's bit in the span, as kfree() does
 *
 *	object[]  | A | B | C |   |   |   | ... n = 3: C is next
 *
 * A program that replaces objects at random frees now in the span that is in the
 * window, now in a listed one, now in a full one, and no branch predictor can tell
 * which. Here free() does not ask: one way for all of them. What a magazine has no
 * room for goes to the spans. A free object's bit says nothing while it is in the
 * window: so the window is open, with max at 0, or the magazine is, never both.
 *
 * To mm/ an object in a magazine is one that a caller holds: its bit in the span is
 * set. What tells a second free is a bit of its own:
 *
 *	held	one for each 16 bytes of heap, beside the heap (arch/malloc/ram.c);
 *		set exactly while an object that starts there lies in a magazine.
 *		Objects of less than 16 bytes are not handed out
 *
 * Only the owner of the span writes its held bits, by plain instructions: no word has
 * bits of two spans, and before a CPU lets go of a span it empties its magazines
 * (port_flush_objects()). Others look, before they free from afar; who frees at the very
 * moment at which the owner does may see the bit too late.
 *
 * Only the CPU's thread touches its magazines: no lock, no gate. fork() may cut any of
 * this off halfway; at worst the child has lost an object of a thread that it does
 * not have.
 */
#ifndef MALLOC_MAGAZINE_H
#define MALLOC_MAGAZINE_H

#include <spanheap/page.h>

#include "arch/malloc/port.h"
#include "malloc/heap.h"
#include "mm/mcache.h"

/* With the one that malloc() returns, all that a window can have. */
#define MAGAZINE_OBJECTS 63

/* Classes that have magazines: those with windows, except the one of 8 bytes. */
#define MAGAZINES (KMALLOC_CLASS_CONST(KMALLOC_WINDOW_MAX) + 1)

/**
 * struct magazine
 * @n: objects in it
 * @max: how many may be; 0 while the window has objects or may have, and n is 0 then, or
 *	if the thread is no CPU
 * @object: the last of them is the next to be handed out
 */
struct magazine {
	uint32_t n, max;
	void *object[MAGAZINE_OBJECTS];
};

#define MAGAZINE_WINDOWS (sizeof(struct magazine) / KMALLOC_WINDOW(1))
static_assert(sizeof(struct magazine) == MAGAZINE_WINDOWS * KMALLOC_WINDOW(1),
	      "where a magazine is tells where its class has the window");

/* By (size + 15) / 16: offset of the magazine in the CPU's; 0 before the heap has started. */
extern uint16_t magazine_offset[KMALLOC_WINDOW_MAX / 16 + 1];
static_assert(MAGAZINES * sizeof(struct magazine) <= UINT16_MAX, "offsets have 16 bits");

/** magazine_for() - of the class for @size bytes, at most KMALLOC_WINDOW_MAX. */
static inline struct magazine *magazine_for(size_t size)
{
	size_t offset = magazine_offset[(size + 15) / 16];

	return (struct magazine *)((char *)malloc_self.magazines + offset);
}

/* The window of a magazine's class. */
static inline struct window *magazine_window(const struct magazine *magazine)
{
	size_t offset = (size_t)((const char *)magazine - (const char *)malloc_self.magazines);

	return mcache_window(port_cache(), offset / MAGAZINE_WINDOWS);
}

/* The word with the held bit of an object. */
static inline uint64_t *held_word(const void *p)
{
	return (uint64_t *)malloc_port.held_zero + ((uintptr_t)p >> 10);
}

static inline unsigned held_bit(const void *p)
{
	return (uintptr_t)p >> 4 & 63;
}

/** is_held() - does an object that starts at @p lie in a magazine? Of any small object. */
static inline bool is_held(const void *p)
{
	return bit_of(atomic_load_relaxed(held_word(p)), held_bit(p));
}

/* By the owner of the span. */
static inline void hold(void *p)
{
	uint64_t *word = held_word(p);

	atomic_store_relaxed(word, atomic_load_relaxed(word) | 1ULL << held_bit(p));
}

/** magazine_take() - the next object of a magazine that is not empty. */
static force_inline void *magazine_take(struct magazine *magazine, uint32_t n)
{
	void *p = magazine->object[n - 1];
	uint64_t *word = held_word(p);

	/* In this order, for a child of fork(). */
	atomic_store_relaxed(word, atomic_load_relaxed(word) & ~(1ULL << held_bit(p)));
	compiler_barrier();
	atomic_store_relaxed(&magazine->n, n - 1);
	return p;
}

/**
 * magazine_put() - free an object into its class's magazine, or its span.
 * @entry: what pagemap_entry_at() gives for it
 *
 * Return: false if nothing was done: it is not an object of this CPU that is in use, or
 * held; its class's window is open; or the magazine is full and its span must be listed.
 */
static force_inline bool magazine_put(pagemap_entry_t entry, void *p)
{
	struct span *span = pagemap_span(entry);
	uint64_t product, index, bits, *word;
	struct magazine *magazine;
	uint32_t n;

	if (unlikely(atomic_peek(&span->cpu) != malloc_self.cpu))
		return false;
	product = ((uintptr_t)p - span->start) * atomic_peek(&span->magic);
	index = product >> 32;
	if (unlikely((uint32_t)product >= (uint32_t)atomic_peek(&span->magic)) ||
	    unlikely(!bit_of(atomic_load_relaxed(&span->used[index / 64]), index)))
		return false;
	word = held_word(p);
	bits = atomic_load_relaxed(word);
	/* Like held_bit(): the lowest six bits count. */
	if (unlikely(!give_bit(&bits, (uintptr_t)p >> 4)))
		return false;
	magazine = magazine_for(span->size);
	n = magazine->n;
	if (unlikely(n >= magazine->max)) {
		if (unlikely(!atomic_load_relaxed(&magazine->max)) ||
		    unlikely(span->window == &window_unlisted))
			return false;
		if (unlikely(cpu_local_and(&span->used[index / 64], all_but(index))))
			heap_word_empty(p);
		return true;
	}
	atomic_store_relaxed(word, bits);
	compiler_barrier();
	magazine->object[n] = p;
	compiler_barrier();
	atomic_store_relaxed(&magazine->n, n + 1);
	return true;
}

/**
 * magazine_open() - its class's window has been loaded, and the magazine is empty: objects
 * may be taken out of the window.
 */
static inline void magazine_open(struct magazine *magazine)
{
	magazine->max = 0;
}

/** magazine_shut() - what the window has goes into the magazine. Return: was the window open? */
bool magazine_shut(struct magazine *magazine);

/** magazines_init() - the table of sizes; once. */
void magazines_init(void);

/** magazines_init_cpu() - a new CPU. Between heap_enter() and heap_leave(), like the next. */
void magazines_init_cpu(void);

/** magazines_flush() - what the CPU's magazines hold goes back to the spans. */
void magazines_flush(void);

/** magazines_bytes() - of the objects in all magazines. */
uint64_t magazines_bytes(void);

#endif
