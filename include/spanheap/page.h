/* SPDX-License-Identifier: MIT */
/*
 * Frames: memory in units of 4 KiB, physically contiguous, in the direct map.
 *
 * What these calls return is always Ready (state.h). Contexts: any; an NMI is
 * never made to wait and may get NULL where others would not. Sizes are bytes,
 * nframes counts frames. A size of 0, an order or a size beyond all memory, and an
 * alignment that is no power of two give NULL. Freeing something that was not handed out, was freed
 * already or had another size is reported (misuse.h) and does nothing.
 *
 * Cost: a single frame comes from and goes to a cache of this CPU; larger runs
 * O(log chunks) under the node's lock.
 */
#ifndef SPANHEAP_PAGE_H
#define SPANHEAP_PAGE_H

#include <spanheap/gfp.h>
#include <spanheap/port.h>
#include <spanheap/types.h>

/** phys_to_virt() - where a physical address lies in the direct map; arithmetic only. */
static inline void *phys_to_virt(phys_addr_t pa)
{
	return (void *)((uintptr_t)PORT_DIRECT_BASE + (uintptr_t)pa);
}

/** virt_to_phys() - the inverse, for addresses of the direct map only. */
static inline phys_addr_t virt_to_phys(const volatile void *va)
{
	return (phys_addr_t)((uintptr_t)va - (uintptr_t)PORT_DIRECT_BASE);
}

/**
 * page_alloc_range() - frames, with every constraint there is.
 * @nframes: how many; 0 gives NULL
 * @align: alignment of the physical address in bytes: 0 or a power of two
 * @lo: lowest physical address
 * @hi: the run ends at or below this address
 * @gfp: flags; GFP_DMA and GFP_DMA32 narrow the window further
 *
 * First fit, lowest address. Fails only if no such run exists. No cache is asked, but
 * all are emptied before it fails. Cost: O(log chunks) for each run that is tried.
 *
 * Return: address in the direct map, freed by free_pages_exact(); or NULL.
 */
void *page_alloc_range(size_t nframes, size_t align, phys_addr_t lo, phys_addr_t hi, gfp_t gfp);

/** alloc_pages_exact() - @size bytes rounded up to frames, frame aligned; or NULL. */
void *alloc_pages_exact(size_t size, gfp_t gfp);

/** free_pages_exact() - free what was allocated with the same size; NULL is legal. */
void free_pages_exact(void *addr, size_t size);

/** __get_free_pages() - 2^order frames, aligned to their size; or NULL. */
void *__get_free_pages(gfp_t gfp, unsigned order);

/** free_pages() - free what __get_free_pages() gave for the same order; NULL is legal. */
void free_pages(void *addr, unsigned order);

/* Where the calls above with a constant size or order lead. */

/** PAGE_GFP_SLOW - flags for which a cached frame will not do as it is. */
#define PAGE_GFP_SLOW (__GFP_ZERO | GFP_DMA | GFP_DMA32 | __GFP_THISNODE)

/** page_alloc_frame() - a single frame; @gfp has none of PAGE_GFP_SLOW. */
void *page_alloc_frame(gfp_t gfp);

/** page_free_frame() - free a single frame; NULL is legal. */
void page_free_frame(void *addr);

/* The same as the public names. */
void *page_alloc_order(gfp_t gfp, unsigned order);
void *page_alloc_exact(size_t size, gfp_t gfp);
void page_free_order(void *addr, unsigned order);
void page_free_exact(void *addr, size_t size);

/**
 * page_alloc_bulk() - many single frames at once.
 *
 * Cost: O(@n).
 *
 * Return: how many of @pages were filled, from the start; may be fewer than @n.
 */
size_t page_alloc_bulk(size_t n, void **pages, gfp_t gfp);

/** page_free_bulk() - free single frames; NULL entries are skipped. */
void page_free_bulk(size_t n, void **pages);

/*
 * A size, an order, flags known when the caller is compiled are decided then. The
 * functions exist besides, for all who take their addresses or cannot inline.
 */
#define PAGE_INLINE extern inline __attribute__((gnu_inline, always_inline))

PAGE_INLINE void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	if (__builtin_constant_p(size) && __builtin_constant_p(gfp) && size == FRAME_SIZE &&
	    !(gfp & PAGE_GFP_SLOW))
		return page_alloc_frame(gfp);
	return page_alloc_exact(size, gfp);
}

PAGE_INLINE void *__get_free_pages(gfp_t gfp, unsigned order)
{
	if (__builtin_constant_p(order) && __builtin_constant_p(gfp) && !order &&
	    !(gfp & PAGE_GFP_SLOW))
		return page_alloc_frame(gfp);
	return page_alloc_order(gfp, order);
}

PAGE_INLINE void free_pages_exact(void *addr, size_t size)
{
	if (__builtin_constant_p(size) && size == FRAME_SIZE)
		page_free_frame(addr);
	else
		page_free_exact(addr, size);
}

PAGE_INLINE void free_pages(void *addr, unsigned order)
{
	if (__builtin_constant_p(order) && !order)
		page_free_frame(addr);
	else
		page_free_order(addr, order);
}

#endif
