/* SPDX-License-Identifier: MIT */
/*
 * Objects: kmalloc() and its relatives, with Linux's names and meaning.
 *
 * Contexts: any, unless said otherwise; an NMI is never made to wait. Sizes are
 * bytes. An object of 16 bytes or more is aligned to 16, one whose size is a
 * power of two to its size, whatever the size. A request of 0 bytes gives
 * zerobase, which faults when touched and may be freed.
 *
 * What is freed is checked: that an object starts there, that it is handed out,
 * that the size or cache is right. A wrong free is reported (misuse.h) and does
 * nothing.
 *
 * Cost: a few instructions from and to a window of the CPU and context (see
 * mm/mcache.h); no lock, no atomic instruction, no masking of interrupts.
 */
#ifndef SPANHEAP_SLAB_H
#define SPANHEAP_SLAB_H

#include <spanheap/gfp.h>
#include <spanheap/kmem_cache.h>
#include <spanheap/kmalloc_class.h>
#include <spanheap/mempool.h>

/** zerobase - what a request of 0 bytes gives; no mapping backs it. */
#define zerobase ((void *)16)

/* What kmalloc() becomes: for anything; without KMALLOC_ODD; of a size known beforehand. */
void *kmalloc_any(size_t size, gfp_t gfp);
void *kmalloc_plain(size_t size, gfp_t gfp);
void *kmalloc_at(size_t offset, gfp_t gfp);
void *kmalloc_stacked_at(size_t offset, gfp_t gfp);

/* Flags that ask for more than kmalloc_plain() looks at. */
#define KMALLOC_ODD (__GFP_ZERO | __GFP_NOSCAN | GFP_DMA | GFP_DMA32 | __GFP_THISNODE)

/* Where a class has its window in a CPU's cache; above that size it has a stack there. */
#define KMALLOC_WINDOW(class) ((size_t)(class) * 64)
#define KMALLOC_WINDOW_MAX 896

/**
 * kmalloc() - memory for an object.
 *
 * Return: at least @size bytes, not zeroed unless @gfp has __GFP_ZERO; NULL if
 * there is no memory. Freed by kfree().
 *
 * What the compiler knows of @size and @gfp need not be looked at at run time.
 */
static inline __attribute__((always_inline, __malloc__)) void *kmalloc(size_t size, gfp_t gfp)
{
	if (!__builtin_constant_p(gfp) || gfp & KMALLOC_ODD)
		return kmalloc_any(size, gfp);
	if (!__builtin_constant_p(size) || !KMALLOC_CLASS_CONST(size))
		return kmalloc_plain(size, gfp);
	if (size <= KMALLOC_WINDOW_MAX)
		return kmalloc_at(KMALLOC_WINDOW(KMALLOC_CLASS_CONST(size)), gfp);
	return kmalloc_stacked_at(KMALLOC_WINDOW(KMALLOC_CLASS_CONST(size)), gfp);
}

/** kzalloc() - kmalloc(), zeroed. */
static inline void *kzalloc(size_t size, gfp_t gfp)
{
	return kmalloc(size, gfp | __GFP_ZERO);
}

/** kmalloc_array() - room for @n objects of @size bytes; NULL if the product overflows. */
void *kmalloc_array(size_t n, size_t size, gfp_t gfp);

/** kcalloc() - kmalloc_array(), zeroed. */
void *kcalloc(size_t n, size_t size, gfp_t gfp);

/** kmalloc_aligned() - kmalloc() at a multiple of @align; NULL unless that is a power of two. */
void *kmalloc_aligned(size_t size, size_t align, gfp_t gfp);

/**
 * kmalloc_node() - kmalloc() from a NUMA node if it can be, with __GFP_THISNODE or nothing.
 * @node: less than PORT_MAX_NODES, else NULL; negative (NUMA_NO_NODE): any
 *
 * Cost: on the calling CPU's own node mostly kmalloc()'s; on another one the lock of
 * that node's central list.
 */
void *kmalloc_node(size_t size, gfp_t gfp, int node);

/**
 * krealloc() - give an object another size, perhaps at another place.
 * @p: the object; NULL and zerobase are legal
 *
 * With __GFP_ZERO what lies beyond the old ksize() is zeroed. A size of 0 frees
 * and gives zerobase. Cost: nothing to copy if the size class stays, or if whole pages
 * can grow or shrink in place.
 *
 * Return: NULL if there is no memory, or @p is no object (reported); then nothing changed.
 */
void *krealloc(const void *p, size_t size, gfp_t gfp);

/** kfree() - give an object back; NULL and zerobase are legal. */
void kfree(const void *p);

/** kfree_sized() - kfree() of an object that was asked for with @size. */
void kfree_sized(const void *p, size_t size);

/**
 * ksize() - how many bytes of an object the caller may use; 0 for NULL and zerobase.
 *
 * What is no object, or is free, is reported (MM_INVALID_QUERY) and has 0.
 */
size_t ksize(const void *p);

/**
 * kmalloc_bulk() - @n objects of @size bytes into @p, or none.
 *
 * Pays from some 16 objects on (Documentation/performance.md). Return: @n or 0.
 */
size_t kmalloc_bulk(size_t size, gfp_t gfp, size_t n, void **p);

/** kfree_bulk() - free @n objects; NULL entries are skipped. */
void kfree_bulk(size_t n, void **p);

#endif
