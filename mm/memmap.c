// SPDX-License-Identifier: MIT
/* The memory map; see memmap.h for the picture. */
#include "mm/memmap.h"

struct memmap main_map;

static const enum mem_state state_of_use[] = {
	[MEM_USE_FREE] = MEM_RESERVED,
	[MEM_USE_BOOT] = MEM_READY,
	[MEM_USE_KEPT] = MEM_NONE,
};

int memmap_init(struct memmap *map, const struct mem_range *ranges, size_t n)
{
	struct ram_table *table = &map->tables[0];

	if (n > MEMMAP_MAX_RANGES)
		return -ENOSPC;
	for (size_t i = 0; i < n; i++)
		table->range[i] = (struct ram_range){
			.base = ranges[i].base,
			.size = ranges[i].size,
			.node = (uint8_t)ranges[i].node,
			.use = (uint8_t)ranges[i].use,
			.pool = &map->pool[ranges[i].node],
		};
	table->n = n;
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		map->meta_top[node] = PFN_LIMIT << FRAME_SHIFT;
	atomic_store(&map->table, table);
	return 0;
}

/* Index of the first range that ends above @pa. */
static size_t search(const struct ram_table *table, phys_addr_t pa)
{
	size_t lo = 0, hi = atomic_load_relaxed(&table->n);

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (table->range[mid].base + table->range[mid].size <= pa)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

bool memmap_range(const struct memmap *map, phys_addr_t pa, struct ram_range *range)
{
	for (;;) {
		const struct ram_table *table = atomic_load(&map->table);
		size_t changes, at;

		if (!table)
			return false;
		changes = atomic_load(&table->changes);
		at = search(table, pa);
		if (at < table->n)
			*range = table->range[at];
		if (!(changes & 1) && atomic_load(&table->changes) == changes)
			return at < table->n;
	}
}

static enum mem_state state_by_range(const struct memmap *map, phys_addr_t pa)
{
	struct ram_range r;

	return memmap_range(map, pa, &r) && r.base <= pa ? state_of_use[r.use] : MEM_NONE;
}

enum mem_state memmap_state(const struct memmap *map, phys_addr_t pa)
{
	const struct chunk *chunk = chunk_find(&map->index, pa);

	return chunk ? chunk_frame_state(chunk, frame_in_chunk(pa)) : state_by_range(map, pa);
}

bool memmap_is_ram(const struct memmap *map, phys_addr_t base, uint64_t size)
{
	phys_addr_t at = base;

	while (at < base + size) {
		struct ram_range r;

		if (!memmap_range(map, at, &r) || r.base > at || r.use != MEM_USE_FREE)
			return false;
		at = r.base + r.size;
	}
	return true;
}

struct meta_pool *memmap_pool(struct memmap *map, phys_addr_t pa)
{
	struct ram_range r;

	return memmap_range(map, pa, &r) && r.base <= pa ? r.pool : &map->pool[0];
}

/* May metadata go to [base, base + size), which lies in one chunk and one free range? */
static bool good_for_metadata(const struct memmap *map, phys_addr_t base, uint64_t size)
{
	const struct chunk *chunk = chunk_find(&map->index, base);

	if (!chunk)
		return true;
	return (chunk->owner == CHUNK_FREE || chunk->owner == CHUNK_BOOT) && !chunk->busy &&
	       chunk_states_within(chunk, frame_in_chunk(base), (unsigned)(size >> FRAME_SHIFT),
				   1U << MEM_RESERVED);
}

static bool top_of_range(const struct memmap *map, const struct ram_range *r, phys_addr_t top,
			 uint64_t size, phys_addr_t *base)
{
	phys_addr_t end = round_down(MIN(r->base + r->size, top), size);

	for (; end >= size && end - size >= r->base; end -= size) {
		*base = end - size;
		if (good_for_metadata(map, *base, size))
			return true;
	}
	return false;
}

bool memmap_top_reserved(struct memmap *map, unsigned node, uint64_t size, phys_addr_t *base)
{
	unsigned long flags = spin_lock_irqsave(&map->change_lock);
	const struct ram_table *table = map->table;
	bool found = false;

	for (size_t i = table->n; i-- > 0 && !found;) {
		const struct ram_range *r = &table->range[i];

		if (r->node == node && r->use == MEM_USE_FREE && !r->arrived)
			found = top_of_range(map, r, map->meta_top[node], size, base);
	}
	map->meta_top[node] = found ? *base : 0;
	spin_unlock_irqrestore(&map->change_lock, flags);
	return found;
}

/* The first Reserved run of a chunk in [*at, end) that the heap may claim. */
static bool reserved_in_chunk(const struct chunk *chunk, phys_addr_t *at, phys_addr_t end,
			      uint64_t *size)
{
	if (chunk->owner == CHUNK_CALLER || chunk->busy)
		return false;
	while (*at < end) {
		unsigned frame = frame_in_chunk(*at);

		*size = MIN((uint64_t)chunk_state_run(chunk, frame) << FRAME_SHIFT, end - *at);
		if (chunk_frame_state(chunk, frame) == MEM_RESERVED)
			return true;
		*at += *size;
	}
	return false;
}

bool memmap_next_reserved(struct memmap *map, unsigned node, int arrived, phys_addr_t *base,
			  phys_addr_t end, uint64_t *size)
{
	phys_addr_t at = *base;
	struct ram_range r;

	while (at < end && memmap_range(map, at, &r)) {
		phys_addr_t range_end = MIN(r.base + r.size, end);

		if (r.node != node || r.use != MEM_USE_FREE ||
		    (arrived >= 0 && r.arrived != (bool)arrived)) {
			at = r.base + r.size;
			continue;
		}
		for (at = MAX(at, r.base); at < range_end;) {
			const struct chunk *chunk = chunk_find(&map->index, at);
			phys_addr_t stop = MIN(range_end, round_down(at, CHUNK_SIZE) + CHUNK_SIZE);

			*base = at;
			*size = stop - at;
			if (!chunk || reserved_in_chunk(chunk, base, stop, size))
				return true;
			at = stop;
		}
	}
	return false;
}

bool memmap_reserved_run(struct memmap *map, unsigned node, const struct run_wanted *want,
			 phys_addr_t *base)
{
	phys_addr_t at = want->lo << FRAME_SHIFT, end = want->hi << FRAME_SHIFT;
	uint64_t start = 0, stop = 0, size;

	while (memmap_next_reserved(map, node, -1, &at, end, &size)) {
		if (at >> FRAME_SHIFT != stop)
			start = at >> FRAME_SHIFT;
		at += size;
		stop = at >> FRAME_SHIFT;
		if (round_up(start, want->align) + want->n <= stop) {
			*base = round_up(start, want->align) << FRAME_SHIFT;
			return true;
		}
	}
	return false;
}

uint64_t memmap_longest(struct memmap *map, unsigned node)
{
	phys_addr_t at = 0, start = 0;
	uint64_t longest = 0;
	struct ram_range r;

	for (; memmap_range(map, at, &r); at = r.base + r.size) {
		if (r.node != node || r.use != MEM_USE_FREE) {
			start = r.base + r.size;
			continue;
		}
		if (r.base != at)
			start = r.base;
		longest = MAX(longest, r.base + r.size - start);
	}
	return longest >> FRAME_SHIFT;
}

/* Put what one range says into a chunk that is all None so far. */
static bool setup_chunk(struct memmap *map, struct chunk *chunk, phys_addr_t base,
			const struct ram_range *r)
{
	phys_addr_t lo = MAX(base, r->base), hi = MIN(base + CHUNK_SIZE, r->base + r->size);
	unsigned first = frame_in_chunk(lo), n = (unsigned)((hi - lo) >> FRAME_SHIFT);

	if (n < CHUNK_FRAMES && !chunk_side_get(chunk, memmap_pool(map, base)))
		return false;
	chunk_set_states(chunk, first, n, state_of_use[r->use]);
	chunk->node = r->node;
	chunk->fresh = PORT_RAM_IS_ZERO && n == CHUNK_FRAMES && r->use == MEM_USE_FREE;
	if (r->use == MEM_USE_BOOT)
		chunk->owner = CHUNK_BOOT;
	return true;
}

/* A record starts as what the ranges say, all of its frames held. */
static bool setup_arena(struct arena *arena, void *arg)
{
	struct memmap *map = arg;

	for (unsigned i = 0; i < ARENA_CHUNKS; i++) {
		struct chunk *chunk = &arena->chunk[i];
		phys_addr_t base = arena->base + i * CHUNK_SIZE, at = base;
		struct ram_range r;

		for (unsigned w = 0; w < CHUNK_WORDS; w++)
			chunk->word[w] = (struct frame_word){ .free = ~0ULL, .end = ~0ULL };
		while (at < base + CHUNK_SIZE && memmap_range(map, at, &r) &&
		       r.base < base + CHUNK_SIZE) {
			if (!setup_chunk(map, chunk, base, &r))
				return false;
			at = r.base + r.size;
		}
	}
	return true;
}

struct arena *memmap_arena(struct memmap *map, phys_addr_t pa)
{
	struct arena *arena = arena_find(&map->index, pa);

	if (likely(arena))
		return arena;
	return arena_get(&map->index, pa, memmap_pool(map, pa), setup_arena, map);
}

/* The walk: a run that grows as long as the state stays and nothing lies between. */
struct walk {
	int (*fn)(phys_addr_t base, uint64_t size, enum mem_state s, void *arg);
	void *arg;
	phys_addr_t base;
	uint64_t size;
	enum mem_state state;
};

static int walk_add(struct walk *w, phys_addr_t base, uint64_t size, enum mem_state state)
{
	int ret = 0;

	if (w->size && state == w->state && base == w->base + w->size) {
		w->size += size;
		return 0;
	}
	if (w->size)
		ret = w->fn(w->base, w->size, w->state, w->arg);
	w->base = base;
	w->size = size;
	w->state = state;
	return ret;
}

/* One range's part [at, end) of one arena's addresses. */
static int walk_arena(struct walk *w, const struct arena *arena, phys_addr_t at, phys_addr_t end)
{
	while (at < end) {
		const struct chunk *chunk = &arena->chunk[at >> CHUNK_SHIFT & (ARENA_CHUNKS - 1)];
		unsigned frame = frame_in_chunk(at);
		enum mem_state state = chunk_frame_state(chunk, frame);
		uint64_t run = (uint64_t)chunk_state_run(chunk, frame) << FRAME_SHIFT;
		int ret;

		run = MIN(run, end - at);
		ret = walk_add(w, at, run, state);
		if (ret)
			return ret;
		at += run;
	}
	return 0;
}

int memmap_walk(struct memmap *map,
		int (*fn)(phys_addr_t base, uint64_t size, enum mem_state s, void *arg), void *arg)
{
	struct walk w = { .fn = fn, .arg = arg };
	struct ram_range r;
	phys_addr_t at = 0;
	int ret = 0;

	while (!ret && memmap_range(map, at, &r)) {
		phys_addr_t end = r.base + r.size;

		for (at = MAX(at, r.base); at < end && !ret;) {
			phys_addr_t stop = MIN(end, round_down(at, ARENA_SIZE) + ARENA_SIZE);
			const struct arena *arena = arena_find(&map->index, at);

			ret = arena ? walk_arena(&w, arena, at, stop)
				    : walk_add(&w, at, stop - at, state_of_use[r.use]);
			at = stop;
		}
	}
	return !ret && w.size ? w.fn(w.base, w.size, w.state, w.arg) : ret;
}

enum mem_state mem_state(phys_addr_t pa)
{
	return memmap_state(&main_map, pa);
}

int mem_walk(int (*fn)(phys_addr_t base, uint64_t size, enum mem_state s, void *arg), void *arg)
{
	return memmap_walk(&main_map, fn, arg);
}
