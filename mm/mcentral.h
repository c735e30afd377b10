/* SPDX-License-Identifier: MIT */
/*
 * Central lists: spans that no CPU owns, one set of lists per class, node and window.
 *
 * A span comes here when its CPU has too many, is drained or stops. Frees of
 * objects in it take the lock; whoever needs a span of the class takes one.
 * Requests for a window or node of their own are served from here, object by
 * object, by spans that stay: so they never mix with what CPUs cache.
 *
 *	             swept half      unswept half
 *	partial	    [ 1 taken ]      [ 2 swept, then taken           ]
 *	full	    [         ]      [ 3 swept: taken if that freed  ]
 *
 * A span of kmalloc()'s that becomes empty here, and is the only one of its lists with
 * anything free, stays for the next request, as long as all those are no more than what
 * a CPU may keep of empty spans.
 *
 * The halves are for a collector. Which is which depends on a generation; when a
 * cycle ends, mcentral_next_generation() makes all that lies here unswept without a
 * walk. From then on a span is swept (class->sweep) before anything of it is
 * handed out: in this order, and by one request at most MCENTRAL_BUDGET spans; a
 * request that found none makes a fresh span (4), after which its caller takes
 * from that (5). Without a collector the generation stays, and all is swept.
 *
 * The steps are those of Go's mcentral (runtime/mcentral.go, cacheSpan()).
 */
#ifndef MM_MCENTRAL_H
#define MM_MCENTRAL_H

#include "mm/span.h"

/* Spans that one request sweeps in vain at most: so it wastes about 1 % of space, not time. */
#define MCENTRAL_BUDGET 100

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
 * mcentral_alloc() - one object, where @gfp says: window, node (numa.h), that node only.
 *
 * Any context, not pinned. Return: NULL if there is no memory; an NMI may get that for less.
 */
void *mcentral_alloc(struct span_class *class, gfp_t gfp);

/** mcentral_flush_spare() - end the empty spans that the lists keep. Task context. */
void mcentral_flush_spare(void);

/** mcentral_spare_bytes() - of such spans. */
uint64_t mcentral_spare_bytes(void);

/** mcentral_allocs() - objects that mcentral_alloc() ever gave. */
uint64_t mcentral_allocs(void);

/**
 * mcentral_settle() - fold in what was freed from afar in a claimed span.
 *
 * Any context but NMI. Return: false if a CPU owns it by now: then nothing was done. Otherwise the
 * claim is gone, and the span perhaps too.
 */
bool mcentral_settle(struct span *span, struct met *met);

/**
 * mcentral_next_generation() - what is swept is unswept from now on, in all classes.
 *
 * Nothing unswept is left by then, and CPUs have been drained since the marks were
 * made, so that only what is here wants sweeping.
 */
void mcentral_next_generation(void);

/** mcentral_swept() - which half is the swept one now: 0 or 1. */
unsigned mcentral_swept(void);

#endif
