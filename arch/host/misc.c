// SPDX-License-Identifier: MIT
/* Clock, log and panic of the host port; all may be called in a signal handler. */
#include <stdlib.h>
#include <unistd.h>

#include <host_port.h>

#include "arch/posix.h"

static void (*log_hook)(const char *line);
static void (*panic_hook)(const char *why);

uint64_t port_clock(void)
{
	return posix_clock();
}

void port_log(const char *line)
{
	if (log_hook)
		log_hook(line);
	else
		posix_write_line("", line);
}

void port_panic(const char *why)
{
	if (panic_hook)
		panic_hook(why);
	posix_write_line("panic: ", why);
	abort();
}

void host_set_log(void (*fn)(const char *line))
{
	log_hook = fn;
}

void host_set_panic(void (*fn)(const char *why))
{
	panic_hook = fn;
}
