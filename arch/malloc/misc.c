// SPDX-License-Identifier: MIT
/* Clock, log, panic and waiting of the malloc port. None of them allocates. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "arch/malloc/port.h"

#define RELAX_YIELD_EVERY 64

uint64_t port_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void write_line(const char *prefix, const char *line)
{
	struct iovec part[] = {
		{ (void *)prefix, strlen(prefix) },
		{ (void *)line, strlen(line) },
		{ "\n", 1 },
	};
	int saved = errno;

	if (writev(STDERR_FILENO, part, 3) < 0)
		errno = saved; /* nobody is left to be told */
	errno = saved;
}

void port_log(const char *line)
{
	write_line("spanheap: ", line);
}

/* A handler of SIGABRT that allocates comes back here: then there is nothing to wait for. */
void port_panic(const char *why)
{
	static bool panicked;

	write_line("spanheap: ", why);
	if (__atomic_exchange_n(&panicked, true, __ATOMIC_RELAXED))
		_exit(127);
	abort();
}

/* Where there are more threads than processors, the one that is waited for must get on. */
void malloc_relax(void)
{
	if (++malloc_self.relaxed % RELAX_YIELD_EVERY == 0)
		sched_yield();
	else
		__builtin_ia32_pause();
}
