/* SPDX-License-Identifier: MIT */
/*
 * What a pair, a batch and a bulk are, in one place. bench/linux/kbench.c counts
 * Linux's allocators by the same definitions, under the same names.
 *
 *	pair	20,000 times allocate and free, after 2,000 to warm up
 *		(200 after 20 for what is dear)
 *	batch	1,000 allocated, then freed in order or shuffled; ten rounds
 *		counted after two
 *	bulk	n in one call, and one call to free them; 200 rounds after 20, and
 *		for n below 16 so many more that as many objects are counted
 *
 * A batch gives one figure a case: the allocations or the frees.
 */
#ifndef BENCH_KERNEL_CASES_H
#define BENCH_KERNEL_CASES_H

#include <kernel/bench.h>
#include "bench/shuffle.h"

#define BENCH_BATCH_SIZE 1000
#define BENCH_BATCH_ROUNDS 10
#define BENCH_BATCH_WARM_UP 2

enum bench_batch { BATCH_ALLOC, BATCH_FREE, BATCH_SHUFFLED_FREE };

static void *bench_objects[BENCH_BATCH_SIZE];

#define BENCH_PAIR(b, ...) KBENCH_LOOP(b, 2000, 20000, __VA_ARGS__)
#define BENCH_DEAR_PAIR(b, ...) KBENCH_LOOP(b, 20, 200, __VA_ARGS__)

/* Count @kind of a batch that @alloc, an expression, and the function @free_one make. */
#define BENCH_BATCH(b, kind, alloc, free_one)                                                    \
	do {                                                                                     \
		uint64_t counted_ = 0, start_, allocs_, frees_;                                  \
                                                                                                 \
		for (int round_ = -BENCH_BATCH_WARM_UP; round_ < BENCH_BATCH_ROUNDS; round_++) { \
			start_ = port_clock();                                                   \
			for (unsigned i_ = 0; i_ < BENCH_BATCH_SIZE; i_++)                       \
				bench_objects[i_] = (alloc);                                     \
			allocs_ = port_clock() - start_;                                         \
			if ((kind) == BATCH_SHUFFLED_FREE)                                       \
				bench_shuffle(bench_objects, BENCH_BATCH_SIZE);                  \
			start_ = port_clock();                                                   \
			for (unsigned i_ = 0; i_ < BENCH_BATCH_SIZE; i_++)                       \
				free_one(bench_objects[i_]);                                     \
			frees_ = port_clock() - start_;                                          \
			if (round_ >= 0)                                                         \
				counted_ += (kind) == BATCH_ALLOC ? allocs_ : frees_;            \
		}                                                                                \
		kbench_report(b, counted_, BENCH_BATCH_SIZE *BENCH_BATCH_ROUNDS);                \
	} while (0)

/*
 * Count @alloc and @free_all, two statements that fill and free the first @n of
 * bench_objects, for each of the n.
 */
#define BENCH_BULK(b, n, alloc, free_all)                                    \
	do {                                                                 \
		int tens_ = (n) < 16 ? 320 / (int)(n) : 20;                  \
		uint64_t start_ = 0;                                         \
                                                                             \
		for (int round_ = -tens_; round_ < 10 * tens_; round_++) {   \
			if (round_ == 0)                                     \
				start_ = port_clock();                       \
			alloc;                                               \
			free_all;                                            \
		}                                                            \
		kbench_report(b, port_clock() - start_, 10UL * tens_ * (n)); \
	} while (0)

#endif
