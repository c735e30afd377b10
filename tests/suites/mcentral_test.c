// SPDX-License-Identifier: MIT
/*
 * Central lists: the five steps with their budget, for spans of a cache whose
 * class has a sweeper of the test's; and objects of a window or node of their own.
 */
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/string.h"
#include "mm/kmem_cache.h"
#include "mm/mcentral.h"
#include "mm/numa.h"
#include "mm/sizeclass.h"
#include "tests/suites/object_fixture.h"

#define SIZE 1024
#define MIB (1UL << 20)

/* ---- The five steps ---- */

static struct kmem_cache *cache;
static unsigned swept, nspans, per_span;
static void *held[3000];
static bool dead[ARRAY_SIZE(held)];

/* Objects that the test says are dead become free, as a collector would do it. */
static void sweep_dead(struct span *span)
{
	swept++;
	for (unsigned i = 0; i < nspans * per_span; i++)
		if (dead[i] && pagemap_find(virt_to_phys(held[i])) == span) {
			size_t index = (virt_to_phys(held[i]) - span->base) / span->size;

			span->used[index / 64] &= ~(1ULL << index % 64);
			held[i] = NULL, dead[i] = false;
		}
}

/* As many full spans with mcentral, swept. */
static void fill_spans(struct kunit *test, unsigned n)
{
	cache = kmem_cache_create("swept", SIZE, 0, 0, NULL);
	KUNIT_ASSERT_NOT_NULL(test, cache);
	per_span = cache->class.nobjs;
	nspans = n;
	KUNIT_ASSERT_LE(test, n * per_span, ARRAY_SIZE(held));
	memset(dead, 0, sizeof(dead));
	for (unsigned i = 0; i < n * per_span; i++) {
		held[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, held[i]);
	}
	mm_drain();
	/* The CPU keeps full spans: a free and an allocation put each on a list. */
	for (unsigned i = 0; i < n; i++)
		kmem_cache_free(cache, held[i * per_span]);
	mm_drain();
	for (unsigned i = 0; i < n; i++) {
		held[i * per_span] = mcentral_alloc(&cache->class, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, held[i * per_span]);
	}
	KUNIT_ASSERT_EQ(test, cache->class.nspans, n);
	cache->class.sweep = sweep_dead;
	swept = 0;
}

