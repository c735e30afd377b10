/* SPDX-License-Identifier: MIT */
/*
 * Central lists: spans that no CPU owns, one set of lists per class and node.
 *
 * A span comes here when its CPU has too many, is drained or stops. Frees of
 * objects in it take the lock; whoever needs a span of the class takes one.
 */
#ifndef MM_MCENTRAL_H
#define MM_MCENTRAL_H

#include "mm/span.h"

/** mcentral_of() - the lists a span belongs to. */
struct mcentral *mcentral_of(const struct span *span);

/**
 * mcentral_put() - a span without an owner from now on.
 *
 * The caller owns and has claimed it; the claim is let go here. The span is
 * destroyed if it turns out to be empty. Task context.
 */
void mcentral_put(struct span *span);

/** mcentral_take() - a span with free objects, nearest node first, now @cpu's; or NULL. */
struct span *mcentral_take(struct span_class *class, unsigned cpu);

/**
 * mcentral_settle() - fold in what was freed from afar in a claimed span.
 *
 * Return: false if a CPU owns it by now: then nothing was done. Otherwise the
 * claim is gone, and the span perhaps too.
 */
bool mcentral_settle(struct span *span);

#endif
