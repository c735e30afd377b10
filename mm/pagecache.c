// SPDX-License-Identifier: MIT
/*
 * Page caches: what one cache does, out of the hot path; see pagecache.h.
 */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/framebits.h"
#include "mm/log.h"
#include "mm/pagecache.h"

/* Where there is nothing yet: all of its frames are held, so that no check passes. */
static struct frame_word nothing = { ~0ULL, ~0ULL };

/* A chunk that is no used run, as pagemap_has_span() looks at it. */
static struct chunk no_chunks[2];

static void forget_places(struct pagecache *cache)
{
	for (struct held_frame *slot = cache->top; slot <= cache->bottom + cache->nslots; slot++)
		*slot = (struct held_frame){ .word = &nothing };
	cache->last_key = PAGECACHE_NO_KEY;
	cache->last_word = &nothing;
	for (unsigned i = 0; i < PAGECACHE_PLACES; i++)
		cache->place[i].key = PAGECACHE_NO_KEY;
	for (unsigned i = cache->nchunks; i <= PAGECACHE_CHUNKS; i++)
		cache->chunk[i] = (struct whole_chunk){ .chunk = &no_chunks[1] };
	hold_leave_home(&cache->home);
	if (!cache->run.frames)
		cache->run = (struct held_word){ .word = &nothing };
}

void pagecache_init(struct pagecache *cache, struct pageheap *heap, unsigned number,
		    struct held_frame *slots, unsigned nslots)
{
	*cache = (struct pagecache){
		.top = slots,
		.floor = slots,
		.bottom = slots,
		.limit = slots,
		.nslots = nslots,
		.heap = heap,
		.index = &heap->map->index,
		.node = heap->node,
		.home.mark = (uint8_t)(CHUNK_HOME + number % (UINT8_MAX - CHUNK_HOME)),
	};
	forget_places(cache);
}

void pagecache_set_room(struct pagecache *cache, unsigned frames, unsigned words, unsigned chunks)
{
	atomic_store_relaxed(&cache->limit, cache->bottom + MIN(frames, cache->nslots));
	atomic_store_relaxed(&cache->run_limit, words < 64 ? 0 : 64);
	atomic_store_relaxed(&cache->word_limit, words < 64 ? 0 : words - 64);
	atomic_store_relaxed(&cache->chunk_limit, MIN(chunks, PAGECACHE_CHUNKS));
}

uint64_t pagecache_held(const struct pagecache *cache)
{
	return (uint64_t)(atomic_load_relaxed(&cache->top) - cache->bottom) +
	       popcount64(atomic_load_relaxed(&cache->run.frames)) +
	       atomic_load_relaxed(&cache->word_frames) +
	       (uint64_t)atomic_load_relaxed(&cache->nchunks) * CHUNK_FRAMES;
}

/* ---- Single frames ---- */

/* Half of the room, so that neither the next free nor the next allocation comes here again. */
static unsigned batch_of(const struct pagecache *cache)
{
	return (unsigned)(atomic_load_relaxed(&cache->limit) - cache->bottom + 1) / 2;
}

/*
 * Frames of some words into the empty slots, the lowest on top; but those below
 * all whose free has to look at another word, which are first in theirs.
 */
static void fill_slots(struct pagecache *cache, const struct held_word *words, unsigned nwords)
{
	struct held_frame *first = cache->bottom, *slot = first;

	for (unsigned i = 0; i < nwords; i++) {
		slot += popcount64(words[i].frames);
		if (words[i].frames & 1)
			*first++ = (struct held_frame){ words[i].addr, words[i].word };
	}
	cpu_local_add(&cache->taken, (uint64_t)(slot - cache->bottom));
	atomic_store_relaxed(&cache->top, slot);
	for (unsigned i = 0; i < nwords; i++) {
		struct frame_word *word = words[i].word;
		char *addr = words[i].addr;

		for (uint64_t frames = words[i].frames & ~1ULL; frames;) {
			unsigned from = (unsigned)__builtin_ctzll(frames);
			unsigned end = from + ctz64(~(frames >> from));

			for (unsigned f = from; f < end; f++)
				*--slot = (struct held_frame){ addr + f * FRAME_SIZE, word };
			frames &= ~mask_low(end);
		}
	}
}

