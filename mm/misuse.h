/* SPDX-License-Identifier: MIT */
/* How the rest of mm/ reports a finding; see <spanheap/misuse.h>. */
#ifndef MM_MISUSE_H
#define MM_MISUSE_H

#include <spanheap/misuse.h>

/** mm_report_misuse() - count it and tell the handler. No lock of mm is held. */
void mm_report_misuse(enum mm_misuse kind, const void *addr, size_t size, const void *caller);

#endif
