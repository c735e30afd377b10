// SPDX-License-Identifier: MIT
/*
 * The moves, chunk by chunk, in four steps:
 *
 *	prepare	 metadata, side records, frames for page tables: may fail
 *	claim	 check every chunk and mark it busy: from here nobody else moves
 *	port	 map or unmap; a failure is undone, the marks are taken back
 *	publish	 the new states, the marks go
 *
 * Marks instead of a lock held throughout: each hold of memmap->lock covers one
 * chunk, and unmapping can wait for other CPUs with nothing held.
 *
 * After the sys* functions of the Go runtime (runtime/mem.go), which leave the
 * tracking of states to their callers.
 */
#include <spanheap/page.h>

#include "mm/addrstate.h"

#define IN(state) (1U << (state))
#define FEED_MIN (16UL << 10)
#define FEED_SHARE 16

/* What each move asks for and does. */
static const struct {
	unsigned from;	/* set of states it starts from */
	enum mem_state to;
	bool maps, unmaps;
} moves[] = {
	[MOVE_RESERVE] = { IN(MEM_NONE), MEM_RESERVED, false, false },
	[MOVE_MAP] = { IN(MEM_RESERVED), MEM_PREPARED, false, false },
	[MOVE_USED] = { IN(MEM_PREPARED), MEM_READY, true, false },
	[MOVE_UNUSED] = { IN(MEM_READY), MEM_PREPARED, false, true },
	[MOVE_FAULT] = { IN(MEM_PREPARED) | IN(MEM_READY), MEM_RESERVED, false, true },
	[MOVE_RELEASE] = { IN(MEM_RESERVED) | IN(MEM_PREPARED) | IN(MEM_READY), MEM_NONE, false,
			   true },
	[MOVE_CLAIM] = { IN(MEM_RESERVED) | IN(MEM_PREPARED), MEM_READY, true, false },
};

/* The frames of a range that lie in one chunk. */
struct part {
	struct chunk *chunk;
	phys_addr_t base;
	unsigned first, n;
};

static struct part part_at(const struct memmap *map, phys_addr_t at, phys_addr_t end)
{
	phys_addr_t stop = MIN(end, round_down(at, CHUNK_SIZE) + CHUNK_SIZE);

	return (struct part){
		.chunk = chunk_find(&map->index, at),
		.base = at,
		.first = frame_in_chunk(at),
		.n = (unsigned)((stop - at) >> FRAME_SHIFT),
	};
}

static uint64_t part_size(const struct part *p)
{
	return (uint64_t)p->n << FRAME_SHIFT;
}

#define for_each_part(p, map, base, end)                                                           \
	for (struct part p = part_at(map, base, end); p.base < (end);                              \
	     p = part_at(map, p.base + part_size(&p), end))

static int check_range(phys_addr_t base, uint64_t size)
{
	phys_addr_t end;

	if (!size || (base | size) & (FRAME_SIZE - 1) || __builtin_add_overflow(base, size, &end) ||
	    end > PFN_LIMIT << FRAME_SHIFT)
		return -EINVAL;
	return 0;
}

/* Page tables outlive memory that leaves: never from a pool that leaves with it. */
static struct meta_pool *table_pool(struct memmap *map, phys_addr_t pa)
{
	struct ram_range r;

	return memmap_node_pool(map, memmap_range(map, pa, &r) && r.base <= pa ? r.node : 0);
}

/* Are all frames of an address range without an arena in the set? */
static bool ranges_within(const struct memmap *map, phys_addr_t at, phys_addr_t stop, unsigned set)
{
	while (at < stop) {
		struct ram_range r;

		if (!memmap_range(map, at, &r) || r.base > at || !(IN(memmap_state(map, at)) & set))
			return false;
		at = r.base + r.size;
	}
	return true;
}

static bool may_move(const struct part *p, enum mem_move move, enum chunk_owner who)
{
	const struct chunk *chunk = p->chunk;

	if (chunk->busy)
		return false;
	/* What metadata leaves of a chunk is the heap's to claim. */
	if (chunk->owner != who && chunk->owner != CHUNK_FREE &&
	    !(who == CHUNK_HEAP && chunk->owner == CHUNK_BOOT && move == MOVE_CLAIM))
		return false;
	return chunk_states_within(chunk, p->first, p->n, moves[move].from);
}

