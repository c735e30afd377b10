// SPDX-License-Identifier: MIT
/*
 * <kernel/task.h> on a process: each task is a thread, each CPU a slot of the
 * host port that one of its tasks is attached to at a time.
 *
 * A task keeps its CPU until it yields, joins or ends, as in the small kernel;
 * the tasks of a CPU take turns in the order in which they were started.
 * Interrupts and NMIs are requests by port_run_on(): signals, where a task is
 * attached, so that they cut in between any two instructions.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#include <kernel/task.h>

#include "tests/host/host_test.h"

struct task {
	pthread_t thread;
	unsigned cpu;
	uint64_t place; /* in the line for the CPU */
	sem_t placed;
	void (*fn)(void *);
	void *arg;
};

static unsigned ncpus = 1;

static void run_init_cpu(void *arg)
{
	*(int *)arg = mm_init_cpu();
}

int host_start_cpus(unsigned n)
{
	int err = mm_init_cpu();

	for (unsigned cpu = 1; cpu < n && !err; cpu++)
		if (host_cpu_add(cpu) || port_run_on(cpu, MM_TASK, run_init_cpu, &err))
			err = -ENOENT;
	ncpus = n;
	return err;
}

static void *run_task(void *arg)
{
	struct task *t = arg;

	while (sem_wait(&t->placed))
		;
	host_cpu_take(t->cpu, t->place);
	t->fn(t->arg);
	host_cpu_detach();
	return NULL;
}

struct task *task_start(unsigned cpu, void (*fn)(void *), void *arg, const char *name)
{
	struct task *t;

	(void)name;
	if (cpu >= ncpus)
		return NULL;
	t = malloc(sizeof(*t));
	if (!t)
		return NULL;
	*t = (struct task){ .cpu = cpu, .fn = fn, .arg = arg };
	sem_init(&t->placed, 0, 0);
	if (pthread_create(&t->thread, NULL, run_task, t)) {
		free(t);
		return NULL;
	}
	if (host_cpu_line_up(cpu, &t->place))
		port_panic("task_start: the CPU is gone");
	sem_post(&t->placed);
	return t;
}

void task_join(struct task *t)
{
	unsigned cpu = this_cpu();

	host_cpu_detach();
	pthread_join(t->thread, NULL);
	host_cpu_attach(cpu);
	sem_destroy(&t->placed);
	free(t);
}

void task_yield(void)
{
	host_cpu_yield();
}

unsigned cpu_count(void)
{
	return ncpus;
}

unsigned this_cpu(void)
{
	return port_cpu();
}

void run_in_irq(unsigned cpu, void (*fn)(void *), void *arg)
{
	if (port_run_on(cpu, MM_IRQ, fn, arg))
		port_panic("run_in_irq: no such CPU");
}

void run_in_nmi(unsigned cpu, void (*fn)(void *), void *arg)
{
	if (port_run_on(cpu, MM_NMI, fn, arg))
		port_panic("run_in_nmi: no such CPU");
}
