// SPDX-License-Identifier: MIT
/*
 * kmalloc() of every size class and above; zeroed; of a window of its own; freed
 * by another CPU than the one that allocated it.
 */
#include "bench/kernel/cases.h"
#include <kernel/task.h>
#include <spanheap/slab.h>
#include "lib/bits.h"
#include "lib/fmt.h"
#include "mm/sizeclass.h"

/* One figure a size, each with a name of its own. */
static void pair_of(const struct kbench *b, size_t size, gfp_t gfp)
{
	char name[40];
	struct kbench sized = { .name = name };

	fmt_print(name, sizeof(name), "%s/%zu", b->name, size);
	BENCH_PAIR(&sized, kfree(kmalloc_any(size, gfp)));
}

static void class_pairs(struct kbench *b)
{
	for (unsigned class = 1; class < NR_SIZE_CLASSES; class++)
		pair_of(b, size_classes[class].size, GFP_KERNEL);
}

KBENCH_CASE("kmalloc_class_pair", class_pairs);

static void zeroed_pairs(struct kbench *b)
{
	static const size_t sizes[] = { 8, 64, 512, 4096, 32768 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		pair_of(b, sizes[i], GFP_KERNEL | __GFP_ZERO);
}

KBENCH_CASE("kzalloc_pair", zeroed_pairs);

static void whole_page_pairs(struct kbench *b)
{
	static const size_t sizes[] = { 65536, 262144, 1048576, 4194304 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		pair_of(b, sizes[i], GFP_KERNEL);
}

KBENCH_CASE("kmalloc_pair", whole_page_pairs);

static void low_pairs(struct kbench *b)
{
	pair_of(b, 64, GFP_KERNEL | GFP_DMA32);
}

KBENCH_CASE("kmalloc_dma32_pair", low_pairs);

/* An array that grows by halves: in place as long as nothing is behind it. */
static void grow(struct kbench *b)
{
	void *p;

	BENCH_DEAR_PAIR(b, p = kmalloc(65536, GFP_KERNEL);
			p = krealloc(p, 98304, GFP_KERNEL);
			p = krealloc(p, 147456, GFP_KERNEL);
			p = krealloc(p, 65536, GFP_KERNEL);
			kfree(p));
}

KBENCH_CASE("krealloc_grow/65536", grow);

/* ---- Freed by another CPU ---- */

static uint64_t remote_cycles;

static void free_batch(void *arg)
{
	uint64_t start = port_clock();

	(void)arg;
	for (unsigned i = 0; i < BENCH_BATCH_SIZE; i++)
		kfree(bench_objects[i]);
	remote_cycles = port_clock() - start;
}

/*
 * The CPUs take turns, one sleeps: so the instructions that are counted are one
 * CPU's. An allocation carries what it costs to take the objects back.
 */
static void remote(struct kbench *b)
{
	uint64_t allocs = 0, frees = 0;
	struct kbench named = { .name = "kmalloc_remote_alloc/64" };

	for (int round = -BENCH_BATCH_WARM_UP; round < BENCH_BATCH_ROUNDS && cpu_count() > 1;
	     round++) {
		uint64_t start = port_clock(), cycles;

		for (unsigned i = 0; i < BENCH_BATCH_SIZE; i++)
			bench_objects[i] = kmalloc_any(b->arg, GFP_KERNEL);
		cycles = port_clock() - start;
		task_join(task_start((this_cpu() + 1) % cpu_count(), free_batch, NULL, "remote"));
		if (round >= 0)
			allocs += cycles, frees += remote_cycles;
	}
	if (!frees)
		return;
	kbench_report(&named, allocs, BENCH_BATCH_SIZE * BENCH_BATCH_ROUNDS);
	kbench_report(b, frees, BENCH_BATCH_SIZE * BENCH_BATCH_ROUNDS);
}

KBENCH_CASE_ARG("kmalloc_remote_free/64", remote, 64);
