// SPDX-License-Identifier: MIT
/*
 * Whole free chunks at hand of a page heap: they come and go last in, first out, are
 * free for everybody else, and no wrong free gets past them. On made-up frames first,
 * then the machine's.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/misuse.h>
#include <spanheap/page.h>
#include <spanheap/scavenge.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/framebits.h"
#include "mm/heapchunk.h"
#include "mm/heapspare.h"
#include "mm/hotplug.h"
#include "mm/runsize.h"

#define P CHUNK_FRAMES
#define C CHUNK_SIZE

static unsigned spares(void)
{
	return fix_heap.spare[FIX_WINDOW].n;
}

static uint64_t take(void)
{
	void *addr = heapspare_take(&fix_heap);

	return addr ? (virt_to_phys(addr) >> FRAME_SHIFT) - FIX_PFN0 : PFN_NONE;
}

/* @n chunks from 0 on, of which the heap has all; the first @spare of them are spare, 0 on top. */
static void setup_spares(struct kunit *test, unsigned n, unsigned spare)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, n }, { 0 } });
	for (uint64_t i = 0; i < spare; i++)
		KUNIT_ASSERT_EQ(test, fix_alloc_in(P, P, i * P, (i + 1) * P), i * P);
	for (uint64_t i = spare; i-- > 0;)
		KUNIT_ASSERT_EQ(test, fix_free(i * P, P), -1);
	KUNIT_ASSERT_EQ(test, spares(), spare);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, (uint64_t)n * P);
	KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), 0);
}

static void finish(struct kunit *test, uint64_t used)
{
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free + used, fix_heap.frames);
	KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), used);
	KUNIT_EXPECT_EQ(test, pageheap_check(&fix_heap), 0);
	fix_teardown();
}

/* ---- A heap of its own ---- */

static void last_in_first_out(struct kunit *test)
{
	uint64_t allocs, frees;

	setup_spares(test, 6, 4);
	allocs = fix_heap.allocs;
	frees = fix_heap.frees;
	for (uint64_t i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, take(), i * P);
	KUNIT_EXPECT_EQ(test, take(), PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_free(2 * P, P), -1);
	KUNIT_EXPECT_EQ(test, take(), 2 * P);
	KUNIT_EXPECT_EQ(test, fix_heap.allocs - allocs, 5);
	KUNIT_EXPECT_EQ(test, fix_heap.frees - frees, 1);
	finish(test, 4 * P);
}

static uint64_t find(void)
{
	void *addr = heapspare_find(&fix_heap);

	return addr ? (virt_to_phys(addr) >> FRAME_SHIFT) - FIX_PFN0 : PFN_NONE;
}

static struct chunk *chunk_at(uint64_t frame)
{
	return chunk_find(&fix_map.index, (FIX_PFN0 + frame) << FRAME_SHIFT);
}

/* The lowest there are, in order; its neighbours come with it and are still everybody's. */
static void found_in_the_tree(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 19 }, { 0 } });
	KUNIT_ASSERT_EQ(test, fix_alloc_in(1, 1, 5 * P + 7, 5 * P + 8), 5 * P + 7);
	KUNIT_ASSERT_EQ(test, take(), PFN_NONE);
	KUNIT_EXPECT_EQ(test, find(), 0);
	KUNIT_EXPECT_EQ(test, spares(), HEAP_SPARES - 1);
	KUNIT_EXPECT_EQ(test, heapspare_check(&fix_heap), 0);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 19 * P - 1 - P);
	/* Whoever searches finds them where they are. */
	KUNIT_EXPECT_EQ(test, fix_alloc(1), P);
	KUNIT_EXPECT_EQ(test, spares(), 0);
	KUNIT_EXPECT_EQ(test, fix_free(P, 1), -1);
	for (uint64_t i = 1; i < 19; i++)
		if (i != 5)
			KUNIT_EXPECT_EQ(test, find(), i * P);
	KUNIT_EXPECT_EQ(test, find(), PFN_NONE);
	finish(test, 18 * P + 1);
}

