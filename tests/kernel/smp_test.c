// SPDX-License-Identifier: MIT
/*
 * Several CPUs: their numbers, calls between them, flushes, the clock.
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/port.h>
#include <spanheap/types.h>
#include "arch/x86_64/apic.h"
#include "arch/x86_64/call.h"
#include "arch/x86_64/cpu.h"
#include "lib/atomic.h"
#include "lib/bits.h"

#define STORM_ROUNDS 30
#define STORM_CPUS 8

static void own_id(void *arg)
{
	*(uint32_t *)arg = apic_id();
}

static void cpus_are_numbered_without_gaps(struct kunit *test)
{
	bool seen[256] = { false };

	KUNIT_EXPECT_GE(test, cpu_count(), 1U);
	KUNIT_EXPECT_EQ(test, this_cpu(), 0U);
	for (unsigned i = 0; i < cpu_count(); i++) {
		const struct cpu *cpu = cpu_by_number(i);
		uint32_t id = ~0U;

		KUNIT_ASSERT_NOT_NULL(test, cpu);
		KUNIT_EXPECT_EQ(test, cpu->port.number, i);
		KUNIT_EXPECT_EQ(test, cpu->state, CPU_ONLINE);
		KUNIT_EXPECT_EQ(test, port_run_on(i, MM_IRQ, own_id, &id), 0);
		KUNIT_EXPECT_EQ(test, id, cpu->apic_id);
		KUNIT_ASSERT_LT(test, id, 256U);
		KUNIT_EXPECT_FALSE(test, seen[id]);
		seen[id] = true;
	}
	KUNIT_EXPECT_NULL(test, cpu_by_number(cpu_count()));
}

static void count(void *arg)
{
	atomic_fetch_add((uint32_t *)arg, 1);
}

static void no_cpu_no_call(struct kunit *test)
{
	uint32_t calls = 0;

	KUNIT_EXPECT_EQ(test, port_run_on(cpu_count(), MM_IRQ, count, &calls), -ENOENT);
	KUNIT_EXPECT_EQ(test, port_run_on(~0U, MM_TASK, count, &calls), -ENOENT);
	KUNIT_EXPECT_EQ(test, calls, 0U);
}

/* ---- Everybody calls everybody at once ---- */

struct storm {
	uint32_t calls[MM_NR_CONTEXTS], wrong;
	unsigned ncpus;
};

struct storm_call {
	struct storm *storm;
	unsigned cpu;
	enum mm_context context;
};

static void storm_arrived(void *arg)
{
	struct storm_call *c = arg;

	if (port_cpu() != c->cpu || port_context() != c->context)
		atomic_fetch_add(&c->storm->wrong, 1);
	atomic_fetch_add(&c->storm->calls[c->context], 1);
}

static void storm_task(void *arg)
{
	struct storm *s = arg;

	for (unsigned round = 0; round < STORM_ROUNDS; round++) {
		for (unsigned cpu = 0; cpu < s->ncpus; cpu++) {
			struct storm_call c = { s, cpu, (round + cpu) % MM_NR_CONTEXTS };

			port_run_on(cpu, c.context, storm_arrived, &c);
		}
	}
}

static void storm_of_calls(struct kunit *test)
{
	struct storm s = { .ncpus = MIN(cpu_count(), (unsigned)STORM_CPUS) };
	struct task *t[STORM_CPUS];
	uint32_t sum = 0;

	for (unsigned i = 0; i < s.ncpus; i++) {
		t[i] = task_start(i, storm_task, &s, "storm");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < s.ncpus; i++)
		task_join(t[i]);
	for (unsigned i = 0; i < MM_NR_CONTEXTS; i++)
		sum += s.calls[i];
	KUNIT_EXPECT_EQ(test, sum, STORM_ROUNDS * s.ncpus * s.ncpus);
	KUNIT_EXPECT_EQ(test, s.wrong, 0U);
}

static void call_all_task(void *arg)
{
	for (unsigned round = 0; round < STORM_ROUNDS; round++)
		call_others(count, arg);
}

