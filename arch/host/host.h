/* SPDX-License-Identifier: MIT */
/*
 * Between the files of arch/host.
 *
 * A region is a range of virtual addresses whose mappings the port keeps book
 * of, a bit for a frame and, for the page-table model, a byte for a chunk:
 * the direct map and the window.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include <host_port.h>

/** enum host_leaf - how a chunk of a region is mapped, were this an x86. */
enum host_leaf {
	HOST_LEAF_NONE,	 /* no table, nothing mapped */
	HOST_LEAF_LARGE, /* one 2 MiB leaf, no table */
	HOST_LEAF_TABLE, /* a table of 4 KiB leaves, maybe all empty */
};

struct host_region {
	uintptr_t base;
	uint64_t size;
	uint64_t *mapped;  /* a bit for a frame */
	uint8_t *leaf;	   /* enum host_leaf of a chunk */
	void **table;	   /* of a chunk: its table's frame, NULL if the port's own */
	uint8_t *upper[2]; /* the tables above exist: of each GiB, of each 512 GiB */
};

/* tables.c: all under the port's map lock. */
int host_tables_map(struct host_region *r, uintptr_t va, phys_addr_t pa, size_t size,
		    struct port_pool *pool);
int host_tables_unmap(struct host_region *r, uintptr_t va, size_t size, struct port_pool *pool);
bool host_tables_join(struct host_region *r, uintptr_t va, void **table);

/* ram.c: zeroed memory of the host for the port's own books, given page by page. */
void *host_book(uint64_t size);

bool host_bits_all(const uint64_t *bits, uint64_t from, uint64_t n);
bool host_bits_none(const uint64_t *bits, uint64_t from, uint64_t n);

#endif
