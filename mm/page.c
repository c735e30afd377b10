// SPDX-License-Identifier: MIT
/*
 * The calls of <spanheap/page.h>: from flags to nodes, windows and page heaps.
 *
 * Order of places: the nodes from the nearest; in each the highest window
 * first, so that low addresses last for those who can use no others; at the end
 * a run that lies across windows.
 */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/fault.h"
#include "mm/log.h"
#include "mm/misuse.h"
#include "mm/numa.h"
#include "mm/pageheap.h"

#define MAX_ORDER_BITS (PORT_PHYS_BITS - FRAME_SHIFT)

static uint64_t failed_calls;

uint64_t page_failed_calls(void)
{
	return atomic_load_relaxed(&failed_calls);
}

static uint64_t alloc_on_node(struct pageheap *heap, const struct run_wanted *want, bool *zero)
{
	bool across = false;

	for (unsigned w = MEM_WINDOWS; w-- > 0;) {
		struct run_wanted in = *want;
		uint64_t pfn;

		in.lo = MAX(want->lo, window_start(w));
		in.hi = MIN(want->hi, window_end(w));
		across |= in.lo < in.hi && (in.lo != want->lo || in.hi != want->hi);
		if (in.lo >= in.hi || in.hi - in.lo < in.n)
			continue;
		pfn = pageheap_alloc(heap, &in, zero);
		if (pfn != PFN_NONE)
			return pfn;
	}
	return across && want->n > 1 ? pageheap_alloc(heap, want, zero) : PFN_NONE;
}

static uint64_t alloc_on_nodes(unsigned node, const struct run_wanted *want, gfp_t gfp, bool *zero)
{
	const struct node_order *order = numa_order(node);

	for (unsigned i = 0; i < order->n; i++) {
		uint64_t pfn;

		if (gfp & __GFP_THISNODE && order->node[i] != node)
			continue;
		pfn = alloc_on_node(&main_heap[order->node[i]], want, zero);
		if (pfn != PFN_NONE)
			return pfn;
	}
	return PFN_NONE;
}

static void limit_window(struct run_wanted *want, gfp_t gfp)
{
	want->hi = MIN(want->hi, PFN_LIMIT);
	if (gfp & GFP_DMA)
		want->hi = MIN(want->hi, window_end(WINDOW_DMA));
	else if (gfp & GFP_DMA32)
		want->hi = MIN(want->hi, window_end(WINDOW_DMA32));
}

static void *alloc_run(struct run_wanted *want, gfp_t gfp)
{
	uint64_t pfn = PFN_NONE;
	bool zero = false;
	void *addr;

	limit_window(want, gfp);
	if (!mm_should_fail(gfp) && want->n && want->n <= PFN_LIMIT)
		pfn = alloc_on_nodes(numa_node_of(port_cpu()), want, gfp, &zero);
	if (pfn == PFN_NONE) {
		if (gfp & __GFP_NOFAIL)
			mm_panic("out of memory: %llu frames, flags 0x%x",
				 (unsigned long long)want->n, gfp);
		(void)atomic_fetch_add(&failed_calls, 1);
		return NULL;
	}
	addr = phys_to_virt(pfn << FRAME_SHIFT);
	if (gfp & __GFP_ZERO && !zero)
		memset(addr, 0, want->n << FRAME_SHIFT);
	return addr;
}

static void free_run(void *addr, uint64_t n, size_t size, const void *caller)
{
	phys_addr_t pa = virt_to_phys(addr);
	const struct chunk *chunk = chunk_find(&main_map.index, pa);
	int bad = MM_PAGE_INVALID_FREE;

	if (chunk && !(pa & (FRAME_SIZE - 1)))
		bad = n ? pageheap_free(&main_heap[chunk->node], pa >> FRAME_SHIFT, n)
			: MM_PAGE_WRONG_SIZE;
	if (unlikely(bad >= 0))
		mm_report_misuse((enum mm_misuse)bad, addr, size, caller);
}

static uint64_t frames_of(size_t size)
{
	return (uint64_t)(size >> FRAME_SHIFT) + !!(size & (FRAME_SIZE - 1));
}

void *page_alloc_range(size_t nframes, size_t align, phys_addr_t lo, phys_addr_t hi, gfp_t gfp)
{
	/* An alignment that is no power of two wants nothing that exists. */
	bool sound = !align || is_pow2(align);
	struct run_wanted want = {
		.n = sound ? nframes : 0,
		.align = align > FRAME_SIZE ? align >> FRAME_SHIFT : 1,
		.lo = MIN(lo, ~(phys_addr_t)0 - FRAME_SIZE) + FRAME_SIZE - 1,
		.hi = hi >> FRAME_SHIFT,
	};

	want.lo >>= FRAME_SHIFT;
	return alloc_run(&want, gfp);
}

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	struct run_wanted want = { .n = frames_of(size), .align = 1, .hi = PFN_LIMIT };

	return alloc_run(&want, gfp);
}

void free_pages_exact(void *addr, size_t size)
{
	if (addr)
		free_run(addr, frames_of(size), size, __builtin_return_address(0));
}

void *__get_free_pages(gfp_t gfp, unsigned order)
{
	uint64_t n = order < MAX_ORDER_BITS ? 1ULL << order : 0;
	struct run_wanted want = { .n = n, .align = n, .hi = PFN_LIMIT };

	return alloc_run(&want, gfp);
}

void free_pages(void *addr, unsigned order)
{
	uint64_t n = order < MAX_ORDER_BITS ? 1ULL << order : 0;

	if (addr)
		free_run(addr, n, n << FRAME_SHIFT, __builtin_return_address(0));
}

size_t page_alloc_bulk(size_t n, void **pages, gfp_t gfp)
{
	size_t done = 0;

	while (done < n) {
		pages[done] = alloc_pages_exact(FRAME_SIZE, gfp);
		if (!pages[done])
			break;
		done++;
	}
	return done;
}

void page_free_bulk(size_t n, void **pages)
{
	for (size_t i = 0; i < n; i++)
		if (pages[i])
			free_run(pages[i], 1, FRAME_SIZE, __builtin_return_address(0));
}
