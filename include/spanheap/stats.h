/* SPDX-License-Identifier: MIT */
/*
 * What the memory manager knows about itself.
 */
#ifndef SPANHEAP_STATS_H
#define SPANHEAP_STATS_H

#include <spanheap/types.h>

/**
 * struct mm_stats - counts; exact after mm_drain(), otherwise a moment's view.
 * @ram_bytes: usable RAM that was handed over or added
 * @none_bytes: of it, in state None (kept back at boot, or released by a caller)
 * @reserved_bytes: of it, Reserved
 * @prepared_bytes: of it, Prepared
 * @ready_bytes: of it, Ready
 * @frames_free: Ready frames of the page heap that nobody holds, cached ones too
 * @frames_used: frames that callers hold: neither caches, metadata nor tables
 * @metadata_bytes: arenas, summaries, index, page tables of the direct map; frames that
 *	CPUs' caches, structures of spans and the page map lie in
 * @objects_live: objects that callers hold
 * @objects_live_bytes: their sizes, as ksize() gives them
 * @alloc_calls: successful allocations, of frames and objects
 * @free_calls: accepted frees
 * @failed_calls: allocations that returned NULL
 */
struct mm_stats {
	uint64_t ram_bytes, none_bytes, reserved_bytes, prepared_bytes, ready_bytes;
	uint64_t frames_free, frames_used;
	uint64_t metadata_bytes;
	uint64_t objects_live, objects_live_bytes;
	uint64_t alloc_calls, free_calls, failed_calls;
};

/**
 * mm_stats() - fill @s.
 *
 * Any context but NMI. Cost: O(arenas in use, and pages of chunks that hold objects).
 */
void mm_stats(struct mm_stats *s);

/**
 * mm_show() - the same as text, with what the metadata consists of.
 * @sink: gets one line at a time, without newline, no lock held
 *
 * Any context but NMI. Cost: as mm_stats().
 */
void mm_show(void (*sink)(const char *line));

/**
 * mm_validate() - walk everything, check every invariant.
 *
 * Task context; the caller sees to it that nothing allocates meanwhile.
 *
 * Return: 0, or the number of violations, each logged.
 */
int mm_validate(void);

/**
 * mm_drain() - empty every cache of every CPU.
 *
 * What a CPU has of objects only its own task context may give up, between two
 * pieces of work: so this waits, CPU by CPU, until the task that runs there yields,
 * waits or ends, or is interrupted where nothing is pinned (port_run_on()). Meanwhile
 * it does the same for others that ask the calling CPU, so that any number may drain
 * at once. A task that stays pinned keeps it waiting; so nobody may call it with
 * anything held that a pinned task spins for.
 *
 * Nothing else depends on it: of all calls only this one, mm_scavenge(),
 * mm_add_memory(), mm_remove_memory(), kmem_cache_shrink() and kmem_cache_destroy()
 * wait for tasks of other CPUs, and no allocation or free calls any of them.
 *
 * Task context, unpinned, interrupts on, no lock held.
 */
void mm_drain(void);

#endif
