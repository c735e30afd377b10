// SPDX-License-Identifier: MIT
/* Spans: made, destroyed, and what their bits say; see span.h for the picture. */
#include <spanheap/page.h>

#include "lib/spinlock.h"
#include "lib/string.h"
#include "mm/metaframe.h"
#include "mm/span.h"
#include "mm/tiny.h"

/*
 * Structures by the number of words, rounded up to a power of two. They are cut
 * from frames that are never given back: a stale pointer to one always finds one.
 */
#define SPAN_KINDS 6

static struct {
	struct spinlock lock;
	struct span *free[SPAN_KINDS];
	struct span *dropped; /* by NMIs that found the lock taken */
} pool;

static unsigned kind_of(unsigned nwords)
{
	unsigned kind = 0;

	while ((1U << kind) < nwords)
		kind++;
	return kind;
}

static size_t kind_size(unsigned kind)
{
	/* Those of one word have room for marks, the others for what span_side() gives. */
	return round_up(sizeof(struct span) + (sizeof(uint64_t) << (kind + 1)) +
				(kind ? sizeof(void *) : SPAN_MARKS),
			64);
}

/* pool.lock is held. */
static bool refill_pool(unsigned kind)
{
	size_t size = kind_size(kind);
	char *frame = metaframe_alloc();

	if (!frame)
		return false;
	for (size_t at = 0; at + size <= FRAME_SIZE; at += size) {
		struct span *span = (struct span *)(frame + at);

		span->cpu = SPAN_NOBODY;
		span->inbox_next = SPAN_CLAIMED;
		span->next = pool.free[kind];
		pool.free[kind] = span;
	}
	return true;
}

static void push_free(struct span *span)
{
	unsigned kind = kind_of(span->nwords);

	span->next = pool.free[kind];
	pool.free[kind] = span;
}

static void take_dropped(void)
{
	struct span *span = atomic_xchg(&pool.dropped, NULL), *next;

	for (; span; span = next) {
		next = span->next;
		push_free(span);
	}
}

static struct span *new_span(unsigned nwords)
{
	unsigned kind = kind_of(nwords);
	struct span *span = NULL;
	unsigned long flags;

	if (!spin_lock_context(&pool.lock, &flags))
		return NULL;
	if (unlikely(atomic_load_relaxed(&pool.dropped)))
		take_dropped();
	if (pool.free[kind] || refill_pool(kind)) {
		span = pool.free[kind];
		pool.free[kind] = span->next;
	}
	spin_unlock_irqrestore(&pool.lock, flags);
	if (span) {
		/* Nobody's and claimed it was, and stays for the time being. */
		span->window = &window_unlisted;
		atomic_store_relaxed(&span->class, NULL);
		span->magic = span->reciprocal = 0;
		span->stack = 0;
		span->nwords = (uint16_t)nwords;
		atomic_store_relaxed(&span->fresh, 0);
		/* Somebody may still look for remote bits of its former life. */
		for (size_t i = 0; i < (kind_size(kind) - sizeof(*span)) / sizeof(uint64_t); i++)
			atomic_store_relaxed(&span->used[i], 0);
	}
	return span;
}

static void drop_span(struct span *span)
{
	unsigned long flags;

	if (spin_lock_context(&pool.lock, &flags)) {
		push_free(span);
		spin_unlock_irqrestore(&pool.lock, flags);
		return;
	}
	span->next = atomic_load(&pool.dropped);
	while (!atomic_cas(&pool.dropped, &span->next, span))
		;
}

void span_class_init(struct span_class *class, uint32_t size, unsigned npages, uint32_t align)
{
	class->size = size;
	class->magic = (uint32_t)(((1ULL << 32) + size - 1) / size);
	class->reciprocal = reciprocal_of(size);
	class->nobjs = (uint16_t)(npages * PAGE_SIZE / size);
	class->npages = (uint16_t)npages;
	class->align = align;
}

/* Pages, entered in the page map for the first @mapped of them. */
static bool give_pages(struct span *span, size_t npages, size_t mapped, size_t align, gfp_t gfp)
{
	void *pages = inner_pages_alloc(npages * PAGE_FRAMES, MAX(align, PAGE_SIZE),
					gfp & ~__GFP_NOFAIL);

	if (!pages)
		return false;
	span->start = (uintptr_t)pages;
	span->base = virt_to_phys(pages);
	if (pagemap_set(span->base, mapped, span))
		return true;
	inner_pages_free(pages, npages * PAGE_FRAMES);
	return false;
}

struct span *span_create(struct span_class *class, gfp_t gfp)
{
	size_t bytes = class->npages * PAGE_SIZE;
	struct span *span = new_span((unsigned)((bytes - 1) / class->size / 64) + 1);

	if (!span)
		return NULL;
	atomic_store_relaxed(&span->class, class);
	span->size = class->size;
	span->magic = class->magic;
	span->reciprocal = class->reciprocal;
	span->nobjs = class->nobjs;
	span->stack = class->stack_window;
	if (!give_pages(span, class->npages, class->npages, class->align, gfp & ~__GFP_ZERO)) {
		drop_span(span);
		return NULL;
	}
	(void)atomic_fetch_add(&class->nspans, 1);
	for (unsigned i = 0; class->ctor && i < class->nobjs; i++)
		class->ctor(span_object(span, i));
	return span;
}

struct span *span_create_large(size_t npages, size_t align, gfp_t gfp)
{
	struct span *span = npages <= UINT32_MAX ? new_span(1) : NULL;

