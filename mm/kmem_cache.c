// SPDX-License-Identifier: MIT
/*
 * Allocating from caches and freeing to them.
 *
 *	cache->window[CPU, context] ─► struct window ──► span
 *	 what the hot paths use          of class.cpu[CPU], mcache.c's
 *
 * An allocation takes a bit of its window, as kmalloc() does. A free looks first
 * whether the object lies in the window too, which for objects that do not live
 * long it mostly does: then the window says where the span's bits are, and
 * neither page map nor owner nor cache need be looked at. All other frees go by
 * the page map like kfree(), once the span is known to be this cache's.
 *
 * window[] leads to an empty window until the slow path has been taken, and
 * whenever failures are injected: so the hot path tests neither.
 */
#include <spanheap/slab.h>

#include "lib/string.h"
#include "mm/bulk.h"
#include "mm/fault.h"
#include "mm/guard.h"
#include "mm/kmem_cache.h"
#include "mm/log.h"
#include "mm/mcache.h"
#include "mm/misuse.h"
#include "mm/tiny.h"

#define GFP_PLACE (GFP_DMA | GFP_DMA32 | __GFP_THISNODE)

static uint64_t failed_allocs;

uint64_t kmem_cache_failed_calls(void)
{
	return atomic_load_relaxed(&failed_allocs);
}

/* ---- The hot paths ---- */

/* Of the running CPU and context, pinned. */
static inline struct window *cache_window(struct kmem_cache *cache)
{
	const struct mcache *mcache = port_cache();

	return cache->window[mcache->slot];
}

/*
 * Which object of the window, counted from its base, starts @offset bytes from
 * there; a number of no object if none does. A division by multiplying with the
 * inverse of the size's odd part and shifting its even part out, around to the
 * top. Both can be undone, so no two offsets give the same number, and those of
 * the window's objects, which are multiples of the size, give all the small ones.
 */
static inline uint64_t window_index(const struct kmem_cache *cache, uint64_t offset)
{
	return rotate_right(offset * cache->inverse, cache->shift);
}

static never_inline void *alloc_slowly(struct kmem_cache *cache, gfp_t gfp);
static never_inline void free_elsewhere(struct kmem_cache *cache, void *object, const void *caller);

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	void *object;
	bool taken;

	if (unlikely(gfp & (__GFP_ZERO | GFP_PLACE)))
		return alloc_slowly(cache, gfp);
	port_pin();
	taken = window_take(cache_window(cache), &object);
	port_unpin();
	if (likely(taken))
		return object;
	return alloc_slowly(cache, gfp);
}

/* A free of an object in the own window; false if it is not there, or not handed out. */
static inline bool free_in_window(struct kmem_cache *cache, const void *object)
{
	struct window *window;
	struct span *span;
	uint64_t index, used;
	bool done = false;

	port_pin();
	window = cache_window(cache);
	index = window_index(cache, (uintptr_t)object - window->base);
	if (likely(index < window->nobjs)) {
		size_t word = window->word;

		span = window->span;
		used = span->used[word];
		/* Used again below, without an address that is kept. */
		HIDE_VALUE_AFTER(word, used);
		/* Handed out: in use by the span's bits, not the window's, and not freed afar. */
		if (likely(!atomic_test_relaxed(&span->cpu, SPAN_MAIL)) &&
		    likely(bit_of(used & window->taken, index))) {
			(void)cpu_local_and(&span->used[word], all_but(index));
			done = true;
		}
	}
	port_unpin();
	return done;
}

void kmem_cache_free(struct kmem_cache *cache, void *object)
{
	if (unlikely(!free_in_window(cache, object)))
		free_elsewhere(cache, object, __builtin_return_address(0));
}

/* ---- What they leave ---- */

