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
#include "mm/framebits.h"
#include "mm/log.h"
#include "mm/mcache.h"
#include "mm/misuse.h"
#include "mm/numa.h"
#include "mm/tiny.h"

/* Flags that ask for more than any window can give. */
#define GFP_ODD (__GFP_ZERO | __GFP_NOSCAN | GFP_DMA | GFP_DMA32 | __GFP_THISNODE)
#define GFP_PLACE (GFP_DMA | GFP_DMA32 | __GFP_THISNODE)

static_assert(KMALLOC_WINDOW(1) == 2 * sizeof(struct window), "slab.h knows the place");

#define SPAN_CLASS(class, noscan) (2 * (class) + !!(noscan))

static uint64_t large_allocs;
static uint64_t failed_objects;

uint64_t kmalloc_large_allocs(void)
{
	return atomic_load_relaxed(&large_allocs);
}

uint64_t kmalloc_failed_calls(void)
{
	return atomic_load_relaxed(&failed_objects);
}

static void *alloc_large(size_t size, size_t align, gfp_t gfp)
{
	size_t npages = size / PAGE_SIZE + !!(size % PAGE_SIZE);
	struct span *span =
		span_create_large(npages, is_pow2(size) ? MAX(size, align) : align, gfp);

	if (!span)
		return NULL;
	(void)atomic_fetch_add(&large_allocs, 1);
	return phys_to_virt(span->base);
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

/* Every request that its window could not serve at once. */
static __attribute__((noinline)) void *alloc_odd(size_t size, gfp_t gfp, size_t align)
{
	unsigned class = align > 8 ? size_class_aligned(size, align) : kmalloc_class(size);
	unsigned index = SPAN_CLASS(class, gfp & __GFP_NOSCAN);
	void *object = NULL;
	bool spared;

	if (!size)
		return zerobase;
	spared = mm_fail_spare(gfp);
	if (!mm_should_fail(gfp)) {
		if (unlikely(!class || gfp & GFP_PLACE))
			object = alloc_large(size, align, gfp);
		else if (gfp & __GFP_NOSCAN && size < TINY_BLOCK && align == 1)
			object = tiny_alloc(size, gfp);
		else
			object = mcache_alloc(&kmalloc_classes[index], gfp);
	}
	mm_fail_resume(spared);
	if (!object) {
		if (gfp & __GFP_NOFAIL)
			mm_panic("out of memory: %zu bytes, flags 0x%x", size, gfp);
		(void)atomic_fetch_add(&failed_objects, 1);
		return NULL;
	}
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

static int free_large(struct span *span, phys_addr_t pa)
{
	uint32_t cpu = SPAN_LARGE;

	if (pa != span->base)
		return MM_INVALID_FREE;
	/* Of two that free it at once, one goes on. */
	if (!atomic_cas(&span->cpu, &cpu, SPAN_NOBODY))
		return MM_DOUBLE_FREE;
	span_destroy(span);
	return -1;
}

/* Could an object have been at @pa, whose span is gone? Not if its page is somebody's again. */
static bool is_free(phys_addr_t pa)
{
	const struct chunk *chunk = chunk_find(&main_map.index, pa);

	return pa % 8 == 0 && frame_use(chunk, frame_in_chunk(pa)) >= FRAME_FREE;
}

int span_free_slowly(struct span *span, phys_addr_t pa)
{
	uint64_t product;

	if (atomic_load(&span->cpu) == SPAN_LARGE)
		return free_large(span, pa);
	if (span->class == &tiny_class)
		return tiny_free(span, pa);
	if (!span->magic)
		return span != &null_span && is_free(pa) ? MM_DOUBLE_FREE : MM_INVALID_FREE;
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

void *kmalloc_aligned(size_t size, size_t align, gfp_t gfp)
{
	return is_pow2(align) ? alloc_odd(size, gfp, align) : NULL;
}

void *krealloc(const void *p, size_t size, gfp_t gfp)
{
	size_t old = ksize(p);
	void *fresh;

	if (!size) {
		kfree(p);
		return zerobase;
	}
	if (size <= old && (old <= 64 || size >= old / 2))
		return (void *)p;
	fresh = kmalloc_any(size, gfp);
	if (!fresh)
		return size <= old ? (void *)p : NULL;
	if (old)
		memcpy(fresh, p, MIN(old, size));
	kfree(p);
	return fresh;
}

size_t kmalloc_bulk(size_t size, gfp_t gfp, size_t n, void **p)
{
	for (size_t i = 0; i < n; i++) {
		p[i] = kmalloc_any(size, gfp);
		if (!p[i]) {
			kfree_bulk(i, p);
			return 0;
		}
	}
	return n;
}

void kfree_bulk(size_t n, void **p)
{
	for (size_t i = 0; i < n; i++)
		if (unlikely(!free_quickly(p[i])))
			free_odd(p[i], 0, __builtin_return_address(0));
}
