// SPDX-License-Identifier: MIT
/*
 * Objects: kmalloc() of a size known at run time and at compile time, and a
 * kmem_cache; in pairs, batches and in bulk.
 */
#include "bench/kernel/cases.h"
#include <spanheap/mempool.h>
#include <spanheap/objpool.h>
#include <spanheap/percpu.h>
#include <spanheap/slab.h>

static void kmalloc_pair(struct kbench *b)
{
	size_t size = b->arg;

	BENCH_PAIR(b, kfree(kmalloc(size, GFP_KERNEL)));
}

KBENCH_CASE_ARG("kmalloc_pair/8", kmalloc_pair, 8);
KBENCH_CASE_ARG("kmalloc_pair/16", kmalloc_pair, 16);
KBENCH_CASE_ARG("kmalloc_pair/32", kmalloc_pair, 32);
KBENCH_CASE_ARG("kmalloc_pair/64", kmalloc_pair, 64);
KBENCH_CASE_ARG("kmalloc_pair/128", kmalloc_pair, 128);
KBENCH_CASE_ARG("kmalloc_pair/256", kmalloc_pair, 256);
KBENCH_CASE_ARG("kmalloc_pair/512", kmalloc_pair, 512);
KBENCH_CASE_ARG("kmalloc_pair/1024", kmalloc_pair, 1024);
KBENCH_CASE_ARG("kmalloc_pair/2048", kmalloc_pair, 2048);
KBENCH_CASE_ARG("kmalloc_pair/4096", kmalloc_pair, 4096);
KBENCH_CASE_ARG("kmalloc_pair/8192", kmalloc_pair, 8192);

/* The compiler sees the size. */
#define CONST_PAIR(size)                                         \
	static void kmalloc_const_pair_##size(struct kbench *b)  \
	{                                                        \
		BENCH_PAIR(b, kfree(kmalloc(size, GFP_KERNEL))); \
	}                                                        \
	KBENCH_CASE("kmalloc_const_pair/" #size, kmalloc_const_pair_##size)

CONST_PAIR(8);
CONST_PAIR(16);
CONST_PAIR(32);
CONST_PAIR(64);
CONST_PAIR(128);
CONST_PAIR(256);
CONST_PAIR(512);
CONST_PAIR(1024);
CONST_PAIR(2048);
CONST_PAIR(4096);
CONST_PAIR(8192);

static void kmalloc_batch_alloc(struct kbench *b)
{
	size_t size = b->arg;

	BENCH_BATCH(b, BATCH_ALLOC, kmalloc(size, GFP_KERNEL), kfree);
}

static void kmalloc_batch_free(struct kbench *b)
{
	size_t size = b->arg;

	BENCH_BATCH(b, BATCH_FREE, kmalloc(size, GFP_KERNEL), kfree);
}

static void kmalloc_shuffled_free(struct kbench *b)
{
	size_t size = b->arg;

	BENCH_BATCH(b, BATCH_SHUFFLED_FREE, kmalloc(size, GFP_KERNEL), kfree);
}

KBENCH_CASE_ARG("kmalloc_batch_alloc/8", kmalloc_batch_alloc, 8);
KBENCH_CASE_ARG("kmalloc_batch_free/8", kmalloc_batch_free, 8);
KBENCH_CASE_ARG("kmalloc_shuffled_free/8", kmalloc_shuffled_free, 8);
KBENCH_CASE_ARG("kmalloc_batch_alloc/64", kmalloc_batch_alloc, 64);
KBENCH_CASE_ARG("kmalloc_batch_free/64", kmalloc_batch_free, 64);
KBENCH_CASE_ARG("kmalloc_shuffled_free/64", kmalloc_shuffled_free, 64);

static void cache_pair(struct kbench *b)
{
	struct kmem_cache *cache = kmem_cache_create("kbench", b->arg, 0, 0, NULL);

	if (!cache)
		return;
	BENCH_PAIR(b, kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL)));
	kmem_cache_destroy(cache);
}

static void cache_bulk_pair(struct kbench *b)
{
	struct kmem_cache *cache = kmem_cache_create("kbench", 256, 0, 0, NULL);
	size_t n = b->arg;

	if (!cache)
		return;
	BENCH_BULK(b, n, kmem_cache_alloc_bulk(cache, GFP_KERNEL, n, bench_objects),
		   kmem_cache_free_bulk(cache, n, bench_objects));
	kmem_cache_destroy(cache);
}

static void kmalloc_bulk_pair(struct kbench *b)
{
	size_t n = b->arg;

	BENCH_BULK(b, n, kmalloc_bulk(64, GFP_KERNEL, n, bench_objects),
		   kfree_bulk(n, bench_objects));
}

static void objpool_pair(struct kbench *b)
{
	struct objpool *pool = objpool_create("kbench", b->arg, 0, NULL);

	if (!pool)
		return;
	BENCH_PAIR(b, objpool_put(pool, objpool_get(pool, GFP_KERNEL)));
	objpool_destroy(pool);
}

static void mempool_pair(struct kbench *b)
{
	struct mempool *pool = mempool_create_kmalloc_pool(16, b->arg);

	if (!pool)
		return;
	BENCH_PAIR(b, mempool_free(mempool_alloc(pool, GFP_KERNEL), pool));
	mempool_destroy(pool);
}

static void tiny_pair(struct kbench *b)
{
	size_t size = b->arg;

	BENCH_PAIR(b, kfree(kmalloc(size, GFP_KERNEL | __GFP_NOSCAN)));
}

static void percpu_add(struct kbench *b)
{
	uint64_t *counter = alloc_percpu(uint64_t);

	if (!counter)
		return;
	BENCH_PAIR(b, port_pin(); ++*this_cpu_ptr(counter); port_unpin());
	free_percpu(counter);
}

KBENCH_CASE_ARG("kmem_cache_pair/256", cache_pair, 256);
KBENCH_CASE_ARG("kmem_cache_bulk1_pair/256", cache_bulk_pair, 1);
KBENCH_CASE_ARG("kmem_cache_bulk4_pair/256", cache_bulk_pair, 4);
KBENCH_CASE_ARG("kmem_cache_bulk16_pair/256", cache_bulk_pair, 16);
KBENCH_CASE_ARG("kmem_cache_bulk64_pair/256", cache_bulk_pair, 64);
KBENCH_CASE_ARG("kmem_cache_bulk256_pair/256", cache_bulk_pair, 256);
KBENCH_CASE_ARG("kmalloc_bulk1_pair/64", kmalloc_bulk_pair, 1);
KBENCH_CASE_ARG("kmalloc_bulk4_pair/64", kmalloc_bulk_pair, 4);
KBENCH_CASE_ARG("kmalloc_bulk16_pair/64", kmalloc_bulk_pair, 16);
KBENCH_CASE_ARG("kmalloc_bulk64_pair/64", kmalloc_bulk_pair, 64);
KBENCH_CASE_ARG("kmalloc_bulk256_pair/64", kmalloc_bulk_pair, 256);
KBENCH_CASE_ARG("objpool_pair/256", objpool_pair, 256);
KBENCH_CASE_ARG("mempool_pair/256", mempool_pair, 256);
KBENCH_CASE_ARG("tiny_pair/4", tiny_pair, 4);
KBENCH_CASE_ARG("tiny_pair/8", tiny_pair, 8);
KBENCH_CASE("percpu_add", percpu_add);
