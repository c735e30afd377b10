// SPDX-License-Identifier: MIT
/*
 * Two threads and more: alone, handing objects over, coming and going, and side
 * by side in cache lines. Wall time counts; an operation is one allocation with
 * its free wherever not said otherwise.
 */
#define _GNU_SOURCE
#include "bench/malloc/bench.h"

#include <pthread.h>
#include <sched.h>

#define LINE 64 /* bytes of a cache line */

/* ---- Each for itself ---- */

static void alone_pair(struct bench *b, unsigned index)
{
	(void)index;
	for (uint64_t i = b->ops / b->threads; i; i--)
		free(bench_touch(malloc(b->arg)));
}

static void alone_pair_round(struct bench *b)
{
	bench_in_threads(b, alone_pair, b->threads);
}

static void alone_mixed(struct bench *b, unsigned index)
{
	void **object = (void **)b->state + index * b->live;
	uint64_t rng = BENCH_SEED + index;

	for (uint64_t i = b->ops / b->threads; i; i--) {
		size_t k = bench_below(&rng, b->live);

		free(object[k]);
		object[k] = bench_touch(malloc(bench_size(&rng)));
	}
	for (size_t k = 0; k < b->live; k++) {
		free(object[k]);
		object[k] = NULL;
	}
}

static void slots_prepare(struct bench *b)
{
	b->state = bench_memory(b->threads * b->live * sizeof(void *));
}

static void alone_mixed_round(struct bench *b)
{
	bench_in_threads(b, alone_mixed, b->threads);
}

/* ---- Producer and consumer: what one allocates the other frees ---- */

#define RING 4096u
#define RING_STEP 64u

struct ring {
	uint64_t head __attribute__((aligned(LINE))); /* written by the producer */
	uint64_t tail __attribute__((aligned(LINE))); /* by the consumer */
	void *slot[RING] __attribute__((aligned(LINE)));
};

static void ring_prepare(struct bench *b)
{
	b->state = bench_memory(sizeof(struct ring));
}

static void produce(struct ring *ring, uint64_t n, uint64_t *rng)
{
	uint64_t head = ring->head;

	for (uint64_t end = head + n; head != end;) {
		while (head - __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) > RING - RING_STEP)
			sched_yield();
		for (unsigned i = 0; i < RING_STEP; i++, head++)
			ring->slot[head % RING] = bench_touch(malloc(bench_size(rng)));
		__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
	}
}

static void consume(struct ring *ring, uint64_t n)
{
	uint64_t tail = ring->tail;

	for (uint64_t end = tail + n; tail != end;) {
		while (__atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) == tail)
			sched_yield();
		for (unsigned i = 0; i < RING_STEP; i++, tail++)
			free(ring->slot[tail % RING]);
		__atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
	}
}

static void handover(struct bench *b, unsigned index)
{
	uint64_t rng = BENCH_SEED, n = b->ops;

	if (index)
		consume(b->state, n);
	else
		produce(b->state, n, &rng);
}

static void handover_round(struct bench *b)
{
	bench_in_threads(b, handover, 2);
}

/* ---- Exchange: each frees what the other has allocated, batch for batch ---- */

#define EXCHANGE 512

struct exchange {
	pthread_barrier_t barrier;
	void *batch[2][EXCHANGE];
};

static void exchange_prepare(struct bench *b)
{
	struct exchange *x = b->state = bench_memory(sizeof(*x));

	if (pthread_barrier_init(&x->barrier, NULL, 2))
		bench_die("no barrier");
}

static void exchange(struct bench *b, unsigned index)
{
	struct exchange *x = b->state;
	uint64_t rng = BENCH_SEED + index;

	for (uint64_t done = 0; done < b->ops / 2; done += EXCHANGE) {
		for (unsigned i = 0; i < EXCHANGE; i++)
			x->batch[index][i] = bench_touch(malloc(bench_size(&rng)));
		pthread_barrier_wait(&x->barrier);
		for (unsigned i = 0; i < EXCHANGE; i++)
			free(x->batch[!index][i]);
		pthread_barrier_wait(&x->barrier);
	}
}

static void exchange_round(struct bench *b)
{
	bench_in_threads(b, exchange, 2);
}

/*
 * ---- A server, after Larson and Krishnan (1998): each thread replaces random
 * ---- objects of its set for a while, ends, and a new thread inherits the set.
 */

#define LARSON_LIVES 4

struct larson {
	unsigned life; /* the sets go round: an heir frees what another thread allocated */
	void *object[];
};

static void larson_prepare(struct bench *b)
{
	b->state = bench_memory(sizeof(struct larson) + b->threads * b->live * sizeof(void *));
}

