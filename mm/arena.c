// SPDX-License-Identifier: MIT
/* Arenas and the states of a chunk's frames; see arena.h for the picture. */
#include "lib/string.h"
#include "mm/arena.h"

#define STATE_ODD 0x5555555555555555ULL /* low bit of each two-bit field */

#ifdef CONFIG_FLAT_ARENAS

struct arena *arena_get(struct arena_index *index, phys_addr_t pa, struct meta_pool *lasting,
			struct meta_pool *pool, bool (*setup)(struct arena *arena, void *arg),
			void *arg)
{
	static struct spinlock making;
	struct arena *arena = arena_find(index, pa);
	unsigned long flags;

	(void)lasting;
	if (arena || pa >> ARENA_SHIFT >= ARENA_COUNT)
		return arena;
	flags = spin_lock_irqsave(&making);
	arena = &index->flat[pa >> ARENA_SHIFT];
	if (!arena->present) {
		arena->base = round_down(pa, ARENA_SIZE);
		arena->pool = pool;
		if (setup(arena, arg))
			atomic_store(&arena->present, true);
		else
			arena = NULL;
	}
	spin_unlock_irqrestore(&making, flags);
	return arena;
}

struct arena *arena_next(const struct arena_index *index, phys_addr_t pa)
{
	for (uint64_t nr = pa >> ARENA_SHIFT; nr < ARENA_COUNT; nr++)
		if (atomic_load(&index->flat[nr].present))
			return (struct arena *)&index->flat[nr];
	return NULL;
}

void arena_hide(struct arena_index *index, struct arena *arena)
{
	(void)index;
	atomic_store(&arena->present, false);
}

static void drop_record(struct arena *arena)
{
	memset(arena, 0, sizeof(*arena));
}

#else

/* The second-level table for @nr, made if it is not there. */
static struct arena **l2_get(struct arena_index *index, uint64_t nr, struct meta_pool *pool)
{
	struct arena ***slot = &index->l1[nr >> ARENA_L2_BITS];
	struct arena **l2 = atomic_load(slot), **fresh;

	static_assert(ARENA_L2_COUNT * sizeof(struct arena *) == META_INDEX_SIZE,
		      "meta.h knows the size");
	if (l2)
		return l2;
	fresh = meta_alloc(pool, META_INDEX);
	if (!fresh)
		return NULL;
	if (atomic_cas(slot, &l2, fresh))
		return fresh;
	meta_free(pool, META_INDEX, fresh);
	return l2;
}

struct arena *arena_get(struct arena_index *index, phys_addr_t pa, struct meta_pool *lasting,
			struct meta_pool *pool, bool (*setup)(struct arena *arena, void *arg),
			void *arg)
{
	uint64_t nr = pa >> ARENA_SHIFT;
	struct arena *arena = arena_find(index, pa), *fresh;
	struct arena **l2;

	if (arena || nr >= ARENA_COUNT)
		return arena;
	l2 = l2_get(index, nr, lasting);
	fresh = l2 ? meta_alloc(pool, META_ARENA) : NULL;
	if (!fresh)
		return NULL;
	fresh->base = nr << ARENA_SHIFT;
	fresh->pool = pool;
	if (setup(fresh, arg)) {
		if (atomic_cas(&l2[nr % ARENA_L2_COUNT], &arena, fresh))
			return fresh;
		/* Another CPU was faster: arena is its record now. */
	}
	arena_drop(fresh);
	return arena;
}

struct arena *arena_next(const struct arena_index *index, phys_addr_t pa)
{
	uint64_t nr = pa >> ARENA_SHIFT;

	while (nr < ARENA_COUNT) {
		struct arena **l2 = atomic_load(&index->l1[nr >> ARENA_L2_BITS]);
		struct arena *arena = l2 ? atomic_load(&l2[nr % ARENA_L2_COUNT]) : NULL;

		if (arena)
			return arena;
		nr = l2 ? nr + 1 : round_down(nr, ARENA_L2_COUNT) + ARENA_L2_COUNT;
	}
	return NULL;
}

void arena_hide(struct arena_index *index, struct arena *arena)
{
	uint64_t nr = arena->base >> ARENA_SHIFT;

	atomic_store(&index->l1[nr >> ARENA_L2_BITS][nr % ARENA_L2_COUNT], NULL);
}

static void drop_record(struct arena *arena)
{
	meta_free(arena->pool, META_ARENA, arena);
}

#endif

void arena_drop(struct arena *arena)
{
	for (unsigned i = 0; i < ARENA_CHUNKS; i++)
		if (arena->chunk[i].side)
			meta_free(arena->pool, META_SIDE, arena->chunk[i].side);
	drop_record(arena);
}

/* A uniform chunk's state as the 32 fields of a side word. */
static uint64_t spread(unsigned state)
{
	return state * STATE_ODD;
}

struct chunk_side *chunk_side_get(struct chunk *chunk, struct meta_pool *pool)
{
	struct chunk_side *side = atomic_load(&chunk->side), *fresh;

	if (side)
		return side;
	fresh = meta_alloc(pool, META_SIDE);
	if (!fresh)
		return NULL;
	if (atomic_cas(&chunk->side, &side, fresh))
		return fresh;
	meta_free(pool, META_SIDE, fresh);
	return side;
}

