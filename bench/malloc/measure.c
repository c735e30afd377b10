// SPDX-License-Identifier: MIT
/*
 * measure FILE PRELOAD PROGRAM ARG...: runs a program under an allocator, and writes
 * what it took to FILE: CPU milliseconds, with all its children, and the largest
 * resident set among them in KiB.
 *
 * A small program of its own because the kernel lets a child begin with the peak of
 * the process it was forked from; a runner in Python would hide what is smaller than
 * itself. Ends with the program's status.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double ms(const struct timeval *t)
{
	return (double)t->tv_sec * 1e3 + (double)t->tv_usec / 1e3;
}

int main(int argc, char **argv)
{
	struct rusage used;
	int status;
	pid_t pid;
	FILE *out;

	if (argc < 4) {
		fputs("usage: measure FILE PRELOAD PROGRAM ARG...\n", stderr);
		return 2;
	}
	pid = fork();
	if (!pid) {
		setenv("LD_PRELOAD", argv[2], 1);
		execvp(argv[3], argv + 3);
		perror(argv[3]);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || getrusage(RUSAGE_CHILDREN, &used)) {
		perror("measure");
		return 2;
	}
	out = fopen(argv[1], "w");
	if (!out) {
		perror(argv[1]);
		return 2;
	}
	fprintf(out, "%.1f %ld\n", ms(&used.ru_utime) + ms(&used.ru_stime), used.ru_maxrss);
	if (fclose(out)) {
		perror(argv[1]);
		return 2;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
