// SPDX-License-Identifier: MIT
/*
 * Hiding the object caches: while failures are injected the CPUs' slots hold the
 * empty cache, so that every request goes the long way. Each CPU puts its own
 * back when it goes there and nothing is armed any more.
 */
#include "mm/fault.h"
#include "mm/mcache.h"

static void hide_own(void *unused)
{
	(void)unused;
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
		port_cache_set((enum mm_context)c, (struct mcache *)&empty_mcache);
}

void mcache_unhide(struct cpu_heap *heap)
{
	if (likely(port_cache() == heap->mcache[port_context()]) ||
	    atomic_load_relaxed(&mm_fail_armed))
		return;
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
		port_cache_set((enum mm_context)c, heap->mcache[c]);
	/* Who arms sets mm_fail_armed first and hides then. */
	if (atomic_load(&mm_fail_armed))
		hide_own(NULL);
}

void mcache_hide(void)
{
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++) {
		if (!mcache_heap(cpu)->mcache[MM_TASK])
			continue;
		if (cpu == port_cpu())
			hide_own(NULL);
		else if (port_context() == MM_TASK)
			(void)port_run_on(cpu, MM_IRQ, hide_own, NULL);
	}
}
