/* SPDX-License-Identifier: MIT */
/*
 * Page caches: frames at hand, for one CPU in one context, without lock, interrupt
 * masking or a look at the page heap.
 *
 *	             port_frame_cache()
 *	                        │
 *	 order 0     slots  [ frame, frame, frame │ ·  ·  · ]     last in, first out
 *	                                          top
 *	 2..32       run    one word of 64 frames, the free ones as a mask
 *	 in bulk     words  [ word, word, word ]  more of them
 *	 512         chunks [ chunk, chunk ]
 *	                        │  batches, one hold of the heap's lock each
 *	                    page heap of the nearest node
 *
 * A frame in slots, run or words is held: its bits (1,1) tell everybody that it is free,
 * and the page heap's search does not see it. To hand it out its free bit is
 * cleared, to take it back the bit is set; both by one locked instruction, since
 * other CPUs change other bits of the word. Whoever sets the bit first has freed
 * the frame: so a double free is found at once, on whichever CPU, and a frame is
 * never in two places. A chunk keeps the bits of a used run and says by its
 * @whole that it is cached.
 *
 * What lies above top is no longer in the cache, but still right: a frame that
 * is freed where the last one was taken from finds its word there, and a whole
 * chunk its record. Other frees remember the last word, and some chunks. All are
 * forgotten in a drain, which must therefore come before memory leaves.
 *
 * Only the CPU's own flow in the cache's context touches a cache, pinned; an
 * interrupt and an NMI have theirs. Others ask by port_run_on(), and what they
 * are given they return to the heap themselves: an NMI that is asked never needs
 * the lock, and none is held while waiting. A task's cache is given by an
 * interrupt of its CPU, unless @busy says that it has cut into the task's work
 * there; then it is asked again. So nobody has to wait until a task lets others
 * run, and a task that allocates without end cannot keep a drain waiting.
 *
 * While failures are injected every cache's @floor is above all slots: so the hot
 * path finds nothing there and need not ask. See pagecache_hide().
 *
 * The stack of pointers is Linux's per-CPU list made an array, the word is Go's
 * pageCache (runtime/mpagecache.go).
 */
#ifndef MM_PAGECACHE_H
#define MM_PAGECACHE_H

#include <spanheap/page.h>

#include "mm/framebits.h"
#include "mm/pagehold.h"

#define PAGECACHE_ORDER_MAX 5 /* longer runs but whole chunks are the heap's */
#define PAGECACHE_RUN_MAX (1U << PAGECACHE_ORDER_MAX)
#define PAGECACHE_WORDS 8
#define PAGECACHE_CHUNKS 4 /* one more slot is always empty */
#define PAGECACHE_SLOTS 255 /* of the largest cache; with one more they fill a frame */
#define PAGECACHE_PLACES 8
#define PAGECACHE_NO_KEY (~(uintptr_t)0)

/** struct chunk_place - where the words of a chunk are; @key: address >> 21. */
struct chunk_place {
	uintptr_t key;
	struct frame_word *word;
};

/**
 * struct pagecache - one context's on one CPU.
 * @top: next free slot; read by others for statistics
 * @floor: an allocation takes slots above this one only: @bottom, or HIDDEN
 * @busy: the owner is between pagecache_enter() and pagecache_leave()
 * @bottom: first slot
 * @limit: at and above this slot nothing is put; lowered when more CPUs come
 * @last_key: address >> 18 of the last word freed into, or PAGECACHE_NO_KEY
 * @last_word: that word
 * @place: chunks freed into, each where its key says
 * @frees: single frames that were freed into slots
 * @run: a word; its @frames are in the cache
 * @words, @nwords: others, and how many; @word_frames: frames of theirs
 * @chunk, @nchunks: whole chunks
 * @run_limit, @word_limit, @chunk_limit: how many frames, and chunks, there may be
 * @nslots: how many slots there are, but for one more that ends them
 * @taken, @returned: single frames that came into slots or left them otherwise
 *	than by the calls counted in @frees and by allocations
 * @allocs, @other_frees: calls for runs and chunks, and frames in bulk
 * @retries: another CPU changed a word between a look at it and the change
 * @heap, @index, @node: where its frames come from
 * @home: the chunk of it where refills start
 */