/* What was known to be zero is so afterwards, but for what was handed out. */
static void zeroes_are_not_forgotten(struct kunit *test)
{
	struct run_wanted want = { .n = P, .align = P, .lo = FIX_PFN0, .hi = FIX_PFN0 + 2 * P };
	bool zero;

	fix_setup(test, (struct fix_chunks[]){ { 0, 2 }, { 0 } });
	chunk_at(0)->zero = chunk_at(P)->zero = CHUNK_ZERO_ALL;
	KUNIT_EXPECT_EQ(test, find(), 0);
	KUNIT_EXPECT_EQ(test, spares(), 1);
	KUNIT_EXPECT_EQ(test, pageheap_alloc(&fix_heap, &want, &zero), FIX_PFN0 + P);
	KUNIT_EXPECT_TRUE(test, zero);
	KUNIT_EXPECT_EQ(test, fix_free(P, P), -1);
	KUNIT_EXPECT_EQ(test, fix_free(0, P), -1);
	for (unsigned i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, pageheap_alloc(&fix_heap, &want, &zero), FIX_PFN0 + i * P);
		KUNIT_EXPECT_FALSE(test, zero);
	}
	finish(test, 2 * P);
}

/* Those for which there is no place are free all the same. */
static void more_than_there_is_room_for(struct kunit *test)
{
	unsigned n = HEAP_SPARES + 3;

	fix_setup(test, (struct fix_chunks[]){ { 0, n }, { 0 } });
	for (uint64_t i = 0; i < n; i++)
		KUNIT_ASSERT_EQ(test, fix_alloc(P), i * P);
	for (uint64_t i = 0; i < n; i++)
		KUNIT_ASSERT_EQ(test, fix_free(i * P, P), -1);
	KUNIT_EXPECT_EQ(test, spares(), HEAP_SPARES);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, fix_heap.frames);
	KUNIT_EXPECT_EQ(test, pageheap_count_used(&fix_heap), 0);
	KUNIT_EXPECT_EQ(test, fix_alloc((uint64_t)n * P), 0);
	finish(test, (uint64_t)n * P);
}

/* Not exactly a chunk: no spare one. */
static void only_whole_chunks(struct kunit *test)
{
	fix_setup(test, (struct fix_chunks[]){ { 0, 6 }, { 0 } });
	KUNIT_ASSERT_EQ(test, fix_alloc_in(P, 1, 1, 6 * P), 1);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(2 * P, P, 2 * P, 6 * P), 2 * P);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(P - 1, 1, 4 * P, 6 * P), 4 * P);
	KUNIT_EXPECT_EQ(test, fix_free(1, P), -1);
	KUNIT_EXPECT_EQ(test, fix_free(2 * P, P), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(2 * P, 2 * P), -1);
	KUNIT_EXPECT_EQ(test, fix_free(4 * P, P), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(4 * P, P - 1), -1);
	KUNIT_EXPECT_EQ(test, spares(), 0);
	KUNIT_EXPECT_EQ(test, take(), PFN_NONE);
	finish(test, 0);
}

