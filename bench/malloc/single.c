// SPDX-License-Identifier: MIT
/*
 * One thread: pairs, batches, a live set of mixed sizes, trees, calloc, realloc,
 * alignment, large blocks. An operation is one allocation with its free, but in
 * the realloc cases, where it is one realloc.
 */
#define _GNU_SOURCE
#include "bench/malloc/bench.h"

#include <string.h>

/* ---- Pairs ---- */

static void pair_round(struct bench *b)
{
	size_t size = b->arg;

	for (uint64_t i = b->ops; i; i--)
		free(bench_touch(malloc(size)));
}

static void calloc_round(struct bench *b)
{
	size_t size = b->arg;

	for (uint64_t i = b->ops; i; i--)
		free(bench_touch(calloc(1, size)));
}

/* Cleared memory is wanted for use: a byte of each page is written. */
static void calloc_pages_round(struct bench *b)
{
	for (uint64_t i = b->ops; i; i--) {
		char *p = bench_touch(calloc(1, b->arg));

		for (size_t at = 0; at < b->arg; at += 4096)
			((volatile char *)p)[at] = 1;
		free(p);
	}
}

/* Sizes from a fixed random sequence: the class is not known to any predictor. */
static void random_pair_round(struct bench *b)
{
	for (uint64_t i = b->ops; i; i--)
		free(bench_touch(malloc(bench_size(&b->rng))));
}

static void aligned_pair_round(struct bench *b)
{
	size_t align = b->arg, size = b->live;

	for (uint64_t i = b->ops; i; i--)
		free(bench_touch(aligned_alloc(align, size)));
}

/* A few frames deep: allocate some, free them in reverse, as nested calls do. */
static void nested_round(struct bench *b)
{
	void *p[8];

	for (uint64_t i = b->ops / 8; i; i--) {
		for (unsigned k = 0; k < 8; k++)
			p[k] = bench_touch(malloc(b->arg));
		for (unsigned k = 8; k; k--)
			free(p[k - 1]);
	}
}

/* ---- Batches: @live objects, then all freed, in an order ---- */

struct batch {
	void **object;
	uint32_t *order; /* the k-th to be freed */
};

static void batch_prepare(struct bench *b)
{
	struct batch *s = b->state = bench_memory(sizeof(*s));

	s->object = bench_memory(b->live * sizeof(*s->object));
	s->order = bench_memory(b->live * sizeof(*s->order));
	for (uint32_t i = 0; i < b->live; i++)
		s->order[i] = i;
}

static void batch_prepare_reverse(struct bench *b)
{
	struct batch *s;

	batch_prepare(b);
	s = b->state;
	for (uint32_t i = 0; i < b->live; i++)
		s->order[i] = (uint32_t)b->live - 1 - i;
}

static void batch_prepare_random(struct bench *b)
{
	struct batch *s;

	batch_prepare(b);
	s = b->state;
	for (size_t i = b->live; i > 1; i--) {
		size_t j = bench_below(&b->rng, i);
		uint32_t t = s->order[i - 1];

		s->order[i - 1] = s->order[j];
		s->order[j] = t;
	}
}

static void batch_round(struct bench *b)
{
	struct batch *s = b->state;

	for (uint64_t done = 0; done < b->ops; done += b->live) {
		for (size_t i = 0; i < b->live; i++)
			s->object[i] = bench_touch(malloc(b->arg));
		for (size_t i = 0; i < b->live; i++)
			free(s->object[s->order[i]]);
	}
}

static void aligned_batch_round(struct bench *b)
{
	struct batch *s = b->state;

	for (uint64_t done = 0; done < b->ops; done += b->live) {
		for (size_t i = 0; i < b->live; i++)
			s->object[i] = bench_touch(aligned_alloc(64, b->arg));
		for (size_t i = 0; i < b->live; i++)
			free(s->object[s->order[i]]);
	}
}

/* ---- A live set: each operation frees a random one and allocates another ---- */

static void mixed_prepare(struct bench *b)
{
	void **object = b->state = bench_memory(b->live * sizeof(*object));

	for (size_t i = 0; i < b->live; i++)
		object[i] = bench_touch(malloc(bench_size(&b->rng)));
}

