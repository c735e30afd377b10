// SPDX-License-Identifier: MIT
/*
 * kmalloc() and kfree(): the way from a size to a window, and from an address
 * to a bit.
 *
 *	kmalloc(size) ─► class ─► window of this CPU, context and class ─► lowest bit
 *	kfree(p) ─► page map ─► span ─► object number ─► checks ─► clear its bit
 *
 * What is on these two ways is counted in instructions (make kbench); all else
 * is behind calls that are not inlined.
 */
#include <spanheap/slab.h>

#include "lib/string.h"
#include "mm/fault.h"
#include "mm/kmalloc.h"
#include "mm/large.h"
#include "mm/log.h"
#include "mm/mcache.h"
#include "mm/mcentral.h"
#include "mm/misuse.h"
#include "mm/numa.h"
#include "mm/tiny.h"

/* Flags that ask for more than any window can give. */
#define GFP_ODD (__GFP_ZERO | __GFP_NOSCAN | GFP_DMA | GFP_DMA32 | __GFP_THISNODE)
#define GFP_PLACE (GFP_DMA | GFP_DMA32 | __GFP_THISNODE)

static_assert(KMALLOC_WINDOW(1) == 2 * sizeof(struct window), "slab.h knows the place");

#define SPAN_CLASS(class, noscan) (2 * (class) + !!(noscan))

static uint64_t failed_calls;

uint64_t kmalloc_failed_calls(void)
{
	return atomic_load_relaxed(&failed_calls);
}

/* An object of the running context's window at @offset; false if it has none. */
static inline bool take_from_window(size_t offset, void **object)
{
	struct window *window;
	bool taken;

	port_pin();
	window = mcache_window(port_cache(), offset);
	taken = window_take(window, object);
	port_unpin();
	return taken;
}

void *kmalloc_failed(size_t size, gfp_t gfp)
{
	if (gfp & __GFP_NOFAIL)
		mm_panic("out of memory: %zu bytes, flags 0x%x", size, gfp);
	(void)atomic_fetch_add(&failed_calls, 1);
	return NULL;
}

void *kmalloc_inner(size_t size, gfp_t gfp, size_t align)
{
	unsigned class = align > 8 ? size_class_aligned(size, align) : kmalloc_class(size);
	unsigned index = SPAN_CLASS(class, gfp & __GFP_NOSCAN);

	if (unlikely(!class))
		return large_alloc(size, align, gfp);
	if (unlikely(gfp & GFP_PLACE || gfp_has_node(gfp)))
		return mcentral_alloc(&kmalloc_classes[index], gfp);
	if (gfp & __GFP_NOSCAN && size < TINY_BLOCK && align == 1)
		return tiny_alloc(size, gfp);
	return mcache_alloc(&kmalloc_classes[index], gfp);
}

/* Every request that its window could not serve at once. */
static __attribute__((noinline)) void *alloc_odd(size_t size, gfp_t gfp, size_t align)
{
	void *object = NULL;
	bool spared = mm_fail_spare(gfp);

	if (!mm_should_fail(gfp))
		object = size ? kmalloc_inner(size, gfp, align) : zerobase;
	mm_fail_resume(spared);
	if (!object)
		return kmalloc_failed(size, gfp);
	if (gfp & __GFP_ZERO)
		memset(object, 0, ksize(object));
	return object;
}

/* The object on top of the running context's stack, if the class at @offset has one. */
static inline bool take_from_stack(size_t offset, void **object)
{
	bool taken;

	port_pin();
	taken = stack_pop(mcache_window(port_cache(), offset), object);
	port_unpin();
	return taken;
}

void *kmalloc_any(size_t size, gfp_t gfp)
{
	void *object;

	if (likely(!(gfp & GFP_ODD)) && likely(size <= KMALLOC_MAX_SMALL)) {
		/* The window for 0 bytes, class 0's, is always empty. */
		size_t offset = mcache_offset[(size + 7) / 8];

		if (likely(take_from_window(offset, &object)) || take_from_stack(offset, &object))
			return object;
	}
	return alloc_odd(size, gfp, 1);
}

void *kmalloc_at(size_t offset, gfp_t gfp, size_t size)
{
	void *object;

	if (likely(!(gfp & GFP_ODD)) &&
	    (likely(take_from_window(offset, &object)) || take_from_stack(offset, &object)))
		return object;
	return alloc_odd(size, gfp, 1);
}

