// SPDX-License-Identifier: MIT
/* fork() while other threads allocate: the child can do all that its parent could. */
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/malloc/test.h"

#define BUSY 3
#define HELD 64

static bool stop;
static void *shared[HELD];

/* Also frees what others made, so that every kind of lock is taken. */
static void *be_busy(void *arg)
{
	size_t n = (size_t)arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		void *p = malloc(n * 37 % 3000 + 8), *old;

		n = n * 1103515245 + 12345;
		old = __atomic_exchange_n(&shared[n / 65536 % HELD], p, __ATOMIC_ACQ_REL);
		free(old);
		if (n % 128 == 0)
			free(malloc(n / 7 % 5000000));
		if (n % 4096 == 0)
			malloc_trim(0);
	}
	return NULL;
}

static void *work(void *unused)
{
	void *p[500];

	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = memset(malloc(i * 40 + 1), 3, i * 40 + 1);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		free(p[i]);
	return unused;
}

/* All in the child: own objects, objects of threads that are not here, new threads, trimming. */
static void live_on(void)
{
	pthread_t t[3];

	work(NULL);
	for (size_t i = 0; i < HELD; i++)
		free(shared[i]);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, work, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	malloc_trim(0);
	work(NULL);
}

static void children(void)
{
	unsigned rounds = test_slow ? 5 : 60;
	pthread_t t[BUSY];

	stop = false;
	for (size_t i = 0; i < BUSY; i++)
		pthread_create(&t[i], NULL, be_busy, (void *)(i + 1));
	for (unsigned i = 0; i < rounds; i++)
		expect_survival(live_on, 30);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < BUSY; i++)
		pthread_join(t[i], NULL);
	for (size_t i = 0; i < HELD; i++) {
		free(shared[i]);
		shared[i] = NULL;
	}
}

static void from_busy_processes(void)
{
	if (!test_sanitized)
		children();
}

static void fork_again(void)
{
	free(malloc(100000));
	expect_survival(live_on, 30);
	free(malloc(1000));
}

static void from_a_child(void)
{
	if (!test_sanitized)
		expect_survival(fork_again, 60);
}

/* Handlers of others, registered before or after ours, may allocate. */
static unsigned handled;

static void handler(void)
{
	void *p = malloc(1 << 20);

	work(NULL);
	free(p);
	handled++;
}

static void with_handlers(void)
{
	pthread_atfork(handler, handler, handler);
	handled = 0;
	expect_survival(fork_again, 60);
	CHECK(handled == 2);
}

static void with_handlers_that_allocate(void)
{
	if (!test_sanitized)
		expect_survival(with_handlers, 60);
}

static void *fork_here(void *unused)
{
	expect_survival(live_on, 30);
	return unused;
}

static void from_threads_at_once(void)
{
	pthread_t t[4];

	if (test_sanitized)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, fork_here, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
}

const struct test fork_tests[] = {
	{ "fork.from_busy_processes", from_busy_processes },
	{ "fork.from_a_child", from_a_child },
	{ "fork.with_handlers_that_allocate", with_handlers_that_allocate },
	{ "fork.from_threads_at_once", from_threads_at_once },
	{ NULL, NULL },
};
