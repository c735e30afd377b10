/* SPDX-License-Identifier: MIT */
/*
 * Running the suites of an image: what the kernel's start-up and the host's
 * main() call, and the two hooks they supply. Results come out as KTAP.
 */
#ifndef KUNIT_RUN_H
#define KUNIT_RUN_H

#include <kunit/test.h>

/**
 * struct kunit_options - what to run.
 * @filter: globs (* and ?) separated by commas, each suite.case or suite; NULL
 *	or empty runs all
 * @dies: run the cases that must die, instead of all others: the first that
 *	does so ends the run
 * @quick: leave out slow cases, and announce none that must die
 */
struct kunit_options {
	const char *filter;
	bool dies, quick;
};

struct kunit_results {
	unsigned passed, failed, skipped;
};

/** kunit_run() - run what the options choose. Task context. Return: cases and suites failed. */
unsigned kunit_run(const struct kunit_options *options, struct kunit_results *results);

/** kunit_list() - one line for each case: its name, and a tab and its text if it dies. */
void kunit_list(const char *filter);

/** kunit_match() - does the filter choose this case? @name NULL: anything of the suite? */
bool kunit_match(const char *filter, const char *suite, const char *name);

/** kunit_run_once() - init, case and exit of a suite, with @test prepared; prints no result. */
void kunit_run_once(struct kunit *test, const struct kunit_case *c);

/* The environment supplies: */

/** kunit_out() - print one line; @line has no newline. Any context, any CPU. */
void kunit_out(const char *line);

/**
 * kunit_current() - who runs this: unique for each task or thread.
 *
 * Return: NULL in an interrupt or NMI.
 */
const void *kunit_current(void);

#endif