static void drop_spans(struct kunit *test)
{
	for (unsigned i = 0; i < nspans * per_span; i++)
		if (held[i])
			kmem_cache_free(cache, held[i]);
	mm_drain();
	KUNIT_EXPECT_EQ(test, kmem_cache_destroy(cache), 0);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static size_t listed(bool full, unsigned half)
{
	size_t n = 0;

	for (unsigned i = 0; i < PORT_MAX_NODES * MEM_WINDOWS; i++) {
		struct mcentral *central =
			&cache->class.central[i / MEM_WINDOWS][i % MEM_WINDOWS];

		n += full ? central->full[half].n : central->partial[half].n;
	}
	return n;
}

static void all_is_unswept_at_once(struct kunit *test)
{
	unsigned half = mcentral_swept();

	fill_spans(test, 10);
	KUNIT_EXPECT_EQ(test, listed(true, half), 10);
	mcentral_next_generation();
	KUNIT_EXPECT_EQ(test, mcentral_swept(), !half);
	KUNIT_EXPECT_EQ(test, listed(true, !mcentral_swept()), 10);
	KUNIT_EXPECT_EQ(test, swept, 0);
	mcentral_next_generation();
	drop_spans(test);
}

static void swept_ones_first(struct kunit *test)
{
	void *was, *p;

	fill_spans(test, 4);
	mcentral_next_generation();
	was = held[0];
	dead[0] = true;
	/* Freed by hand in an unswept span: it stays unswept. */
	kmem_cache_free(cache, held[per_span]);
	kmem_cache_free(cache, held[per_span + 1]);
	KUNIT_EXPECT_EQ(test, listed(false, !mcentral_swept()), 1);
	/* 2: of the unswept ones a partly used one comes first. */
	held[per_span] = mcentral_alloc(&cache->class, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, swept, 1);
	KUNIT_EXPECT_EQ(test, listed(false, mcentral_swept()), 1);
	/* 1: it is swept now, and so the first to be taken from. */
	held[per_span + 1] = mcentral_alloc(&cache->class, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, swept, 1);
	KUNIT_EXPECT_EQ(test, listed(true, mcentral_swept()), 1);
	KUNIT_EXPECT_EQ(test, listed(true, !mcentral_swept()), 3);
	/* 3: then full ones, until one has a dead object. */
	p = mcentral_alloc(&cache->class, GFP_KERNEL);
	KUNIT_EXPECT_PTR_EQ(test, p, was);
	KUNIT_EXPECT_GE(test, swept, 2);
	held[0] = p;
	KUNIT_EXPECT_EQ(test, cache->class.nspans, 4);
	drop_spans(test);
}

static void dead_objects_are_handed_out_again(struct kunit *test)
{
	void *was[3], *p;

	fill_spans(test, 6);
	for (unsigned i = 0; i < 3; i++) {
		unsigned nr = (2 * i + 1) * per_span + i;

		was[i] = held[nr];
		dead[nr] = true;
	}
	mcentral_next_generation();
	for (unsigned i = 0; i < 3; i++) {
		p = mcentral_alloc(&cache->class, GFP_KERNEL);
		KUNIT_EXPECT_TRUE(test, p == was[0] || p == was[1] || p == was[2]);
		for (unsigned k = 0; k < nspans * per_span; k++)
			if (!held[k]) {
				held[k] = p;
				break;
			}
	}
	KUNIT_EXPECT_LE(test, swept, 6);
	KUNIT_EXPECT_EQ(test, cache->class.nspans, 6);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	/* 4 and 5: there is none left, so a span is made. */
	p = mcentral_alloc(&cache->class, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, swept, 6);
	KUNIT_EXPECT_EQ(test, cache->class.nspans, 7);
	kmem_cache_free(cache, p);
	drop_spans(test);
}

static void end_generation(struct span *span)
{
	sweep_dead(span);
	if (swept == 1)
		mcentral_next_generation();
}

/* What was swept for a generation that has ended is unswept, whether that freed any of it. */
static void a_generation_ends_during_a_sweep(struct kunit *test)
{
	void *p;

	fill_spans(test, 1);
	cache->class.sweep = end_generation;
	dead[0] = true;
	mcentral_next_generation();
	held[0] = mcentral_alloc(&cache->class, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, swept, 1);
	KUNIT_EXPECT_EQ(test, listed(true, !mcentral_swept()), 1);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	drop_spans(test);

	fill_spans(test, 1);
	cache->class.sweep = end_generation;
	mcentral_next_generation();
	p = mcentral_alloc(&cache->class, GFP_KERNEL);
	KUNIT_EXPECT_EQ_MSG(test, swept, 2, "once for each generation");
	KUNIT_EXPECT_EQ(test, listed(true, mcentral_swept()), 1);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	kmem_cache_free(cache, p);
	drop_spans(test);
}

/* A span is made rather than more than so many swept in vain. */
static void sweeps_within_the_budget(struct kunit *test)
{
	unsigned n = MCENTRAL_BUDGET + 50;
	void *p, *q;

	fill_spans(test, n);
	mcentral_next_generation();
	p = kmem_cache_alloc(cache, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, swept, MCENTRAL_BUDGET);
	KUNIT_EXPECT_EQ(test, cache->class.nspans, n + 1);
	KUNIT_EXPECT_EQ(test, listed(true, mcentral_swept()), MCENTRAL_BUDGET);
	KUNIT_EXPECT_EQ(test, listed(true, !mcentral_swept()), 50);
	/* The rest at the next request for a span. */
	q = mcentral_alloc(&cache->class, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, swept, n);
	KUNIT_EXPECT_EQ(test, listed(true, mcentral_swept()), n);
	KUNIT_EXPECT_EQ(test, listed(true, !mcentral_swept()), 0);
	kmem_cache_free(cache, p);
	kmem_cache_free(cache, q);
	drop_spans(test);
}

/* By a CPU, that is, with its window; all that became free is used before a span is made. */
static void windows_are_filled_from_swept_spans(struct kunit *test)
{
	unsigned n = 0;

	fill_spans(test, 12);
	for (unsigned i = 0; i < 12 * per_span; i += 3, n++)
		dead[i] = true;
	mcentral_next_generation();
	for (unsigned i = 0; i < n; i++) {
		void *p = kmem_cache_alloc(cache, GFP_KERNEL);

		KUNIT_ASSERT_NOT_NULL(test, p);
		KUNIT_ASSERT_EQ(test, cache->class.nspans, 12);
		for (unsigned k = 0; k < nspans * per_span; k++)
			if (!held[k]) {
				held[k] = p;
				break;
			}
	}
	KUNIT_EXPECT_EQ(test, swept, 12);
	drop_spans(test);
}

/* ---- A window or node of their own ---- */

static unsigned node_of(const void *p)
{
	return chunk_find(&main_map.index, virt_to_phys(p))->node;
}

static void low_objects_share_spans(struct kunit *test)
{
	static const gfp_t window[] = { GFP_DMA, GFP_DMA32, GFP_DMA | __GFP_NOSCAN };
	struct mm_stats before, now;
	void *p[50];

	books_open(&before);
	for (unsigned w = 0; w < ARRAY_SIZE(window); w++)
		for (unsigned sc = 1; sc < NR_SIZE_CLASSES; sc += 5) {
			size_t size = size_classes[sc].size;
			unsigned n = 0;

			while (n < ARRAY_SIZE(p) && (p[n] = kmalloc(size, window[w])))
				n++;
			mm_stats(&now);
			KUNIT_EXPECT_EQ(test, now.objects_live, before.objects_live + n);
			KUNIT_EXPECT_LE(test, now.frames_used - before.frames_used,
					(n + 2 * size_classes[sc].nobjs) *
						size_classes[sc].npages * PAGE_SIZE / FRAME_SIZE /
						size_classes[sc].nobjs);
			for (unsigned i = 0; i < n; i++) {
				KUNIT_EXPECT_EQ(test, ksize(p[i]),
						size_classes[kmalloc_class(size)].size);
				object_fill(p[i], size, i);
			}
			for (unsigned i = 0; i < n; i++)
				KUNIT_EXPECT_TRUE(test, object_holds(p[i], size, i));
			kfree_bulk(n, p);
			KUNIT_EXPECT_EQ(test, mm_validate(), 0);
		}
	books_close(test, &before);
}

static void misuse_of_low_objects(struct kunit *test)
{
	struct mm_stats before;
	char *p, *q;

	books_open(&before);
	p = kmalloc(100, GFP_DMA32), q = kmalloc(100, GFP_DMA32);
	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_NOT_NULL(test, q);
	reports_start();
	kfree(p + 1);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_INVALID_FREE);
	kfree(q + 112);
	KUNIT_EXPECT_EQ_MSG(test, reports_last().kind, MM_INVALID_FREE, "never handed out");
	kfree(p);
	KUNIT_EXPECT_EQ(test, reports_count(), 2);
	kfree(p);
	KUNIT_EXPECT_EQ(test, reports_count(), 3);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_DOUBLE_FREE);
	kfree_sized(q, 200);
	KUNIT_EXPECT_EQ(test, reports_last().kind, MM_WRONG_SIZE);
	reports_stop();
	kfree_sized(q, 100);
	books_close(test, &before);
}

