// SPDX-License-Identifier: MIT
/* Large objects; see large.h. */
#include <spanheap/misuse.h>

#include "lib/string.h"
#include "mm/framebits.h"
#include "mm/large.h"
#include "mm/medium.h"
#include "mm/metaframe.h"
#include "mm/numa.h"

static uint64_t nr_allocs;

uint64_t large_allocs(void)
{
	return atomic_load_relaxed(&nr_allocs);
}

void *large_alloc(size_t size, size_t align, gfp_t gfp)
{
	size_t npages = large_pages(size);
	struct span *span = NULL;

	if (is_pow2(size))
		align = MAX(size, align);
	if (!(gfp & (GFP_DMA | GFP_DMA32 | __GFP_THISNODE)) && !gfp_has_node(gfp))
		span = medium_take(npages, align);
	if (span && gfp & __GFP_ZERO)
		memset(phys_to_virt(span->base), 0, npages * PAGE_SIZE);
	if (!span)
		span = span_create_large(npages, align, gfp);
	if (!span)
		return NULL;
	(void)atomic_fetch_add(&nr_allocs, 1);
	return phys_to_virt(span->base);
}

int large_free(struct span *span, phys_addr_t pa)
{
	uint32_t cpu = SPAN_LARGE;

	if (pa != span->base)
		return MM_INVALID_FREE;
	/* Of two that free it at once, one goes on. */
	if (!atomic_cas(&span->cpu, &cpu, SPAN_NOBODY))
		return MM_DOUBLE_FREE;
	medium_give(span);
	return -1;
}

/* A run that waits has its span; where none is, its page must not be somebody's again. */
int large_freed(const struct span *span, phys_addr_t pa)
{
	const struct chunk *chunk;
	bool gone;

	if (span == &null_span)
		return MM_INVALID_FREE;
	if (span != &gone_span)
		return pa == span->base ? MM_DOUBLE_FREE : MM_INVALID_FREE;
	/* It may leave just now. */
	port_pin();
	chunk = chunk_find(&main_map.index, pa);
	gone = !chunk || chunk_is_free_whole(chunk) ||
	       frame_use(chunk, frame_in_chunk(pa)) >= FRAME_FREE;
	port_unpin();
	return pa % 8 == 0 && gone ? MM_DOUBLE_FREE : MM_INVALID_FREE;
}

bool large_resize(struct span *span, size_t npages, gfp_t gfp)
{
	void *pages = phys_to_virt(span->base);
	bool done = true;

	/* Freed already: the free that follows a move tells. */
	if (npages > UINT32_MAX || atomic_load(&span->cpu) != SPAN_LARGE)
		return false;
	if (npages > span->size)
		done = inner_pages_extend(pages, span->size * PAGE_FRAMES,
					  (npages - span->size) * PAGE_FRAMES, gfp);
	else if (npages < span->size)
		done = inner_pages_trim(pages, span->size * PAGE_FRAMES, npages * PAGE_FRAMES);
	if (done)
		atomic_store_relaxed(&span->size, (uint32_t)npages);
	return done;
}
