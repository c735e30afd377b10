// SPDX-License-Identifier: MIT
/*
 * The explorer: a stack of choices, replayed from the bottom in every run.
 *
 *	choice[i].taken of choice[i].of		which of the threads that could
 *						go on did, at the i-th point
 *
 * The thread that runs is always the first alternative, so that the first run
 * has no preemption at all; after a run the last choice that has alternatives
 * left takes the next one and what is above it is forgotten.
 *
 * A thread that spins looks again only when every other one got on or ended, as
 * the fair scheduler of the CHESS checker has it (Musuvathi and Qadeer, 2008):
 * else two spinning threads could go on for ever without the one they wait for.
 */
#include <stdlib.h>
#include <ucontext.h>

#include "lib/fmt.h"
#include "tests/host/sched.h"

#define STACK_SIZE (64 << 10)
#define MAX_POINTS 4096 /* a run with more goes nowhere */

static struct {
	unsigned char taken, of;
} choice[MAX_POINTS];
static unsigned nchoices, point;

static struct fiber {
	ucontext_t context;
	void *stack;
	bool ended;
	unsigned waits;		/* set of threads that must get on before this one looks again */
} fiber[SCHED_MAX_THREADS + 1]; /* the last stands for nobody, and has ended */
static unsigned nfibers, current, preemptions;
static ucontext_t explorer;
static struct sched *subject; /* while something is explored */
static bool running;	      /* while its threads run */

void sched_fail(const char *why)
{
	if (subject && !subject->why)
		subject->why = why;
}

unsigned sched_self(void)
{
	return current;
}

static void run_fiber(void)
{
	subject->thread[current](subject->arg);
	fiber[current].ended = true;
	setcontext(&explorer);
}

/* A thread that ended is waited for by nobody. */
static bool is_ready(unsigned i)
{
	unsigned waits = fiber[i].waits;

	for (unsigned other = 0; other < nfibers; other++)
		if (fiber[other].ended)
			waits &= ~(1U << other);
	return !fiber[i].ended && !waits;
}

/* Threads that may go on, the current one first. */
static unsigned alternatives(unsigned *out)
{
	bool stays = is_ready(current);
	unsigned n = 0;

	if (stays)
		out[n++] = current;
	if (stays && preemptions >= subject->preemptions)
		return n;
	for (unsigned i = 0; i < nfibers; i++)
		if (i != current && is_ready(i))
			out[n++] = i;
	/* All wait: each in turn may look again. */
	for (unsigned i = 1; i <= nfibers && !n; i++)
		if (!fiber[(current + i) % nfibers].ended)
			out[n++] = (current + i) % nfibers;
	return n;
}

/* Return: the thread that goes on; nfibers if there is none. */
static unsigned choose(void)
{
	unsigned who[SCHED_MAX_THREADS], n = alternatives(who), next;

	if (!n)
		return nfibers;
	if (point == MAX_POINTS) {
		sched_fail("the threads wait for each other");
		return nfibers;
	}
	if (point == nchoices) {
		choice[point].taken = 0;
		choice[point].of = (unsigned char)n;
		nchoices++;
	}
	if (choice[point].of != n) {
		sched_fail("the run is not repeatable");
		return nfibers;
	}
	next = who[choice[point++].taken];
	preemptions += next != current && is_ready(current);
	return next;
}

/* From a fiber: go on with whatever was chosen. */
static void switch_away(void)
{
	unsigned from = current, next = choose();

	if (next == nfibers) {
		swapcontext(&fiber[from].context, &explorer);
		return;
	}
	fiber[next].waits = 0;
	current = next;
	if (next != from)
		swapcontext(&fiber[from].context, &fiber[next].context);
}

static void got_on(void)
{
	for (unsigned i = 0; i < nfibers; i++)
		fiber[i].waits &= ~(1U << current);
}

void sched_point(void)
{
	if (!running)
		return;
	got_on();
	switch_away();
}

void sched_relax(void)
{
	if (!running)
		return;
	got_on();
	fiber[current].waits = ((1U << nfibers) - 1) & ~(1U << current);
	switch_away();
}

static void start_fiber(struct fiber *f)
{
	f->ended = false;
	f->waits = 0;
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack;
	f->context.uc_stack.ss_size = STACK_SIZE;
	f->context.uc_link = NULL;
	makecontext(&f->context, run_fiber, 0);
}

/* The explorer has the processor again when a thread ended, or the run is stuck. */
static void run_once(struct sched *s)
{
	point = preemptions = 0;
	current = SCHED_MAX_THREADS;
	s->setup(s->arg);
	for (unsigned i = 0; i < nfibers; i++)
		start_fiber(&fiber[i]);
	running = true;
	for (;;) {
		unsigned next = choose();

		if (next == nfibers)
			break;
		current = next;
		swapcontext(&explorer, &fiber[next].context);
	}
	running = false;
	if (!s->why && s->check)
		s->check(s->arg);
	s->runs++;
}

static bool next_sequence(void)
{
	while (nchoices && choice[nchoices - 1].taken + 1 == choice[nchoices - 1].of)
		nchoices--;
	if (!nchoices)
		return false;
	choice[nchoices - 1].taken++;
	return true;
}

static void note_trail(struct sched *s)
{
	size_t len = fmt_print(s->trail, sizeof(s->trail), "run %lu, choices", s->runs);

	for (unsigned i = 0; i < nchoices && len < sizeof(s->trail); i++)
		if (choice[i].taken)
			len += fmt_print(s->trail + len, sizeof(s->trail) - len, " %u:%u", i,
					 choice[i].taken);
}

bool sched_explore(struct sched *s)
{
	s->runs = 0;
	s->why = NULL;
	subject = s;
	nchoices = 0;
	fiber[SCHED_MAX_THREADS].ended = true;
	for (nfibers = 0; s->thread[nfibers]; nfibers++)
		fiber[nfibers].stack = malloc(STACK_SIZE);
	do
		run_once(s);
	while (!s->why && next_sequence());
	if (s->why)
		note_trail(s);
	while (nfibers)
		free(fiber[--nfibers].stack);
	subject = NULL;
	return !s->why;
}
