// SPDX-License-Identifier: MIT
/*
 * Traps: what faults, in which context, on which CPU, and what becomes of the
 * code that was interrupted.
 */
#include <kernel/arch.h>
#include <kernel/image.h>
#include <kernel/panic.h>
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/port.h>
#include <spanheap/types.h>
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/trap.h"
#include "lib/atomic.h"
#include "lib/bits.h"

/* No page table has ever had an entry for it. */
#define NOWHERE ((void *)(PORT_DIRECT_BASE + (60UL << 40)))
#define NOT_CANONICAL ((void *)0x8000000000000000UL)

struct forbidden {
	const char *name;
	void *addr;
	bool readable;
};

static const struct forbidden forbidden_places[] = {
	{ "NULL", NULL, false },
	{ "frame 0 at its own address", (void *)0x10, false },
	{ "the image at its own address", (void *)0x200000, false },
	{ "unmapped direct map", NOWHERE, false },
	{ "not canonical", NOT_CANONICAL, false },
	{ "end of the address space", (void *)-8UL, false },
	{ "text", (void *)trap_dispatch, true },
	{ "constants", (void *)forbidden_places, true },
};

static void describe_place(const struct forbidden *f, char *desc)
{
	size_t i = 0;

	for (; f->name[i]; i++)
		desc[i] = f->name[i];
	desc[i] = 0;
}

KUNIT_ARRAY_PARAM(forbidden, forbidden_places, describe_place);

struct probe_result {
	const struct forbidden *place;
	int read, write;
};

static void probe_place(void *arg)
{
	struct probe_result *r = arg;

	r->read = probe_read(r->place->addr);
	r->write = probe_write(r->place->addr);
}

/* Everywhere: each CPU, each context. */
static void forbidden_memory_faults(struct kunit *test)
{
	const struct forbidden *place = test->param_value;

	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		for (unsigned context = 0; context < MM_NR_CONTEXTS; context++) {
			struct probe_result r = { .place = place };

			port_run_on(cpu, context, probe_place, &r);
			KUNIT_EXPECT_EQ_MSG(test, r.read, place->readable ? 0 : -EFAULT,
					    "cpu %u context %u", cpu, context);
			KUNIT_EXPECT_EQ_MSG(test, r.write, -EFAULT, "cpu %u context %u", cpu,
					    context);
		}
	}
}

static void good_memory_does_not(struct kunit *test)
{
	static uint8_t data = 0x5a;
	uint8_t local = 0xa5;

	KUNIT_EXPECT_EQ(test, probe_read(&data), 0);
	KUNIT_EXPECT_EQ(test, probe_write(&data), 0);
	KUNIT_EXPECT_EQ(test, data, 0x5a);
	KUNIT_EXPECT_EQ(test, probe_read(&local), 0);
	KUNIT_EXPECT_EQ(test, probe_write(&local), 0);
	KUNIT_EXPECT_EQ(test, local, 0xa5);
}

static void only_marked_code_may_fault(struct kunit *test)
{
	const struct fault_fixup *f;

	KUNIT_EXPECT_EQ(test, fault_fixup((uintptr_t)trap_dispatch), 0UL);
	KUNIT_ASSERT_TRUE(test, &__start_fault_fixups[0] < &__stop_fault_fixups[0]);
	for (f = __start_fault_fixups; f < __stop_fault_fixups; f++) {
		KUNIT_EXPECT_EQ(test, fault_fixup(f->ip), f->resume);
		KUNIT_EXPECT_GE(test, f->resume, (uintptr_t)__text_start);
		KUNIT_EXPECT_LT(test, f->resume, (uintptr_t)__text_end);
	}
}

/* ---- Contexts ---- */

struct seen {
	unsigned cpu;
	enum mm_context context;
	bool irqs;
};

static void look(void *arg)
{
	struct seen *s = arg;
	unsigned long flags = port_irq_save();

	*s = (struct seen){ port_cpu(), port_context(), flags & X86_FLAGS_IF };
	port_irq_restore(flags);
}

static void contexts_tell_the_truth(struct kunit *test)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct seen s;

		port_run_on(cpu, MM_TASK, look, &s);
		KUNIT_EXPECT_EQ(test, s.cpu, cpu);
		KUNIT_EXPECT_EQ(test, s.context, MM_TASK);
		KUNIT_EXPECT_TRUE(test, s.irqs);
		run_in_irq(cpu, look, &s);
		KUNIT_EXPECT_EQ(test, s.cpu, cpu);
		KUNIT_EXPECT_EQ(test, s.context, MM_IRQ);
		KUNIT_EXPECT_FALSE(test, s.irqs);
		run_in_nmi(cpu, look, &s);
		KUNIT_EXPECT_EQ(test, s.cpu, cpu);
		KUNIT_EXPECT_EQ(test, s.context, MM_NMI);
		KUNIT_EXPECT_FALSE(test, s.irqs);
	}
	KUNIT_EXPECT_EQ(test, port_context(), MM_TASK);
}

