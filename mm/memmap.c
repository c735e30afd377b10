// SPDX-License-Identifier: MIT
/* The memory map; see memmap.h for the picture. */
#include "mm/memmap.h"

struct memmap main_map;

static const enum mem_state state_of_use[] = {
	[MEM_USE_FREE] = MEM_RESERVED,
	[MEM_USE_BOOT] = MEM_READY,
	[MEM_USE_KEPT] = MEM_NONE,
};

static bool add_range(struct memmap *map, const struct mem_range *r, phys_addr_t base,
		      uint64_t size, unsigned node)
{
	struct ram_table *table = &map->tables[0];

	if (table->n == MEMMAP_MAX_RANGES)
		return false;
	table->range[table->n++] = (struct ram_range){
		.base = base,
		.size = size,
		.node = (uint8_t)node,
		.use = (uint8_t)r->use,
		.pool = memmap_node_pool(map, node),
	};
	if (r->use == MEM_USE_FREE)
		map->reserved[node] += size >> FRAME_SHIFT;
	return true;
}

/*
 * A chunk is of one node, that of its first RAM: a border of two nodes inside a
 * chunk moves up to the chunk's end.
 */
static bool add_by_chunk(struct memmap *map, const struct mem_range *r)
{
	const struct ram_table *table = &map->tables[0];
	const struct ram_range *last = table->n ? &table->range[table->n - 1] : NULL;
	phys_addr_t stop = last ? round_up(last->base + last->size, CHUNK_SIZE) : 0;
	unsigned node = (unsigned)r->node;
	uint64_t head;

	if (stop <= r->base || last->node == node)
		return add_range(map, r, r->base, r->size, node);
	head = MIN(r->size, stop - r->base);
	return add_range(map, r, r->base, head, last->node) &&
	       (head == r->size || add_range(map, r, r->base + head, r->size - head, node));
}

int memmap_init(struct memmap *map, const struct mem_range *ranges, size_t n)
{
	struct ram_table *table = &map->tables[0];

	for (size_t i = 0; i < n; i++)
		if (!add_by_chunk(map, &ranges[i]))
			return -ENOSPC;
	for (unsigned node = 0; node < PORT_MAX_NODES; node++)
		map->meta_top[node] = PFN_LIMIT << FRAME_SHIFT;
	atomic_store(&map->table, table);
	return 0;
}

#define RANGE_WORDS (sizeof(struct ram_range) / sizeof(uint64_t))

static_assert(sizeof(struct ram_range) == RANGE_WORDS * sizeof(uint64_t), "copied by words");

/*
 * A table may be filled while somebody reads it, so every word of it is an
 * atomic access: loads that acquire come before the last look at @changes, and
 * stores that release come after the first change of it.
 */
static struct ram_range load_range(const struct ram_range *from)
{
	struct ram_range range;

	for (unsigned i = 0; i < RANGE_WORDS; i++)
		((uint64_t *)&range)[i] = atomic_load((const uint64_t *)from + i);
	return range;
}

static void store_range(struct ram_range *to, const struct ram_range *range)
{
	for (unsigned i = 0; i < RANGE_WORDS; i++)
		atomic_store((uint64_t *)to + i, ((const uint64_t *)range)[i]);
}

/* Index of the first range that ends above @pa. */
static size_t search(const struct ram_table *table, phys_addr_t pa, size_t n)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct ram_range *r = &table->range[mid];

		if (atomic_load(&r->base) + atomic_load(&r->size) <= pa)
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
		size_t changes, at, n;

		if (!table)
			return false;
		changes = atomic_load(&table->changes);
		n = atomic_load(&table->n);
		at = search(table, pa, n);
		if (at < n)
			*range = load_range(&table->range[at]);
		if (!(changes & 1) && atomic_load(&table->changes) == changes)
			return at < n;
	}
}

int memmap_splice(struct memmap *map, phys_addr_t base, uint64_t size, const struct ram_range *with,
		  size_t n)
{
	unsigned long flags = spin_lock_irqsave(&map->change_lock);
	const struct ram_table *old = map->table;
	struct ram_table *table = &map->tables[old == &map->tables[0]];
	size_t from = search(old, base, old->n), to = search(old, base + size - 1, old->n), out = 0;

	/* The last one, too, if it does not lie above. */
	if (to < old->n && old->range[to].base < base + size)
		to++;
	if (old->n - (to - from) + n > MEMMAP_MAX_RANGES) {
		spin_unlock_irqrestore(&map->change_lock, flags);
		return -ENOSPC;
	}
	atomic_store_relaxed(&table->changes, table->changes + 1);
	for (size_t i = 0; i < from; i++)
		store_range(&table->range[out++], &old->range[i]);
	for (size_t i = 0; i < n; i++)
		store_range(&table->range[out++], &with[i]);
	for (size_t i = to; i < old->n; i++)
		store_range(&table->range[out++], &old->range[i]);
	atomic_store(&table->n, out);
	atomic_store(&table->changes, table->changes + 1);
	atomic_store(&map->table, table);
	spin_unlock_irqrestore(&map->change_lock, flags);
	return 0;
}

