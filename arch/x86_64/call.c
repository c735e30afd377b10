// SPDX-License-Identifier: MIT
/*
 * Cross-CPU calls.
 *
 *	caller: push a link onto a list of the called CPU, interrupt it, wait
 *	called: take the whole list, run each, count down
 *
 *	context	  what makes the called CPU look at its list
 *	MM_IRQ	  an interrupt
 *	MM_NMI	  a non-maskable one; two that come together are one, which is no
 *		  loss: whoever runs takes all that is there
 *	MM_TASK	  an interrupt ends its sleep; the scheduler looks between tasks, and
 *		  the interrupt itself when the running one can be preempted (PREEMPT)
 *		  or is in none of the code that would pin it (trap.c)
 *
 * The links are on the caller's stack: no memory, no limit. Lists are lock-free:
 * pushed by compare and exchange, taken whole by one exchange, so that nothing is
 * ever removed from the middle (no ABA) and an NMI may come at any point.
 *
 * So a task that neither yields nor ends holds nobody up. Where the interrupt finds
 * it is chance: the caller sends another every now and then.
 *
 * No deadlock: the caller waits with interrupts on, so it serves calls in
 * interrupts and NMIs while it waits; waiting for a call in task context it lets
 * other tasks run, and does what others want done in task context.
 */
#include <spanheap/pressure.h>

#include <kernel/arch.h>
#include <kernel/sched.h>
#include <kernel/task.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/call.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/trap.h"

#define KICK_US 50

/* One call, perhaps of several CPUs. */
struct call {
	void (*fn)(void *arg);
	void *arg;
	uint32_t pending;
};

/* Its place in the list of one of them. */
struct call_link {
	struct call_link *next;
	struct call *call;
};

static void call_push(struct cpu *cpu, enum mm_context context, struct call_link *link)
{
	struct call_link *head = atomic_load_relaxed(&cpu->calls[context]);

	do
		link->next = head;
	while (!atomic_cas(&cpu->calls[context], &head, link));

	if (context == MM_NMI)
		apic_send_nmi(cpu->apic_id);
	else
		apic_send(cpu->apic_id, context == MM_IRQ ? VECTOR_CALL : VECTOR_KICK);
}

void call_run(enum mm_context context)
{
	struct call_link *link = NULL, *next;
	struct cpu *cpu = cpu_self();

	if (call_pending(context))
		link = atomic_xchg(&cpu->calls[context], link);
	for (; link; link = next) {
		struct call *call = link->call;

		next = link->next;
		call->fn(call->arg);
		/* From here on the caller's stack may be gone. */
		atomic_fetch_sub(&call->pending, 1);
	}
}

bool call_pending(enum mm_context context)
{
	return atomic_load_relaxed(&cpu_self()->calls[context]);
}

void call_others(void (*fn)(void *), void *arg)
{
	struct call_link link[PORT_MAX_CPUS];
	struct call call = { .fn = fn, .arg = arg };
	unsigned n = cpu_count(), self = port_cpu();

	/* CPUs that come later start with what is true now. */
	call.pending = n - 1;
	for (unsigned i = 0; i < n; i++) {
		if (i == self)
			continue;
		link[i].call = &call;
		call_push(cpu_by_number(i), MM_IRQ, &link[i]);
	}
	while (atomic_load(&call.pending))
		port_relax();
}

static void wait_for_task_call(unsigned cpu, struct call *call)
{
	uint64_t kick = clock_us() + KICK_US;

	while (atomic_load(&call->pending)) {
		task_yield();
		if (clock_us() >= kick) {
			arch_kick(cpu);
			kick = clock_us() + KICK_US;
		}
		port_relax();
	}
}

int port_run_on(unsigned cpu, enum mm_context context, void (*fn)(void *), void *arg)
{
	struct call call = { .fn = fn, .arg = arg, .pending = 1 };
	struct call_link link = { .call = &call };

	if (cpu >= cpu_count())
		return -ENOENT;
	if (context == MM_TASK && cpu == port_cpu()) {
		port_pin();
		fn(arg);
		port_unpin();
		return 0;
	}
	/* Before there is an APIC there are no other contexts either. */
	if (!apic_ready())
		return -ENOENT;
	call_push(cpu_by_number(cpu), context, &link);
	if (context == MM_TASK)
		wait_for_task_call(cpu, &call);
	while (atomic_load(&call.pending))
		port_relax();
	return 0;
}

void run_in_irq(unsigned cpu, void (*fn)(void *), void *arg)
{
	port_run_on(cpu, MM_IRQ, fn, arg);
}

void run_in_nmi(unsigned cpu, void (*fn)(void *), void *arg)
{
	port_run_on(cpu, MM_NMI, fn, arg);
}

bool arch_task_calls_pending(void)
{
	return (call_pending(MM_TASK) || mm_is_asked()) && !cpu_self()->in_task_calls;
}

void arch_run_task_calls(void)
{
	struct cpu *cpu = cpu_self();

	if (!arch_task_calls_pending())
		return;
	cpu->in_task_calls = true;
	port_pin();
	arch_irq_enable();
	call_run(MM_TASK);
	mm_give_back();
	arch_irq_disable();
	port_unpin();
	cpu->in_task_calls = false;
}

void arch_kick(unsigned number)
{
	struct cpu *cpu = cpu_by_number(number);

	if (cpu)
		apic_send(cpu->apic_id, VECTOR_KICK);
}