struct pagecache {
	struct held_frame *top, *floor, *limit;
	unsigned busy;
	uintptr_t last_key;
	struct frame_word *last_word;
	uint64_t frees;
	struct chunk_place place[PAGECACHE_PLACES];
	struct held_word run;
	struct held_word words[PAGECACHE_WORDS];
	unsigned nwords, word_frames, word_limit;
	struct held_frame *bottom;
	struct whole_chunk chunk[PAGECACHE_CHUNKS + 1];
	unsigned nchunks, chunk_limit, run_limit, nslots;
	uint64_t taken, returned;
	uint64_t allocs, other_frees, retries;
	struct pageheap *heap;
	const struct arena_index *index;
	unsigned node;
	struct hold_home home;
};

/** struct pagecache_haul - all that was in a cache. */
struct pagecache_haul {
	struct pageheap *heap;
	unsigned nframes, nwords, nchunks;
	struct held_word run;
	struct held_word words[PAGECACHE_WORDS];
	struct held_frame frame[PAGECACHE_SLOTS];
	struct whole_chunk chunk[PAGECACHE_CHUNKS];
};

/*
 * A number that is the frame's, if the address is a frame's, and else greater than
 * any: what is below a frame's bits is rotated above them.
 */
static inline uintptr_t pagecache_frame(const void *addr)
{
	uintptr_t a = (uintptr_t)addr;

	return a >> FRAME_SHIFT | a << (64 - FRAME_SHIFT);
}

/** pagecache_enter() - the running CPU's and context's cache, from now on in use and pinned. */
static inline struct pagecache *pagecache_enter(void)
{
	struct pagecache *cache;

	port_pin();
	cache = port_frame_cache();
	atomic_store_relaxed(&cache->busy, 1);
	compiler_barrier();
	return cache;
}

static inline void pagecache_leave(struct pagecache *cache)
{
	compiler_barrier();
	atomic_store_relaxed(&cache->busy, 0);
	port_unpin();
}

/* The frame on top is no longer free; there is one. */
static inline void *pagecache_take_top(struct pagecache *cache)
{
	struct held_frame *top = cache->top - 1;
	void *addr = top->addr;
	struct frame_word *word = top->word;

	atomic_store_relaxed(&cache->top, top);
	atomic_and(&word->free, word_all_but((uintptr_t)addr >> FRAME_SHIFT));
	return addr;
}

/** pagecache_has_frame() - may pagecache_take_top() be called? By the cache's owner, pinned. */
static inline bool pagecache_has_frame(const struct pagecache *cache)
{
	return cache->top > atomic_load_relaxed(&cache->floor);
}

/* Low windows are for those who need them; their frames are not cached. */
#define PAGECACHE_LOWEST window_start(WINDOW_DMA32)

/* Make last_word that of a frame; false if its chunk is not remembered. */
static force_inline bool pagecache_recall(struct pagecache *cache, uintptr_t frame)
{
	uintptr_t key = frame / CHUNK_FRAMES;
	const struct chunk_place *place = &cache->place[key % PAGECACHE_PLACES];

	if (unlikely(place->key != key))
		return false;
	cache->last_key = frame / 64;
	cache->last_word = &place->word[frame / 64 % CHUNK_WORDS];
	return true;
}

/* The chunk of a frame that this cache may hold, remembered; or NULL. */
static inline struct chunk *pagecache_chunk_of(struct pagecache *cache, uintptr_t frame)
{
	uint64_t pfn = frame - ((uintptr_t)PORT_DIRECT_BASE >> FRAME_SHIFT);
	uintptr_t key = frame / CHUNK_FRAMES;
	struct chunk *chunk;

	if (unlikely(pfn - PAGECACHE_LOWEST >= PFN_LIMIT - PAGECACHE_LOWEST))
		return NULL;
	chunk = chunk_find(cache->index, pfn << FRAME_SHIFT);
	if (unlikely(!chunk) || unlikely(chunk->node != cache->node))
		return NULL;
	cache->place[key % PAGECACHE_PLACES] = (struct chunk_place){ key, chunk->word };
	return chunk;
}

/* Make last_word that of a frame; false if the frame is not for this cache. */
static inline bool pagecache_find_word(struct pagecache *cache, uintptr_t frame)
{
	struct chunk *chunk;

	if (frame / 64 == cache->last_key || pagecache_recall(cache, frame))
		return true;
	chunk = pagecache_chunk_of(cache, frame);
	if (unlikely(!chunk))
		return false;
	cache->last_key = frame / 64;
	cache->last_word = &chunk->word[frame / 64 % CHUNK_WORDS];
	return true;
}