/* Would the move be allowed as things stand? Makes nothing and marks nothing. */
static int check_move(struct memmap *map, enum mem_move move, enum chunk_owner who,
		      phys_addr_t base, uint64_t size)
{
	phys_addr_t end = base + size;
	int ret = check_range(base, size);

	if (ret)
		return ret;
	if (move == MOVE_RESERVE && !memmap_is_ram(map, base, size))
		return -EINVAL;
	/* Memory that is about to leave has no new owners. */
	if (move == MOVE_MAP && !memmap_is_ram(map, base, size))
		return -EBUSY;
	for_each_part(p, map, base, end) {
		unsigned long flags;
		bool ok;

		if (!p.chunk) {
			if (!ranges_within(map, p.base, p.base + part_size(&p), moves[move].from))
				return -EBUSY;
			continue;
		}
		flags = spin_lock_irqsave(&map->lock);
		ok = may_move(&p, move, who);
		spin_unlock_irqrestore(&map->lock, flags);
		if (!ok)
			return -EBUSY;
	}
	return 0;
}

/* The arenas and side records that the move needs. */
static int prepare_records(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	for_each_part(p, map, base, end) {
		struct chunk *chunk = p.chunk ? p.chunk : memmap_chunk(map, p.base);

		if (!chunk)
			return -ENOMEM;
		if (p.n < CHUNK_FRAMES && !chunk_side_get(chunk, memmap_pool(map, p.base)))
			return -ENOMEM;
	}
	return 0;
}

/* A chunk belongs to somebody as long as a frame of it is in somebody's hands. */
static void settle_owner(struct chunk *chunk)
{
	if (chunk->owner != CHUNK_FREE &&
	    chunk_states_within(chunk, 0, CHUNK_FRAMES, IN(MEM_NONE) | IN(MEM_RESERVED)))
		atomic_store_relaxed(&chunk->owner, CHUNK_FREE);
}

static void unclaim(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	for_each_part(p, map, base, end) {
		unsigned long flags = spin_lock_irqsave(&map->lock);

		atomic_store_relaxed(&p.chunk->busy, false);
		settle_owner(p.chunk);
		spin_unlock_irqrestore(&map->lock, flags);
	}
	memmap_tell_growth(map);
}

static int claim(struct memmap *map, enum mem_move move, enum chunk_owner who, phys_addr_t base,
		 phys_addr_t end)
{
	for_each_part(p, map, base, end) {
		unsigned long flags = spin_lock_irqsave(&map->lock);
		bool ok = may_move(&p, move, who);

		if (ok) {
			atomic_store_relaxed(&p.chunk->busy, true);
			if (move == MOVE_MAP || move == MOVE_CLAIM)
				atomic_store_relaxed(&p.chunk->owner, (uint8_t)who);
		}
		spin_unlock_irqrestore(&map->lock, flags);
		if (!ok) {
			unclaim(map, base, p.base);
			return -EBUSY;
		}
	}
	return 0;
}

/* memmap->lock is held. */
static void set_states(struct memmap *map, const struct part *p, enum mem_state to)
{
	uint64_t *reserved = &map->reserved[p->chunk->node];
	unsigned was = chunk_count_state(p->chunk, p->first, p->n, MEM_RESERVED);

	atomic_store_relaxed(reserved, *reserved + (to == MEM_RESERVED ? p->n : 0) - was);
	chunk_set_states(p->chunk, p->first, p->n, to);
}

static void publish(struct memmap *map, enum mem_move move, phys_addr_t base, phys_addr_t end)
{
	for_each_part(p, map, base, end) {
		unsigned long flags = spin_lock_irqsave(&map->lock);

		set_states(map, &p, moves[move].to);
		atomic_store_relaxed(&p.chunk->busy, false);
		settle_owner(p.chunk);
		spin_unlock_irqrestore(&map->lock, flags);
	}
	/* None as well: the chunk's Reserved frames may be nobody's from now on. */
	if (moves[move].to == MEM_RESERVED || moves[move].to == MEM_NONE)
		memmap_tell_growth(map);
	if (moves[move].to == MEM_RESERVED)
		memmap_top_again(map, chunk_find(&map->index, base)->node, end);
}

static uintptr_t direct(phys_addr_t pa)
{
	return (uintptr_t)PORT_DIRECT_BASE + (uintptr_t)pa;
}

/* Visit the Ready runs of [base, end); the states have not been changed yet. */
static int for_ready_runs(struct memmap *map, phys_addr_t base, phys_addr_t end,
			  int (*fn)(const struct part *run, struct port_pool *tables),
			  struct port_pool *tables, phys_addr_t *reached)
{
	for_each_part(p, map, base, end) {
		for (unsigned at = p.first, n; at < p.first + p.n; at += n) {
			struct part run = p;
			int ret;

			n = MIN(chunk_state_run(p.chunk, at), p.first + p.n - at);
			run.base = p.base + ((phys_addr_t)(at - p.first) << FRAME_SHIFT);
			run.first = at;
			run.n = n;
			*reached = run.base;
			if (chunk_frame_state(p.chunk, at) != MEM_READY)
				continue;
			ret = fn(&run, tables);
			if (ret)
				return ret;
		}
	}
	*reached = end;
	return 0;
}

