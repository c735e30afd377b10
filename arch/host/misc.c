// SPDX-License-Identifier: MIT
/* Clock, log and panic of the host port; all may be called in a signal handler. */
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <host_port.h>

static void (*log_hook)(const char *line);
static void (*panic_hook)(const char *why);

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

	if (writev(STDERR_FILENO, part, 3) < 0)
		return; /* nobody is left to be told */
}

void port_log(const char *line)
{
	if (log_hook)
		log_hook(line);
	else
		write_line("", line);
}

void port_panic(const char *why)
{
	if (panic_hook)
		panic_hook(why);
	write_line("panic: ", why);
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
