// SPDX-License-Identifier: MIT
/*
 * Frames under load: random operations that carry their own content and are
 * checked against what the worker knows it holds; in interrupts, in NMIs, while
 * the heap's lock is held, and on all CPUs at once. Afterwards every frame is
 * accounted for.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/misuse.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/pageheap.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE
#define HELD_MAX 96

static struct mm_stats before;
static uint64_t reports;
static gfp_t low; /* GFP_DMA32, where there is enough of it */

static void count_report(const struct mm_misuse_report *report)
{
	(void)report;
	(void)atomic_fetch_add(&reports, 1);
}

static int stress_init(struct kunit *test)
{
	void *p = alloc_pages_exact(16 * C, GFP_KERNEL | GFP_DMA32);

	(void)test;
	low = p ? GFP_DMA32 : 0;
	free_pages_exact(p, 16 * C);
	reports = 0;
	mm_set_misuse_handler(count_report);
	mm_drain();
	mm_stats(&before);
	return 0;
}

static void stress_exit(struct kunit *test)
{
	struct mm_stats after;

	mm_set_misuse_handler(NULL);
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, reports, 0);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
	KUNIT_EXPECT_EQ(test, after.alloc_calls - before.alloc_calls,
			after.free_calls - before.free_calls);
	KUNIT_EXPECT_EQ(test, after.ram_bytes, before.ram_bytes);
	KUNIT_EXPECT_EQ(test, after.frames_free - before.frames_free,
			(after.ready_bytes - before.ready_bytes -
			 (after.metadata_bytes - before.metadata_bytes)) /
				F);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* ---- A worker: what it holds, and what it wrote there ---- */

struct held {
	uint8_t *addr;
	size_t n;
	uint64_t mark;
};

struct worker {
	uint64_t rng, ops, failed, torn;
	unsigned n;
	size_t most; /* frames of one run */
	gfp_t gfp;
	struct held held[HELD_MAX];
};

/* First and last word of every frame. */
static void paint(const struct held *h)
{
	for (size_t i = 0; i < h->n; i++) {
		*(volatile uint64_t *)(h->addr + i * F) = h->mark + i;
		*(volatile uint64_t *)(h->addr + (i + 1) * F - 8) = ~(h->mark + i);
	}
}

static bool is_painted(const struct held *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (*(volatile uint64_t *)(h->addr + i * F) != h->mark + i ||
		    *(volatile uint64_t *)(h->addr + (i + 1) * F - 8) != ~(h->mark + i))
			return false;
	return true;
}

static bool is_zeroed(const uint8_t *addr, size_t n)
{
	for (size_t i = 0; i < n * F; i += 512)
		if (*(volatile const uint64_t *)(addr + i))
			return false;
	return true;
}

static void worker_free(struct worker *w, unsigned i)
{
	struct held *h = &w->held[i];

	if (!is_painted(h))
		w->torn++;
	if (h->n == 1 && h->mark & 1)
		page_free_bulk(1, (void **)&h->addr);
	else if (is_pow2(h->n) && h->mark & 2)
		free_pages(h->addr, ctz64(h->n));
	else
		free_pages_exact(h->addr, h->n * F);
	w->held[i] = w->held[--w->n];
}

static void worker_alloc(struct worker *w)
{
	uint64_t r = fix_rng(&w->rng);
	gfp_t gfp = w->gfp | (r & 1 ? __GFP_ZERO : 0) | (r >> 1 & 15 ? 0 : low);
	struct held h = { .mark = fix_rng(&w->rng), .n = 1 };

	switch (r >> 8 & 7) {
	case 0:
		h.n = 1 + (r >> 16) % w->most;
		h.addr = alloc_pages_exact(h.n * F, gfp);
		break;
	case 1:
		h.n = 1ULL << (r >> 16) % 5;
		h.addr = __get_free_pages(gfp, ctz64(h.n));
		break;
	case 2:
		h.n = 1 + (r >> 16) % 9;
		h.addr = page_alloc_range(h.n, F << (r >> 32) % 6, 0, ~0ULL, gfp);
		break;
	default:
		h.addr = alloc_pages_exact(F, gfp);
	}
	if (!h.addr) {
		w->failed++;
		return;
	}
	if (gfp & __GFP_ZERO && !is_zeroed(h.addr, h.n))
		w->torn++;
	paint(&h);
	w->held[w->n++] = h;
}

