// SPDX-License-Identifier: MIT
/*
 * Tiny objects; see tiny.h for the picture and the words.
 *
 * Locking: none of its own. A block that is filled belongs to one context of one
 * CPU, so that only frees come in between, and these change the block's word
 * atomically. Who closes a block of another context (tiny_flush_cpu(), which no
 * context that it can interrupt runs beside) takes it away first.
 */
#include "lib/string.h"
#include "mm/log.h"
#include "mm/metaframe.h"
#include "mm/misuse.h"
#include "mm/tiny.h"

#define SPAN_PAGES 2
#define SPAN_BLOCKS (SPAN_PAGES * PAGE_SIZE / TINY_BLOCK)

#define BLOCK_OPEN 1U
#define FIRST_BITS 0x55555555U
#define SECOND_BITS 0xaaaaaaaaU
#define START_BITS (FIRST_BITS & ~BLOCK_OPEN)

static_assert(SPAN_BLOCKS * sizeof(uint32_t) == FRAME_SIZE, "a span's words fill one frame");
static_assert(SPAN_BLOCKS <= SPAN_MAX_WORDS * 64, "a span has bits for its blocks");

/**
 * struct filling - what a context of a CPU fills.
 * @block: NULL if none
 * @word: the block's
 * @end: bytes of it that are handed out or gap
 * @next: a block of a span of this CPU whose objects are all freed, to be filled next;
 *	in use by its span's bits. Or NULL
 * @next_word: its
 * @objects, @blocks: taken since the start
 */
struct filling {
	char *block;
	uint32_t *word;
	size_t end;
	char *next;
	uint32_t *next_word;
	uint64_t objects, blocks;
} cacheline_aligned;

struct span_class tiny_class;
static struct class_cpu *tiny_cpus[PORT_MAX_CPUS];
static struct filling fillings[PORT_MAX_CPUS][4];

static_assert(MM_NR_CONTEXTS <= 4, "a column for each");

void tiny_init(void)
{
	span_class_init(&tiny_class, TINY_BLOCK, SPAN_PAGES, TINY_BLOCK);
	tiny_class.magic = tiny_class.reciprocal = 0;
	tiny_class.cpu = tiny_cpus;
}

/* ---- Words ---- */

static uint32_t first_bits(size_t size)
{
	return (SECOND_BITS & (uint32_t)mask_low((unsigned)(2 * size)) & ~3U) | BLOCK_OPEN;
}

static bool starts_at(uint32_t word, unsigned at)
{
	return word && (!at || word >> 2 * at & 1);
}

static bool freed_at(uint32_t word, unsigned at)
{
	return word >> (2 * at + 1) & 1;
}

/* The starts of objects that are not freed, in the first bit of their byte. */
static uint32_t live_starts(uint32_t word)
{
	return word ? ((word & START_BITS) | 1) & ~(word >> 1) : 0;
}

static bool all_done(uint32_t word)
{
	return !(word & BLOCK_OPEN) && !live_starts(word);
}

static size_t size_at(uint32_t word, unsigned at)
{
	size_t size = 1;

	while (at + size < TINY_BLOCK && (word >> 2 * (at + size) & 3) == 2)
		size++;
	return size;
}

/* ---- Blocks ---- */

static uint32_t *span_block_words(struct span *span)
{
	return atomic_load((uint32_t **)span_side(span));
}

static struct span *block_span(phys_addr_t pa)
{
	struct span *span = pagemap_lookup(pa);

	return likely(span != &null_span) ? span : pagemap_find(pa);
}

static void free_block(struct span *span, unsigned index)
{
	pagemap_entry_t entry = pagemap_entry_of(span);
	uint64_t word = index / 64;
	bool done = false;

	port_pin();
	if (atomic_load_relaxed(&span->cpu) == port_cpu() &&
	    span_bit_is_enough(&entry, index, &word)) {
		if (cpu_local_and(&span->used[word], all_but(index)))
			mcache_word_empty(NULL, entry);
		done = true;
	}
	port_unpin();
	if (!done)
		(void)mcache_free(span, index);
}

static void *take_block(gfp_t gfp)
{
	struct class_cpu *cpu;
	bool taken = false;
	void *block;

	port_pin();
	cpu = atomic_load(&tiny_cpus[port_cpu()]);
	if (cpu)
		taken = window_take(&cpu->window[port_context()], &block);
	port_unpin();
	return taken ? block : mcache_alloc(&tiny_class, gfp);
}

