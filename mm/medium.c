// SPDX-License-Identifier: MIT
/* Medium objects; see medium.h for the picture. */
#include <spanheap/page.h>

#include "mm/fault.h"
#include "mm/log.h"
#include "mm/medium.h"
#include "mm/numa.h"
#include "mm/pageheap.h"
#include "mm/retention.h"

#define CPU_SLOTS 8
#define NR_LISTS (MEDIUM_MAX_PAGES - MEDIUM_MIN_PAGES + 1)
#define NR_WORDS ((NR_LISTS + 63) / 64)

/*
 * The last ones freed on a CPU, the oldest first. Its own, interrupts off; of @bytes
 * others take a look, as a hint.
 */
struct cpu_runs {
	struct span *slot[CPU_SLOTS];
	unsigned n;
	size_t bytes;
} cacheline_aligned;

/*
 * @filled: a bit for each list that is not empty; @turn: the next one to lose a run.
 * All under @lock; @filled and @bytes are looked at without it, as hints.
 */
struct node_runs {
	struct spinlock lock;
	unsigned turn;
	size_t bytes;
	uint64_t filled[NR_WORDS];
	struct span_list list[NR_LISTS];
} cacheline_aligned;

static struct cpu_runs cpu_runs[PORT_MAX_CPUS];
static struct node_runs node_runs[PORT_MAX_NODES];

static size_t run_bytes(const struct span *span)
{
	return span->size * PAGE_SIZE;
}

static bool run_fits(const struct span *span, size_t npages, size_t align)
{
	return span->size == npages && !(span->base & (align - 1));
}

/* ---- The running CPU's; interrupts are off ---- */

static struct span *remove_slot(struct cpu_runs *own, unsigned i)
{
	struct span *span = own->slot[i];

	atomic_store_relaxed(&own->bytes, own->bytes - run_bytes(span));
	for (own->n--; i < own->n; i++)
		own->slot[i] = own->slot[i + 1];
	return span;
}

/* The last one that fits, for it is the likeliest to be in the CPU's caches. */
static struct span *take_slot(struct cpu_runs *own, size_t npages, size_t align)
{
	for (unsigned i = own->n; i-- > 0;)
		if (run_fits(own->slot[i], npages, align))
			return remove_slot(own, i);
	return NULL;
}

/* ---- A node's; its lock is held ---- */

static void list_run(struct node_runs *node, struct span *span)
{
	unsigned i = span->size - MEDIUM_MIN_PAGES;

	span_list_add(&node->list[i], span);
	atomic_store_relaxed(&node->filled[i / 64], node->filled[i / 64] | 1ULL << i % 64);
	atomic_store_relaxed(&node->bytes, node->bytes + run_bytes(span));
}

static void unlist_run(struct node_runs *node, struct span *span)
{
	unsigned i = span->size - MEDIUM_MIN_PAGES;

	span_list_del(&node->list[i], span);
	if (!node->list[i].first)
		atomic_store_relaxed(&node->filled[i / 64],
				     node->filled[i / 64] & ~(1ULL << i % 64));
	atomic_store_relaxed(&node->bytes, node->bytes - run_bytes(span));
}

/* A run of the list whose turn it is, or of the next that has any; NULL: none has. */
static struct span *evict(struct node_runs *node)
{
	for (unsigned i = 0; node->bytes && i < NR_LISTS; i++) {
		struct span *span = node->list[node->turn].first;

		node->turn = (node->turn + 1) % NR_LISTS;
		if (!span)
			continue;
		unlist_run(node, span);
		return span;
	}
	return NULL;
}

/* ---- Both ---- */

static struct node_runs *node_of_run(const struct span *span)
{
	return &node_runs[chunk_find(&main_map.index, span->base)->node];
}

static struct span *take_from_node(struct node_runs *node, size_t npages, size_t align)
{
	unsigned i = (unsigned)npages - MEDIUM_MIN_PAGES;
	struct span *span;
	unsigned long flags;

	if (!(atomic_load_relaxed(&node->filled[i / 64]) >> i % 64 & 1))
		return NULL;
	flags = spin_lock_irqsave(&node->lock);
	for (span = node->list[i].first; span && !run_fits(span, npages, align);)
		span = span->next;
	if (span)
		unlist_run(node, span);
	spin_unlock_irqrestore(&node->lock, flags);
	return span;
}

