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
 * all of a period goes back to the system, but for a reserve.
 */
#include <errno.h>
#include <stdint.h>

#include <spanheap/boot.h>
#include <spanheap/pressure.h>
#include <spanheap/scavenge.h>

#include "arch/malloc/port.h"
#include "lib/bits.h"
#include "malloc/heap.h"
#include "malloc/recent.h"
#include "mm/mcache.h"
#include "mm/medium.h"
#include "mm/pageheap.h"
#include "mm/retention.h"

#define UPKEEP_CALLS 1024
#define MEDIUM_KEPT (32UL << 20) /* till the next upkeep, beside what each thread keeps (kept.c) */
#define UPKEEP_NS 500000000ULL

enum { HEAP_COLD, HEAP_STARTING, HEAP_WARM };

static uint32_t state;
static uint64_t next_upkeep;
static uint64_t least_free; /* frames, since the last upkeep */

static const struct recent no_recent[NR_SIZE_CLASSES];

const struct malloc_nothing malloc_nothing = { &empty_mcache, no_recent };

__thread struct malloc_self malloc_self __attribute__((tls_model("initial-exec"))) = {
	.cpu = MALLOC_NO_CPU,
	.cache = (void *)&empty_mcache,
	.recent = (void *)no_recent,
};

static void start_cpu(void)
{
	if (mm_init_cpu())
		port_panic("no memory for a thread's caches");
	/* RAM is address space here, so that a share of it means nothing. */
	atomic_store_relaxed(&retention.medium_cpu, 0);
	atomic_store_relaxed(&retention.medium_node, MEDIUM_KEPT);
	recent_init();
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

void heap_flush(void *unused)
{
	(void)unused;
	kept_flush();
	recent_flush();
	retention_flush_cpu();
}

static __attribute__((noinline)) void upkeep(void)
{
	uint64_t now = port_clock(), due = atomic_load_relaxed(&next_upkeep);
	uint64_t free = atomic_load_relaxed(&main_heap[0].frames_free);

	if (free < atomic_load_relaxed(&least_free))
		atomic_store_relaxed(&least_free, free);
	if (now < due || !atomic_cas(&next_upkeep, &due, now + UPKEEP_NS))
		return;
	malloc_serve_idle(heap_flush, NULL);
	medium_flush_nodes();
	free = atomic_load_relaxed(&least_free);
	atomic_store_relaxed(&least_free, atomic_load_relaxed(&main_heap[0].frames_free));
	if (due)
		mm_scavenge_step(free << FRAME_SHIFT);
}

void heap_enter(void)
{
	if (unlikely(atomic_load(&state) != HEAP_WARM))
		start_once();
	if (unlikely(malloc_enter()))
		start_cpu();
}

void heap_leave(void)
{
	if (unlikely(malloc_asked()))
		heap_flush(NULL);
	if (unlikely(++malloc_self.calls % UPKEEP_CALLS == 0))
		upkeep();
	malloc_leave();
}

static void *try_alloc(size_t size, size_t align, gfp_t gfp)
{
	if (align > malloc_port.align_max)
		return NULL;
	return align > 1 ? kmalloc_aligned(size, align, gfp) : kmalloc_any(size, gfp);
}

void *heap_alloc(size_t size, size_t align, gfp_t gfp)
{
	int saved = errno;
	void *p = NULL;

	if (likely(size <= PTRDIFF_MAX)) {
		heap_enter();
		/* The C library's callers expect an address of their own. */
		size = MAX(size, 1UL);
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
		resized = krealloc(p, size, GFP_KERNEL);
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

void heap_word_empty(const void *p, pagemap_entry_t entry)
{
	int saved;

	if (pagemap_span(entry)->window != &window_listed)
		return;
	saved = errno;
	heap_enter();
	mcache_word_empty(p, entry);
	heap_leave();
	errno = saved;
}