/* Check and claim a frame, and keep it in the slot @top; false: nothing has changed. */
static force_inline bool pagecache_put_frame(struct pagecache *cache, struct held_frame *top,
					     uintptr_t frame)
{
	struct frame_word *word = top->word;

	if (unlikely(!(word_singles(word) >> frame % 64 & 1)) || unlikely(!word_claim(word, frame)))
		return false;
	atomic_store_relaxed(&cache->top, top + 1);
	cpu_local_add(&cache->frees, 1);
	return true;
}

/**
 * pagecache_push() - a single frame into the slots. By the cache's owner, pinned.
 *
 * Return: false if that needs a longer look: nothing has changed.
 */
static force_inline bool pagecache_push(struct pagecache *cache, void *addr)
{
	uintptr_t frame = pagecache_frame(addr);
	struct held_frame *top = cache->top;

	if (unlikely(top->addr != addr)) {
		if (top >= atomic_load_relaxed(&cache->limit) ||
		    (frame / 64 != cache->last_key && !pagecache_recall(cache, frame)))
			return false;
		*top = (struct held_frame){ addr, cache->last_word };
	}
	return pagecache_put_frame(cache, top, frame);
}

/** pagecache_push_far() - the same for a frame whose chunk is not remembered. */
static inline bool pagecache_push_far(struct pagecache *cache, void *addr)
{
	uintptr_t frame = pagecache_frame(addr);
	struct held_frame *top = cache->top;
	struct chunk *chunk;

	if (unlikely(top >= atomic_load_relaxed(&cache->limit)))
		return false;
	chunk = pagecache_chunk_of(cache, frame);
	if (unlikely(!chunk))
		return false;
	*top = (struct held_frame){ addr, &chunk->word[frame / 64 % CHUNK_WORDS] };
	return pagecache_put_frame(cache, top, frame);
}

/* These frames of the run word are handed out as one run that starts at @bit. */
static inline void *pagecache_take_run(struct pagecache *cache, unsigned bit, uint64_t run)
{
	struct frame_word *word = cache->run.word;

	atomic_store_relaxed(&cache->run.frames, cache->run.frames & ~run);
	atomic_and(&word->free, ~run);
	atomic_and(&word->end, ~(run & run >> 1));
	cpu_local_add(&cache->allocs, 1);
	return (char *)cache->run.addr + ((uint64_t)bit << FRAME_SHIFT);
}

/* Fields of 2^order bits: the lowest bit of each, the highest of each, and one field. */
struct pagecache_order {
	uint64_t low, high, field;
};

extern const struct pagecache_order pagecache_orders[PAGECACHE_ORDER_MAX + 1];

/**
 * pagecache_take_order() - a naturally aligned run of 2 to PAGECACHE_RUN_MAX frames; or NULL.
 *
 * A field of zeroes among the frames that are not there, by the subtraction that
 * finds a zero byte in a string; the lowest one that it finds is always right. By
 * the cache's owner, pinned.
 */
static inline void *pagecache_take_order(struct pagecache *cache, unsigned order)
{
	const struct pagecache_order *o = &pagecache_orders[order];
	uint64_t frames = cache->run.frames, fits = (~frames - o->low) & frames & o->high;
	unsigned bit;

	if (unlikely(!fits))
		return NULL;
	bit = ((unsigned)__builtin_ctzll(fits) >> order) << order;
	return pagecache_take_run(cache, bit, o->field << bit);
}

/* Used frames of a word that was read as @free become free; false if one is already. */
static inline bool pagecache_claim(struct pagecache *cache, struct frame_word *word, uint64_t free,
				   uint64_t frames)
{
	while (likely(!(free & frames))) {
		if (likely(atomic_cas(&word->free, &free, free | frames)))
			return true;
		cpu_local_add(&cache->retries, 1);
	}
	return false;
}

/* Used frames of the run word become held; false if another CPU has freed the run meanwhile. */
static inline bool pagecache_claim_run(struct pagecache *cache, uint64_t run)
{
	struct frame_word *word = cache->run.word;
	uint64_t free = atomic_load_relaxed(&word->free);

	atomic_or(&word->end, run);
	if (unlikely(!pagecache_claim(cache, word, free, run)))
		return false;
	atomic_store_relaxed(&cache->run.frames, cache->run.frames | run);
	cpu_local_add(&cache->other_frees, 1);
	return true;
}

