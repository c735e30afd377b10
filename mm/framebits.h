/* SPDX-License-Identifier: MIT */
/*
 * The free and end bits of a chunk's frames; arena.h tells what they mean.
 *
 * All changes are atomic per word, because the free bits of cached frames
 * change without the heap's lock; and the last frame of a run goes over (1,1),
 * so that nobody sees it as the middle of a run while it changes hands.
 */
#ifndef MM_FRAMEBITS_H
#define MM_FRAMEBITS_H

#include "mm/arena.h"

/** enum frame_use - the four meanings of a frame's two bits, free first. */
enum frame_use { FRAME_INNER = 0, FRAME_LAST = 1, FRAME_FREE = 2, FRAME_HELD = 3 };

/** word_free() - the frames of a word that are free in the page heap. */
static inline uint64_t word_free(const struct frame_word *word)
{
	return atomic_load_relaxed(&word->free) & ~atomic_load_relaxed(&word->end);
}

/**
 * word_singles() - the frames of a word that are runs of one frame each, used or held.
 *
 * Of the word's first frame it cannot be told here: the one before it lies
 * elsewhere. So its bit is never set.
 */
static inline uint64_t word_singles(const struct frame_word *word)
{
	uint64_t end = atomic_load_relaxed(&word->end);

	return end & (atomic_load_relaxed(&word->free) | end) << 1;
}

/** word_edges() - all frames of a word but inner ones. */
static inline uint64_t word_edges(const struct frame_word *word)
{
	return atomic_load_relaxed(&word->free) | atomic_load_relaxed(&word->end);
}

/** word_is_run() - neighbours: used, and a run that ends with them, but where it starts. */
static inline bool word_is_run(const struct frame_word *word, uint64_t run)
{
	uint64_t free = atomic_load_relaxed(&word->free);

	return !(((atomic_load_relaxed(&word->end) ^ ~(run >> 1)) | free) & run);
}

/** word_all_but() - all bits but one; @frame: as below. */
static inline uint64_t word_all_but(uint64_t frame)
{
	return ~1ULL << frame % 64 | ~1ULL >> (-frame % 64);
}

/**
 * word_claim() - the moment in which a used frame becomes free: true for one caller only.
 * @frame: counted from anywhere that is a multiple of 64
 *
 * Its end bit is set, or nobody searches the word meanwhile.
 */
static inline bool word_claim(struct frame_word *word, uint64_t frame)
{
	uint64_t bit = 1ULL << frame % 64;

	return !(atomic_fetch_or(&word->free, bit) & bit);
}

/** lowest_bits() - the @n lowest set bits, or all if there are not so many. */
static inline uint64_t lowest_bits(uint64_t bits, uint64_t n)
{
	uint64_t rest = bits;

	while (rest && n--)
		rest &= rest - 1;
	return bits & ~rest;
}

/**
 * word_find_run() - the lowest run of @n set bits that starts at a multiple of @align.
 * @n, @align: at most 64; @align a power of two
 *
 * Return: where; 64 if there is none.
 */
unsigned word_find_run(uint64_t bits, unsigned n, unsigned align);

/** frame_use() - of one frame. Without the heap's lock only a hint, but for a held frame's holder.
 */
static inline enum frame_use frame_use(const struct chunk *chunk, unsigned frame)
{
	const struct frame_word *word = &chunk->word[frame / 64];

	return (enum frame_use)((atomic_load_relaxed(&word->free) >> frame % 64 & 1) << 1 |
				(atomic_load_relaxed(&word->end) >> frame % 64 & 1));
}

/** chunk_is_free_whole() - is it free although its bits say used? */
static inline bool chunk_is_free_whole(const struct chunk *chunk)
{
	uint8_t whole = atomic_load(&chunk->whole);

	return whole == CHUNK_WHOLE_CACHED || whole == CHUNK_WHOLE_SPARE;
}

/**
 * chunk_next_run() - the next run of free frames.
 * @at: where to start looking; becomes the run's start, or CHUNK_FRAMES
 *
 * Return: its length within the chunk; 0 if there is none.
 */
unsigned chunk_next_run(const struct chunk *chunk, unsigned *at);

/** chunk_take() - free frames become a used run; @last: it ends in this chunk. */
void chunk_take(struct chunk *chunk, unsigned first, unsigned n, bool last);

/** chunk_put() - a used run becomes free; @last: it ends in this chunk. */
void chunk_put(struct chunk *chunk, unsigned first, unsigned n, bool last);

/** chunk_offer() - held frames become free: memory comes to the heap. */
void chunk_offer(struct chunk *chunk, unsigned first, unsigned n);

/** chunk_withhold() - free frames become held: memory leaves the heap, or goes to a cache. */
void chunk_withhold(struct chunk *chunk, unsigned first, unsigned n);

/** chunk_run_length() - frames from @first to the end of its run or of the chunk. */
unsigned chunk_run_length(const struct chunk *chunk, unsigned first);

/** chunk_count_free() - frames that are free in the page heap. */
unsigned chunk_count_free(const struct chunk *chunk);

/** chunk_count_used() - frames that are in used runs; those of a chunk that is free whole are not.
 */
unsigned chunk_count_used(const struct chunk *chunk);

#endif
