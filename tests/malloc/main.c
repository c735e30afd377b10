// SPDX-License-Identifier: MIT
/*
 * Runs the tests of the malloc library: main [--slow] [part of a name].
 *
 * Prints one line for each, last line `N passed, N failed`.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/malloc/test.h"

bool test_slow;
#ifdef TEST_SANITIZED
const bool test_sanitized = true;
#else
const bool test_sanitized;
#endif

static unsigned failures;

void test_failed(const char *file, int line, const char *what)
{
	if (__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) < 10)
		fprintf(stderr, "# %s:%d: not so: %s\n", file, line, what);
}

static pid_t run_child(void (*fn)(void), unsigned seconds, int *err)
{
	int fd[2];
	pid_t pid;

	if (pipe(fd))
		abort();
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(fd[0]);
		dup2(fd[1], STDERR_FILENO);
		alarm(seconds);
		failures = 0;
		fn();
		_exit(failures ? 1 : 0);
	}
	close(fd[1]);
	*err = fd[0];
	return pid;
}

static int finish_child(pid_t pid, int err, char *text, size_t room)
{
	size_t n = 0;
	ssize_t got;
	int status;

	while (n + 1 < room && (got = read(err, text + n, room - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	close(err);
	waitpid(pid, &status, 0);
	return status;
}

void expect_death(void (*fn)(void), const char *want)
{
	char text[512];
	int err, status;
	pid_t pid = run_child(fn, 20, &err);

	status = finish_child(pid, err, text, sizeof(text));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(text, want)) {
		fprintf(stderr, "# status 0x%x, expected \"%s\", got: %s\n", status, want, text);
		CHECK(!"died as expected");
	}
}

void expect_survival(void (*fn)(void), unsigned seconds)
{
	char text[512];
	int err, status;
	pid_t pid = run_child(fn, seconds, &err);

	status = finish_child(pid, err, text, sizeof(text));
	if (status) {
		fprintf(stderr, "# status 0x%x: %s\n", status, text);
		CHECK(!"the child was content");
	}
}

int main(int argc, char **argv)
{
	static const struct test *const all[] = { calls_tests, thread_tests, fork_tests,
						  misuse_tests };
	unsigned passed = 0, failed = 0;
	const char *filter = "";

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--slow"))
			test_slow = true;
		else
			filter = argv[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		for (const struct test *t = all[i]; t->name; t++) {
			if (!strstr(t->name, filter))
				continue;
			failures = 0;
			t->fn();
			printf("%s %s\n", failures ? "not ok" : "ok", t->name);
			fflush(stdout);
			failures ? failed++ : passed++;
		}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
