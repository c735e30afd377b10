// SPDX-License-Identifier: MIT
/*
 * The floors of the house, put up from the ground:
 *
 *	memblock ─► metadata pools ─► memory map ─► page heaps
 *
 * Nothing here depends on how much RAM there is, only on how many ranges it
 * comes in: no frame is touched, and only the first metadata is mapped.
 */
#include <spanheap/boot.h>
#include <spanheap/page.h>

#include "mm/addrstate.h"
#include "mm/fault.h"
#include "mm/kmem_cache.h"
#include "mm/log.h"
#include "mm/mcache.h"
#include "mm/numa.h"
#include "mm/pagecache.h"
#include "mm/pageheap.h"
#include "mm/pagemap.h"
#include "mm/medium.h"
#include "mm/metaframe.h"
#include "mm/pressure.h"
#include "mm/retention.h"
#include "mm/tiny.h"

/* Enough for a GiB of frames in use; more is claimed when that is used up. */
#define FIRST_METADATA (128UL << 10)

static bool initialised;

/* Metadata memory is not zeroed here: each record is when it is made. */
static bool feed_first(unsigned node)
{
	void *first = memblock_map_in(&boot_memblock, FIRST_METADATA, FRAME_SIZE, (int)node);

	if (first)
		meta_feed(&main_map.pool[node], first, FIRST_METADATA);
	return first;
}

static uint64_t nodes_of_ram(void)
{
	uint64_t present = 0;

	for (size_t i = 0; i < boot_memblock.memory.n; i++)
		present |= 1ULL << boot_memblock.memory.r[i].node;
	return present;
}

static void hide_caches(void)
{
	pagecache_hide();
	mcache_hide();
	kmem_cache_divert();
}

int mm_init(void)
{
	static struct mem_range ranges[MEMMAP_MAX_RANGES];
	uint64_t present = nodes_of_ram();
	bool any = false;
	int n;

	if (initialised)
		return -EBUSY;
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		if (present >> node & 1)
			any |= feed_first(node);
	if (!any) {
		mm_log("mm_init: no %lu KiB of RAM for the first metadata", FIRST_METADATA >> 10);
		return -ENOMEM;
	}
	n = memblock_close(&boot_memblock, ranges, MEMMAP_MAX_RANGES);
	if (n < 0)
		return n;
	n = memmap_init(&main_map, ranges, (size_t)n);
	if (n)
		return n;
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		pageheap_init(&main_heap[node], &main_map, node);
	numa_init(present);
	pressure_init();
	pagemap_init();
	pagecache_init_none();
	mcache_init();
	tiny_init();
	mm_fail_hide = hide_caches;
	page_reclaim_more = retention_reclaim;
	initialised = true;
	return 0;
}

int mm_init_cpu(void)
{
	int err;

	if (!initialised || port_cpu() >= PORT_MAX_CPUS)
		return -EINVAL;
	err = pagecache_init_cpu();
	if (err)
		return err;
	mcache_init_cpu();
	retention_count_cpu(true);
	return 0;
}

void mm_exit_cpu(void)
{
	tiny_flush_cpu();
	kmem_cache_flush_cpu();
	mcache_exit_cpu();
	medium_flush_cpu();
	retention_count_cpu(false);
	pagecache_exit_cpu();
}
