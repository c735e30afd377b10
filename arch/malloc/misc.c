// SPDX-License-Identifier: MIT
/* Clock, log, panic and waiting of the malloc port. None of them allocates. */
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "arch/malloc/port.h"
#include "arch/posix.h"

#define RELAX_YIELD_EVERY 64

uint64_t port_clock(void)
{
	return posix_clock();
}

void port_log(const char *line)
{
	posix_write_line("spanheap: ", line);
}

/* A handler of SIGABRT that allocates comes back here: then there is nothing to wait for. */
void port_panic(const char *why)
{
	static bool panicked;

	posix_write_line("spanheap: ", why);
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
