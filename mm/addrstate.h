/* SPDX-License-Identifier: MIT */
/*
 * The six moves between the four states; see <spanheap/state.h> for them.
 *
 * The only code that asks the port to map, unmap or discard memory of the
 * direct map.
 */
#ifndef MM_ADDRSTATE_H
#define MM_ADDRSTATE_H

#include "mm/memmap.h"

/* MOVE_CLAIM: MOVE_MAP, for what is Reserved, and MOVE_USED in one. */
enum mem_move {
	MOVE_RESERVE,
	MOVE_MAP,
	MOVE_USED,
	MOVE_UNUSED,
	MOVE_FAULT,
	MOVE_RELEASE,
	MOVE_CLAIM,
};

/**
 * addrstate_move() - one move of a range, all of it or nothing.
 * @who: CHUNK_CALLER for the public calls, else the owner on whose behalf
 *
 * Contexts and return values: as <spanheap/state.h> says of the moves.
 */
int addrstate_move(struct memmap *map, enum mem_move move, enum chunk_owner who, phys_addr_t base,
		   uint64_t size);

/**
 * addrstate_claim() - frames that are Reserved, or Prepared and @who's, become Ready and @who's.
 *
 * Any context but NMI. Return: as addrstate_move(); on failure nothing has changed.
 */
int addrstate_claim(struct memmap *map, enum chunk_owner who, phys_addr_t base, uint64_t size);

/**
 * addrstate_map_bare() - map memory whose states nobody may look at yet: it holds
 * the very records that will tell them.
 *
 * Page tables come from @lasting. Return: 0, -ENOMEM, -EIO.
 */
int addrstate_map_bare(struct meta_pool *lasting, phys_addr_t base, uint64_t size);

/** addrstate_unmap_bare() - undo that, once the records are gone. Task context, waits. */
void addrstate_unmap_bare(struct meta_pool *lasting, phys_addr_t base, uint64_t size);

/**
 * addrstate_feed() - see to it that a node's metadata pool has room.
 * @bytes: how much; whole chunks of the node's Reserved memory are claimed for it
 *
 * Does what it can: whoever then allocates may still find nothing. Any context
 * but NMI.
 */
void addrstate_feed(struct memmap *map, unsigned node, size_t bytes);

/** ADDRSTATE_ROOM - metadata that any move of a single chunk can need. */
#define ADDRSTATE_ROOM (48UL << 10)

/** addrstate_join() - large leaves again where a split chunk is all Ready. Task context, waits. */
void addrstate_join(struct memmap *map);

#endif