static int unmap_run(const struct part *run, struct port_pool *tables)
{
	int ret = port_unmap(direct(run->base), part_size(run), tables);

	if (!ret && run->n < CHUNK_FRAMES)
		run->chunk->split = true;
	return ret;
}

static int remap_run(const struct part *run, struct port_pool *tables)
{
	return port_map(direct(run->base), run->base, part_size(run), PORT_READ | PORT_WRITE,
			tables);
}

static void discard_run(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	bool zero = base < end && port_discard(base, end - base);

	for_each_part(p, map, base, end)
		p.chunk->fresh = zero && p.n == CHUNK_FRAMES;
}

/* Offer what was Ready to the outside, in runs as long as can be. */
static void discard_ready(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	phys_addr_t from = base, at = base;

	while (at < end) {
		struct part p = part_at(map, at, end);
		uint64_t run = (uint64_t)chunk_state_run(p.chunk, p.first) << FRAME_SHIFT;

		if (chunk_frame_state(p.chunk, p.first) != MEM_READY) {
			discard_run(map, from, at);
			from = at + MIN(run, part_size(&p));
		}
		at += MIN(run, part_size(&p));
	}
	discard_run(map, from, end);
}

static int map_range(struct memmap *map, phys_addr_t base, phys_addr_t end,
		     struct port_pool *tables)
{
	for_each_part(p, map, base, end) {
		int ret = remap_run(&p, tables);

		if (p.n < CHUNK_FRAMES) {
			p.chunk->fresh = false;
			p.chunk->split = true;
		}
		if (ret) {
			/* Nobody has touched what was mapped, so no CPU need flush. */
			for_each_part(q, map, base, p.base)
				port_unmap(direct(q.base), part_size(&q), tables);
			return ret;
		}
	}
	return 0;
}

static int unmap_range(struct memmap *map, phys_addr_t base, phys_addr_t end,
		       struct port_pool *tables)
{
	phys_addr_t reached;
	int ret = for_ready_runs(map, base, end, unmap_run, tables, &reached);

	if (ret) {
		phys_addr_t ignored;

		/* The tables are still there, so this cannot fail. */
		for_ready_runs(map, base, reached, remap_run, tables, &ignored);
		return ret;
	}
	port_flush(direct(base), end - base);
	discard_ready(map, base, end);
	return 0;
}

static bool has_ready(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	for_each_part(p, map, base, end)
		if (!chunk_states_within(p.chunk, p.first, p.n, ~IN(MEM_READY)))
			return true;
	return false;
}

static int do_move(struct memmap *map, enum mem_move move, enum chunk_owner who, phys_addr_t base,
		   uint64_t size)
{
	struct port_pool tables = { 0 };
	phys_addr_t end = base + size;
	struct meta_pool *pool;
	bool touches;
	int ret = check_move(map, move, who, base, size);

	if (!ret)
		ret = prepare_records(map, base, end);
	if (ret)
		return ret;
	touches = !map->tracked_only &&
		  (moves[move].maps || (moves[move].unmaps && has_ready(map, base, end)));
	pool = table_pool(map, base);
	if (touches && !meta_fill_tables(pool, &tables, port_pool_worst(size)))
		ret = -ENOMEM;
	if (!ret)
		ret = claim(map, move, who, base, end);
	if (!ret) {
		/* Another CPU was faster and made some of it Ready: no tables for that. */
		if (!touches && moves[move].unmaps && !map->tracked_only &&
		    has_ready(map, base, end))
			ret = -EBUSY;
		else if (touches)
			ret = moves[move].maps ? map_range(map, base, end, &tables)
					       : unmap_range(map, base, end, &tables);
		if (ret)
			unclaim(map, base, end);
		else
			publish(map, move, base, end);
	}
	meta_return_tables(pool, &tables);
	return ret;
}

int addrstate_move(struct memmap *map, enum mem_move move, enum chunk_owner who, phys_addr_t base,
		   uint64_t size)
{
	int ret;

	port_pin();
	ret = do_move(map, move, who, base, size);
	port_unpin();
	return ret;
}

int addrstate_claim(struct memmap *map, enum chunk_owner who, phys_addr_t base, uint64_t size)
{
	return addrstate_move(map, MOVE_CLAIM, who, base, size);
}

int addrstate_map_bare(struct meta_pool *lasting, phys_addr_t base, uint64_t size)
{
	struct port_pool tables = { 0 };
	int ret = -ENOMEM;

	if (meta_fill_tables(lasting, &tables, port_pool_worst(size)))
		ret = port_map(direct(base), base, size, PORT_READ | PORT_WRITE, &tables);
	meta_return_tables(lasting, &tables);
	return ret;
}

