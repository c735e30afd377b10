/* SPDX-License-Identifier: MIT */
/*
 * Between init/task.c and arch/: what a CPU does when it has nothing to do, and
 * how an interrupt makes a task give way. Users of tasks want task.h.
 */
#ifndef KERNEL_SCHED_H
#define KERNEL_SCHED_H

#include "lib/spinlock.h"

/* Of a task; with its struct task at the top. */
#define SCHED_STACK_SIZE 0x8000UL

struct task;

/**
 * struct sched_queue - the tasks of one CPU.
 * @lock: guards @head, @tail and the states of tasks that wait; innermost
 * @current: who runs; written by its own CPU only
 * @idle: runs when nobody else can; never in the queue
 * @previous: who ran before @current
 * @head, @tail: who wants to run, first come first served
 */
struct sched_queue {
	struct spinlock lock;
	struct task *current, *idle, *previous;
	struct task *head, *tail;
};

/** sched_queue_of() - the queue of a running CPU, or NULL. Supplied by arch/. */
struct sched_queue *sched_queue_of(unsigned cpu);

/** sched_queue_self() - the queue of the CPU that runs the caller. Supplied by arch/. */
struct sched_queue *sched_queue_self(void);

/**
 * sched_init_cpu() - the flow that calls becomes the first task of this CPU.
 *
 * On CPU 0 it is the task "main", and one to idle is made beside it on
 * @idle_stack; on the others it is the one that idles. Interrupts are off.
 */
void sched_init_cpu(uintptr_t idle_stack);

/** sched_idle() - run what comes, sleep otherwise. The rest of a CPU's life. */
__attribute__((noreturn)) void sched_idle(void);

/**
 * sched_preempt() - let another task of this CPU run, if one waits.
 *
 * Called with interrupts off in task context, nothing pinned: by an interrupt
 * that is about to return, or when the last pin is gone. Interrupts are off
 * again afterwards.
 */
void sched_preempt(void);

/** sched_current() - the running task; unique and constant while it runs. NULL very early. */
struct task *sched_current(void);

/** sched_task_name() - the running task's name, for messages; any context. */
const char *sched_task_name(void);

/* ---- Supplied by arch/ for init/task.c ---- */

/** arch_switch() - save the running flow in *from and go on where @to was saved. */
void arch_switch(uintptr_t *from, uintptr_t to);

/** arch_new_flow() - a saved flow that will call fn() on a stack; fn() never returns. */
uintptr_t arch_new_flow(uintptr_t stack_top, void (*fn)(void));

/** arch_may_switch() - in a task, with interrupts on, and nothing pinned? */
bool arch_may_switch(void);

/** arch_irq_enable(), arch_irq_disable() - for a flow that knows how they are. */
void arch_irq_enable(void);
void arch_irq_disable(void);

/** arch_kick() - make a CPU look at its queue: ends its sleep, or preempts its task. */
void arch_kick(unsigned cpu);

/** arch_wait() - sleep until the next interrupt; comes with interrupts off, leaves so. */
void arch_wait(void);

/** arch_slice() - with PREEMPT: interrupt this CPU once its time slice is over; off stops it. */
void arch_slice(bool on);

/**
 * arch_run_task_calls() - do what others asked this CPU to do between tasks.
 *
 * Interrupts are off before and after, on meanwhile.
 */
void arch_run_task_calls(void);

/** arch_task_calls_pending() - has somebody asked? */
bool arch_task_calls_pending(void);

#define KSTACK_MAX 0xf000UL

/**
 * kstack_alloc() - a stack in the window for stacks, a guard page below it.
 * @size: bytes, a multiple of FRAME_SIZE, at most KSTACK_MAX
 *
 * Task context. Return: its top, or 0.
 */
uintptr_t kstack_alloc(size_t size);

/** kstack_free() - give back all of it; waits for every CPU to forget it. 0 is legal. */
void kstack_free(uintptr_t top, size_t size);

#endif