	if (!span)
		return NULL;
	span->size = (uint32_t)npages;
	span->nobjs = 1;
	span->used[0] = 1;
	if (!give_pages(span, npages, 1, align, gfp)) {
		drop_span(span);
		return NULL;
	}
	atomic_store(&span->cpu, SPAN_LARGE);
	return span;
}

void span_destroy(struct span *span)
{
	size_t npages = span->class ? span->class->npages : span->size;

	if (span->class == &tiny_class)
		tiny_span_ends(span);
	if (span->class)
		(void)atomic_fetch_sub(&span->class->nspans, 1);
	atomic_store(&span->cpu, SPAN_NOBODY);
	pagemap_clear(span->base, span->class ? npages : 1);
	inner_pages_free(phys_to_virt(span->base), npages * PAGE_FRAMES);
	drop_span(span);
}

/* What is free already, or in a window or stack, was freed twice. */
void span_fold_word(struct span *span, unsigned word, struct met *met)
{
	uint64_t *remote = &span_remote(span)[word];
	const struct window *window = span->window;
	uint64_t freed, twice;

	if (likely(!atomic_load_relaxed(remote)))
		return;
	freed = atomic_xchg(remote, 0);
	twice = freed & ~atomic_load_relaxed(&span->used[word]);
	if (window_is_real(window) && window->word == word)
		twice |= freed & window_bits(window);
	for (uint64_t left = span->stack ? freed : 0; left; left &= left - 1) {
		unsigned index = (unsigned)lowest_bit(left);

		if (span_is_stacked(span, index))
			twice |= left & -left;
		else
			span_set_back(span, index);
	}
	if (unlikely(twice))
		met->object = span_object(span, word * 64UL + ctz64(twice));
	(void)cpu_local_and(&span->used[word], ~(freed & ~twice));
}

bool span_handed_out(const struct span *span, unsigned index)
{
	const struct window *window = atomic_load(&span->window);
	/* NULL: the span has ended since the caller found it, and becomes another one. */
	const struct span_class *class = atomic_load_relaxed(&span->class);

	if (index >= span->nobjs)
		return false;
	/* What a cache frees goes back into its windows, whose order then says nothing. */
	if (!class || index < span_fresh(span) || class->cpu)
		return true;
	if (span->stack && span_mark(span, index))
		return true;
	return window_is_real(window) && atomic_load_relaxed(&window->word) == index / 64 &&
	       !bit_of(window_bits(window), index);
}

void span_note_window(struct span *span, unsigned word, uint64_t left)
{
	unsigned fresh = MIN(word * 64 + ctz64(left), span->nobjs);

	/* Its span is not listed, so it is not spare. */
	if (fresh > span_fresh(span))
		atomic_store_relaxed(&span->fresh, (uint16_t)fresh);
}

void span_fold_remote(struct span *span, struct met *met)
{
	for (unsigned w = 0; w < span->nwords; w++)
		span_fold_word(span, w, met);
}

bool span_let_go(struct span *span)
{
	const uint64_t *remote = span_remote(span);
	unsigned nwords = span->nwords;

	/* From here on the structure may become another span: then a bit too many is seen. */
	(void)atomic_xchg(&span->inbox_next, NULL);
	atomic_fence_after();
	for (unsigned w = 0; w < nwords; w++)
		if (atomic_load(&remote[w]))
			return span_claim(span);
	return false;
}

bool span_is_empty(const struct span *span)
{
	for (unsigned w = 0; w < span->nwords; w++)
		if (atomic_load_relaxed(&span->used[w]))
			return false;
	return true;
}

bool span_has_free(const struct span *span)
{
	for (unsigned w = 0; w < span->nwords; w++)
		if (~atomic_load_relaxed(&span->used[w]) & span_word_mask(span, w))
			return true;
	return false;
}

uint64_t span_word_live(const struct span *span, unsigned word)
{
	const uint64_t *remote = span->used + span->nwords;
	const struct window *window = atomic_load(&span->window);
	uint64_t live =
		atomic_load_relaxed(&span->used[word]) & ~atomic_load_relaxed(&remote[word]);

	if (window->span == span && window->word == word)
		live &= ~window_bits(window);
	for (unsigned i = 0; span->stack && i < span->nobjs; i++)
		live &= ~((uint64_t)span_is_stacked(span, i) << i);
	return live;
}

/* Two chunks share a block of the page map; nothing of it goes while we are pinned. */
static void visit_block(phys_addr_t base, void (*fn)(struct span *span, void *arg), void *arg)
{
	struct chunk *chunk;

	port_pin();
	chunk = chunk_find(&main_map.index, base);
	if (chunk && atomic_load(&chunk->spans))
		for (phys_addr_t at = base; at < base + 2 * CHUNK_SIZE; at += PAGE_SIZE) {
			struct span *span = pagemap_find(at);

			if (pagemap_is_span(span) && span->base == at)
				fn(span, arg);
		}
	port_unpin();
}

/* The base of the lowest arena that holds or lies above @at; false: there is none. */
static bool next_arena(phys_addr_t at, phys_addr_t *base)
{
	const struct arena *arena;

	port_pin();
	arena = arena_next(&main_map.index, at);
	if (arena)
		*base = arena->base;
	port_unpin();
	return arena;
}

void span_for_each(void (*fn)(struct span *span, void *arg), void *arg)
{
	for (phys_addr_t at = 0, end; next_arena(at, &at); at = end)
		for (end = at + ARENA_SIZE; at < end; at += 2 * CHUNK_SIZE)
			visit_block(at, fn, arg);
}
