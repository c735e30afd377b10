/* SPDX-License-Identifier: MIT */
/* Counts that the floors keep for mm_stats(). */
#ifndef MM_STATS_H
#define MM_STATS_H

#include <spanheap/stats.h>

/** page_failed_calls() - calls of <spanheap/page.h> that returned NULL. */
uint64_t page_failed_calls(void);

#endif