static void worker_step(void *arg)
{
	struct worker *w = arg;
	uint64_t r = fix_rng(&w->rng);

	w->ops++;
	if (w->n == HELD_MAX || (w->n && r % 100 < (w->ops / 512 % 2 ? 60 : 40)))
		worker_free(w, (unsigned)((r >> 8) % w->n));
	else
		worker_alloc(w);
}

static void worker_end(struct kunit *test, struct worker *w)
{
	while (w->n)
		worker_free(w, w->n - 1);
	KUNIT_EXPECT_EQ(test, w->torn, 0);
	KUNIT_EXPECT_GT(test, w->ops, w->failed);
}

/* ---- One CPU ---- */

static void random_operations(struct kunit *test)
{
	static struct worker w;

	memset(&w, 0, sizeof(w));
	w.rng = 0x5eed0041;
	w.most = 700;
	w.gfp = GFP_KERNEL;
	for (unsigned i = 0; i < 20000; i++) {
		worker_step(&w);
		if (i % 5000 == 2500)
			mm_drain();
	}
	worker_end(test, &w);
	KUNIT_EXPECT_EQ(test, w.failed, 0);
}

static void in_interrupts_and_nmis(struct kunit *test)
{
	static struct worker irq, nmi, task;

	memset(&irq, 0, sizeof(irq));
	irq.rng = 0x5eed0042;
	irq.most = 40;
	irq.gfp = GFP_ATOMIC;
	nmi = task = irq;
	for (unsigned i = 0; i < 600; i++) {
		unsigned cpu = i % cpu_count();

		run_in_irq(cpu, worker_step, &irq);
		run_in_nmi(cpu, worker_step, &nmi);
		worker_step(&task);
	}
	KUNIT_EXPECT_EQ(test, irq.failed, 0);
	worker_end(test, &irq);
	worker_end(test, &nmi);
	worker_end(test, &task);
}

/* ---- While the lock of the heap is held ---- */

struct nmi_work {
	void *addr;
	size_t size;
	void *got;
};

static void nmi_frees(void *arg)
{
	struct nmi_work *work = arg;

	free_pages_exact(work->addr, work->size);
}

static void nmi_allocates(void *arg)
{
	struct nmi_work *work = arg;

	work->got = alloc_pages_exact(work->size, GFP_ATOMIC);
}

/* Nobody else allocates here meanwhile; interrupts stay on, as run_in_nmi() wants it. */
static void lock_heaps(void)
{
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		while (!spin_trylock(&main_heap[node].lock))
			port_relax();
}

static void unlock_heaps(void)
{
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		spin_unlock(&main_heap[node].lock);
}

/* An NMI never waits: what it frees is free later, what it asks for it may not get. */
static void nmi_while_the_lock_is_held(struct kunit *test)
{
	static const size_t sizes[] = { F, 2 * F, 16 * F, 100 * F, C - F, C, 2 * C + 3 * F };
	struct nmi_work work[ARRAY_SIZE(sizes)], get[ARRAY_SIZE(sizes)];

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			work[i].size = get[i].size = sizes[i];
			work[i].addr = alloc_pages_exact(sizes[i], GFP_KERNEL);
			KUNIT_ASSERT_NOT_NULL(test, work[i].addr);
			memset(work[i].addr, 0x99, sizes[i]);
		}
		if (round == 1)
			mm_drain();
		lock_heaps();
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			run_in_nmi(this_cpu(), nmi_frees, &work[i]);
			/* A second time: seen, though the first has not happened yet. */
			reports = 0;
			run_in_nmi(this_cpu(), nmi_frees, &work[i]);
			KUNIT_EXPECT_EQ_MSG(test, reports, 1, "size %zu", sizes[i]);
			run_in_nmi(this_cpu(), nmi_allocates, &get[i]);
		}
		unlock_heaps();
		reports = 0;
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			if (!get[i].got)
				continue;
			for (unsigned k = 0; k < i; k++)
				KUNIT_EXPECT_PTR_NE(test, get[i].got, get[k].got);
			memset(get[i].got, 0x66, sizes[i]);
			free_pages_exact(get[i].got, sizes[i]);
		}
		mm_drain();
		/* All of it can be had again. */
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			void *p =
				page_alloc_range(sizes[i] / F, 0, virt_to_phys(work[i].addr),
						 virt_to_phys(work[i].addr) + sizes[i], GFP_KERNEL);

			KUNIT_EXPECT_PTR_EQ_MSG(test, p, work[i].addr, "size %zu", sizes[i]);
			free_pages_exact(p, sizes[i]);
			mm_drain();
		}
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
}

