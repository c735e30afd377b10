// SPDX-License-Identifier: MIT
/*
 * Nodes: where memory comes from, on the nodes that this machine has. With one
 * node there is not much to see; the matrix has machines with more, with nodes
 * without CPUs, with holes and with distances.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/page.h>
#include <spanheap/pressure.h>
#include <spanheap/stats.h>

#include "lib/atomic.h"
#include "lib/bits.h"
#include "mm/memmap.h"
#include "mm/numa.h"
#include "mm/pageheap.h"

#define P CHUNK_FRAMES
#define NOWHERE 255
#define EXHAUST_MAX (2ULL << 30)

static unsigned node_of(const void *p)
{
	struct ram_range r;
	phys_addr_t pa = virt_to_phys(p);

	return p && memmap_range(&main_map, pa, &r) && r.base <= pa ? r.node : NOWHERE;
}

static uint64_t available_on(unsigned node)
{
	return main_heap[node].frames_free + main_heap[node].scavenged + main_map.reserved[node];
}

static uint64_t nodes_with_ram(void)
{
	uint64_t present = 0;
	struct ram_range r;

	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size)
		present |= 1ULL << r.node;
	return present;
}

static void orders_are_by_distance(struct kunit *test)
{
	for (unsigned from = 0; from < PORT_MAX_NODES; from++) {
		const struct node_order *order = numa_order(from);
		uint64_t seen = 0;

		for (unsigned i = 0; i < order->n; i++) {
			KUNIT_EXPECT_FALSE(test, seen >> order->node[i] & 1);
			seen |= 1ULL << order->node[i];
			if (i)
				KUNIT_EXPECT_LE(test, numa_distance(from, order->node[i - 1]),
						numa_distance(from, order->node[i]));
		}
		/* A node whose memory has left stays in the orders. */
		KUNIT_EXPECT_EQ(test, nodes_with_ram() & ~seen, 0);
		if (nodes_with_ram() >> from & 1)
			KUNIT_EXPECT_EQ(test, order->node[0], from);
	}
}

/* Each end of each range, holes or not, is served as memory of its node. */
static void ranges_are_their_nodes(struct kunit *test)
{
	struct ram_range r;

	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size) {
		phys_addr_t ends[] = { r.base, r.base + r.size - FRAME_SIZE };

		for (unsigned i = 0; r.use == MEM_USE_FREE && i < 2; i++) {
			void *p = page_alloc_range(1, 0, ends[i], ends[i] + FRAME_SIZE, GFP_KERNEL);
			const struct chunk *chunk = chunk_find(&main_map.index, ends[i]);

			if (!p)
				continue; /* somebody has it */
			KUNIT_EXPECT_EQ(test, virt_to_phys(p), ends[i]);
			KUNIT_EXPECT_EQ(test, chunk->node, r.node);
			free_pages_exact(p, FRAME_SIZE);
		}
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* ---- On each CPU ---- */

struct answer {
	unsigned single, run, chunk, strict;
};

static void ask(void *arg)
{
	struct answer *a = arg;
	void *p = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);
	void *q = alloc_pages_exact(100 * FRAME_SIZE, GFP_KERNEL);
	void *c = page_alloc_range(P, CHUNK_SIZE, 0, ~0ULL, GFP_KERNEL);
	void *s = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL | __GFP_THISNODE);

	*a = (struct answer){ node_of(p), node_of(q), node_of(c), node_of(s) };
	free_pages_exact(p, FRAME_SIZE);
	free_pages_exact(q, 100 * FRAME_SIZE);
	free_pages_exact(c, CHUNK_SIZE);
	free_pages_exact(s, FRAME_SIZE);
}

static struct answer ask_on(struct kunit *test, unsigned cpu)
{
	struct answer a = { NOWHERE, NOWHERE, NOWHERE, NOWHERE };
	struct task *t = task_start(cpu, ask, &a, "ask");

	KUNIT_ASSERT_NOT_NULL(test, t);
	task_join(t);
	return a;
}

static void nearest_first(struct kunit *test)
{
	mm_drain();
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		unsigned home = numa_node_of(cpu), nearest = numa_order(home)->node[0];
		struct answer a;

		if (available_on(nearest) < 64 * P)
			continue;
		a = ask_on(test, cpu);
		KUNIT_EXPECT_EQ_MSG(test, a.single, nearest, "CPU %u", cpu);
		KUNIT_EXPECT_EQ_MSG(test, a.run, nearest, "CPU %u", cpu);
		KUNIT_EXPECT_EQ_MSG(test, a.chunk, nearest, "CPU %u", cpu);
		/* A node without memory has none to give. */
		KUNIT_EXPECT_EQ_MSG(test, a.strict, nearest == home ? home : NOWHERE, "CPU %u",
				    cpu);
	}
}

/* ---- A node that is used up ---- */

struct hoard {
	struct hoard *next;
	size_t size;
};

/* Nothing is left in caches; requests for one node do not fill them. */
static struct hoard *take_node(void)
{
	struct hoard *all = NULL;

	for (size_t size = 16UL << 20; size >= FRAME_SIZE; size /= 2) {
		struct hoard *h;

		while ((h = alloc_pages_exact(size, GFP_ATOMIC | __GFP_THISNODE))) {
			h->next = all;
			h->size = size;
			all = h;
		}
	}
	return all;
}

static void next_by_distance(struct kunit *test)
{
	unsigned home = numa_node_of(this_cpu());
	const struct node_order *order = numa_order(home);
	struct hoard *all, *next;
	unsigned second = 1;
	void *p;

	/* Nodes whose memory has left are still in the order. */
	while (second < order->n && available_on(order->node[second]) < 64 * P)
		second++;
	if (second >= order->n || order->node[0] != home)
		kunit_skip(test, "one node");
	if (available_on(home) << FRAME_SHIFT > EXHAUST_MAX)
		kunit_skip(test, "too much memory to take it all");
	mm_drain();
	all = take_node();
	for (struct hoard *h = all; h; h = h->next)
		KUNIT_ASSERT_EQ(test, node_of(h), home);
	KUNIT_EXPECT_NULL(test, alloc_pages_exact(FRAME_SIZE, GFP_KERNEL | __GFP_THISNODE));
	p = alloc_pages_exact(100 * FRAME_SIZE, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, node_of(p), order->node[second]);
	free_pages_exact(p, 100 * FRAME_SIZE);
	p = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, node_of(p), order->node[second]);
	free_pages_exact(p, FRAME_SIZE);
	for (; all; all = next) {
		next = all->next;
		free_pages_exact(all, all->size);
	}
	mm_drain();
	p = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, node_of(p), home);
	free_pages_exact(p, FRAME_SIZE);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct kunit_case numa_cases[] = {
	KUNIT_CASE(orders_are_by_distance),
	KUNIT_CASE(ranges_are_their_nodes),
	KUNIT_CASE(nearest_first),
	KUNIT_CASE(next_by_distance),
	{},
};

static struct kunit_suite numa_suite = {
	.name = "numa_heap",
	.test_cases = numa_cases,
};
kunit_test_suite(numa_suite);
