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
#include "mm/log.h"
#include "mm/mcache.h"
#include "mm/misuse.h"
#include "mm/numa.h"

/* Flags that ask for more than any window can give. */
#define GFP_ODD (__GFP_ZERO | __GFP_NOSCAN | GFP_DMA | GFP_DMA32 | __GFP_THISNODE)
#define GFP_PLACE (GFP_DMA | GFP_DMA32 | __GFP_THISNODE)

static_assert(KMALLOC_WINDOW(1) == 2 * sizeof(struct window), "slab.h knows the place");

#define SPAN_CLASS(class, noscan) (2 * (class) + !!(noscan))

static uint64_t large_allocs, failed_calls;

uint64_t kmalloc_large_allocs(void)
{
	return atomic_load_relaxed(&large_allocs);
}

uint64_t kmalloc_failed_calls(void)
{
	return atomic_load_relaxed(&failed_calls);
}

static void *alloc_large(size_t size, size_t align, gfp_t gfp)
{
	size_t npages = size / PAGE_SIZE + !!(size % PAGE_SIZE);
	struct span *span = span_create_large(npages, align, gfp);

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
	unsigned class = align > 16 ? size_class_aligned(size, align) : kmalloc_class(size);
	unsigned index = SPAN_CLASS(class, gfp & __GFP_NOSCAN);
	void *object = NULL;

	if (!size)
		return zerobase;
	if (!mm_should_fail(gfp)) {
		if (unlikely(!class || gfp & GFP_PLACE))
			object = alloc_large(size, align, gfp);
		else
			object = mcache_alloc(&kmalloc_classes[index], gfp);
	}
	if (!object) {
		if (gfp & __GFP_NOFAIL)
			mm_panic("out of memory: %zu bytes, flags 0x%x", size, gfp);
		(void)atomic_fetch_add(&failed_calls, 1);
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

/* -1, or what is wrong with freeing what the short way could not. */
static int free_slowly(phys_addr_t pa)
{
	struct span *span = pagemap_find(pa);
	uint64_t product;

	if (!span->magic)
		return span->cpu == SPAN_LARGE ? free_large(span, pa) : MM_INVALID_FREE;
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

	if ((uint32_t)product < span->magic) {
		port_pin();
		done = stack_push((struct span *)span, (unsigned)(product >> 32), p);
		port_unpin();
	}
	if (done || !p || p == zerobase)
		return;
	bad = free_slowly(pa);
	if (bad >= 0)
		mm_report_misuse((enum mm_misuse)bad, p, size, caller);
}

/* Is the object, which is in use by its span's bits, in a window? Or the span to be listed? */
static inline bool needs_care(const struct span *span, uint64_t index)
{
	const struct window *window = span->window;

	if (likely(!bit_of(window->bits, index)))
		return false;
	/* The same bit of another word says nothing. */
	return window->span != span || window->word == index / 64;
}

/*
 * All of a free, if this CPU owns the span and nothing changes but a bit.
 *
 * Written for few instructions: @p stays in its register for the long way, the
 * magic is compared in memory, and the word's number is kept apart from the
 * product that it comes from, lest the compiler make one address of both. What
 * it found is not handed to the long way, which would cost the short one.
 */
static inline bool free_quickly(const void *p)
{
	phys_addr_t pa = virt_to_phys(p);
	struct span *span = pagemap_lookup(pa);
	uint64_t product = (pa - span->base) * span->magic, index, word;
	bool done = false;

	/* Exact for a multiple of the size, and below the magic for no other offset. */
	if (unlikely((uint32_t)product >= atomic_load_relaxed(&span->magic)))
		return false;
	port_pin();
	if (likely(span->cpu == port_cpu())) {
		index = word = product >> 32;
		HIDE_VALUE(word);
		word /= 64;
		if (likely(bit_of(span->used[word], index)) && likely(!needs_care(span, index))) {
			if (unlikely(cpu_local_and(&span->used[word], all_but(index))))
				mcache_word_empty(p, span);
			done = true;
		}
	}
	port_unpin();
	return done;
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
	return span->class ? span->size : span->size * PAGE_SIZE;
}

void kfree_sized(const void *p, size_t size)
{
	const struct span *span = pagemap_find(virt_to_phys(p));
	bool fits;

	if (!p || p == zerobase) {
		if (size)
			mm_report_misuse(MM_WRONG_SIZE, p, size, __builtin_return_address(0));
		return;
	}
	/* Any size that would have got the same class or as many pages. */
	if (span == &null_span)
		fits = true;
	else if (span->class)
		fits = size && size <= span->size && (span->class->cache || kmalloc_class(size) == span->class->index / 2);
	else
		fits = size > KMALLOC_MAX_SMALL && (size - 1) / PAGE_SIZE + 1 == span->size;
	if (!fits)
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
