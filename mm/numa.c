// SPDX-License-Identifier: MIT
/*
 * NUMA: distances between nodes, and the order in which each node's CPUs ask
 * for memory: nearest first, among equals who came first: at the start in the order
 * of their numbers.
 */
#include <spanheap/boot.h>

#include "lib/spinlock.h"
#include "mm/numa.h"

#define DISTANCE_LOCAL 10
#define DISTANCE_REMOTE 20

static uint8_t distances[PORT_MAX_NODES][PORT_MAX_NODES]; /* 0: not told */
static uint8_t cpu_node[PORT_MAX_CPUS];
static struct node_order orders[PORT_MAX_NODES];
static struct spinlock orders_lock; /* of who adds a node; readers need none */

int mm_set_node_distance(int a, int b, unsigned distance)
{
	if (a < 0 || a >= PORT_MAX_NODES || b < 0 || b >= PORT_MAX_NODES ||
	    distance < DISTANCE_LOCAL || distance > 255 || (a == b && distance != DISTANCE_LOCAL))
		return -EINVAL;
	distances[a][b] = (uint8_t)distance;
	return 0;
}

int mm_set_cpu_node(unsigned cpu, int node)
{
	if (cpu >= PORT_MAX_CPUS || node < 0 || node >= PORT_MAX_NODES)
		return -EINVAL;
	cpu_node[cpu] = (uint8_t)node;
	return 0;
}

unsigned numa_distance(unsigned a, unsigned b)
{
	if (distances[a][b])
		return distances[a][b];
	return a == b ? DISTANCE_LOCAL : DISTANCE_REMOTE;
}

/*
 * Insert in front of the first node that is farther away. The last one is doubled
 * first, then each moves up from behind, towards where readers go: whenever they
 * look, nobody is missing.
 */
static void insert(struct node_order *order, unsigned from, unsigned node)
{
	unsigned at = order->n, away = numa_distance(from, node);

	/* Never so: it bounds what the compiler thinks of. */
	if (at >= ARRAY_SIZE(order->node))
		return;
	atomic_store(&order->node[at], at ? order->node[at - 1] : (uint8_t)node);
	atomic_store(&order->n, (uint8_t)(at + 1));
	for (; at && numa_distance(from, order->node[at - 1]) > away; at--)
		atomic_store(&order->node[at], order->node[at - 1]);
	atomic_store(&order->node[at], (uint8_t)node);
}

void numa_init(uint64_t present)
{
	for (unsigned from = 0; from < PORT_MAX_NODES; from++)
		orders[from].n = 0;
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		if (present >> node & 1)
			numa_add_node(node);
}

/* orders_lock is held. */
static bool is_known(unsigned node)
{
	for (unsigned i = 0; i < orders[0].n; i++)
		if (orders[0].node[i] == node)
			return true;
	return false;
}

void numa_add_node(unsigned node)
{
	unsigned long flags = spin_lock_irqsave(&orders_lock);
	bool known = is_known(node);

	for (unsigned from = 0; from < PORT_MAX_NODES && !known; from++)
		insert(&orders[from], from, node);
	spin_unlock_irqrestore(&orders_lock, flags);
}

const struct node_order *numa_order(unsigned node)
{
	return &orders[node];
}

unsigned numa_node_of(unsigned cpu)
{
	return cpu < PORT_MAX_CPUS ? cpu_node[cpu] : 0;
}