/**
 * pagecache_find_run() - is this a used run of 2 to PAGECACHE_RUN_MAX frames of the run word?
 * @run: gets its frames
 *
 * By the cache's owner, pinned.
 */
static inline bool pagecache_find_run(const struct pagecache *cache, const void *addr, unsigned n,
				      uint64_t *run)
{
	uintptr_t bit = pagecache_frame((void *)((uintptr_t)addr - (uintptr_t)cache->run.addr));
	const struct frame_word *word = cache->run.word;
	uint64_t before;

	*run = ((1ULL << n) - 1) << bit % 64;
	if (unlikely(bit + n > 64) || unlikely(!word_is_run(word, *run)))
		return false;
	/* The frame before is in the word before, but at a chunk's start. */
	if (bit)
		before = word_edges(word) >> (bit - 1);
	else if (virt_to_phys(addr) & (CHUNK_SIZE - 1))
		before = word_edges(word - 1) >> 63;
	else
		return false;
	return before & 1;
}

/** pagecache_run_chunk() - the chunk of the run word, if there is one; @addr: in the word. */
static inline const struct chunk *pagecache_run_chunk(const struct pagecache *cache,
						      const void *addr)
{
	const struct frame_word *first = cache->run.word - pagecache_frame(addr) / 64 % CHUNK_WORDS;

	return (const struct chunk *)first;
}

/** pagecache_put_run() - such a run back into the run word; false: nothing has changed. */
static inline bool pagecache_put_run(struct pagecache *cache, void *addr, unsigned n)
{
	uint64_t run;

	return pagecache_find_run(cache, addr, n, &run) && pagecache_claim_run(cache, run);
}

/** pagecache_take_chunk() - a whole chunk; or NULL. By the cache's owner, pinned. */
static inline void *pagecache_take_chunk(struct pagecache *cache)
{
	unsigned n = cache->nchunks;
	struct whole_chunk *last;

	if (!n)
		return NULL;
	last = &cache->chunk[n - 1];
	atomic_store_relaxed(&cache->nchunks, n - 1);
	atomic_store(&last->chunk->whole, CHUNK_WHOLE_USED);
	cpu_local_add(&cache->allocs, 1);
	return last->addr;
}

/**
 * pagecache_chunk_at() - the chunk that starts at an address, if this cache may hold it; or NULL.
 *
 * One that is freed where the last one was taken from is found there. By the owner,
 * pinned.
 */
static inline struct chunk *pagecache_chunk_at(const struct pagecache *cache, const void *addr)
{
	const struct whole_chunk *slot = &cache->chunk[cache->nchunks];
	phys_addr_t pa = virt_to_phys(addr);
	struct chunk *chunk;

	if (likely(slot->addr == addr))
		return slot->chunk;
	if (pa & (CHUNK_SIZE - 1) || pa >> FRAME_SHIFT < PAGECACHE_LOWEST)
		return NULL;
	chunk = chunk_find(cache->index, pa);
	return chunk && chunk->node == cache->node ? chunk : NULL;
}

/**
 * pagecache_put_chunk() - a whole chunk back; false: nothing has changed. By the owner, pinned.
 * @chunk: that of pagecache_chunk_at()
 */
static inline bool pagecache_put_chunk(struct pagecache *cache, void *addr, struct chunk *chunk)
{
	unsigned n = cache->nchunks;
	uint8_t used = CHUNK_WHOLE_USED;

	if (n >= atomic_load_relaxed(&cache->chunk_limit) ||
	    !atomic_cas(&chunk->whole, &used, CHUNK_WHOLE_CACHED))
		return false;
	cache->chunk[n] = (struct whole_chunk){ addr, chunk };
	atomic_store_relaxed(&cache->nchunks, n + 1);
	cpu_local_add(&cache->other_frees, 1);
	return true;
}

/**
 * pagecache_init() - an instance without frames and without room.
 * @number: the CPU's, or any other that tells it from those that work beside it
 * @slots: its slots, one more than @nslots
 */
void pagecache_init(struct pagecache *cache, struct pageheap *heap, unsigned number,
		    struct held_frame *slots, unsigned nslots);

/**
 * pagecache_set_room() - how many single frames, frames in words, and chunks there may be.
 *
 * Below 64 frames in words there are none; the first 64 are the run word's.
 */
void pagecache_set_room(struct pagecache *cache, unsigned frames, unsigned words, unsigned chunks);

/**
 * pagecache_alloc() - a run out of the cache, refilled from its heap if need be.
 * @n, @align: frames
 *
 * By the cache's owner, pinned. Return: its address, or NULL: ask the heap.
 */
