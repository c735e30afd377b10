// SPDX-License-Identifier: MIT
/* Counting and handing on of wrong calls. */
#include <spanheap/port.h>

#include "lib/atomic.h"
#include "mm/log.h"
#include "mm/misuse.h"

static void (*handler)(const struct mm_misuse_report *);
static uint64_t counts[MM_MISUSE_KINDS];

static const char *const names[MM_MISUSE_KINDS] = {
	[MM_DOUBLE_FREE] = "double free",
	[MM_INVALID_FREE] = "invalid free",
	[MM_WRONG_SIZE] = "free with wrong size",
	[MM_WRONG_CACHE] = "free to wrong cache",
	[MM_PAGE_DOUBLE_FREE] = "page double free",
	[MM_PAGE_INVALID_FREE] = "page invalid free",
	[MM_PAGE_WRONG_SIZE] = "page free with wrong size",
	[MM_INVALID_QUERY] = "query of no object",
	[MM_WRITE_BESIDE] = "write beside an object",
	[MM_WRITE_AFTER_FREE] = "write after free",
};

void mm_set_misuse_handler(void (*fn)(const struct mm_misuse_report *))
{
	atomic_store(&handler, fn);
}

uint64_t mm_misuse_count(enum mm_misuse kind)
{
	return (unsigned)kind < MM_MISUSE_KINDS ? atomic_load_relaxed(&counts[kind]) : 0;
}

const char *mm_misuse_name(enum mm_misuse kind)
{
	return (unsigned)kind < MM_MISUSE_KINDS ? names[kind] : "unknown misuse";
}

void mm_report_misuse(enum mm_misuse kind, const void *addr, size_t size, const void *caller)
{
	struct mm_misuse_report report = {
		.kind = kind, .addr = addr, .caller = caller, .size = size, .cpu = port_cpu()
	};
	void (*fn)(const struct mm_misuse_report *) = atomic_load(&handler);

	(void)atomic_fetch_add(&counts[kind], 1);
	if (!fn)
		mm_panic("%s: address %p size %zu caller %p cpu %u", names[kind], addr, size,
			 caller, report.cpu);
	fn(&report);
}
