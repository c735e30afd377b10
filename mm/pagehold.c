// SPDX-License-Identifier: MIT
/* Frames between the page heap and its caches; see pagehold.h. */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/framebits.h"
#include "mm/pagehold.h"

/*
 * Frames on their way back, gathered by words before the lock is taken: in @word,
 * found through a table with open addressing of their numbers there, from 1 on.
 */
#define GATHER 24
#define GATHER_TABLE 64

struct gather {
	uint8_t table[GATHER_TABLE];
	unsigned n;
	struct held_word word[GATHER];
};

/* So many homes of others are passed by before frames are taken there. */
#define HOME_TRIES 16

/* heap->lock is held from here */

/* Free frames of a word become held; the summary is left to the caller. */
static void hold_word(struct pageheap *heap, struct chunk *chunk, uint64_t pfn, uint64_t frames,
		      struct held_word *held)
{
	unsigned w = (unsigned)(pfn % CHUNK_FRAMES) / 64;

	if (chunk->zero == CHUNK_ZERO_ALL)
		pageheap_split_zero(heap, chunk, pfn);
	if (chunk->zero == CHUNK_ZERO_SIDE)
		chunk->side->zero[w] &= ~frames;
	atomic_or(&chunk->word[w].end, frames);
	pageheap_count_in(heap, window_of(pfn), -(uint64_t)popcount64(frames));
	*held = (struct held_word){
		.word = &chunk->word[w],
		.addr = phys_to_virt(round_down(pfn, 64) << FRAME_SHIFT),
		.frames = frames,
	};
}

static void unhold_word(struct pageheap *heap, const struct held_word *held)
{
	uint64_t pfn = virt_to_phys(held->addr) >> FRAME_SHIFT;
	uint64_t *hint = &heap->hint[window_of(pfn)];

	atomic_and(&held->word->end, ~held->frames);
	pageheap_count_in(heap, window_of(pfn), popcount64(held->frames));
	*hint = MIN(*hint, pfn + ctz64(held->frames));
	pageheap_touch(heap, (struct chunk *)(held->word - pfn % CHUNK_FRAMES / 64), pfn);
}

/* How many of the wanted frames there are to have, reserves left alone. */
static uint64_t frames_to_have(const struct pageheap *heap, const struct run_wanted *want)
{
	enum mem_window w = window_of(want->lo);
	uint64_t floor = want->keep_floor ? heap->floor[w] : 0;

	return heap->window_free[w] > floor ? MIN(want->n, heap->window_free[w] - floor) : 0;
}

static bool is_home(const struct hold_home *home)
{
	return home->chunk && atomic_load_relaxed(&home->chunk->whole) == home->mark;
}

static void move_home(struct hold_home *home, struct chunk *chunk, uint64_t pfn)
{
	if (home->chunk == chunk && is_home(home))
		return;
	hold_leave_home(home);
	/* With a free frame in it it is no used or cached run, nor becomes one meanwhile. */
	atomic_store(&chunk->whole, home->mark);
	home->chunk = chunk;
	home->pfn = round_down(pfn, CHUNK_FRAMES);
}

/*
 * The lowest run that is in nobody else's home. Where many CPUs have theirs the
 * second half of the tries goes on where such a search last ended. @share: the
 * lowest of all if there is none; likewise after the last try, or the heap would
 * grow for each refill.
 */
static uint64_t search_new_home(struct pageheap *heap, struct hold_home *home,
				const struct run_wanted *want, bool share)
{
	struct run_wanted w = *want;
	uint64_t first = PFN_NONE;

	for (unsigned tries = 0; tries < HOME_TRIES; tries++) {
		struct chunk *chunk;
		uint64_t pfn;
		uint8_t whole;

		if (tries == HOME_TRIES / 2)
			w.lo = MAX(w.lo, heap->next_home);
		pfn = pageheap_search(heap, &w);
		if (pfn == PFN_NONE) {
			if (share)
				heap->next_home = 0;
			return share ? first : PFN_NONE;
		}
		chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);
		whole = atomic_load_relaxed(&chunk->whole);
		w.lo = round_down(pfn, CHUNK_FRAMES) + CHUNK_FRAMES;
		if (whole < CHUNK_HOME || whole == home->mark) {
			if (tries >= HOME_TRIES / 2)
				heap->next_home = w.lo;
			move_home(home, chunk, pfn);
			return pfn;
		}
		first = MIN(first, pfn);
	}
	heap->next_home = w.lo;
	return first;
}