/* Up to n frames held for us, from the highest window that has any. */
static unsigned hold_in_windows(struct pagecache *cache, const struct run_wanted *wanted,
				bool boot_only, struct held_word words[CHUNK_WORDS])
{
	for (unsigned w = MEM_WINDOWS; w-- > WINDOW_DMA32;) {
		struct run_wanted want = {
			.n = wanted->n,
			.align = 1,
			.lo = window_start(w),
			.hi = window_end(w),
			.keep_floor = true,
			.boot_only = boot_only,
			.whole_words = wanted->whole_words,
		};
		unsigned got = pageheap_is_dry(cache->heap, w)
				       ? 0
				       : pageheap_hold(cache->heap, &cache->home, &want, words);

		if (got)
			return got;
	}
	return 0;
}

unsigned pagecache_hold(struct pagecache *cache, uint64_t n, bool whole_words,
			struct held_word words[CHUNK_WORDS])
{
	const struct pageheap *heap = cache->heap;
	bool boot_only = atomic_load_relaxed(&heap->map->arrived[heap->node]);
	struct run_wanted want = { .n = n, .whole_words = whole_words };
	unsigned got = hold_in_windows(cache, &want, boot_only, words);

	/* Memory that arrived at run time comes last, whichever window it is in. */
	return got || !boot_only ? got : hold_in_windows(cache, &want, false, words);
}

static void *alloc_frame(struct pagecache *cache)
{
	struct held_word words[CHUNK_WORDS];
	unsigned n;

	if (cache->top > cache->bottom)
		return pagecache_take_top(cache);
	if (atomic_load_relaxed(&cache->limit) == cache->bottom)
		return NULL;
	n = pagecache_hold(cache, batch_of(cache), false, words);
	if (!n)
		return NULL;
	fill_slots(cache, words, n);
	return pagecache_take_top(cache);
}

/* Give the frames back that have been here longest, so that half of the room is left. */
static never_inline bool spill(struct pagecache *cache)
{
	unsigned have = (unsigned)(cache->top - cache->bottom);
	unsigned room = (unsigned)(atomic_load_relaxed(&cache->limit) - cache->bottom);
	/* Another CPU may have left meanwhile, so that there is room now. */
	unsigned n = have - MIN(have, room / 2);

	if (n && !pageheap_unhold(cache->heap, cache->bottom, n))
		return false;
	cpu_local_add(&cache->returned, n);
	memmove(cache->bottom, cache->bottom + n, (have - n) * sizeof(*cache->bottom));
	atomic_store_relaxed(&cache->top, cache->top - n);
	return true;
}

/* Is the frame before a word's first one no inner one? Nearly always it is near in memory. */
static bool first_starts_run(const struct pagecache *cache, const struct frame_word *word,
			     uint64_t pfn)
{
	const struct chunk *chunk = (const struct chunk *)word;

	if (pfn % CHUNK_FRAMES)
		return word_edges(word - 1) >> 63;
	if (pfn % (ARENA_SIZE >> FRAME_SHIFT))
		return word_edges(&chunk[-1].word[CHUNK_WORDS - 1]) >> 63;
	return pageheap_starts_run(cache->heap, pfn);
}

bool pagecache_is_first(const struct pagecache *cache, const struct frame_word *word,
			const void *addr)
{
	return atomic_load_relaxed(&word->end) & 1 &&
	       first_starts_run(cache, word, virt_to_phys(addr) >> FRAME_SHIFT);
}

bool pagecache_free_frame(struct pagecache *cache, void *addr)
{
	uintptr_t frame = pagecache_frame(addr);
	struct held_frame *top = cache->top;

	/* Slots without a place have no address. */
	if (!addr)
		return false;
	if (top->addr != addr) {
		struct held_frame *limit = atomic_load_relaxed(&cache->limit);

		if (top >= limit && (limit == cache->bottom || !spill(cache)))
			return false;
		if (!pagecache_find_word(cache, frame))
			return false;
		top = cache->top;
		*top = (struct held_frame){ addr, cache->last_word };
	}
	if (frame % 64)
		return pagecache_put_frame(cache, top, frame);
	if (!pagecache_is_first(cache, top->word, addr) || !word_claim(top->word, 0))
		return false;
	atomic_store_relaxed(&cache->top, top + 1);
	cpu_local_add(&cache->frees, 1);
	return true;
}

