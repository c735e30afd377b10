/* SPDX-License-Identifier: MIT */
/*
 * Metadata memory: the records that describe frames, taken from regions that
 * the page heap never sees.
 *
 *	 region: [ records ──►          ◄── page-table frames ]
 *	          lo grows up             hi grows down
 *
 * One pool per NUMA node, fed first by memblock, then with whole chunks; memory
 * that arrives at run time brings a pool of its own in its first chunk.
 *
 * Locking: pool->lock, interrupts off; the innermost lock but addrstate's.
 */
#ifndef MM_META_H
#define MM_META_H

#include <spanheap/port.h>

#include "lib/spinlock.h"

/** enum meta_kind - what is made of metadata memory; each is of one size. */
enum meta_kind { META_ARENA, META_INDEX, META_SIDE, META_NODE, META_LEAF, META_FRAME, META_KINDS };

/* Sizes in bytes; static_assert()s beside the structures hold them to it. */
#define META_ARENA_SIZE 5184
#define META_INDEX_SIZE 8192
#define META_SIDE_SIZE 192
#define META_NODE_SIZE 144
#define META_LEAF_SIZE 80

/**
 * struct meta_pool
 * @lo, @hi: what is left of the current region
 * @spare: regions fed before the current one was used up, linked
 * @free: records given back, by kind, linked through their first word
 * @used: records in use, by kind
 * @held: bytes of all regions
 */
struct meta_pool {
	struct spinlock lock;
	uintptr_t lo, hi;
	struct meta_region *spare;
	void *free[META_KINDS];
	size_t used[META_KINDS];
	size_t held;
};

/** meta_size() - bytes of a record of this kind. */
size_t meta_size(enum meta_kind kind);

/** meta_name() - "arena records", for mm_show(). */
const char *meta_name(enum meta_kind kind);

/** meta_feed() - give the pool a region of Ready memory, frame aligned, for good. */
void meta_feed(struct meta_pool *pool, void *region, size_t size);

/** meta_room() - bytes left for records and frames. */
size_t meta_room(struct meta_pool *pool);

/** meta_alloc() - one record, zeroed; or NULL. An injection point. An NMI never waits. */
void *meta_alloc(struct meta_pool *pool, enum meta_kind kind);

void meta_free(struct meta_pool *pool, enum meta_kind kind, void *record);

/** meta_fill_tables() - page-table frames into @tables until it has @nframes; false if not all. */
bool meta_fill_tables(struct meta_pool *pool, struct port_pool *tables, size_t nframes);

/** meta_return_tables() - put what @tables still has back. */
void meta_return_tables(struct meta_pool *pool, struct port_pool *tables);

#endif