/* Whoever wants free frames finds them at the lowest address, as if nothing was at hand. */
static void kept_from_nobody(struct kunit *test)
{
	static const struct {
		const char *what;
		uint64_t n, align, lo, hi, at;
	} rows[] = {
		{ "a frame", 1, 1, 0, 6 * P, 0 },
		{ "the last frame of one", 1, 1, 3 * P - 1, 3 * P, 3 * P - 1 },
		{ "ten, across two of them", 10, 1, 2 * P - 5, 2 * P + 5, 2 * P - 5 },
		{ "a chunk", P, P, 0, 6 * P, 0 },
		{ "a chunk that is none", P, 1, 7, 6 * P, 7 },
		{ "three", 3 * P, P, P, 4 * P, P },
		{ "all", 6 * P, 1, 0, 6 * P, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		setup_spares(test, 6, 4);
		KUNIT_EXPECT_EQ_MSG(test,
				    fix_alloc_in(rows[i].n, rows[i].align, rows[i].lo, rows[i].hi),
				    rows[i].at, "%s", rows[i].what);
		KUNIT_EXPECT_EQ_MSG(test, spares(), 0, "%s", rows[i].what);
		finish(test, rows[i].n);
	}
}

static void goes_with_its_chunk(struct kunit *test)
{
	phys_addr_t pa = (FIX_PFN0 + P) << FRAME_SHIFT;
	uint64_t first = 0;

	setup_spares(test, 6, 2);
	/* The scavenger takes all six. */
	KUNIT_EXPECT_EQ(test, heapchunk_take_last(&fix_heap, CHUNK_LIMIT, 32, &first), 6);
	KUNIT_EXPECT_EQ(test, first, FIX_CHUNK0);
	KUNIT_EXPECT_EQ(test, fix_heap.frames_free, 0);
	KUNIT_EXPECT_EQ(test, take(), PFN_NONE);
	fix_teardown();

	setup_spares(test, 6, 2);
	KUNIT_EXPECT_EQ(test,
			heapchunk_take(&fix_heap, chunk_find(&fix_map.index, pa), FIX_PFN0 + P, P),
			P);
	KUNIT_EXPECT_EQ(test, take(), PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(1, 1, P, 2 * P), PFN_NONE);
	finish(test, 0);
}

static void a_run_grows_into_it(struct kunit *test)
{
	setup_spares(test, 4, 3);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(P / 2, 1, 3 * P - P / 2, 3 * P), 3 * P - P / 2);
	KUNIT_ASSERT_EQ(test, fix_alloc_in(P, P, 3 * P, 4 * P), 3 * P);
	KUNIT_ASSERT_EQ(test, fix_free(3 * P, P), -1);
	KUNIT_ASSERT_EQ(test, spares(), 1);
	KUNIT_EXPECT_TRUE(test, runsize_extend(&fix_heap, FIX_PFN0 + 3 * P - P / 2, P / 2, 100,
					       PFN_LIMIT, false));
	KUNIT_EXPECT_EQ(test, take(), PFN_NONE);
	finish(test, P / 2 + 100);
}

static void wrong_frees(struct kunit *test)
{
	for (unsigned settled = 0; settled < 2; settled++) {
		setup_spares(test, 4, 2);
		if (settled)
			KUNIT_ASSERT_EQ(test, fix_alloc_in(1, 1, 3 * P, 4 * P), 3 * P);
		KUNIT_EXPECT_EQ(test, spares(), settled ? 0 : 2);
		KUNIT_EXPECT_EQ(test, fix_free(P, P), MM_PAGE_DOUBLE_FREE);
		KUNIT_EXPECT_EQ(test, fix_free(P, 1), MM_PAGE_DOUBLE_FREE);
		KUNIT_EXPECT_EQ(test, fix_free(P, 2 * P), MM_PAGE_DOUBLE_FREE);
		KUNIT_EXPECT_EQ(test, fix_free(P + 7, 16), MM_PAGE_DOUBLE_FREE);
		KUNIT_EXPECT_EQ(test, fix_free(2 * P - 1, 1), MM_PAGE_DOUBLE_FREE);
		KUNIT_EXPECT_EQ(test, fix_free(0, 2 * P), MM_PAGE_DOUBLE_FREE);
		finish(test, settled);
	}
	/* Handed out again: the free of before is still one too many, that of now is right. */
	setup_spares(test, 4, 1);
	KUNIT_EXPECT_EQ(test, take(), 0);
	KUNIT_EXPECT_EQ(test, fix_free(0, P - 1), MM_PAGE_WRONG_SIZE);
	KUNIT_EXPECT_EQ(test, fix_free(1, 1), MM_PAGE_INVALID_FREE);
	KUNIT_EXPECT_EQ(test, fix_free(0, P), -1);
	KUNIT_EXPECT_EQ(test, fix_free(0, P), MM_PAGE_DOUBLE_FREE);
	finish(test, 0);
}

static void reserves_stay(struct kunit *test)
{
	setup_spares(test, 3, 2);
	fix_heap.floor[FIX_WINDOW] = 2 * P + 1;
	KUNIT_EXPECT_EQ(test, take(), PFN_NONE);
	fix_heap.floor[FIX_WINDOW] = 2 * P;
	KUNIT_EXPECT_EQ(test, take(), 0);
	KUNIT_EXPECT_EQ(test, take(), PFN_NONE);
	fix_heap.floor[FIX_WINDOW] = 0;
	KUNIT_EXPECT_EQ(test, take(), P);
	finish(test, 2 * P);
}

