// SPDX-License-Identifier: MIT
/*
 * Frames: a single one, sixteen, two megabytes; in pairs, batches and in bulk.
 */
#include <spanheap/page.h>
#include "bench/kernel/cases.h"

static void pair_order0(struct kbench *b)
{
	BENCH_PAIR(b, free_pages(__get_free_pages(GFP_KERNEL, 0), 0));
}

static void pair_order4(struct kbench *b)
{
	BENCH_PAIR(b, free_pages(__get_free_pages(GFP_KERNEL, 4), 4));
}

static void pair_order9(struct kbench *b)
{
	BENCH_DEAR_PAIR(b, free_pages(__get_free_pages(GFP_KERNEL, 9), 9));
}

KBENCH_CASE("page_pair/order0", pair_order0);
KBENCH_CASE("page_pair/order4", pair_order4);
KBENCH_CASE("page_pair/order9", pair_order9);

static inline __attribute__((always_inline)) void free_frame(void *frame)
{
	free_pages(frame, 0);
}

static void batch_alloc(struct kbench *b)
{
	BENCH_BATCH(b, BATCH_ALLOC, __get_free_pages(GFP_KERNEL, 0), free_frame);
}

static void batch_free(struct kbench *b)
{
	BENCH_BATCH(b, BATCH_FREE, __get_free_pages(GFP_KERNEL, 0), free_frame);
}

static void shuffled_free(struct kbench *b)
{
	BENCH_BATCH(b, BATCH_SHUFFLED_FREE, __get_free_pages(GFP_KERNEL, 0), free_frame);
}

KBENCH_CASE("page_batch_alloc/order0", batch_alloc);
KBENCH_CASE("page_batch_free/order0", batch_free);
KBENCH_CASE("page_shuffled_free/order0", shuffled_free);

static void bulk64_pair(struct kbench *b)
{
	BENCH_BULK(b, 64, page_alloc_bulk(64, bench_objects, GFP_KERNEL),
		   page_free_bulk(64, bench_objects));
}

KBENCH_CASE("page_bulk64_pair/order0", bulk64_pair);
