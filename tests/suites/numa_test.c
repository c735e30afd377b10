// SPDX-License-Identifier: MIT
/*
 * NUMA: the order of nodes by distance; memory from the node that was asked for.
 * The orders are the machine's own: what a case changes it puts back, and where
 * the firmware may have told distances it changes nothing.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>

#include "lib/atomic.h"
#include "lib/bits.h"
#include "mm/memmap.h"
#include "mm/numa.h"

#define F FRAME_SIZE

static uint64_t present;

static int numa_suite_init(struct kunit_suite *suite)
{
	const struct node_order *order = numa_order(0);

	(void)suite;
	present = 0;
	for (unsigned i = 0; i < order->n; i++)
		present |= 1ULL << order->node[i];
	return present ? 0 : -ENOENT;
}

static void expect_order(struct kunit *test, unsigned from, const char *want)
{
	const struct node_order *order = numa_order(from);

	for (unsigned i = 0; i < order->n && want[i]; i++)
		KUNIT_EXPECT_EQ_MSG(test, order->node[i], want[i] - '0', "from %u, place %u", from,
				    i);
	KUNIT_EXPECT_EQ(test, want[order->n], 0);
}

static void tell_defaults(void)
{
	for (int a = 0; a < PORT_MAX_NODES; a++)
		for (int b = 0; b < PORT_MAX_NODES; b++)
			mm_set_node_distance(a, b, a == b ? 10 : 20);
}

static void orders_by_distance(struct kunit *test)
{
	if (present & (present - 1))
		kunit_skip(test, "several nodes: their distances are the firmware's");
	tell_defaults();
	numa_init(0xf);
	expect_order(test, 0, "0123");
	expect_order(test, 2, "2013");
	expect_order(test, 3, "3012");
	/* A node without memory of its own asks the others. */
	expect_order(test, 5, "0123");
	mm_set_node_distance(0, 3, 11);
	mm_set_node_distance(0, 1, 31);
	mm_set_node_distance(2, 0, 255);
	numa_init(0xf);
	expect_order(test, 0, "0321");
	expect_order(test, 1, "1023");
	expect_order(test, 2, "2130");
	numa_init(0xa);
	expect_order(test, 0, "31");
	expect_order(test, 1, "13");
	numa_init(1ULL << (PORT_MAX_NODES - 1));
	KUNIT_EXPECT_EQ(test, numa_order(0)->n, 1);
	KUNIT_EXPECT_EQ(test, numa_order(0)->node[0], PORT_MAX_NODES - 1);
	tell_defaults();
	numa_init(present);
}

/* Nodes that come later: nearer ones are asked first all the same. */
static void nodes_that_come_later(struct kunit *test)
{
	if (present & (present - 1))
		kunit_skip(test, "several nodes: their distances are the firmware's");
	tell_defaults();
	mm_set_node_distance(0, 2, 15);
	numa_init(0x1);
	numa_add_node(1);
	expect_order(test, 0, "01");
	numa_add_node(2);
	expect_order(test, 0, "021");
	numa_add_node(2);
	expect_order(test, 0, "021");
	expect_order(test, 1, "102");
	expect_order(test, 2, "201");
	tell_defaults();
	numa_init(present);
}

#define ROUNDS 3000

static uint32_t round_begun, round_done;

static void add_second_node(void *arg)
{
	(void)arg;
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		while (atomic_load(&round_begun) < round)
			port_relax();
		numa_add_node(2);
		atomic_store(&round_done, round);
	}
}

/* Two CPUs add memory of two new nodes at once: neither is lost. */
static void nodes_that_come_at_once(struct kunit *test)
{
	struct task *other;
	unsigned lost = 0;

	if (present & (present - 1))
		kunit_skip(test, "several nodes: their distances are the firmware's");
	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	atomic_store(&round_begun, 0);
	atomic_store(&round_done, 0);
	other = task_start((this_cpu() + 1) % cpu_count(), add_second_node, NULL, "node");
	KUNIT_ASSERT_NOT_NULL(test, other);
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		numa_init(0x1);
		atomic_store(&round_begun, round);
		numa_add_node(1);
		while (atomic_load(&round_done) < round)
			port_relax();
		for (unsigned from = 0; from < 3; from++)
			lost += node_order_size(numa_order(from)) != 3;
	}
	task_join(other);
	KUNIT_EXPECT_EQ(test, lost, 0);
	numa_init(present);
}