/* Let the hot paths have the running context's window. */
static void enter_window(struct kmem_cache *cache)
{
	struct class_cpu *cpu;
	struct window **entry;
	unsigned slot;

	port_pin();
	cpu = cache->cpu[port_cpu()];
	slot = mcache_slot();
	entry = &cache->window[slot];
	if (cpu && slot && *entry != &cpu->window[port_context()]) {
		/* Whoever starts to inject failures arms first, and then diverts. */
		(void)atomic_xchg(entry, &cpu->window[port_context()]);
		atomic_fence_after();
		if (atomic_load(&mm_fail_armed))
			atomic_store(entry, no_window());
	}
	port_unpin();
}

/* What was freed in the own window, once more. */
static inline bool reload(struct kmem_cache *cache, struct window *window)
{
	unsigned n = window_reload(window);

	if (n)
		cache->cpu[port_cpu()]->reloaded[port_context()] += n;
	return n;
}

static void *take_or_refill(struct kmem_cache *cache, gfp_t gfp)
{
	struct window *window;
	void *object;
	bool taken;

	port_pin();
	window = cache_window(cache);
	taken = window_take(window, &object) ||
		(reload(cache, window) && window_take(window, &object));
	port_unpin();
	if (likely(taken))
		return object;
	object = mcache_alloc(&cache->class, gfp | cache->gfp);
	if (object)
		enter_window(cache);
	return object;
}

static void count_failure(const struct kmem_cache *cache, gfp_t gfp)
{
	if (gfp & __GFP_NOFAIL)
		mm_panic("out of memory: cache %s, flags 0x%x", cache->name, gfp);
	(void)atomic_fetch_add(&failed_allocs, 1);
}

static void *alloc_slowly(struct kmem_cache *cache, gfp_t gfp)
{
	bool spared = mm_fail_spare(gfp);
	void *object = NULL;

	if (!mm_should_fail(gfp) && !(gfp & GFP_PLACE))
		object = take_or_refill(cache, gfp);
	mm_fail_resume(spared);
	if (!object)
		count_failure(cache, gfp);
	else if (gfp & __GFP_ZERO)
		memset(object, 0, cache->class.size);
	return object;
}

/* -1, or what is wrong. */
static int free_by_span(struct kmem_cache *cache, const void *object)
{
	pagemap_entry_t entry = pagemap_entry_at(object);
	struct span *span = pagemap_span(entry);
	phys_addr_t pa;

	if (likely(span->class == &cache->class) &&
	    likely(span_free_quickly(entry, object, false)))
		return -1;
	pa = virt_to_phys(object);
	span = pagemap_find(pa);
	if (pagemap_is_span(span) && span->class != &cache->class)
		return MM_WRONG_CACHE;
	return span_free_slowly(span, pa);
}

static void free_elsewhere(struct kmem_cache *cache, void *object, const void *caller)
{
	int bad;

	if (!object)
		return;
	bad = free_by_span(cache, object);
	if (unlikely(bad >= 0))
		mm_report_misuse((enum mm_misuse)bad, object, cache->size, caller);
}

bool kmem_cache_owns(const struct kmem_cache *cache, const void *p)
{
	phys_addr_t pa = virt_to_phys(p);
	struct span *span = pagemap_find(pa);
	/* Once: a span that ends just now may become another, which has none at first. */
	const struct span_class *class = atomic_load_relaxed(&span->class);
	size_t offset = pa - span->base;
	unsigned index;

	if (!class)
		return !cache && span_owner(span) == SPAN_LARGE && !offset;
	if (class->cache != cache)
		return false;
	if (class == &guard_class)
		return guard_holds(span, pa);
	if (class == &tiny_class)
		return tiny_size(span, pa);
	return object_starts(offset, span->magic, &index) && index < span->nobjs &&
	       bit_of(atomic_load(&span->used[index / 64]) &
			      ~atomic_load(&span_remote(span)[index / 64]),
		      index);
}

/* ---- Bulk ---- */

/* Up to @n objects out of the window. Return: how many. */
static force_inline size_t take_many(struct kmem_cache *cache, size_t n, void **p)
{
	struct window *window;
	size_t done;

	port_pin();
	window = cache_window(cache);
	if (!window_bits(window))
		(void)reload(cache, window);
	done = bulk_take(window, n, p);
	port_unpin();
	return done;
}

