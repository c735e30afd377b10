// SPDX-License-Identifier: MIT
/*
 * Caches: made, shrunk, destroyed, looked through.
 *
 * Locking: caches.lock, interrupts off; before all locks of mcache.c. It guards
 * the list; who works on a cache without it holds a reference, and a cache stays
 * on the list until all are gone.
 */
#include "lib/string.h"
#include "mm/fault.h"
#include "mm/kmem_cache.h"
#include "mm/log.h"
#include "mm/metaframe.h"

#define CACHE_LINE 64
#define MIN_ALIGN 8
/* Live objects that the report of a cache that cannot be destroyed names one by one. */
#define LEAKS_NAMED 100

/* Spans: at most this many pages while several objects fit; a window's worth of objects in the
 * first two, or at least so many. */
#define SPAN_PAGES_MAX 10
#define SPAN_OBJS_GOOD 16

static_assert((uint64_t)SPAN_PAGES_MAX * PAGE_SIZE * KMALLOC_MAX_SMALL <= 1ULL << 32,
	      "the reciprocal is exact for every offset of a span with several objects");

static struct {
	struct spinlock lock;
	struct kmem_cache *first;
} caches;

static uint64_t gone_reloaded; /* of caches that are no more */

/* Each step doubles the number of low bits in which the product is 1; an odd x has three. */
static uint64_t odd_inverse(uint64_t x)
{
	uint64_t inverse = x;

	for (unsigned nbits = 3; nbits < 64; nbits *= 2)
		inverse *= 2 - x * inverse;
	return inverse;
}

static size_t cache_frames(void)
{
	return (sizeof(struct kmem_cache) + FRAME_SIZE - 1) / FRAME_SIZE;
}

/*
 * Pages of a span: as few as hold a decent number of objects and waste at most
 * an eighth behind the last; as many as allowed if no span holds that number.
 */
static unsigned span_pages(size_t size)
{
	unsigned npages = (unsigned)((size + PAGE_SIZE - 1) / PAGE_SIZE), thrifty = 0;

	if (size > KMALLOC_MAX_SMALL)
		return npages;
	for (; npages <= SPAN_PAGES_MAX; npages++) {
		size_t bytes = npages * PAGE_SIZE, nobjs = bytes / size;

		if (bytes % size > bytes / 8)
			continue;
		thrifty = npages;
		if (nobjs >= 64 || (nobjs >= SPAN_OBJS_GOOD && npages > 1))
			return npages;
	}
	return thrifty;
}

static size_t object_align(size_t size, size_t align, unsigned flags)
{
	size_t line = CACHE_LINE;

	if (flags & SLAB_HWCACHE_ALIGN) {
		while (size <= line / 2)
			line /= 2;
		align = MAX(align, line);
	}
	return MAX(align, MIN_ALIGN);
}

static void copy_name(char *to, const char *from)
{
	size_t i = 0;

	for (; i < CACHE_NAME_SIZE - 1 && from[i]; i++)
		to[i] = from[i];
	to[i] = '\0';
}

static void list_cache(struct kmem_cache *cache)
{
	unsigned long flags = spin_lock_irqsave(&caches.lock);

	cache->next = caches.first;
	if (cache->next)
		cache->next->prev = cache;
	caches.first = cache;
	spin_unlock_irqrestore(&caches.lock, flags);
}

static void unlist_cache(struct kmem_cache *cache)
{
	unsigned long flags = spin_lock_irqsave(&caches.lock);

	while (cache->refs) {
		spin_unlock_irqrestore(&caches.lock, flags);
		port_relax();
		flags = spin_lock_irqsave(&caches.lock);
	}
	if (cache->prev)
		cache->prev->next = cache->next;
	else
		caches.first = cache->next;
	if (cache->next)
		cache->next->prev = cache->prev;
	spin_unlock_irqrestore(&caches.lock, flags);
}

/* Call fn for each cache, the list's lock dropped meanwhile. */
static void for_each_cache(void (*fn)(struct kmem_cache *cache))
{
	unsigned long flags = spin_lock_irqsave(&caches.lock);

	for (struct kmem_cache *cache = caches.first; cache; cache = cache->next) {
		cache->refs++;
		spin_unlock_irqrestore(&caches.lock, flags);
		fn(cache);
		flags = spin_lock_irqsave(&caches.lock);
		cache->refs--;
	}
	spin_unlock_irqrestore(&caches.lock, flags);
}