static void refuses_nonsense(struct kunit *test)
{
	unsigned node = numa_node_of(0);

	KUNIT_EXPECT_EQ(test, mm_set_node_distance(-1, 0, 20), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_node_distance(0, -1, 20), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_node_distance(PORT_MAX_NODES, 0, 20), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_node_distance(0, PORT_MAX_NODES, 20), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_node_distance(0, 1, 9), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_node_distance(0, 1, 256), -EINVAL);
	/* No node is farther from itself than "here". */
	KUNIT_EXPECT_EQ(test, mm_set_node_distance(1, 1, 11), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_node_distance(1, 1, 10), 0);
	KUNIT_EXPECT_EQ(test, mm_set_cpu_node(PORT_MAX_CPUS, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_cpu_node(0, -1), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_set_cpu_node(0, PORT_MAX_NODES), -EINVAL);
	KUNIT_EXPECT_EQ(test, numa_node_of(0), node);
	KUNIT_EXPECT_EQ(test, numa_node_of(PORT_MAX_CPUS), 0);
}

/* Every node once, the own one first if it has memory. */
static void orders_of_the_machine(struct kunit *test)
{
	for (unsigned from = 0; from < PORT_MAX_NODES; from++) {
		const struct node_order *order = numa_order(from);
		uint64_t seen = 0;

		for (unsigned i = 0; i < order->n; i++)
			seen |= 1ULL << order->node[i];
		KUNIT_EXPECT_EQ(test, seen, present);
		KUNIT_EXPECT_EQ(test, order->n, popcount64(present));
		if (present >> from & 1)
			KUNIT_EXPECT_EQ(test, order->node[0], from);
	}
}

static unsigned node_of(const void *p)
{
	struct ram_range r;

	return memmap_range(&main_map, virt_to_phys(p), &r) ? r.node : ~0U;
}

/* __GFP_THISNODE is the node of the CPU that asks, or nothing. */
static void this_node_or_nothing(struct kunit *test)
{
	unsigned cpu = this_cpu(), home = numa_node_of(cpu);

	for (unsigned node = 0; node < PORT_MAX_NODES; node++) {
		static const size_t sizes[] = { F, 3 * F, CHUNK_SIZE };

		KUNIT_ASSERT_EQ(test, mm_set_cpu_node(cpu, (int)node), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			void *p = alloc_pages_exact(sizes[i], GFP_KERNEL | __GFP_THISNODE);

			if (!(present >> node & 1))
				KUNIT_EXPECT_NULL(test, p);
			else if (p)
				KUNIT_EXPECT_EQ(test, node_of(p), node);
			free_pages_exact(p, sizes[i]);
		}
	}
	mm_set_cpu_node(cpu, (int)home);
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* Frames of each node come back to that node's heap. */
static void every_node_has_a_heap(struct kunit *test)
{
	struct ram_range r;

	for (phys_addr_t at = 0; memmap_range(&main_map, at, &r); at = r.base + r.size) {
		void *p;

		if (r.use != MEM_USE_FREE)
			continue;
		p = page_alloc_range(1, 0, r.base, r.base + r.size, GFP_KERNEL);
		if (!p)
			continue;
		KUNIT_EXPECT_GE(test, virt_to_phys(p), r.base);
		KUNIT_EXPECT_LT(test, virt_to_phys(p), r.base + r.size);
		KUNIT_EXPECT_EQ(test, node_of(p), r.node);
		free_pages_exact(p, F);
		mm_drain();
		KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
}

static struct kunit_case numa_cases[] = {
	KUNIT_CASE(orders_by_distance),	     KUNIT_CASE(nodes_that_come_later),
	KUNIT_CASE(nodes_that_come_at_once), KUNIT_CASE(refuses_nonsense),
	KUNIT_CASE(orders_of_the_machine),   KUNIT_CASE(this_node_or_nothing),
	KUNIT_CASE(every_node_has_a_heap),   {},
};

static struct kunit_suite numa_suite = {
	.name = "numa",
	.suite_init = numa_suite_init,
	.test_cases = numa_cases,
};
kunit_test_suite(numa_suite);
