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

uint64_t mcache_allocs(const struct mcache *mcache)
{
	uint64_t allocs = mcache->reloaded;

	for (unsigned i = 0; i < SPAN_CLASSES; i++) {
		const struct window *window = &mcache->window[i];

		if (kmalloc_classes[i].stack_window)
			allocs += window->pushed - stack_size(window);
		else
			allocs -= popcount64(window_bits(window));
	}
	return allocs;
}

static uint64_t stacked_in(const struct mcache *mcache)
{
	uint64_t bytes = 0;

	for (unsigned i = STACK_FIRST; i < SPAN_CLASSES; i++)
		bytes += stack_size(&mcache->window[i]) * kmalloc_classes[i].size;
	return bytes;
}

/* Of all caches of a CPU, which may not go meanwhile. */
static uint64_t sum_caches(unsigned cpu, uint64_t (*fn)(const struct mcache *mcache))
{
	struct cpu_heap *heap = mcache_heap(cpu);
	unsigned long flags;
	uint64_t sum = 0;

	/* Most CPUs that there could be were never started. */
	if (!atomic_load(&heap->mcache[MM_TASK]))
		return 0;
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++) {
		flags = spin_lock_irqsave(&heap->lock);
		sum += fn(atomic_load(&heap->mcache[c]));
		spin_unlock_irqrestore(&heap->lock, flags);
	}
	return sum;
}

size_t mcache_stacked(unsigned cpu)
{
	return sum_caches(cpu, stacked_in);
}

void mcache_count(struct mcache_counts *counts)
{
	*counts = (struct mcache_counts){ 0 };
	span_for_each(count_span, counts);
	for (unsigned cpu = 0; cpu < PORT_SEEN_CPUS; cpu++)
		counts->allocs += atomic_load_relaxed(&mcache_heap(cpu)->loaded) +
				  sum_caches(cpu, mcache_allocs);
}
