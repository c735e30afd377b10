/* SPDX-License-Identifier: MIT */
/* The recorded traces of tests/traces, linked in. */
#ifndef TESTS_SUITES_TRACES_H
#define TESTS_SUITES_TRACES_H

#include <stddef.h>
#include <stdint.h>

struct trace_file {
	const char *name;
	const uint8_t *start, *end;
};

#define TRACE_FILES 3

extern const struct trace_file trace_files[TRACE_FILES];

static inline size_t trace_file_size(const struct trace_file *f)
{
	return (size_t)(f->end - f->start);
}

#endif
