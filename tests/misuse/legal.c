// SPDX-License-Identifier: MIT
/* What looks like misuse and is none: false alarms show here. */
#include <string.h>

#include <spanheap/page.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>

#include "tests/misuse/misuse.h"

#define SIZE 64

static void free_it(void *p)
{
	kfree(p);
}

static void nothing(void)
{
	kfree(NULL);
	kfree(kmalloc(0, GFP_KERNEL));
	kfree_sized(NULL, 8);
	kfree_sized(zerobase, 0);
	kmem_cache_free(kmem_cache_create("apple", SIZE, 0, 0, NULL), NULL);
	free_pages_exact(NULL, FRAME_SIZE);
	require(!ksize(NULL) && !ksize(zerobase));
	require(krealloc(take(SIZE), 0, GFP_KERNEL) == zerobase);
}

/* The same address again and again, each time handed out in between. */
static void same_address(void)
{
	for (unsigned i = 0; i < 100000; i++)
		kfree(take(1 + i % 4096));
}

static void on_another_cpu(void)
{
	for (unsigned i = 0; i < 500; i++)
		on_cpu(1, free_it, take(1 + i * 100));
	mm_drain();
}

static void to_the_brim(void)
{
	for (size_t size = 1; size < 200000; size += 1 + size / 5) {
		char *p = take(size);

		memset(p, 0x22, ksize(p));
		require(ksize(p) >= size);
		kfree_sized(p, size);
	}
}

static void cache_object_by_kfree(void)
{
	struct kmem_cache *cache = kmem_cache_create("apple", SIZE, 0, 0, NULL);

	for (unsigned i = 0; i < 1000; i++) {
		void *p = kmem_cache_alloc(cache, GFP_KERNEL);

		require(p && ksize(p) == SIZE);
		kfree(p);
	}
	require(!kmem_cache_destroy(cache));
}

static void pages_by_other_names(void)
{
	void *p = __get_free_pages(GFP_KERNEL, 3);

	require(p);
	free_pages_exact(p, 8 * FRAME_SIZE);
	p = alloc_pages_exact(5 * FRAME_SIZE - 7, GFP_KERNEL);
	require(p);
	free_pages_exact(p, 4 * FRAME_SIZE + 1);
	p = page_alloc_range(16, 16 * FRAME_SIZE, 0, ~0ULL, GFP_KERNEL);
	require(p);
	free_pages(p, 4);
}

static void tiny_neighbours(void)
{
	char *p[1000];

	for (unsigned i = 0; i < 1000; i++)
		require((p[i] = kmalloc(1 + i % 7, GFP_KERNEL | __GFP_NOSCAN)));
	for (unsigned i = 0; i < 1000; i += 2)
		kfree(p[i]);
	for (unsigned i = 1; i < 1000; i += 2)
		kfree_sized(p[i], 1 + i % 7);
}

static void end_well(void (*fn)(void))
{
	fn();
	heap_works();
}

#define LEGAL_USE(fn)              \
	static void run_##fn(void) \
	{                          \
		end_well(fn);      \
	}

LEGAL_USE(nothing)
LEGAL_USE(same_address)
LEGAL_USE(on_another_cpu)
LEGAL_USE(to_the_brim)
LEGAL_USE(cache_object_by_kfree)
LEGAL_USE(pages_by_other_names)
LEGAL_USE(tiny_neighbours)

const struct misuse legal_uses[] = {
	{ 101, LEGAL, LEGAL, "free of nothing", run_nothing },
	{ 102, LEGAL, LEGAL, "the same address again and again", run_same_address },
	{ 103, LEGAL, LEGAL, "free on another CPU", run_on_another_cpu },
	{ 104, LEGAL, LEGAL, "all of ksize() written, then freed with its size", run_to_the_brim },
	{ 105, LEGAL, LEGAL, "kfree() of a cache's object", run_cache_object_by_kfree },
	{ 106, LEGAL, LEGAL, "frames by one name, freed by another", run_pages_by_other_names },
	{ 107, LEGAL, LEGAL, "tiny objects that share a block", run_tiny_neighbours },
	{ 0 },
};
