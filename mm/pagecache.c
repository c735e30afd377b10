// SPDX-License-Identifier: MIT
/*
 * Page caches: what one cache does, out of the hot path; see pagecache.h.
 */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/log.h"
#include "mm/pagecache.h"

#define HOLD_WORDS 16
#define BULK_WORDS 8 /* in one hold of the heap's lock */

/* Where there is nothing yet: all of its frames are held, so that no check passes. */
static struct frame_word nothing = { ~0ULL, ~0ULL };

/* Low windows are for those who need them; their frames are not cached. */
static bool may_cache(uint64_t pfn)
{
	return pfn >= window_start(WINDOW_DMA32);
}

static void forget_places(struct pagecache *cache)
{
	for (struct held_frame *slot = cache->top; slot <= cache->bottom + cache->nslots; slot++)
		*slot = (struct held_frame){ .word = &nothing };
	cache->last_key = PAGECACHE_NO_KEY;
	cache->last_word = &nothing;
	if (!cache->run.frames)
		cache->run = (struct held_word){ .word = &nothing };
}

void pagecache_init(struct pagecache *cache, struct pageheap *heap, struct held_frame *slots,
		    unsigned nslots)
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
	};
	forget_places(cache);
}

void pagecache_set_room(struct pagecache *cache, unsigned frames, unsigned run, unsigned chunks)
{
	atomic_store_relaxed(&cache->limit, cache->bottom + MIN(frames, cache->nslots));
	atomic_store_relaxed(&cache->run_limit, run);
	atomic_store_relaxed(&cache->chunk_limit, MIN(chunks, PAGECACHE_CHUNKS));
}

uint64_t pagecache_held(const struct pagecache *cache)
{
	return (uint64_t)(atomic_load_relaxed(&cache->top) - cache->bottom) +
	       popcount64(atomic_load_relaxed(&cache->run.frames)) +
	       (uint64_t)atomic_load_relaxed(&cache->nchunks) * CHUNK_FRAMES;
}

/* ---- Single frames ---- */

/* Half of the room, so that neither the next free nor the next allocation comes here again. */
static unsigned batch_of(const struct pagecache *cache)
{
	return (unsigned)(cache->limit - cache->bottom + 1) / 2;
}

/* Frames of some words into the empty slots, so that the lowest is on top. */
static void fill_slots(struct pagecache *cache, const struct held_word *words, unsigned nwords)
{
	struct held_frame *slot = cache->bottom;
	unsigned n = 0;

	for (unsigned i = 0; i < nwords; i++)
		n += popcount64(words[i].frames);
	cpu_local_add(&cache->taken, n);
	slot += n;
	atomic_store_relaxed(&cache->top, slot);
	for (unsigned i = 0; i < nwords; i++) {
		struct frame_word *word = words[i].word;
		char *addr = words[i].addr;

		for (uint64_t frames = words[i].frames; frames;) {
			unsigned first = (unsigned)__builtin_ctzll(frames);
			unsigned end = first + ctz64(~(frames >> first));

			for (unsigned f = first; f < end; f++)
				*--slot = (struct held_frame){ addr + f * FRAME_SIZE, word };
			frames &= ~mask_low(end);
		}
	}
}

/* Up to n frames held for us, from the highest window that has any. */
static unsigned hold_frames(struct pagecache *cache, uint64_t n, struct held_word *words,
			    unsigned nwords)
{
	for (unsigned w = MEM_WINDOWS; w-- > WINDOW_DMA32;) {
		struct run_wanted want = {
			.n = n,
			.align = 1,
			.lo = window_start(w),
			.hi = window_end(w),
			.keep_floor = true,
		};
		unsigned got = want.lo < PFN_LIMIT
				       ? pageheap_hold(cache->heap, &want, words, nwords)
				       : 0;

		if (got)
			return got;
	}
	return 0;
}

static void *alloc_frame(struct pagecache *cache)
{
	struct held_word words[HOLD_WORDS];
	unsigned n;

	if (cache->top > cache->bottom)
		return pagecache_take_top(cache);
	if (cache->limit == cache->bottom)
		return NULL;
	n = hold_frames(cache, batch_of(cache), words, ARRAY_SIZE(words));
	if (!n)
		return NULL;
	fill_slots(cache, words, n);
	return pagecache_take_top(cache);
}