static void larson_life(struct bench *b, unsigned index)
{
	struct larson *l = b->state;
	void **object = l->object + (index + l->life) % b->threads * b->live;
	uint64_t rng = BENCH_SEED * (index + 3);

	for (uint64_t i = b->ops / b->threads / LARSON_LIVES; i; i--) {
		size_t k = bench_below(&rng, b->live);

		free(object[k]);
		object[k] = bench_touch(malloc(8 + bench_below(&rng, 993)));
	}
}

static void larson_round(struct bench *b)
{
	struct larson *l = b->state;

	for (unsigned i = 0; i < LARSON_LIVES; i++, l->life++)
		bench_in_threads(b, larson_life, b->threads);
}

/* ---- Threads come and go; half of what each allocates outlives it. An operation
 * ---- is a thread.
 */

#define CHURN_OBJECTS 100

static void churn_life(struct bench *b, unsigned index)
{
	void **left = b->state, *own[CHURN_OBJECTS];
	uint64_t rng = BENCH_SEED;

	(void)index;
	for (unsigned i = 0; i < CHURN_OBJECTS; i++)
		own[i] = bench_touch(malloc(bench_size(&rng)));
	for (unsigned i = 0; i < CHURN_OBJECTS; i += 2) {
		left[i / 2] = own[i];
		free(own[i + 1]);
	}
}

static void churn_prepare(struct bench *b)
{
	b->state = bench_memory(CHURN_OBJECTS / 2 * sizeof(void *));
}

static void churn_round(struct bench *b)
{
	void **left = b->state;

	for (uint64_t i = b->ops; i; i--) {
		bench_in_threads(b, churn_life, 1);
		for (unsigned k = 0; k < CHURN_OBJECTS / 2; k++)
			free(left[k]);
	}
}

/*
 * ---- False sharing, after Berger: threads that write small objects of their own
 * ---- must not meet in a cache line. "thrash": an allocator that gives two threads
 * ---- parts of one line loses. "scratch": the objects start side by side, of one
 * ---- thread; one that hands the freed ones to their finders loses. An operation
 * ---- is WRITES writes.
 */

#define WRITES 100u

static void write_to(char *p)
{
	for (unsigned i = 0; i < WRITES; i++)
		++*(volatile char *)p;
}

static void thrash(struct bench *b, unsigned index)
{
	(void)index;
	for (uint64_t i = b->ops / b->threads; i; i--) {
		char *p = bench_touch(malloc(b->arg));

		write_to(p);
		free(p);
	}
}

static void thrash_round(struct bench *b)
{
	bench_in_threads(b, thrash, b->threads);
}

static void scratch(struct bench *b, unsigned index)
{
	void **given = b->state;

	write_to(given[index]);
	free(given[index]);
	thrash(b, index);
}

static void scratch_round(struct bench *b)
{
	void **given = b->state;

	for (unsigned i = 0; i < b->threads; i++)
		given[i] = bench_touch(malloc(b->arg));
	bench_in_threads(b, scratch, b->threads);
}

struct bench bench_threads[] = {
	{ .name = "threads/pair/64",
	  .round = alone_pair_round,
	  .arg = 64,
	  .threads = 2,
	  .ops = 6000000 },
	{ .name = "threads/mixed/1000",
	  .round = alone_mixed_round,
	  .prepare = slots_prepare,
	  .live = 1000,
	  .threads = 2,
	  .ops = 3000000 },
	{ .name = "handover",
	  .round = handover_round,
	  .step = RING_STEP,
	  .prepare = ring_prepare,
	  .threads = 2,
	  .ops = 1000000,
	  .holds = true },
	{ .name = "exchange",
	  .round = exchange_round,
	  .step = 2 * EXCHANGE,
	  .prepare = exchange_prepare,
	  .threads = 2,
	  .ops = 1000000 },
	{ .name = "larson",
	  .round = larson_round,
	  .prepare = larson_prepare,
	  .live = 5000,
	  .threads = 2,
	  .ops = 1000000,
	  .holds = true },
	{ .name = "churn",
	  .round = churn_round,
	  .prepare = churn_prepare,
	  .threads = 2,
	  .ops = 500 },
	{ .name = "scratch/8",
	  .round = scratch_round,
	  .prepare = slots_prepare,
	  .live = 1,
	  .arg = 8,
	  .threads = 2,
	  .ops = 200000 },
	{ .name = "thrash/8", .round = thrash_round, .arg = 8, .threads = 2, .ops = 200000 },
	{ 0 },
};
