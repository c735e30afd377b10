// SPDX-License-Identifier: MIT
/* The calls of <spanheap/stats.h>: what the floors count, put together. */
#include "lib/fmt.h"
#include "mm/addrstate.h"
#include "mm/kmalloc.h"
#include "mm/kmem_cache.h"
#include "mm/guard.h"
#include "mm/large.h"
#include "mm/log.h"
#include "mm/mcache.h"
#include "mm/mcentral.h"
#include "mm/medium.h"
#include "mm/metaframe.h"
#include "mm/numa.h"
#include "mm/object_check.h"
#include "mm/pagecache.h"
#include "mm/objpool.h"
#include "mm/percpu.h"
#include "mm/retention.h"
#include "mm/stats.h"
#include "mm/tiny.h"

/* What arrived at run time keeps its metadata in itself. */
static uint64_t arrived_metadata(void)
{
	struct ram_range r;
	uint64_t sum = 0;

	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size)
		if (r.arrived && r.use == MEM_USE_BOOT)
			sum += r.size;
	return sum;
}

static int add_run(phys_addr_t base, uint64_t size, enum mem_state state, void *arg)
{
	struct mm_stats *s = arg;
	uint64_t *sum[] = { &s->none_bytes, &s->reserved_bytes, &s->prepared_bytes,
			    &s->ready_bytes };

	(void)base;
	*sum[state] += size;
	s->ram_bytes += size;
	return 0;
}

void mm_stats(struct mm_stats *s)
{
	struct inner_calls inner = inner_calls();
	struct mcache_counts objects;
	struct retained kept;
	uint64_t guarded, guarded_bytes, guard_allocs;

	*s = (struct mm_stats){ .failed_calls = page_failed_calls() };
	memmap_walk(&main_map, add_run, s);
	for (unsigned node = 0; node < PORT_MAX_NODES; node++) {
		struct pageheap *heap = &main_heap[node];
		struct pagecache_sums cached = pagecache_sum(heap);
		unsigned long flags = spin_lock_irqsave(&heap->lock);

		s->frames_free += heap->frames_free + cached.frames;
		s->frames_used += heap->frames - heap->frames_free - cached.frames;
		s->alloc_calls += heap->allocs + cached.allocs;
		s->free_calls += heap->frees + cached.frees;
		spin_unlock_irqrestore(&heap->lock, flags);
		s->metadata_bytes += main_map.pool[node].held;
	}
	s->alloc_calls -= inner.allocs;
	s->free_calls -= inner.frees;
	s->failed_calls -= inner.failures;
	retention_sum(&kept);
	s->frames_free += (kept.spare + kept.medium) >> FRAME_SHIFT;
	s->frames_used -= metaframe_count() + ((kept.spare + kept.medium) >> FRAME_SHIFT);
	s->metadata_bytes += metaframe_count() * FRAME_SIZE + arrived_metadata();
	mcache_count(&objects);
	objects.allocs += kmem_cache_loaded() + tiny_allocs() + mcentral_allocs() +
			  large_allocs();
	s->objects_live = objects.live;
	s->objects_live_bytes = objects.live_bytes;
	s->alloc_calls += objects.allocs;
	s->free_calls += objects.allocs - objects.live;
	guard_count(&guarded, &guarded_bytes, &guard_allocs);
	s->objects_live += guarded;
	s->objects_live_bytes += guarded_bytes;
	s->alloc_calls += guard_allocs;
	s->free_calls += guard_allocs - guarded;
	s->failed_calls += kmalloc_failed_calls() + kmem_cache_failed_calls() +
			   percpu_failed_calls();
}

__attribute__((format(printf, 2, 3))) static void say(void (*sink)(const char *line),
						       const char *fmt, ...)
{
	char line[MM_LOG_LINE];
	va_list args;

	va_start(args, fmt);
	fmt_vprint(line, sizeof(line), fmt, args);
	va_end(args);
	sink(line);
}

static void show_caches(void (*sink)(const char *line))
{
	struct retained kept;

	retention_sum(&kept);
	say(sink, "caches    %10llu KiB free in them, at most %llu KiB in all",
	    (unsigned long long)(kept.frames + kept.spare + kept.medium) >> 10,
	    (unsigned long long)kept.limit >> 10);
	say(sink, "  %-28s %8llu KiB", "frames", (unsigned long long)kept.frames >> 10);
	say(sink, "  %-28s %8llu KiB, at most %zu KiB a CPU", "empty spans",
	    (unsigned long long)kept.spare >> 10, retention.spare >> 10);
	say(sink, "  %-28s %8llu KiB, at most %zu KiB a CPU and %zu KiB a node", "medium runs",
	    (unsigned long long)kept.medium >> 10, retention.medium_cpu >> 10,
	    retention.medium_node >> 10);
	say(sink, "  %-28s %8llu KiB besides; more than %zu KiB a CPU gives back when asked",
	    "partly used spans", (unsigned long long)kept.owned >> 10, retention.owned >> 10);
}

