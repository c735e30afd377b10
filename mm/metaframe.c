// SPDX-License-Identifier: MIT
/* Frames for metadata of the upper floors; see metaframe.h. */
#include <spanheap/page.h>

#include "lib/atomic.h"
#include "mm/metaframe.h"

static size_t count;

void *metaframe_alloc_run(size_t n)
{
	void *frames = alloc_pages_exact(n * FRAME_SIZE, GFP_ATOMIC);

	if (frames)
		(void)atomic_fetch_add(&count, n);
	return frames;
}

void metaframe_free_run(void *frames, size_t n)
{
	free_pages_exact(frames, n * FRAME_SIZE);
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