int span_free_slowly(struct span *span, phys_addr_t pa)
{
	uint64_t product;

	if (atomic_load(&span->cpu) == SPAN_LARGE)
		return large_free(span, pa);
	if (span->class == &tiny_class)
		return tiny_free(span, pa);
	if (!span->magic)
		return large_freed(span, pa);
	product = (pa - span->base) * span->magic;
	if ((uint32_t)product >= span->magic)
		return MM_INVALID_FREE;
	return mcache_free(span, (unsigned)(product >> 32));
}

/* Whatever the short way could not free: on a stack, on another CPU, large, or wrong. */
static __attribute__((noinline)) void free_odd(const void *p, size_t size, const void *caller)
{
	phys_addr_t pa = virt_to_phys(p);
	const struct span *span = pagemap_lookup(pa);
	uint64_t product = (pa - span->base) * span->magic;
	bool done = false;
	int bad;

	if (span->class == &tiny_class) {
		bad = tiny_free((struct span *)span, pa);
		goto out;
	}
	if ((uint32_t)product < span->magic) {
		port_pin();
		done = stack_push((struct span *)span, (unsigned)(product >> 32), p);
		port_unpin();
	}
	if (done || !p || p == zerobase)
		return;
	bad = span_free_slowly(pagemap_find(pa), pa);
out:
	if (bad >= 0)
		mm_report_misuse((enum mm_misuse)bad, p, size, caller);
}

static inline bool free_quickly(const void *p)
{
	phys_addr_t pa = virt_to_phys(p);

	return span_free_quickly(pagemap_lookup(pa), pa, p);
}

void kfree(const void *p)
{
	if (unlikely(!free_quickly(p)))
		free_odd(p, 0, __builtin_return_address(0));
}

size_t ksize(const void *p)
{
	struct span *span;

	if (!p || p == zerobase)
		return 0;
	span = pagemap_find(virt_to_phys(p));
	if (span->class == &tiny_class)
		return tiny_size(span, virt_to_phys(p));
	return span->class ? span->size : span->size * PAGE_SIZE;
}

/* Would @size have got an object of this span: of the same class, or as many pages? */
static bool size_fits(const void *p, size_t size)
{
	struct span *span = pagemap_find(virt_to_phys(p));
	const struct span_class *class = span->class;

	if (!pagemap_is_span(span))
		return true;
	if (!class)
		return size && (size - 1) / PAGE_SIZE + 1 == span->size;
	if (class == &tiny_class)
		return size == tiny_size(span, virt_to_phys(p));
	if (class->cache)
		return size && size <= span->size;
	return kmalloc_class(size) == class->index / 2;
}

void kfree_sized(const void *p, size_t size)
{
	if (!p || (p == zerobase && !size))
		return;
	if (p == zerobase || !size_fits(p, size))
		mm_report_misuse(MM_WRONG_SIZE, p, size, __builtin_return_address(0));
	else if (unlikely(!free_quickly(p)))
		free_odd(p, size, __builtin_return_address(0));
}

void *kmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : kmalloc_any(bytes, gfp);
}

void *kcalloc(size_t n, size_t size, gfp_t gfp)
{
	return kmalloc_array(n, size, gfp | __GFP_ZERO);
}

/* What a window of this CPU has is mostly the own node's, but need not be. */
void *kmalloc_node(size_t size, gfp_t gfp, int node)
{
	void *object = NULL;

	if (node < 0 || !size)
		return kmalloc_any(size, gfp);
	if ((unsigned)node == numa_node_of(port_cpu()) && !(gfp & GFP_ODD) &&
	    size <= KMALLOC_MAX_SMALL)
		object = kmalloc_any(size, gfp);
	if (object && chunk_find(&main_map.index, virt_to_phys(object))->node == node)
		return object;
	kfree(object);
	if (node >= PORT_MAX_NODES)
		return kmalloc_failed(size, gfp);
	return alloc_odd(size, gfp_for_node(gfp, (unsigned)node), 1);
}

void *kmalloc_aligned(size_t size, size_t align, gfp_t gfp)
{
	return is_pow2(align) ? alloc_odd(size, gfp, align) : NULL;
}

void kfree_bulk(size_t n, void **p)
{
	for (size_t i = 0; i < n; i++)
		if (unlikely(!free_quickly(p[i])))
			free_odd(p[i], 0, __builtin_return_address(0));
}
