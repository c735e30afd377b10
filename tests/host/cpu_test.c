// SPDX-License-Identifier: MIT
/*
 * Threads as CPUs: what port_run_on() does to a CPU that is idle, busy, asleep
 * in the kernel, masked, pinned, waiting itself, or about to end.
 */
#include <pthread.h>
#include <setjmp.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <kernel/task.h>
#include <kunit/test.h>

#include "lib/atomic.h"
#include "lib/bits.h"
#include "tests/host/host_test.h"

/*
 * The contexts that a thread which never calls the port can be asked for: where
 * pins are not counted, a request for a task waits for it to yield.
 */
#ifdef CONFIG_PREEMPT
static const enum mm_context asked[] = { MM_TASK, MM_IRQ, MM_NMI };
#else
static const enum mm_context asked[] = { MM_IRQ, MM_NMI };
#endif

struct stage {
	uint32_t ready, stop, calls, allowed, too_early;
	unsigned cpu;
	int pipe[2];
};

static void note_call(void *arg)
{
	struct stage *st = arg;

	if (port_cpu() == st->cpu)
		atomic_fetch_add(&st->calls, 1);
	if (!atomic_load(&st->allowed))
		atomic_fetch_add(&st->too_early, 1);
}

static void wait_for(uint32_t *flag)
{
	while (!atomic_load(flag))
		port_relax();
}

static struct task *on_stage(struct kunit *test, struct stage *st, void (*fn)(void *))
{
	struct task *t;

	st->cpu = 1;
	t = task_start(1, fn, st, "stage");
	KUNIT_ASSERT_NOT_NULL(test, t);
	wait_for(&st->ready);
	return t;
}

static void sleep_in_kernel(void *arg)
{
	struct stage *st = arg;
	char byte;

	atomic_store(&st->ready, 1);
	while (read(st->pipe[0], &byte, 1) != 1)
		;
}

/* A thread that sleeps in a system call serves requests without getting on. */
static void asleep(struct kunit *test)
{
	struct stage st = { .allowed = 1 };
	struct task *t;

	KUNIT_ASSERT_EQ(test, pipe(st.pipe), 0);
	t = on_stage(test, &st, sleep_in_kernel);
	for (unsigned i = 0; i < 60; i++)
		KUNIT_EXPECT_EQ(test, port_run_on(1, asked[i % ARRAY_SIZE(asked)], note_call, &st),
				0);
	KUNIT_EXPECT_EQ(test, st.calls, 60);
	KUNIT_EXPECT_EQ(test, write(st.pipe[1], "", 1), 1);
	task_join(t);
	close(st.pipe[0]);
	close(st.pipe[1]);
}

static void spin_relaxing(void *arg)
{
	struct stage *st = arg;

	atomic_store(&st->ready, 1);
	wait_for(&st->stop);
}

static void spin_yielding(void *arg)
{
	struct stage *st = arg;

	atomic_store(&st->ready, 1);
	while (!atomic_load(&st->stop))
		task_yield();
}

static void busy(struct kunit *test)
{
	static void (*const kind[])(void *) = { spin_relaxing, spin_yielding };

	for (unsigned k = 0; k < 2; k++) {
		struct stage st = { .allowed = 1 };
		struct task *t = on_stage(test, &st, kind[k]);

		for (unsigned i = 0; i < 300; i++)
			port_run_on(1, asked[i % ARRAY_SIZE(asked)], note_call, &st);
		atomic_store(&st.stop, 1);
		task_join(t);
		KUNIT_EXPECT_EQ(test, st.calls, 300);
	}
}

static void stay_masked(void *arg)
{
	struct stage *st = arg;
	unsigned long flags = port_irq_save();

	atomic_store(&st->ready, 1);
	usleep(20000);
	atomic_store(&st->allowed, 1);
	port_irq_restore(flags);
	wait_for(&st->stop);
}

/* A request for an interrupt waits until interrupts are on, an NMI does not. */
static void masked(struct kunit *test)
{
	struct stage st = { 0 };
	struct task *t = on_stage(test, &st, stay_masked);

	port_run_on(1, MM_NMI, note_call, &st);
	KUNIT_EXPECT_EQ(test, st.calls, 1);
	KUNIT_EXPECT_EQ(test, st.too_early, 1);
	port_run_on(1, MM_IRQ, note_call, &st);
	KUNIT_EXPECT_EQ(test, st.calls, 2);
	KUNIT_EXPECT_EQ(test, st.too_early, 1);
	atomic_store(&st.stop, 1);
	task_join(t);
}

