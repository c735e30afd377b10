// SPDX-License-Identifier: MIT
/*
 * Memory arrives and leaves.
 *
 *	block	| head |            middle              | tail |
 *	arenas	   ──┤        │        │        │        ├──
 *		       |meta|
 *
 * What mm_add_memory() brings is a block of up to four ranges. Its middle is what
 * fills whole arenas. All metadata of the middle lies in its first frames, enough
 * for the worst case, and leaves with it. Head and tail share their arenas with
 * other memory; their metadata comes from a pool that lasts, as do page tables,
 * the index and summary nodes, which go back when they become empty.
 *
 * Arrival	map the metadata; the ranges, kept back; states in shared arenas; the
 *		ranges, free: from here on the page heap may claim them
 * Departure	look whether anything is used; the ranges, kept back, so that nothing
 *		more is claimed; caches are drained; free frames leave the heap and
 *		become Reserved, an arena at a time; the ranges go, then the records,
 *		once nobody can hold a pointer to them, then their memory
 *
 * Whatever fails before the ranges go is undone by calling them free again: then
 * memory that was Ready and free may be Reserved, and comes back with the next
 * growth of the heap.
 *
 * Locking: one call at a time; no lock is held for longer than a chunk's work.
 */
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>

#include "lib/string.h"
#include "mm/addrstate.h"
#include "mm/fault.h"
#include "mm/framebits.h"
#include "mm/heapchunk.h"
#include "mm/hotplug.h"
#include "mm/numa.h"
#include "mm/pagemap.h"
#include "mm/pressure.h"
#include "mm/retention.h"

#define MAX_PIECES 4
/* A frame may sit in another CPU's cache again before we come to take it. */
#define EMPTY_TRIES 8

/**
 * struct block - what one mm_add_memory() brought.
 * @middle, @middle_end: the part of whole arenas; empty: middle == middle_end
 * @meta: bytes of metadata at the start of the middle, or 0
 * @pool: for the middle; itself in the first frame of the metadata, unless that is 0
 */
struct block {
	phys_addr_t base, end, middle, middle_end;
	uint64_t meta;
	struct meta_pool *pool, *lasting;
	uint8_t node;
};

static uint32_t at_work;

static bool hotplug_begin(void)
{
	return !atomic_xchg(&at_work, 1);
}

static int hotplug_end(int ret)
{
	atomic_store(&at_work, 0);
	return ret;
}

/* The block's ranges; @use: of all but the metadata. Return: how many. */
static size_t block_pieces(const struct block *b, enum mem_use use,
			   struct ram_range out[MAX_PIECES])
{
	const struct {
		phys_addr_t base, end;
		bool own;
		enum mem_use use;
	} parts[MAX_PIECES] = {
		{ b->base, b->middle, false, use },
		{ b->middle, b->middle + b->meta, true, MEM_USE_BOOT },
		{ b->middle + b->meta, b->middle_end, true, use },
		{ b->middle_end, b->end, false, use },
	};
	size_t n = 0;

	for (unsigned i = 0; i < MAX_PIECES; i++) {
		if (parts[i].base == parts[i].end)
			continue;
		out[n] = (struct ram_range){
			.base = parts[i].base,
			.size = parts[i].end - parts[i].base,
			.pool = parts[i].own ? b->pool : b->lasting,
			.node = b->node,
			.use = (uint8_t)parts[i].use,
			.arrived = true,
			.first = !n,
		};
		n++;
	}
	return n;
}

/* Put the block's ranges in place of what is there now. */
static int block_publish(struct memmap *map, const struct block *b, enum mem_use use)
{
	struct ram_range pieces[MAX_PIECES];
	size_t n = block_pieces(b, use, pieces);

	return memmap_splice(map, b->base, b->end - b->base, pieces, n);
}

/* ---- Arrival ---- */

static struct block block_cut(struct memmap *map, phys_addr_t base, uint64_t size, unsigned node)
{
	struct block b = {
		.base = base,
		.end = base + size,
		.middle = round_up(base, ARENA_SIZE),
		.middle_end = round_down(base + size, ARENA_SIZE),
		.lasting = memmap_node_pool(map, node),
		.node = (uint8_t)node,
	};

	if (b.middle >= b.middle_end)
		b.middle = b.middle_end = b.end;
	b.pool = b.lasting;
	return b;
}

