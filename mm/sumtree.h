/* SPDX-License-Identifier: MIT */
/*
 * Summaries of free memory: where is a run of n free frames, without looking
 * at bitmaps.
 *
 *	root        [ s s s s s s s s ]      one packed summary per child:
 *	              │       └─ ...         longest free run at its start,
 *	node        [ s s s s s s s s ]      anywhere, and at its end
 *	              │
 *	leaf        [ s s s s s s s s ]      each of one chunk, 512 frames
 *
 * A tree of eightfold fan-out over chunk numbers, as in Go's page allocator
 * (runtime/mpagealloc.go), but made of nodes that exist only above chunks of
 * the heap, and as high as the highest of them asks for. Eight summaries are
 * one cache line. A summary of 0 is "nothing free", so absent nodes need no
 * special case.
 *
 * The fields hold up to 2^21 - 1 frames; longer runs say so by that number, and
 * the search then descends to learn more. Bit 63: all of it is free.
 *
 * Locking: the caller's (the node's heap lock).
 * Cost: update and search O(log chunks); the search leaves subtrees out that
 * cannot hold the run.
 */
#ifndef MM_SUMTREE_H
#define MM_SUMTREE_H

#include "mm/memmap.h"

#define SUM_BITS 21
#define SUM_MAX ((1ULL << SUM_BITS) - 1)
#define SUM_FULL (1ULL << 63)
#define SUM_FANOUT 8
#define SUM_NOT_FOUND (~0ULL)

static inline uint64_t sum_pack(uint64_t start, uint64_t max, uint64_t end)
{
	return MIN(start, SUM_MAX) | MIN(max, SUM_MAX) << SUM_BITS |
	       MIN(end, SUM_MAX) << (2 * SUM_BITS);
}

static inline uint64_t sum_start(uint64_t sum)
{
	return sum & SUM_MAX;
}

static inline uint64_t sum_max(uint64_t sum)
{
	return sum >> SUM_BITS & SUM_MAX;
}

static inline uint64_t sum_end(uint64_t sum)
{
	return sum >> (2 * SUM_BITS) & SUM_MAX;
}

/**
 * struct sumnode - eight children.
 * @sum: of each child
 * @parent: NULL for the root
 * @slot: which child of the parent this is
 * @child: absent in a leaf, whose children are chunks
 */
struct sumnode {
	uint64_t sum[SUM_FANOUT];
	struct sumnode *parent;
	uint8_t slot;
	struct sumnode *child[];
};

static_assert(sizeof(struct sumnode) == META_LEAF_SIZE, "meta.h knows the size");
static_assert(sizeof(struct sumnode) + SUM_FANOUT * sizeof(void *) == META_NODE_SIZE,
	      "meta.h knows the size");

/**
 * struct sumtree - one node's heap.
 * @level: 0 if the root is a leaf; the tree covers 8^(level+1) chunks from 0
 */
struct sumtree {
	const struct arena_index *index;
	struct sumnode *root;
	unsigned level;
};

/** chunk_sum() - the summary of a chunk, from its bits. */
uint64_t chunk_sum(const struct chunk *chunk);

/** sum_merge() - the summary of eight neighbours of @frames frames each. */
uint64_t sum_merge(const uint64_t sum[SUM_FANOUT], uint64_t frames);

/**
 * sumtree_leaf() - the leaf above a chunk, made if it is not there.
 *
 * Return: NULL if there is no metadata memory; what was made stays, empty.
 */
struct sumnode *sumtree_leaf(struct sumtree *tree, uint64_t chunk_nr, struct meta_pool *pool);

/**
 * sumtree_put() - a chunk's summary; what is above the leaf is left as it was.
 *
 * Return: does it differ from before? Then sumtree_carry_up() is to follow, once for
 * all chunks of a leaf that have changed.
 */
bool sumtree_put(struct sumnode *leaf, uint64_t chunk_nr, uint64_t sum);

/** sumtree_carry_up() - make what is above a leaf right again. */
void sumtree_carry_up(const struct sumnode *leaf);

/** sumtree_update() - a chunk's bits have changed. */
static inline void sumtree_update(struct sumnode *leaf, uint64_t chunk_nr, uint64_t sum)
{
	if (sumtree_put(leaf, chunk_nr, sum))
		sumtree_carry_up(leaf);
}

/** sumtree_search() - first frame of the lowest run that fits, or SUM_NOT_FOUND. */
uint64_t sumtree_search(const struct sumtree *tree, const struct run_wanted *want);

/** sumtree_last_full() - the highest chunk below @chunk_nr that is all free, or SUM_NOT_FOUND. */
uint64_t sumtree_last_full(const struct sumtree *tree, uint64_t chunk_nr);

/**
 * sumtree_prune() - give back a leaf, and what above it leads nowhere else.
 *
 * Nothing is free in its chunks, and the caller forgets that they had a leaf.
 */
void sumtree_prune(struct sumtree *tree, struct sumnode *leaf, struct meta_pool *pool);

/** sumtree_top() - the summary of everything; 0 for an empty tree. */
uint64_t sumtree_top(const struct sumtree *tree);

/** sumtree_check() - number of inner summaries that are not the merge of their children. */
unsigned sumtree_check(const struct sumtree *tree);

#endif
