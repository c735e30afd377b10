// SPDX-License-Identifier: MIT
/* Wrong calls end the process, each with a line that says what was wrong. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/malloc/test.h"

static size_t size;
static size_t offset;

static void free_twice(void)
{
	void *p = malloc(size);

	free(p);
	free(hide(p));
}

static void free_twice_later(void)
{
	void *p = malloc(size), *q[100];

	for (unsigned i = 0; i < 100; i++)
		q[i] = malloc(size);
	free(p);
	for (unsigned i = 0; i < 100; i++)
		free(q[i]);
	free(hide(p));
}

static void *free_it(void *p)
{
	free(p);
	return NULL;
}

static void free_twice_by_two(void)
{
	void *p = malloc(size);
	pthread_t t;

	pthread_create(&t, NULL, free_it, p);
	pthread_join(t, NULL);
	free(hide(p));
	/* Found at the latest when this thread's caches meet the other's. */
	malloc_trim(0);
}

/* The other way round: the second free is the other thread's. */
static void free_twice_by_other(void)
{
	void *p = malloc(size);
	pthread_t t;

	free(p);
	pthread_create(&t, NULL, free_it, hide(p));
	pthread_join(t, NULL);
	malloc_trim(0);
}

/* So many are free already that no cache keeps @p. */
static void free_twice_at_last(void)
{
	void *p = malloc(size), *q[100];

	for (unsigned i = 0; i < 100; i++)
		q[i] = malloc(size);
	for (unsigned i = 0; i < 100; i++)
		free(q[i]);
	free(p);
	free(hide(p));
}

/* What was freed by another thread lies where objects are next taken from. */
static void free_twice_by_owner(void)
{
	void *p[200];
	pthread_t t;

	for (unsigned i = 0; i < 200; i++)
		p[i] = malloc(size);
	for (unsigned i = 0; i < 200; i++) {
		pthread_create(&t, NULL, free_it, p[i]);
		pthread_join(t, NULL);
	}
	hide(malloc(size));
	for (unsigned i = 0; i < 200; i++)
		free(hide(p[i]));
}

static void free_inside(void)
{
	free(hide((char *)malloc(size) + offset));
}

static void free_stack(void)
{
	char here[100];

	free(hide(here + 16));
}

static void free_static(void)
{
	static char there[100];

	free(hide(there));
}

static void free_wild(void)
{
	free(hide((void *)0xdeadbeef00f0));
}

static void free_wilder(void)
{
	free(hide((void *)0xffffdeadbeef00f0));
}

static void free_null_page(void)
{
	free(hide((void *)64));
}

static void realloc_freed(void)
{
	void *p = malloc(size);

	free(p);
	free(hide(realloc(hide(p), size * 4)));
}

static void free_too_much(void)
{
	free_sized(malloc(size), size * 3);
}

static const size_t sizes[] = { 8,    16,    64,    1000,  1024,    4096,
				8192, 32768, 50000, 65536, 1 << 20, 3 << 20 };

static void double_free(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size = sizes[i];
		expect_death(free_twice, size > 1 << 20 ? "free" : "double free");
		expect_death(free_twice_later, "free");
		expect_death(free_twice_by_two, "free");
		expect_death(free_twice_by_other, "free");
		expect_death(free_twice_at_last, "free");
		expect_death(free_twice_by_owner, "free");
		expect_death(realloc_freed, "query of no object");
	}
}

static void invalid_free(void)
{
	for (size_t i = 1; i < ARRAY_SIZE(sizes); i++) {
		size = sizes[i];
		for (offset = 1; offset < size; offset = offset * 2 + 6)
			expect_death(free_inside, "invalid free");
	}
	expect_death(free_stack, "invalid free");
	expect_death(free_static, "invalid free");
	expect_death(free_wild, "invalid free");
	expect_death(free_wilder, "invalid free");
	expect_death(free_null_page, "invalid free");
}

static void wrong_size(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size = sizes[i];
		expect_death(free_too_much, "wrong size");
	}
}

/* ---- Signals ---- */

static void allocate_in_handler(int sig)
{
	(void)sig;
	for (unsigned i = 0; i < 70; i++)
		free(malloc(40000 + i * 100000));
}

/* Either nothing was interrupted, or the process ends with a word. It never hangs. */
static void storm(void)
{
	struct itimerval every = { .it_interval.tv_usec = 100, .it_value.tv_usec = 100 };
	struct sigaction sa = { .sa_handler = allocate_in_handler };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (unsigned i = 0; i < 2000000; i++)
		free(malloc(2000000 + i % 7 * 8192));
	abort();
}

static void handler_that_allocates(void)
{
	if (!test_sanitized && !test_slow)
		expect_death(storm, "signal handler");
}

const struct test misuse_tests[] = {
	{ "misuse.double_free", double_free },
	{ "misuse.invalid_free", invalid_free },
	{ "misuse.wrong_size", wrong_size },
	{ "misuse.handler_that_allocates", handler_that_allocates },
	{ NULL, NULL },
};