#ifdef CONFIG_PREEMPT
static void stay_pinned(void *arg)
{
	struct stage *st = arg;

	port_pin();
	atomic_store(&st->ready, 1);
	usleep(20000);
	atomic_store(&st->allowed, 1);
	port_unpin();
	wait_for(&st->stop);
}

/* What wants a CPU's task caches waits until it is unpinned; an interrupt does not. */
static void pinned(struct kunit *test)
{
	struct stage st = { 0 };
	struct task *t = on_stage(test, &st, stay_pinned);

	port_run_on(1, MM_IRQ, note_call, &st);
	KUNIT_EXPECT_EQ(test, st.calls, 1);
	KUNIT_EXPECT_EQ(test, st.too_early, 1);
	port_run_on(1, MM_TASK, note_call, &st);
	KUNIT_EXPECT_EQ(test, st.calls, 2);
	KUNIT_EXPECT_EQ(test, st.too_early, 1);
	atomic_store(&st.stop, 1);
	task_join(t);
}
#endif

static void be_short(void *arg)
{
	(void)arg;
}

/* Requests meet tasks that come and go: none is lost, none is called twice. */
static void comings_and_goings(struct kunit *test)
{
	struct stage st = { .allowed = 1, .cpu = 1 };
	struct task *t = NULL;

	for (unsigned i = 0; i < 600; i++) {
		if (i % 3 == 0) {
			if (t)
				task_join(t);
			t = task_start(1, be_short, NULL, "short");
		}
		port_run_on(1, (enum mm_context)(i / 3 % MM_NR_CONTEXTS), note_call, &st);
	}
	task_join(t);
	KUNIT_EXPECT_EQ(test, st.calls, 600);
}

#define SHARING 8

static struct order {
	unsigned n, got[SHARING];
} order[2];

static void note_order(void *arg)
{
	struct order *o = &order[port_cpu()];
	unsigned first = o->n++;

	task_yield();
	o->got[first] = (unsigned)(uintptr_t)arg;
}

/* Tasks of one CPU run one at a time, in the order in which they were started. */
static void tasks_share_a_cpu(struct kunit *test)
{
	struct task *t[2][SHARING];

	memset(order, 0, sizeof(order));
	for (unsigned i = 0; i < SHARING; i++)
		for (unsigned cpu = 0; cpu < 2; cpu++)
			t[cpu][i] = task_start(cpu, note_order, (void *)(uintptr_t)i, "note");
	KUNIT_EXPECT_EQ(test, order[0].n, 0);
	for (unsigned i = 0; i < SHARING; i++)
		for (unsigned cpu = 0; cpu < 2; cpu++)
			task_join(t[cpu][i]);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		KUNIT_EXPECT_EQ(test, order[cpu].n, SHARING);
		for (unsigned i = 0; i < SHARING; i++)
			KUNIT_EXPECT_EQ(test, order[cpu].got[i], i);
	}
}

struct guest {
	pthread_t thread;
	int result;
	unsigned cpu;
	struct stage *st;
};

static void *be_guest(void *arg)
{
	struct guest *g = arg;

	g->result = host_cpu_enter();
	g->cpu = port_cpu();
	atomic_fetch_add(&g->st->ready, 1);
	while (!atomic_load(&g->st->stop))
		usleep(100);
	host_cpu_leave();
	return NULL;
}

