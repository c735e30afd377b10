// SPDX-License-Identifier: MIT
/*
 * The machine's page caches: made for each CPU, found, emptied, counted.
 *
 * Room. All caches together hold at most 1/128 of RAM (retention.h). The CPUs share
 * that evenly; when one more comes, the others' room shrinks, which each of them sees
 * at its next free. Of a CPU's share, tasks get a quarter for single frames,
 * interrupts an eighth and NMIs a sixteenth, up to what they can use; words and
 * whole chunks come out of the rest.
 *
 * Hiding. While failures are injected every floor is PAGECACHE_HIDDEN. Who then
 * goes the long way puts the floor of his cache back if nothing is armed any more:
 * writes it, then looks at mm_fail_armed again; who arms sets mm_fail_armed, then
 * writes the floors. So at least one of the two sees the other, and a floor that
 * stays down was seen with nothing armed.
 */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/fault.h"
#include "mm/log.h"
#include "mm/metaframe.h"
#include "mm/numa.h"
#include "mm/pagecache.h"
#include "mm/retention.h"

#define IRQ_SLOTS 64
#define BULK_FRAMES 128 /* in words, beside the run word */
#define NMI_SLOTS 16

/* What a CPU has, in two frames; one slot more than there is room for ends each cache. */
struct cpu_caches {
	struct pagecache cache[MM_NR_CONTEXTS];
	struct held_frame irq_slots[IRQ_SLOTS + 1], nmi_slots[NMI_SLOTS + 1];
	struct held_frame *task_slots;
};

static_assert(sizeof(struct cpu_caches) <= FRAME_SIZE &&
		      (PAGECACHE_SLOTS + 1) * sizeof(struct held_frame) <= FRAME_SIZE,
	      "metaframe_alloc() gives one frame");
static_assert(NMI_SLOTS <= PAGEHOLD_NMI_MAX, "so that an NMI can spill");

static struct frame_word no_word = { ~0ULL, ~0ULL };
static struct held_frame no_slot = { .word = &no_word };
static struct chunk none_chunks[2]; /* no used runs, as pagemap_has_span() looks at them */
static struct pagecache none = {
	.top = &no_slot,
	.floor = &no_slot,
	.bottom = &no_slot,
	.limit = &no_slot,
	.last_key = PAGECACHE_NO_KEY,
	.last_word = &no_word,
	.run.word = &no_word,
	.chunk[0].chunk = &none_chunks[1],
	.index = &main_map.index,
};

#ifndef PORT_HAS_CACHE_SLOT
void *port_frame_cache_slots[PORT_MAX_CPUS][MM_NR_CONTEXTS] = {
	[0 ... PORT_MAX_CPUS - 1] = { [0 ... MM_NR_CONTEXTS - 1] = &none },
};
#endif

static struct pagecache *cache_of[PORT_MAX_CPUS][MM_NR_CONTEXTS]; /* NULL where there are none */
static struct cpu_caches *records[PORT_MAX_CPUS]; /* their memory; kept when a CPU goes */
static struct spinlock room_lock;
static unsigned ncpus;

#define for_each_cache(cache, cpu, context)                                                        \
	for (unsigned cpu = 0; cpu < PORT_SEEN_CPUS; cpu++)                                        \
		for (unsigned context = 0; context < MM_NR_CONTEXTS; context++)                    \
			for (struct pagecache *cache = atomic_load(&cache_of[cpu][context]);       \
			     cache; cache = NULL)

static uint64_t ram_frames(const struct memmap *map)
{
	struct ram_range r;
	uint64_t bytes = 0;

	for (phys_addr_t at = 0; memmap_range(map, at, &r); at = r.base + r.size)
		if (r.use == MEM_USE_FREE)
			bytes += r.size;
	return bytes >> FRAME_SHIFT;
}

