// SPDX-License-Identifier: MIT
/*
 * The rest of the port: flushing, and what has no file of its own.
 */
#include <kernel/arch.h>
#include <kernel/sched.h>
#include <kernel/task.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/call.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/trap.h"
#include "arch/x86_64/x86.h"
#include "lib/bits.h"

/* From so many pages on, forgetting everything is cheaper than forgetting each. */
#define FLUSH_PAGES_MAX 64

#define SLICE_US 1000

struct flush_range {
	uintptr_t va;
	size_t size;
};

static bool (*discard)(phys_addr_t pa, uint64_t size);

/*
 * No entry is global and there is one address space: loading CR3 forgets all.
 * invlpg also forgets what the CPU remembers of the tables above the leaf.
 */
static void flush_self(void *arg)
{
	const struct flush_range *r = arg;

	if (r->size > FLUSH_PAGES_MAX * FRAME_SIZE) {
		write_cr3(read_cr3());
		return;
	}
	for (size_t at = 0; at < r->size; at += FRAME_SIZE)
		invlpg(r->va + at);
}

void port_flush(uintptr_t va, size_t size)
{
	struct flush_range range = { va, size };

	flush_self(&range);
	if (cpu_count() > 1)
		call_others(flush_self, &range);
}

void arch_set_discard(bool (*fn)(phys_addr_t pa, uint64_t size))
{
	atomic_store(&discard, fn);
}

bool port_discard(phys_addr_t pa, uint64_t size)
{
	bool (*fn)(phys_addr_t, uint64_t) = atomic_load(&discard);

	return fn && fn(pa, size);
}

bool arch_may_switch(void)
{
	return port_context() == MM_TASK && irqs_enabled() && !port_cpu_self()->pinned;
}

void arch_irq_enable(void)
{
	irqoff_end();
	irq_enable();
}

void arch_irq_disable(void)
{
	irq_disable();
	irqoff_begin();
}

void arch_wait(void)
{
	irqoff_end();
	irq_enable_and_halt();
	arch_irq_disable();
}

void arch_sleep_us(uint64_t us)
{
	uint64_t now = clock_us(), end = now + us;

	for (; now < end; now = clock_us()) {
		task_yield();
		arch_irq_disable();
		if (apic_ready() && !atomic_load_relaxed(&sched_queue_self()->head) &&
		    !arch_task_calls_pending()) {
			apic_timer(end - now);
			arch_wait();
		}
		arch_irq_enable();
	}
}

#ifdef CONFIG_PREEMPT
void port_unpin_slow(void)
{
	unsigned long flags;

	if (!arch_may_switch())
		return;
	flags = port_irq_save();
	port_cpu_self()->resched = 0;
	sched_preempt();
	port_irq_restore(flags);
}

void arch_slice(bool on)
{
	if (apic_ready())
		apic_timer(on ? SLICE_US : 0);
}
#else
void arch_slice(bool on)
{
	(void)on;
}
#endif

uintptr_t arch_new_flow(uintptr_t stack_top, void (*fn)(void))
{
	/* From the top: no return address, fn, the six registers of arch_switch(). */
	uint64_t *sp = (uint64_t *)stack_top;

	*--sp = 0;
	*--sp = (uint64_t)fn;
	for (unsigned i = 0; i < 6; i++)
		*--sp = 0;
	return (uintptr_t)sp;
}

uint64_t irqoff_max(uintptr_t *where)
{
	const struct port_cpu *longest = NULL;

	for (unsigned i = 0; i < cpu_count(); i++) {
		const struct port_cpu *cpu = &cpu_by_number(i)->port;

		if (!longest || cpu->irqoff_max > longest->irqoff_max)
			longest = cpu;
	}
	if (where)
		*where = longest->irqoff_max_ip;
	return longest->irqoff_max;
}

void irqoff_reset(void)
{
	for (unsigned i = 0; i < cpu_count(); i++)
		cpu_by_number(i)->port.irqoff_max = 0;
}