/* The words of a span, made when its first block is used. */
static uint32_t *make_words(struct span *span)
{
	uint32_t *words = span_block_words(span), *fresh;

	if (likely(words))
		return words;
	fresh = metaframe_alloc();
	if (!fresh)
		return NULL;
	memset(fresh, 0, FRAME_SIZE);
	if (atomic_cas((uint32_t **)span_side(span), &words, fresh))
		return fresh;
	metaframe_free(fresh);
	return words;
}

/* Nothing more goes into the block, which the caller has taken from whoever filled it. */
static never_inline void close_block(void *block, uint32_t *word)
{
	/* Frees that come meanwhile change no byte from free to used or back. */
	unsigned end = (63 - clz64(atomic_load(word))) / 2 + 1;
	/*
	 * What is left becomes a freed object: a word whose block is in use is
	 * never 0, which says that it was not used yet.
	 */
	uint32_t change = (end < TINY_BLOCK ? 3U << 2 * end : 0) - BLOCK_OPEN;
	uint32_t now = atomic_fetch_add(word, change) + change;
	phys_addr_t pa = virt_to_phys(block);
	struct span *span;

	if (!all_done(now))
		return;
	span = block_span(pa);
	free_block(span, (unsigned)((pa - span->base) / TINY_BLOCK));
}

/* ---- Allocating ---- */

static inline struct filling *my_filling(void)
{
	return &fillings[port_cpu()][port_context()];
}

/* By size: alignment less 1, and the bits of an object that is not a block's first. */
static const uint8_t pad[TINY_BLOCK] = { 0, 0, 1, 1, 3, 3, 3, 3, 7, 7, 7, 7, 7, 7, 7, 7 };
static const uint32_t bits_behind[TINY_BLOCK] = {
	0,	0x1,	 0x9,	  0x29,	    0xa9,     0x2a9,	 0xaa9,	    0x2aa9,
	0xaaa9, 0x2aaa9, 0xaaaa9, 0x2aaaa9, 0xaaaaa9, 0x2aaaaa9, 0xaaaaaa9, 0x2aaaaaa9,
};

/* Behind the last object of the block that is filled; pinned. NULL if there is no room. */
static inline void *put_behind(struct filling *f, size_t size)
{
	size_t at = (f->end + pad[size]) & ~(size_t)pad[size], end = at + size;
	char *block = f->block;
	uint32_t change;

	if (!block || end > TINY_BLOCK)
		return NULL;
	change = bits_behind[size] << 2 * at;
	/* Full, it is closed with its last object; so it is not all freed yet. */
	if (end == TINY_BLOCK) {
		f->block = NULL;
		change -= BLOCK_OPEN;
	}
	(void)atomic_fetch_add(f->word, change);
	f->end = end;
	f->objects++;
	return block + at;
}

/* The first object of a fresh block, which is filled from now on if it has more room. */
static void *put_first(struct filling *f, void *block, uint32_t *word, size_t size)
{
	char *old = f->block;
	uint32_t *old_word = f->word;
	size_t old_end = f->end;

	f->objects++;
	atomic_store(word, first_bits(size));
	if (old && old_end <= size) {
		close_block(block, word);
		return block;
	}
	f->word = word;
	f->end = size;
	f->block = block;
	if (old)
		close_block(old, old_word);
	return block;
}

static never_inline void *alloc_block(size_t size, gfp_t gfp)
{
	struct span *span;
	uint32_t *words;
	void *object, *block = take_block(gfp);
	size_t index;

	if (!block)
		return NULL;
	span = block_span(virt_to_phys(block));
	index = (virt_to_phys(block) - span->base) / TINY_BLOCK;
	words = make_words(span);
	if (!words) {
		free_block(span, (unsigned)index);
		return NULL;
	}
	port_pin();
	my_filling()->blocks++;
	object = put_first(my_filling(), block, &words[index], size);
	port_unpin();
	return object;
}

/* In the block that waits, if one does. */
static inline void *put_next(struct filling *f, size_t size)
{
	char *block = f->next;

	if (!block)
		return NULL;
	f->next = NULL;
	return put_first(f, block, f->next_word, size);
}

void *tiny_take(size_t size)
{
	struct filling *f;
	void *object;

	port_pin();
	f = my_filling();
	object = put_behind(f, size);
	if (!object)
		object = put_next(f, size);
	port_unpin();
	return object;
}

void *tiny_alloc(size_t size, gfp_t gfp)
{
	void *object = tiny_take(size);

	return likely(object) ? object : alloc_block(size, gfp);
}

/* ---- Freeing ---- */

