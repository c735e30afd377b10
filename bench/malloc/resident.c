// SPDX-License-Identifier: MIT
/*
 * How much memory is held for how much in use: programs whose sizes change, and
 * that shrink. Besides time and peak these print
 *
 *	.live	resident/live	at the end of the story: resident bytes of the process
 *				for each byte it asked for and has not freed
 *	.left	KiB		resident when all is freed
 *
 * After the story each makes a fixed number of small pairs: an allocator that gives
 * memory back in passing, by count or by clock, has its occasion. An operation is
 * one allocation of the story with its free.
 */
#include "bench/malloc/bench.h"

#include <time.h>

#define AFTERWARDS 200000
#define OBJECTS_MAX 1000000

struct object {
	void *p;
	size_t size;
};

struct heap {
	size_t n, adds, live_bytes, live_after, resident_after, left_after;
	struct object object[OBJECTS_MAX];
};

static void heap_prepare(struct bench *b)
{
	b->state = bench_memory(sizeof(struct heap));
}

static void heap_add(struct heap *h, size_t size)
{
	char *p = bench_touch(malloc(size));

	if (h->n == OBJECTS_MAX)
		bench_die("more than %d objects", OBJECTS_MAX);
	for (size_t at = 0; at < size; at += 512)
		((volatile char *)p)[at] = 1;
	h->object[h->n++] = (struct object){ .p = p, .size = size };
	h->live_bytes += size;
	h->adds++;
}

/* The last one takes the place of the one removed. */
static void heap_remove(struct heap *h, size_t k)
{
	free(h->object[k].p);
	h->live_bytes -= h->object[k].size;
	h->object[k] = h->object[--h->n];
}

static void heap_fill(struct bench *b, size_t bytes, size_t low, size_t high)
{
	struct heap *h = b->state;

	while (h->live_bytes < bytes)
		heap_add(h, low + bench_below(&b->rng, high - low + 1));
}

static void heap_thin_out(struct bench *b, size_t bytes)
{
	struct heap *h = b->state;

	while (h->live_bytes > bytes)
		heap_remove(h, bench_below(&b->rng, h->n));
}

static void afterwards(void)
{
	struct timespec pause = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < AFTERWARDS; i++) {
		free(bench_touch(malloc(16 + i % 64 * 16)));
		if (i % (AFTERWARDS / 50) == 0)
			nanosleep(&pause, NULL);
	}
}

static void heap_measure(struct bench *b)
{
	struct heap *h = b->state;

	b->ops = h->adds;
	afterwards();
	h->resident_after = bench_resident_kib();
	h->live_after = h->live_bytes;
	while (h->n)
		heap_remove(h, h->n - 1);
	afterwards();
	h->left_after = bench_resident_kib();
}

/* What the harness itself holds is no allocator's: its array, as far as it was used. */
static void heap_finish(struct bench *b)
{
	struct heap *h = b->state;
	size_t own = 0;

	for (size_t i = 0; i < OBJECTS_MAX && h->object[i].size; i += 4096 / sizeof(*h->object))
		own += 4;
	bench_figure(".live", "resident/live",
		     (double)((h->resident_after - own) * KIB) / (double)h->live_after);
	bench_figure(".left", "KiB", (double)(h->left_after - own));
}

/* Small objects, of which a tenth stays; then the memory is wanted for larger ones. */
static void phase_round(struct bench *b)
{
	heap_fill(b, b->arg, 16, 256);
	heap_thin_out(b, b->arg / 10);
	heap_fill(b, b->arg, 300, 2000);
	heap_measure(b);
}

/* Ever larger objects replace random ones, the bytes in use stay. */
static void drift_round(struct bench *b)
{
	struct heap *h = b->state;

	heap_fill(b, b->arg, 16, 64);
	for (size_t size = 64; size <= 4096; size *= 2) {
		for (size_t turned = 0; turned < b->arg;) {
			size_t next = size / 2 + bench_below(&b->rng, size) + 1;

			heap_add(h, next);
			heap_thin_out(b, b->arg);
			turned += next;
		}
	}
	heap_measure(b);
}

/* A peak, of which little stays, strewn over all of it. */
static void shrink_round(struct bench *b)
{
	struct heap *h = b->state;

	while (h->live_bytes < b->arg)
		heap_add(h, bench_size(&b->rng));
	heap_thin_out(b, b->arg / 50);
	heap_measure(b);
}

/* Requests, each with objects of its own that go with it, and a few that stay a while. */
static void requests_round(struct bench *b)
{
	struct heap *h = b->state;
	size_t kept;

	for (unsigned request = 0; request < 2000; request++) {
		kept = h->n;
		for (unsigned i = 0; i < 300; i++)
			heap_add(h, bench_size(&b->rng));
		heap_add(h, 16 * KIB + bench_below(&b->rng, 48 * KIB));
		while (h->n > kept + 8)
			heap_remove(h, kept + bench_below(&b->rng, h->n - kept));
		heap_thin_out(b, b->arg);
	}
	heap_measure(b);
}

#define STORY(name_, fn, bytes)                                                             \
	{                                                                                   \
		.name = name_, .round = fn, .prepare = heap_prepare, .finish = heap_finish, \
		.arg = bytes, .holds = true, .cold = true                                   \
	}

struct bench bench_resident[] = {
	STORY("resident/phase", phase_round, 24 * MIB),
	STORY("resident/drift", drift_round, 16 * MIB),
	STORY("resident/shrink", shrink_round, 48 * MIB),
	STORY("resident/requests", requests_round, 8 * MIB),
	{ 0 },
};
