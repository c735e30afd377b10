// SPDX-License-Identifier: MIT
/* Frames that the upper floors take for themselves; see metaframe.h. */
#include "lib/atomic.h"
#include "mm/fault.h"
#include "mm/metaframe.h"
#include "mm/pressure.h"
#include "mm/runsize.h"

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

/* What is in use cannot leave: its chunk stays. */
static struct pageheap *heap_of(uint64_t pfn)
{
	return &main_heap[chunk_find(&main_map.index, pfn << FRAME_SHIFT)->node];
}

bool inner_pages_extend(void *pages, size_t nframes, size_t more, gfp_t gfp)
{
	uint64_t pfn = virt_to_phys(pages) >> FRAME_SHIFT;
	uint64_t limit = PFN_LIMIT;

	if (mm_should_fail(gfp))
		return false;
	if (gfp & GFP_DMA)
		limit = window_end(WINDOW_DMA);
	else if (gfp & GFP_DMA32)
		limit = window_end(WINDOW_DMA32);
	return runsize_extend(heap_of(pfn), pfn, nframes, more, limit, pressure_is_ordinary(gfp));
}

bool inner_pages_trim(void *pages, size_t nframes, size_t keep)
{
	uint64_t pfn = virt_to_phys(pages) >> FRAME_SHIFT;

	return runsize_trim(heap_of(pfn), pfn, nframes, keep);
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
