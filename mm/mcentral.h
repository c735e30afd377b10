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
 * The caller owns it, has claimed it and taken it off its lists. It holds its
 * heap's lock: an interrupt or NMI that frees in the span meanwhile must not
 * list it again. The claim stays with the caller, who lets go of it afterwards.
 * Task context.
 *
 * Return: false if the span is empty: it is in no list, the caller ends it.
 */
bool mcentral_put(struct span *span, struct met *met);

/** mcentral_take() - a span with free objects, nearest node first, now @cpu's; or NULL. */
struct span *mcentral_take(struct span_class *class, unsigned cpu);

/**
 * mcentral_settle() - fold in what was freed from afar in a claimed span.
 *
 * Any context but NMI. Return: false if a CPU owns it by now: then nothing was done. Otherwise the
 * claim is gone, and the span perhaps too.
 */
bool mcentral_settle(struct span *span, struct met *met);

#endif
