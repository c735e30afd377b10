// SPDX-License-Identifier: MIT
/* Metadata memory; see meta.h for the picture. */
#include "lib/bits.h"
#include "lib/string.h"
#include "mm/fault.h"
#include "mm/meta.h"

#define RECORD_ALIGN 32

static const struct {
	size_t size;
	const char *name;
} kinds[META_KINDS] = {
	[META_ARENA] = { META_ARENA_SIZE, "arena records" },
	[META_INDEX] = { META_INDEX_SIZE, "arena index" },
	[META_SIDE] = { META_SIDE_SIZE, "side records of mixed chunks" },
	[META_NODE] = { META_NODE_SIZE, "summary nodes" },
	[META_LEAF] = { META_LEAF_SIZE, "summary leaves" },
	[META_FRAME] = { FRAME_SIZE, "page tables" },
};

/* At the start of a region that waits for its turn. */
struct meta_region {
	struct meta_region *next;
	size_t size;
};

size_t meta_size(enum meta_kind kind)
{
	return kinds[kind].size;
}

const char *meta_name(enum meta_kind kind)
{
	return kinds[kind].name;
}

static void keep(struct meta_pool *pool, enum meta_kind kind, void *record)
{
	*(void **)record = pool->free[kind];
	pool->free[kind] = record;
}

void meta_feed(struct meta_pool *pool, void *region, size_t size)
{
	struct meta_region *r = region;
	unsigned long flags = spin_lock_irqsave(&pool->lock);

	r->size = size;
	r->next = pool->spare;
	pool->spare = r;
	pool->held += size;
	spin_unlock_irqrestore(&pool->lock, flags);
}

/* Start on a spare region; what is left of the old one still serves as frames. */
static bool next_region(struct meta_pool *pool)
{
	struct meta_region *r = pool->spare;

	if (!r)
		return false;
	for (uintptr_t at = round_up(pool->lo, FRAME_SIZE); at < pool->hi; at += FRAME_SIZE)
		keep(pool, META_FRAME, (void *)at);
	pool->spare = r->next;
	pool->lo = (uintptr_t)r;
	pool->hi = (uintptr_t)r + r->size;
	return true;
}

size_t meta_room(struct meta_pool *pool)
{
	unsigned long flags = spin_lock_irqsave(&pool->lock);
	size_t room = pool->hi - pool->lo;

	for (const struct meta_region *r = pool->spare; r; r = r->next)
		room += r->size;
	spin_unlock_irqrestore(&pool->lock, flags);
	return room;
}

/* pool->lock is held. */
static void *take(struct meta_pool *pool, enum meta_kind kind)
{
	size_t size = round_up(kinds[kind].size, RECORD_ALIGN);
	void *record = pool->free[kind];

	if (record) {
		pool->free[kind] = *(void **)record;
	} else {
		while (pool->hi - pool->lo < size)
			if (!next_region(pool))
				return NULL;
		if (kind == META_FRAME) {
			pool->hi -= FRAME_SIZE;
			record = (void *)pool->hi;
		} else {
			record = (void *)pool->lo;
			pool->lo += size;
		}
	}
	pool->used[kind]++;
	return record;
}

void *meta_alloc(struct meta_pool *pool, enum meta_kind kind)
{
	unsigned long flags;
	void *record;

	if (mm_should_fail(0))
		return NULL;
	if (!spin_lock_context(&pool->lock, &flags))
		return NULL;
	record = take(pool, kind);
	spin_unlock_irqrestore(&pool->lock, flags);
	if (record)
		memset(record, 0, kinds[kind].size);
	return record;
}

void meta_free(struct meta_pool *pool, enum meta_kind kind, void *record)
{
	unsigned long flags = spin_lock_irqsave(&pool->lock);

	keep(pool, kind, record);
	pool->used[kind]--;
	spin_unlock_irqrestore(&pool->lock, flags);
}

bool meta_fill_tables(struct meta_pool *pool, struct port_pool *tables, size_t nframes)
{
	unsigned long flags;

	if (tables->nframes >= nframes)
		return true;
	if (mm_should_fail(0))
		return false;
	flags = spin_lock_irqsave(&pool->lock);
	while (tables->nframes < nframes) {
		void *frame = take(pool, META_FRAME);

		if (!frame)
			break;
		port_pool_give(tables, frame);
	}
	spin_unlock_irqrestore(&pool->lock, flags);
	return tables->nframes >= nframes;
}

void meta_return_tables(struct meta_pool *pool, struct port_pool *tables)
{
	unsigned long flags = spin_lock_irqsave(&pool->lock);
	void *frame;

	while ((frame = port_pool_take(tables))) {
		keep(pool, META_FRAME, frame);
		pool->used[META_FRAME]--;
	}
	spin_unlock_irqrestore(&pool->lock, flags);
}
