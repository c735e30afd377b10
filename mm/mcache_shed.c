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

/* The last empty span of a list that can be had; it is claimed and off its list. */
static struct span *take_spare(struct cpu_heap *heap, const struct span_list *list)
{
	for (struct span *span = list->last; span && span_is_spare(span); span = span->prev)
		if (span_claim(span)) {
			mcache_unlist(heap, span);
			return span;
		}
	return NULL;
}

/* End those of a list until @limit bytes are left. Return: is it enough? */
static bool shed_list(struct cpu_heap *heap, const struct span_list *list, size_t limit)
{
	while (atomic_load_relaxed(&heap->spare_bytes) > limit) {
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
		done = shed_list(heap, &class->cpu[port_cpu()]->partial,
				 atomic_load_relaxed(&retention.spare));
	port_unpin();
	return done;
}

/* Of kmalloc's classes. Return: is it enough? */
static bool shed_to(size_t limit)
{
	struct cpu_heap *heap;
	bool done = false;

	port_pin();
	heap = mcache_heap(port_cpu());
	for (unsigned i = SPAN_CLASSES; i-- > 0 && !done;)
		done = heap->partial[i].first && shed_list(heap, &heap->partial[i], limit);
	port_unpin();
	return done;
}

void mcache_shed(void)
{
	if (!shed_to(atomic_load_relaxed(&retention.spare)) && !mcache_shed_class(&tiny_class))
		kmem_cache_shed();
}

void mcache_make_room(void)
{
	size_t low = atomic_load_relaxed(&retention.spare_low);
	size_t spare = atomic_load_relaxed(&mcache_heap(port_cpu())->spare_bytes);

	if (unlikely(spare > low) && port_context() == MM_TASK)
		(void)shed_to(low + (spare - low) / 2);
}

void mcache_trim(void)
{
	(void)shed_to(atomic_load_relaxed(&retention.spare_low));
}
