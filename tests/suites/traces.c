// SPDX-License-Identifier: MIT
/* The recorded traces as data. tests/traces.mk says that this file depends on them. */
#include "tests/suites/traces.h"

#define TRACE_DATA(name)                                                            \
	__asm__(".pushsection .rodata.traces, \"a\"\n"                              \
		"trace_" #name "_start: .incbin \"tests/traces/" #name ".trace\"\n" \
		"trace_" #name "_end: .popsection");                                \
	extern const uint8_t trace_##name##_start[], trace_##name##_end[]

TRACE_DATA(perl);
TRACE_DATA(python3);
TRACE_DATA(sqlite3);

const struct trace_file trace_files[TRACE_FILES] = {
	{ "perl", trace_perl_start, trace_perl_end },
	{ "python3", trace_python3_start, trace_python3_end },
	{ "sqlite3", trace_sqlite3_start, trace_sqlite3_end },
};
