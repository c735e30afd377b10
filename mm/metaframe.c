// SPDX-License-Identifier: MIT
/* Frames that the upper floors take for themselves; see metaframe.h. */
#include "lib/atomic.h"
#include "mm/metaframe.h"

static size_t count;
static struct inner_calls calls;

void *inner_pages_alloc(size_t nframes, size_t align, gfp_t gfp)
{
	void *pages = page_alloc_range(nframes, align, 0, ~(phys_addr_t)0, gfp);

	(void)atomic_fetch_add(pages ? &calls.allocs : &calls.failures, 1);
	return pages;
}

void inner_pages_free(void *pages, size_t nframes)
{
	free_pages_exact(pages, nframes * FRAME_SIZE);
	(void)atomic_fetch_add(&calls.frees, 1);
}

struct inner_calls inner_calls(void)
{
	return (struct inner_calls){
		.allocs = atomic_load_relaxed(&calls.allocs),
		.frees = atomic_load_relaxed(&calls.frees),
		.failures = atomic_load_relaxed(&calls.failures),
	};
}

void *metaframe_alloc_run(size_t n)
{
	void *frames = inner_pages_alloc(n, FRAME_SIZE, GFP_ATOMIC);

	if (frames)
		(void)atomic_fetch_add(&count, n);
	return frames;
}

void metaframe_free_run(void *frames, size_t n)
{
	inner_pages_free(frames, n);
	(void)atomic_fetch_sub(&count, n);
}

void *metaframe_alloc(void)
{
	return metaframe_alloc_run(1);
}

void metaframe_free(void *frame)
{
	metaframe_free_run(frame, 1);
}

size_t metaframe_count(void)
{
	return atomic_load_relaxed(&count);
}
