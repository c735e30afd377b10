// SPDX-License-Identifier: MIT
/* Central lists; see mcentral.h, and mcache.h on handing over. */
#include "mm/mcache.h"
#include "mm/mcentral.h"
#include "mm/misuse.h"
#include "mm/numa.h"

static uint32_t generation; /* its lowest bit: the swept half */
static uint64_t allocs;
static uint64_t spare_bytes; /* of empty spans in the lists */

unsigned mcentral_swept(void)
{
	return atomic_load_relaxed(&generation) & 1;
}

void mcentral_next_generation(void)
{
	(void)atomic_fetch_add(&generation, 1);
}

uint64_t mcentral_allocs(void)
{
	return atomic_load_relaxed(&allocs);
}

uint64_t mcentral_spare_bytes(void)
{
	return atomic_load_relaxed(&spare_bytes);
}

struct mcentral *mcentral_of(const struct span *span)
{
	const struct chunk *chunk = chunk_find(&main_map.index, span->base);

	return &span->class->central[chunk->node][window_of(span->base >> FRAME_SHIFT)];
}

/* All below here, up to the next such line: central->lock is held. */

static unsigned half_of(const struct span *span)
{
	return !!(atomic_load_relaxed(&span->fresh) & SPAN_HALF);
}

static void list_span(struct mcentral *central, struct span *span, unsigned half)
{
	bool free = span_has_free(span);

	atomic_store_relaxed(&span->fresh,
			     (uint16_t)(span_fresh(span) | (half ? SPAN_HALF : 0)));
	atomic_store(&span->window, free ? &window_listed : &window_unlisted);
	if (!span_is_empty(span)) {
		span_list_add(free ? &central->partial[half] : &central->full[half], span);
		return;
	}
	/* Taken last, and found there by mcentral_flush_spare(). */
	span_list_add_last(&central->partial[half], span);
	(void)atomic_fetch_add(&spare_bytes, span_bytes(span));
}

/* Its half is no longer noted: an owner's notes take that place. */
static unsigned unlist_span(struct mcentral *central, struct span *span)
{
	unsigned half = half_of(span);

	if (span_is_empty(span))
		(void)atomic_fetch_sub(&spare_bytes, span_bytes(span));
	span_list_del(span_is_listed(span) ? &central->partial[half] : &central->full[half], span);
	atomic_store_relaxed(&span->fresh, (uint16_t)span_fresh(span));
	return half;
}

/*
 * May an empty span stay? Only where the next request would need a fresh one, and there is
 * nobody else who would have to end it: a cache that goes.
 */
static bool may_stay(const struct mcentral *central, const struct span *span)
{
	return !central->partial[0].first && !central->partial[1].first && !span->class->cpu &&
	       atomic_load_relaxed(&spare_bytes) + span_bytes(span) <=
		       atomic_load_relaxed(&retention.spare_low);
}

/* Fold in what was freed; list it, unless it is empty. */
static bool refresh_span(struct mcentral *central, struct span *span, unsigned half,
			 struct met *met)
{
	span_fold_remote(span, met);
	if (span_is_empty(span))
		return false;
	list_span(central, span, half);
	return true;
}

/*
 * Steps 2 and 3, once: of the half other than @swept. Return: the span that was
 * swept, in no list; NULL: there is none.
 */
static struct span *sweep_next(struct mcentral *central, unsigned swept)
{
	struct span *span = central->partial[!swept].first;

	if (!span)
		span = central->full[!swept].first;
	if (!span)
		return NULL;
	unlist_span(central, span);
	if (span->class->sweep)
		span->class->sweep(span);
	return span;
}

/* The lowest free object of a span that has one. */
static void *take_object(struct span *span)
{
	unsigned word = 0, index;
	uint64_t free;

	while (!(free = ~span->used[word] & span_word_mask(span, word)))
		word++;
	index = word * 64 + lowest_bit(free);
	if (index >= span_fresh(span))
		atomic_store_relaxed(&span->fresh, (uint16_t)(index + 1));
	if (span->class->stack_window)
		atomic_store_relaxed(span_marks(span) + index, MARK_OUT);
	cpu_local_or(&span->used[word], free & -free);
	return span_object(span, index);
}

/* All above here: central->lock is held. */

static bool may_have_free(const struct mcentral *central)
{
	return atomic_load_relaxed(&central->partial[0].first) ||
	       atomic_load_relaxed(&central->partial[1].first) ||
	       atomic_load_relaxed(&central->full[!mcentral_swept()].first);
}

/*
 * Steps 1 to 3: a span with free objects, in no list, and the half that it belongs to.
 * Then, and only then, the lock is held on return. Others get in between after each
 * span that was swept.
 *
 * A generation may end meanwhile: which half is swept is asked once for each span, so
 * that what was swept for the old one is listed as unswept in the new one.
 */
static struct span *find_span(struct mcentral *central, unsigned *budget, unsigned *half,
			      unsigned long *flags)
{
	while (may_have_free(central) && spin_lock_context(&central->lock, flags)) {
		unsigned swept = mcentral_swept();
		struct span *span = central->partial[swept].first;

		*half = swept;
		if (span) {
			unlist_span(central, span);
			return span;
		}
		span = *budget ? sweep_next(central, swept) : NULL;
		if (span && span_has_free(span))
			return span;
		if (span) {
			list_span(central, span, swept);
			--*budget;
		}
		spin_unlock_irqrestore(&central->lock, *flags);
		if (!span)
			break;
	}
	return NULL;
}