/*
 * The lowest free frame of a chunk, from its bits: so summaries that are behind
 * need not be made right for that.
 */
static uint64_t first_free(const struct chunk *chunk, uint64_t pfn)
{
	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		uint64_t free = word_free(&chunk->word[w]);

		if (free)
			return pfn + w * 64 + ctz64(free);
	}
	return PFN_NONE;
}

/* The lowest run at home, or as above. */
static uint64_t search_from_home(struct pageheap *heap, struct hold_home *home,
				 const struct run_wanted *want, bool share)
{
	uint64_t pfn = PFN_NONE;

	if (is_home(home) && home->pfn >= want->lo && home->pfn < want->hi) {
		bool any = want->n == 1 && want->align == 1 && !want->boot_only;
		struct run_wanted w = *want;

		w.lo = home->pfn;
		w.hi = home->pfn + CHUNK_FRAMES;
		pfn = any ? first_free(home->chunk, home->pfn) : pageheap_search(heap, &w);
	}
	return pfn != PFN_NONE ? pfn : search_new_home(heap, home, want, share);
}

/* to here */

void hold_leave_home(struct hold_home *home)
{
	uint8_t mark = home->mark;

	if (home->chunk)
		atomic_cas(&home->chunk->whole, &mark, CHUNK_NOT_WHOLE);
	home->chunk = NULL;
}

/* All free frames of full words of a chunk, as long as fewer are not enough. */
static unsigned hold_full_words(struct pageheap *heap, struct chunk *chunk, uint64_t pfn,
				uint64_t n, struct held_word *words)
{
	uint64_t end = round_down(pfn, CHUNK_FRAMES) + CHUNK_FRAMES;
	unsigned full = 0;

	for (pfn = round_down(pfn, 64); pfn < end && full * 64 < n; pfn += 64)
		if (word_free(&chunk->word[pfn % CHUNK_FRAMES / 64]) == ~0ULL)
			hold_word(heap, chunk, pfn, ~0ULL, &words[full++]);
	return full;
}

/*
 * Free frames of a chunk from @pfn on, the lowest words first, or (@whole) full ones
 * first and no word by halves. There is room for all. Return: how many words.
 */
static unsigned hold_words(struct pageheap *heap, uint64_t pfn, uint64_t want, bool whole,
			   struct held_word *words)
{
	struct chunk *chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);
	uint64_t start = round_down(pfn, CHUNK_FRAMES), end = start + CHUNK_FRAMES;
	unsigned n = whole ? hold_full_words(heap, chunk, pfn, want, words) : 0;
	uint64_t left = want - MIN(want, n * 64);

	for (pfn = round_down(pfn, 64); pfn < end && left; pfn += 64) {
		uint64_t frames = word_free(&chunk->word[pfn % CHUNK_FRAMES / 64]);

		if (!frames)
			continue;
		frames = left < 64 && !whole ? lowest_bits(frames, left) : frames;
		hold_word(heap, chunk, pfn, frames, &words[n++]);
		left -= MIN(left, popcount64(frames));
	}
	pageheap_touch(heap, chunk, start);
	return n;
}

/* Frames out of one chunk: so a hold of the lock is bounded, however scattered they are. */
static unsigned try_hold(struct pageheap *heap, struct hold_home *home, bool share,
			 const struct run_wanted *want, struct held_word words[CHUNK_WORDS])
{
	struct run_wanted any = {
		.n = 1,
		.align = 1,
		.lo = want->lo,
		.hi = want->hi,
		.boot_only = want->boot_only,
	};
	struct run_wanted more = *want;
	uint64_t n, pfn;
	unsigned long flags;
	unsigned got = 0;

	if (!pageheap_lock(heap, &flags))
		return 0;
	n = frames_to_have(heap, want);
	pfn = n ? search_from_home(heap, home, &any, share) : PFN_NONE;
	more.n = n + 63;
	if (pfn != PFN_NONE)
		got = hold_words(heap, pfn, n,
				 want->whole_words && frames_to_have(heap, &more) == more.n, words);
	spin_unlock_irqrestore(&heap->lock, flags);
	return got;
}

