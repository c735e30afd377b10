/* SPDX-License-Identifier: MIT */
/*
 * Spans: runs of pages that hold objects of one class.
 *
 *	 page heap
 *	    │ span_create()                          ▲ span_destroy()
 *	    ▼                                        │
 *	  cached ──────► full ──────► partial ──────► empty
 *	  in a window    nothing      listed with     kept in reserve, or
 *	  of its CPU     left, still  its CPU, has    given back
 *	     ▲           its CPU's    free objects
 *	     └─────────────────────────────┘
 *	                 with mcentral: the CPU gave it up, any CPU may take it
 *
 * Which objects are free is said by bits that lie apart from them:
 *
 *	used[]	 0: free. 1: handed out, or in the window it is cached in. Bits
 *		 past the last object are 0: freeing those is freeing nothing
 *	remote[] objects freed by other CPUs, which the owner folds in
 *
 * Who may write what:
 *	used[]	 the owning CPU, each time by one instruction (cpu_local_*), so
 *		 that a task, an interrupt and an NMI of that CPU may all free;
 *		 of a span with mcentral: under mcentral's lock
 *	remote[] anybody, atomically
 *	cpu	 whoever has the claim (inbox_next), or mcentral's lock; see mcache.h
 *		 on handing over
 *	window	 the owning CPU, heap lock held, so interrupts are off; of a span with
 *		 mcentral: under mcentral's lock. All else read it at any time: a
 *		 window stays where it is, and is looked at once more under the lock
 *	fresh, next, prev
 *		 as window
 */
#ifndef MM_SPAN_H
#define MM_SPAN_H

#include "mm/pageheap.h"
#include "mm/pagemap.h"
#include "mm/sizeclass.h"

#define SPAN_MAX_WORDS 16
#define SPAN_CLAIMED ((struct span *)8) /* in inbox_next: by somebody, or the end of an inbox */

/* struct span's cpu, when it is none. */
#define SPAN_NOBODY 0xffffffffU	 /* null_span; a span that is no more */
#define SPAN_CENTRAL 0xfffffffeU /* with mcentral */
#define SPAN_LARGE 0xfffffffdU	 /* one object on whole pages, nobody's */
#define SPAN_KEPT 0xfffffffcU	 /* such a one, freed and kept for the next request */

/*
 * Set in cpu while others have freed in the span and its owner has not looked:
 * the owner's own frees take the long way then, so that an object which another
 * CPU has freed before is found at once.
 */
#define SPAN_MAIL 0x40000000U

/* Always set in cpu, next to the owner, if the class has a stack of objects. */
#define SPAN_STACKED 0x20000000U

struct span_class;

/* Lists through next and prev. */
struct span_list {
	struct span *first, *last;
	size_t n;
};

/**
 * struct mcentral - spans of a class, node and window that their CPUs gave up.
 * @lock: interrupts off; taken after a CPU's heap lock
 * @partial: some object is free; @full: none. By half, see mcentral.h. Under the
 *	lock; first is looked at without it, to pass by empty lists
 */
struct mcentral {
	struct spinlock lock;
	struct span_list partial[2], full[2];
};

/**
 * struct window - up to 64 objects in a row that one context of a CPU hands out.
 * @taken: bit i is 0: the object at @base + i * @size is free and the window's
 * @base: address of the first
 * @size: bytes of an object
 * @word: which word of the span's bits this is
 * @nobjs: objects of that word, free or not; 0 for an empty window
 * @span: where they lie; NULL: an empty window
 * @top: of classes with a stack of objects, which have no windows: behind the
 *	topmost object
 * @pushed: and objects that came onto the stack from kfree(), since the start
 */
struct window {
	uint64_t taken;
	union {
		uintptr_t base;
		struct stack_slot *top;
	};
	union {
		struct {
			uint32_t size;
			uint16_t word, nobjs;
		};
		uint64_t pushed;
	};
	struct span *span;
};

/*
 * Where struct span's window points when the span is in none: to one
 * that has no object, if the span is listed; to one that has all, if it is full
 * and not listed, so that the first free of an object stops at the check for a
 * double free and lists it.
 */
extern struct window window_listed, window_unlisted;

/* What is free and the window's. */
static inline uint64_t window_bits(const struct window *window)
{
	return ~atomic_load(&window->taken);
}

static inline bool window_is_real(const struct window *window)
{
	return window != &window_listed && window != &window_unlisted;
}

/**
 * struct span
 * @start: address of the first object
 * @base: its physical address
 * @window: see above
 * @magic: reciprocal of the size, see object_starts(); 0 for a large object. In
 *	64 bits: they are multiplied with without being loaded before
 * @reciprocal: likewise, see object_at(): one instruction less in kfree()
 * @cpu: owner, SPAN_MAIL, SPAN_STACKED; by who has the claim or mcentral's lock
 * @size: bytes of an object; pages of a large one
 * @nobjs: how many
 * @nwords: words in each bit set
 * @fresh: when the window was loaded, no object from this number on had ever been
 *	handed out, and each below had: they are handed out lowest first. With
 *	SPAN_SPARE and SPAN_HALF
 * @stack: the class's stack_window
 * @class: what it holds; NULL for a large object
 * @next, @prev: of the list that it is in
 * @inbox_next: of its owner's inbox; NULL while it is in none and nobody hands
 *	it over. Claimed by compare-and-swap, see mcache.h. A span that belongs
 *	to nobody or is one large object is always claimed, so that who freed in
 *	it before it ended, and looks only now, leaves it alone
 * @used: see above; remote[] follows it
 */