void *pagecache_alloc(struct pagecache *cache, uint64_t n, uint64_t align);

/** pagecache_free() - likewise. Return: false: nothing has changed, ask the heap. */
bool pagecache_free(struct pagecache *cache, void *addr, uint64_t n);

/** pagecache_free_frame() - a single frame, spilling others if need be; likewise. */
bool pagecache_free_frame(struct pagecache *cache, void *addr);

/**
 * pagecache_alloc_bulk() - up to @n single frames. By the cache's owner, pinned.
 *
 * Bounded work: call again. Return: how many; 0: ask the heap.
 */
size_t pagecache_alloc_bulk(struct pagecache *cache, size_t n, void **pages);

/** PAGECACHE_BULK - at most so many are looked at in one call. */
#define PAGECACHE_BULK 64

/**
 * pagecache_free_bulk() - single frames back. By the cache's owner, pinned.
 * @failed: gets a bit for each that is not for here: nothing has changed for it
 *
 * Bounded work: call again. Return: how many were looked at, from the start; those
 * that did not fail are free. 0: the cache has no room for any.
 */
size_t pagecache_free_bulk(struct pagecache *cache, size_t n, void **pages, uint64_t *failed);

/*
 * For pagebulk.c.
 */

/**
 * pagecache_hold() - frames of the heap, held for the cache, from the highest window that has any.
 * @n: up to so many
 * @whole_words: all free frames of the last word, even if these are more
 *
 * Return: how many of @words were filled.
 */
unsigned pagecache_hold(struct pagecache *cache, uint64_t n, bool whole_words,
			struct held_word words[CHUNK_WORDS]);

/** pagecache_is_first() - is a word's first frame, at @addr, a run of its own? */
bool pagecache_is_first(const struct pagecache *cache, const struct frame_word *word,
			const void *addr);

/** pagecache_take_all() - empty a cache. By its owner, pinned; never waits. */
void pagecache_take_all(struct pagecache *cache, struct pagecache_haul *haul);

/** pagecache_give_back() - return it to the heap. By anybody but an NMI. */
void pagecache_give_back(const struct pagecache_haul *haul);

/** pagecache_check() - are all frames in the cache held? Return: how many are not. */
unsigned pagecache_check(const struct pagecache *cache);

/** pagecache_held() - frames in the cache; of another's a hint. */
uint64_t pagecache_held(const struct pagecache *cache);

/** struct pagecache_sums - what caches of a heap hold, calls that they served, failed CAS. */
struct pagecache_sums {
	uint64_t frames, allocs, frees, retries;
};

/** pagecache_add_sums() - add those of a cache if it is one of @heap. */
void pagecache_add_sums(const struct pagecache *cache, const struct pageheap *heap,
			struct pagecache_sums *sums);

/* The machine's caches; pagecpu.c. */

#define PAGECACHE_HIDDEN ((struct held_frame *)~(uintptr_t)(sizeof(struct held_frame) - 1))

/** pagecache_init_none() - the calling CPU has caches without room until pagecache_init_cpu(). */
void pagecache_init_none(void);

/** pagecache_init_cpu() - make those of the calling CPU. Return: 0 or -ENOMEM. */
int pagecache_init_cpu(void);

/** pagecache_exit_cpu() - empty and end them. Task context, waits. */
void pagecache_exit_cpu(void);

/** pagecache_show() - the hot path may use this cache again, unless failures are injected. By its
 * owner. */
void pagecache_show(struct pagecache *cache);

/** pagecache_hide() - failures are injected: every call takes the long way until that ends. */
void pagecache_hide(void);

/**
 * pagecache_drain() - give all that is cached back to the heaps.
 *
 * Also forgets all places of frames. Task context, interrupts on, nothing pinned
 * or locked; waits for the other CPUs.
 */
void pagecache_drain(void);

/**
 * pagecache_reclaim() - the same for caches that are not empty, before an allocation fails.
 * @may_wait: as pagecache_drain(); else only what the context may touch on its
 *	own CPU
 *
 * Any context. Return: was there any?
 */
bool pagecache_reclaim(bool may_wait);

/** pagecache_sum() - of all caches of a heap. */
struct pagecache_sums pagecache_sum(const struct pageheap *heap);

/** pagecache_check_all() - all caches hold what they should, and nothing is held elsewhere. */
unsigned pagecache_check_all(void);

#endif