bool memmap_overlaps(const struct memmap *map, phys_addr_t base, uint64_t size)
{
	struct ram_range r;

	return memmap_range(map, base, &r) && r.base < base + size;
}

static void pass_through(void *arg)
{
	(void)arg;
}

void memmap_settle(void)
{
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		port_run_on(cpu, MM_TASK, pass_through, NULL);
}

static enum mem_state state_by_range(const struct memmap *map, phys_addr_t pa)
{
	struct ram_range r;

	return memmap_range(map, pa, &r) && r.base <= pa ? state_of_use[r.use] : MEM_NONE;
}

enum mem_state memmap_state(const struct memmap *map, phys_addr_t pa)
{
	const struct chunk *chunk;
	enum mem_state state;

	port_pin();
	chunk = chunk_find(&map->index, pa);
	state = chunk ? chunk_frame_state(chunk, frame_in_chunk(pa)) : state_by_range(map, pa);
	port_unpin();
	return state;
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

/* The highest place for metadata in [from, end), which lies in one chunk and one free range. */
static bool place_in_chunk(const struct memmap *map, phys_addr_t from, phys_addr_t end,
			   uint64_t size, phys_addr_t *base)
{
	const struct chunk *chunk = chunk_find(&map->index, from);
	phys_addr_t start = round_down(from, CHUNK_SIZE);
	unsigned owner, frame;

	if (!chunk) {
		*base = round_down(end, size) - size;
		return round_down(end, size) >= from + size;
	}
	owner = atomic_load_relaxed(&chunk->owner);
	if ((owner != CHUNK_FREE && owner != CHUNK_BOOT) || atomic_load_relaxed(&chunk->busy))
		return false;
	frame = chunk_last_in_state(chunk, frame_in_chunk(from),
				    (unsigned)((end - start) >> FRAME_SHIFT),
				    (unsigned)(size >> FRAME_SHIFT), MEM_RESERVED);
	*base = start + ((phys_addr_t)frame << FRAME_SHIFT);
	return frame < CHUNK_FRAMES;
}

void memmap_top_again(struct memmap *map, unsigned node, phys_addr_t top)
{
	unsigned long flags = spin_lock_irqsave(&map->change_lock);

	map->meta_top[node] = MAX(map->meta_top[node], top);
	spin_unlock_irqrestore(&map->change_lock, flags);
}

/* The highest range that starts below @top; NULL if there is none. */
static const struct ram_range *range_below(const struct ram_table *table, phys_addr_t top)
{
	size_t i = search(table, top - 1, table->n);

	if (i < table->n && table->range[i].base < top)
		return &table->range[i];
	return i ? &table->range[i - 1] : NULL;
}

/*
 * Look at what lies below @top in one range and one chunk, outside of [apart_lo,
 * apart_hi). Return: was a place found? @top: where that is, or where to go on; 0:
 * nowhere.
 */
static bool look_below(const struct memmap *map, unsigned node, uint64_t size, phys_addr_t apart_lo,
		       phys_addr_t apart_hi, phys_addr_t *top)
{
	const struct ram_range *r = range_below(map->table, *top);
	phys_addr_t end, from, base;
	bool found;

	if (!r || r->node != node || r->use != MEM_USE_FREE || r->arrived) {
		*top = r ? r->base : 0;
		return false;
	}
	end = MIN(*top, r->base + r->size);
	from = MAX(r->base, round_down(end - 1, CHUNK_SIZE));
	if (end > apart_lo && end <= apart_hi) {
		*top = apart_lo;
		return false;
	}
	if (end > apart_hi)
		from = MAX(from, apart_hi);
	found = place_in_chunk(map, from, end, size, &base);
	*top = found ? base : from;
	return found;
}

bool memmap_top_reserved(struct memmap *map, unsigned node, uint64_t size, phys_addr_t apart_lo,
			 phys_addr_t apart_hi, phys_addr_t *base)
{
	bool found = false, more = true;

	while (!found && more) {
		unsigned long flags = spin_lock_irqsave(&map->change_lock);

		more = map->meta_top[node];
		if (more)
			found = look_below(map, node, size, apart_lo, apart_hi,
					   &map->meta_top[node]);
		*base = map->meta_top[node];
		spin_unlock_irqrestore(&map->change_lock, flags);
	}
	return found;
}

/* The first run of a chunk in [*at, end) that the heap may claim. */
static bool claimable_in_chunk(const struct chunk *chunk, phys_addr_t *at, phys_addr_t end,
			       uint64_t *size)
{
	unsigned owner = atomic_load_relaxed(&chunk->owner);

	/* No lock: who claims it looks again. */
	if (owner == CHUNK_CALLER || atomic_load_relaxed(&chunk->busy))
		return false;
	while (*at < end) {
		unsigned frame = frame_in_chunk(*at);
		enum mem_state state = chunk_frame_state(chunk, frame);

		*size = MIN((uint64_t)chunk_state_run(chunk, frame) << FRAME_SHIFT, end - *at);
		if (state == MEM_RESERVED || (state == MEM_PREPARED && owner == CHUNK_HEAP))
			return true;
		*at += *size;
	}
	return false;
}

bool memmap_next_claimable(struct memmap *map, unsigned node, int arrived, phys_addr_t *base,
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
			if (!chunk || claimable_in_chunk(chunk, base, stop, size))
				return true;
			at = stop;
		}
	}
	return false;
}

