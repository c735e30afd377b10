/* SPDX-License-Identifier: MIT */
/*
 * Every interleaving of a few threads, up to a number of preemptions.
 *
 *	#define ATOMIC_POINT() sched_point()	before the code under test is
 *	#include "tests/host/sched.h"		included, as source: it is
 *	#include "mm/thing.c"			compiled once more for the test
 *
 * The threads of a run are coroutines of one real thread, which change places
 * only at scheduling points: the atomic accesses. The explorer runs them from
 * the start again and again, each time with another sequence of choices, depth
 * first, until all sequences with at most @preemptions unforced changes were
 * seen (bounded context switching: Musuvathi and Qadeer, 2007; most bugs need
 * two). What is between two points is taken as one step: an access and all up
 * to the next one, and an atomic_store() with the computing of its value.
 * Memory is sequentially consistent: orderings are for ThreadSanitizer and for
 * thought. Nothing of this runs under ThreadSanitizer, which does not know coroutines.
 *
 * A failure happens again, in the same run, until the code is changed.
 */
#ifndef TESTS_HOST_SCHED_H
#define TESTS_HOST_SCHED_H

#include <stdbool.h>

#define SCHED_MAX_THREADS 4

/**
 * struct sched - what is explored.
 * @setup: makes the start state, before each run
 * @thread: the threads, ended by NULL
 * @check: after each run, when all threads have ended
 * @arg: for all of them
 * @preemptions: how often a thread may be interrupted where it could go on
 * @runs: out: how many runs there were
 * @why: out: what failed, or NULL
 * @trail: out: and in which run, "point:choice" for each choice but the first
 */
struct sched {
	void (*setup)(void *arg);
	void (*thread[SCHED_MAX_THREADS + 1])(void *arg);
	void (*check)(void *arg);
	void *arg;
	unsigned preemptions;
	unsigned long runs;
	const char *why;
	char trail[256];
};

/** sched_explore() - all runs, or until one fails. Return: true if none did. */
bool sched_explore(struct sched *s);

/** sched_point() - another thread may go on here. Does nothing outside of sched_explore(). */
void sched_point(void);

/** sched_relax() - the thread waits for another one: stands for port_relax() in the code under
 * test. */
void sched_relax(void);

/** sched_self() - number of the thread that runs, in the order of struct sched. */
unsigned sched_self(void);

/** sched_fail() - the run is wrong; @why is kept by reference. */
void sched_fail(const char *why);

#endif