#define SLAB_FLAGS                                                                                 \
	(SLAB_HWCACHE_ALIGN | SLAB_PANIC | SLAB_CACHE_DMA | SLAB_CACHE_DMA32 | SLAB_NOSCAN)

static struct kmem_cache *make_cache(const char *name, size_t size, size_t align, unsigned flags,
				     void (*ctor)(void *object))
{
	struct kmem_cache *cache;
	size_t stride;

	if (!name || !size || size > KMEM_CACHE_MAX_SIZE || align > KMEM_CACHE_MAX_SIZE ||
	    (align && !is_pow2(align)) || flags & ~SLAB_FLAGS)
		return NULL;
	align = object_align(size, align, flags);
	stride = round_up(size, align);
	if (stride > KMEM_CACHE_MAX_SIZE || mm_should_fail(GFP_KERNEL))
		return NULL;
	cache = metaframe_alloc_run(cache_frames());
	if (!cache)
		return NULL;
	memset(cache, 0, sizeof(*cache));
	span_class_init(&cache->class, (uint32_t)stride, span_pages(stride), (uint32_t)align);
	cache->class.cache = cache;
	cache->class.ctor = ctor;
	cache->class.cpu = cache->cpu;
	cache->shift = (uint8_t)ctz64(stride);
	cache->inverse = odd_inverse(stride >> cache->shift);
	cache->gfp = (flags & SLAB_CACHE_DMA ? GFP_DMA : 0) |
		     (flags & SLAB_CACHE_DMA32 ? GFP_DMA32 : 0) |
		     (flags & SLAB_NOSCAN ? __GFP_NOSCAN : 0);
	cache->size = size;
	copy_name(cache->name, name);
	for (size_t i = 0; i < ARRAY_SIZE(cache->window); i++)
		cache->window[i] = no_window();
	list_cache(cache);
	return cache;
}

struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align, unsigned flags,
				     void (*ctor)(void *object))
{
	struct kmem_cache *cache = make_cache(name, size, align, flags, ctor);

	if (!cache && flags & SLAB_PANIC)
		mm_panic("no cache %s of %zu bytes, align %zu", name ? name : "?", size, align);
	return cache;
}

static void flush_one(void *arg)
{
	struct kmem_cache *cache = arg;

	mcache_flush_class(&cache->class);
}

int kmem_cache_shrink(struct kmem_cache *cache)
{
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		if (atomic_load(&cache->cpu[cpu]))
			(void)port_run_on(cpu, MM_TASK, flush_one, cache);
	return atomic_load(&cache->class.nspans) ? 1 : 0;
}

struct cache_walk {
	struct kmem_cache *cache;
	void (*fn)(void *object, void *arg);
	void *arg;
	size_t n;
};

static void walk_span(struct span *span, void *arg)
{
	struct cache_walk *walk = arg;

	if (span->class != &walk->cache->class)
		return;
	for (unsigned w = 0; w < span->nwords; w++) {
		uint64_t live = span_word_live(span, w);

		for (; live; live &= live - 1, walk->n++)
			if (walk->fn)
				walk->fn(span_object(span, w * 64UL + ctz64(live)), walk->arg);
	}
}

size_t kmem_cache_walk(struct kmem_cache *cache, void (*fn)(void *object, void *arg), void *arg)
{
	struct cache_walk walk = { .cache = cache, .fn = fn, .arg = arg };

	if (atomic_load(&cache->class.nspans))
		span_for_each(walk_span, &walk);
	return walk.n;
}

struct leak_report {
	const struct kmem_cache *cache;
	size_t n;
};

static void name_leak(void *object, void *arg)
{
	struct leak_report *report = arg;

	if (report->n++ < LEAKS_NAMED)
		mm_log("cache %s: object at %p, %zu bytes, is still in use", report->cache->name,
		       object, report->cache->size);
}

