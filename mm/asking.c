// SPDX-License-Identifier: MIT
/*
 * One CPU asks another for what it owns.
 *
 *	a fresh span is wanted ──► the next CPU in turn: does it own too much?
 *	no memory is left ───────► all CPUs
 *				       │  asked = ASKED, an interrupt
 *				       ▼
 *	the other, in its task context: asked = GIVING, its caches emptied, asked = 0
 *
 * What a CPU owns are spans with free objects, which no other can use: the ones in its
 * lists and windows, and those whose objects others have freed since it last
 * looked. A busy CPU hands them out itself, an idle one keeps them for ever. So
 * each time a task elsewhere is about to take a fresh span, one other CPU is looked
 * at. It is asked if it owns more than its share and has loaded no window since
 * the last look, or if it owns several times its share, whatever it does.
 *
 * Nobody relies on an answer: who asks waits as long as an interrupt takes, which comes
 * whatever the other CPU's task does, and a while more for that task to be where
 * nothing is pinned. If it is not by then, the CPU gives later, and this request goes
 * another way. Two that ask each other do each other's wish while they wait.
 */
#include <spanheap/pressure.h>

#include "mm/asking.h"
#include "mm/mcache.h"

/* Times its share, for a CPU that is busy. */
#define BUSY_SHARE 4

/* Rounds of waiting, and after how many the other is interrupted once more. */
#define PATIENCE 2048
#define KICK_EVERY 256

enum mcache_asked { NOT_ASKED, ASKED, GIVING };

/*
 * What each CPU had loaded when it was last looked at, and when all that it has was
 * counted. Hints: two who look at once may both be right, or ask in vain.
 */
static uint64_t seen[PORT_MAX_CPUS], counted_at[PORT_MAX_CPUS];
static uint32_t turn;

bool mm_is_asked(void)
{
	return atomic_load_relaxed(&mcache_heap(port_cpu())->asked) == ASKED;
}

void mm_give_back(void)
{
	uint32_t asked = ASKED;
	struct cpu_heap *heap;

	if (!mm_is_asked())
		return;
	port_pin();
	heap = mcache_heap(port_cpu());
	if (atomic_cas(&heap->asked, &asked, GIVING)) {
		retention_flush_cpu();
		atomic_store(&heap->asked, NOT_ASKED);
	}
	port_unpin();
}

/* A port may have no interrupts and do this as the other CPU. */
static void look_up(void *unused)
{
	(void)unused;
	if (port_context() == MM_TASK)
		mm_give_back();
}

/* Return: false if the CPU is not running. */
static bool kick(unsigned cpu)
{
	uint32_t asked = ASKED;

	if (!port_run_on(cpu, MM_IRQ, look_up, NULL))
		return true;
	(void)atomic_cas(&mcache_heap(cpu)->asked, &asked, NOT_ASKED);
	return false;
}

static bool ask(unsigned cpu)
{
	uint32_t asked = NOT_ASKED;

	(void)atomic_cas(&mcache_heap(cpu)->asked, &asked, ASKED);
	return kick(cpu);
}

/* Return: has it given? */
static bool await(unsigned cpu)
{
	const struct cpu_heap *heap = mcache_heap(cpu);
	uint32_t asked;

	for (unsigned round = 1; (asked = atomic_load(&heap->asked)) != NOT_ASKED; round++) {
		if (asked == ASKED && round > PATIENCE)
			return false;
		mm_give_back();
		if (asked == ASKED && round % KICK_EVERY == 0 && !kick(cpu))
			return false;
		port_relax();
	}
	return true;
}

static bool owns_too_much(unsigned cpu)
{
	const struct cpu_heap *heap = mcache_heap(cpu);
	size_t share = atomic_load_relaxed(&retention.owned);
	uint64_t loaded = atomic_load_relaxed(&heap->loaded);
	size_t owned = mcache_owned(heap);

	if (atomic_load_relaxed(&seen[cpu]) != loaded) {
		atomic_store_relaxed(&seen[cpu], loaded);
		return owned > BUSY_SHARE * share;
	}
	if (owned <= share && atomic_load_relaxed(&counted_at[cpu]) != loaded) {
		atomic_store_relaxed(&counted_at[cpu], loaded);
		owned += mcache_stacked(cpu);
	}
	return owned > share;
}

bool asking_next(gfp_t gfp)
{
	unsigned cpu;

	if (PORT_MAX_CPUS == 1 || !(gfp & __GFP_RECLAIM) || port_context() != MM_TASK)
		return false;
	cpu = atomic_fetch_add(&turn, 1) % retention_cpus();
	return cpu != port_cpu() && owns_too_much(cpu) && ask(cpu) && await(cpu);
}

void asking_all(void)
{
	unsigned n = retention_cpus(), here = port_cpu();

	for (unsigned cpu = 0; cpu < n; cpu++)
		if (cpu != here)
			(void)ask(cpu);
	for (unsigned cpu = 0; cpu < n; cpu++)
		if (cpu != here)
			(void)await(cpu);
}
