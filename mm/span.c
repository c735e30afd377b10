// SPDX-License-Identifier: MIT
/* Spans: made, destroyed, and what their bits say; see span.h for the picture. */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/metaframe.h"
#include "mm/span.h"

/*
 * Structures by the number of words, rounded up to a power of two. They are cut
 * from frames that are never given back: a stale pointer to one always finds one.
 */
#define SPAN_KINDS 6

static struct {
	struct spinlock lock;
	struct span *free[SPAN_KINDS];
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
	/* Those of one word have room for the marks of a stack. */
	return round_up(sizeof(struct span) + (sizeof(uint64_t) << (kind + 1)) + 8, 64);
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
		span->next = pool.free[kind];
		pool.free[kind] = span;
	}
	return true;
}

static struct span *new_span(unsigned nwords)
{
	unsigned kind = kind_of(nwords);
	struct span *span = NULL;
	unsigned long flags;

	if (!spin_lock_context(&pool.lock, &flags))
		return NULL;
	if (pool.free[kind] || refill_pool(kind)) {
		span = pool.free[kind];
		pool.free[kind] = span->next;
	}
	spin_unlock_irqrestore(&pool.lock, flags);
	if (span) {
		memset(span, 0, kind_size(kind));
		span->nwords = (uint8_t)nwords;
		span->cpu = SPAN_NOBODY;
		span->window = &window_unlisted;
	}
	return span;
}

static void drop_span(struct span *span)
{
	unsigned kind = kind_of(span->nwords);
	unsigned long flags = spin_lock_irqsave(&pool.lock);

	span->next = pool.free[kind];
	pool.free[kind] = span;
	spin_unlock_irqrestore(&pool.lock, flags);
}

void span_class_init(struct span_class *class, uint32_t size, unsigned npages, uint32_t align)
{
	*class = (struct span_class){
		.size = size,
		.magic = (uint32_t)(((1ULL << 32) + size - 1) / size),
		.nobjs = (uint16_t)(npages * PAGE_SIZE / size),
		.npages = (uint8_t)npages,
		.align = align,
	};
}

/* Pages, entered in the page map for the first @mapped of them. */
static bool give_pages(struct span *span, size_t npages, size_t mapped, size_t align, gfp_t gfp)
{
	void *pages = page_alloc_range(npages * PAGE_FRAMES, MAX(align, PAGE_SIZE), 0,
				       ~(phys_addr_t)0, gfp & ~__GFP_ZERO & ~__GFP_NOFAIL);

	if (!pages)
		return false;
	span->base = virt_to_phys(pages);
	if (pagemap_set(span->base, mapped, span))
		return true;
	free_pages_exact(pages, npages * PAGE_SIZE);
	return false;
}

struct span *span_create(struct span_class *class, gfp_t gfp)
{
	size_t bytes = class->npages * PAGE_SIZE;
	struct span *span = new_span((unsigned)((bytes - 1) / class->size / 64) + 1);

	if (!span)
		return NULL;
	span->class = class;
	span->size = class->size;
	span->magic = class->magic;
	span->nobjs = class->nobjs;
	if (!give_pages(span, class->npages, class->npages, class->align, gfp)) {
		drop_span(span);
		return NULL;
	}
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

	atomic_store(&span->cpu, SPAN_NOBODY);
	pagemap_clear(span->base, span->class ? npages : 1);
	free_pages_exact(phys_to_virt(span->base), npages * PAGE_SIZE);
	drop_span(span);
}

void span_fold_remote(struct span *span)
{
	uint64_t *remote = span_remote(span);

	for (unsigned w = 0; w < span->nwords; w++)
		if (atomic_load_relaxed(&remote[w]))
			(void)cpu_local_and(&span->used[w], ~atomic_xchg(&remote[w], 0));
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