/* ---- Short runs ---- */

#define ALL_FIELDS(n) (~0ULL / ((1ULL << (n)) - 1))
#define ORDER(n) { ALL_FIELDS(n), ALL_FIELDS(n) << ((n) - 1), (1ULL << (n)) - 1 }

const struct pagecache_order pagecache_orders[PAGECACHE_ORDER_MAX + 1] = {
	{ 0 }, ORDER(2), ORDER(4), ORDER(8), ORDER(16), ORDER(32),
};

static bool refill_in_windows(struct pagecache *cache, unsigned n, unsigned align, bool boot_only)
{
	struct held_word fresh;

	for (unsigned w = MEM_WINDOWS; w-- > WINDOW_DMA32;) {
		struct run_wanted want = {
			.n = n,
			.align = align,
			.lo = window_start(w),
			.hi = window_end(w),
			.keep_floor = true,
			.boot_only = boot_only,
		};

		if (pageheap_is_dry(cache->heap, w) ||
		    !pageheap_hold_run(cache->heap, &cache->home, &want, &fresh))
			continue;
		if (cache->run.frames && !pageheap_unhold_words(cache->heap, &cache->run, 1)) {
			pageheap_unhold_words(cache->heap, &fresh, 1);
			return false;
		}
		cache->run.word = fresh.word;
		cache->run.addr = fresh.addr;
		atomic_store_relaxed(&cache->run.frames, fresh.frames);
		return true;
	}
	return false;
}

static bool refill_run(struct pagecache *cache, unsigned n, unsigned align)
{
	const struct pageheap *heap = cache->heap;
	bool boot_only = atomic_load_relaxed(&heap->map->arrived[heap->node]);

	return refill_in_windows(cache, n, align, boot_only) ||
	       (boot_only && refill_in_windows(cache, n, align, false));
}

static void *alloc_short(struct pagecache *cache, unsigned n, unsigned align)
{
	unsigned bit = word_find_run(cache->run.frames, n, align);

	if (bit == 64) {
		if (!atomic_load_relaxed(&cache->run_limit) || !refill_run(cache, n, align))
			return NULL;
		bit = word_find_run(cache->run.frames, n, align);
	}
	return pagecache_take_run(cache, bit, mask_range(bit, n));
}

/* The run at the start of a chunk that may be that of our word. */
static bool put_first_run(struct pagecache *cache, void *addr, unsigned n)
{
	uint64_t pfn = virt_to_phys(addr) >> FRAME_SHIFT;

	return addr == cache->run.addr && pfn % CHUNK_FRAMES == 0 &&
	       word_is_run(cache->run.word, mask_low(n)) && pageheap_starts_run(cache->heap, pfn) &&
	       pagecache_claim_run(cache, mask_low(n));
}

static bool free_short(struct pagecache *cache, void *addr, unsigned n)
{
	struct frame_word *word;
	struct chunk *chunk;

	if (!atomic_load_relaxed(&cache->run_limit))
		return false;
	if (pagecache_put_run(cache, addr, n) || put_first_run(cache, addr, n))
		return true;
	/* An empty run word may become another. */
	if (cache->run.frames)
		return false;
	chunk = pagecache_chunk_of(cache, pagecache_frame(addr));
	if (!chunk)
		return false;
	word = &chunk->word[pagecache_frame(addr) / 64 % CHUNK_WORDS];
	if (word == cache->run.word)
		return false;
	cache->run.word = word;
	cache->run.addr = (void *)round_down((uintptr_t)addr, 64 * FRAME_SIZE);
	return pagecache_put_run(cache, addr, n) || put_first_run(cache, addr, n);
}

/* ---- All sizes ---- */

void *pagecache_alloc(struct pagecache *cache, uint64_t n, uint64_t align)
{
	if (n == 1 && align == 1)
		return alloc_frame(cache);
	if (n <= PAGECACHE_RUN_MAX && align <= PAGECACHE_RUN_MAX)
		return alloc_short(cache, (unsigned)n, (unsigned)align);
	if (n == CHUNK_FRAMES && align <= CHUNK_FRAMES)
		return pagecache_take_chunk(cache);
	return NULL;
}