bool memmap_claimable_run(struct memmap *map, unsigned node, const struct run_wanted *want,
			  phys_addr_t *base)
{
	phys_addr_t at = want->lo << FRAME_SHIFT, end = want->hi << FRAME_SHIFT;
	uint64_t start = 0, stop = 0, size;

	while (memmap_next_claimable(map, node, want->boot_only ? 0 : -1, &at, end, &size)) {
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

uint64_t memmap_boot_stretch(const struct memmap *map, uint64_t *start, uint64_t limit)
{
	struct ram_range r;

	for (phys_addr_t at = *start << FRAME_SHIFT; memmap_range(map, at, &r);
	     at = r.base + r.size) {
		if (r.base >> FRAME_SHIFT >= limit)
			break;
		if (!r.arrived)
			continue;
		if (r.base >> FRAME_SHIFT > *start)
			return r.base >> FRAME_SHIFT;
		*start = (r.base + r.size) >> FRAME_SHIFT;
	}
	return *start < limit ? limit : 0;
}

bool memmap_could_hold(const struct memmap *map, unsigned node, const struct run_wanted *want)
{
	phys_addr_t at = 0, start = 0;
	struct ram_range r;

	for (; memmap_range(map, at, &r); at = r.base + r.size) {
		uint64_t lo, hi = MIN((r.base + r.size) >> FRAME_SHIFT, want->hi);

		if (r.node != node || r.use != MEM_USE_FREE) {
			start = r.base + r.size;
			continue;
		}
		if (r.base != at)
			start = r.base;
		lo = round_up(MAX(start >> FRAME_SHIFT, want->lo), want->align);
		if (lo + want->n <= hi)
			return true;
	}
	return false;
}

/* Put what one range says into a chunk that is all None so far. */
static bool setup_chunk(struct chunk *chunk, phys_addr_t base, const struct ram_range *r,
			struct meta_pool *pool)
{
	phys_addr_t lo = MAX(base, r->base), hi = MIN(base + CHUNK_SIZE, r->base + r->size);
	unsigned first = frame_in_chunk(lo), n = (unsigned)((hi - lo) >> FRAME_SHIFT);

	if (n < CHUNK_FRAMES && !chunk_side_get(chunk, pool))
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
			if (!setup_chunk(chunk, base, &r, arena->pool))
				return false;
			at = r.base + r.size;
		}
	}
	return true;
}

struct arena *memmap_arena(struct memmap *map, phys_addr_t pa)
{
	struct arena *arena = arena_find(&map->index, pa);
	struct ram_range r;

	if (likely(arena))
		return arena;
	if (!memmap_range(map, pa, &r) || r.base > pa)
		return NULL;
	return arena_get(&map->index, pa, memmap_node_pool(map, r.node), r.pool, setup_arena, map);
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

/* How far the state of the frame at @at goes, at most to the end of its arena. */
static uint64_t run_of_state(const struct memmap *map, phys_addr_t at, enum mem_state *state)
{
	uint64_t run = round_down(at, ARENA_SIZE) + ARENA_SIZE - at;
	const struct chunk *chunk;

	port_pin();
	chunk = chunk_find(&map->index, at);
	if (chunk) {
		do {
			*state = chunk_frame_state(chunk, frame_in_chunk(at));
			run = chunk_run_in_state(chunk, frame_in_chunk(at), *state);
		} while (!run);
		run <<= FRAME_SHIFT;
	}
	port_unpin();
	return run;
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
			enum mem_state state = state_of_use[r.use];
			uint64_t run = run_of_state(map, at, &state);

			run = MIN(run, end - at);
			ret = walk_add(&w, at, run, state);
			at += run;
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