void addrstate_unmap_bare(struct meta_pool *lasting, phys_addr_t base, uint64_t size)
{
	struct port_pool tables = { 0 };

	/* All of it was mapped at once, so that nothing need be split. */
	port_unmap(direct(base), size, &tables);
	port_flush(direct(base), size);
	meta_return_tables(lasting, &tables);
	(void)port_discard(base, size);
}

/* As addrstate_feed(), but not out of [lo, hi). */
static void feed_apart(struct memmap *map, unsigned node, size_t bytes, phys_addr_t lo,
		       phys_addr_t hi)
{
	struct meta_pool *pool = memmap_node_pool(map, node);
	phys_addr_t base;
	int ret = 0;

	if (map->tracked_only)
		return;
	while (!ret && meta_room(pool) < bytes) {
		unsigned from = (unsigned)(pool - map->pool);
		uint64_t size = FEED_MIN;

		/* A share of what there is: few steps, and little that lies idle. */
		while (size < CHUNK_SIZE && size * FEED_SHARE <= pool->held)
			size *= 2;
		if (!memmap_top_reserved(map, from, size, lo, hi, &base))
			break;
		ret = addrstate_claim(map, CHUNK_BOOT, base, size);
		if (!ret)
			meta_feed(pool, phys_to_virt(base), size);
		/* The place is good, only the moment is not; elsewhere it would be no better. */
		if (ret == -ENOMEM)
			memmap_top_again(map, from, base + size);
		else
			ret = 0;
	}
}

void addrstate_feed(struct memmap *map, unsigned node, size_t bytes)
{
	feed_apart(map, node, bytes, 0, 0);
}

static bool claim_split(struct memmap *map, struct chunk *chunk)
{
	unsigned long flags = spin_lock_irqsave(&map->lock);
	bool ok = chunk->split && chunk->state == MEM_READY && !chunk->busy;

	if (ok)
		atomic_store_relaxed(&chunk->busy, true);
	spin_unlock_irqrestore(&map->lock, flags);
	return ok;
}

static void join_chunk(struct memmap *map, struct chunk *chunk, phys_addr_t base)
{
	void *table = NULL;

	if (port_join(direct(base), &table))
		chunk->split = false;
	port_flush(direct(base), CHUNK_SIZE);
	if (table)
		meta_free(table_pool(map, base), META_FRAME, table);
	unclaim(map, base, base + CHUNK_SIZE);
}

void addrstate_join(struct memmap *map)
{
	phys_addr_t at = 0;

	do {
		struct arena *a;

		port_pin();
		a = arena_next(&map->index, at);
		for (unsigned i = 0; a && i < ARENA_CHUNKS; i++)
			if (a->chunk[i].split && claim_split(map, &a->chunk[i]))
				join_chunk(map, &a->chunk[i], a->base + i * CHUNK_SIZE);
		at = a ? a->base + ARENA_SIZE : 0;
		port_unpin();
	} while (at);
}

/* Metadata for a move of this size; what it finds there already it does not need. */
static size_t room_for(uint64_t size)
{
	return ADDRSTATE_ROOM + port_pool_worst(size) * FRAME_SIZE +
	       (size >> ARENA_SHIFT) * META_ARENA_SIZE;
}

/*
 * The caller's moves. Feeding takes memory, which shows in the states: so it is
 * done for moves that are allowed only, and beforehand for the next one, which
 * then need not be fed if it fails; and never with what the caller asks for.
 */
static int caller_move(enum mem_move move, phys_addr_t base, uint64_t size)
{
	struct ram_range r;
	unsigned node;
	int ret;

	port_pin();
	ret = check_move(&main_map, move, CHUNK_CALLER, base, size);
	port_unpin();
	if (ret)
		return ret;
	node = memmap_range(&main_map, base, &r) ? r.node : 0;
	feed_apart(&main_map, node, room_for(size), base, base + size);
	ret = addrstate_move(&main_map, move, CHUNK_CALLER, base, size);
	if (!ret)
		feed_apart(&main_map, node, room_for(FRAME_SIZE), base, base + size);
	return ret;
}

int mem_reserve(phys_addr_t base, uint64_t size)
{
	return caller_move(MOVE_RESERVE, base, size);
}

int mem_map(phys_addr_t base, uint64_t size)
{
	return caller_move(MOVE_MAP, base, size);
}

int mem_used(phys_addr_t base, uint64_t size)
{
	return caller_move(MOVE_USED, base, size);
}

int mem_unused(phys_addr_t base, uint64_t size)
{
	return caller_move(MOVE_UNUSED, base, size);
}

int mem_fault(phys_addr_t base, uint64_t size)
{
	return caller_move(MOVE_FAULT, base, size);
}

int mem_release(phys_addr_t base, uint64_t size)
{
	return caller_move(MOVE_RELEASE, base, size);
}