struct long_irq {
	uint32_t inside, leave;
	enum mm_context after;
};

static void stay_in_irq(void *arg)
{
	struct long_irq *l = arg;

	atomic_store(&l->inside, 1);
	while (!atomic_load(&l->leave))
		port_relax();
	l->after = port_context();
}

static void call_irq(void *arg)
{
	run_in_irq(cpu_count() - 1, stay_in_irq, arg);
}

static void nmi_breaks_into_irq(struct kunit *test)
{
	struct long_irq l = { 0 };
	struct task *t;
	struct seen s;

	if (cpu_count() < 3)
		kunit_skip(test, "needs 3 CPUs");
	t = task_start(1, call_irq, &l, "caller");
	KUNIT_ASSERT_NOT_NULL(test, t);
	while (!atomic_load(&l.inside))
		port_relax();
	run_in_nmi(cpu_count() - 1, look, &s);
	KUNIT_EXPECT_EQ(test, s.context, MM_NMI);
	atomic_store(&l.leave, 1);
	task_join(t);
	KUNIT_EXPECT_EQ(test, l.after, MM_IRQ);
}

/* ---- Interrupted code is left as it was ---- */

static uint32_t stop;

/* Returns how often a register was found changed. */
static uint64_t spin_with_registers(void)
{
	uint64_t changed = 0, rounds = 200000;

	__asm__ volatile("movq $0x1111, %%r8\n\tmovq $0x2222, %%r9\n\t"
			 "movq $0x3333, %%r10\n\tmovq $0x4444, %%r11\n\t"
			 "movq $0x5555, %%r12\n\tmovq $0x6666, %%r13\n\t"
			 "movq $0x7777, %%r14\n\tmovq $0x8888, %%r15\n\t"
			 "movq $0x9999, %%rdx\n\tmovq $0xaaaa, %%rsi\n\t"
			 "1:\tstc\n\t"
			 "jnc 2f\n\t"
			 "cmpq $0x1111, %%r8\n\tjne 2f\n\tcmpq $0x2222, %%r9\n\tjne 2f\n\t"
			 "cmpq $0x3333, %%r10\n\tjne 2f\n\tcmpq $0x4444, %%r11\n\tjne 2f\n\t"
			 "cmpq $0x5555, %%r12\n\tjne 2f\n\tcmpq $0x6666, %%r13\n\tjne 2f\n\t"
			 "cmpq $0x7777, %%r14\n\tjne 2f\n\tcmpq $0x8888, %%r15\n\tjne 2f\n\t"
			 "cmpq $0x9999, %%rdx\n\tjne 2f\n\tcmpq $0xaaaa, %%rsi\n\tjne 2f\n\t"
			 "decq %1\n\tjnz 1b\n\tjmp 3f\n"
			 "2:\tincq %0\n"
			 "3:"
			 : "+a"(changed), "+c"(rounds)
			 :
			 : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdx", "rsi", "cc",
			   "memory");
	return changed;
}

static void count_call(void *arg)
{
	atomic_fetch_add((uint32_t *)arg, 1);
}

static void bombard(void *arg)
{
	while (!atomic_load(&stop)) {
		run_in_irq(0, count_call, arg);
		run_in_nmi(0, count_call, arg);
		task_yield();
	}
}

static void registers_survive(struct kunit *test)
{
	uint32_t calls = 0;
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	stop = 0;
	t = task_start(1, bombard, &calls, "bombard");
	KUNIT_ASSERT_NOT_NULL(test, t);
	for (unsigned i = 0; i < 200 && atomic_load(&calls) < 200; i++)
		KUNIT_EXPECT_EQ(test, spin_with_registers(), 0ULL);
	while (!atomic_load(&calls))
		port_relax();
	atomic_store(&stop, 1);
	task_join(t);
}

struct fault_storm {
	uint32_t nmis, wrong;
};

static void fault_in_nmi(void *arg)
{
	struct fault_storm *s = arg;

	for (unsigned i = 0; i < 20; i++)
		if (probe_read(NOWHERE) != -EFAULT || port_context() != MM_NMI)
			atomic_fetch_add(&s->wrong, 1);
	atomic_fetch_add(&s->nmis, 1);
}

static void send_faulting_nmis(void *arg)
{
	while (!atomic_load(&stop))
		run_in_nmi(0, fault_in_nmi, arg);
}

/*
 * Page faults in NMIs that break into page faults. If a return from a fault ended
 * the blocking of NMIs, the next NMI would overwrite this one's stack; if a fault
 * in an NMI used the stack of the fault it broke into, that one would be lost.
 */
