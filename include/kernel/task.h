/* SPDX-License-Identifier: MIT */
/*
 * Tasks of the small kernel, and ways to run code elsewhere.
 *
 * A task stays on the CPU it was started on. Tasks are cooperative; with
 * PREEMPT=1 the timer preempts them, except while they are pinned
 * (port_pin()) or have interrupts off. Stacks have a guard page below.
 */
#ifndef KERNEL_TASK_H
#define KERNEL_TASK_H

#include <stddef.h>
#include <stdint.h>

struct task;

/**
 * task_start() - run fn(arg) as a task of its own.
 * @cpu: on which CPU; one that is not running gives NULL
 * @name: kept by reference
 *
 * Task context. Return: the task, to be given to task_join(); or NULL.
 */
struct task *task_start(unsigned cpu, void (*fn)(void *), void *arg, const char *name);

/** task_join() - wait until the task has ended and its memory is back. */
void task_join(struct task *t);

/** task_yield() - let the other tasks of this CPU run. */
void task_yield(void);

/** cpu_count() - CPUs that are running, numbered from 0 without gaps. */
unsigned cpu_count(void);

/** this_cpu() - the CPU that runs the caller. */
unsigned this_cpu(void);

/** run_in_irq() - run fn(arg) in an interrupt on @cpu, the own one too; returns when fn has. */
void run_in_irq(unsigned cpu, void (*fn)(void *), void *arg);

/** run_in_nmi() - run fn(arg) in an NMI on @cpu, the own one too; returns when fn has. */
void run_in_nmi(unsigned cpu, void (*fn)(void *), void *arg);

/** probe_read() - 0, or -EFAULT if reading the byte at @addr faults. Any context. */
int probe_read(const void *addr);

/** probe_write() - the same for writing; the byte keeps its value. */
int probe_write(void *addr);

#endif
