// SPDX-License-Identifier: MIT
/*
 * Behind the hot paths: the gate, start-up and upkeep.
 *
 * The heap starts with the first call that no cache can serve, whoever makes it:
 * the dynamic linker, another library's constructor. Nothing on that way
 * allocates. What may, registering for fork(), waits for our own constructor.
 *
 * Upkeep is done by whoever passes, every so many passes and at most every
 * UPKEEP_NS: slots whose threads are gone are emptied, and what has been free for
 * all of a period goes back to the system, but for a reserve. Each thread ends the
 * empty spans that it keeps beyond SPARE_LOW when it first passes after that.
 */
#include <errno.h>
#include <stdint.h>

#include <spanheap/boot.h>
#include <spanheap/pressure.h>
#include <spanheap/scavenge.h>

#include "arch/malloc/port.h"
#include "lib/bits.h"
#include "malloc/heap.h"
#include "malloc/magazine.h"
#include "mm/mcache.h"
#include "mm/medium.h"
#include "mm/misuse.h"
#include "mm/pageheap.h"
#include "mm/retention.h"

#define UPKEEP_CALLS 1024
#define MEDIUM_KEPT                                                                             \
	(32UL << 20)		/* till the next upkeep, beside what each thread keeps (kept.c) \
				 */
#define SPARE_KEPT (16UL << 20) /* empty spans, all threads together */
#define SPARE_LOW (512UL << 10) /* each thread */
#define UPKEEP_NS 500000000ULL

enum { HEAP_COLD, HEAP_STARTING, HEAP_WARM };

static uint32_t state;
static uint64_t next_upkeep;
static unsigned upkeeps;
static uint64_t seen_growth;
static uint64_t least_free;  /* frames, since the last upkeep */

static const struct magazine no_magazines[MAGAZINES];

const struct malloc_nothing malloc_nothing = { &empty_mcache, no_magazines };

__thread struct malloc_self malloc_self __attribute__((tls_model("initial-exec"))) = {
	.cpu = MALLOC_NO_CPU,
	.cache = (void *)&empty_mcache,
	.magazines = (void *)no_magazines,
};

static void share_spare(void)
{
	unsigned threads = MAX(malloc_threads(), 1U);

	atomic_store_relaxed(&retention.spare, MAX(SPARE_KEPT / threads, SPARE_LOW));
	atomic_store_relaxed(&retention.spare_low, SPARE_LOW);
}

static void start_cpu(void)
{
	if (mm_init_cpu())
		port_panic("no memory for a thread's caches");
	share_spare();
	/* RAM is address space here, so that a share of it means nothing. */
	atomic_store_relaxed(&retention.medium_cpu, 0);
	atomic_store_relaxed(&retention.medium_node, MEDIUM_KEPT);
	magazines_init_cpu();
}

static void start(void)
{
	uint64_t size = malloc_ram_init();

	if (!size)
		port_panic("no address space");
	malloc_slots_init();
	memblock_add(MALLOC_RAM_BASE, size, NUMA_NO_NODE);
	if (mm_init())
		port_panic("no memory to start with");
	magazines_init();
	start_cpu();
	/* Nobody here can use one address and not another, or cannot wait. */
	mm_set_reserves(0);
}

static __attribute__((noinline)) void start_once(void)
{
	uint32_t cold = HEAP_COLD;

	if (atomic_cas(&state, &cold, HEAP_STARTING)) {
		start();
		atomic_store(&state, HEAP_WARM);
	}
	while (atomic_load(&state) != HEAP_WARM)
		port_relax();
}

static __attribute__((constructor)) void when_loaded(void)
{
	if (atomic_load(&state) != HEAP_WARM)
		start_once();
	malloc_slots_at_fork(heap_enter);
}

void port_flush_objects(void)
{
	kept_flush();
	magazines_flush();
}

void heap_flush(void *unused)
{
	(void)unused;
	retention_flush_cpu();
}

static __attribute__((noinline)) void upkeep(void)
{
	uint64_t now = port_clock(), due = atomic_load_relaxed(&next_upkeep);
	uint64_t free = atomic_load_relaxed(&main_heap[0].frames_free);

	if (free < atomic_load_relaxed(&least_free))
		atomic_store_relaxed(&least_free, free);
	if (malloc_self.upkeeps != atomic_load_relaxed(&upkeeps)) {
		malloc_self.upkeeps = atomic_load_relaxed(&upkeeps);
		mcache_trim();
	}
	/* The first look starts the clock. */
	if (now < due || !atomic_cas(&next_upkeep, &due, now + UPKEEP_NS) || !due)
		return;
	(void)atomic_fetch_add(&upkeeps, 1);
	share_spare();
	malloc_serve_idle(heap_flush, NULL);
	medium_flush_nodes();
	free = atomic_load_relaxed(&least_free);
	atomic_store_relaxed(&least_free, atomic_load_relaxed(&main_heap[0].frames_free));
	mm_scavenge_step(free << FRAME_SHIFT);
}

