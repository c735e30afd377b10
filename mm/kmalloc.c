// SPDX-License-Identifier: MIT
/*
 * kmalloc() and kfree(): the way from a size to a window, and from an address
 * to a bit.
 *
 *	kmalloc(size) ─► window of this CPU, context and class ─► its lowest object
 *	kfree(p) ─► page map ─► span ─► object number ─► checks ─► clear its bit
 *
 * Classes of few objects a span have a stack of objects in place of the window
 * and, in kfree(), of the bit (mcache.h).
 *
 * What is on these two ways is counted in instructions (make kbench); all else
 * is behind calls that are not inlined.
 */
#include <spanheap/slab.h>

#include "lib/string.h"
#include "mm/fault.h"
#include "mm/guard.h"
#include "mm/kmalloc.h"
#include "mm/large.h"
#include "mm/log.h"
#include "mm/mcache.h"
#include "mm/mcentral.h"
#include "mm/misuse.h"
#include "mm/numa.h"
#include "mm/tiny.h"

#define GFP_PLACE (GFP_DMA | GFP_DMA32 | __GFP_THISNODE)

static_assert(KMALLOC_WINDOW(1) == 2 * sizeof(struct window), "slab.h knows the place");

#define SPAN_CLASS(class, noscan) (2 * (class) + !!(noscan))

static inline size_t size_of_window(size_t offset)
{
	return size_classes[offset / KMALLOC_WINDOW(1)].size;
}

static uint64_t failed_objects;

uint64_t kmalloc_failed_calls(void)
{
	return atomic_load_relaxed(&failed_objects);
}

void *kmalloc_failed(size_t size, gfp_t gfp)
{
	if (gfp & __GFP_NOFAIL)
		mm_panic("out of memory: %zu bytes, flags 0x%x", size, gfp);
	(void)atomic_fetch_add(&failed_objects, 1);
	return NULL;
}

/* Out of the window or stack at @offset of the running context's cache. */
static inline bool take_at(size_t offset, void **object)
{
	bool taken;

	port_pin();
	taken = offset < STACK_FIRST * sizeof(struct window)
			? window_take_at(port_cache(), offset, object)
			: stack_pop_at(port_cache(), offset, object);
	port_unpin();
	return taken;
}

/* Inlined where each instruction counts: a call of its own costs tiny objects a tenth. */
static force_inline void *alloc_inner(size_t size, gfp_t gfp, size_t align)
{
	bool anywhere = !(gfp & GFP_PLACE) && !gfp_has_node(gfp);
	unsigned class, index;
	void *object;

	if (gfp & __GFP_NOSCAN && size < TINY_BLOCK && align == 1 && anywhere)
		return tiny_alloc(size, gfp);
	class = align > 8 ? size_class_aligned(size, align) : kmalloc_class(size);
	index = SPAN_CLASS(class, gfp & __GFP_NOSCAN);
	if (unlikely(!class))
		return large_alloc(size, align, gfp);
	if (unlikely(!anywhere))
		return mcentral_alloc(&kmalloc_classes[index], gfp);
	if (take_at(index * sizeof(struct window), &object))
		return object;
	return mcache_alloc(&kmalloc_classes[index], gfp);
}

void *kmalloc_inner(size_t size, gfp_t gfp, size_t align)
{
	return alloc_inner(size, gfp, align);
}

/* A zeroed object at hand. While failures are injected there is none. */
static inline void *take_zeroed(size_t size)
{
	size_t offset = mcache_offset[(size + 7) / 8];
	void *object;

	return take_at(offset, &object) ? memset(object, 0, size_of_window(offset)) : NULL;
}

/* Every request that neither window nor stack could serve. */
static never_inline void *alloc_odd(size_t size, gfp_t gfp, size_t align)
{
	bool spared = mm_fail_spare(gfp);
	void *object;

	if (mm_should_fail(gfp))
		object = NULL;
	else if (!size)
		object = zerobase;
	else
		object = guard_is_due() ? kmalloc_guarded(size, gfp, align) :
					  alloc_inner(size, gfp, align);
	mm_fail_resume(spared);
	if (!object)
		return kmalloc_failed(size, gfp);
	/* A large one is, by those who may know that its pages are. */
	if (gfp & __GFP_ZERO && pagemap_find(virt_to_phys(object))->class)
		memset(object, 0, kmalloc_size(object));
	return object;
}