/* The fields of frames [first, first + n) that lie in word w, both bits each. */
static uint64_t fields_in_word(unsigned w, unsigned first, unsigned n)
{
	unsigned lo = MAX(first, w * 32), hi = MIN(first + n, w * 32 + 32);

	return mask_range((lo - w * 32) * 2, (hi - lo) * 2);
}

/* The low bit of each field whose state is in the set. */
static uint64_t match_fields(uint64_t states, unsigned allowed)
{
	uint64_t lo = states & STATE_ODD, hi = states >> 1 & STATE_ODD, match = 0;

	if (allowed & 1U << MEM_NONE)
		match |= ~hi & ~lo;
	if (allowed & 1U << MEM_RESERVED)
		match |= ~hi & lo;
	if (allowed & 1U << MEM_PREPARED)
		match |= hi & ~lo;
	if (allowed & 1U << MEM_READY)
		match |= hi & lo;
	return match & STATE_ODD;
}

bool chunk_states_within(const struct chunk *chunk, unsigned first, unsigned n, unsigned allowed)
{
	unsigned whole = atomic_load(&chunk->state);

	if (whole != CHUNK_MIXED)
		return allowed >> whole & 1;
	for (unsigned w = first / 32; w <= (first + n - 1) / 32; w++) {
		uint64_t wanted = fields_in_word(w, first, n) & STATE_ODD;

		if (wanted & ~match_fields(atomic_load(&chunk->side->state[w]), allowed))
			return false;
	}
	return true;
}

void chunk_set_states(struct chunk *chunk, unsigned first, unsigned n, enum mem_state state)
{
	struct chunk_side *side = chunk->side;
	bool uniform = true;

	if (n == CHUNK_FRAMES) {
		atomic_store(&chunk->state, (uint8_t)state);
		return;
	}
	if (chunk->state != CHUNK_MIXED) {
		for (unsigned w = 0; w < ARRAY_SIZE(side->state); w++)
			atomic_store(&side->state[w], spread(chunk->state));
		atomic_store(&chunk->state, CHUNK_MIXED);
	}
	for (unsigned w = first / 32; w <= (first + n - 1) / 32; w++) {
		uint64_t fields = fields_in_word(w, first, n);

		atomic_store(&side->state[w],
			     (side->state[w] & ~fields) | (spread(state) & fields));
	}
	for (unsigned w = 0; w < ARRAY_SIZE(side->state) && uniform; w++)
		uniform = side->state[w] == spread(state);
	if (uniform)
		atomic_store(&chunk->state, (uint8_t)state);
}

unsigned chunk_run_in_state(const struct chunk *chunk, unsigned first, enum mem_state state)
{
	unsigned whole = atomic_load(&chunk->state), at = first;

	if (whole != CHUNK_MIXED)
		return whole == state ? CHUNK_FRAMES - first : 0;
	while (at < CHUNK_FRAMES) {
		unsigned in_word = at % 32;
		uint64_t word = atomic_load(&chunk->side->state[at / 32]);
		uint64_t other = ~match_fields(word, 1U << state) & STATE_ODD &
				 ~mask_low(in_word * 2);

		if (other)
			return at - in_word + ctz64(other) / 2 - first;
		at += 32 - in_word;
	}
	return CHUNK_FRAMES - first;
}

/* A short run, by words: n frames are fields that match together, at multiples of n. */
static unsigned last_in_words(const struct chunk *chunk, unsigned first, unsigned end, unsigned n,
			      enum mem_state state)
{
	uint64_t starts = ~0ULL / ((1ULL << 2 * n) - 1);

	for (unsigned w = (end - 1) / 32 + 1; w-- > first / 32;) {
		uint64_t match = match_fields(atomic_load(&chunk->side->state[w]), 1U << state) &
				 fields_in_word(w, first, end - first);

		for (unsigned have = 1; have < n; have *= 2)
			match &= match >> 2 * have;
		match &= starts;
		if (match)
			return w * 32 + (63 - (unsigned)__builtin_clzll(match)) / 2;
	}
	return CHUNK_FRAMES;
}

unsigned chunk_last_in_state(const struct chunk *chunk, unsigned first, unsigned end, unsigned n,
			     enum mem_state state)
{
	if (first == end)
		return CHUNK_FRAMES;
	if (n < 32 && atomic_load(&chunk->state) == CHUNK_MIXED)
		return last_in_words(chunk, first, end, n, state);
	for (unsigned top = (unsigned)round_down(end, n); top >= first + n; top -= n)
		if (chunk_states_within(chunk, top - n, n, 1U << state))
			return top - n;
	return CHUNK_FRAMES;
}

unsigned chunk_state_run(const struct chunk *chunk, unsigned first)
{
	unsigned n;

	do
		n = chunk_run_in_state(chunk, first, chunk_frame_state(chunk, first));
	while (!n);
	return n;
}

unsigned chunk_count_state(const struct chunk *chunk, unsigned first, unsigned n,
			   enum mem_state state)
{
	unsigned count = 0;

	if (chunk->state != CHUNK_MIXED)
		return chunk->state == state ? n : 0;
	for (unsigned w = first / 32; w <= (first + n - 1) / 32; w++)
		count += popcount64(match_fields(chunk->side->state[w], 1U << state) &
				    fields_in_word(w, first, n));
	return count;
}
