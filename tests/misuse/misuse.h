/* SPDX-License-Identifier: MIT */
/*
 * Programs that misuse the memory manager, one per class of misuse.
 *
 *	spanheap-misuse 7	runs the program of class 7
 *	spanheap-misuse guard 7	the same, with every object guarded
 *	spanheap-misuse --list	the table: number, what becomes of it both times, what it is
 *
 * A program says first what must be reported, address included, and does it then.
 * It ends in that report, or shows that nothing has come of it, or gets away with
 * it. tests/misuse/run.py holds each to what the table says of it.
 */
#ifndef TESTS_MISUSE_H
#define TESTS_MISUSE_H

#include <spanheap/gfp.h>

/**
 * enum fate - what becomes of a misuse.
 * @NOT_RUN: guarding objects changes nothing of it
 * @FOUND: reported
 * @HARMLESS: without effect, by the way the manager is made
 * @UNSEEN: neither
 * @LEGAL: no misuse, although it may look like one: not a word of it
 * @KERNEL: FOUND, by a case of the in-kernel suites that dies of it
 */
enum fate { NOT_RUN, FOUND, HARMLESS, UNSEEN, LEGAL, KERNEL };

/**
 * struct misuse - a program.
 * @number: of the class; legal ones count from 101
 * @fate: with what is always on
 * @guarded: with every object guarded
 * @what: the class in words
 * @run: does it. Of KERNEL the case's name
 */
struct misuse {
	unsigned number;
	enum fate fate, guarded;
	const char *what;
	void (*run)(void);
	const char *kernel_case;
};

/* By file; each ends with number 0. */
extern const struct misuse free_misuses[], bounds_misuses[], stale_misuses[], page_misuses[],
	call_misuses[], legal_uses[];

/** expect() - from here on the report must come that starts with this text. */
__attribute__((format(printf, 1, 2))) void expect(const char *fmt, ...);

/** is_guarded() - does this run guard objects? */
bool is_guarded(void);

/** require() - the program itself works as it should; else it ends as broken. */
#define require(condition) require_that(condition, #condition)
void require_that(bool condition, const char *text);

/** harmless() - nothing has come of it. */
__attribute__((noreturn)) void harmless(const char *why);

/** take() - an object that is written all over; never NULL. */
void *take(size_t size);

/** on_cpu() - run fn(arg) in a task of CPU @cpu, and wait for it. */
void on_cpu(unsigned cpu, void (*fn)(void *), void *arg);

/** opaque() - the same pointer, of which the compiler knows nothing. */
void *opaque(const volatile void *p);

/** heap_works() - take, check and free objects and frames of many sizes; mm_validate(). */
void heap_works(void);

#endif
