// SPDX-License-Identifier: MIT
/*
 * malloc() and its relatives, for a whole process.
 *
 *	malloc(size) ─► magazine of this thread and class ─► its last object
 *	free(p) ─► page map ─► span ─► object number ─► checks ─► magazine
 *
 * The hot paths need no gate and know no fork: see magazine.h and
 * arch/malloc/slots.c. All else is in heap.c.
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
#include "malloc/magazine.h"
#include "mm/mcache.h"
#include "mm/misuse.h"

#define PAGE_BYTES 4096UL

/* The magazine is empty, and so is the window. */
static never_inline void *alloc_slowly(struct magazine *magazine, size_t size)
{
	struct window *window = magazine_window(magazine);
	void *p;

	if (mcache_reload(port_cache(), window) && window_take(window, &p)) {
		magazine_open(magazine);
		return p;
	}
	return heap_alloc(size, 1, GFP_KERNEL);
}

static force_inline void *alloc_small(size_t size)
{
	struct magazine *magazine = magazine_for(size);
	uint32_t n = magazine->n;
	void *p;

	if (likely(n))
		return magazine_take(magazine, n);
	if (likely(window_take(magazine_window(magazine), &p)))
		return p;
	return alloc_slowly(magazine, size);
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
	if (unlikely(size > KMALLOC_WINDOW_MAX))
		return alloc_otherwise(size);
	return alloc_small(size);
}

/*
 * Into a magazine whose window was open, onto the stack of its class, or another
 * thread's; large objects are kept. All else is heap_free()'s.
 */
static never_inline void free_otherwise(void *p)
{
	pagemap_entry_t entry = pagemap_entry_at(p);
	struct span *span = pagemap_span(entry);
	uint64_t index;
	bool tell;

	if (atomic_peek(&span->cpu) == (malloc_self.cpu | SPAN_STACKED)) {
		if (span_find_object(&entry, p, &index) && stack_push(&entry, index, p))
			return;
	} else if (span_find_object(&entry, p, &index)) {
		if (unlikely(!span->stack && is_held(p))) {
			heap_misuse(MM_DOUBLE_FREE, p);
			return;
		}
		if (atomic_peek(&span->cpu) == malloc_self.cpu &&
		    magazine_shut(magazine_for(span->size)) && magazine_put(entry, p))
			return;
		if (span_free_afar_quickly(span, index, &tell)) {
			if (unlikely(tell))
				heap_tell(span);
			return;
		}
	} else if (kept_free(pagemap_span(entry), virt_to_phys(p))) {
		return;
	}
	heap_free(p);
}

PUBLIC void free(void *p)
{
	if (unlikely(!magazine_put(pagemap_entry_at(p), p)))
		free_otherwise(p);
}

/* What ksize() gives, for an object of a magazine as well. */
static never_inline size_t size_slowly(void *p)
{
	pagemap_entry_t entry = pagemap_entry_at(p);
	uint64_t index;

	if (span_find_object(&entry, p, &index) && !pagemap_span(entry)->stack && is_held(p)) {
		heap_misuse(MM_INVALID_QUERY, p);
		return 0;
	}
	return ksize(p);
}

/* Of an object of this thread, which is in use; of all else, elsewhere. */
static inline size_t size_of(void *p)
{
	pagemap_entry_t entry = pagemap_entry_at(p);
	struct span *span = pagemap_span(entry);
	uint32_t cpu = atomic_peek(&span->cpu);
	uint64_t index;

	if (likely((cpu & ~SPAN_STACKED) == malloc_self.cpu) &&
	    likely(span_find_object(&entry, p, &index)) &&
	    (cpu & SPAN_STACKED ? span_mark(span, (unsigned)index) == MARK_OUT
				: bit_of(span->used[index / 64], index) && !is_held(p)))
		return span->size;
	return size_slowly(p);
}

PUBLIC void free_sized(void *p, size_t size)
{
	if (unlikely(p && size_of(p) < size))
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

/* What has grown will grow again: a quarter more than it was saves most of the copies. */
static void *resize(void *p, size_t old, size_t size)
{
	void *fresh = malloc(size > old ? MAX(size, old + old / 4) : size);

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
	old = size_of(p);
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

	if (align <= 16)
		return malloc(size);
	/* Mostly its own class will do. */
	class = kmalloc_class(size);
	if (likely(class && align <= 1UL << size_classes[class].align_shift))
		return malloc(size);
	class = size_class_aligned(MAX(size, 16UL), align);
	if (unlikely(!class))
		return heap_alloc(size, align, GFP_KERNEL);
	/* A request of all its class's bytes is aligned as any of the class. */
	return malloc(kmalloc_classes[2 * class].size);
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
	return size_of(p);
}
