/* SPDX-License-Identifier: MIT */
/* What the page layer asks when memory gets scarce; see <spanheap/pressure.h>. */
#ifndef MM_PRESSURE_H
#define MM_PRESSURE_H

#include <spanheap/pressure.h>

#include "mm/pageheap.h"

/** pressure_init() - marks and reserves for the memory there is. */
void pressure_init(void);

/** pressure_update() - memory has arrived or left: reserves anew. */
void pressure_update(void);

/** pressure_is_ordinary() - are reserves not for a request with these flags? */
static inline bool pressure_is_ordinary(gfp_t gfp)
{
	return !(gfp & (__GFP_HIGH | __GFP_NOFAIL | GFP_DMA | GFP_DMA32));
}

/** pressure_note() - frames have been taken: tell the handler if need be. No lock held. */
void pressure_note(void);

/**
 * pressure_reclaim() - a request is about to fail.
 * @tries: 0 at first; counts
 *
 * No lock held. Return: worth another try.
 */
bool pressure_reclaim(size_t bytes, gfp_t gfp, unsigned *tries);

#endif