/* To its node; what is too much there, to the page heap. */
static void give_to_node(struct span *span)
{
	struct node_runs *node = node_of_run(span);
	unsigned long flags = spin_lock_irqsave(&node->lock);

	list_run(node, span);
	while (node->bytes > atomic_load_relaxed(&retention.medium_node)) {
		span = evict(node);
		spin_unlock_irqrestore(&node->lock, flags);
		span_destroy(span);
		flags = spin_lock_irqsave(&node->lock);
	}
	spin_unlock_irqrestore(&node->lock, flags);
}

struct span *medium_take(size_t npages, size_t align)
{
	const struct node_order *order;
	struct span *span;
	unsigned long flags;

	/* While failures are injected nothing stands in for the page heap. */
	if (npages < MEDIUM_MIN_PAGES || npages > MEDIUM_MAX_PAGES || port_context() == MM_NMI ||
	    unlikely(atomic_load_relaxed(&mm_fail_armed)))
		return NULL;
	flags = port_irq_save();
	span = take_slot(&cpu_runs[port_cpu()], npages, align);
	order = numa_order(numa_node_of(port_cpu()));
	port_irq_restore(flags);
	if (!span && node_order_size(order))
		span = take_from_node(&node_runs[node_order_at(order, 0)], npages, align);
	if (span)
		atomic_store(&span->cpu, SPAN_LARGE);
	return span;
}

static bool may_wait_here(const struct span *span)
{
	return span->size >= MEDIUM_MIN_PAGES && span->size <= MEDIUM_MAX_PAGES &&
	       span->base >= window_start(WINDOW_DMA32) << FRAME_SHIFT && port_context() != MM_NMI;
}

void medium_give(struct span *span)
{
	struct span *over[CPU_SLOTS + 1];
	struct cpu_runs *own;
	unsigned long flags;
	unsigned n = 0;

	if (!may_wait_here(span)) {
		span_destroy(span);
		return;
	}
	flags = port_irq_save();
	own = &cpu_runs[port_cpu()];
	if (own->n == CPU_SLOTS)
		over[n++] = remove_slot(own, 0);
	own->slot[own->n++] = span;
	atomic_store_relaxed(&own->bytes, own->bytes + run_bytes(span));
	while (own->bytes > atomic_load_relaxed(&retention.medium_cpu))
		over[n++] = remove_slot(own, 0);
	port_irq_restore(flags);
	while (n)
		give_to_node(over[--n]);
}

void medium_flush_cpu(void)
{
	struct cpu_runs had;
	struct cpu_runs *own;
	unsigned long flags = port_irq_save();

	own = &cpu_runs[port_cpu()];
	had = *own;
	own->n = 0;
	atomic_store_relaxed(&own->bytes, 0);
	port_irq_restore(flags);
	while (had.n)
		span_destroy(had.slot[--had.n]);
}

void medium_flush_nodes(void)
{
	for (unsigned i = 0; i < PORT_MAX_NODES; i++)
		for (struct node_runs *node = &node_runs[i]; node;) {
			unsigned long flags = spin_lock_irqsave(&node->lock);
			struct span *span = evict(node);

			spin_unlock_irqrestore(&node->lock, flags);
			if (!span)
				break;
			span_destroy(span);
		}
}

uint64_t medium_bytes_of(unsigned cpu)
{
	return atomic_load_relaxed(&cpu_runs[cpu].bytes);
}

uint64_t medium_bytes(void)
{
	uint64_t bytes = 0;

	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		bytes += medium_bytes_of(cpu);
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		bytes += atomic_load_relaxed(&node_runs[node].bytes);
	return bytes;
}

void medium_for_each(void (*fn)(struct span *span, void *arg), void *arg)
{
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		for (unsigned i = 0; i < cpu_runs[cpu].n; i++)
			fn(cpu_runs[cpu].slot[i], arg);
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		for (unsigned i = 0; i < NR_LISTS; i++)
			for (struct span *s = node_runs[node].list[i].first; s; s = s->next)
				fn(s, arg);
}

static void add_run_bytes(struct span *span, void *arg)
{
	*(uint64_t *)arg += run_bytes(span);
}

unsigned medium_check(void)
{
	uint64_t bytes = 0;

	medium_for_each(add_run_bytes, &bytes);
	if (bytes == medium_bytes())
		return 0;
	mm_log("medium runs: %llu bytes wait, %llu counted", (unsigned long long)bytes,
	       (unsigned long long)medium_bytes());
	return 1;
}
