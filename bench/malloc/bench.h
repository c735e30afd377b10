/* SPDX-License-Identifier: MIT */
/*
 * What a benchmark of malloc is: a state made once, and rounds of the same number
 * of operations upon it. The program runs one case in a process of its own, so that
 * its peak of memory is the case's; bench.py runs it once for each allocator in turn.
 *
 *	prepare()   round() uncounted   round() round() round() timed   finish()
 *
 * The state lies in memory that bench_memory() maps: what the allocator under test
 * holds is the case's own.
 */
#ifndef BENCH_MALLOC_BENCH_H
#define BENCH_MALLOC_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* The random state with which every case starts. */
#define BENCH_SEED 0x9e3779b97f4a7c15ULL

/**
 * struct bench - a case.
 * @name: what FILTER= chooses by
 * @round: makes @ops operations
 * @prepare: fills @state; may be NULL
 * @finish: takes the last figures, frees; may be NULL
 * @ops: operations of a round; a run that counts instructions divides it
 * @step: a round is a multiple of so many, 0 for any number
 * @arg, @live: the case's own: mostly a size in bytes, and a number of live objects
 * @threads: how many it starts; with more than one, wall time counts, else CPU time
 * @holds: its peak of memory is a figure, not only the allocator's start-up
 * @cold: no uncounted round, and one timed: what the first use costs
 */
struct bench {
	const char *name;
	void (*round)(struct bench *b);
	void (*prepare)(struct bench *b);
	void (*finish)(struct bench *b);
	uint64_t ops, step;
	size_t arg, live;
	unsigned threads;
	bool holds, cold;

	void *state;
	uint64_t rng;
};

/* Of each file; the last one has no name. */
extern struct bench bench_single[], bench_threads[], bench_resident[], bench_replay[];

/** bench_random() - xorshift64*, the same on every run. */
static inline uint64_t bench_random(uint64_t *rng)
{
	*rng ^= *rng >> 12;
	*rng ^= *rng << 25;
	*rng ^= *rng >> 27;
	return *rng * 0x2545f4914f6cdd1dULL;
}

/** bench_below() - uniform in 0 .. n - 1. */
static inline size_t bench_below(uint64_t *rng, size_t n)
{
	return (size_t)((bench_random(rng) >> 32) * n >> 32);
}

/**
 * bench_size() - sizes as programs ask for them: 8 B to 2 KiB, half of them at
 * most 64 bytes, each doubling above half as likely as the one before.
 */
static inline size_t bench_size(uint64_t *rng)
{
	uint64_t r = bench_random(rng);
	unsigned doublings = (unsigned)__builtin_ctz((unsigned)(r >> 32) | 32);
	size_t top = (size_t)64 << doublings;

	return doublings ? top / 2 + (uint32_t)r % (top / 2) + 1 : 8 + (uint32_t)r % 57;
}

/** bench_die() - the run cannot go on: say why. */
__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *fmt, ...);

/** bench_touch() - use a new object as its owner would: write into it. */
static inline void *bench_touch(void *p)
{
	if (__builtin_expect(!p, 0))
		bench_die("out of memory");
	*(volatile char *)p = 1;
	return p;
}

/** bench_memory() - zeroed memory that is not the allocator's. */
void *bench_memory(size_t bytes);

/** bench_figure() - print one more figure, of this case or, if @part is not "", of a part of it. */
void bench_figure(const char *part, const char *unit, double value);

/** bench_resident_kib() - of this process now. */
size_t bench_resident_kib(void);

/** bench_in_threads() - run @fn(b, index, 0 .. n - 1) at once, and wait for all. */
void bench_in_threads(struct bench *b, void (*fn)(struct bench *b, unsigned index), unsigned n);

/** bench_trace_file: the argument of --trace=. */
extern const char *bench_trace_file;

#endif
