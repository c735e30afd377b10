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

	span->window = free ? &window_listed : &window_unlisted;
	span_list_add(free ? &central->partial : &central->full, span);
}

static void unlist_span(struct mcentral *central, struct span *span)
{
	span_list_del(span->window == &window_listed ? &central->partial : &central->full, span);
}

static bool has_remote(struct span *span)
{
	const uint64_t *remote = span_remote(span);

	for (unsigned w = 0; w < span->nwords; w++)
		if (atomic_load(&remote[w]))
			return true;
	return false;
}

/* Let go of the claim. True if it was taken again, for frees that came meanwhile. */
static bool let_go(struct span *span)
{
	struct span *unclaimed = NULL;

	(void)atomic_xchg(&span->inbox_next, NULL);
	return has_remote(span) && atomic_cas(&span->inbox_next, &unclaimed, SPAN_CLAIMED);
}

bool mcentral_settle(struct span *span)
{
	struct mcentral *central = mcentral_of(span);

	do {
		unsigned long flags = spin_lock_irqsave(&central->lock);
		bool empty;

		if (atomic_load(&span->cpu) != SPAN_CENTRAL) {
			spin_unlock_irqrestore(&central->lock, flags);
			return false;
		}
		unlist_span(central, span);
		span_fold_remote(span);
		empty = span_is_empty(span);
		if (!empty)
			list_span(central, span);
		spin_unlock_irqrestore(&central->lock, flags);
		if (empty) {
			span_destroy(span);
			return true;
		}
	} while (let_go(span));
	return true;
}

void mcentral_put(struct span *span)
{
	struct mcentral *central = mcentral_of(span);
	unsigned long flags = spin_lock_irqsave(&central->lock);

	list_span(central, span);
	atomic_store(&span->cpu, SPAN_CENTRAL);
	spin_unlock_irqrestore(&central->lock, flags);
	(void)mcentral_settle(span);
}

static struct span *take_from(struct mcentral *central, unsigned cpu)
{
	struct span *span = NULL;

	if (!atomic_load_relaxed(&central->partial.first))
		return NULL;
	spin_lock(&central->lock);
	span = central->partial.first;
	if (span) {
		span_list_del(&central->partial, span);
		atomic_store(&span->cpu, cpu);
	}
	spin_unlock(&central->lock);
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
