/* SPDX-License-Identifier: MIT */
/*
 * Medium objects, of more than 32 KiB and up to 1 MiB: page runs that were freed and
 * wait for the next request of as many pages.
 *
 *	kfree() ─► own CPU: the last few runs ──oldest──► node: lists by pages ──► page heap
 *	kmalloc() ◄──same number of pages── own CPU, else the nearest node
 *
 * A run that waits keeps its struct span and its entry in the page map, so that
 * neither is made anew; its cpu is SPAN_NOBODY, by which a second free of it is
 * seen. Only runs of ordinary requests wait here: those below 16 MiB go back to
 * the page heap at once.
 *
 * What a node may keep is bounded (retention.h). When it has too much, the
 * number of pages whose turn it is loses a run: so what nobody asks for any more
 * leaves in time.
 *
 * Locking: a CPU's runs with interrupts off; a node's by its lock, interrupts off,
 * after mcentral's and before the page heap's, which is not called inside. NMIs
 * neither take nor leave anything here.
 */
#ifndef MM_MEDIUM_H
#define MM_MEDIUM_H

#include "mm/span.h"

#define MEDIUM_MIN_PAGES 5
#define MEDIUM_MAX_PAGES 128

/** medium_take() - a run of exactly @npages at a multiple of @align bytes; or NULL. Any context. */
struct span *medium_take(size_t npages, size_t align);

/** medium_give() - a large object was freed; the caller made its span nobody's. Any context. */
void medium_give(struct span *span);

/** medium_flush_cpu() - what waits with the calling CPU goes to the page heap. Any context but
 * NMI. */
void medium_flush_cpu(void);

/** medium_flush_nodes() - likewise with the nodes. */
void medium_flush_nodes(void);

/** medium_bytes_of() - of it, with a CPU. */
uint64_t medium_bytes_of(unsigned cpu);

/** medium_bytes() - what waits; while others work a hint. */
uint64_t medium_bytes(void);

/** medium_for_each() - visit every run that waits; nothing changes meanwhile. */
void medium_for_each(void (*fn)(struct span *span, void *arg), void *arg);

/** medium_check() - do the sums agree with what is there? Return: how many do not, each logged. */
unsigned medium_check(void);

#endif
