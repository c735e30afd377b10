/* SPDX-License-Identifier: MIT */
/* What the rest of mm/ asks of per-CPU memory. */
#ifndef MM_PERCPU_H
#define MM_PERCPU_H

#include <spanheap/percpu.h>

/** percpu_failed_calls() - allocations that returned NULL. */
uint64_t percpu_failed_calls(void);

/** percpu_check() - for mm_validate(): how much is wrong, each logged. */
unsigned percpu_check(void);

#endif
