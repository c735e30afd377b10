// SPDX-License-Identifier: MIT
/*
 * The benchmarks of the LLFree paper (Wrenger et al., USENIX ATC 2023) by their
 * definitions, on as many CPUs as the machine has, in a memory that is so full
 * already:
 *
 *	bulk	each CPU allocates its share of half of what is free, then frees it
 *	repeat	each CPU allocates and frees the same one again and again
 *	random	half of what is free is taken; each CPU frees one of its own at
 *		random and allocates another
 *
 *	kbench	llfree_random/order0/2cpus/90full	insn/op	...
 *	kbench	llfree_random/order0/2cpus/90full	lock-waits	...
 *	kbench	llfree_random/order0/2cpus/90full	failed-cas	...
 *
 * The fill is what is left when all was taken and frames at random were freed, so
 * that 90 % full is also 90 % scattered; for order 9 it consists of chunks. Under
 * -icount the clock is common to all CPUs: the figure is what all of them executed
 * from the first one's start to the last one's end, for each operation. A lock
 * wait is a CPU that found a page heap's lock taken. A failed CAS is one that found
 * a word of frames changed by another CPU: runs and bulk are freed by such a loop;
 * single frames come and go by one instruction that cannot fail, and chunks under
 * the lock.
 *
 * With one CPU the cases for one are run, with more those for two and up.
 */
#include <kernel/bench.h>
#include <kernel/console.h>
#include <kernel/task.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>
#include "lib/bits.h"
#include "lib/fmt.h"
#include "mm/pagecache.h"

#define CPUS_MAX 4
#define REPEATS 20000
#define REALLOCS 10000
#define OWN_MAX 4096 /* a CPU's own in the random case */

enum llfree_kind { LLFREE_BULK, LLFREE_REPEAT, LLFREE_RANDOM };

static const char *const kind_names[] = { "bulk", "repeat", "random" };
static const unsigned fills[] = { 0, 50, 90, 99 };

/* Linked through their memory. */
struct block {
	struct block *next;
};

struct worker {
	enum llfree_kind kind;
	unsigned order;
	uint64_t share;		/* how many it may take */
	uint64_t begin, end, ops;
	uint64_t rng;
	struct block *own[OWN_MAX];
};

static struct worker workers[CPUS_MAX];
static uint32_t waiting;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static struct block *take_blocks(unsigned order, uint64_t n)
{
	struct block *list = NULL, *b;

	while (n-- && (b = __get_free_pages(GFP_KERNEL, order))) {
		b->next = list;
		list = b;
	}
	return list;
}

static void free_blocks(struct block *list, unsigned order)
{
	struct block *next;

	for (; list; list = next) {
		next = list->next;
		free_pages(list, order);
	}
}

/* Free each with the chance of @percent; return the rest. @nfree: how many were freed. */
static struct block *drop_blocks(struct block *list, unsigned order, unsigned percent,
				 uint64_t *nfree)
{
	uint64_t rng = 0x5eed;
	struct block *kept = NULL, *next;

	*nfree = 0;
	for (; list; list = next) {
		next = list->next;
		if (next_random(&rng) % 100 < percent) {
			free_pages(list, order);
			++*nfree;
		} else {
			list->next = kept;
			kept = list;
		}
	}
	return kept;
}

static void bulk(struct worker *w)
{
	struct block *list = take_blocks(w->order, w->share);

	for (struct block *b = list; b; b = b->next)
		w->ops++;
	free_blocks(list, w->order);
}

static void repeat(struct worker *w)
{
	for (; w->ops < REPEATS; w->ops++)
		free_pages(__get_free_pages(GFP_KERNEL, w->order), w->order);
}

static void reallocate(struct worker *w, unsigned n)
{
	for (; n && w->ops < REALLOCS; w->ops++) {
		struct block **b = &w->own[next_random(&w->rng) % n];

		free_pages(*b, w->order);
		*b = __get_free_pages(GFP_KERNEL, w->order);
	}
}

static void work(void *arg)
{
	struct worker *w = arg;
	unsigned n = 0;

	if (w->kind == LLFREE_RANDOM)
		while (n < MIN(w->share, (uint64_t)OWN_MAX) &&
		       (w->own[n] = __get_free_pages(GFP_KERNEL, w->order)))
			n++;
	(void)atomic_fetch_sub(&waiting, 1);
	while (atomic_load(&waiting))
		port_relax();
	w->begin = port_clock();
	if (w->kind == LLFREE_BULK)
		bulk(w);
	else if (w->kind == LLFREE_REPEAT)
		repeat(w);
	else
		reallocate(w, n);
	w->end = port_clock();
	while (n)
		free_pages(w->own[--n], w->order);
}

static uint64_t lock_waits(void)
{
	uint64_t waits = 0;

	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		waits += main_heap[node].lock.waits;
	return waits;
}

static uint64_t failed_cas(void)
{
	uint64_t failed = 0;

	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		failed += pagecache_sum(&main_heap[node]).retries;
	return failed;
}

static void run_workers(enum llfree_kind kind, unsigned order, unsigned ncpus, unsigned full,
			uint64_t nfree)
{
	struct task *task[CPUS_MAX];
	uint64_t begin = ~0ULL, end = 0, ops = 0, waits = lock_waits(), cas = failed_cas();
	unsigned started = 0;
	char name[64];

	atomic_store(&waiting, ncpus);
	for (unsigned i = 0; i < ncpus; i++) {
		workers[i] = (struct worker){ .kind = kind,
					      .order = order,
					      .share = nfree / 2 / ncpus,
					      .rng = 0x1234567 + i };
		task[i] = task_start(i, work, &workers[i], "llfree");
		if (!task[i])
			break;
		started++;
	}
	/* Who has started waits for all: not for those that could not. */
	(void)atomic_fetch_sub(&waiting, ncpus - started);
	for (unsigned i = 0; i < started; i++)
		task_join(task[i]);
	if (started < ncpus) {
		console_printf("# llfree_%s/order%u: no memory for %u tasks\n", kind_names[kind],
			       order, ncpus);
		return;
	}
	for (unsigned i = 0; i < ncpus; i++) {
		begin = MIN(begin, workers[i].begin);
		end = MAX(end, workers[i].end);
		ops += workers[i].ops;
	}
	/* So little is free that it cannot be shared out. */
	if (!ops)
		return;
	fmt_print(name, sizeof(name), "llfree_%s/order%u/%ucpu%s/%ufull", kind_names[kind], order,
		  ncpus, ncpus > 1 ? "s" : "", full);
	kbench_value(name, "insn/op", (end - begin) / ops);
	kbench_value(name, "lock-waits", lock_waits() - waits);
	kbench_value(name, "failed-cas", failed_cas() - cas);
}

static void llfree(struct kbench *b)
{
	unsigned order = (unsigned)b->arg, ncpus = MIN(cpu_count(), (unsigned)CPUS_MAX);

	for (unsigned f = 0; f < ARRAY_SIZE(fills); f++) {
		struct block *all = take_blocks(order, ~0ULL);
		uint64_t nfree;

		all = drop_blocks(all, order, 100 - fills[f], &nfree);
		mm_drain();
		for (unsigned kind = LLFREE_BULK; kind <= LLFREE_RANDOM; kind++)
			for (unsigned n = MIN(ncpus, 2U); n <= ncpus; n++)
				run_workers((enum llfree_kind)kind, order, n, fills[f], nfree);
		free_blocks(all, order);
	}
	mm_drain();
}

KBENCH_CASE_ARG("llfree/order0", llfree, 0);
KBENCH_CASE_ARG("llfree/order9", llfree, 9);
