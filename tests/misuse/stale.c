// SPDX-License-Identifier: MIT
/* Accesses to what was freed, or was never written; and what they can damage. */
#include <string.h>

#include <spanheap/page.h>
#include <spanheap/slab.h>

#include "mm/span.h"
#include "tests/misuse/misuse.h"

#define SIZE 64
#define LARGE (100UL << 10)

/* Found when the slot's turn comes again. */
static void expect_late(const void *p, size_t size)
{
	if (is_guarded())
		expect("panic: write after free: address %p size %zu ", p, size);
}

static void write_small(void)
{
	char *p = take(SIZE);

	kfree(p);
	expect_late(p, SIZE);
	memset(opaque(p), 0x66, SIZE);
	heap_works();
}

static void read_small(void)
{
	char *p = take(SIZE);

	kfree(p);
	if (is_guarded()) {
		require(*(volatile char *)opaque(p) != 0x11);
		harmless("a freed object does not read as what it was");
	}
	require(*(volatile char *)opaque(p) == 0x11);
	heap_works();
}

static void large(void)
{
	char *p = take(LARGE);

	kfree(p);
	expect_late(p, LARGE);
	memset(opaque(p), 0x66, LARGE);
	heap_works();
}

/* Where other allocators keep a link there is nothing: each byte of free objects is overwritten. */
static void free_list(void)
{
	static char *p[200];

	for (unsigned i = 0; i < 200; i++)
		p[i] = take(SIZE);
	for (unsigned i = 0; i < 200; i++) {
		kfree(p[i]);
		memset(opaque(p[i]), 0x66, SIZE);
	}
	for (unsigned i = 0; i < 200; i++)
		p[i] = take(SIZE);
	for (unsigned i = 0; i < 200; i++)
		kfree(p[i]);
	harmless("no links in free objects");
}

/* All of a span's pages: objects, free objects, what is behind the last one. */
static void metadata(void)
{
	char *p = take(208);
	struct span *span = pagemap_find(virt_to_phys(p));

	require(pagemap_is_span(span));
	memset(phys_to_virt(span->base), 0x66, span->class->npages * PAGE_SIZE);
	kfree(p);
	harmless("nothing in a span's pages but objects");
}

/* The empty span of one cache becomes another's. */
static void another_type(void)
{
	struct kmem_cache *apples = kmem_cache_create("apple", SIZE, 0, 0, NULL);
	struct kmem_cache *pears = kmem_cache_create("pear", 2 * SIZE, 0, 0, NULL);
	char *apple = kmem_cache_alloc(apples, GFP_KERNEL), *pear;

	kmem_cache_free(apples, apple);
	require(!kmem_cache_shrink(apples));
	pear = kmem_cache_alloc(pears, GFP_KERNEL);
	require(pear == apple);
	heap_works();
}

static void uninitialised(void)
{
	char *p = take(SIZE), *q;

	kfree(p);
	for (unsigned i = 0; i < 60; i++) {
		q = kmalloc(SIZE, GFP_KERNEL);
		require(q);
		if (is_guarded())
			require(!*(volatile char *)q);
		else if (q == p)
			require(*(volatile char *)q == 0x11);
	}
	if (is_guarded())
		harmless("a fresh object reads as zeroes");
	heap_works();
}

const struct misuse stale_misuses[] = {
	{ 15, UNSEEN, FOUND, "use after free, write, small", write_small },
	{ 16, UNSEEN, HARMLESS, "use after free, read, small", read_small },
	{ 17, UNSEEN, FOUND, "use after free, large object", large },
	{ 18, HARMLESS, NOT_RUN, "free-list link overwritten", free_list },
	{ 19, HARMLESS, NOT_RUN, "span metadata overwritten", metadata },
	{ 20, UNSEEN, NOT_RUN, "address reused by another type or size", another_type },
	{ 21, UNSEEN, HARMLESS, "uninitialised read of heap memory", uninitialised },
	{ 0 },
};
