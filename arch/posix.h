/* SPDX-License-Identifier: MIT */
/* What the two ports to a process, arch/host and arch/malloc, do alike. No call allocates. */
#ifndef ARCH_POSIX_H
#define ARCH_POSIX_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/** posix_clock() - nanoseconds, by a clock that only rises. */
static inline uint64_t posix_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/** posix_write_line() - to stderr, in one piece. Keeps errno; for signal handlers as well. */
static inline void posix_write_line(const char *prefix, const char *line)
{
	struct iovec part[] = {
		{ (void *)prefix, strlen(prefix) },
		{ (void *)line, strlen(line) },
		{ "\n", 1 },
	};
	int saved = errno;
	ssize_t written = writev(STDERR_FILENO, part, 3);

	(void)written; /* nobody is left to be told */
	errno = saved;
}

#endif