/* room_lock is held. */
static void share_room(void)
{
	uint64_t share = ram_frames(&main_map) / RETENTION_FRAMES / MAX(ncpus, 1U);
	unsigned task = (unsigned)MIN(share / 4, PAGECACHE_SLOTS);
	unsigned irq = (unsigned)MIN(share / 8, IRQ_SLOTS);
	unsigned nmi = (unsigned)MIN(share / 16, NMI_SLOTS);
	unsigned task_words = share / 4 >= 64 ? 64 : 0, irq_words = share / 8 >= 64 ? 64 : 0;
	uint64_t rest = share - task - irq - nmi - task_words - irq_words;
	unsigned more_words = (unsigned)MIN(rest, BULK_FRAMES);
	unsigned chunks = (unsigned)MIN((rest - more_words) / CHUNK_FRAMES, PAGECACHE_CHUNKS);

	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++) {
		if (!cache_of[cpu][MM_TASK])
			continue;
		pagecache_set_room(cache_of[cpu][MM_TASK], task, task_words + more_words,
				   chunks);
		pagecache_set_room(cache_of[cpu][MM_IRQ], irq, irq_words, 0);
		pagecache_set_room(cache_of[cpu][MM_NMI], nmi, 0, 0);
	}
}

static void make_caches(unsigned cpu, struct pageheap *heap)
{
	unsigned long flags = spin_lock_irqsave(&room_lock);
	struct cpu_caches *own = records[cpu];

	if (!own->cache[MM_TASK].heap) {
		pagecache_init(&own->cache[MM_TASK], heap, cpu, own->task_slots, PAGECACHE_SLOTS);
		pagecache_init(&own->cache[MM_IRQ], heap, cpu, own->irq_slots, IRQ_SLOTS);
		pagecache_init(&own->cache[MM_NMI], heap, cpu, own->nmi_slots, NMI_SLOTS);
	}
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++) {
		atomic_store(&cache_of[cpu][c], &own->cache[c]);
		port_frame_cache_set((enum mm_context)c, &own->cache[c]);
	}
	ncpus++;
	share_room();
	spin_unlock_irqrestore(&room_lock, flags);
}

static bool make_record(unsigned cpu)
{
	struct cpu_caches *record = metaframe_alloc();
	struct held_frame *slots = metaframe_alloc();

	if (!record || !slots) {
		if (record)
			metaframe_free(record);
		if (slots)
			metaframe_free(slots);
		return false;
	}
	memset(record, 0, sizeof(*record));
	record->task_slots = slots;
	atomic_store(&records[cpu], record);
	return true;
}

void pagecache_init_none(void)
{
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
		port_frame_cache_set((enum mm_context)c, &none);
}

int pagecache_init_cpu(void)
{
	const struct node_order *order = numa_order(numa_node_of(port_cpu()));
	unsigned cpu = port_cpu();

	if (cache_of[cpu][MM_TASK])
		return 0;
	pagecache_init_none();
	if (!node_order_size(order))
		return 0;
	if (!records[cpu] && !make_record(cpu))
		return -ENOMEM;
	make_caches(cpu, &main_heap[node_order_at(order, 0)]);
	return 0;
}

void pagecache_show(struct pagecache *cache)
{
	if (atomic_load_relaxed(&cache->floor) == PAGECACHE_HIDDEN &&
	    !atomic_load_relaxed(&mm_fail_armed)) {
		atomic_store_relaxed(&cache->floor, cache->bottom);
		atomic_fence();
		if (atomic_load_relaxed(&mm_fail_armed))
			atomic_store_relaxed(&cache->floor, PAGECACHE_HIDDEN);
	}
}

void pagecache_hide(void)
{
	atomic_fence();
	for_each_cache(cache, cpu, context)
		atomic_store_relaxed(&cache->floor, PAGECACHE_HIDDEN);
}

