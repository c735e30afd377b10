// SPDX-License-Identifier: MIT
/*
 * Tasks: turns, ends, stacks, and with PREEMPT=1 what preemption may and may not do.
 */
#include <kernel/arch.h>
#include <kernel/sched.h>
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/port.h>
#include <spanheap/types.h>
#include "arch/x86_64/paging.h"
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/string.h"
#include "tests/suites/object_fixture.h"

#define MANY 48
#define STORM_CPUS 8
#define STORM_ROUNDS 25

struct seen {
	unsigned cpu;
	enum mm_context context;
	const void *task;
	bool named;
};

static void look(void *arg)
{
	struct seen *s = arg;

	*s = (struct seen){ port_cpu(), port_context(), sched_current(),
			    !strcmp(sched_task_name(), "look") };
}

static void runs_where_it_should(struct kunit *test)
{
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct seen s = { .cpu = ~0U };
		struct task *t = task_start(cpu, look, &s, "look");

		KUNIT_ASSERT_NOT_NULL(test, t);
		task_join(t);
		KUNIT_EXPECT_EQ(test, s.cpu, cpu);
		KUNIT_EXPECT_EQ(test, s.context, MM_TASK);
		KUNIT_EXPECT_PTR_EQ(test, s.task, t);
		KUNIT_EXPECT_TRUE(test, s.named);
	}
	KUNIT_EXPECT_NULL(test, task_start(cpu_count(), look, NULL, "nowhere"));
	KUNIT_EXPECT_STREQ(test, sched_task_name(), "main");
}

/* ---- Turns ---- */

struct turns {
	char order[16];
	uint32_t n;
};

struct player {
	struct turns *turns;
	char name;
};

static void take_turns(void *arg)
{
	struct player *p = arg;

	for (unsigned i = 0; i < 4; i++) {
		p->turns->order[p->turns->n++] = p->name;
		task_yield();
	}
}

static void yield_goes_round(struct kunit *test)
{
	struct turns turns = { .n = 0 };
	struct player a = { &turns, 'a' }, b = { &turns, 'b' };
	struct task *ta, *tb;

#ifdef CONFIG_PREEMPT
	kunit_skip(test, "the order is the timer's");
#endif
	ta = task_start(this_cpu(), take_turns, &a, "a");
	tb = task_start(this_cpu(), take_turns, &b, "b");
	KUNIT_ASSERT_NOT_NULL(test, ta);
	KUNIT_ASSERT_NOT_NULL(test, tb);
	KUNIT_EXPECT_EQ(test, turns.n, 0U);
	task_join(ta);
	task_join(tb);
	KUNIT_EXPECT_STREQ(test, turns.order, "abababab");
}

static void keep_registers(void *arg)
{
	uint32_t *wrong = arg;

	/* Values that are unlike in each task, in registers that a call keeps. */
	for (uint64_t i = 0, a = (uintptr_t)&i, b = ~a, c = a * 3, d = a * 5; i < 50; i++) {
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
		task_yield();
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
		if (a != (uintptr_t)&i || b != ~a || c != a * 3 || d != a * 5)
			atomic_fetch_add(wrong, 1);
	}
}

static void registers_survive_switches(struct kunit *test)
{
	struct task *t[4];
	uint32_t wrong = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		t[i] = task_start(cpu_count() - 1, keep_registers, &wrong, "registers");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		task_join(t[i]);
	KUNIT_EXPECT_EQ(test, wrong, 0U);
}

/* ---- Many ---- */

static void count(void *arg)
{
	atomic_fetch_add((uint32_t *)arg, 1);
}

