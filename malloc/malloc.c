// SPDX-License-Identifier: MIT
/*
 * malloc() and its relatives, for a whole process.
 *
 *	malloc(size) ─► window of this thread and class ─► lowest bit
 *	free(p) ─► page map ─► span ─► object number ─► checks ─► clear its bit
 *
 * These are the hot paths of kmalloc() and kfree(), inlined here. They need no
 * gate and know no fork: see arch/malloc/slots.c. All else is in heap.c.
 *
 * Compiled without builtins, lest the compiler see calloc() in what calloc()
 * does.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <spanheap/slab.h>

#include "arch/malloc/port.h"
#include "malloc/heap.h"
#include "malloc/recent.h"
#include "mm/mcache.h"

#define PAGE_BYTES 4096UL

/* What the window of the class at @offset does not have. */
static never_inline void *alloc_recent(size_t offset, size_t size)
{
	struct recent *recent = recent_at(offset);
	struct mcache *mcache = port_cache();
	struct window *window = mcache_window(mcache, offset);
	void *p = NULL;

	if (mcache_reload(mcache, window) && window_take(window, &p))
		return p;
	while (likely(recent->n)) {
		p = recent_take(recent);
		if (likely(p))
			return p;
	}
	return heap_alloc(size, 1, GFP_KERNEL);
}

/* Classes with few objects a span have a stack; larger ones are kept. */
static never_inline void *alloc_otherwise(size_t size)
{
	size_t offset;
	void *p;

	if (size <= KMALLOC_MAX_SMALL) {
		offset = mcache_offset[(size + 7) / 8];
		/* 0 before the heap has started. */
		if (likely(offset) && likely(stack_pop_at(port_cache(), offset, &p)))
			return p;
	} else if (size <= LARGE_MAX) {
		return kept_alloc(size, GFP_KERNEL);
	}
	return heap_alloc(size, 1, GFP_KERNEL);
}

PUBLIC void *malloc(size_t size)
{
	size_t offset;
	void *p;

	if (unlikely(size > KMALLOC_WINDOW_MAX))
		return alloc_otherwise(size);
	offset = mcache_offset[(size + 7) / 8];
	if (likely(window_take_at(port_cache(), offset, &p)))
		return p;
	return alloc_recent(offset, size);
}

/* Onto the stack of its class; large objects are kept. All else is heap_free()'s. */
static never_inline void free_otherwise(void *p)
{
	pagemap_entry_t entry = pagemap_entry_at(p);
	const struct span *span = pagemap_span(entry);
	uint64_t index;

	if (atomic_peek(&span->cpu) == (malloc_self.cpu | SPAN_STACKED)) {
		if (span_find_object(&entry, p, &index) && stack_push(&entry, index, p))
			return;
	} else if (kept_free(pagemap_span(entry), virt_to_phys(p))) {
		return;
	}
	heap_free(p);
}

PUBLIC void free(void *p)
{
	if (unlikely(!recent_put(pagemap_entry_at(p), p)))
		free_otherwise(p);
}

PUBLIC void free_sized(void *p, size_t size)
{
	if (unlikely(p && malloc_usable_size(p) < size))
		heap_free_sized(p, size);
	else
		free(p);
}

PUBLIC void free_aligned_sized(void *p, size_t align, size_t size)
{
	(void)align;
	free_sized(p, size);
}

/* Small objects are cleared here; of large ones the heap may know that they are zero. */
PUBLIC void *calloc(size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	if (unlikely(bytes > KMALLOC_MAX_SMALL))
		return heap_alloc(bytes, 1, GFP_KERNEL | __GFP_ZERO);
	p = malloc(bytes);
	return likely(p != NULL) ? memset(p, 0, bytes) : NULL;
}

static void *resize(void *p, size_t old, size_t size)
{
	void *fresh = malloc(size);

	if (!fresh)
		return size <= old ? p : NULL;
	memcpy(fresh, p, MIN(old, size));
	free(p);
	return fresh;
}

PUBLIC void *realloc(void *p, size_t size)
{
	size_t old;

	if (unlikely(!p))
		return malloc(size);
	if (unlikely(!size)) {
		free(p);
		return NULL;
	}
	old = malloc_usable_size(p);
	if (old > KMALLOC_MAX_SMALL && size > KMALLOC_MAX_SMALL)
		return heap_resize(p, size);
	if (size <= old && (old <= 64 || size >= old / 2))
		return p;
	return resize(p, old, size);
}

PUBLIC void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

/* @align is a power of two. */
static inline void *alloc_aligned(size_t align, size_t size)
{
	unsigned class;
	size_t offset;
	void *p;

	if (align <= 8)
		return malloc(size);
	class = size_class_aligned(MAX(size, 1UL), align);
	offset = KMALLOC_WINDOW(class);
	if (unlikely(!class || kmalloc_classes[2 * class].stack_window))
		return heap_alloc(size, align, GFP_KERNEL);
	if (likely(window_take_at(port_cache(), offset, &p)))
		return p;
	/* A request of all its class's bytes is aligned as any of the class. */
	return alloc_recent(offset, kmalloc_classes[2 * class].size);
}

static void *align_or_fail(size_t align, size_t size)
{
	if (unlikely(!is_pow2(align))) {
		errno = EINVAL;
		return NULL;
	}
	return alloc_aligned(align, size);
}

PUBLIC void *aligned_alloc(size_t align, size_t size)
{
	return align_or_fail(align, size);
}

PUBLIC void *memalign(size_t align, size_t size)
{
	return align_or_fail(align, size);
}

PUBLIC int posix_memalign(void **out, size_t align, size_t size)
{
	int saved = errno;
	void *p;

	if (unlikely(!is_pow2(align) || align % sizeof(void *)))
		return EINVAL;
	p = alloc_aligned(align, size);
	errno = saved;
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

PUBLIC void *valloc(size_t size)
{
	return alloc_aligned(PAGE_BYTES, size);
}

PUBLIC void *pvalloc(size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_add_overflow(size, PAGE_BYTES - 1, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return alloc_aligned(PAGE_BYTES, MAX(bytes & ~(PAGE_BYTES - 1), PAGE_BYTES));
}

PUBLIC size_t malloc_usable_size(void *p)
{
	return ksize(p);
}
