// SPDX-License-Identifier: MIT
/*
 * What happens on each exception and interrupt.
 *
 *	interrupt	context becomes MM_IRQ; interrupts stay off; on the way out a
 *			task that is not pinned may give way (PREEMPT), or does what
 *			others want done in task context
 *	NMI		context becomes MM_NMI; runs what was asked for, see call.c
 *	#DB		a step of a task that is led to where it can be interrupted
 *	#PF, #GP	at an instruction in the fixup table: go on at its fixup
 *	#PF		that the tables allow by now: the TLB was old, try again
 *	anything else	panic
 *
 * Exceptions do not change the context: they belong to the code that faulted.
 */
#include <kernel/image.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/call.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/kstack.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/trap.h"
#include "arch/x86_64/x86.h"
#include "lib/bits.h"
#include "lib/fmt.h"

static void handle_irq(struct trap_frame *frame);
static void interrupt_task(struct trap_frame *frame);
static void handle_nmi(struct trap_frame *frame);
static void handle_exception(struct trap_frame *frame);
static void page_fault(const struct trap_frame *frame, uintptr_t address);

void trap_dispatch(struct trap_frame *frame)
{
	if (frame->vector >= TRAP_EXCEPTIONS)
		handle_irq(frame);
	else if (frame->vector == TRAP_NMI)
		handle_nmi(frame);
	else
		handle_exception(frame);
}

static void handle_irq(struct trap_frame *frame)
{
	struct cpu *cpu = cpu_self();
	uint8_t interrupted = cpu->port.context;

	irqoff_begin();
	port_enter_context(&cpu->port, MM_IRQ);
	switch (frame->vector) {
	case VECTOR_TIMER:
	case VECTOR_KICK:
		apic_eoi();
		cpu->port.resched = 1;
		break;
	case VECTOR_CALL:
		apic_eoi();
		call_run(MM_IRQ);
		cpu->port.resched |= arch_task_calls_pending();
		break;
	case VECTOR_SPURIOUS:
		break;
	default:
		panic_trap(frame, "unexpected interrupt");
	}
	port_enter_context(&cpu->port, interrupted);
	irqoff_end();
	if (interrupted == MM_TASK)
		interrupt_task(frame);
}

#ifdef CONFIG_PREEMPT
static void interrupt_task(struct trap_frame *frame)
{
	struct port_cpu *port = port_cpu_self();

	(void)frame;
	if (!port->resched || port->pinned)
		return;
	port->resched = 0;
	irqoff_begin();
	sched_preempt();
	irqoff_end();
}
#else
/*
 * Nothing counts pins. But all code that pins is in mm/, lib/ and arch/, and what it
 * calls outside of these (constructors, handlers) it calls unpinned. A task that is in
 * there is led out step by step, each a debug exception.
 */
static void interrupt_task(struct trap_frame *frame)
{
	frame->rflags &= ~X86_FLAGS_TF;
	if (!arch_task_calls_pending())
		return;
	if (!(frame->rflags & X86_FLAGS_IF) || (frame->rip >= (uintptr_t)__core_text_start &&
					     frame->rip < (uintptr_t)__core_text_end)) {
		frame->rflags |= X86_FLAGS_TF;
		return;
	}
	irqoff_begin();
	arch_run_task_calls();
	irqoff_end();
}
#endif

/*
 * A page fault in here must not disturb one that the NMI interrupted: CR2 is kept.
 *
 * An NMI between sti and hlt ends the protection that sti gives to hlt: an
 * interrupt that was to end the sleep would come right after the NMI, and then the
 * CPU would sleep. So it does not sleep at all; who calls hlt looks again anyway.
 */
static void handle_nmi(struct trap_frame *frame)
{
	struct cpu *cpu = cpu_self();
	uint8_t interrupted = cpu->port.context;
	uint64_t cr2 = read_cr2();

	port_enter_context(&cpu->port, MM_NMI);
	if (panic_requested())
		halt_forever();
	call_run(MM_NMI);
	port_enter_context(&cpu->port, interrupted);
	write_cr2(cr2);
	if (frame->rip == (uintptr_t)halt_instruction)
		frame->rip++;
}

static void handle_exception(struct trap_frame *frame)
{
	uintptr_t address = frame->vector == TRAP_PF ? read_cr2() : 0;

	if (frame->vector == TRAP_DB && frame->rflags & X86_FLAGS_TF) {
		interrupt_task(frame);
		return;
	}
	if (frame->vector == TRAP_PF && paging_allows(address, frame->error))
		return;
	if (frame->vector == TRAP_PF || frame->vector == TRAP_GP) {
		uintptr_t resume = fault_fixup(frame->rip);

		if (resume) {
			frame->rip = resume;
			return;
		}
	}
	if (frame->vector == TRAP_PF)
		page_fault(frame, address);
	panic_trap(frame, trap_name(frame->vector));
}

static void page_fault(const struct trap_frame *frame, uintptr_t address)
{
	char why[160];
	const char *access = "read";

	if (frame->error & PF_WRITE)
		access = "write";
	else if (frame->error & PF_FETCH)
		access = "execute";
	fmt_print(why, sizeof(why), "%s at 0x%lx (%s, %s)",
		  kstack_is_guard(address) ? "stack overflow" : "page fault", address, access,
		  frame->error & PF_RESERVED  ? "reserved bit"
		  : frame->error & PF_PRESENT ? "protection"
					      : "not present");
	panic_trap(frame, why);
}

const char *trap_name(unsigned long vector)
{
	static const char *const names[TRAP_EXCEPTIONS] = {
		[0] = "division error",	      [1] = "debug exception",
		[2] = "NMI",		      [3] = "breakpoint",
		[4] = "overflow",	      [5] = "bound range exceeded",
		[6] = "invalid opcode",	      [7] = "device not available",
		[8] = "double fault",	      [10] = "invalid TSS",
		[11] = "segment not present", [12] = "stack segment fault",
		[13] = "general protection",  [14] = "page fault",
		[16] = "x87 error",	      [17] = "alignment check",
		[18] = "machine check",	      [19] = "SIMD error",
	};

	return vector < TRAP_EXCEPTIONS && names[vector] ? names[vector] : "unknown trap";
}

uintptr_t fault_fixup(uintptr_t ip)
{
	for (const struct fault_fixup *f = __start_fault_fixups; f < __stop_fault_fixups; f++)
		if (f->ip == ip)
			return f->resume;
	return 0;
}