static void faults_nest_in_nmis(struct kunit *test)
{
	struct fault_storm s = { 0 };
	struct task *t[8];
	unsigned n = MIN(cpu_count() - 1, (unsigned)ARRAY_SIZE(t));

	if (!n)
		kunit_skip(test, "one CPU");
	stop = 0;
	for (unsigned i = 0; i < n; i++) {
		t[i] = task_start(i + 1, send_faulting_nmis, &s, "nmis");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	while (atomic_load(&s.nmis) < 200)
		for (unsigned i = 0; i < 100; i++)
			if (probe_read(NOWHERE) != -EFAULT || port_context() != MM_TASK)
				atomic_fetch_add(&s.wrong, 1);
	atomic_store(&stop, 1);
	for (unsigned i = 0; i < n; i++)
		task_join(t[i]);
	KUNIT_EXPECT_EQ(test, s.wrong, 0U);
	KUNIT_EXPECT_EQ(test, cpu_self()->tss.ist[IST_PF - 1], cpu_self()->stacks.pf);
}

__attribute__((noinline)) static size_t backtrace_here(uintptr_t *ips, size_t max)
{
	return backtrace((uintptr_t)__builtin_frame_address(0), ips, max);
}

static void backtrace_leads_to_the_caller(struct kunit *test)
{
	uintptr_t ips[16];
	size_t n = backtrace_here(ips, ARRAY_SIZE(ips));

	KUNIT_ASSERT_GE(test, n, 2UL);
	for (size_t i = 0; i < n; i++) {
		KUNIT_EXPECT_GE(test, ips[i], (uintptr_t)__text_start);
		KUNIT_EXPECT_LT(test, ips[i], (uintptr_t)__text_end);
	}
	KUNIT_EXPECT_EQ(test, backtrace(0x1001, ips, 1), 0UL);
	KUNIT_EXPECT_EQ(test, backtrace((uintptr_t)NOWHERE, ips, 1), 0UL);
}

/* ---- The ends of the machine ---- */

static void read_nowhere(struct kunit *test)
{
	(void)test;
	*(volatile char *)NOWHERE;
}

static void write_text(struct kunit *test)
{
	(void)test;
	*(volatile char *)trap_dispatch = 0;
}

static void execute_data(struct kunit *test)
{
	static uint8_t ret[] = { 0xc3 };
	void (*fn)(void) = (void (*)(void))(uintptr_t)ret;

	(void)test;
	fn();
}

static void invalid_opcode(struct kunit *test)
{
	(void)test;
	__asm__ volatile("ud2");
}

static void read_not_canonical(struct kunit *test)
{
	(void)test;
	*(volatile char *)NOT_CANONICAL;
}

static void touch_nowhere(void *arg)
{
	*(volatile char *)arg = 1;
}

static void fault_in_irq(struct kunit *test)
{
	(void)test;
	run_in_irq(cpu_count() - 1, touch_nowhere, NOWHERE);
}

static void fault_in_nmi_dies(struct kunit *test)
{
	(void)test;
	run_in_nmi(cpu_count() - 1, touch_nowhere, NOWHERE);
}

/* The stack for page faults is gone: only a double fault's own can tell. */
static void double_fault(struct kunit *test)
{
	(void)test;
	cpu_self()->tss.ist[IST_PF - 1] = (uintptr_t)NOWHERE;
	touch_nowhere(NOWHERE);
}

static void panic_with_irqs_off_elsewhere(struct kunit *test)
{
	(void)test;
	port_irq_save();
	panic("the number is %d", 42);
}

static struct kunit_case trap_cases[] = {
	KUNIT_CASE_PARAM(forbidden_memory_faults, forbidden_gen_params),
	KUNIT_CASE(good_memory_does_not),
	KUNIT_CASE(only_marked_code_may_fault),
	KUNIT_CASE(contexts_tell_the_truth),
	KUNIT_CASE(nmi_breaks_into_irq),
	KUNIT_CASE(registers_survive),
	KUNIT_CASE(faults_nest_in_nmis),
	KUNIT_CASE(backtrace_leads_to_the_caller),
	KUNIT_CASE_DIES(read_nowhere,
			"panic: page fault at 0xffffc48000000000 (read, not present)"),
	KUNIT_CASE_DIES(write_text, "(write, protection)"),
	KUNIT_CASE_DIES(execute_data, "(execute, protection)"),
	KUNIT_CASE_DIES(invalid_opcode, "panic: invalid opcode"),
	KUNIT_CASE_DIES(read_not_canonical, "panic: general protection"),
	KUNIT_CASE_DIES(fault_in_irq, "context irq"),
	KUNIT_CASE_DIES(fault_in_nmi_dies, "context NMI"),
	KUNIT_CASE_DIES(double_fault, "panic: double fault"),
	KUNIT_CASE_DIES(panic_with_irqs_off_elsewhere, "panic: the number is 42"),
	{}
};

static struct kunit_suite trap_suite = { .name = "trap", .test_cases = trap_cases };
kunit_test_suite(trap_suite);
