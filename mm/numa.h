/* SPDX-License-Identifier: MIT */
/* Which nodes there are, and in which order a CPU asks them for memory. */
#ifndef MM_NUMA_H
#define MM_NUMA_H

#include <spanheap/gfp.h>
#include <spanheap/port.h>

#include "lib/atomic.h"
#include "lib/bits.h"

/**
 * struct node_order - nodes that have memory, nearest first.
 *
 * Changes while it is read, see numa_add_node(): by node_order_size() and, for each
 * place once, node_order_at().
 */
struct node_order {
	uint8_t n;
	uint8_t node[PORT_MAX_NODES];
};

/** node_order_size() - how many nodes there are by now. */
static inline unsigned node_order_size(const struct node_order *order)
{
	return atomic_load(&order->n);
}

/** node_order_at() - one of them; @at is less than their number. */
static inline unsigned node_order_at(const struct node_order *order, unsigned at)
{
	return atomic_load_relaxed(&order->node[at]);
}

/** numa_init() - make the orders for nodes of the set @present (bit n: node n). */
void numa_init(uint64_t present);

/**
 * numa_add_node() - a node has memory now; one that is known already stays as it is.
 *
 * Who walks an order meanwhile sees all that was in it, and the new one, or one of
 * the others, perhaps twice. Nodes never go. Any context but NMI.
 */
void numa_add_node(unsigned node);

/** numa_order() - for a node. Any context. */
const struct node_order *numa_order(unsigned node);

/** numa_distance() - how far node @b's memory is from node @a. */
unsigned numa_distance(unsigned a, unsigned b);

/** numa_node_of() - of a CPU. Any context. */
unsigned numa_node_of(unsigned cpu);

/* Inside mm/ the wanted node goes with the flags, above them; without it the running CPU's. */
#define GFP_NODE_SHIFT 24
static_assert(GFP_ALL_FLAGS < 1U << GFP_NODE_SHIFT && PORT_MAX_NODES < 255, "there is room");

/** gfp_for_node() - flags that ask for @node. */
static inline gfp_t gfp_for_node(gfp_t gfp, unsigned node)
{
	return (gfp & GFP_ALL_FLAGS) | (node + 1) << GFP_NODE_SHIFT;
}

/** gfp_has_node() - do they ask for one? */
static inline bool gfp_has_node(gfp_t gfp)
{
	return (gfp >> GFP_NODE_SHIFT) - 1 < PORT_MAX_NODES;
}

/** gfp_node() - the node to start from. */
static inline unsigned gfp_node(gfp_t gfp)
{
	return gfp_has_node(gfp) ? (gfp >> GFP_NODE_SHIFT) - 1 : numa_node_of(port_cpu());
}

#endif