void heap_enter(void)
{
	if (unlikely(atomic_load(&state) != HEAP_WARM))
		start_once();
	if (unlikely(malloc_enter()))
		start_cpu();
}

/*
 * The heap has grown: runs that wait for a request of their size take part in what
 * comes next, so that what is kept does not make it grow again.
 */
static never_inline void grown(uint64_t growth)
{
	atomic_store_relaxed(&seen_growth, growth);
	medium_flush_nodes();
}

void heap_leave(void)
{
	uint64_t growth = atomic_load_relaxed(&malloc_growth);

	if (unlikely(growth != atomic_load_relaxed(&seen_growth)))
		grown(growth);
	if (unlikely(malloc_asked()))
		heap_flush(NULL);
	if (unlikely(++malloc_self.calls % UPKEEP_CALLS == 0))
		upkeep();
	malloc_leave();
}

/* The thread may be another CPU than it was in malloc(), for this call or for good. */
static void *alloc_small(size_t size, gfp_t gfp)
{
	struct magazine *magazine = magazine_for(size);
	void *p;

	if (magazine->n)
		return magazine_take(magazine, magazine->n);
	p = kmalloc_any(size, gfp);
	magazine_open(magazine);
	return p;
}

/* As many pages, but not aligned to their number, which kmalloc() does for powers of two. */
static size_t anywhere(size_t size)
{
	return size - (size > KMALLOC_MAX_SMALL && is_pow2(size));
}

static void *try_alloc(size_t size, size_t align, gfp_t gfp)
{
	if (align > malloc_port.align_max)
		return NULL;
	if (align > 1)
		return kmalloc_aligned(size, align, gfp);
	return size <= KMALLOC_WINDOW_MAX ? alloc_small(size, gfp)
					  : kmalloc_any(anywhere(size), gfp);
}

void *heap_alloc(size_t size, size_t align, gfp_t gfp)
{
	int saved = errno;
	void *p = NULL;

	if (likely(size <= PTRDIFF_MAX)) {
		heap_enter();
		/* An address of its own, and one with a held bit (magazine.h). */
		size = MAX(size, 16UL);
		if (size > KMALLOC_MAX_SMALL)
			mcache_make_room();
		p = try_alloc(size, align, gfp);
		if (unlikely(!p) && size < PTRDIFF_MAX / 2) {
			/* Perhaps what is kept for others makes room. */
			heap_flush(NULL);
			malloc_serve_idle(heap_flush, NULL);
			p = try_alloc(size, align, gfp);
		}
		heap_leave();
	}
	errno = p ? saved : ENOMEM;
	return p;
}

void *heap_resize(void *p, size_t size)
{
	int saved = errno;
	void *resized = NULL;

	if (likely(size <= PTRDIFF_MAX)) {
		heap_enter();
		resized = krealloc(p, anywhere(size), GFP_KERNEL);
		heap_leave();
	}
	errno = resized ? saved : ENOMEM;
	return resized;
}

void heap_free(void *p)
{
	int saved = errno;

	if (!p)
		return;
	heap_enter();
	kfree(p);
	heap_leave();
	errno = saved;
}

void heap_free_sized(void *p, size_t size)
{
	int saved = errno;

	if (!p)
		return;
	heap_enter();
	kfree_sized(p, MAX(size, 1UL));
	heap_leave();
	errno = saved;
}

void heap_misuse(int kind, const void *p)
{
	heap_enter();
	mm_report_misuse((enum mm_misuse)kind, p, 0, NULL);
	heap_leave();
}

void heap_word_empty(const void *p)
{
	pagemap_entry_t entry = pagemap_entry_at(p);
	int saved;

	if (pagemap_span(entry)->window != &window_listed)
		return;
	saved = errno;
	heap_enter();
	mcache_word_empty(p, entry);
	heap_leave();
	errno = saved;
}

void heap_tell(struct span *span)
{
	int saved = errno;

	heap_enter();
	mcache_tell(span);
	heap_leave();
	errno = saved;
}