/* ---- Allocating ---- */

/* Where the window or stack for a size is. That for 0 bytes, class 0's, is always empty. */
static inline size_t offset_of(size_t size)
{
	return mcache_offset[(size + 7) / 8];
}

/* The window at @offset is empty: once more what was freed in it. */
static inline void *reload_at(size_t offset)
{
	struct mcache *mcache;
	struct window *window;
	void *object = NULL;

	port_pin();
	mcache = port_cache();
	window = mcache_window(mcache, offset);
	if (likely(mcache_reload(mcache, window)))
		(void)window_take(window, &object);
	port_unpin();
	return object;
}

/*
 * Or whatever it takes. Looks for the window anew: so the short way keeps nothing
 * but its arguments where they came.
 */
static never_inline void *refill(size_t size, gfp_t gfp)
{
	void *object = reload_at(offset_of(size));

	return likely(object) ? object : alloc_odd(size, gfp, 1);
}

static never_inline void *refill_at(size_t offset, gfp_t gfp)
{
	void *object = reload_at(offset);

	return likely(object) ? object : alloc_odd(size_of_window(offset), gfp, 1);
}

static never_inline void *refill_stack_at(size_t offset, gfp_t gfp)
{
	return alloc_odd(size_of_window(offset), gfp, 1);
}

static force_inline bool take_from_window(size_t offset, size_t first, gfp_t gfp, void **object)
{
	struct mcache *mcache;
	bool taken;

	port_pin();
	mcache = port_cache();
	KEEP_ARGUMENTS(first, gfp, mcache);
	taken = window_take_at(mcache, offset, object);
	port_unpin();
	return taken;
}

static force_inline bool take_from_stack(size_t offset, void **object)
{
	bool taken;

	port_pin();
	taken = stack_pop_at(port_cache(), offset, object);
	port_unpin();
	return taken;
}

static force_inline void *alloc_plain(size_t size, gfp_t gfp)
{
	void *object;

	if (likely(size <= KMALLOC_WINDOW_MAX))
		return likely(take_from_window(offset_of(size), size, gfp, &object))
			       ? object
			       : refill(size, gfp);
	if (likely(size <= KMALLOC_MAX_SMALL) && likely(take_from_stack(offset_of(size), &object)))
		return object;
	return alloc_odd(size, gfp, 1);
}

void *kmalloc_at(size_t offset, gfp_t gfp)
{
	void *object;

	if (likely(take_from_window(offset, offset, gfp, &object)))
		return object;
	return refill_at(offset, gfp);
}

void *kmalloc_stacked_at(size_t offset, gfp_t gfp)
{
	void *object;

	return likely(take_from_stack(offset, &object)) ? object : refill_stack_at(offset, gfp);
}

void *kmalloc_plain(size_t size, gfp_t gfp)
{
	return alloc_plain(size, gfp);
}

/* Without pointers: out of windows and stacks of their own, or tiny. */
static force_inline void *take_noscan(size_t size)
{
	void *object = NULL;

	if (size < TINY_BLOCK) {
		/* Nothing is hidden of what is filled while failures are injected. */
		if (likely(size) && likely(!atomic_load_relaxed(&mm_fail_armed)))
			object = tiny_take(size);
	} else if (size <= KMALLOC_MAX_SMALL) {
		(void)take_at(offset_of(size) + sizeof(struct window), &object);
	}
	return object;
}

static never_inline void *alloc_flagged(size_t size, gfp_t gfp)
{
	void *object = NULL;

	if (likely((gfp & KMALLOC_ODD) == __GFP_ZERO) && size <= KMALLOC_MAX_SMALL)
		object = take_zeroed(size);
	else if ((gfp & KMALLOC_ODD) == __GFP_NOSCAN)
		object = take_noscan(size);
	return likely(object) ? object : alloc_odd(size, gfp, 1);
}

