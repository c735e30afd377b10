/* SPDX-License-Identifier: MIT */
/*
 * A page heap of its own on made-up addresses: nothing is mapped or touched, so
 * that tests may place chunks as they like beside the live heap.
 */
#ifndef TESTS_HEAP_FIXTURE_H
#define TESTS_HEAP_FIXTURE_H

#include <kunit/test.h>

#include "mm/pageheap.h"

/* One window holds all test chunks, and with flat arenas all fit below 4 GiB. */
#ifdef CONFIG_FLAT_ARENAS
#define FIX_WINDOW WINDOW_DMA32
#define FIX_CHUNK0 16
#define FIX_FAR 1900
#else
#define FIX_WINDOW WINDOW_HIGH
#define FIX_CHUNK0 4096
#define FIX_FAR (1UL << 20)
#endif
#define FIX_PFN0 ((uint64_t)FIX_CHUNK0 * CHUNK_FRAMES)

extern struct memmap fix_map;
extern struct pageheap fix_heap;

/* Chunks of the heap: [first, first + n), counted from FIX_CHUNK0; ends with n = 0. */
struct fix_chunks {
	unsigned first, n;
};

/** fix_setup() - a fresh heap over these chunks, all of them free and in the tree. */
void fix_setup(struct kunit *test, const struct fix_chunks *chunks);

/** fix_reserve() - the same, but all still Reserved. */
void fix_reserve(struct kunit *test, const struct fix_chunks *chunks);

/** fix_teardown() - give the metadata memory back. */
void fix_teardown(void);

/* Frame numbers in tests count from FIX_PFN0. */
uint64_t fix_alloc(uint64_t n);
uint64_t fix_alloc_in(uint64_t n, uint64_t align, uint64_t lo, uint64_t hi);
int fix_free(uint64_t frame, uint64_t n);

/** fix_rng() - xorshift64; the state must not be 0. */
static inline uint64_t fix_rng(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