/* A node stays in the order when its memory has left. */
static bool has_memory(unsigned node)
{
	struct ram_range r;

	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size)
		if (r.node == node)
			return true;
	return false;
}

static void nodes_as_asked(struct kunit *test)
{
	const struct node_order *order = numa_order(0);
	static const size_t sizes[] = { 8, 64, 1000, 8192, 40000, 300000 };
	struct mm_stats before;

	books_open(&before);
	for (unsigned i = 0; i < order->n; i++)
		for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++)
			for (unsigned strict = 0; strict < 2; strict++) {
				gfp_t gfp = GFP_KERNEL | (strict ? __GFP_THISNODE : 0);
				void *p = kmalloc_node(sizes[s], gfp, order->node[i]);
				void *q = kmalloc_node(sizes[s], gfp | __GFP_ZERO, order->node[i]);

				if (!has_memory(order->node[i])) {
					KUNIT_EXPECT_EQ(test, !p, strict);
					KUNIT_EXPECT_EQ(test, !q, strict);
				} else {
					KUNIT_EXPECT_EQ_MSG(test, node_of(p), order->node[i],
							    "%zu bytes", sizes[s]);
					KUNIT_EXPECT_EQ(test, node_of(q), order->node[i]);
					KUNIT_EXPECT_TRUE(test, object_is_zero(q, ksize(q)));
					KUNIT_EXPECT_EQ(test, ksize(p), ksize(q));
				}
				kfree(p);
				kfree(q);
			}
	/* None in particular; one that there is not. */
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		void *p = kmalloc_node(sizes[s], GFP_KERNEL, -1);

		KUNIT_EXPECT_NOT_NULL(test, p);
		kfree(p);
		KUNIT_EXPECT_NULL(test, kmalloc_node(sizes[s], GFP_KERNEL, PORT_MAX_NODES));
		KUNIT_EXPECT_NULL(test, kmalloc_node(sizes[s], GFP_KERNEL, 1 << 20));
	}
	KUNIT_EXPECT_PTR_EQ(test, kmalloc_node(0, GFP_KERNEL, 0), zerobase);
	books_close(test, &before);
}

