// SPDX-License-Identifier: MIT
/* What caches may keep, and what they do; see retention.h. */
#include "lib/spinlock.h"
#include "mm/asking.h"
#include "mm/kmem_cache.h"
#include "mm/mcache.h"
#include "mm/mcentral.h"
#include "mm/medium.h"
#include "mm/memmap.h"
#include "mm/numa.h"
#include "mm/pagecache.h"
#include "mm/retention.h"
#include "mm/tiny.h"

#define SPARE_SHARE 512
#define SPARE_MAX (512UL << 10)
#define MEDIUM_CPU_SHARE 512
#define MEDIUM_NODE_SHARE 256
#define OWNED_SHARE 64

#define PARTS(share) (1024 / (share))
static_assert(PARTS(RETENTION_FRAMES) + PARTS(SPARE_SHARE) + PARTS(MEDIUM_CPU_SHARE) +
			      PARTS(MEDIUM_NODE_SHARE) <= PARTS(RETENTION_ALL),
	      "the parts are no more than the whole");

struct retention retention;

/* Who changes limits, and these two, has the lock. Taken with no other lock held. */
static struct spinlock update_lock;
static bool counted[PORT_MAX_CPUS];
static unsigned nr_cpus, cpus_end = 1;

static uint64_t ram_bytes(void)
{
	struct ram_range r;
	uint64_t bytes = 0;

	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size)
		if (r.use == MEM_USE_FREE)
			bytes += r.size;
	return bytes;
}

/* update_lock is held. */
static void share_out(void)
{
	uint64_t ram = ram_bytes();
	unsigned cpus = MAX(nr_cpus, 1U), nodes = MAX(node_order_size(numa_order(0)), 1U);

	/* The central lists have a CPU's share. */
	atomic_store_relaxed(&retention.spare, MIN(ram / SPARE_SHARE / (cpus + 1), SPARE_MAX));
	atomic_store_relaxed(&retention.spare_low, retention.spare);
	atomic_store_relaxed(&retention.medium_cpu, ram / MEDIUM_CPU_SHARE / cpus);
	atomic_store_relaxed(&retention.medium_node, ram / MEDIUM_NODE_SHARE / nodes);
	atomic_store_relaxed(&retention.owned, ram / OWNED_SHARE / cpus);
}

void retention_update(void)
{
	unsigned long flags = spin_lock_irqsave(&update_lock);

	share_out();
	spin_unlock_irqrestore(&update_lock, flags);
}

void retention_count_cpu(bool counts)
{
	unsigned long flags = spin_lock_irqsave(&update_lock);
	bool *was = &counted[port_cpu()];

	nr_cpus = nr_cpus + counts - *was;
	*was = counts;
	if (counts)
		atomic_store_relaxed(&cpus_end, MAX(cpus_end, port_cpu() + 1));
	share_out();
	spin_unlock_irqrestore(&update_lock, flags);
}

unsigned retention_cpus(void)
{
	return atomic_load_relaxed(&cpus_end);
}

void retention_flush_cpu(void)
{
	port_flush_objects();
	tiny_flush_cpu();
	kmem_cache_flush_cpu();
	mcache_flush();
	medium_flush_cpu();
}

static void flush_runs(void *unused)
{
	(void)unused;
	medium_flush_cpu();
}

static uint64_t free_frames(void)
{
	uint64_t n = 0;

	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		n += atomic_load_relaxed(&main_heap[node].frames_free) +
		     pagecache_sum(&main_heap[node]).frames;
	return n;
}

bool retention_reclaim(void)
{
	uint64_t before = free_frames();

	retention_flush_cpu();
	asking_all();
	/* Runs are kept with interrupts off, so that an interrupt may take them all. */
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		if (cpu != port_cpu() && medium_bytes_of(cpu))
			(void)port_run_on(cpu, MM_IRQ, flush_runs, NULL);
	medium_flush_nodes();
	mcentral_flush_spare();
	return free_frames() > before;
}

void retention_sum(struct retained *sum)
{
	*sum = (struct retained){ .medium = medium_bytes(), .limit = ram_bytes() / RETENTION_ALL };
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++) {
		size_t spare = atomic_load_relaxed(&mcache_heap(cpu)->spare_bytes);

		sum->spare += spare;
		sum->owned += MAX(mcache_owned(mcache_heap(cpu)), spare) - spare;
	}
	sum->spare += mcentral_spare_bytes();
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		sum->frames += pagecache_sum(&main_heap[node]).frames << FRAME_SHIFT;
}