struct span {
	uintptr_t start;
	struct window *window;
	uint64_t magic, reciprocal;
	uint32_t cpu;
	uint32_t size;
	uint16_t nobjs : 11, nwords : 5;
	uint16_t fresh;
	uint16_t stack;
	struct span_class *class;
	struct span *next;
	phys_addr_t base;
	struct span *prev;
	struct span *inbox_next;
	uint64_t used[];
};

/* A CPU's number, SPAN_NOBODY, SPAN_CENTRAL, SPAN_LARGE or SPAN_KEPT. */
static inline uint32_t span_owner(const struct span *span)
{
	uint32_t cpu = atomic_load(&span->cpu);

	return cpu < SPAN_KEPT ? cpu & ~(SPAN_MAIL | SPAN_STACKED) : cpu;
}

/* What is in cpu when @cpu owns the span. */
static inline uint32_t span_owned_by(const struct span *span, uint32_t cpu)
{
	return cpu | (span->stack ? SPAN_STACKED : 0);
}

static_assert(offsetof(struct span, base) == 64, "what kfree() needs is in one cache line");

/** span_keep() - free a large object, but let it be a span; false if it is freed already. */
static inline bool span_keep(struct span *span)
{
	uint32_t cpu = SPAN_LARGE;

	return atomic_cas(&span->cpu, &cpu, SPAN_KEPT);
}

/** span_reuse() - hand a kept object out again. */
static inline void span_reuse(struct span *span)
{
	atomic_store(&span->cpu, SPAN_LARGE);
}

/** span_object() - where an object of a span is. */
static inline void *span_object(const struct span *span, size_t index)
{
	return (void *)(span->start + index * span->size);
}

static inline uint64_t *span_remote(struct span *span)
{
	return span->used + span->nwords;
}

/* In fresh: with its owner: it is empty and counted so. With mcentral: the half that it is in. */
#define SPAN_SPARE 0x8000
#define SPAN_HALF 0x4000

static inline unsigned span_fresh(const struct span *span)
{
	return atomic_load_relaxed(&span->fresh) & ~(SPAN_SPARE | SPAN_HALF);
}

static inline bool span_is_spare(const struct span *span)
{
	return atomic_load_relaxed(&span->fresh) & SPAN_SPARE;
}

/* By the owner, like all that writes fresh. */
static inline void span_set_spare(struct span *span, bool spare)
{
	atomic_store_relaxed(&span->fresh,
			     (uint16_t)(span_fresh(span) | (spare ? SPAN_SPARE : 0)));
}

static inline bool span_is_listed(const struct span *span)
{
	const struct window *window = atomic_load_relaxed(&span->window);

	return window == &window_listed;
}

/*
 * Of each object of a class with a stack, whose spans have one word: a caller has
 * it, or it was given back. One that was never handed out has 0. From the first
 * to the second cpu_local_rotate() leads; whatever a second one makes of that is
 * neither.
 */
#define MARK_OUT 0x01
#define MARK_BACK 0x80
#define SPAN_MARKS 16

static inline uint8_t *span_marks(struct span *span)
{
	return (uint8_t *)(span->used + 2);
}

static inline uint8_t span_mark(const struct span *span, unsigned index)
{
	return atomic_load_relaxed(span_marks((struct span *)span) + index);
}

/* The bits of a word that stand for objects. */
static inline uint64_t span_word_mask(const struct span *span, unsigned word)
{
	return mask_low(MIN(64U, span->nobjs - word * 64U));
}

/**
 * struct class_cpu - what a CPU has of a class that is not kmalloc's.
 * @window: by context
 * @partial: spans with free objects, in no window
 * @reloaded: objects put into windows beside what struct cpu_heap counts as loaded
 */
struct class_cpu {
	struct window window[MM_NR_CONTEXTS];
	struct span_list partial;
	uint64_t reloaded[MM_NR_CONTEXTS];
};

/* A word for the class's own use, behind the bits of a span of several words; NULL at first. */
static inline void **span_side(struct span *span)
{
	return (void **)(span->used + 2 * span->nwords);
}

/** class_cpu_alloc() - one, zeroed; or NULL. Any context. */
struct class_cpu *class_cpu_alloc(void);

void class_cpu_free(struct class_cpu *cpu);