unsigned pageheap_hold(struct pageheap *heap, struct hold_home *home, const struct run_wanted *want,
		       struct held_word words[CHUNK_WORDS])
{
	unsigned n = try_hold(heap, home, false, want, words);

	while (!n && pageheap_grow(heap, want))
		n = try_hold(heap, home, false, want, words);
	return n ? n : try_hold(heap, home, true, want, words);
}

/* Return: the run's place, or PFN_NONE; *word is filled if it lies in one. */
static uint64_t try_hold_run(struct pageheap *heap, struct hold_home *home, bool share,
			     const struct run_wanted *want, struct held_word *word)
{
	struct run_wanted all = { .n = 64, .lo = want->lo, .keep_floor = want->keep_floor };
	uint64_t pfn = PFN_NONE;
	unsigned long flags;

	word->frames = 0;
	if (!pageheap_lock(heap, &flags))
		return PFN_NONE;
	if (frames_to_have(heap, &all) == all.n)
		pfn = search_from_home(heap, home, want, share);
	if (pfn != PFN_NONE && pfn % 64 + want->n <= 64) {
		struct chunk *chunk = chunk_find(&heap->map->index, pfn << FRAME_SHIFT);

		hold_word(heap, chunk, pfn, word_free(&chunk->word[pfn % CHUNK_FRAMES / 64]), word);
		pageheap_touch(heap, chunk, pfn);
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	return pfn;
}

bool pageheap_hold_run(struct pageheap *heap, struct hold_home *home, const struct run_wanted *want,
		       struct held_word *word)
{
	while (try_hold_run(heap, home, false, want, word) == PFN_NONE)
		if (!pageheap_grow(heap, want)) {
			try_hold_run(heap, home, true, want, word);
			break;
		}
	return word->frames;
}

bool pageheap_unhold_words(struct pageheap *heap, const struct held_word *words, unsigned n)
{
	unsigned long flags;

	if (!pageheap_lock(heap, &flags))
		return false;
	for (unsigned i = 0; i < n; i++)
		unhold_word(heap, &words[i]);
	spin_unlock_irqrestore(&heap->lock, flags);
	return true;
}

static void gather_none(struct gather *g)
{
	memset(g->table, 0, sizeof(g->table));
	g->n = 0;
}

/* An NMI does it in one hold or not at all; others let go of the lock now and then. */
static bool flush_gathered(struct pageheap *heap, struct gather *g)
{
	unsigned at_once = port_context() == MM_NMI ? GATHER : HEAP_TOUCHED;

	for (unsigned i = 0; i < g->n; i += at_once)
		if (!pageheap_unhold_words(heap, &g->word[i], MIN(g->n - i, at_once)))
			return false;
	gather_none(g);
	return true;
}

/* The place for frames of a word; there is room. */
static struct held_word *gather_word(struct gather *g, struct frame_word *word, uintptr_t frame)
{
	unsigned i = frame / 64 % GATHER_TABLE;
	struct held_word *held;

	for (; g->table[i]; i = (i + 1) % GATHER_TABLE) {
		held = &g->word[g->table[i] - 1];
		if (likely(held->word == word))
			return held;
	}
	held = &g->word[g->n++];
	g->table[i] = (uint8_t)g->n;
	*held = (struct held_word){ word, (void *)(round_down(frame, 64) << FRAME_SHIFT), 0 };
	return held;
}

bool pageheap_unhold(struct pageheap *heap, const struct held_frame *frames, unsigned n)
{
	const struct held_frame *end = frames + n;
	struct gather g;

	static_assert(GATHER >= PAGEHOLD_NMI_MAX, "of an NMI all or nothing is given back");
	gather_none(&g);
	for (const struct held_frame *f = frames; f < end;) {
		struct frame_word *word = f->word;
		uintptr_t frame = (uintptr_t)f->addr >> FRAME_SHIFT;
		uint64_t bits = 0;

		/* What was freed in order lies together. */
		do
			bits |= 1ULL << ((uintptr_t)f->addr >> FRAME_SHIFT) % 64;
		while (++f < end && f->word == word);
		if (g.n == GATHER && !flush_gathered(heap, &g))
			return false;
		gather_word(&g, word, frame)->frames |= bits;
	}
	return flush_gathered(heap, &g);
}