/* A node without memory has none to give; without __GFP_THISNODE the nearest has. */
static void nodes_without_memory(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	for (int node = 0; node < PORT_MAX_NODES; node++) {
		bool present = false;
		void *p;

		for (unsigned i = 0; i < numa_order(0)->n; i++)
			present |= numa_order(0)->node[i] == node;
		if (present)
			continue;
		KUNIT_EXPECT_NULL(test, kmalloc_node(100, GFP_KERNEL | __GFP_THISNODE, node));
		KUNIT_EXPECT_NULL(test, kmalloc_node(100000, GFP_KERNEL | __GFP_THISNODE, node));
		p = kmalloc_node(100, GFP_KERNEL, node);
		KUNIT_EXPECT_NOT_NULL(test, p);
		kfree(p);
	}
	books_close(test, &before);
}

struct placed {
	void *p[64];
	unsigned seed;
};

static void alloc_placed(void *arg)
{
	struct placed *placed = arg;

	for (unsigned i = 0; i < ARRAY_SIZE(placed->p); i++) {
		kfree(placed->p[i]);
		placed->p[i] = i % 3 ? kmalloc(64 << i % 8, GFP_ATOMIC | GFP_DMA32)
				     : kmalloc_node(64 << i % 8, GFP_ATOMIC, 0);
		if (placed->p[i])
			memset(placed->p[i], (int)i, 64 << i % 8);
	}
}

static void free_placed(void *arg)
{
	struct placed *placed = arg;

	kfree_bulk(ARRAY_SIZE(placed->p), placed->p);
	memset(placed->p, 0, sizeof(placed->p));
}

static void placed_task(void *arg)
{
	for (unsigned i = 0; i < 30; i++) {
		alloc_placed(arg);
		run_in_irq(i % cpu_count(), alloc_placed, arg);
		task_yield();
		run_in_nmi(i % cpu_count(), i % 2 ? alloc_placed : free_placed, arg);
	}
	free_placed(arg);
}

static void placed_on_all_cpus(struct kunit *test)
{
	static struct placed placed[8];
	unsigned n = MIN(cpu_count(), (unsigned)ARRAY_SIZE(placed));
	struct task *t[ARRAY_SIZE(placed)];
	struct mm_stats before;

	books_open(&before);
	memset(placed, 0, sizeof(placed));
	for (unsigned i = 0; i < n; i++)
		t[i] = task_start(i, placed_task, &placed[i], "placed");
	for (unsigned i = 0; i < n; i++)
		task_join(t[i]);
	books_close(test, &before);
}

static struct kunit_case mcentral_cases[] = {
	KUNIT_CASE(all_is_unswept_at_once),
	KUNIT_CASE(swept_ones_first),
	KUNIT_CASE(dead_objects_are_handed_out_again),
	KUNIT_CASE(a_generation_ends_during_a_sweep),
	KUNIT_CASE(sweeps_within_the_budget),
	KUNIT_CASE(windows_are_filled_from_swept_spans),
	KUNIT_CASE(low_objects_share_spans),
	KUNIT_CASE(misuse_of_low_objects),
	KUNIT_CASE(nodes_as_asked),
	KUNIT_CASE(nodes_without_memory),
	KUNIT_CASE(placed_on_all_cpus),
	{},
};

static struct kunit_suite mcentral_suite = { .name = "mcentral", .test_cases = mcentral_cases };
kunit_test_suite(mcentral_suite);
