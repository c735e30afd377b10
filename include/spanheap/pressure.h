/* SPDX-License-Identifier: MIT */
/*
 * When memory gets scarce: marks, reserves, and whom to ask.
 *
 * Available is what is free in the page heaps and what they can still claim. Two
 * marks divide it; who wants to know when it falls below one sets a handler.
 *
 * A part is kept back from ordinary requests, on each node: so many frames for
 * those who cannot wait (__GFP_HIGH), and in each window that all can use a share
 * for those who can use no other. Ordinary is a request for frames anywhere that
 * comes without __GFP_HIGH and __GFP_NOFAIL; one with a window or an alignment of
 * its own (GFP_DMA, GFP_DMA32, page_alloc_range()) fails only if no run exists.
 *
 * Before a request fails it goes this way:
 *
 *	1  nodes from the nearest; in each, windows from the highest; in each,
 *	   free frames, then scavenged and Reserved chunks, then those that
 *	   arrived at run time
 *	2  a run that lies across windows
 *	3  the same after the caches of all CPUs were emptied; those of objects of
 *	   another CPU only if it does so in time, see mm_give_back()
 *	4  the same after the reclaim handler, if the request may wait, as
 *	   long as the handler says that it freed something
 */
#ifndef SPANHEAP_PRESSURE_H
#define SPANHEAP_PRESSURE_H

#include <spanheap/gfp.h>
#include <spanheap/types.h>

enum mm_pressure { MM_PRESSURE_NONE, MM_PRESSURE_LOW, MM_PRESSURE_CRITICAL };

/** mm_available() - bytes that requests could still get. Any context. */
uint64_t mm_available(void);

/** mm_pressure() - how things stand now. Any context. */
enum mm_pressure mm_pressure(void);

/**
 * mm_set_watermarks() - below how many available bytes memory is low, and critical.
 *
 * At the start 1/32 and 1/128 of RAM. Any context.
 *
 * Return: 0, or -EINVAL if @critical_bytes is above @low_bytes.
 */
int mm_set_watermarks(uint64_t low_bytes, uint64_t critical_bytes);

/**
 * mm_set_pressure_handler() - who is told that pressure changed.
 * @fn: gets the new level, once for each change, when an allocation that asked the
 *	page heap finds it; runs in that allocation's context with no lock of mm
 *	held. NULL, the default: nobody.
 */
void mm_set_pressure_handler(void (*fn)(enum mm_pressure level));

/**
 * mm_set_reclaim_handler() - who is asked before a request fails.
 * @fn: gets the bytes that are wanted and the request's flags, in its context and
 *	with no lock of mm held; may free and may wait. Its own requests leave
 *	__GFP_RECLAIM out, or they might come back to it. Returns how many bytes it
 *	freed; 0: no use in trying again. NULL, the default: nobody.
 *
 * Only requests with __GFP_RECLAIM in task context ask.
 */
void mm_set_reclaim_handler(size_t (*fn)(size_t bytes, gfp_t gfp));

/**
 * mm_set_reserves() - how much is kept back from ordinary requests.
 * @one_in: of a node's frames one in so many is for __GFP_HIGH, but at most
 *	PRESSURE_RESERVE_MAX; of what lies above a window one in so many is kept
 *	in it, but at most a quarter of it. 0: no reserves. At the start 256.
 */
void mm_set_reserves(unsigned one_in);

/** mm_is_asked() - does another CPU want what the calling one keeps of objects? Any context. */
bool mm_is_asked(void);

/**
 * mm_give_back() - empty the object caches of the calling CPU, if that is wanted.
 *
 * What a CPU has of objects only its own task context can give up. Who needs memory
 * sends an interrupt (port_run_on()) to a CPU that has much, and waits for a moment:
 * so a kernel calls this where such an interrupt returns, and between two tasks. One
 * that does not loses little: each CPU looks itself, whenever a window is empty.
 *
 * Task context, as mm_drain(): no task of this CPU is pinned.
 */
void mm_give_back(void);

#define PRESSURE_RESERVE_MAX (1UL << 20)

#endif
