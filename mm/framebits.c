// SPDX-License-Identifier: MIT
/* The free and end bits of a chunk's frames; see framebits.h. */
#include "mm/framebits.h"

/* The frames of [first, first + n) that lie in word w, as a mask. */
static uint64_t part_of_word(unsigned w, unsigned first, unsigned n)
{
	unsigned lo = MAX(first, w * 64), hi = MIN(first + n, w * 64 + 64);

	return mask_range(lo - w * 64, hi - lo);
}

#define for_each_word(w, mask, first, n)                                                           \
	for (unsigned w = (first) / 64; w <= ((first) + (n) - 1) / 64; w++)                        \
		for (uint64_t mask = part_of_word(w, first, n); mask; mask = 0)

/* Multiples of 2^i. */
static const uint64_t multiples[] = {
	~0ULL,		      0x5555555555555555ULL, 0x1111111111111111ULL, 0x0101010101010101ULL,
	0x0001000100010001ULL, 0x0000000100000001ULL, 1,
};

unsigned word_find_run(uint64_t bits, unsigned n, unsigned align)
{
	unsigned length = 1;

	for (; 2 * length <= n; length *= 2)
		bits &= bits >> length;
	if (length < n)
		bits &= bits >> (n - length);
	return ctz64(bits & multiples[ctz64(align)]);
}

unsigned chunk_next_run(const struct chunk *chunk, unsigned *at)
{
	unsigned from = *at, to;
	uint64_t free = 0;

	for (; from < CHUNK_FRAMES; from = round_down(from, 64) + 64) {
		free = word_free(&chunk->word[from / 64]) & ~mask_low(from % 64);
		if (free)
			break;
	}
	if (from >= CHUNK_FRAMES) {
		*at = CHUNK_FRAMES;
		return 0;
	}
	from = (unsigned)round_down(from, 64) + ctz64(free);
	for (to = from; to < CHUNK_FRAMES; to = (unsigned)round_down(to, 64) + 64) {
		uint64_t taken = ~word_free(&chunk->word[to / 64]) & ~mask_low(to % 64);

		if (taken) {
			to = (unsigned)round_down(to, 64) + ctz64(taken);
			break;
		}
	}
	*at = from;
	return to - from;
}

void chunk_take(struct chunk *chunk, unsigned first, unsigned n, bool last)
{
	unsigned tail = first + n - 1;

	if (last)
		atomic_or(&chunk->word[tail / 64].end, 1ULL << tail % 64);
	if (n == CHUNK_FRAMES) {
		for (unsigned w = 0; w < CHUNK_WORDS; w++)
			atomic_and(&chunk->word[w].free, 0);
		return;
	}
	for_each_word(w, mask, first, n)
		atomic_and(&chunk->word[w].free, ~mask);
}

void chunk_put(struct chunk *chunk, unsigned first, unsigned n, bool last)
{
	unsigned tail = first + n - 1;

	if (n == CHUNK_FRAMES)
		for (unsigned w = 0; w < CHUNK_WORDS; w++)
			atomic_or(&chunk->word[w].free, ~0ULL);
	else
		for_each_word(w, mask, first, n)
			atomic_or(&chunk->word[w].free, mask);
	if (last)
		atomic_and(&chunk->word[tail / 64].end, ~(1ULL << tail % 64));
}

void chunk_offer(struct chunk *chunk, unsigned first, unsigned n)
{
	for_each_word(w, mask, first, n)
		atomic_and(&chunk->word[w].end, ~mask);
}

void chunk_withhold(struct chunk *chunk, unsigned first, unsigned n)
{
	for_each_word(w, mask, first, n)
		atomic_or(&chunk->word[w].end, mask);
}

unsigned chunk_run_length(const struct chunk *chunk, unsigned first)
{
	for (unsigned at = first; at < CHUNK_FRAMES; at = (unsigned)round_down(at, 64) + 64) {
		const struct frame_word *word = &chunk->word[at / 64];
		uint64_t stop = (atomic_load_relaxed(&word->free) |
				 atomic_load_relaxed(&word->end)) & ~mask_low(at % 64);

		if (stop) {
			at = (unsigned)round_down(at, 64) + ctz64(stop);
			/* The last frame belongs to the run, a free one does not. */
			return at - first + (frame_use(chunk, at) == FRAME_LAST);
		}
	}
	return CHUNK_FRAMES - first;
}

unsigned chunk_count_free(const struct chunk *chunk)
{
	unsigned n = 0;

	for (unsigned w = 0; w < CHUNK_WORDS; w++)
		n += popcount64(word_free(&chunk->word[w]));
	return n;
}

unsigned chunk_count_used(const struct chunk *chunk)
{
	unsigned n = 0;

	if (chunk_is_free_whole(chunk))
		return 0;
	for (unsigned w = 0; w < CHUNK_WORDS; w++)
		n += popcount64(~atomic_load_relaxed(&chunk->word[w].free));
	return n;
}