/* The middle's own pool, big enough for all of its records. */
static int make_pool(struct memmap *map, struct block *b)
{
	uint64_t arenas = (b->middle_end - b->middle) >> ARENA_SHIFT;
	uint64_t records = arenas * (META_ARENA_SIZE + ARENA_CHUNKS * META_SIDE_SIZE);
	uint64_t meta = round_up(FRAME_SIZE + records, PORT_MAP_MIN);
	int ret;

	if (!arenas || map->tracked_only)
		return 0;
	addrstate_feed(map, b->node, ADDRSTATE_ROOM + port_pool_worst(meta) * FRAME_SIZE);
	ret = addrstate_map_bare(b->lasting, b->middle, meta);
	if (ret)
		return ret;
	b->meta = meta;
	b->pool = phys_to_virt(b->middle);
	memset(b->pool, 0, sizeof(*b->pool));
	meta_feed(b->pool, phys_to_virt(b->middle + FRAME_SIZE), meta - FRAME_SIZE);
	return 0;
}

static void drop_pool(struct block *b)
{
	if (b->meta)
		addrstate_unmap_bare(b->lasting, b->middle, b->meta);
}

/* Chunks [base, end) of one arena that was, or may have been, made before they came. */
static int enter_shared(struct memmap *map, const struct block *b, phys_addr_t base,
			phys_addr_t end)
{
	struct arena *arena = base < end ? memmap_arena(map, base) : NULL;
	unsigned long flags;

	if (base < end && !arena)
		return -ENOMEM;
	for (phys_addr_t at = base; at < end; at += CHUNK_SIZE) {
		struct chunk *chunk = chunk_find(&map->index, at);

		flags = spin_lock_irqsave(&map->lock);
		chunk->node = b->node;
		chunk->fresh = PORT_RAM_IS_ZERO;
		chunk_set_states(chunk, 0, CHUNK_FRAMES, MEM_RESERVED);
		spin_unlock_irqrestore(&map->lock, flags);
	}
	return 0;
}

/* A block that is all head may lie in two arenas. */
static int enter_all_shared(struct memmap *map, const struct block *b)
{
	phys_addr_t border = MIN(round_down(b->base, ARENA_SIZE) + ARENA_SIZE, b->middle);
	int ret = enter_shared(map, b, b->base, border);

	if (!ret)
		ret = enter_shared(map, b, border, b->middle);
	if (!ret)
		ret = enter_shared(map, b, b->middle_end, b->end);
	return ret;
}

/* Arenas that no range touches any longer go; those of whom nobody has heard, too. */
static void forget_arenas(struct memmap *map, const struct block *b)
{
	struct arena *hidden = NULL, *next;

	for (phys_addr_t at = round_down(b->base, ARENA_SIZE); at < b->end; at += ARENA_SIZE) {
		struct arena *arena = arena_find(&map->index, at);

		if (!arena || memmap_overlaps(map, at, ARENA_SIZE))
			continue;
		arena_hide(&map->index, arena);
		arena->hidden = hidden;
		hidden = arena;
	}
	memmap_settle();
	for (; hidden; hidden = next) {
		next = hidden->hidden;
		if (map == &main_map)
			pagemap_forget(hidden);
		arena_drop(hidden);
	}
}

static void count_reserved(struct memmap *map, unsigned node, uint64_t frames)
{
	unsigned long flags = spin_lock_irqsave(&map->lock);

	atomic_store_relaxed(&map->reserved[node], map->reserved[node] + frames);
	spin_unlock_irqrestore(&map->lock, flags);
}

static int block_arrive(struct memmap *map, struct block *b)
{
	int ret = make_pool(map, b);

	if (ret)
		return ret;
	ret = block_publish(map, b, MEM_USE_KEPT);
	if (!ret) {
		ret = enter_all_shared(map, b);
		if (!ret)
			ret = block_publish(map, b, MEM_USE_FREE);
		if (!ret) {
			count_reserved(map, b->node, (b->end - b->base - b->meta) >> FRAME_SHIFT);
			(void)atomic_fetch_add(&map->arrived[b->node], 1);
			memmap_tell_growth(map);
			return 0;
		}
		memmap_splice(map, b->base, b->end - b->base, NULL, 0);
		forget_arenas(map, b);
	}
	drop_pool(b);
	return ret;
}

static bool is_block(phys_addr_t base, uint64_t size)
{
	phys_addr_t end;

	return size && !((base | size) & (CHUNK_SIZE - 1)) &&
	       !__builtin_add_overflow(base, size, &end) && end <= PFN_LIMIT << FRAME_SHIFT;
}

int hotplug_add(struct memmap *map, phys_addr_t base, uint64_t size, int node)
{
	struct block b;

	if (node == NUMA_NO_NODE)
		node = 0;
	if (!is_block(base, size) || node < 0 || node >= PORT_MAX_NODES)
		return -EINVAL;
	if (!hotplug_begin())
		return -EBUSY;
	if (memmap_overlaps(map, base, size))
		return hotplug_end(-EEXIST);
	if (mm_should_fail(0))
		return hotplug_end(-ENOMEM);
	b = block_cut(map, base, size, (unsigned)node);
	return hotplug_end(block_arrive(map, &b));
}