void pagecache_exit_cpu(void)
{
	struct pagecache_haul haul;
	unsigned cpu = port_cpu();
	unsigned long flags;

	if (!cache_of[cpu][MM_TASK])
		return;
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++) {
		struct pagecache *cache = cache_of[cpu][c];

		/* From here on nothing goes into it any more. */
		flags = port_irq_save();
		atomic_store(&cache_of[cpu][c], NULL);
		port_frame_cache_set((enum mm_context)c, &none);
		pagecache_take_all(cache, &haul);
		port_irq_restore(flags);
		pagecache_give_back(&haul);
	}
	flags = spin_lock_irqsave(&room_lock);
	ncpus--;
	share_room();
	spin_unlock_irqrestore(&room_lock, flags);
}

/* ---- Draining ---- */

struct drain {
	struct pagecache *cache;
	bool done;
	struct pagecache_haul haul;
};

/* In the context of the cache, or in an interrupt that may have cut into a task's work with it. */
static void drain_here(void *arg)
{
	struct drain *d = arg;

	d->done = !d->cache->busy;
	if (d->done)
		pagecache_take_all(d->cache, &d->haul);
}

/*
 * A cache of the running CPU and context, or from a task that of its interrupts. A haul
 * is 4 KiB of stack: that of this way and of the next are never there at once.
 */
static never_inline void drain_own(enum mm_context context)
{
	struct pagecache_haul haul;
	struct pagecache *cache;
	unsigned long flags;

	port_pin();
	flags = port_irq_save();
	cache = cache_of[port_cpu()][context];
	if (cache)
		pagecache_take_all(cache, &haul);
	port_irq_restore(flags);
	port_unpin();
	if (cache)
		pagecache_give_back(&haul);
}

static never_inline void drain_other(struct pagecache *cache, unsigned cpu,
				     enum mm_context asked)
{
	struct drain d;

	d.cache = cache;
	d.done = false;
	while (!d.done) {
		if (port_run_on(cpu, asked, drain_here, &d))
			return;
		port_relax();
	}
	pagecache_give_back(&d.haul);
}

static void drain_one(struct pagecache *cache, unsigned cpu, enum mm_context context)
{
	if (cpu == port_cpu() && context != MM_NMI)
		drain_own(context);
	else
		drain_other(cache, cpu, context == MM_TASK ? MM_IRQ : context);
}

void pagecache_drain(void)
{
	for_each_cache(cache, cpu, context)
		drain_one(cache, cpu, context);
}

bool pagecache_reclaim(bool may_wait)
{
	enum mm_context here = port_context();
	bool any = false;

	if (here == MM_NMI)
		return false;
	for_each_cache(cache, cpu, context) {
		bool own = cpu == port_cpu() && (context == here || context == MM_IRQ);

		if (!pagecache_held(cache) || !(own || (may_wait && here == MM_TASK)))
			continue;
		drain_one(cache, cpu, context);
		any = true;
	}
	return any;
}

/* ---- Counting and checking ---- */

struct pagecache_sums pagecache_sum(const struct pageheap *heap)
{
	struct pagecache_sums sums = { 0 };

	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++) {
		const struct cpu_caches *record = atomic_load(&records[cpu]);

		for (unsigned c = 0; record && c < MM_NR_CONTEXTS; c++)
			pagecache_add_sums(&record->cache[c], heap, &sums);
	}
	return sums;
}

/* Of a heap's frames each is free, used, or in a cache. */
static unsigned check_heap(struct pageheap *heap)
{
	uint64_t used = pageheap_count_used(heap), cached = pagecache_sum(heap).frames;

	if (used + cached + heap->frames_free == heap->frames)
		return 0;
	mm_log("page heap %u: %llu frames used, %llu cached, %llu free, but %llu in all",
	       heap->node, (unsigned long long)used, (unsigned long long)cached,
	       (unsigned long long)heap->frames_free, (unsigned long long)heap->frames);
	return 1;
}

unsigned pagecache_check_all(void)
{
	unsigned bad = 0;

	for_each_cache(cache, cpu, context)
		bad += pagecache_check(cache);
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		bad += check_heap(&main_heap[node]);
	return bad;
}
