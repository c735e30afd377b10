// SPDX-License-Identifier: MIT
/*
 * Defaults for what a machine lacks: the ordinary functions of <spanheap/port.h>,
 * each of which a port replaces by defining it.
 *
 *	no MMU		memory is there from the start and stays: port_map(),
 *			port_unmap(), port_join(), port_flush(), port_discard()
 *	one CPU		port_run_on()
 *	no console	port_log()
 *	no counter	port_clock()
 *	no caches	port_flush_objects()
 *
 * A port that has the thing and forgot the function is told so: a state that is
 * not enforced and a CPU whose caches nobody empties go wrong much later.
 */
#include <spanheap/port.h>

#include "lib/atomic.h"
#include "lib/bits.h"

#define weak __attribute__((weak))

static void lacks_no_mmu(const char *why)
{
	if (PORT_HAS_MMU)
		port_panic(why);
}

weak int port_map(uintptr_t va, phys_addr_t pa, size_t size, unsigned prot, struct port_pool *pool)
{
	(void)va, (void)pa, (void)size, (void)prot, (void)pool;
	lacks_no_mmu("the port has an MMU but no port_map()");
	return 0;
}

weak int port_unmap(uintptr_t va, size_t size, struct port_pool *pool)
{
	(void)va, (void)size, (void)pool;
	lacks_no_mmu("the port has an MMU but no port_unmap()");
	return 0;
}

weak bool port_join(uintptr_t va, void **table)
{
	(void)va;
	*table = NULL;
	return false;
}

weak void port_flush(uintptr_t va, size_t size)
{
	(void)va, (void)size;
	lacks_no_mmu("the port has an MMU but no port_flush()");
}

weak bool port_discard(phys_addr_t pa, uint64_t size)
{
	(void)pa, (void)size;
	return false;
}

/* Where there is one CPU and no NMI, masked interrupts are as good as an interrupt. */
weak int port_run_on(unsigned cpu, enum mm_context context, void (*fn)(void *), void *arg)
{
	unsigned long flags = 0;

	if (PORT_POSSIBLE_CPUS > 1)
		port_panic("the port has several CPUs but no port_run_on()");
	if (cpu != port_cpu())
		return -ENOENT;
	if (context != MM_TASK)
		flags = port_irq_save();
	fn(arg);
	if (context != MM_TASK)
		port_irq_restore(flags);
	return 0;
}

weak void port_flush_objects(void)
{
}

weak uint64_t port_clock(void)
{
	static uint64_t ticks;

	return atomic_fetch_add(&ticks, 1) + 1;
}

weak void port_log(const char *line)
{
	(void)line;
}
