// SPDX-License-Identifier: MIT
/* Formatting in front of port_log() and port_panic(). */
#include <spanheap/port.h>

#include "lib/fmt.h"
#include "mm/log.h"

void mm_log(const char *fmt, ...)
{
	char line[MM_LOG_LINE];
	va_list args;

	va_start(args, fmt);
	fmt_vprint(line, sizeof(line), fmt, args);
	va_end(args);
	port_log(line);
}

void mm_panic(const char *fmt, ...)
{
	char line[MM_LOG_LINE];
	va_list args;

	va_start(args, fmt);
	fmt_vprint(line, sizeof(line), fmt, args);
	va_end(args);
	port_panic(line);
}
