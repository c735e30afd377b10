// SPDX-License-Identifier: MIT
/*
 * Many single frames at once: whole words of them, each by one atomic instruction.
 *
 *	allocation	run word and other words of the cache ─► words of the home,
 *			full ones first; what is left of the last becomes the run word
 *			─► slots
 *	free		pointers ─► sorted by words ─► checked and claimed, a word at a
 *			time ─► words of the cache, half of which go to the page heap
 *			when there is no room
 *
 * Words are kept together: a frame in a slot costs more to hand out than one of many
 * in a word, and what comes out of slots lies scattered. So slots are the last resort
 * here, and get nothing.
 */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/pagecache.h"

/* Given back in one hold of the heap's lock: each may mean another summary. */
static_assert(PAGECACHE_WORDS / 2 <= HEAP_TOUCHED, "half of the words");

/* So many words are told apart in one call, through a table with open addressing. */
#define SORT_WORDS 24
#define SORT_TABLE 64

static_assert(PAGECACHE_BULK == 64, "a bit for each");

/* ---- Allocation ---- */

/* Held frames of a word are handed out. Return: how many. */
static size_t hand_out(const struct held_word *held, void **pages)
{
	uint64_t frames = held->frames;
	void **first = pages;

	atomic_and(&held->word->free, ~frames);
	while (frames) {
		unsigned from = (unsigned)__builtin_ctzll(frames), n = ctz64(~(frames >> from));
		char *addr = (char *)held->addr + ((uint64_t)from << FRAME_SHIFT);

		frames &= ~mask_range(from, n);
		for (; n >= 4; n -= 4, pages += 4, addr += 4 * FRAME_SIZE) {
			pages[0] = addr;
			pages[1] = addr + FRAME_SIZE;
			pages[2] = addr + 2 * FRAME_SIZE;
			pages[3] = addr + 3 * FRAME_SIZE;
		}
		for (; n; n--, addr += FRAME_SIZE)
			*pages++ = addr;
	}
	return (size_t)(pages - first);
}

/* Up to @n frames of a word. */
static size_t take_from(struct held_word *word, size_t n, void **pages)
{
	struct held_word part = *word;

	if (n < 64 && n < popcount64(part.frames))
		part.frames = lowest_bits(part.frames, n);
	atomic_store_relaxed(&word->frames, word->frames & ~part.frames);
	return hand_out(&part, pages);
}

/* The run word first, then what was freed last. */
static size_t take_from_words(struct pagecache *cache, size_t n, void **pages)
{
	size_t done = cache->run.frames ? take_from(&cache->run, n, pages) : 0;

	while (done < n && cache->nwords) {
		struct held_word *word = &cache->words[cache->nwords - 1];
		size_t got = take_from(word, n - done, pages + done);

		done += got;
		atomic_store_relaxed(&cache->word_frames, cache->word_frames - (unsigned)got);
		cache->nwords -= !word->frames;
	}
	return done;
}

/* Words on their way from the heap to the caller, the last one by way of the run word. */
static size_t pass_words(struct pagecache *cache, size_t n, void **pages)
{
	struct held_word words[CHUNK_WORDS];
	bool keep = atomic_load_relaxed(&cache->run_limit);
	unsigned nwords = pagecache_hold(cache, n, keep, words), i;
	size_t done = 0;

	for (i = 0; i < nwords && done + popcount64(words[i].frames) <= n; i++)
		done += hand_out(&words[i], pages + done);
	if (i == nwords)
		return done;
	cache->run.word = words[i].word;
	cache->run.addr = words[i].addr;
	atomic_store_relaxed(&cache->run.frames, words[i].frames);
	return done < n ? done + take_from(&cache->run, n - done, pages + done) : done;
}

static size_t pop_many(struct pagecache *cache, size_t n, void **pages)
{
	size_t have = (size_t)(cache->top - cache->bottom);

	n = MIN(n, have);
	for (size_t i = 0; i < n; i++)
		pages[i] = pagecache_take_top(cache);
	return n;
}

size_t pagecache_alloc_bulk(struct pagecache *cache, size_t n, void **pages)
{
	size_t done = take_from_words(cache, n, pages);

	if (!done)
		done = pass_words(cache, n, pages);
	cpu_local_add(&cache->allocs, done);
	return done ? done : pop_many(cache, n, pages);
}

/* ---- Free ---- */

/* Frames by words; @table: numbers of the words, from 1 on. */
struct sorted_word {
	uintptr_t key;
	uint64_t frames;
	unsigned n;
};

struct sorted {
	uint8_t table[SORT_TABLE];
	unsigned n;
	struct sorted_word word[SORT_WORDS];
};

/* The place of a word; NULL: there is no room for another one. */
static struct sorted_word *find_sorted(struct sorted *s, uintptr_t key)
{
	unsigned i = key % SORT_TABLE;

	for (; s->table[i]; i = (i + 1) % SORT_TABLE)
		if (s->word[s->table[i] - 1].key == key)
			return &s->word[s->table[i] - 1];
	if (s->n == SORT_WORDS)
		return NULL;
	s->word[s->n] = (struct sorted_word){ .key = key };
	s->table[i] = (uint8_t)(s->n + 1);
	return &s->word[s->n++];
}

