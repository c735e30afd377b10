// SPDX-License-Identifier: MIT
/* Central lists; see mcentral.h, and mcache.h on handing over. */
#include "mm/mcentral.h"
#include "mm/numa.h"

struct mcentral *mcentral_of(const struct span *span)
{
	const struct chunk *chunk = chunk_find(&main_map.index, span->base);

	return &span->class->central[chunk->node];
}

static void list_span(struct mcentral *central, struct span *span)
{
	bool free = span_has_free(span);

	atomic_store(&span->window, free ? &window_listed : &window_unlisted);
	span_list_add(free ? &central->partial : &central->full, span);
}

static void unlist_span(struct mcentral *central, struct span *span)
{
	span_list_del(span_is_listed(span) ? &central->partial : &central->full, span);
}

/* Fold in what was freed; list it, unless it is empty. central->lock is held. */
static bool refresh_span(struct mcentral *central, struct span *span, struct met *met)
{
	span_fold_remote(span, met);
	if (span_is_empty(span))
		return false;
	list_span(central, span);
	return true;
}

bool mcentral_settle(struct span *span, struct met *met)
{
	do {
		/* Between claims the structure may have become another span. */
		struct mcentral *central = mcentral_of(span);
		unsigned long flags = spin_lock_irqsave(&central->lock);
		bool stays;

		if (atomic_load(&span->cpu) != SPAN_CENTRAL) {
			spin_unlock_irqrestore(&central->lock, flags);
			return false;
		}
		unlist_span(central, span);
		stays = refresh_span(central, span, met);
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
	stays = refresh_span(central, span, met);
	spin_unlock_irqrestore(&central->lock, flags);
	return stays;
}

static struct span *take_from(struct mcentral *central, unsigned cpu)
{
	struct span *span = NULL;
	unsigned long flags;

	if (!atomic_load_relaxed(&central->partial.first) ||
	    !spin_lock_context(&central->lock, &flags))
		return NULL;
	span = central->partial.first;
	if (span) {
		span_list_del(&central->partial, span);
		atomic_store(&span->cpu, span_owned_by(span, cpu));
	}
	spin_unlock_irqrestore(&central->lock, flags);
	return span;
}

struct span *mcentral_take(struct span_class *class, unsigned cpu)
{
	const struct node_order *order = numa_order(numa_node_of(cpu));

	for (unsigned i = 0; i < order->n; i++) {
		struct span *span = take_from(&class->central[order->node[i]], cpu);

		if (span)
			return span;
	}
	return NULL;
}