static void no_drain(void)
{
}

/* It is not at hand, and leaves again; what was there before is. */
static void arrived_memory_comes_last(struct kunit *test)
{
	phys_addr_t pa = (phys_addr_t)(FIX_CHUNK0 + 64) << CHUNK_SHIFT;
	uint64_t at;

	setup_spares(test, 2, 0);
	KUNIT_ASSERT_EQ(test, fix_alloc(P), 0);
	KUNIT_ASSERT_EQ(test, hotplug_add(&fix_map, pa, 32 * C, 0), 0);
	at = fix_alloc_in(P, P, 64 * P, 96 * P);
	KUNIT_ASSERT_NE(test, at, PFN_NONE);
	KUNIT_EXPECT_EQ(test, fix_free(at, P), -1);
	KUNIT_EXPECT_EQ(test, spares(), 0);
	KUNIT_EXPECT_EQ(test, fix_free(0, P), -1);
	KUNIT_EXPECT_EQ(test, spares(), 1);
	/* Until growth has noticed that memory came there might be some higher up. */
	KUNIT_EXPECT_EQ(test, fix_alloc_in(1, 1, 200 * P, 201 * P), PFN_NONE);
	KUNIT_EXPECT_EQ(test, spares(), 0);
	KUNIT_EXPECT_EQ(test, fix_alloc_in(P, P, 0, P), 0);
	KUNIT_EXPECT_EQ(test, fix_free(0, P), -1);
	KUNIT_EXPECT_EQ(test, take(), 0);
	KUNIT_EXPECT_EQ(test, take(), PFN_NONE);
	KUNIT_EXPECT_EQ(test, hotplug_remove(&fix_map, &fix_heap, no_drain, pa, 32 * C), 0);
	finish(test, P);
}

/* What is wrong with a stack is found. */
static void validated(struct kunit *test)
{
	struct heap_spares *s = &fix_heap.spare[FIX_WINDOW];
	struct whole_chunk saved;

	setup_spares(test, 4, 2);
	KUNIT_EXPECT_EQ(test, heapspare_check(&fix_heap), 0);
	saved = s->chunk[1];
	s->chunk[1] = s->chunk[0];
	saved.chunk->whole = CHUNK_WHOLE_USED;
	KUNIT_EXPECT_NE(test, heapspare_check(&fix_heap), 0);
	saved.chunk->whole = CHUNK_WHOLE_SPARE;
	s->chunk[1] = (struct whole_chunk){ saved.addr, s->chunk[0].chunk };
	KUNIT_EXPECT_NE(test, heapspare_check(&fix_heap), 0);
	s->chunk[1] = saved;
	KUNIT_EXPECT_EQ(test, heapspare_check(&fix_heap), 0);
	s->n = 1;
	KUNIT_EXPECT_NE(test, heapspare_check(&fix_heap), 0);
	s->n = 2;
	saved.chunk->word[3].free = 1;
	KUNIT_EXPECT_NE(test, heapspare_check(&fix_heap), 0);
	saved.chunk->word[3].free = 0;
	saved.chunk->word[3].end = 1;
	KUNIT_EXPECT_NE(test, heapspare_check(&fix_heap), 0);
	saved.chunk->word[3].end = 0;
	finish(test, 0);
}

/* Chunks by the short way and any runs by the long one, against a map of frames. */
#define ORACLE_CHUNKS 12
#define LIVE_MAX 64