/* ---- Departure ---- */

/* Is [base, end) what one call brought? */
static bool block_find(struct memmap *map, phys_addr_t base, uint64_t size, struct block *b)
{
	struct ram_range r = { 0 };

	for (phys_addr_t at = base; at < base + size; at = r.base + r.size) {
		if (!memmap_range(map, at, &r) || r.base != at || !r.arrived ||
		    r.first != (at == base))
			return false;
		if (at == base)
			*b = block_cut(map, base, size, r.node);
		if (r.use == MEM_USE_BOOT) {
			b->meta = r.size;
			b->pool = r.pool;
		}
	}
	if (r.base + r.size != base + size)
		return false;
	return !memmap_range(map, base + size, &r) || r.base != base + size || !r.arrived ||
	       r.first;
}

/* The part of a range that lies in one chunk; chunks without a record are passed over. */
struct chunk_part {
	struct chunk *chunk;
	phys_addr_t base;
	unsigned n;
};

static bool part_from(struct memmap *map, phys_addr_t at, phys_addr_t end, struct chunk_part *p)
{
	for (; at < end; at = round_down(at, CHUNK_SIZE) + CHUNK_SIZE) {
		phys_addr_t stop = MIN(end, round_down(at, CHUNK_SIZE) + CHUNK_SIZE);

		p->chunk = chunk_find(&map->index, at);
		p->base = at;
		p->n = (unsigned)((stop - at) >> FRAME_SHIFT);
		if (p->chunk)
			return true;
		at = round_down(at, ARENA_SIZE) + ARENA_SIZE - CHUNK_SIZE;
	}
	return false;
}

#define for_each_chunk_part(p, map, from, end)                                        \
	for (struct chunk_part p = { .base = from }; part_from(map, p.base, end, &p); \
	     p.base += (uint64_t)p.n << FRAME_SHIFT)

/* Held by a caller, or by somebody who has not given it back; caches do not count. */
static bool in_use(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	for_each_chunk_part(p, map, base, end)
	{
		if (p.chunk->owner == CHUNK_CALLER || p.chunk->busy)
			return true;
		if (chunk_count_used(p.chunk))
			return true;
	}
	return false;
}

/* What was taken but did not become Reserved goes back. */
static void give_back(struct memmap *map, struct pageheap *heap, phys_addr_t base, phys_addr_t end,
		      uint32_t taken)
{
	for_each_chunk_part(p, map, base, end)
	{
		unsigned first = frame_in_chunk(p.base), run;

		if (!(taken >> (p.base >> CHUNK_SHIFT & (ARENA_CHUNKS - 1)) & 1))
			continue;
		for (unsigned at = first; at < first + p.n; at += run) {
			run = MIN(chunk_state_run(p.chunk, at), first + p.n - at);
			if (chunk_frame_state(p.chunk, at) == MEM_READY)
				pageheap_add(heap, p.chunk,
					     (round_down(p.base, CHUNK_SIZE) >> FRAME_SHIFT) + at,
					     run);
		}
	}
}

/* The longest run from @at on that is Prepared or Ready; moves @at to its start. */
static uint64_t next_claimed(struct memmap *map, phys_addr_t *at, phys_addr_t end)
{
	uint64_t size = 0;

	for_each_chunk_part(p, map, *at, end)
	{
		unsigned first = frame_in_chunk(p.base);
		enum mem_state state = chunk_frame_state(p.chunk, first);

		p.n = MIN(chunk_state_run(p.chunk, first), p.n);
		if (state == MEM_PREPARED || state == MEM_READY) {
			if (!size)
				*at = p.base;
			size += (uint64_t)p.n << FRAME_SHIFT;
		} else if (size) {
			break;
		}
	}
	return size;
}

static uint64_t count_state(struct memmap *map, phys_addr_t base, phys_addr_t end,
			    enum mem_state state)
{
	uint64_t n = 0;

	for_each_chunk_part(p, map, base, end) n +=
		chunk_count_state(p.chunk, frame_in_chunk(p.base), p.n, state);
	return n;
}

/* The block's part of one arena: all that the heap has of it becomes Reserved. */
static int empty_arena(struct memmap *map, struct pageheap *heap, phys_addr_t base, phys_addr_t end)
{
	phys_addr_t at = base;
	uint32_t taken = 0;
	uint64_t size;
	int ret = 0;

	for_each_chunk_part(p, map, base, end)
	{
		unsigned first = frame_in_chunk(p.base);

		if (!chunk_count_state(p.chunk, first, p.n, MEM_READY))
			continue;
		if (!heapchunk_take(heap, p.chunk, p.base >> FRAME_SHIFT, p.n)) {
			ret = -EBUSY;
			break;
		}
		taken |= 1U << (p.base >> CHUNK_SHIFT & (ARENA_CHUNKS - 1));
	}
	for (; !ret && (size = next_claimed(map, &at, end)); at += size) {
		uint64_t scavenged = count_state(map, at, at + size, MEM_PREPARED);

		ret = addrstate_move(map, MOVE_FAULT, CHUNK_HEAP, at, size);
		if (!ret)
			(void)atomic_fetch_sub(&heap->scavenged, scavenged);
	}
	if (ret)
		give_back(map, heap, base, end, taken);
	return ret;
}