/* All of a block's objects are freed, and the last one here. */
static void block_done(struct span *span, phys_addr_t pa, unsigned index, uint32_t *word)
{
	struct filling *f;
	bool waits;

	port_pin();
	f = my_filling();
	waits = !f->next && atomic_load_relaxed(&span->cpu) == port_cpu();
	if (waits) {
		f->next_word = word;
		f->next = phys_to_virt(round_down(pa, TINY_BLOCK));
	}
	port_unpin();
	if (!waits)
		free_block(span, index);
}

int tiny_free(struct span *span, phys_addr_t pa)
{
	unsigned index = (unsigned)((pa - span->base) / TINY_BLOCK);
	unsigned at = (unsigned)(pa % TINY_BLOCK);
	uint32_t *words = span_block_words(span), word, now;

	if (!words)
		return MM_INVALID_FREE;
	word = atomic_load(&words[index]);
	do {
		if (!starts_at(word, at))
			return MM_INVALID_FREE;
		if (freed_at(word, at))
			return MM_DOUBLE_FREE;
		now = word | 2U << 2 * at;
	} while (!atomic_cas(&words[index], &word, now));
	if (all_done(now))
		block_done(span, pa, index, &words[index]);
	return -1;
}

bool tiny_holds(struct span *span, phys_addr_t pa)
{
	uint32_t *words = span_block_words(span), word;
	unsigned at = (unsigned)(pa % TINY_BLOCK);

	word = words ? atomic_load(&words[(pa - span->base) / TINY_BLOCK]) : 0;
	return starts_at(word, at) && !freed_at(word, at);
}

size_t tiny_size(struct span *span, phys_addr_t pa)
{
	uint32_t *words = span_block_words(span), word;
	unsigned at = (unsigned)(pa % TINY_BLOCK);

	word = words ? atomic_load(&words[(pa - span->base) / TINY_BLOCK]) : 0;
	return starts_at(word, at) ? size_at(word, at) : 0;
}

/* ---- The whole of it ---- */

static void free_waiting(phys_addr_t pa)
{
	struct span *span = pagemap_find(pa);

	free_block(span, (unsigned)((pa - span->base) / TINY_BLOCK));
}

void tiny_flush_cpu(void)
{
	port_pin();
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++) {
		/* Interrupts that come before have put into it, those that come after do not. */
		char *block = atomic_xchg(&fillings[port_cpu()][c].block, NULL);
		phys_addr_t pa = block ? virt_to_phys(block) : 0;
		struct span *span = block ? pagemap_find(pa) : NULL;

		if (block)
			close_block(block, &span_block_words(span)[(pa - span->base) / TINY_BLOCK]);
		block = atomic_xchg(&fillings[port_cpu()][c].next, NULL);
		if (block)
			free_waiting(virt_to_phys(block));
	}
	mcache_flush_class(&tiny_class);
	port_unpin();
}

void tiny_span_ends(struct span *span)
{
	uint32_t *words = span_block_words(span);

	if (words)
		metaframe_free(words);
}

void tiny_count(struct span *span, uint64_t *live, uint64_t *bytes)
{
	uint32_t *words = span_block_words(span);

	for (size_t i = 0; words && i < SPAN_BLOCKS; i++) {
		uint32_t word = atomic_load(&words[i]);

		for (uint32_t left = live_starts(word); left; left &= left - 1) {
			(*live)++;
			*bytes += size_at(word, ctz64(left) / 2);
		}
	}
}

uint64_t tiny_allocs(void)
{
	uint64_t n = 0;

	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
			n += fillings[cpu][c].objects - fillings[cpu][c].blocks;
	return n;
}

static bool block_waits(const char *block)
{
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
			if (fillings[cpu][c].next == block)
				return true;
	return false;
}

/*
 * Blocks are in use by their words if and only if they are by their span's bits; but
 * for those that wait to be filled.
 */
static void check_span(struct span *span, void *arg)
{
	uint32_t *words = span_block_words(span);
	unsigned *bad = arg;

	if (span->class != &tiny_class)
		return;
	for (unsigned i = 0; i < SPAN_BLOCKS; i++) {
		bool used = span_word_live(span, i / 64) >> i % 64 & 1;

		if (used == (words && !all_done(words[i])) ||
		    (used && block_waits(span_object(span, i))))
			continue;
		mm_log("tiny block %u of the span at 0x%llx: word %08x", i,
		       (unsigned long long)span->base, words ? words[i] : 0);
		(*bad)++;
	}
}

unsigned tiny_check(void)
{
	unsigned bad = 0;

	span_for_each(check_span, &bad);
	return bad;
}
