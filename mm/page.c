// SPDX-License-Identifier: MIT
/*
 * The calls of <spanheap/page.h>: from flags to caches, nodes, windows and page heaps.
 *
 *	hot path	a single frame, out of this CPU's cache and back
 *	cache		refilled or spilled; short runs, whole chunks, bulk
 *	spare chunks	the nearest node's, so that 2 MiB need no search
 *	page heaps	all else: the nodes from the nearest; in each the highest
 *			window first, so that low addresses last for those who can
 *			use no others; then a run that lies across windows
 *	caches again	what they hold goes back before an allocation fails, and what
 *			the floors above keep
 *	reclaim		whoever can free something is asked (pressure.h)
 *
 * Everything but the hot path is an injection point (mm/fault.h); while failures
 * are armed the hot path finds nothing.
 */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/fault.h"
#include "mm/heapspare.h"
#include "mm/log.h"
#include "mm/metaframe.h"
#include "mm/misuse.h"
#include "mm/numa.h"
#include "mm/pagecache.h"
#include "mm/pagemap.h"
#include "mm/pressure.h"

#define MAX_ORDER_BITS (PORT_PHYS_BITS - FRAME_SHIFT)
#define CHUNK_ORDER (CHUNK_SHIFT - FRAME_SHIFT)

static uint64_t failed_calls;
bool (*page_reclaim_more)(void);

uint64_t page_failed_calls(void)
{
	return atomic_load_relaxed(&failed_calls);
}

/* A run that lies across a window's lower border. */
static uint64_t alloc_across(struct pageheap *heap, const struct run_wanted *want, uint64_t border,
			     bool *zero)
{
	struct run_wanted in = *want;

	in.lo = MAX(want->lo, border - MIN(border, want->n - 1));
	in.hi = MIN(want->hi, border + want->n - 1);
	if (in.lo >= border || in.hi <= border || in.hi - in.lo < in.n)
		return PFN_NONE;
	return pageheap_alloc(heap, &in, zero);
}

static uint64_t alloc_in_windows(struct pageheap *heap, const struct run_wanted *want, bool *zero)
{
	uint64_t pfn = PFN_NONE;

	for (unsigned w = MEM_WINDOWS; w-- > 0 && pfn == PFN_NONE;) {
		struct run_wanted in = *want;

		in.lo = MAX(want->lo, window_start(w));
		in.hi = MIN(want->hi, window_end(w));
		if (in.lo < in.hi && in.hi - in.lo >= in.n && !pageheap_is_dry(heap, w))
			pfn = pageheap_alloc(heap, &in, zero);
	}
	for (unsigned w = MEM_WINDOWS - 1; w > 0 && pfn == PFN_NONE; w--)
		pfn = alloc_across(heap, want, window_start(w), zero);
	return pfn;
}

/* Memory that arrived at run time comes last, whichever window it is in. */
static uint64_t alloc_on_node(struct pageheap *heap, const struct run_wanted *want, bool *zero)
{
	struct run_wanted boot = *want;
	uint64_t pfn;

	boot.boot_only = atomic_load_relaxed(&heap->map->arrived[heap->node]);
	pfn = alloc_in_windows(heap, &boot, zero);
	if (pfn == PFN_NONE && boot.boot_only)
		pfn = alloc_in_windows(heap, want, zero);
	return pfn;
}

