/* SPDX-License-Identifier: MIT */
/* One CPU asks another for what it owns; see asking.c. */
#ifndef MM_ASKING_H
#define MM_ASKING_H

#include <spanheap/gfp.h>

#include "lib/bits.h"

/**
 * asking_next() - a fresh span is wanted: does the next CPU in turn own too much?
 *
 * Any context, not pinned; only in a task, and if @gfp lets it wait, anybody is
 * asked. Return: true if it has given back what it owned.
 */
bool asking_next(gfp_t gfp);

/** asking_all() - ask all other CPUs, and wait a little. Task context, not pinned. */
void asking_all(void);

#endif
