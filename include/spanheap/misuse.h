/* SPDX-License-Identifier: MIT */
/*
 * What callers do wrong: found, reported, and without effect.
 */
#ifndef SPANHEAP_MISUSE_H
#define SPANHEAP_MISUSE_H

#include <spanheap/types.h>

enum mm_misuse {
	MM_DOUBLE_FREE,		/* an object that is free already */
	MM_INVALID_FREE,	/* no object starts here, or it was never handed out */
	MM_WRONG_SIZE,		/* kfree_sized() with the size of another class */
	MM_WRONG_CACHE,		/* kmem_cache_free() of another cache's object */
	MM_PAGE_DOUBLE_FREE,	/* frames that are free already */
	MM_PAGE_INVALID_FREE,	/* no run of frames starts here */
	MM_PAGE_WRONG_SIZE,	/* a run of frames, freed with another length */
	MM_INVALID_QUERY,	/* ksize() of what is no object, or not handed out */
	MM_WRITE_BESIDE,	/* a write beside a guarded object (guard.h) */
	MM_WRITE_AFTER_FREE,	/* a write into a guarded object after it was freed */
	MM_MISUSE_KINDS
};

/**
 * struct mm_misuse_report - one finding.
 * @kind: what was done
 * @addr: with which address; that of the written byte, where one was
 * @caller: by whom: return address of the public call; NULL if what was done is found
 *	later
 * @size: size the caller gave, or 0
 * @cpu: on which CPU
 */
struct mm_misuse_report {
	enum mm_misuse kind;
	const void *addr, *caller;
	size_t size;
	unsigned cpu;
};

/**
 * mm_set_misuse_handler() - who is told.
 * @fn: runs in the context of the offender with no lock of mm held; after it
 *	returns a wrong free has had no effect. NULL, the default: panic.
 */
void mm_set_misuse_handler(void (*fn)(const struct mm_misuse_report *));

/** mm_misuse_count() - how often this kind was found since the start. Any context. */
uint64_t mm_misuse_count(enum mm_misuse kind);

/** mm_misuse_name() - "page double free", for messages. */
const char *mm_misuse_name(enum mm_misuse kind);

#endif