static uint64_t cache_loaded(const struct kmem_cache *cache)
{
	uint64_t n = 0;

	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++) {
		const struct class_cpu *own = atomic_load(&cache->cpu[cpu]);

		for (unsigned c = 0; own && c < MM_NR_CONTEXTS; c++)
			n += own->reloaded[c] - popcount64(window_bits(&own->window[c]));
	}
	return n;
}

int kmem_cache_destroy(struct kmem_cache *cache)
{
	struct leak_report report = { .cache = cache };

	if (!cache)
		return 0;
	if (kmem_cache_shrink(cache) && kmem_cache_shrink(cache)) {
		(void)kmem_cache_walk(cache, name_leak, &report);
		mm_log("cache %s is not destroyed: %zu objects in use", cache->name, report.n);
		return -EBUSY;
	}
	(void)atomic_fetch_add(&gone_reloaded, cache_loaded(cache));
	unlist_cache(cache);
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		if (cache->cpu[cpu])
			class_cpu_free(cache->cpu[cpu]);
	metaframe_free_run(cache, cache_frames());
	return 0;
}

size_t kmem_cache_size(const struct kmem_cache *cache)
{
	return cache->size;
}

const char *kmem_cache_name(const struct kmem_cache *cache)
{
	return cache->name;
}

/* ---- All caches ---- */

static void flush_own(struct kmem_cache *cache)
{
	mcache_flush_class(&cache->class);
}

void kmem_cache_flush_cpu(void)
{
	for_each_cache(flush_own);
}

static void shed_own(struct kmem_cache *cache)
{
	(void)mcache_shed_class(&cache->class);
}

void kmem_cache_shed(void)
{
	for_each_cache(shed_own);
}

void kmem_cache_divert(void)
{
	unsigned long flags;

	if (!spin_lock_context(&caches.lock, &flags))
		return;
	for (struct kmem_cache *cache = caches.first; cache; cache = cache->next)
		for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
			for (unsigned c = 0; atomic_load(&cache->cpu[cpu]) && c < MM_NR_CONTEXTS;
			     c++)
				atomic_store(&cache->window[MCACHE_SLOT(cpu, c)], no_window());
	spin_unlock_irqrestore(&caches.lock, flags);
}

uint64_t kmem_cache_loaded(void)
{
	unsigned long flags = spin_lock_irqsave(&caches.lock);
	uint64_t n = atomic_load(&gone_reloaded);

	for (struct kmem_cache *cache = caches.first; cache; cache = cache->next)
		n += cache_loaded(cache);
	spin_unlock_irqrestore(&caches.lock, flags);
	return n;
}

void kmem_cache_for_each_class(void (*fn)(struct span_class *class, void *arg), void *arg)
{
	unsigned long flags = spin_lock_irqsave(&caches.lock);

	for (struct kmem_cache *cache = caches.first; cache; cache = cache->next)
		fn(&cache->class, arg);
	spin_unlock_irqrestore(&caches.lock, flags);
}

/* Window and span belong together, and the window's objects count as handed out. */
static bool window_is_sound(const struct kmem_cache *cache, const struct window *window)
{
	const struct span *span = window->span;

	if (!span)
		return !window_bits(window) && !window->nobjs;
	return span->window == window && span->class == &cache->class &&
	       window->word < span->nwords && !(window_bits(window) & ~span->used[window->word]) &&
	       window->base == (uintptr_t)span_object(span, window->word * 64UL);
}

unsigned kmem_cache_check(void)
{
	unsigned long flags = spin_lock_irqsave(&caches.lock);
	unsigned bad = 0;

	for (struct kmem_cache *cache = caches.first; cache; cache = cache->next)
		for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
			for (unsigned c = 0; cache->cpu[cpu] && c < MM_NR_CONTEXTS; c++) {
				struct window *window = &cache->cpu[cpu]->window[c];
				struct window *hot = cache->window[MCACHE_SLOT(cpu, c)];

				if (window_is_sound(cache, window) &&
				    (hot == window || hot == no_window()))
					continue;
				mm_log("cache %s: window of CPU %u, context %u", cache->name, cpu,
				       c);
				bad++;
			}
	spin_unlock_irqrestore(&caches.lock, flags);
	return bad;
}