static void all_call_all_others(struct kunit *test)
{
	unsigned n = MIN(cpu_count(), (unsigned)STORM_CPUS);
	struct task *t[STORM_CPUS];
	uint32_t calls = 0;

	for (unsigned i = 0; i < n; i++) {
		t[i] = task_start(i, call_all_task, &calls, "call all");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(t[i]);
	KUNIT_EXPECT_EQ(test, calls, STORM_ROUNDS * n * (cpu_count() - 1));
}

static void flush_task(void *arg)
{
	for (unsigned round = 0; round < STORM_ROUNDS; round++) {
		port_flush((uintptr_t)arg, FRAME_SIZE);
		port_flush((uintptr_t)arg, 1UL << 30);
	}
}

static void all_flush_at_once(struct kunit *test)
{
	unsigned n = MIN(cpu_count(), (unsigned)STORM_CPUS);
	struct task *t[STORM_CPUS];

	for (unsigned i = 0; i < n; i++) {
		t[i] = task_start(i, flush_task, (void *)PORT_WINDOW_BASE, "flush");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(t[i]);
}

/* ---- A CPU that masks interrupts ---- */

struct masked {
	uint32_t masked, unmask, calls;
	uint32_t calls_while_masked;
};

static void mask_irqs(void *arg)
{
	struct masked *m = arg;
	unsigned long flags = port_irq_save();

	atomic_store(&m->masked, 1);
	while (!atomic_load(&m->unmask))
		port_relax();
	m->calls_while_masked = atomic_load(&m->calls);
	port_irq_restore(flags);
}

static void masked_caller(void *arg)
{
	struct masked *m = arg;

	run_in_irq(1, count, &m->calls);
}

static void masked_irqs_wait_but_nmis_do_not(struct kunit *test)
{
	struct masked m = { 0 };
	struct task *masker, *caller;
	uint32_t nmis = 0;

	if (cpu_count() < 3)
		kunit_skip(test, "needs 3 CPUs");
	masker = task_start(1, mask_irqs, &m, "mask");
	KUNIT_ASSERT_NOT_NULL(test, masker);
	while (!atomic_load(&m.masked))
		port_relax();
	caller = task_start(2, masked_caller, &m, "call");
	KUNIT_ASSERT_NOT_NULL(test, caller);
	while (!atomic_load(&cpu_by_number(1)->calls[MM_IRQ]))
		port_relax();
	for (unsigned i = 0; i < 10; i++)
		run_in_nmi(1, count, &nmis);
	KUNIT_EXPECT_EQ(test, nmis, 10U);
	atomic_store(&m.unmask, 1);
	task_join(caller);
	task_join(masker);
	KUNIT_EXPECT_EQ(test, m.calls_while_masked, 0U);
	KUNIT_EXPECT_EQ(test, m.calls, 1U);
}

/* ---- Log and clock ---- */

static void say_so(void *arg)
{
	static const char *const from[] = { "# a line from a task", "# a line from an interrupt",
					    "# a line from an NMI" };

	(void)arg;
	port_log(from[port_context()]);
}

static void log_everywhere(void *arg)
{
	unsigned cpu = *(unsigned *)arg;

	for (unsigned i = 0; i < 2; i++) {
		port_run_on(cpu, MM_IRQ, say_so, NULL);
		port_run_on(cpu, MM_NMI, say_so, NULL);
		say_so(NULL);
	}
}

static void log_from_all_contexts(struct kunit *test)
{
	unsigned n = MIN(cpu_count(), 2U), target = 0;
	struct task *t[2];

	for (unsigned i = 0; i < n; i++) {
		t[i] = task_start(i, log_everywhere, &target, "log");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(t[i]);
}

static void clock_is_about_right(struct kunit *test)
{
	uint64_t from = clock_us(), cycles = port_clock();

	clock_delay_us(2000);
	KUNIT_EXPECT_GE(test, clock_us() - from, 2000ULL);
	KUNIT_EXPECT_GT(test, port_clock(), cycles);
	/* Hosts stall; a clock that is wrong by a factor of a thousand is what this finds. */
	KUNIT_EXPECT_LT(test, clock_us() - from, 2000000ULL);
}

static void irqoff_is_measured(struct kunit *test)
{
	uintptr_t where = 0;
	unsigned long flags;

	irqoff_reset();
	flags = port_irq_save();
	for (volatile unsigned i = 0; i < 10000; i++)
		;
	port_irq_restore(flags);
#ifdef CONFIG_IRQ_TRACE
	KUNIT_EXPECT_GE(test, irqoff_max(&where), 10000ULL);
	KUNIT_EXPECT_NE(test, where, 0UL);
#else
	KUNIT_EXPECT_EQ(test, irqoff_max(&where), 0ULL);
#endif
}

static struct kunit_case smp_cases[] = {
	KUNIT_CASE(cpus_are_numbered_without_gaps),
	KUNIT_CASE(no_cpu_no_call),
	KUNIT_CASE(storm_of_calls),
	KUNIT_CASE(all_call_all_others),
	KUNIT_CASE(all_flush_at_once),
	KUNIT_CASE(masked_irqs_wait_but_nmis_do_not),
	KUNIT_CASE(log_from_all_contexts),
	KUNIT_CASE(clock_is_about_right),
	KUNIT_CASE(irqoff_is_measured),
	{}
};

static struct kunit_suite smp_suite = { .name = "smp", .test_cases = smp_cases };
kunit_test_suite(smp_suite);
