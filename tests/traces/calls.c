// SPDX-License-Identifier: MIT
/*
 * calls MODE: a program whose calls of malloc are known. tests/record.py runs it under
 * the recorder and reads the trace. The C library's own calls come before: nothing is
 * printed, and the first call of each mode asks for MARK bytes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MARK 54321
#define THREAD_PAIRS 10000

/* Not a constant: compilers have an opinion about such sizes. */
static volatile size_t huge = SIZE_MAX / 2;

static void expect(int truth)
{
	if (!truth)
		_exit(3);
}

static void plain(void)
{
	char *a = malloc(100), *b = calloc(3, 7), *c, *d = NULL;

	expect(b[20] == 0);
	memset(a, 7, 100);
	free(NULL);
	c = realloc(NULL, 5);
	a = realloc(a, 200000);
	expect(a[99] == 7);
	free(b);
	b = memalign(64, 1000);
	expect((uintptr_t)b % 64 == 0);
	expect(posix_memalign((void **)&d, 4096, 10) == 0 && (uintptr_t)d % 4096 == 0);
	expect(posix_memalign((void **)&d, 24, 10) == EINVAL);
	errno = 0;
	expect(reallocarray(c, huge, 3) == NULL && errno == ENOMEM);
	expect(malloc(huge) == NULL);
	c = reallocarray(c, 5, 8);
	expect(realloc(c, 0) == NULL);
	free(a);
	free(d);
	free(b);
}

/* More objects at once than the first table of the recorder holds. */
static void many(void)
{
	enum { N = 20000 };
	static void *p[N];

	for (unsigned i = 0; i < N; i++)
		p[i] = malloc(i % 50 + 1);
	for (unsigned i = 0; i < N; i++)
		free(p[i * 7 % N]);
}

static void killed(void)
{
	free(malloc(10));
	raise(SIGKILL);
}

static void forked(void)
{
	void *before = malloc(10);
	int status;
	pid_t pid = fork();

	if (!pid) {
		free(before);
		free(malloc(20));
		_exit(0);
	}
	expect(waitpid(pid, &status, 0) == pid && status == 0);
	free(before);
}

static void *pairs(void *arg)
{
	for (unsigned i = 0; i < THREAD_PAIRS; i++)
		free(realloc(malloc(i % 100 + 1), i % 300 + 1));
	return arg;
}

static void threads(void)
{
	pthread_t id[4];

	for (unsigned i = 0; i < 4; i++)
		expect(pthread_create(&id[i], NULL, pairs, NULL) == 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(id[i], NULL);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
	} mode[] = {
		{ "plain", plain },   { "many", many },	      { "killed", killed },
		{ "forked", forked }, { "threads", threads },
	};

	expect(argc == 2);
	for (unsigned i = 0; i < sizeof(mode) / sizeof(*mode); i++) {
		if (strcmp(argv[1], mode[i].name))
			continue;
		free(malloc(MARK));
		mode[i].fn();
		return 0;
	}
	return 2;
}
