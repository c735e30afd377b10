/* SPDX-License-Identifier: MIT */
/*
 * Tiny objects: requests under 16 bytes for memory without pointers, several of
 * them in one block of 16 bytes.
 *
 *	block	 |0        |  2     |4              |  ...        | 15 |
 *		 |u8  (gap)|u16     |u32            |  free       |    |
 *
 * An object is aligned to the largest power of two not above its size, at most
 * 8, and lies behind the last one of the block that its CPU and context fills.
 *
 * What a block holds is written beside it, in a word of two bits for each byte:
 *
 *	start	freed or inner
 *	  0	  0		gap, or not handed out yet
 *	  0	  1		an object's second or later byte
 *	  1	  0		an object starts here
 *	  1	  1		an object started here, and is freed
 *
 * In byte 0 there always starts one: there the first bit says instead that the
 * block is open, that is, still being filled. So one atomic word holds all, and
 * whoever makes it "closed and all freed", by closing or by freeing, is the only
 * one to do so: he gives the block back. The word stays as it is until the block
 * is used again, so that another free of one of its objects is recognised.
 *
 * Blocks are objects of a class of its own. Its spans have a magic of 0, so that
 * kfree() of an object in a block never takes the short way.
 */
#ifndef MM_TINY_H
#define MM_TINY_H

#include "mm/mcache.h"

#define TINY_BLOCK 16UL

extern struct span_class tiny_class;

/** tiny_init() - the class; before any CPU. */
void tiny_init(void);

/** tiny_alloc() - @size bytes, 1 .. TINY_BLOCK - 1; or NULL. Any context, not pinned. */
void *tiny_alloc(size_t size, gfp_t gfp);

/**
 * tiny_take() - likewise, behind the last object of the block that is filled; NULL if
 * there is no room.
 */
void *tiny_take(size_t size);

/**
 * tiny_free() - free the object at @pa, in a span of tiny_class.
 *
 * Any context, not pinned. Return: -1, or the enum mm_misuse found.
 */
int tiny_free(struct span *span, phys_addr_t pa);

/** tiny_holds() - does an object that is handed out start at @pa? Any context. */
bool tiny_holds(struct span *span, phys_addr_t pa);

/** tiny_size() - bytes of the object at @pa in a span of tiny_class; 0 if none starts there. */
size_t tiny_size(struct span *span, phys_addr_t pa);

/** tiny_flush_cpu() - close what the calling CPU fills and flush its blocks. Task context. */
void tiny_flush_cpu(void);

/** tiny_span_ends() - a span of tiny_class is destroyed. */
void tiny_span_ends(struct span *span);

/** tiny_count() - add to @live and @bytes what callers hold in a span of tiny_class. */
void tiny_count(struct span *span, uint64_t *live, uint64_t *bytes);

/** tiny_allocs() - objects ever handed out, less the blocks that were taken for them. */
uint64_t tiny_allocs(void);

/** tiny_check() - for mm_validate(): how much is wrong, each logged. */
unsigned tiny_check(void);

#endif