static int empty_piece(struct memmap *map, struct pageheap *heap, phys_addr_t base, phys_addr_t end)
{
	int ret = 0;

	for (phys_addr_t at = base, stop; at < end && !ret; at = stop) {
		stop = MIN(end, round_down(at, ARENA_SIZE) + ARENA_SIZE);
		ret = empty_arena(map, heap, at, stop);
	}
	return ret;
}

static int block_empty(struct memmap *map, struct pageheap *heap, const struct block *b)
{
	int ret = empty_piece(map, heap, b->base, b->middle);

	if (!ret)
		ret = empty_piece(map, heap, b->middle + b->meta, b->end);
	return ret;
}

static bool block_in_use(struct memmap *map, const struct block *b)
{
	return in_use(map, b->base, b->middle) || in_use(map, b->middle + b->meta, b->end);
}

/* Frames of [base, end) that are Reserved: counted, or never looked at. */
static uint64_t reserved_frames(struct memmap *map, phys_addr_t base, phys_addr_t end)
{
	uint64_t n = 0;

	for (phys_addr_t at = base, stop; at < end; at = stop) {
		stop = MIN(end, round_down(at, ARENA_SIZE) + ARENA_SIZE);
		n += arena_find(&map->index, at) ? count_state(map, at, stop, MEM_RESERVED)
						 : (stop - at) >> FRAME_SHIFT;
	}
	return n;
}

/* Nothing of the block is anybody's: take it off the books. */
static void block_depart(struct memmap *map, struct pageheap *heap, void (*drain)(void),
			 struct block *b)
{
	uint64_t reserved = reserved_frames(map, b->base, b->middle) +
			    reserved_frames(map, b->middle + b->meta, b->end);

	heapchunk_unseat(heap, b->base, b->end);
	for_each_chunk_part(p, map, b->base, b->end)
	{
		unsigned long flags = spin_lock_irqsave(&map->lock);

		chunk_set_states(p.chunk, 0, CHUNK_FRAMES, MEM_NONE);
		atomic_store_relaxed(&p.chunk->owner, CHUNK_FREE);
		spin_unlock_irqrestore(&map->lock, flags);
	}
	count_reserved(map, b->node, -reserved);
	(void)atomic_fetch_sub(&map->arrived[b->node], 1);
	memmap_splice(map, b->base, b->end - b->base, NULL, 0);
	/* Caches remember words of bits that frames went through. */
	drain();
	forget_arenas(map, b);
	drop_pool(b);
}

int hotplug_remove(struct memmap *map, struct pageheap *heaps, void (*drain)(void),
		   phys_addr_t base, uint64_t size)
{
	struct pageheap *heap;
	struct block b;
	int ret = -EBUSY;

	if (!is_block(base, size))
		return -EINVAL;
	if (!hotplug_begin())
		return -EBUSY;
	if (!block_find(map, base, size, &b))
		return hotplug_end(-EINVAL);
	heap = &heaps[b.node];
	if (block_in_use(map, &b) || mm_should_fail(0))
		return hotplug_end(-EBUSY);
	block_publish(map, &b, MEM_USE_KEPT);
	memmap_settle();
	for (unsigned i = 0; ret && i < EMPTY_TRIES && !block_in_use(map, &b); i++) {
		drain();
		ret = block_empty(map, heap, &b);
	}
	if (ret) {
		block_publish(map, &b, MEM_USE_FREE);
		memmap_tell_growth(map);
		return hotplug_end(-EBUSY);
	}
	block_depart(map, heap, drain, &b);
	return hotplug_end(0);
}

/* ---- The machine's ---- */

int mm_add_memory(phys_addr_t base, uint64_t size, int node)
{
	int ret = hotplug_add(&main_map, base, size, node);

	if (!ret) {
		numa_add_node(node == NUMA_NO_NODE ? 0 : (unsigned)node);
		pressure_update();
		retention_update();
	}
	return ret;
}

int mm_remove_memory(phys_addr_t base, uint64_t size)
{
	int ret = hotplug_remove(&main_map, main_heap, mm_drain, base, size);

	if (!ret) {
		pressure_update();
		retention_update();
	}
	return ret;
}
