// SPDX-License-Identifier: GPL-2.0
/*
 * Linux's own allocators, measured by the definitions of our kernel's benchmarks
 * (bench/kernel/cases.h): a module for Debian's kernel, run in QEMU under -icount, where
 * the time-stamp counter counts instructions.
 *
 *	pair	20,000 times allocate and free, after 2,000 to warm up
 *		(200 after 20 for what is dear)
 *	batch	1,000 allocated, then freed in order or shuffled; ten rounds
 *		counted after two
 *	bulk	n in one call, and one call to free them; 200 rounds after 20, and
 *		for n below 16 so many more that as many objects are counted
 *
 * Prints lines of the form kbench<TAB>linux/case<TAB>insn/op<TAB>value. The loop
 * around an operation (two instructions) is part of the figure, as are the timer
 * interrupts that happen to come.
 */
#include <linux/gfp.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>
#include "shuffle.h"

#define BATCH 1000
#define BATCH_ROUNDS 10
#define BATCH_WARM_UP 2

static void *objects[BATCH];
static struct kmem_cache *cache;
static unsigned int nr_cases;

static void report(const char *name, u64 ticks, u64 ops)
{
	u64 hundredths = ticks * 100 / ops;

	pr_alert("kbench\tlinux/%s\tinsn/op\t%llu.%02llu\n", name, hundredths / 100,
		 hundredths % 100);
	nr_cases++;
}

/* Count the instructions of @body, which runs @rounds times after @warm_up times. */
#define MEASURE(name, warm_up, rounds, ops_per_round, body)                              \
	do {                                                                             \
		u64 start_;                                                              \
		unsigned int i_;                                                         \
                                                                                         \
		for (i_ = 0; i_ < (warm_up); i_++)                                       \
			body;                                                            \
		start_ = rdtsc_ordered();                                                \
		for (i_ = 0; i_ < (rounds); i_++)                                        \
			body;                                                            \
		report(name, rdtsc_ordered() - start_, (u64)(rounds) * (ops_per_round)); \
	} while (0)

#define PAIR(name, body) MEASURE(name, 2000, 20000, 1, body)
#define DEAR_PAIR(name, body) MEASURE(name, 20, 200, 1, body)

/* Allocate a batch, free it in the order that @shuffled says; count both apart. */
#define BATCHES(alloc_name, free_name, shuffled, alloc_one, free_one)               \
	do {                                                                        \
		u64 t0_, t1_, allocs_ = 0, frees_ = 0;                              \
		unsigned int round_, i_;                                            \
                                                                                    \
		for (round_ = 0; round_ < BATCH_WARM_UP + BATCH_ROUNDS; round_++) { \
			t0_ = rdtsc_ordered();                                      \
			for (i_ = 0; i_ < BATCH; i_++)                              \
				objects[i_] = (void *)(alloc_one);                  \
			t1_ = rdtsc_ordered();                                      \
			if (round_ >= BATCH_WARM_UP)                                \
				allocs_ += t1_ - t0_;                               \
			if (shuffled)                                               \
				bench_shuffle(objects, BATCH);                      \
			t0_ = rdtsc_ordered();                                      \
			for (i_ = 0; i_ < BATCH; i_++)                              \
				free_one(objects[i_]);                              \
			t1_ = rdtsc_ordered();                                      \
			if (round_ >= BATCH_WARM_UP)                                \
				frees_ += t1_ - t0_;                                \
		}                                                                   \
		if (!(shuffled))                                                    \
			report(alloc_name, allocs_, BATCH *BATCH_ROUNDS);           \
		report(free_name, frees_, BATCH *BATCH_ROUNDS);                     \
	} while (0)

static noinline void kmalloc_pairs(void)
{
	size_t size;
	char name[32];

	for (size = 8; size <= 8192; size *= 2) {
		OPTIMIZER_HIDE_VAR(size);
		snprintf(name, sizeof(name), "kmalloc_pair/%zu", size);
		PAIR(name, kfree(kmalloc(size, GFP_KERNEL)));
	}
}

#define CONST_PAIR(size) PAIR("kmalloc_const_pair/" #size, kfree(kmalloc(size, GFP_KERNEL)))

static noinline void kmalloc_const_pairs(void)
{
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
}

/*
 * Batches of kmalloc() share their slabs with the rest of the kernel, and cost a
 * fifth more or less by how many half-empty ones boot left behind. So fill those
 * first, and hold them until the batches are through.
 */
static void **fill_slabs(size_t size)
{
	void **held = NULL, **object;
	unsigned int i;

	for (i = 0; i < 20000; i++) {
		object = kmalloc(size, GFP_KERNEL);
		if (!object)
			break;
		*object = held;
		held = object;
	}
	return held;
}

static void release_slabs(void **held)
{
	void **next;

	for (; held; held = next) {
		next = *held;
		kfree(held);
	}
}

static noinline void kmalloc_batches(size_t size)
{
	char alloc_name[32], free_name[32];
	void **held = fill_slabs(size);

	snprintf(alloc_name, sizeof(alloc_name), "kmalloc_batch_alloc/%zu", size);
	snprintf(free_name, sizeof(free_name), "kmalloc_batch_free/%zu", size);
	BATCHES(alloc_name, free_name, false, kmalloc(size, GFP_KERNEL), kfree);
	snprintf(free_name, sizeof(free_name), "kmalloc_shuffled_free/%zu", size);
	BATCHES(NULL, free_name, true, kmalloc(size, GFP_KERNEL), kfree);
	release_slabs(held);
}