static void mixed_round(struct bench *b)
{
	void **object = b->state;

	for (uint64_t i = b->ops; i; i--) {
		size_t k = bench_below(&b->rng, b->live);

		free(object[k]);
		object[k] = bench_touch(malloc(bench_size(&b->rng)));
	}
}

static size_t large_size(uint64_t *rng)
{
	return (32 * KIB << bench_below(rng, 6)) + bench_below(rng, 32 * KIB);
}

static void large_mixed_prepare(struct bench *b)
{
	void **object = b->state = bench_memory(b->live * sizeof(*object));

	for (size_t i = 0; i < b->live; i++)
		object[i] = bench_touch(malloc(large_size(&b->rng)));
}

static void large_mixed_round(struct bench *b)
{
	void **object = b->state;

	for (uint64_t i = b->ops; i; i--) {
		size_t k = bench_below(&b->rng, b->live);

		free(object[k]);
		object[k] = bench_touch(malloc(large_size(&b->rng)));
	}
}

/* Every page is written: what the system's memory costs is part of it. */
static void large_touch_round(struct bench *b)
{
	for (uint64_t i = b->ops; i; i--) {
		char *p = bench_touch(malloc(b->arg));

		for (size_t at = 0; at < b->arg; at += 4096)
			((volatile char *)p)[at] = 1;
		free(p);
	}
}

/* ---- Binary trees: all the nodes, then all freed, depth first ---- */

struct node {
	struct node *left, *right;
	uint64_t value;
};

static struct node *tree_make(unsigned depth)
{
	struct node *n = bench_touch(malloc(sizeof(*n)));

	n->left = depth ? tree_make(depth - 1) : NULL;
	n->right = depth ? tree_make(depth - 1) : NULL;
	return n;
}

static void tree_free(struct node *n)
{
	if (!n)
		return;
	tree_free(n->left);
	tree_free(n->right);
	free(n);
}

static void tree_round(struct bench *b)
{
	unsigned depth = (unsigned)b->arg;

	for (uint64_t done = 0; done < b->ops; done += (2ULL << depth) - 1)
		tree_free(tree_make(depth));
}

/* ---- realloc: strings that are appended to in turn, and vectors that double ---- */

struct growing {
	char *p;
	size_t size;
};

static void growing_prepare(struct bench *b)
{
	b->state = bench_memory(b->live * sizeof(struct growing));
}

static void grow(struct growing *g, size_t size)
{
	g->p = bench_touch(realloc(g->p, size));
	memset(g->p + g->size, 1, size - g->size);
	g->size = size;
}

static void start_over(struct growing *g)
{
	free(g->p);
	*g = (struct growing){ 0 };
}

static void append_round(struct bench *b)
{
	struct growing *string = b->state;

	for (uint64_t i = 0; i < b->ops; i++) {
		struct growing *g = &string[i % b->live];

		if (g->size > b->arg)
			start_over(g);
		grow(g, g->size + 8 + bench_below(&b->rng, 56));
	}
}

static void double_round(struct bench *b)
{
	struct growing *vector = b->state;

	for (uint64_t i = 0; i < b->ops; i++) {
		struct growing *g = &vector[i % b->live];

		if (g->size >= b->arg)
			start_over(g);
		grow(g, g->size ? 2 * g->size : 32);
	}
}

/* One block that grows by 256 KiB: an allocator may move pages instead of bytes. */
static void extend_round(struct bench *b)
{
	struct growing *g = b->state;

	for (uint64_t i = 0; i < b->ops; i++) {
		if (g->size >= b->arg)
			start_over(g);
		grow(g, g->size + 256 * KIB);
	}
}

/* The least that a process pays for its allocator. */
static void start_round(struct bench *b)
{
	for (uint64_t i = b->ops; i; i--)
		free(bench_touch(malloc(100)));
}

#define PAIR(name_, size, n)                                              \
	{                                                                 \
		.name = name_, .round = pair_round, .arg = size, .ops = n \
	}
#define BATCH(name_, order, size, count)                                                           \
	{                                                                                          \
		.name = name_, .round = batch_round, .prepare = order, .arg = size, .live = count, \
		.ops = ((size) < 1 * KIB ? 100 : 30) * (count), .step = count,                     \
		.holds = (size) * (count) >= 4 * MIB                                               \
	}