/* Threads that register themselves get the lowest free numbers, again and again. */
static void numbers_are_recycled(struct kunit *test)
{
	struct guest g[4];

	if (cpu_count() + 4 > PORT_MAX_CPUS)
		kunit_skip(test, "no numbers left");
	for (unsigned round = 0; round < 3; round++) {
		struct stage st = { 0 };
		uint64_t seen = 0;

		for (unsigned i = 0; i < 4; i++) {
			g[i] = (struct guest){ .st = &st };
			KUNIT_ASSERT_EQ(test, pthread_create(&g[i].thread, NULL, be_guest, &g[i]),
					0);
		}
		while (atomic_load(&st.ready) < 4)
			port_relax();
		st.allowed = 1;
		st.cpu = cpu_count();
		KUNIT_EXPECT_EQ(test, port_run_on(st.cpu, MM_IRQ, note_call, &st), 0);
		atomic_store(&st.stop, 1);
		for (unsigned i = 0; i < 4; i++) {
			pthread_join(g[i].thread, NULL);
			KUNIT_EXPECT_EQ(test, g[i].result, 0);
			seen |= 1ULL << (g[i].cpu - cpu_count());
		}
		KUNIT_EXPECT_EQ(test, st.calls, 1);
		KUNIT_EXPECT_EQ(test, seen, 15);
		KUNIT_EXPECT_EQ(test, port_run_on(st.cpu, MM_TASK, note_call, &st), -ENOENT);
	}
}

/* Pretended contexts keep interrupts out, as real ones do. */
static void pretended_context(struct kunit *test)
{
	struct stage st = { .cpu = 0 };

	KUNIT_EXPECT_EQ(test, host_set_context(MM_NMI), MM_TASK);
	KUNIT_EXPECT_EQ(test, port_context(), MM_NMI);
	KUNIT_EXPECT_EQ(test, host_set_context(MM_TASK), MM_NMI);
	KUNIT_EXPECT_EQ(test, port_run_on(0, MM_IRQ, note_call, &st), 0);
	KUNIT_EXPECT_EQ(test, st.calls, 1);
}

static char logged[32];

static void keep_line(const char *line)
{
	strncpy(logged, line, sizeof(logged) - 1);
}

static void log_goes_to_the_hook(struct kunit *test)
{
	host_set_log(keep_line);
	port_log("one line");
	host_set_log(NULL);
	KUNIT_EXPECT_STREQ(test, logged, "one line");
}

static jmp_buf out;

static void leave_panic(const char *why)
{
	keep_line(why);
	longjmp(out, 1);
}

static void panic_goes_to_the_hook(struct kunit *test)
{
	host_set_panic(leave_panic);
	if (!setjmp(out))
		port_panic("no way on");
	host_set_panic(NULL);
	KUNIT_EXPECT_STREQ(test, logged, "no way on");
}

static void panics(struct kunit *test)
{
	(void)test;
	port_panic("all is lost");
}

static void faults(struct kunit *test)
{
	(void)test;
	*(volatile char *)8 = 0;
}

static void probes(struct kunit *test)
{
	static const char constant[64] = "read only";
	char own[16] = "mine";

	KUNIT_EXPECT_EQ(test, probe_read(own + 1), 0);
	KUNIT_EXPECT_EQ(test, probe_write(own + 1), 0);
	KUNIT_EXPECT_STREQ(test, own, "mine");
	KUNIT_EXPECT_EQ(test, probe_read(constant), 0);
	KUNIT_EXPECT_EQ(test, probe_write((void *)constant), -EFAULT);
	KUNIT_EXPECT_EQ(test, probe_read((void *)4096), -EFAULT);
	KUNIT_EXPECT_EQ(test, probe_write((void *)4096), -EFAULT);
}

static int cpu_init(struct kunit *test)
{
	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	return 0;
}

static struct kunit_case cpu_cases[] = {
	KUNIT_CASE(asleep),
	KUNIT_CASE(busy),
	KUNIT_CASE(masked),
#ifdef CONFIG_PREEMPT
	KUNIT_CASE(pinned),
#endif
	KUNIT_CASE(comings_and_goings),
	KUNIT_CASE(tasks_share_a_cpu),
	KUNIT_CASE(numbers_are_recycled),
	KUNIT_CASE(pretended_context),
	KUNIT_CASE(probes),
	KUNIT_CASE(log_goes_to_the_hook),
	KUNIT_CASE(panic_goes_to_the_hook),
	KUNIT_CASE_DIES(panics, "panic: all is lost"),
	KUNIT_CASE_DIES(faults, "panic: page fault at 0x8 (write, not present)"),
	{},
};

static struct kunit_suite cpu_suite = {
	.name = "host_cpu",
	.init = cpu_init,
	.test_cases = cpu_cases,
};
kunit_test_suite(cpu_suite);