static void show_kind(void (*sink)(const char *line), const char *name, uint64_t n, size_t size)
{
	say(sink, "  %-28s %8llu x %5zu B = %8llu KiB", name, (unsigned long long)n, size,
	    (unsigned long long)n * size >> 10);
}

static void show_metadata(void (*sink)(const char *line), const struct mm_stats *s)
{
	uint64_t idle = 0, gib_hundredths = s->ready_bytes / ((1ULL << 30) / 100);

	say(sink, "metadata  %10llu KiB, %llu for each GiB that is Ready:",
	    (unsigned long long)s->metadata_bytes >> 10,
	    (unsigned long long)(s->metadata_bytes / 1024 * 100 / MAX(gib_hundredths, 1ULL)));
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		idle += main_map.pool[node].held;
	for (unsigned kind = 0; kind < META_KINDS; kind++) {
		uint64_t used = 0;

		for (unsigned node = 0; node < PORT_MAX_NODES; node++)
			used += main_map.pool[node].used[kind];
		idle -= used * meta_size((enum meta_kind)kind);
		show_kind(sink, meta_name((enum meta_kind)kind), used,
			  meta_size((enum meta_kind)kind));
	}
	show_kind(sink, "kept for more of these", idle >> 10, 1024);
	show_kind(sink, "CPUs' caches, spans, objects", metaframe_count(), FRAME_SIZE);
	show_kind(sink, "in memory that arrived", arrived_metadata() >> FRAME_SHIFT, FRAME_SIZE);
}

void mm_show(void (*sink)(const char *line))
{
	struct mm_stats s;

	mm_stats(&s);
	say(sink, "RAM       %10llu KiB: None %llu, Reserved %llu, Prepared %llu, Ready %llu KiB",
	    (unsigned long long)s.ram_bytes >> 10, (unsigned long long)s.none_bytes >> 10,
	    (unsigned long long)s.reserved_bytes >> 10, (unsigned long long)s.prepared_bytes >> 10,
	    (unsigned long long)s.ready_bytes >> 10);
	say(sink, "frames    %10llu used, %llu free", (unsigned long long)s.frames_used,
	    (unsigned long long)s.frames_free);
	say(sink, "calls     %10llu allocations, %llu frees, %llu failures",
	    (unsigned long long)s.alloc_calls, (unsigned long long)s.free_calls,
	    (unsigned long long)s.failed_calls);
	show_caches(sink);
	show_metadata(sink, &s);
}

/* States, owners and marks of one arena's chunks agree. */
static unsigned check_arena(const struct arena *arena)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < ARENA_CHUNKS; i++) {
		const struct chunk *chunk = &arena->chunk[i];
		bool held = !chunk_states_within(chunk, 0, CHUNK_FRAMES,
						 1U << MEM_NONE | 1U << MEM_RESERVED);
		unsigned faults = 0;

		if (chunk->state > CHUNK_MIXED || (chunk->state == CHUNK_MIXED && !chunk->side))
			faults++;
		if (held != (chunk->owner != CHUNK_FREE) || chunk->busy)
			faults++;
		if (chunk->zero == CHUNK_ZERO_SIDE && !chunk->side)
			faults++;
		if (chunk->owner == CHUNK_HEAP && !chunk->leaf)
			faults++;
		if (faults)
			mm_log("chunk at 0x%llx: state %u owner %u busy %u: %u faults",
			       (unsigned long long)(arena->base + i * CHUNK_SIZE), chunk->state,
			       chunk->owner, chunk->busy, faults);
		bad += faults;
	}
	return bad;
}

int mm_validate(void)
{
	unsigned bad = 0;

	for_each_arena(a, &main_map.index)
		bad += check_arena(a);
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		bad += pageheap_check(&main_heap[node]);
	bad += pagecache_check_all();
	bad += kmem_cache_check() + tiny_check() + percpu_check();
	bad += medium_check() + object_check();
	return (int)bad;
}

static void drain_cpu(void *unused)
{
	(void)unused;
	retention_flush_cpu();
}

/*
 * Twice: what a CPU gives back in the first round may have been queued for one
 * that was asked before.
 */
void mm_drain(void)
{
	objpool_empty_all();
	for (unsigned round = 0; round < 2; round++)
		for (unsigned cpu = 0; cpu < PORT_SEEN_CPUS; cpu++)
			(void)port_run_on(cpu, MM_TASK, drain_cpu, NULL);
	medium_flush_nodes();
	mcentral_flush_spare();
	pagecache_drain();
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		pageheap_settle(&main_heap[node]);
	addrstate_join(&main_map);
}