static noinline void cache_pairs(void)
{
	PAIR("kmem_cache_pair/256", kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL)));
}

static noinline void bulk_pairs(void)
{
	unsigned int n, tens;
	char name[40];

	for (n = 1; n <= 256; n *= 4) {
		tens = n < 16 ? 320 / n : 20;
		snprintf(name, sizeof(name), "kmem_cache_bulk%u_pair/256", n);
		MEASURE(name, tens, 10 * tens, n, {
			if (kmem_cache_alloc_bulk(cache, GFP_KERNEL, n, objects) == n)
				kmem_cache_free_bulk(cache, n, objects);
		});
	}
}

/* The sizes of our classes. */
static noinline void class_pairs(void)
{
	static const unsigned int sizes[] = {
		8,     16,    24,    32,    48,	   64,	  80,	 96,	112,   128,   144,   160,
		176,   192,   208,   224,   240,   256,	  288,	 320,	352,   384,   416,   448,
		480,   512,   576,   640,   704,   768,	  896,	 1024,	1152,  1280,  1408,  1536,
		1792,  2048,  2304,  2688,  3072,  3200,  3456,	 4096,	4864,  5376,  6144,  6528,
		6784,  6912,  8192,  9472,  9728,  10240, 10880, 12288, 13568, 14336, 16384, 18432,
		19072, 20480, 21760, 24576, 27264, 28672, 32768,
	};
	unsigned int i;
	char name[40];

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size = sizes[i];

		OPTIMIZER_HIDE_VAR(size);
		snprintf(name, sizeof(name), "kmalloc_class_pair/%zu", size);
		PAIR(name, kfree(kmalloc(size, GFP_KERNEL)));
	}
}

static noinline void other_pairs(const char *kind, const size_t *sizes, unsigned int n, gfp_t gfp)
{
	unsigned int i;
	char name[40];

	for (i = 0; i < n; i++) {
		size_t size = sizes[i];

		OPTIMIZER_HIDE_VAR(size);
		snprintf(name, sizeof(name), "%s/%zu", kind, size);
		PAIR(name, kfree(kmalloc(size, gfp)));
	}
}

static noinline void grow_case(void)
{
	void *p;

	DEAR_PAIR("krealloc_grow/65536", {
		p = kmalloc(65536, GFP_KERNEL);
		p = krealloc(p, 98304, GFP_KERNEL);
		p = krealloc(p, 147456, GFP_KERNEL);
		p = krealloc(p, 65536, GFP_KERNEL);
		kfree(p);
	});
}

static __always_inline void free_one_page(void *page)
{
	free_pages((unsigned long)page, 0);
}

/* Linux fills only the entries that are NULL, and has no call that frees many. */
static void bulk64_pages(void)
{
	struct page **pages = (struct page **)objects;
	unsigned int i;

	memset(pages, 0, 64 * sizeof(*pages));
	alloc_pages_bulk_array(GFP_KERNEL, 64, pages);
	for (i = 0; i < 64; i++)
		__free_page(pages[i]);
}

static noinline void page_cases(void)
{
	PAIR("page_pair/order0", free_pages(__get_free_pages(GFP_KERNEL, 0), 0));
	BATCHES("page_batch_alloc/order0", "page_batch_free/order0", false,
		__get_free_pages(GFP_KERNEL, 0), free_one_page);
	BATCHES(NULL, "page_shuffled_free/order0", true, __get_free_pages(GFP_KERNEL, 0),
		free_one_page);
	PAIR("page_pair/order4", free_pages(__get_free_pages(GFP_KERNEL, 4), 4));
	DEAR_PAIR("page_pair/order9", free_pages(__get_free_pages(GFP_KERNEL, 9), 9));
	MEASURE("page_bulk64_pair/order0", 20, 200, 64, bulk64_pages());
}

static noinline void vmalloc_case(void)
{
	DEAR_PAIR("vmalloc_pair/16384", vfree(vmalloc(16384)));
}

static int __init kbench_init(void)
{
	static const size_t zeroed[] = { 8, 64, 512, 4096, 32768 }, low[] = { 64 };
	static const size_t whole_pages[] = { 65536, 262144, 1048576, 4194304 };

	cache = kmem_cache_create("kbench", 256, 0, 0, NULL);
	if (!cache)
		return -ENOMEM;
	kmalloc_pairs();
	kmalloc_const_pairs();
	kmalloc_batches(8);
	kmalloc_batches(64);
	cache_pairs();
	bulk_pairs();
	class_pairs();
	other_pairs("kzalloc_pair", zeroed, ARRAY_SIZE(zeroed), GFP_KERNEL | __GFP_ZERO);
	other_pairs("kmalloc_pair", whole_pages, ARRAY_SIZE(whole_pages), GFP_KERNEL);
	other_pairs("kmalloc_dma32_pair", low, ARRAY_SIZE(low), GFP_KERNEL | GFP_DMA);
	grow_case();
	page_cases();
	vmalloc_case();
	kmem_cache_destroy(cache);
	pr_alert("kbench-linux: %u cases done\n", nr_cases);
	return 0;
}

static void __exit kbench_exit(void)
{
}

module_init(kbench_init);
module_exit(kbench_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Instructions per allocation, as a peer for another allocator");