static uint64_t alloc_on_nodes(unsigned node, const struct run_wanted *want, gfp_t gfp, bool *zero)
{
	const struct node_order *order = numa_order(node);

	for (unsigned i = 0; i < node_order_size(order); i++) {
		unsigned at = node_order_at(order, i);
		uint64_t pfn;

		if (gfp & __GFP_THISNODE && at != node)
			continue;
		pfn = alloc_on_node(&main_heap[at], want, zero);
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

/* Is this for a cache of this CPU: any frames will do? */
static bool may_use_cache(const struct run_wanted *want, gfp_t gfp)
{
	if (gfp & (GFP_DMA | GFP_DMA32 | __GFP_THISNODE) || gfp_has_node(gfp) || want->lo ||
	    want->hi < PFN_LIMIT)
		return false;
	/* Of long runs the heap may know that they are zero; caches do not. */
	return want->n <= PAGECACHE_RUN_MAX || !(gfp & __GFP_ZERO);
}

static void *try_places(struct run_wanted *want, gfp_t gfp, bool *zero)
{
	uint64_t pfn;

	if (may_use_cache(want, gfp)) {
		struct pagecache *cache = pagecache_enter();
		void *addr;

		pagecache_show(cache);
		addr = pagecache_alloc(cache, want->n, want->align);
		if (!addr && want->n == CHUNK_FRAMES && want->align <= CHUNK_FRAMES && cache->heap)
			addr = heapspare_find(cache->heap);
		pagecache_leave(cache);
		if (addr)
			return addr;
	}
	limit_window(want, gfp);
	pfn = alloc_on_nodes(gfp_node(gfp), want, gfp, zero);
	return pfn == PFN_NONE ? NULL : phys_to_virt(pfn << FRAME_SHIFT);
}

static void *try_once(struct run_wanted *want, gfp_t gfp, bool *zero)
{
	bool spared = mm_fail_spare(gfp);
	void *addr = try_places(want, gfp, zero);

	mm_fail_resume(spared);
	return addr;
}

/* What the floors above give back may end in the caches of frames. */
static bool reclaim_caches(gfp_t gfp)
{
	bool may_wait = gfp & __GFP_RECLAIM;
	bool any = may_wait && port_context() == MM_TASK && page_reclaim_more &&
		   page_reclaim_more();

	return pagecache_reclaim(may_wait) || any;
}

static void *find_run(struct run_wanted *want, gfp_t gfp, bool *zero)
{
	void *addr = try_once(want, gfp, zero);
	unsigned tries = 0;

	if (unlikely(!addr) && reclaim_caches(gfp))
		addr = try_once(want, gfp, zero);
	while (unlikely(!addr) && pressure_reclaim(want->n << FRAME_SHIFT, gfp, &tries))
		addr = try_once(want, gfp, zero);
	if (unlikely(atomic_load_relaxed(&pressure_due)))
		pressure_note();
	return addr;
}

static void *alloc_run(struct run_wanted *want, gfp_t gfp)
{
	bool zero = false;
	void *addr = NULL;

	if (!mm_should_fail(gfp) && want->n && want->n <= PFN_LIMIT)
		addr = find_run(want, gfp, &zero);
	if (!addr) {
		if (gfp & __GFP_NOFAIL)
			mm_panic("out of memory: %llu frames, flags 0x%x",
				 (unsigned long long)want->n, gfp);
		(void)atomic_fetch_add(&failed_calls, 1);
		return NULL;
	}
	if (gfp & __GFP_ZERO && !zero)
		memset(addr, 0, want->n << FRAME_SHIFT);
	return addr;
}

static never_inline void free_to_heap(void *addr, uint64_t n, size_t size, const void *caller)
{
	phys_addr_t pa = virt_to_phys(addr);
	int bad = MM_PAGE_INVALID_FREE;
	const struct chunk *chunk;

	port_pin();
	chunk = chunk_find(&main_map.index, pa);
	if (chunk && !(pa & (FRAME_SIZE - 1)) && !pagemap_has_span(chunk, pa))
		bad = n ? pageheap_free(&main_heap[chunk->node], pa >> FRAME_SHIFT, n)
			: MM_PAGE_WRONG_SIZE;
	port_unpin();
	if (unlikely(bad >= 0))
		mm_report_misuse((enum mm_misuse)bad, addr, size, caller);
}

static inline void free_run(void *addr, uint64_t n, size_t size, const void *caller)
{
	struct pagecache *cache = pagecache_enter();
	/* The pages of a span look like any other run to the caches. */
	bool done = !pagemap_is_span(pagemap_find(virt_to_phys(addr))) &&
		    pagecache_free(cache, addr, n);

	pagecache_leave(cache);
	if (!done && addr)
		free_to_heap(addr, n, size, caller);
}

/* Frames from anywhere; reserves are for those who cannot wait or want a window. */
static struct run_wanted ordinary(uint64_t n, uint64_t align, gfp_t gfp)
{
	return (struct run_wanted){
		.n = n,
		.align = align,
		.hi = PFN_LIMIT,
		.keep_floor = pressure_is_ordinary(gfp),
	};
}

/* ---- One frame ---- */

static never_inline void *alloc_frame_slow(gfp_t gfp)
{
	struct run_wanted want = ordinary(1, 1, gfp);

	return alloc_run(&want, gfp);
}

/* There is no room, it is a word's first frame, or something is wrong. */
static never_inline void free_frame_slow(void *addr, const void *caller)
{
	struct pagecache *cache = pagecache_enter();
	bool done = pagecache_free_frame(cache, addr);

	pagecache_leave(cache);
	if (!done && addr)
		free_to_heap(addr, 1, FRAME_SIZE, caller);
}

/* Its chunk is not one of those that the cache remembers, or as above. */
static never_inline void free_frame_far(void *addr, const void *caller)
{
	struct pagecache *cache = pagecache_enter();
	bool done = pagecache_push_far(cache, addr);

	pagecache_leave(cache);
	if (unlikely(!done))
		free_frame_slow(addr, caller);
}

void *page_alloc_frame(gfp_t gfp)
{
	struct pagecache *cache = pagecache_enter();
	void *addr;

	if (unlikely(!pagecache_has_frame(cache))) {
		pagecache_leave(cache);
		return alloc_frame_slow(gfp);
	}
	addr = pagecache_take_top(cache);
	pagecache_leave(cache);
	return addr;
}

void page_free_frame(void *addr)
{
	struct pagecache *cache = pagecache_enter();
	bool done = pagecache_push(cache, addr);

	pagecache_leave(cache);
	if (unlikely(!done))
		free_frame_far(addr, __builtin_return_address(0));
}

/* The same where the size is not known until then. */
static never_inline void free_frame_for(void *addr, const void *caller)
{
	struct pagecache *cache = pagecache_enter();
	bool done = pagecache_push(cache, addr);

	pagecache_leave(cache);
	if (unlikely(!done))
		free_frame_far(addr, caller);
}

/* ---- Runs ---- */

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

void *page_alloc_exact(size_t size, gfp_t gfp)
{
	struct run_wanted want = ordinary(frames_of(size), 1, gfp);

	if (size == FRAME_SIZE && !(gfp & PAGE_GFP_SLOW))
		return page_alloc_frame(gfp);
	return alloc_run(&want, gfp);
}

static never_inline void *alloc_order_slow(gfp_t gfp, unsigned order)
{
	uint64_t n = order < MAX_ORDER_BITS ? 1ULL << order : 0;
	struct run_wanted want = ordinary(n, n, gfp);

	return alloc_run(&want, gfp);
}

/* This CPU has no chunk. */
static never_inline void *alloc_chunk_slow(gfp_t gfp)
{
	struct pagecache *cache = pagecache_enter();
	void *addr = NULL;

	if (likely(cache->heap)) {
		addr = heapspare_take(cache->heap);
		if (unlikely(!addr))
			addr = heapspare_find(cache->heap);
	}
	pagecache_leave(cache);
	if (unlikely(!addr))
		return alloc_order_slow(gfp, CHUNK_ORDER);
	if (atomic_load_relaxed(&pressure_due))
		pressure_note();
	return addr;
}

void *page_alloc_order(gfp_t gfp, unsigned order)
{
	struct pagecache *cache;
	void *addr = NULL;

	if (unlikely(gfp & PAGE_GFP_SLOW) || unlikely(atomic_load_relaxed(&mm_fail_armed)))
		return alloc_order_slow(gfp, order);
	if (!order)
		return page_alloc_frame(gfp);
	cache = pagecache_enter();
	if (order <= PAGECACHE_ORDER_MAX)
		addr = pagecache_take_order(cache, order);
	else if (order == CHUNK_ORDER)
		addr = pagecache_take_chunk(cache);
	pagecache_leave(cache);
	if (likely(addr))
		return addr;
	return order == CHUNK_ORDER ? alloc_chunk_slow(gfp) : alloc_order_slow(gfp, order);
}

void page_free_exact(void *addr, size_t size)
{
	if (size == FRAME_SIZE)
		free_frame_for(addr, __builtin_return_address(0));
	else
		free_run(addr, frames_of(size), size, __builtin_return_address(0));
}

static never_inline void free_order_slow(void *addr, unsigned order, const void *caller)
{
	uint64_t n = order < MAX_ORDER_BITS ? 1ULL << order : 0;

	free_run(addr, n, n << FRAME_SHIFT, caller);
}

static never_inline void free_short_for(void *addr, unsigned order, const void *caller)
{
	struct pagecache *cache = pagecache_enter();
	uint64_t run;
	bool done = pagecache_find_run(cache, addr, 1U << order, &run) &&
		    !pagemap_has_span(pagecache_run_chunk(cache, addr), virt_to_phys(addr)) &&
		    pagecache_claim_run(cache, run);

	pagecache_leave(cache);
	if (unlikely(!done))
		free_order_slow(addr, order, caller);
}

static never_inline void free_chunk_for(void *addr, const void *caller)
{
	struct pagecache *cache = pagecache_enter();
	struct chunk *chunk = pagecache_chunk_at(cache, addr);
	phys_addr_t pa = virt_to_phys(addr);
	bool done = chunk && !pagemap_has_span(chunk, pa) &&
		    (pagecache_put_chunk(cache, addr, chunk) ||
		     (cache->heap && heapspare_free(cache->heap, chunk, pa)));

	pagecache_leave(cache);
	if (unlikely(!done))
		free_order_slow(addr, CHUNK_ORDER, caller);
}

void page_free_order(void *addr, unsigned order)
{
	const void *caller = __builtin_return_address(0);

	if (!order)
		free_frame_for(addr, caller);
	else if (order <= PAGECACHE_ORDER_MAX)
		free_short_for(addr, order, caller);
	else if (order == CHUNK_ORDER)
		free_chunk_for(addr, caller);
	else
		free_order_slow(addr, order, caller);
}

/* The public names, for those who cannot inline them. */

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	return page_alloc_exact(size, gfp);
}

void *__get_free_pages(gfp_t gfp, unsigned order)
{
	return page_alloc_order(gfp, order);
}

void free_pages_exact(void *addr, size_t size)
{
	page_free_exact(addr, size);
}

void free_pages(void *addr, unsigned order)
{
	page_free_order(addr, order);
}

/* ---- Many frames ---- */

/* One of them, the long way. */
static never_inline size_t alloc_one_of_many(void **pages, gfp_t gfp)
{
	struct run_wanted want = ordinary(1, 1, gfp);
	bool zero = false;

	pages[0] = find_run(&want, gfp, &zero);
	if (pages[0] && gfp & __GFP_ZERO && !zero)
		memset(pages[0], 0, FRAME_SIZE);
	return !!pages[0];
}

static size_t alloc_some(size_t n, void **pages, gfp_t gfp)
{
	struct pagecache *cache;
	size_t got;

	if (unlikely(gfp & (PAGE_GFP_SLOW & ~__GFP_ZERO)) || unlikely(gfp_has_node(gfp)))
		return alloc_one_of_many(pages, gfp);
	cache = pagecache_enter();
	got = cache->heap ? pagecache_alloc_bulk(cache, n, pages) : 0;
	pagecache_leave(cache);
	if (unlikely(!got))
		return alloc_one_of_many(pages, gfp);
	for (size_t i = 0; gfp & __GFP_ZERO && i < got; i++)
		memset(pages[i], 0, FRAME_SIZE);
	return got;
}

size_t page_alloc_bulk(size_t n, void **pages, gfp_t gfp)
{
	size_t done = 0, got = 1;

	if (mm_should_fail(gfp))
		got = 0;
	for (; done < n && got; done += got)
		got = alloc_some(n - done, pages + done, gfp);
	if (done < n) {
		if (gfp & __GFP_NOFAIL)
			mm_panic("out of memory: %zu frames, flags 0x%x", n - done, gfp);
		(void)atomic_fetch_add(&failed_calls, 1);
	}
	return done;
}

void page_free_bulk(size_t n, void **pages)
{
	for (size_t done = 0, count; done < n; done += count) {
		struct pagecache *cache = pagecache_enter();
		uint64_t failed = 1;

		count = pagecache_free_bulk(cache, n - done, pages + done, &failed);
		pagecache_leave(cache);
		for (; unlikely(failed); failed &= failed - 1)
			free_run(pages[done + ctz64(failed)], 1, FRAME_SIZE,
				 __builtin_return_address(0));
		count = MAX(count, 1UL);
	}
}