static void random_against_a_map(struct kunit *test)
{
	static bool taken[ORACLE_CHUNKS * P];
	static struct {
		uint64_t at, n;
	} live[LIVE_MAX];
	uint64_t rng = 0x5eed0091, used = 0;
	unsigned nlive = 0, quick = 0;

	fix_setup(test, (struct fix_chunks[]){ { 0, ORACLE_CHUNKS }, { 0 } });
	memset(taken, 0, sizeof(taken));
	for (unsigned op = 0; op < 6000; op++) {
		uint64_t r = fix_rng(&rng), n = r & 3 ? P : 1 + (r >> 8) % (2 * P), at;

		if (nlive && (nlive == LIVE_MAX || r >> 32 & 1)) {
			unsigned i = (unsigned)((r >> 40) % nlive);

			at = live[i].at;
			n = live[i].n;
			KUNIT_ASSERT_EQ(test, fix_free(at, n), -1);
			KUNIT_ASSERT_EQ(test, fix_free(at, n), MM_PAGE_DOUBLE_FREE);
			memset(taken + at, false, n);
			used -= n;
			live[i] = live[--nlive];
			continue;
		}
		at = n == P ? (r & 4 ? take() : find()) : PFN_NONE;
		quick += at != PFN_NONE;
		if (at == PFN_NONE)
			at = fix_alloc_in(n, n == P ? P : 1, 0, ORACLE_CHUNKS * P);
		if (at == PFN_NONE)
			continue;
		for (uint64_t f = at; f < at + n; f++)
			KUNIT_ASSERT_FALSE(test, taken[f]);
		memset(taken + at, true, n);
		used += n;
		live[nlive].at = at;
		live[nlive++].n = n;
		KUNIT_ASSERT_EQ(test, fix_heap.frames_free + used, fix_heap.frames);
		if (op % 256 == 0)
			KUNIT_ASSERT_EQ(test, heapspare_check(&fix_heap), 0);
		if (op % 1000 == 999)
			KUNIT_ASSERT_EQ(test, pageheap_check(&fix_heap), 0);
	}
	KUNIT_EXPECT_GT(test, quick, 100);
	while (nlive--)
		KUNIT_ASSERT_EQ(test, fix_free(live[nlive].at, live[nlive].n), -1);
	finish(test, 0);
}

/* ---- The machine's ---- */

static unsigned machine_spares(void)
{
	unsigned n = 0;

	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		for (unsigned w = 0; w < MEM_WINDOWS; w++)
			n += main_heap[node].spare[w].n;
	return n;
}