/* Give the frames back that have been here longest. */
static __attribute__((noinline)) bool spill(struct pagecache *cache)
{
	unsigned have = (unsigned)(cache->top - cache->bottom);
	unsigned n = MIN(batch_of(cache), have);

	if (!pageheap_unhold(cache->heap, cache->bottom, n))
		return false;
	cpu_local_add(&cache->returned, n);
	memmove(cache->bottom, cache->bottom + n, (have - n) * sizeof(*cache->bottom));
	atomic_store_relaxed(&cache->top, cache->top - n);
	return true;
}

/* The word of a frame that this cache may hold, or NULL. */
static inline struct frame_word *word_for_cache(const struct pagecache *cache, const void *addr)
{
	phys_addr_t pa = virt_to_phys(addr);
	struct chunk *chunk;

	if (pa & (FRAME_SIZE - 1) || !may_cache(pa >> FRAME_SHIFT))
		return NULL;
	chunk = chunk_find(cache->index, pa);
	if (!chunk || chunk->node != cache->node)
		return NULL;
	return &chunk->word[frame_in_chunk(pa) / 64];
}

static bool is_single(const struct pagecache *cache, const struct frame_word *word, uint64_t pfn)
{
	if (pfn % 64)
		return word_singles(word) >> pfn % 64 & 1;
	return (atomic_load_relaxed(&word->end) & 1) && pageheap_starts_run(cache->heap, pfn);
}

/* Of a word's first frame the word does not tell enough. */
static __attribute__((noinline)) bool claim_first(const struct pagecache *cache,
						  struct frame_word *word, void *addr)
{
	return is_single(cache, word, virt_to_phys(addr) >> FRAME_SHIFT) && word_claim(word, 0);
}

bool pagecache_free_frame(struct pagecache *cache, void *addr)
{
	uintptr_t frame = pagecache_frame(addr);
	struct frame_word *word = cache->last_word;
	struct held_frame *top;

	if (unlikely(cache->top >= cache->limit) && (cache->limit == cache->bottom || !spill(cache)))
		return false;
	if (frame >> 6 != cache->last_key) {
		word = word_for_cache(cache, addr);
		if (unlikely(!word))
			return false;
		cache->last_key = frame >> 6;
		cache->last_word = word;
	}
	if (unlikely(!(frame % 64))) {
		if (!claim_first(cache, word, addr))
			return false;
	} else if (unlikely(!(word_singles(word) >> frame % 64 & 1)) ||
		   unlikely(!word_claim(word, frame))) {
		return false;
	}
	top = cache->top;
	*top = (struct held_frame){ addr, word };
	atomic_store_relaxed(&cache->top, top + 1);
	cpu_local_add(&cache->frees, 1);
	return true;
}

/* ---- Short runs ---- */

/* Multiples of 2^i. */
static const uint64_t multiples[] = {
	~0ULL,		      0x5555555555555555ULL, 0x1111111111111111ULL,
	0x0101010101010101ULL, 0x0001000100010001ULL, 0x0000000100000001ULL,
};

/* The lowest run of n bits that starts at a multiple of align; 64 if there is none. */
static unsigned find_run(uint64_t bits, unsigned n, unsigned align)
{
	unsigned length = 1;

	for (; 2 * length <= n; length *= 2)
		bits &= bits >> length;
	if (length < n)
		bits &= bits >> (n - length);
	return ctz64(bits & multiples[ctz64(align)]);
}