/**
 * struct span_class - objects of one size and kind.
 * @size, @magic, @nobjs, @npages: as in struct size_class; @reciprocal: of the size
 * @align: of spans, in bytes
 * @nspans: how many there are; changed atomically
 * @index: number of the span class, 2 * size class + noscan, of kmalloc's
 * @stack_window: offset of its window in struct mcache if it has a stack of
 *	objects in place of the window, else 0
 * @cache: the kmem_cache that has it to itself, or NULL
 * @ctor: run on each object when its span is made, or NULL
 * @cpu: by CPU, NULL until it allocates; each put there by its CPU, once, by
 *	compare-and-swap. No table for kmalloc's classes, whose windows are in the
 *	mcaches
 * @sweep: what a collector does to a span of an unswept half before anything of it is
 *	handed out: objects found dead become free; or NULL
 * @central: spans that no CPU owns, by node and window
 */
struct span_class {
	uint32_t size, magic;
	uint64_t reciprocal;
	uint16_t nobjs, npages;
	uint16_t stack_window;
	uint8_t index;
	uint32_t align;
	size_t nspans;
	struct kmem_cache *cache;
	void (*ctor)(void *object);
	struct class_cpu **cpu;
	void (*sweep)(struct span *span);
	struct mcentral central[PORT_MAX_NODES][MEM_WINDOWS];
};

/** span_bytes() - of a span's pages; of one that has a class. */
static inline size_t span_bytes(const struct span *span)
{
	return span->class->npages * PAGE_SIZE;
}

/* Is an object in use by its span's bits on a stack, and not a caller's? */
static inline bool span_is_stacked(const struct span *span, unsigned index)
{
	return span->stack && span_mark(span, index) != MARK_OUT;
}

/* Of an object that is given back, before its bit is cleared. By the owner. */
static inline void span_set_back(struct span *span, unsigned index)
{
	if (span->stack)
		atomic_store_relaxed(span_marks(span) + index, MARK_BACK);
}

/**
 * span_class_init() - fill in a class.
 * @class: all zero, for most of it are lists that are empty
 * @npages: pages of a span; @align: a power of two, at most a span
 */
void span_class_init(struct span_class *class, uint32_t size, unsigned npages, uint32_t align);

/**
 * span_create() - a fresh span with all objects free, entered in the page map.
 * @gfp: where the pages may come from
 *
 * Any context. Return: NULL if there is no memory. Its cpu is SPAN_NOBODY, and it
 * is claimed.
 */
struct span *span_create(struct span_class *class, gfp_t gfp);

/** span_create_large() - one object on @npages pages, aligned to @align bytes, zeroed if @gfp
 * says so; or NULL. */
struct span *span_create_large(size_t npages, size_t align, gfp_t gfp);

/** span_destroy() - give the pages back. Nobody holds an object of it; the caller has the claim. */
void span_destroy(struct span *span);

/** struct met - an object that was freed twice, found when the two frees met. */
struct met {
	const void *object;
};

/** span_fold_word() - objects of a word that others freed become free. By the owner. */
void span_fold_word(struct span *span, unsigned word, struct met *met);

/** span_fold_remote() - likewise, of all words. */
void span_fold_remote(struct span *span, struct met *met);

/** span_claim() - true if the caller has the claim now. Any context. */
static inline bool span_claim(struct span *span)
{
	struct span *unclaimed = NULL;

	return atomic_cas(&span->inbox_next, &unclaimed, SPAN_CLAIMED);
}

/**
 * span_let_go() - of the claim.
 *
 * Return: true if it was taken again, for frees that came meanwhile.
 */
bool span_let_go(struct span *span);

/** span_is_empty() - no object is handed out or in a window. By the owner. */
bool span_is_empty(const struct span *span);

/** span_has_free() - some object is free. By the owner. */
bool span_has_free(const struct span *span);

/** span_handed_out() - was an object, which is free or in the window, ever handed out? */
bool span_handed_out(const struct span *span, unsigned index);

/** span_note_window() - the window leaves its word, with these objects not handed out. */
void span_note_window(struct span *span, unsigned word, uint64_t left);

/** span_word_live() - which objects of a word callers hold, at this moment. */
uint64_t span_word_live(const struct span *span, unsigned word);

/**
 * span_for_each() - visit every span. What is made or ends meanwhile may be missed.
 * @fn: runs pinned
 *
 * Any context but NMI; memory may leave meanwhile.
 */
void span_for_each(void (*fn)(struct span *span, void *arg), void *arg);

static inline void span_list_add(struct span_list *list, struct span *span)
{
	span->prev = NULL;
	span->next = list->first;
	if (span->next)
		span->next->prev = span;
	else
		list->last = span;
	atomic_store_relaxed(&list->first, span);
	list->n++;
}

static inline void span_list_add_last(struct span_list *list, struct span *span)
{
	span->next = NULL;
	span->prev = list->last;
	if (span->prev)
		span->prev->next = span;
	else
		atomic_store_relaxed(&list->first, span);
	list->last = span;
	list->n++;
}

static inline void span_list_del(struct span_list *list, struct span *span)
{
	if (span->prev)
		span->prev->next = span->next;
	else
		atomic_store_relaxed(&list->first, span->next);
	if (span->next)
		span->next->prev = span->prev;
	else
		list->last = span->prev;
	list->n--;
}

#endif
