// SPDX-License-Identifier: MIT
/*
 * Panic: say why, with registers and a backtrace, and exit.
 *
 * One CPU panics; the others are stopped by NMI, which reaches them with their
 * interrupts off too. A second CPU that panics meanwhile stops as well. A panic
 * in the report of a panic says so in one line and exits at once.
 *
 * The report is written to lean on nothing: no lock, no memory; stack frames are
 * read by an instruction that may fault.
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/image.h>
#include <kernel/panic.h>
#include <kernel/sched.h>
#include <kernel/task.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/console.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/trap.h"
#include "arch/x86_64/x86.h"
#include "lib/bits.h"
#include "lib/fmt.h"

#define MAX_DEPTH 32

/* 1 + number of the CPU that panics. */
static uint32_t panic_cpu;

bool panic_requested(void)
{
	uint32_t who = atomic_load(&panic_cpu);

	return who && who != port_cpu() + 1;
}

static void panic_begin(const char *why)
{
	uint32_t self = port_cpu() + 1, who = 0;

	irq_disable();
	if (!atomic_cas(&panic_cpu, &who, self)) {
		if (who != self)
			halt_forever();
		console_printf("panic: %s, in the report of a panic\n", why);
		machine_exit(EXIT_PANIC);
	}
	console_seize();
	if (apic_ready())
		apic_nmi_others();
}

static const char *context_name(void)
{
	static const char *const names[] = { "task", "irq", "NMI" };

	return port_context() < MM_NR_CONTEXTS ? names[port_context()] : "?";
}

static void print_registers(const struct trap_frame *f)
{
	console_printf("  rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax, f->rbx, f->rcx,
		       f->rdx);
	console_printf("  rsi %016lx rdi %016lx rbp %016lx rsp %016lx\n", f->rsi, f->rdi, f->rbp,
		       f->rsp);
	console_printf("  r8  %016lx r9  %016lx r10 %016lx r11 %016lx\n", f->r8, f->r9, f->r10,
		       f->r11);
	console_printf("  r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n", f->r12, f->r13, f->r14,
		       f->r15);
	console_printf("  rflags %lx cr2 %016lx cr3 %lx vector %lu error %lx\n", f->rflags,
		       read_cr2(), read_cr3(), f->vector, f->error);
}

void panic_trap(const struct trap_frame *frame, const char *why)
{
	panic_begin(why);
	console_printf("panic: %s ip 0x%lx cpu %u context %s\n", why, frame->rip, port_cpu(),
		       context_name());
	console_printf("  task \"%s\"\n", sched_task_name());
	print_registers(frame);
	console_printf("  at 0x%lx\n", frame->rip);
	backtrace_print(frame->rbp);
	machine_exit(EXIT_PANIC);
}

__attribute__((noreturn)) static void panic_report(const char *why, uintptr_t ip, uintptr_t fp)
{
	panic_begin(why);
	console_printf("panic: %s ip 0x%lx cpu %u context %s\n", why, ip, port_cpu(),
		       context_name());
	console_printf("  task \"%s\"\n", sched_task_name());
	backtrace_print(fp);
	machine_exit(EXIT_PANIC);
}

void panic(const char *fmt, ...)
{
	char why[256];
	va_list args;

	va_start(args, fmt);
	fmt_vprint(why, sizeof(why), fmt, args);
	va_end(args);
	panic_report(why, (uintptr_t)__builtin_return_address(0),
		     (uintptr_t)__builtin_frame_address(0));
}

void port_panic(const char *why)
{
	panic_report(why, (uintptr_t)__builtin_return_address(0),
		     (uintptr_t)__builtin_frame_address(0));
}

/* A frame: at [fp] the caller's frame pointer, at [fp + 8] the return address. */
size_t backtrace(uintptr_t fp, uintptr_t *ips, size_t max)
{
	size_t n = 0;

	while (n < max && fp && !(fp & 7)) {
		uint64_t up, ip;

		if (try_read64(fp, &up) || try_read64(fp + 8, &ip) || !ip)
			break;
		ips[n++] = ip;
		fp = up;
	}
	return n;
}

void backtrace_print(uintptr_t fp)
{
	uintptr_t ips[MAX_DEPTH];
	size_t n = backtrace(fp, ips, MAX_DEPTH);

	for (size_t i = 0; i < n; i++)
		console_printf("  at 0x%lx\n", ips[i]);
}