struct bench bench_single[] = {
	{ .name = "start", .round = start_round, .ops = 1, .cold = true, .holds = true },
	PAIR("pair/8", 8, 4000000),
	PAIR("pair/16", 16, 4000000),
	PAIR("pair/64", 64, 4000000),
	PAIR("pair/256", 256, 4000000),
	PAIR("pair/1K", 1 * KIB, 4000000),
	PAIR("pair/4K", 4 * KIB, 2000000),
	PAIR("pair/16K", 16 * KIB, 2000000),
	PAIR("pair/32K", 32 * KIB, 2000000),
	PAIR("pair/256K", 256 * KIB, 100000),
	PAIR("pair/1M", 1 * MIB, 100000),
	{ .name = "pair/random", .round = random_pair_round, .ops = 2000000 },
	{ .name = "nested/64", .round = nested_round, .arg = 64, .ops = 4000000, .step = 8 },
	BATCH("batch/16/order", batch_prepare, 16, 10000),
	BATCH("batch/16/reverse", batch_prepare_reverse, 16, 10000),
	BATCH("batch/16/random", batch_prepare_random, 16, 10000),
	BATCH("batch/64/order", batch_prepare, 64, 10000),
	BATCH("batch/64/reverse", batch_prepare_reverse, 64, 10000),
	BATCH("batch/64/random", batch_prepare_random, 64, 10000),
	BATCH("batch/1K/order", batch_prepare, 1 * KIB, 10000),
	BATCH("batch/1K/reverse", batch_prepare_reverse, 1 * KIB, 10000),
	BATCH("batch/1K/random", batch_prepare_random, 1 * KIB, 10000),
	BATCH("batch/16K/random", batch_prepare_random, 16 * KIB, 500),
	{ .name = "mixed/1000",
	  .round = mixed_round,
	  .prepare = mixed_prepare,
	  .live = 1000,
	  .ops = 2000000 },
	{ .name = "mixed/50000",
	  .round = mixed_round,
	  .prepare = mixed_prepare,
	  .live = 50000,
	  .ops = 1000000,
	  .holds = true },
	{ .name = "large/mixed",
	  .round = large_mixed_round,
	  .prepare = large_mixed_prepare,
	  .live = 32,
	  .ops = 20000 },
	{ .name = "large/touch8M",
	  .round = large_touch_round,
	  .arg = 8 * MIB,
	  .ops = 10,
	  .holds = true },
	{ .name = "trees/16",
	  .round = tree_round,
	  .arg = 16,
	  .ops = 500000,
	  .step = (2 << 16) - 1,
	  .holds = true },
	{ .name = "calloc/64", .round = calloc_round, .arg = 64, .ops = 4000000 },
	{ .name = "calloc/4K", .round = calloc_round, .arg = 4 * KIB, .ops = 500000 },
	{ .name = "calloc/64K", .round = calloc_pages_round, .arg = 64 * KIB, .ops = 20000 },
	{ .name = "calloc/1M", .round = calloc_pages_round, .arg = 1 * MIB, .ops = 1000 },
	{ .name = "realloc/append",
	  .round = append_round,
	  .prepare = growing_prepare,
	  .arg = 4 * KIB,
	  .live = 100,
	  .ops = 500000 },
	{ .name = "realloc/double",
	  .round = double_round,
	  .prepare = growing_prepare,
	  .arg = 1 * MIB,
	  .live = 2,
	  .ops = 1000 },
	{ .name = "realloc/extend",
	  .round = extend_round,
	  .prepare = growing_prepare,
	  .arg = 32 * MIB,
	  .live = 1,
	  .ops = 256,
	  .holds = true },
	{ .name = "aligned_pair/64",
	  .round = aligned_pair_round,
	  .arg = 64,
	  .live = 192,
	  .ops = 2000000 },
	{ .name = "aligned_pair/4K",
	  .round = aligned_pair_round,
	  .arg = 4 * KIB,
	  .live = 4 * KIB,
	  .ops = 1000000 },
	{ .name = "aligned_batch/64",
	  .round = aligned_batch_round,
	  .step = 10000,
	  .prepare = batch_prepare_random,
	  .arg = 192,
	  .live = 10000,
	  .ops = 500000 },
	{ 0 },
};
