// SPDX-License-Identifier: MIT
/* A page heap on made-up addresses; see heap_fixture.h. */
#include <spanheap/page.h>

#include "heap_fixture.h"
#include "lib/string.h"

#define METADATA (1UL << 20)

struct memmap fix_map;
struct pageheap fix_heap;

static void *metadata;

void fix_reserve(struct kunit *test, const struct fix_chunks *chunks)
{
	static struct mem_range ranges[64];
	size_t n = 0;

	memset(&fix_map, 0, sizeof(fix_map));
	fix_map.tracked_only = true;
	for (; chunks->n; chunks++, n++)
		ranges[n] = (struct mem_range){
			.base = (phys_addr_t)(FIX_CHUNK0 + chunks->first) << CHUNK_SHIFT,
			.size = (uint64_t)chunks->n << CHUNK_SHIFT,
		};
	metadata = alloc_pages_exact(METADATA, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, metadata);
	meta_feed(&fix_map.pool[0], metadata, METADATA);
	KUNIT_ASSERT_EQ(test, memmap_init(&fix_map, ranges, n), 0);
	pageheap_init(&fix_heap, &fix_map, 0);
}

void fix_setup(struct kunit *test, const struct fix_chunks *chunks)
{
	fix_reserve(test, chunks);
	for (; chunks->n; chunks++)
		for (unsigned i = 0; i < chunks->n; i++) {
			uint64_t frame = (uint64_t)(chunks->first + i) * CHUNK_FRAMES;

			KUNIT_ASSERT_EQ(test, fix_alloc_in(1, 1, frame, frame + 1), frame);
			KUNIT_ASSERT_EQ(test, fix_free(frame, 1), -1);
		}
}

void fix_teardown(void)
{
	free_pages_exact(metadata, METADATA);
	metadata = NULL;
}

uint64_t fix_alloc_in(uint64_t n, uint64_t align, uint64_t lo, uint64_t hi)
{
	struct run_wanted want = {
		.n = n, .align = align, .lo = FIX_PFN0 + lo, .hi = FIX_PFN0 + hi
	};
	bool zero = false;
	uint64_t pfn = pageheap_alloc(&fix_heap, &want, &zero);

	return pfn == PFN_NONE ? PFN_NONE : pfn - FIX_PFN0;
}

uint64_t fix_alloc(uint64_t n)
{
	return fix_alloc_in(n, 1, 0, window_end(FIX_WINDOW) - FIX_PFN0);
}

int fix_free(uint64_t frame, uint64_t n)
{
	return pageheap_free(&fix_heap, FIX_PFN0 + frame, n);
}
