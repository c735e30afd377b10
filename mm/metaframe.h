/* SPDX-License-Identifier: MIT */
/*
 * What the floors above the page heap take from it for themselves. Frames for
 * metadata: the page map, spans' structures, caches; they are counted as
 * metadata, not as used. Pages of spans; they are used, but not by a call.
 */
#ifndef MM_METAFRAME_H
#define MM_METAFRAME_H

#include <spanheap/page.h>

/**
 * page_reclaim_more - set by the floors above: give free frames back that their caches keep.
 *
 * Called before an allocation fails that may wait, in a task, with nothing pinned
 * or locked. Return: were there any?
 */
extern bool (*page_reclaim_more)(void);

/** metaframe_alloc() - one frame, not zeroed; or NULL. Any context. */
void *metaframe_alloc(void);

void metaframe_free(void *frame);

/** metaframe_alloc_run() - @n frames in a row, likewise. */
void *metaframe_alloc_run(size_t n);

void metaframe_free_run(void *frames, size_t n);

/** metaframe_count() - how many there are. */
size_t metaframe_count(void);

/** inner_pages_alloc() - page_alloc_range() anywhere, that is no caller's call. Any context. */
void *inner_pages_alloc(size_t nframes, size_t align, gfp_t gfp);

void inner_pages_free(void *pages, size_t nframes);

/**
 * inner_pages_extend() - make @more frames behind such a run part of it, if they are free.
 *
 * The caller holds the run. @gfp: as for a fresh one. Any context.
 */
bool inner_pages_extend(void *pages, size_t nframes, size_t more, gfp_t gfp);

/** inner_pages_trim() - give all but the first @keep frames back; false in an NMI at times. */
bool inner_pages_trim(void *pages, size_t nframes, size_t keep);

/** struct inner_calls - allocations and frees of all of the above. */
struct inner_calls {
	uint64_t allocs, frees, failures;
};

struct inner_calls inner_calls(void);

#endif