/* Of a node's chunks at hand the scavenger gets all, and what is left of a request fails. */
static void low_memory(struct kunit *test)
{
	static void *all[4096];
	struct mm_stats before, full;
	unsigned n = 0, again = 0;
	void *p;

	mm_drain();
	mm_stats(&before);
	while (n < ARRAY_SIZE(all) && (all[n] = __get_free_pages(GFP_KERNEL, 9)))
		n++;
	if (n == ARRAY_SIZE(all))
		kunit_info(test, "more than 8 GiB: not all was taken");
	mm_stats(&full);
	/* Those at hand serve single frames, runs, and whole chunks again. */
	for (unsigned i = 0; i < MIN(n, 6U); i++)
		free_pages(all[i], 9);
	p = alloc_pages_exact(C + FRAME_SIZE, GFP_KERNEL);
	free_pages_exact(p, C + FRAME_SIZE);
	for (unsigned i = 0; i < MIN(n, 6U); i++)
		again += !!(all[i] = __get_free_pages(GFP_KERNEL, 9));
	KUNIT_EXPECT_EQ(test, again, MIN(n, 6U));
	while (n)
		free_pages(all[--n], 9);
	mm_drain();
	mm_stats(&full);
	KUNIT_EXPECT_EQ(test, full.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	KUNIT_EXPECT_GE(test, mm_scavenge(C), C);
	KUNIT_EXPECT_EQ(test, machine_spares(), 0);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static unsigned reports;
static enum mm_misuse last_kind;

static void note(const struct mm_misuse_report *report)
{
	last_kind = report->kind;
	(void)atomic_fetch_add(&reports, 1);
}

/* A large object is pages of the same sort: a second kfree() is a double free wherever they are. */
static void freed_large_objects(struct kunit *test)
{
	mm_set_misuse_handler(note);
	for (unsigned i = 1; i <= 3; i++) {
		void *p = kmalloc(i * C, GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, p);
		kfree(p);
		reports = 0;
		kfree(p);
		KUNIT_EXPECT_EQ(test, reports, 1);
		KUNIT_EXPECT_EQ(test, last_kind, MM_DOUBLE_FREE);
		mm_drain();
		kfree(p);
		KUNIT_EXPECT_EQ(test, reports, 2);
		KUNIT_EXPECT_EQ(test, last_kind, MM_DOUBLE_FREE);
	}
	mm_set_misuse_handler(NULL);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

#define OWN 3

struct load {
	uint64_t rng, torn, got;
	uint64_t *own[OWN];
	uint32_t stop;
};

static struct load load[PORT_MAX_CPUS], irq_load[PORT_MAX_CPUS];

/* Give a chunk back or take one; what is in it is the holder's. */
static void step(void *arg)
{
	struct load *l = arg;
	uint64_t r = fix_rng(&l->rng), **own = &l->own[r % OWN];

	if (*own) {
		l->torn += **own != (uint64_t)(uintptr_t)own || (*own)[C / 8 - 1] != l->got;
		if (r & 256)
			free_pages(*own, 9);
		else
			free_pages_exact(*own, C);
		*own = NULL;
		return;
	}
	*own = r & 256 ? (void *)__get_free_pages(GFP_ATOMIC, 9) : alloc_pages_exact(C, GFP_ATOMIC);
	if (*own) {
		**own = (uint64_t)(uintptr_t)own;
		(*own)[C / 8 - 1] = l->got;
	}
}

static void work(void *arg)
{
	struct load *l = arg;
	void *frames[70];

	for (unsigned i = 0; !atomic_load(&l->stop); i++) {
		step(l);
		if (i % 16)
			continue;
		/* Others search the heap meanwhile. */
		page_free_bulk(page_alloc_bulk(ARRAY_SIZE(frames), frames, GFP_KERNEL), frames);
		if (i % 512 == 496)
			mm_scavenge(C);
		task_yield();
	}
}

static void all_cpus_at_once(struct kunit *test)
{
	static struct task *task[PORT_MAX_CPUS];
	struct mm_stats before, after;
	unsigned ncpus = cpu_count();

	mm_drain();
	mm_stats(&before);
	memset(load, 0, sizeof(load));
	memset(irq_load, 0, sizeof(irq_load));
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		load[cpu].rng = 0x5eed00a1 + cpu;
		irq_load[cpu].rng = 0x5eed10a1 + cpu;
		task[cpu] = task_start(cpu, work, &load[cpu], "chunks");
		KUNIT_EXPECT_NOT_NULL(test, task[cpu]);
	}
	for (unsigned round = 0; round < 60 / ncpus + 4; round++) {
		for (unsigned cpu = 0; cpu < ncpus; cpu++) {
			run_in_irq(cpu, step, &irq_load[cpu]);
			run_in_nmi(cpu, step, &irq_load[cpu]);
		}
		task_yield();
	}
	for (unsigned cpu = 0; cpu < ncpus; cpu++)
		atomic_store(&load[cpu].stop, 1);
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		if (task[cpu])
			task_join(task[cpu]);
		for (unsigned i = 0; i < OWN; i++) {
			free_pages(load[cpu].own[i], 9);
			free_pages(irq_load[cpu].own[i], 9);
		}
		KUNIT_EXPECT_EQ(test, load[cpu].torn + irq_load[cpu].torn, 0);
	}
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct kunit_case heapspare_cases[] = {
	KUNIT_CASE(last_in_first_out),
	KUNIT_CASE(found_in_the_tree),
	KUNIT_CASE(zeroes_are_not_forgotten),
	KUNIT_CASE(more_than_there_is_room_for),
	KUNIT_CASE(only_whole_chunks),
	KUNIT_CASE(kept_from_nobody),
	KUNIT_CASE(goes_with_its_chunk),
	KUNIT_CASE(a_run_grows_into_it),
	KUNIT_CASE(wrong_frees),
	KUNIT_CASE(reserves_stay),
	KUNIT_CASE(arrived_memory_comes_last),
	KUNIT_CASE(validated),
	KUNIT_CASE_SLOW(random_against_a_map),
	KUNIT_CASE(freed_large_objects),
	KUNIT_CASE_SLOW(all_cpus_at_once),
	{},
};

static struct kunit_suite heapspare_suite = {
	.name = "heapspare",
	.test_cases = heapspare_cases,
};
kunit_test_suite(heapspare_suite);

static struct kunit_case whole_cases[] = { KUNIT_CASE(low_memory), {} };
static struct kunit_suite whole_suite = { .name = "whole_chunks", .test_cases = whole_cases };
kunit_test_suite(whole_suite);
