/* SPDX-License-Identifier: MIT */
/*
 * A few lines of harness for the tests of the malloc library. The same sources are
 * built in three ways:
 *
 *	dynamic		run with libspanheap.so preloaded
 *	static		linked with libspanheap.a
 *	sanitized	the library's sources compiled in, under other names
 *			(malloc is sh_malloc ...), so that the sanitizer keeps its own
 */
#ifndef TESTS_MALLOC_TEST_H
#define TESTS_MALLOC_TEST_H

#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			test_failed(__FILE__, __LINE__, #cond);                                    \
	} while (0)

/* The process runs under something that makes it slow: fewer rounds. */
extern bool test_slow;
/* Under a sanitizer, which has its own ideas of signals, fork() and limits. */
extern const bool test_sanitized;

void test_failed(const char *file, int line, const char *what);

/* Run @fn in a child: it must be killed by SIGABRT and say @text on standard error. */
void expect_death(void (*fn)(void), const char *text);

/* Run @fn in a child, which must come back from it and exit with 0 within @seconds. */
void expect_survival(void (*fn)(void), unsigned seconds);

struct test {
	const char *name;
	void (*fn)(void);
};

extern const struct test calls_tests[], thread_tests[], fork_tests[], misuse_tests[];

/* Keeps the compiler from knowing what an address is good for. */
static inline void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

#endif
