// SPDX-License-Identifier: MIT
/* What the object caches have handed out, from windows, stacks and spans. */
#include "mm/mcache.h"
#include "mm/tiny.h"

static void count_span(struct span *span, void *arg)
{
	struct mcache_counts *counts = arg;
	uint64_t live = 0;

	if (!span->class) {
		if (atomic_load(&span->cpu) != SPAN_LARGE)
			return;
		counts->live++;
		counts->live_bytes += span->size * PAGE_SIZE;
		return;
	}
	if (span->class == &tiny_class) {
		tiny_count(span, &counts->live, &counts->live_bytes);
		return;
	}
	for (unsigned w = 0; w < span->nwords; w++)
		live += popcount64(span_word_live(span, w));
	counts->live += live;
	counts->live_bytes += live * span->size;
}

void mcache_count(struct mcache_counts *counts)
{
	*counts = (struct mcache_counts){ 0 };
	span_for_each(count_span, counts);
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++) {
		const struct cpu_heap *heap = mcache_heap(cpu);

		counts->allocs += heap->loaded;
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
			for (unsigned i = 0; heap->mcache[c] && i < SPAN_CLASSES; i++)
				counts->allocs -= popcount64(heap->mcache[c]->window[i].bits);
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
			for (unsigned i = 0; heap->mcache[c] && i < STACK_CLASSES; i++)
				counts->allocs += heap->mcache[c]->stack[i].pushed -
						  heap->mcache[c]->stack[i].n;
	}
}