void *kmalloc_any(size_t size, gfp_t gfp)
{
	return unlikely(gfp & KMALLOC_ODD) ? alloc_flagged(size, gfp) : alloc_plain(size, gfp);
}

/* ---- Freeing ---- */

int span_free_slowly(struct span *span, phys_addr_t pa)
{
	unsigned index;

	if (atomic_load(&span->cpu) == SPAN_LARGE)
		return large_free(span, pa);
	if (span->class == &tiny_class)
		return tiny_free(span, pa);
	if (span->class == &guard_class)
		return guard_free(span, pa);
	if (!span->magic)
		return large_freed(span, pa);
	if (!object_starts(pa - span->base, span->magic, &index))
		return MM_INVALID_FREE;
	return mcache_free(span, index);
}

/* Whatever the short way could not free: in a full stack, on another CPU, large, or wrong. */
static never_inline void free_odd(const void *p, size_t size, const void *caller)
{
	phys_addr_t pa = virt_to_phys(p);
	struct span *span;
	int bad;

	if (!p || p == zerobase)
		return;
	span = pagemap_span(pagemap_entry_at(p));
	if (unlikely(!pagemap_is_span(span)))
		span = pagemap_find(pa);
	bad = span->class == &tiny_class ? tiny_free(span, pa) : span_free_slowly(span, pa);
	if (bad >= 0)
		mm_report_misuse((enum mm_misuse)bad, p, size, caller);
}

static force_inline bool free_quickly(const void *p)
{
	return span_free_quickly(pagemap_entry_at(p), p, true);
}

void kfree(const void *p)
{
	if (unlikely(!free_quickly(p)))
		free_odd(p, 0, __builtin_return_address(0));
}

size_t kmalloc_size(const void *p)
{
	struct span *span;

	if (!p || p == zerobase)
		return 0;
	span = pagemap_find(virt_to_phys(p));
	if (span->class == &tiny_class)
		return tiny_size(span, virt_to_phys(p));
	return span->class ? span->size : span->size * PAGE_SIZE;
}

/*
 * Does an object start there, and does its span say that it is handed out? What is in
 * a window looks so as well: another CPU could not tell without its lock.
 */
static bool is_object(struct span *span, phys_addr_t pa)
{
	unsigned index;

	if (span->class == &tiny_class)
		return tiny_holds(span, pa);
	if (span->class == &guard_class)
		return guard_holds(span, pa);
	if (!span->magic)
		return pa == span->base && atomic_load(&span->cpu) == SPAN_LARGE;
	return object_starts(pa - span->base, span->magic, &index) &&
	       bit_of(atomic_load_relaxed(&span->used[index / 64]), index) &&
	       !bit_of(atomic_load_relaxed(&span_remote(span)[index / 64]), index) &&
	       !span_is_stacked(span, index);
}

size_t ksize(const void *p)
{
	phys_addr_t pa = virt_to_phys(p);

	if (!p || p == zerobase || likely(is_object(pagemap_find(pa), pa)))
		return kmalloc_size(p);
	mm_report_misuse(MM_INVALID_QUERY, p, 0, __builtin_return_address(0));
	return 0;
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
	if (class == &guard_class)
		return size == span->size;
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

static bool is_on_node(const void *object, unsigned node)
{
	return chunk_find(&main_map.index, virt_to_phys(object))->node == node;
}

/* What a window of this CPU has is mostly the own node's, but need not be. */
void *kmalloc_node(size_t size, gfp_t gfp, int node)
{
	void *object;

	if (node < 0 || !size)
		return kmalloc_any(size, gfp);
	if (node >= PORT_MAX_NODES)
		return kmalloc_failed(size, gfp);
	if ((unsigned)node != numa_node_of(port_cpu()) || gfp & KMALLOC_ODD ||
	    size > KMALLOC_MAX_SMALL)
		return alloc_odd(size, gfp_for_node(gfp, (unsigned)node), 1);
	object = kmalloc_any(size, gfp);
	if (!object || is_on_node(object, (unsigned)node))
		return object;
	kfree(object);
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