static void many_at_once(struct kunit *test)
{
	uint64_t before = frames_used();
	struct task *t[MANY];
	uint32_t ran = 0;

	for (unsigned i = 0; i < MANY; i++) {
		t[i] = task_start(i % cpu_count(), count, &ran, "one of many");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = MANY; i-- > 0;)
		task_join(t[i]);
	KUNIT_EXPECT_EQ(test, ran, (uint32_t)MANY);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

/* Starts and joins tasks on all CPUs, one level deep. */
static void storm_parent(void *arg)
{
	for (unsigned i = 0; i < STORM_ROUNDS; i++) {
		struct task *t = task_start((port_cpu() + i) % cpu_count(), count, arg, "child");

		if (t)
			task_join(t);
		else
			port_log("# task_test: no memory for a child");
	}
}

static void storm_of_starts(struct kunit *test)
{
	unsigned n = MIN(cpu_count(), (unsigned)STORM_CPUS);
	uint64_t before = frames_used();
	struct task *t[STORM_CPUS];
	uint32_t ran = 0;

	for (unsigned i = 0; i < n; i++) {
		t[i] = task_start(i, storm_parent, &ran, "parent");
		KUNIT_ASSERT_NOT_NULL(test, t[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(t[i]);
	KUNIT_EXPECT_EQ(test, ran, n * STORM_ROUNDS);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

static void no_memory_no_task(struct kunit *test)
{
	uint64_t before = frames_used();
	uint32_t ran = 0;
	unsigned failed = 0;

	for (uint64_t nth = 1; nth <= 4; nth++) {
		struct task *t;

		mm_fail_nth(nth);
		t = task_start(0, count, &ran, "unlucky");
		mm_fail_off();
		if (t)
			task_join(t);
		else
			failed++;
	}
	KUNIT_EXPECT_GE(test, failed, 1U);
	KUNIT_EXPECT_EQ(test, ran, 4 - failed);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

/* ---- Stacks ---- */

struct stack_probe {
	uintptr_t bottom, top;
	int below, inside, lowest_guard;
};

static void probe_stack(void *arg)
{
	struct stack_probe *p = arg;
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	p->top = round_up(here, 0x10000);
	p->bottom = p->top - SCHED_STACK_SIZE;
	p->inside = probe_write((void *)p->bottom);
	p->below = probe_read((void *)(p->bottom - 1));
	p->lowest_guard = probe_write((void *)(p->bottom - FRAME_SIZE));
}

static void probe_byte(void *arg)
{
	struct stack_probe *p = arg;

	p->inside = probe_read((void *)p->bottom);
}

static void stacks_have_guards(struct kunit *test)
{
	struct stack_probe p;
	struct task *t = task_start(cpu_count() - 1, probe_stack, &p, "probe");

	KUNIT_ASSERT_NOT_NULL(test, t);
	task_join(t);
	KUNIT_EXPECT_EQ(test, p.inside, 0);
	KUNIT_EXPECT_EQ(test, p.below, -EFAULT);
	KUNIT_EXPECT_EQ(test, p.lowest_guard, -EFAULT);
}

static void joined_stacks_are_gone_everywhere(struct kunit *test)
{
	struct stack_probe p;
	struct task *t = task_start(0, probe_stack, &p, "probe");

	KUNIT_ASSERT_NOT_NULL(test, t);
	task_join(t);
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		run_in_irq(cpu, probe_byte, &p);
		KUNIT_EXPECT_EQ(test, p.inside, -EFAULT);
	}
}

__attribute__((noinline)) static unsigned recurse(unsigned depth)
{
	volatile unsigned pad[16];

	pad[depth % 16] = depth;
	return depth > 100000 ? 0 : recurse(depth + 1) + pad[depth % 16];
}

static void run_away(void *arg)
{
	*(volatile unsigned *)arg = recurse(0);
}

static void stack_overflow_is_caught(struct kunit *test)
{
	unsigned result;
	struct task *t = task_start(cpu_count() - 1, run_away, &result, "runaway");

	KUNIT_ASSERT_NOT_NULL(test, t);
	task_join(t);
}

static void boot_stack_overflow_is_caught(struct kunit *test)
{
	unsigned result;

	(void)test;
	run_away(&result);
}

/* ---- Preemption ---- */

static void set_flag(void *arg)
{
	atomic_store((uint32_t *)arg, 1);
}

static void __attribute__((unused)) keep_counting(void *arg)
{
	uint32_t *n = arg;

	while (!(atomic_load(n) & 1U << 31))
		atomic_fetch_add(n, 1);
}

/* Waits without yielding for what only another task of this CPU can do. */
static void spinning_task_is_preempted(struct kunit *test)
{
#ifdef CONFIG_PREEMPT
	for (unsigned i = 0; i < 5; i++) {
		uint32_t flag = 0;
		struct task *t = task_start(this_cpu(), set_flag, &flag, "flag");

		KUNIT_ASSERT_NOT_NULL(test, t);
		while (!atomic_load(&flag))
			port_relax();
		task_join(t);
	}
#else
	(void)set_flag;
	kunit_skip(test, "cooperative kernel");
#endif
}

static void pinned_task_is_not(struct kunit *test)
{
#ifdef CONFIG_PREEMPT
	uint32_t n = 0, start;
	struct task *t = task_start(this_cpu(), keep_counting, &n, "count");

	KUNIT_ASSERT_NOT_NULL(test, t);
	for (unsigned i = 0; i < 5; i++) {
		while (!atomic_load(&n))
			port_relax();
		port_pin();
		start = atomic_load(&n);
		clock_delay_us(5000);
		KUNIT_EXPECT_EQ(test, atomic_load(&n), start);
		port_pin();
		port_unpin();
		clock_delay_us(2000);
		KUNIT_EXPECT_EQ(test, atomic_load(&n), start);
		port_unpin();
		while (atomic_load(&n) == start)
			port_relax();
	}
	atomic_or(&n, 1U << 31);
	task_join(t);
#else
	kunit_skip(test, "cooperative kernel");
#endif
}

static void masked_task_is_not(struct kunit *test)
{
#ifdef CONFIG_PREEMPT
	uint32_t n = 0, start;
	unsigned long flags;
	struct task *t = task_start(this_cpu(), keep_counting, &n, "count");

	KUNIT_ASSERT_NOT_NULL(test, t);
	while (!atomic_load(&n))
		port_relax();
	flags = port_irq_save();
	start = atomic_load(&n);
	clock_delay_us(5000);
	port_pin();
	port_unpin();
	KUNIT_EXPECT_EQ(test, atomic_load(&n), start);
	port_irq_restore(flags);
	while (atomic_load(&n) == start)
		port_relax();
	atomic_or(&n, 1U << 31);
	task_join(t);
#else
	kunit_skip(test, "cooperative kernel");
#endif
}

static struct kunit_case task_cases[] = {
	KUNIT_CASE(runs_where_it_should),
	KUNIT_CASE(yield_goes_round),
	KUNIT_CASE(registers_survive_switches),
	KUNIT_CASE(many_at_once),
	KUNIT_CASE(storm_of_starts),
	KUNIT_CASE(no_memory_no_task),
	KUNIT_CASE(stacks_have_guards),
	KUNIT_CASE(joined_stacks_are_gone_everywhere),
	KUNIT_CASE(spinning_task_is_preempted),
	KUNIT_CASE(pinned_task_is_not),
	KUNIT_CASE(masked_task_is_not),
	KUNIT_CASE_DIES(stack_overflow_is_caught, "panic: stack overflow at 0xffffe000"),
	KUNIT_CASE_DIES(boot_stack_overflow_is_caught, "panic: stack overflow at 0xffffffff8"),
	{}
};

static struct kunit_suite task_suite = { .name = "task", .test_cases = task_cases };
kunit_test_suite(task_suite);