static bool refill_run(struct pagecache *cache, unsigned n, unsigned align)
{
	struct held_word fresh;

	for (unsigned w = MEM_WINDOWS; w-- > WINDOW_DMA32;) {
		struct run_wanted want = {
			.n = n,
			.align = align,
			.lo = window_start(w),
			.hi = window_end(w),
			.keep_floor = true,
		};

		if (want.lo >= PFN_LIMIT || !pageheap_hold_run(cache->heap, &want, &fresh))
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

/* These frames of the run word are handed out as one run. */
static void *take_run_at(struct pagecache *cache, unsigned bit, uint64_t run)
{
	struct frame_word *word = cache->run.word;

	atomic_store_relaxed(&cache->run.frames, cache->run.frames & ~run);
	atomic_and(&word->free, ~run);
	atomic_and(&word->end, ~(run & run >> 1));
	cpu_local_add(&cache->allocs, 1);
	return (char *)cache->run.addr + ((uint64_t)bit << FRAME_SHIFT);
}

static void *alloc_short(struct pagecache *cache, unsigned n, unsigned align)
{
	unsigned bit = find_run(cache->run.frames, n, align);

	if (bit == 64) {
		if (!cache->run_limit || !refill_run(cache, n, align))
			return NULL;
		bit = find_run(cache->run.frames, n, align);
	}
	return take_run_at(cache, bit, mask_range(bit, n));
}

/*
 * A naturally aligned run: a field of zeroes among the frames that are not there,
 * by the subtraction that finds a zero byte in a string; the lowest is exact.
 */
void *pagecache_take_order(struct pagecache *cache, unsigned order)
{
	uint64_t frames = cache->run.frames, low = multiples[order], high = low << ((1 << order) - 1);
	uint64_t fits = (~frames - low) & frames & high;
	unsigned bit;

	if (!fits)
		return NULL;
	bit = (unsigned)__builtin_ctzll(fits) + 1 - (1U << order);
	return take_run_at(cache, bit, ((2ULL << ((1 << order) - 1)) - 1) << bit);
}

/* Exactly these frames of a word are a used run; whether the first starts it is told if bit > 0. */
static bool is_run(const struct frame_word *word, unsigned bit, uint64_t run)
{
	uint64_t free = atomic_load_relaxed(&word->free);
	uint64_t edge = free | atomic_load_relaxed(&word->end);

	return !(free & run) && (edge & run) == (run & ~(run >> 1)) &&
	       (!bit || edge >> (bit - 1) & 1);
}

/* Used frames become held; false if another CPU has freed the run meanwhile. */
static bool claim_run(struct frame_word *word, uint64_t run)
{
	uint64_t free = atomic_load_relaxed(&word->free);

	atomic_or(&word->end, run);
	do
		if (free & run)
			return false;
	while (!atomic_cas(&word->free, &free, free | run));
	return true;
}

/* Is the frame before a word's first one an inner one? Known without a search but at a chunk's start. */
static bool word_starts_run(const struct pagecache *cache, const struct frame_word *word,
			    uint64_t pfn)
{
	if (pfn % CHUNK_FRAMES)
		return (atomic_load_relaxed(&word[-1].free) | atomic_load_relaxed(&word[-1].end)) >> 63;
	return pageheap_starts_run(cache->heap, pfn);
}

bool pagecache_put_run(struct pagecache *cache, void *addr, unsigned n)
{
	uintptr_t bit = pagecache_frame((void *)((uintptr_t)addr - (uintptr_t)cache->run.addr));
	struct frame_word *word = cache->run.word;
	uint64_t run = mask_low(n) << bit % 64;

	if (bit + n > 64 || !is_run(word, (unsigned)bit, run) ||
	    (!bit && !word_starts_run(cache, word, virt_to_phys(addr) >> FRAME_SHIFT)) ||
	    !claim_run(word, run))
		return false;
	atomic_store_relaxed(&cache->run.frames, cache->run.frames | run);
	cpu_local_add(&cache->other_frees, 1);
	return true;
}

static bool free_short(struct pagecache *cache, void *addr, unsigned n)
{
	struct frame_word *word;

	if (!cache->run_limit)
		return false;
	if (pagecache_put_run(cache, addr, n))
		return true;
	/* An empty run word may become another. */
	if (cache->run.frames)
		return false;
	word = word_for_cache(cache, addr);
	if (!word || word == cache->run.word)
		return false;
	cache->run.word = word;
	cache->run.addr = (void *)round_down((uintptr_t)addr, 64 * FRAME_SIZE);
	return pagecache_put_run(cache, addr, n);
}

/* ---- Whole chunks ---- */

void *pagecache_take_chunk(struct pagecache *cache)
{
	unsigned n = cache->nchunks;
	struct cached_chunk *last;

	if (!n)
		return NULL;
	last = &cache->chunk[n - 1];
	atomic_store_relaxed(&cache->nchunks, n - 1);
	atomic_store(&last->chunk->whole, CHUNK_WHOLE_USED);
	cpu_local_add(&cache->allocs, 1);
	return last->addr;
}

bool pagecache_put_chunk(struct pagecache *cache, void *addr)
{
	phys_addr_t pa = virt_to_phys(addr);
	uint8_t used = CHUNK_WHOLE_USED;
	struct chunk *chunk;

	if (cache->nchunks >= cache->chunk_limit || pa & (CHUNK_SIZE - 1) ||
	    !may_cache(pa >> FRAME_SHIFT))
		return false;
	chunk = chunk_find(cache->index, pa);
	if (!chunk || chunk->node != cache->node ||
	    !atomic_cas(&chunk->whole, &used, CHUNK_WHOLE_CACHED))
		return false;
	cache->chunk[cache->nchunks] = (struct cached_chunk){ addr, chunk };
	atomic_store_relaxed(&cache->nchunks, cache->nchunks + 1);
	cpu_local_add(&cache->other_frees, 1);
	return true;
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

bool pagecache_free(struct pagecache *cache, void *addr, uint64_t n)
{
	if (!n)
		return false;
	if (n == 1)
		return pagecache_free_frame(cache, addr);
	if (n <= PAGECACHE_RUN_MAX)
		return free_short(cache, addr, (unsigned)n);
	return n == CHUNK_FRAMES && pagecache_put_chunk(cache, addr);
}

/* ---- Many at once ---- */

/* Held frames of a word are handed out. */
static void hand_out(const struct held_word *held, void **pages)
{
	char *addr = held->addr;

	atomic_and(&held->word->free, ~held->frames);
	if (held->frames == ~0ULL) {
		for (unsigned i = 0; i < 64; i++)
			pages[i] = addr + i * FRAME_SIZE;
		return;
	}
	for (uint64_t frames = held->frames; frames; frames &= frames - 1)
		*pages++ = addr + ((uint64_t)__builtin_ctzll(frames) << FRAME_SHIFT);
}

static size_t pop_many(struct pagecache *cache, size_t n, void **pages)
{
	size_t i = 0;

	while (i < n && (pages[i] = alloc_frame(cache)))
		i++;
	return i;
}

/* Whole words on their way from the heap to the caller. */
static size_t pass_words(struct pagecache *cache, size_t n, void **pages)
{
	struct held_word words[BULK_WORDS];
	unsigned nwords = hold_frames(cache, n, words, ARRAY_SIZE(words));
	size_t done = 0;

	for (unsigned i = 0; i < nwords; i++) {
		hand_out(&words[i], pages + done);
		done += popcount64(words[i].frames);
	}
	return done;
}

size_t pagecache_alloc_bulk(struct pagecache *cache, size_t n, void **pages)
{
	struct held_word part;
	size_t done;

	if (!cache->run_limit)
		return pop_many(cache, n, pages);
	if (!cache->run.frames) {
		if (n > 64)
			done = pass_words(cache, n, pages);
		else
			done = 0;
		if (!done && !hold_frames(cache, 64, &cache->run, 1))
			return pop_many(cache, n, pages);
	} else {
		done = 0;
	}
	if (!done) {
		part = cache->run;
		if (n < 64)
			part.frames = lowest_bits(part.frames, n);
		atomic_store_relaxed(&cache->run.frames, cache->run.frames & ~part.frames);
		hand_out(&part, pages);
		done = popcount64(part.frames);
	}
	cpu_local_add(&cache->allocs, done);
	return done;
}

/* The frames at the start of an array that lie in one word, as a mask; a frame twice ends it. */
static size_t same_word(void **pages, size_t n, uint64_t *frames)
{
	uintptr_t key = pagecache_frame(pages[0]) >> 6;
	size_t i = 0;

	*frames = 0;
	for (; i < n; i++) {
		uintptr_t frame = pagecache_frame(pages[i]);
		uint64_t bit = 1ULL << frame % 64;

		if (frame >> 6 != key || *frames & bit)
			break;
		*frames |= bit;
	}
	return i;
}

/* Claimed frames of one word find a place; false: they are to go to the heap. */
static bool keep_frames(struct pagecache *cache, const struct held_word *held)
{
	if (held->addr == cache->run.addr || !cache->run.frames) {
		cache->run.word = held->word;
		cache->run.addr = held->addr;
		atomic_store_relaxed(&cache->run.frames, cache->run.frames | held->frames);
		return true;
	}
	if (held->frames & (held->frames - 1) || cache->top >= cache->limit)
		return false;
	*cache->top = (struct held_frame){
		.addr = (char *)held->addr + ((uint64_t)ctz64(held->frames) << FRAME_SHIFT),
		.word = held->word,
	};
	atomic_store_relaxed(&cache->top, cache->top + 1);
	cpu_local_add(&cache->taken, 1);
	return true;
}

/* Free the frames of one word together; false: they must be looked at one by one. */
static bool claim_word(struct pagecache *cache, void *addr, struct held_word *held)
{
	uint64_t pfn = virt_to_phys(addr) >> FRAME_SHIFT;
	struct frame_word *word = cache->last_word;
	uint64_t sure = held->frames & ~1ULL, free;

	if (pagecache_frame(addr) >> 6 != cache->last_key) {
		word = word_for_cache(cache, addr);
		if (!word)
			return false;
		cache->last_key = pagecache_frame(addr) >> 6;
		cache->last_word = word;
	}
	if ((word_singles(word) & sure) != sure ||
	    (held->frames & 1 && !is_single(cache, word, round_down(pfn, 64))))
		return false;
	held->word = word;
	held->addr = (char *)addr - (pfn % 64 << FRAME_SHIFT);
	free = atomic_load_relaxed(&word->free);
	do
		if (free & held->frames)
			return false;
	while (!atomic_cas(&word->free, &free, free | held->frames));
	return true;
}

size_t pagecache_free_bulk(struct pagecache *cache, size_t n, void **pages)
{
	struct held_word words[BULK_WORDS];
	unsigned nwords = 0;
	size_t done = 0, same;

	/* An NMI might have no place for what it has claimed. */
	if (!cache->run_limit)
		return 0;
	for (; done < n && nwords < BULK_WORDS; done += same) {
		struct held_word *held = &words[nwords];

		same = same_word(pages + done, n - done, &held->frames);
		if (!claim_word(cache, pages[done], held))
			break;
		if (!keep_frames(cache, held))
			nwords++;
	}
	if (nwords)
		pageheap_unhold_words(cache->heap, words, nwords);
	cpu_local_add(&cache->other_frees, done);
	return done;
}

/* ---- Emptying and checking ---- */

void pagecache_take_all(struct pagecache *cache, struct pagecache_haul *haul)
{
	haul->heap = cache->heap;
	haul->nframes = (unsigned)(cache->top - cache->bottom);
	haul->nchunks = cache->nchunks;
	haul->run = cache->run;
	memcpy(haul->frame, cache->bottom, haul->nframes * sizeof(haul->frame[0]));
	memcpy(haul->chunk, cache->chunk, haul->nchunks * sizeof(haul->chunk[0]));
	cpu_local_add(&cache->returned, haul->nframes);
	atomic_store_relaxed(&cache->top, cache->bottom);
	atomic_store_relaxed(&cache->run.frames, 0);
	atomic_store_relaxed(&cache->nchunks, 0);
	forget_places(cache);
}

void pagecache_give_back(const struct pagecache_haul *haul)
{
	if (haul->nframes)
		pageheap_unhold(haul->heap, haul->frame, haul->nframes);
	if (haul->run.frames)
		pageheap_unhold_words(haul->heap, &haul->run, 1);
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
	unsigned bad = 0;

	for (const struct held_frame *f = cache->bottom; f < cache->top; f++)
		bad += !all_held(f->word, 1ULL << pagecache_frame(f->addr) % 64);
	bad += !all_held(cache->run.word, cache->run.frames);
	for (unsigned i = 0; i < cache->nchunks; i++)
		bad += cache->chunk[i].chunk->whole != CHUNK_WHOLE_CACHED;
	if (bad)
		mm_log("page cache %p: %u of its frames are not held", (const void *)cache, bad);
	return bad;
}
