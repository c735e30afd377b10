/* SPDX-License-Identifier: MIT */
/*
 * The fixed random order in which the shuffled benchmarks free. Our kernel's
 * benchmarks and the Linux module include this same file, so that both free in
 * the same order. It needs no header of either.
 */
#ifndef BENCH_SHUFFLE_H
#define BENCH_SHUFFLE_H

/* Fisher and Yates, fed by Marsaglia's xorshift64: every call gives the same order. */
static inline void bench_shuffle(void **p, unsigned int n)
{
	unsigned long long x = 0x9e3779b97f4a7c15ULL;
	unsigned int i, j;
	void *t;

	for (i = n; i > 1; i--) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		j = (unsigned int)(((x >> 32) * i) >> 32);
		t = p[i - 1];
		p[i - 1] = p[j];
		p[j] = t;
	}
}

#endif