/* The rest of a bulk of which @done are there. */
static never_inline size_t alloc_bulk_slowly(struct kmem_cache *cache, gfp_t gfp, size_t n,
					     void **p, size_t done)
{
	bool spared = mm_fail_spare(gfp);
	bool failed = gfp & GFP_PLACE || mm_should_fail(gfp);

	for (; done < n && !failed; done += take_many(cache, n - done, p + done)) {
		p[done] = take_or_refill(cache, gfp);
		failed = !p[done];
		done += !failed;
	}
	mm_fail_resume(spared);
	if (failed) {
		kmem_cache_free_bulk(cache, done, p);
		count_failure(cache, gfp);
		return 0;
	}
	for (size_t i = 0; gfp & __GFP_ZERO && i < n; i++)
		memset(p[i], 0, cache->class.size);
	return n;
}

size_t kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t n, void **p)
{
	size_t done = 0;

	/* What is for many costs one four times as much. */
	if (unlikely(n == 1)) {
		p[0] = kmem_cache_alloc(cache, gfp);
		return !!p[0];
	}
	if (likely(!(gfp & (__GFP_ZERO | GFP_PLACE)))) {
		/* While failures are injected there is no window. */
		done = take_many(cache, n, p);
		if (likely(done == n))
			return n;
	}
	return alloc_bulk_slowly(cache, gfp, n, p, done);
}

/* How many of @n addresses, at least the first, lie @size bytes apart. */
static inline size_t neighbours(void **p, size_t n, size_t size)
{
	void **first = p, **end = p + n;
	char *at = p[0];

	while (end - p >= 4 && p[0] == at && p[1] == at + size && p[2] == at + 2 * size &&
	       p[3] == at + 3 * size) {
		p += 4;
		at += 4 * size;
	}
	for (; p < end && *p == at; at += size)
		p++;
	return (size_t)(p - first);
}

/*
 * Free objects of the window as long as they follow each other in @p: one look
 * at the span's bits and one write for all of them.
 *
 * Return: how many.
 */
static inline size_t free_in_row(struct kmem_cache *cache, size_t n, void **p)
{
	struct window *window;
	uint64_t taken = 0, left, *word = NULL;
	size_t i, run;

	port_pin();
	window = cache_window(cache);
	if (window->nobjs && !atomic_test_relaxed(&window->span->cpu, SPAN_MAIL)) {
		word = &window->span->used[window->word];
		taken = *word & window->taken;
	}
	left = taken;
	for (i = 0; i < n; i += run) {
		uint64_t mask, index = window_index(cache, (uintptr_t)p[i] - window->base);

		if (index >= window->nobjs)
			break;
		run = neighbours(p + i, MIN(n - i, window->nobjs - index), window->size);
		mask = mask_range((unsigned)index, (unsigned)run);
		/* What comes twice is not taken any more the second time. */
		if (unlikely(mask & ~left)) {
			run = 1;
			mask = 1ULL << index;
			if (mask & ~left)
				break;
		}
		left &= ~mask;
	}
	if (i)
		(void)cpu_local_and(word, ~(taken ^ left));
	port_unpin();
	return i;
}

static never_inline void free_bulk_slowly(struct kmem_cache *cache, size_t n, void **p,
					  const void *caller)
{
	for (size_t i = 0; i < n; i += free_in_row(cache, n - i, p + i))
		free_elsewhere(cache, p[i++], caller);
}

void kmem_cache_free_bulk(struct kmem_cache *cache, size_t n, void **p)
{
	size_t done;

	if (unlikely(n == 1)) {
		if (unlikely(!free_in_window(cache, p[0])))
			free_elsewhere(cache, p[0], __builtin_return_address(0));
		return;
	}
	done = free_in_row(cache, n, p);
	if (unlikely(done < n))
		free_bulk_slowly(cache, n - done, p + done, __builtin_return_address(0));
}