/* The lock of another CPU's: the NMI's CPU goes on all the same. */
static void nmi_elsewhere_while_the_lock_is_held(struct kunit *test)
{
	struct nmi_work work = { .size = 20 * F };

	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	for (unsigned round = 0; round < 50; round++) {
		work.addr = alloc_pages_exact(work.size, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, work.addr);
		lock_heaps();
		run_in_nmi(1, nmi_frees, &work);
		unlock_heaps();
	}
}

/* ---- All CPUs ---- */

struct load {
	struct worker task, irq, nmi;
	uint32_t stop;
};

static struct load load[PORT_MAX_CPUS];

static void work_until_told(void *arg)
{
	struct load *l = arg;

	for (unsigned i = 0; !atomic_load(&l->stop); i++) {
		worker_step(&l->task);
		if (i % 64 == 0)
			task_yield();
	}
}

/* A task on each CPU, and interrupts and NMIs there that do the same. */
static void all_cpus_at_once(struct kunit *test)
{
	static struct task *task[PORT_MAX_CPUS];
	unsigned ncpus = cpu_count();

	memset(load, 0, sizeof(load));
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		struct load *l = &load[cpu];

		l->task.rng = 0x5eed0051 + cpu;
		l->irq.rng = 0x5eed1051 + cpu;
		l->nmi.rng = 0x5eed2051 + cpu;
		l->task.most = 300;
		l->irq.most = l->nmi.most = 20;
		l->task.gfp = GFP_KERNEL;
		l->irq.gfp = l->nmi.gfp = GFP_ATOMIC;
		task[cpu] = task_start(cpu, work_until_told, l, "worker");
		KUNIT_EXPECT_NOT_NULL(test, task[cpu]);
	}
	for (unsigned round = 0; round < 120 / ncpus + 8; round++) {
		for (unsigned cpu = 0; cpu < ncpus; cpu++) {
			run_in_irq(cpu, worker_step, &load[cpu].irq);
			run_in_nmi(cpu, worker_step, &load[cpu].nmi);
		}
		task_yield();
		/* Counts never add up to nonsense in the middle of it. */
		if (round % 32 == 0) {
			struct mm_stats s;

			mm_stats(&s);
			KUNIT_EXPECT_EQ(test, s.ram_bytes,
					s.none_bytes + s.reserved_bytes + s.prepared_bytes +
						s.ready_bytes);
			mm_drain();
		}
	}
	for (unsigned cpu = 0; cpu < ncpus; cpu++)
		atomic_store(&load[cpu].stop, 1);
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		if (task[cpu])
			task_join(task[cpu]);
		worker_end(test, &load[cpu].task);
		worker_end(test, &load[cpu].irq);
		worker_end(test, &load[cpu].nmi);
	}
}

static struct kunit_case stress_cases[] = {
	KUNIT_CASE(random_operations),		KUNIT_CASE(in_interrupts_and_nmis),
	KUNIT_CASE(nmi_while_the_lock_is_held), KUNIT_CASE(nmi_elsewhere_while_the_lock_is_held),
	KUNIT_CASE_SLOW(all_cpus_at_once),	{},
};

static struct kunit_suite stress_suite = {
	.name = "page_stress",
	.init = stress_init,
	.exit = stress_exit,
	.test_cases = stress_cases,
};
kunit_test_suite(stress_suite);