bool mcentral_settle(struct span *span, struct met *met)
{
	do {
		/* Between claims the structure may have become another span. */
		struct mcentral *central = mcentral_of(span);
		unsigned long flags = spin_lock_irqsave(&central->lock);
		unsigned half;
		bool stays;

		if (atomic_load(&span->cpu) != SPAN_CENTRAL) {
			spin_unlock_irqrestore(&central->lock, flags);
			return false;
		}
		half = unlist_span(central, span);
		stays = refresh_span(central, span, half, met);
		if (!stays && may_stay(central, span)) {
			list_span(central, span, half);
			stays = true;
		}
		spin_unlock_irqrestore(&central->lock, flags);
		if (!stays) {
			span_destroy(span);
			return true;
		}
	} while (span_let_go(span));
	return true;
}

/*
 * Nobody's first, looked at then: from here on an NMI of the former owner frees
 * as everybody else does.
 */
bool mcentral_put(struct span *span, struct met *met)
{
	struct mcentral *central = mcentral_of(span);
	unsigned long flags = spin_lock_irqsave(&central->lock);
	bool stays;

	atomic_store(&span->cpu, SPAN_CENTRAL);
	stays = refresh_span(central, span, mcentral_swept(), met);
	spin_unlock_irqrestore(&central->lock, flags);
	return stays;
}

struct span *mcentral_take(struct span_class *class, unsigned cpu)
{
	const struct node_order *order = numa_order(numa_node_of(cpu));
	unsigned budget = MCENTRAL_BUDGET;

	for (unsigned i = 0; i < node_order_size(order); i++) {
		struct mcentral *windows = class->central[node_order_at(order, i)];

		for (unsigned w = MEM_WINDOWS; w-- > 0;) {
			unsigned long flags;
			unsigned half;
			struct span *span = find_span(&windows[w], &budget, &half, &flags);

			if (!span)
				continue;
			atomic_store(&span->cpu, span_owned_by(span, cpu));
			spin_unlock_irqrestore(&windows[w].lock, flags);
			return span;
		}
	}
	return NULL;
}

/* The empty span of these lists, claimed and in none; or NULL. */
static struct span *take_spare_of(struct mcentral *central)
{
	for (unsigned half = 0; half < 2; half++) {
		struct span *span = central->partial[half].last;

		if (span && span_is_empty(span) && span_claim(span)) {
			unlist_span(central, span);
			return span;
		}
	}
	return NULL;
}

void mcentral_flush_spare(void)
{
	for (unsigned i = 0; mcentral_spare_bytes() && i < SPAN_CLASSES; i++)
		for (unsigned w = 0; w < PORT_MAX_NODES * MEM_WINDOWS; w++) {
			struct mcentral *central =
				&kmalloc_classes[i].central[w / MEM_WINDOWS][w % MEM_WINDOWS];
			unsigned long flags;
			struct span *span;

			if (!may_have_free(central))
				continue;
			flags = spin_lock_irqsave(&central->lock);
			span = take_spare_of(central);
			spin_unlock_irqrestore(&central->lock, flags);
			if (span)
				span_destroy(span);
		}
}

/* ---- Requests for a place of their own ---- */

static unsigned highest_window(gfp_t gfp)
{
	if (gfp & GFP_DMA)
		return WINDOW_DMA;
	return gfp & GFP_DMA32 ? WINDOW_DMA32 : WINDOW_HIGH;
}

static void *alloc_listed(struct span_class *class, unsigned node, gfp_t gfp, unsigned *budget)
{
	for (unsigned w = highest_window(gfp) + 1; w-- > 0;) {
		struct mcentral *central = &class->central[node][w];
		unsigned long flags;
		unsigned half;
		struct span *span = find_span(central, budget, &half, &flags);
		void *object;

		if (!span)
			continue;
		object = take_object(span);
		list_span(central, span, half);
		spin_unlock_irqrestore(&central->lock, flags);
		return object;
	}
	return NULL;
}

static void *alloc_fresh(struct span_class *class, gfp_t gfp)
{
	struct span *span = span_create(class, gfp);
	struct mcentral *central = span ? mcentral_of(span) : NULL;
	struct met met = { 0 };
	unsigned long flags;
	void *object;

	if (!span)
		return NULL;
	if (!spin_lock_context(&central->lock, &flags)) {
		span_destroy(span);
		return NULL;
	}
	atomic_store(&span->cpu, SPAN_CENTRAL);
	object = take_object(span);
	list_span(central, span, mcentral_swept());
	spin_unlock_irqrestore(&central->lock, flags);
	if (span_let_go(span)) {
		port_pin();
		mcache_post(span, &met);
		port_unpin();
	}
	if (unlikely(met.object))
		mm_report_misuse(MM_DOUBLE_FREE, met.object, 0, NULL);
	return object;
}

/* A node's own spans before the next node's; nothing is reclaimed for that. */
static void *alloc_by_nodes(struct span_class *class, gfp_t gfp)
{
	const struct node_order *order = numa_order(gfp_node(gfp));
	unsigned budget = MCENTRAL_BUDGET;

	for (unsigned i = 0; i < node_order_size(order); i++) {
		unsigned node = node_order_at(order, i);
		void *object;

		if (gfp & __GFP_THISNODE && node != gfp_node(gfp))
			continue;
		object = alloc_listed(class, node, gfp, &budget);
		if (!object)
			object = alloc_fresh(class, gfp_for_node(gfp & ~__GFP_RECLAIM, node) |
							    __GFP_THISNODE);
		if (object)
			return object;
	}
	return alloc_fresh(class, gfp);
}

void *mcentral_alloc(struct span_class *class, gfp_t gfp)
{
	void *object = alloc_by_nodes(class, gfp);

	if (object)
		(void)atomic_fetch_add(&allocs, 1);
	return object;
}
