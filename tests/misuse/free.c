// SPDX-License-Identifier: MIT
/* Wrong frees of objects, and questions about what is none. */
#include <kernel/task.h>
#include <spanheap/slab.h>
#include <spanheap/stats.h>

#include "tests/misuse/misuse.h"

#define SIZE 64

static void back_to_back(void)
{
	void *p = take(SIZE);

	expect("panic: double free: address %p size 0 caller 0x", p);
	kfree(p);
	kfree(p);
}

/* Enough for its window to be used up and loaded anew meanwhile. */
static void others_in_between(void)
{
	void *p = take(SIZE), *other[500];

	for (unsigned i = 0; i < 500; i++)
		other[i] = take(SIZE);
	expect("panic: double free: address %p size 0 caller 0x", p);
	kfree(p);
	for (unsigned i = 0; i < 500; i++)
		kfree(other[i]);
	kfree(p);
}

static unsigned ready;
static void *raced;

/* Both start at once, as near as two threads can. */
static void race(void *arg)
{
	(void)arg;
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < 2)
		task_yield();
	kfree(raced);
}

static void racing_cpus(void)
{
	struct task *t;

	raced = take(SIZE);
	expect("panic: double free: address %p size 0 caller ", raced);
	t = task_start(1, race, NULL, "race");
	require(t);
	race(NULL);
	task_join(t);
	/* If the two have not met in the free, they do where the CPUs' frees meet. */
	mm_drain();
}

static void never_owned(void)
{
	static char in_the_image[SIZE];

	expect("panic: invalid free: address %p size 0 caller 0x", (void *)in_the_image);
	kfree(opaque(in_the_image));
}

static void never_handed_out(void)
{
	char *p = take(SIZE);
	char *behind = p + 3 * SIZE;

	expect("panic: invalid free: address %p size 0 caller 0x", (void *)behind);
	kfree(behind);
}

static void interior(void)
{
	char *p = take(SIZE);

	expect("panic: invalid free: address %p size 0 caller 0x", (void *)(p + 8));
	kfree(p + 8);
}

static void wrong_size(void)
{
	void *p = take(SIZE);

	expect("panic: free with wrong size: address %p size 200 caller 0x", p);
	kfree_sized(p, 200);
}

static void wrong_cache(void)
{
	struct kmem_cache *apples = kmem_cache_create("apple", SIZE, 0, 0, NULL);
	struct kmem_cache *pears = kmem_cache_create("pear", SIZE, 0, 0, NULL);
	void *p = kmem_cache_alloc(apples, GFP_KERNEL);

	require(p && pears);
	expect("panic: free to wrong cache: address %p size %d caller 0x", p, SIZE);
	kmem_cache_free(pears, p);
}

static void query(void)
{
	char *p = take(SIZE);

	require(ksize(p) == SIZE);
	kfree(p);
	expect("panic: query of no object: address %p size 0 caller 0x", (void *)p);
	require(!ksize(p));
}

static void live_at_destroy(void)
{
	struct kmem_cache *cache = kmem_cache_create("apple", SIZE, 0, 0, NULL);
	void *p = kmem_cache_alloc(cache, GFP_KERNEL);

	require(p);
	expect("log: cache apple: object at %p, 64 bytes, is still in use", p);
	require(kmem_cache_destroy(cache));
	kmem_cache_free(cache, p);
	require(!kmem_cache_destroy(cache));
}

const struct misuse free_misuses[] = {
	{ 1, FOUND, FOUND, "double free, back to back", back_to_back },
	{ 2, FOUND, FOUND, "double free, others in between", others_in_between },
	{ 3, FOUND, FOUND, "double free racing from another CPU", racing_cpus },
	{ 4, FOUND, FOUND, "free of an address never owned", never_owned },
	{ 5, FOUND, FOUND, "free of a slot never handed out", never_handed_out },
	{ 6, FOUND, FOUND, "free of an interior pointer", interior },
	{ 7, FOUND, FOUND, "free with wrong size", wrong_size },
	{ 8, FOUND, NOT_RUN, "free to the wrong cache", wrong_cache },
	{ 24, FOUND, FOUND, "query of a bad pointer", query },
	{ 25, FOUND, NOT_RUN, "objects still live at cache destroy", live_at_destroy },
	{ 0 },
};
