/* SPDX-License-Identifier: MIT */
/* Which nodes there are, and in which order a CPU asks them for memory. */
#ifndef MM_NUMA_H
#define MM_NUMA_H

#include <spanheap/port.h>

/**
 * struct node_order - nodes that have memory, nearest first.
 */
struct node_order {
	uint8_t n;
	uint8_t node[PORT_MAX_NODES];
};

/** numa_init() - make the orders for nodes of the set @present (bit n: node n). */
void numa_init(uint64_t present);

/**
 * numa_add_node() - a node has memory now; one that is known already stays as it is.
 *
 * One caller at a time. Who walks an order meanwhile sees all that was in it, and
 * the new one, or one of the others, perhaps twice. Nodes never go.
 */
void numa_add_node(unsigned node);

/** numa_order() - for a node. Any context. */
const struct node_order *numa_order(unsigned node);

/** numa_distance() - how far node @b's memory is from node @a. */
unsigned numa_distance(unsigned a, unsigned b);

/** numa_node_of() - of a CPU. Any context. */
unsigned numa_node_of(unsigned cpu);

#endif
