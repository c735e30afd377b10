// SPDX-License-Identifier: MIT
/*
 * Too many empty spans. A task that empties one too many ends it at once; an
 * interrupt or NMI cannot, since it may have cut into a free in that very span. So
 * they leave more than there may be, and the CPU's next task that comes through a
 * slow path ends them here.
 */
#include "mm/kmem_cache.h"
#include "mm/mcache.h"
#include "mm/tiny.h"

/* The first empty span of a list that can be had; it is claimed and off its list. */
static struct span *take_spare(struct cpu_heap *heap, const struct span_list *list)
{
	for (struct span *span = list->first; span; span = span->next)
		if (span_is_spare(span) && span_claim(span)) {
			mcache_unlist(heap, span);
			return span;
		}
	return NULL;
}

/* End those of a list. Return: is it enough? */
static bool shed_list(struct cpu_heap *heap, const struct span_list *list)
{
	while (mcache_must_shed(heap)) {
		unsigned long flags = spin_lock_irqsave(&heap->lock);
		struct span *span = take_spare(heap, list);

		spin_unlock_irqrestore(&heap->lock, flags);
		if (!span)
			return false;
		span_destroy(span);
	}
	return true;
}

bool mcache_shed_class(struct span_class *class)
{
	struct cpu_heap *heap;
	bool done = false;

	port_pin();
	heap = mcache_heap(port_cpu());
	if (class->cpu[port_cpu()])
		done = shed_list(heap, &class->cpu[port_cpu()]->partial);
	port_unpin();
	return done;
}

void mcache_shed(void)
{
	struct cpu_heap *heap;
	bool done = false;

	port_pin();
	heap = mcache_heap(port_cpu());
	for (unsigned i = SPAN_CLASSES; i-- > 0 && !done;)
		done = heap->partial[i].first && shed_list(heap, &heap->partial[i]);
	port_unpin();
	if (!done && !mcache_shed_class(&tiny_class))
		kmem_cache_shed();
}