/* How many of up to @n frames follow each other in memory? At least one. */
static unsigned frames_in_a_row(void **pages, unsigned n)
{
	const uintptr_t *at = (const uintptr_t *)pages;
	uintptr_t next = at[0] + FRAME_SIZE;
	unsigned i = 1;

	for (; i + 4 <= n; i += 4, next += 4 * FRAME_SIZE)
		if (at[i] != next || at[i + 1] != next + FRAME_SIZE ||
		    at[i + 2] != next + 2 * FRAME_SIZE || at[i + 3] != next + 3 * FRAME_SIZE)
			break;
	for (; i < n && at[i] == next; i++)
		next += FRAME_SIZE;
	return i;
}

/* Sort up to @n frames. Return: how many; a frame twice ends it, and one word too many. */
static unsigned sort_frames(struct sorted *s, unsigned n, void **pages)
{
	struct sorted_word none = { .key = ~0UL }, *word = &none;
	unsigned i, run;

	memset(s->table, 0, sizeof(s->table));
	s->n = 0;
	for (i = 0; i < n; i += run) {
		uintptr_t frame = pagecache_frame(pages[i]), key = frame / 64;
		uint64_t mask;

		run = 1;
		if (key != word->key) {
			if (!pages[i])
				continue;
			word = find_sorted(s, key);
			if (!word)
				break;
		}
		run = frames_in_a_row(pages + i, MIN(n - i, 64 - (unsigned)(frame % 64)));
		mask = mask_range((unsigned)(frame % 64), run);
		if (word->frames & mask)
			break;
		word->frames |= mask;
		word->n += run;
	}
	return i;
}

/* Free frames of one word together; false: at least one is not to be freed here, and none was. */
static bool claim_word(struct pagecache *cache, struct held_word *held, uintptr_t key)
{
	uint64_t singles;

	held->addr = (void *)(key * 64 << FRAME_SHIFT);
	/* Whoever is no frame has what is not of its address above. */
	if (!pagecache_find_word(cache, key * 64))
		return false;
	held->word = cache->last_word;
	singles = word_singles(held->word);
	if (held->frames & 1)
		singles |= pagecache_is_first(cache, held->word, held->addr);
	return !(held->frames & ~singles) &&
	       pagecache_claim(cache, held->word, atomic_load_relaxed(&held->word->free),
			       held->frames);
}

/* Half of the words, those that are here longest, go to the heap. */
static never_inline void spill_words(struct pagecache *cache)
{
	unsigned n = MIN(cache->nwords, PAGECACHE_WORDS / 2), left = cache->word_frames;

	for (unsigned i = 0; i < n; i++)
		left -= popcount64(cache->words[i].frames);
	pageheap_unhold_words(cache->heap, cache->words, n);
	cache->nwords -= n;
	memmove(cache->words, cache->words + n, cache->nwords * sizeof(cache->words[0]));
	atomic_store_relaxed(&cache->word_frames, left);
}

static struct held_word *same_word(struct pagecache *cache, const struct frame_word *word)
{
	for (unsigned i = 0; i < cache->nwords; i++)
		if (cache->words[i].word == word)
			return &cache->words[i];
	return NULL;
}

/* @n claimed frames of one word find a place. */
static void keep_frames(struct pagecache *cache, const struct held_word *held, unsigned n)
{
	unsigned limit = atomic_load_relaxed(&cache->word_limit);
	struct held_word *word;

	if (held->word == cache->run.word || !cache->run.frames) {
		cache->run.word = held->word;
		cache->run.addr = held->addr;
		atomic_store_relaxed(&cache->run.frames, cache->run.frames | held->frames);
		return;
	}
	while (cache->nwords && cache->word_frames + n > limit)
		spill_words(cache);
	if (n > limit) {
		pageheap_unhold_words(cache->heap, held, 1);
		return;
	}
	word = same_word(cache, held->word);
	if (!word && cache->nwords == PAGECACHE_WORDS)
		spill_words(cache);
	if (word)
		word->frames |= held->frames;
	else
		cache->words[cache->nwords++] = *held;
	atomic_store_relaxed(&cache->word_frames, cache->word_frames + n);
}

/* Which pointers are those of words that were not claimed? */
static uint64_t find_failed(const struct sorted *s, uint32_t bad, unsigned n, void **pages)
{
	uint64_t failed = 0;

	for (unsigned i = 0; i < n; i++)
		for (unsigned w = 0; pages[i] && w < s->n; w++)
			if (bad >> w & 1 && s->word[w].key == pagecache_frame(pages[i]) / 64)
				failed |= 1ULL << i;
	return failed;
}

size_t pagecache_free_bulk(struct pagecache *cache, size_t n, void **pages, uint64_t *failed)
{
	struct held_word held;
	struct sorted s;
	unsigned count;
	uint64_t freed = 0;
	uint32_t bad = 0;

	/* An NMI might have no place for what it has claimed. */
	if (!atomic_load_relaxed(&cache->run_limit))
		return 0;
	count = sort_frames(&s, (unsigned)MIN(n, (size_t)PAGECACHE_BULK), pages);
	for (unsigned w = 0; w < s.n; w++) {
		held.frames = s.word[w].frames;
		if (!held.frames)
			continue;
		if (!claim_word(cache, &held, s.word[w].key)) {
			bad |= 1U << w;
			continue;
		}
		freed += s.word[w].n;
		keep_frames(cache, &held, s.word[w].n);
	}
	cpu_local_add(&cache->other_frees, freed);
	*failed = unlikely(bad) ? find_failed(&s, bad, count, pages) : 0;
	return count;
}
