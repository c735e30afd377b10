// SPDX-License-Identifier: MIT
/*
 * Runs the benchmark cases of the image and prints their figures, and the few
 * cases that belong to no module: the loop itself, and the start-up.
 */
#include <kernel/arch.h>
#include <kernel/bench.h>
#include <kernel/console.h>
#include <kernel/startup.h>
#include <kunit/run.h>
#include <spanheap/stats.h>
#include "lib/bits.h"
#include "lib/fmt.h"

extern struct kbench *__start_kbench_cases[], *__stop_kbench_cases[];

#ifdef CONFIG_IRQ_TRACE
static const bool tracing = true;
#else
static const bool tracing;
#endif

void kbench_value(const char *name, const char *unit, uint64_t value)
{
	if (!tracing)
		console_printf("kbench\t%s\t%s\t%llu\n", name, unit, (unsigned long long)value);
}

void kbench_report(const struct kbench *b, uint64_t cycles, uint64_t nops)
{
	uint64_t hundredths = nops ? cycles * 100 / nops : 0;

	if (nops == 1)
		kbench_value(b->name, "insn/op", cycles);
	else if (!tracing)
		console_printf("kbench\t%s\tinsn/op\t%llu.%02llu\n", b->name,
			       (unsigned long long)hundredths / 100,
			       (unsigned long long)hundredths % 100);
}

static void report_irqoff(void)
{
	uintptr_t where = 0;
	uint64_t cycles = irqoff_max(&where);

	console_printf("kbench\tirqoff_max\tinsn/op\t%llu\n", (unsigned long long)cycles);
	console_printf("# irqoff_max began at 0x%lx\n", (unsigned long)where);
}

bool kbench_run(const char *filter)
{
	bool any = false;

	irqoff_reset();
	for (struct kbench **b = __start_kbench_cases; b < __stop_kbench_cases; b++) {
		if (!kunit_match(filter, (*b)->name, NULL))
			continue;
		any = true;
		(*b)->fn(*b);
	}
	if (tracing)
		report_irqoff();
	return any || tracing;
}

/* ---- Cases of its own ---- */

static void empty_loop(struct kbench *b)
{
	KBENCH_LOOP(b, 0, 1000, (void)0);
}

KBENCH_CASE("loop/empty", empty_loop);

/* Named after the RAM, rounded up to a power of two, so that machines can be compared. */
static void start_of_mm(struct kbench *b)
{
	static const char unit[] = "MGT";
	struct mm_stats s;
	char name[32];
	uint64_t mib = 1;
	unsigned u = 0;

	mm_stats(&s);
	while (mib << 20 < s.ram_bytes)
		mib <<= 1;
	for (; mib >= 1024 && u + 2 < sizeof(unit); u++)
		mib >>= 10;
	fmt_print(name, sizeof(name), "%s/%llu%c", b->name, (unsigned long long)mib, unit[u]);
	kbench_value(name, "insn/op", boot_mm_init_cycles);
}

KBENCH_CASE("mm_init", start_of_mm);
