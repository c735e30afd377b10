// SPDX-License-Identifier: MIT
/*
 * Tasks: flows of code with a stack of their own that take turns on a CPU.
 *
 *	task_start ─► READY ◄────────► RUNNING ─► ENDING ─► ENDED ─► task_join
 *	              (in the queue)   │    ▲    (still on   (joiner may
 *	                      ▲        ▼    │     its stack)  free it)
 *	                      └───── BLOCKED (waits for another to end)
 *
 * A task stays on the CPU it was started on, so a task that is switched out can
 * only be picked up again by the CPU that has just left it. Each CPU has a queue,
 * first come first served, and a task that sleeps when the queue is empty.
 *
 * Cooperative: a task runs until it yields, waits or ends. With CONFIG_PREEMPT a
 * time slice is measured while others wait, at whose end sched_preempt() is called.
 *
 * A task's memory is one stack; struct task lies at its top. It cannot free what
 * it stands on: whoever runs next on the CPU marks it ENDED, the joiner frees it.
 *
 * Locking: sched_queue.lock, interrupts off; never two at once; innermost.
 */
#include <kernel/sched.h>
#include <kernel/task.h>
#include "lib/bits.h"

enum task_state { TASK_READY, TASK_RUNNING, TASK_BLOCKED, TASK_ENDING, TASK_ENDED };

/**
 * struct task
 * @sp: where arch_switch() goes on
 * @stack_top: of the stack, for kstack_free(); 0: not from task_start()
 * @state: enum task_state; changed by its own CPU, or under its queue's lock
 * @next: in the queue
 * @joiner: whom to wake at its end; under its queue's lock
 */
struct task {
	uintptr_t sp, stack_top;
	unsigned cpu;
	uint32_t state;
	void (*fn)(void *arg);
	void *arg;
	const char *name;
	struct task *next, *joiner;
};

static struct task main_task = { .name = "main", .state = TASK_RUNNING };
static struct task idle_tasks[PORT_MAX_CPUS];
static uint32_t nidle;

static void task_entry(void);
static void switch_away(void);
static void finish_switch(void);
static void wake(struct task *t);

struct task *sched_current(void)
{
	return sched_queue_self()->current;
}

const char *sched_task_name(void)
{
	struct task *t = sched_current();

	return t ? t->name : "start-up";
}

void sched_init_cpu(uintptr_t idle_stack)
{
	struct sched_queue *q = sched_queue_self();

	q->idle = &idle_tasks[atomic_fetch_add(&nidle, 1)];
	q->idle->name = "idle";
	q->idle->state = TASK_RUNNING;
	q->current = q->idle;
	if (idle_stack) {
		q->idle->sp = arch_new_flow(idle_stack, task_entry);
		q->idle->fn = (void (*)(void *))sched_idle;
		q->current = &main_task;
	}
}

struct task *task_start(unsigned cpu, void (*fn)(void *), void *arg, const char *name)
{
	struct sched_queue *q = sched_queue_of(cpu);
	uintptr_t top;
	struct task *t;

	if (!q)
		return NULL;
	top = kstack_alloc(SCHED_STACK_SIZE);
	if (!top)
		return NULL;
	t = (struct task *)round_down(top - sizeof(*t), 64);
	*t = (struct task){
		.sp = arch_new_flow((uintptr_t)t, task_entry),
		.stack_top = top,
		.cpu = cpu,
		.state = TASK_BLOCKED,
		.fn = fn,
		.arg = arg,
		.name = name,
	};
	wake(t);
	return t;
}

static void task_entry(void)
{
	struct task *self;

	finish_switch();
	arch_irq_enable();
	self = sched_current();
	self->fn(self->arg);
	arch_irq_disable();
	self->state = TASK_ENDING;
	switch_away();
	__builtin_unreachable();
}

void task_join(struct task *t)
{
	struct sched_queue *q = sched_queue_of(t->cpu);
	unsigned long flags = spin_lock_irqsave(&q->lock);
	bool wait = t->state != TASK_ENDED;

	if (wait) {
		t->joiner = sched_current();
		t->joiner->state = TASK_BLOCKED;
	}
	spin_unlock(&q->lock);
	if (wait)
		switch_away();
	port_irq_restore(flags);
	kstack_free(t->stack_top, SCHED_STACK_SIZE);
}

void task_yield(void)
{
	unsigned long flags;

	if (!arch_may_switch())
		return;
	flags = port_irq_save();
	sched_preempt();
	port_irq_restore(flags);
}

void sched_preempt(void)
{
	arch_run_task_calls();
	switch_away();
}

void sched_idle(void)
{
	arch_irq_disable();
	for (;;) {
		sched_preempt();
		/* What comes from here on ends the sleep: interrupts are off until then. */
		if (!atomic_load_relaxed(&sched_queue_self()->head) && !arch_task_calls_pending())
			arch_wait();
	}
}

static void append(struct sched_queue *q, struct task *t)
{
	t->state = TASK_READY;
	t->next = NULL;
	if (q->head)
		q->tail->next = t;
	else
		atomic_store_relaxed(&q->head, t);
	q->tail = t;
}

/* Put a task that is BLOCKED, or about to be switched away as such, into its queue. */
static void wake(struct task *t)
{
	unsigned cpu = t->cpu;
	struct sched_queue *q = sched_queue_of(cpu);
	unsigned long flags = spin_lock_irqsave(&q->lock);

	append(q, t);
	spin_unlock(&q->lock);
	if (cpu != port_cpu())
		arch_kick(cpu);
	else if (sched_current() != q->idle)
		arch_slice(true);
	port_irq_restore(flags);
}

/* Interrupts are off. Returns when the caller's task is on again: at once if it is next. */
static void switch_away(void)
{
	struct sched_queue *q = sched_queue_self();
	struct task *from = q->current, *to;

	spin_lock(&q->lock);
	if (q->head && from->state == TASK_RUNNING && from != q->idle)
		append(q, from);
	to = q->head;
	if (to) {
		atomic_store_relaxed(&q->head, to->next);
	} else {
		to = from->state == TASK_RUNNING ? from : q->idle;
	}
	to->state = TASK_RUNNING;
	q->current = to;
	arch_slice(q->head);
	spin_unlock(&q->lock);
	if (to == from)
		return;
	q->previous = from;
	arch_switch(&from->sp, to->sp);
	finish_switch();
}

/* On the new task's stack: nobody stands on the old one's any more. */
static void finish_switch(void)
{
	struct sched_queue *q = sched_queue_self();
	struct task *ended = q->previous, *joiner;

	if (ended->state != TASK_ENDING)
		return;
	spin_lock(&q->lock);
	ended->state = TASK_ENDED;
	joiner = ended->joiner;
	spin_unlock(&q->lock);
	if (joiner)
		wake(joiner);
}