static bool free_chunk(struct pagecache *cache, void *addr)
{
	struct chunk *chunk = pagecache_chunk_at(cache, addr);

	return chunk && pagecache_put_chunk(cache, addr, chunk);
}

bool pagecache_free(struct pagecache *cache, void *addr, uint64_t n)
{
	if (!n)
		return false;
	if (n == 1)
		return pagecache_free_frame(cache, addr);
	if (n <= PAGECACHE_RUN_MAX)
		return free_short(cache, addr, (unsigned)n);
	return n == CHUNK_FRAMES && free_chunk(cache, addr);
}

/* ---- Emptying and checking ---- */

void pagecache_take_all(struct pagecache *cache, struct pagecache_haul *haul)
{
	haul->heap = cache->heap;
	haul->nframes = (unsigned)(cache->top - cache->bottom);
	haul->nwords = cache->nwords;
	haul->nchunks = cache->nchunks;
	haul->run = cache->run;
	memcpy(haul->words, cache->words, haul->nwords * sizeof(haul->words[0]));
	memcpy(haul->frame, cache->bottom, haul->nframes * sizeof(haul->frame[0]));
	memcpy(haul->chunk, cache->chunk, haul->nchunks * sizeof(haul->chunk[0]));
	cpu_local_add(&cache->returned, haul->nframes);
	atomic_store_relaxed(&cache->top, cache->bottom);
	atomic_store_relaxed(&cache->run.frames, 0);
	atomic_store_relaxed(&cache->word_frames, 0);
	cache->nwords = 0;
	atomic_store_relaxed(&cache->nchunks, 0);
	forget_places(cache);
}

void pagecache_give_back(const struct pagecache_haul *haul)
{
	if (haul->nframes)
		pageheap_unhold(haul->heap, haul->frame, haul->nframes);
	if (haul->run.frames)
		pageheap_unhold_words(haul->heap, &haul->run, 1);
	for (unsigned i = 0; i < haul->nwords; i += HEAP_TOUCHED)
		pageheap_unhold_words(haul->heap, &haul->words[i],
				      MIN(haul->nwords - i, HEAP_TOUCHED));
	for (unsigned i = 0; i < haul->nchunks; i++)
		pageheap_free_chunk(haul->heap, haul->chunk[i].chunk,
				    virt_to_phys(haul->chunk[i].addr) >> FRAME_SHIFT);
}

void pagecache_add_sums(const struct pagecache *cache, const struct pageheap *heap,
			struct pagecache_sums *sums)
{
	uint64_t in_slots = (uint64_t)(atomic_load_relaxed(&cache->top) - cache->bottom);
	uint64_t frees = atomic_load_relaxed(&cache->frees);

	if (cache->heap != heap)
		return;
	sums->frames += pagecache_held(cache);
	sums->frees += frees + atomic_load_relaxed(&cache->other_frees);
	sums->retries += atomic_load_relaxed(&cache->retries);
	/* What came into the slots and is no longer there was allocated. */
	sums->allocs += frees + atomic_load_relaxed(&cache->taken) -
			atomic_load_relaxed(&cache->returned) - in_slots +
			atomic_load_relaxed(&cache->allocs);
}

static bool all_held(const struct frame_word *word, uint64_t frames)
{
	return !(frames & ~(word->free & word->end));
}

unsigned pagecache_check(const struct pagecache *cache)
{
	unsigned bad = 0, in_words = 0;

	for (const struct held_frame *f = cache->bottom; f < cache->top; f++)
		bad += !all_held(f->word, 1ULL << pagecache_frame(f->addr) % 64);
	bad += !all_held(cache->run.word, cache->run.frames);
	for (unsigned i = 0; i < cache->nwords; i++) {
		bad += !all_held(cache->words[i].word, cache->words[i].frames);
		in_words += popcount64(cache->words[i].frames);
	}
	bad += in_words != cache->word_frames;
	for (unsigned i = 0; i < cache->nchunks; i++)
		bad += cache->chunk[i].chunk->whole != CHUNK_WHOLE_CACHED;
	if (bad)
		mm_log("page cache %p: %u of its frames are not held", (const void *)cache, bad);
	return bad;
}
