// SPDX-License-Identifier: MIT
/*
 * The six moves, chunk by chunk, in four steps:
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
#define FEED_MIN (128UL << 10)

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

/*
 * The arenas and side records that the move needs. States are looked at first,
 * so that a call on memory that is not ours makes nothing.
 */
static int prepare_records(struct memmap *map, enum mem_move move, phys_addr_t base,
			   phys_addr_t end)
{
	for_each_part(p, map, base, end) {
		struct chunk *chunk = p.chunk;

		if (!chunk) {
			if (!ranges_within(map, p.base, p.base + part_size(&p), moves[move].from))
				return -EBUSY;
			chunk = memmap_chunk(map, p.base);
			if (!chunk)
				return -ENOMEM;
		}
		if (p.n < CHUNK_FRAMES && !chunk_side_get(chunk, memmap_pool(map, p.base)))
			return -ENOMEM;
	}
	return 0;
}

static bool may_move(const struct part *p, enum mem_move move, enum chunk_owner who)
{
	const struct chunk *chunk = p->chunk;

	if (chunk->busy)
		return false;
	if (chunk->owner != who && chunk->owner != CHUNK_FREE &&
	    !(who == CHUNK_HEAP && chunk->owner == CHUNK_BOOT && move == MOVE_MAP))
		return false;
	return chunk_states_within(chunk, p->first, p->n, moves[move].from);
}

/* A chunk belongs to somebody as long as a frame of it is in somebody's hands. */
static void settle_owner(struct chunk *chunk)
{
	if (chunk->owner != CHUNK_FREE &&
	    chunk_states_within(chunk, 0, CHUNK_FRAMES, IN(MEM_NONE) | IN(MEM_RESERVED)))
		chunk->owner = CHUNK_FREE;
}

/* Growth of the page heap may find something now where it found nothing before. */
static void tell_growth(struct memmap *map)
{
	(void)atomic_fetch_add(&map->returned, 1);
}

static void unclaim(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	for_each_part(p, map, base, end) {
		unsigned long flags = spin_lock_irqsave(&map->lock);

		p.chunk->busy = false;
		settle_owner(p.chunk);
		spin_unlock_irqrestore(&map->lock, flags);
	}
	tell_growth(map);
}

static int claim(struct memmap *map, enum mem_move move, enum chunk_owner who, phys_addr_t base,
		 phys_addr_t end)
{
	for_each_part(p, map, base, end) {
		unsigned long flags = spin_lock_irqsave(&map->lock);
		bool ok = may_move(&p, move, who);

		if (ok) {
			p.chunk->busy = true;
			if (move == MOVE_MAP)
				p.chunk->owner = (uint8_t)who;
		}
		spin_unlock_irqrestore(&map->lock, flags);
		if (!ok) {
			unclaim(map, base, p.base);
			return -EBUSY;
		}
	}
	return 0;
}

static void publish(struct memmap *map, enum mem_move move, phys_addr_t base, phys_addr_t end)
{
	for_each_part(p, map, base, end) {
		unsigned long flags = spin_lock_irqsave(&map->lock);

		chunk_set_states(p.chunk, p.first, p.n, moves[move].to);
		p.chunk->busy = false;
		settle_owner(p.chunk);
		spin_unlock_irqrestore(&map->lock, flags);
	}
	if (moves[move].to == MEM_RESERVED)
		tell_growth(map);
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

static int discard_run(const struct part *run, struct port_pool *tables)
{
	bool zero = port_discard(run->base, part_size(run));

	(void)tables;
	run->chunk->fresh = zero && run->n == CHUNK_FRAMES;
	return 0;
}

static int map_range(struct memmap *map, phys_addr_t base, phys_addr_t end,
		     struct port_pool *tables)
{
	for_each_part(p, map, base, end) {
		int ret = remap_run(&p, tables);

		if (p.n < CHUNK_FRAMES)
			p.chunk->fresh = false;
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
	return for_ready_runs(map, base, end, discard_run, tables, &reached);
}

static bool has_ready(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	for_each_part(p, map, base, end)
		if (!chunk_states_within(p.chunk, p.first, p.n, ~IN(MEM_READY)))
			return true;
	return false;
}

int addrstate_move(struct memmap *map, enum mem_move move, enum chunk_owner who, phys_addr_t base,
		   uint64_t size)
{
	struct port_pool tables = { 0 };
	phys_addr_t end = base + size;
	struct meta_pool *pool;
	bool touches;
	int ret = check_range(base, size);

	if (ret)
		return ret;
	if (move == MOVE_RESERVE && !memmap_is_ram(map, base, size))
		return -EINVAL;
	ret = prepare_records(map, move, base, end);
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
		if (touches)
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

int addrstate_claim(struct memmap *map, enum chunk_owner who, phys_addr_t base, uint64_t size)
{
	int ret = addrstate_move(map, MOVE_MAP, who, base, size);

	if (ret)
		return ret;
	ret = addrstate_move(map, MOVE_USED, who, base, size);
	if (ret)
		addrstate_move(map, MOVE_FAULT, who, base, size);
	return ret;
}

void addrstate_feed(struct memmap *map, unsigned node, size_t bytes)
{
	struct meta_pool *pool = memmap_node_pool(map, node);
	phys_addr_t base;

	if (map->tracked_only)
		return;
	while (meta_room(pool) < bytes) {
		uint64_t size = FEED_MIN;

		/* As much again as there is, so that little lies idle. */
		while (size < CHUNK_SIZE && size * 2 <= pool->held)
			size *= 2;
		if (!memmap_top_reserved(map, (unsigned)(pool - map->pool), size, &base))
			break;
		if (!addrstate_claim(map, CHUNK_BOOT, base, size))
			meta_feed(pool, phys_to_virt(base), size);
	}
}

static bool claim_split(struct memmap *map, struct chunk *chunk)
{
	unsigned long flags = spin_lock_irqsave(&map->lock);
	bool ok = chunk->split && chunk->state == MEM_READY && !chunk->busy;

	if (ok)
		chunk->busy = true;
	spin_unlock_irqrestore(&map->lock, flags);
	return ok;
}

static void join_chunk(struct memmap *map, struct chunk *chunk, phys_addr_t base)
{
	struct port_pool tables = { 0 };

	if (port_join(direct(base), &tables))
		chunk->split = false;
	port_flush(direct(base), CHUNK_SIZE);
	meta_return_tables(table_pool(map, base), &tables);
	unclaim(map, base, base + CHUNK_SIZE);
}

void addrstate_join(struct memmap *map)
{
	for (struct arena *a = atomic_load(&map->index.all); a; a = a->next)
		for (unsigned i = 0; i < ARENA_CHUNKS; i++)
			if (a->chunk[i].split && claim_split(map, &a->chunk[i]))
				join_chunk(map, &a->chunk[i], a->base + i * CHUNK_SIZE);
}

/* The caller's moves: metadata for each arena on the way, then all at once. */
static int caller_move(enum mem_move move, phys_addr_t base, uint64_t size)
{
	struct ram_range r;
	unsigned node = memmap_range(&main_map, base, &r) ? r.node : 0;

	addrstate_feed(&main_map, node,
		       ADDRSTATE_ROOM + port_pool_worst(size) * FRAME_SIZE +
			       (size >> ARENA_SHIFT) * META_ARENA_SIZE);
	return addrstate_move(&main_map, move, CHUNK_CALLER, base, size);
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
