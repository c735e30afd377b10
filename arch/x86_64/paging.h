/* SPDX-License-Identifier: MIT */
/*
 * Page tables: entries, and how to find them.
 *
 *	level 3   PML4	an entry spans 512 GiB
 *	level 2   PDPT	  1 GiB
 *	level 1   PD	  2 MiB	 a leaf, if PTE_LARGE
 *	level 0   PT	  4 KiB
 */
#ifndef ARCH_X86_64_PAGING_H
#define ARCH_X86_64_PAGING_H

#include <spanheap/port.h>

typedef uint64_t pte_t;

#define PTE_PRESENT (1UL << 0)
#define PTE_WRITE (1UL << 1)
#define PTE_WRITE_THROUGH (1UL << 3)
#define PTE_UNCACHED (1UL << 4)
#define PTE_ACCESSED (1UL << 5)
#define PTE_DIRTY (1UL << 6)
#define PTE_LARGE (1UL << 7)
#define PTE_NX (1UL << 63)
#define PTE_ADDRESS 0x000ffffffffff000UL

/*
 * Ours, ignored by the CPU: the entry leads to the zero page, or to a table that
 * leads there, which all of mm/'s window shares. Counts as not mapped.
 */
#define PTE_SHARED (1UL << 9)

/* A table; what may be done is decided at the leaf. */
#define PTE_TABLE (PTE_PRESENT | PTE_WRITE | PTE_ACCESSED)
/* Set beforehand, so that the CPU never writes to a table of its own accord. */
#define PTE_LEAF (PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY)

#define PTE_COUNT 512
#define PAGING_TOP 3

#define STACK_WINDOW_BASE 0xffffe00000000000UL
#define MMIO_WINDOW_BASE 0xffffe80000000000UL
#define MMIO_WINDOW_SIZE (1UL << 30)

static inline unsigned pte_shift(int level)
{
	return FRAME_SHIFT + 9 * (unsigned)level;
}

static inline unsigned pte_index(uintptr_t va, int level)
{
	return (unsigned)(va >> pte_shift(level)) & (PTE_COUNT - 1);
}

/** paging_root() - the top table that every CPU uses. */
pte_t *paging_root(void);

/** table_of() - where to reach the table that an entry leads to. */
pte_t *table_of(pte_t entry);

/** table_pa() - physical address of a table or of anything else in image or direct map. */
phys_addr_t table_pa(const void *va);

/** in_window() - may mm/ fill this address, and does it read as zeroes until then? */
static inline bool in_window(uintptr_t va)
{
	return va - PORT_WINDOW_BASE < PORT_WINDOW_SIZE;
}

/** empty_entry() - what stands in a table of @level at @va where nothing is mapped. */
pte_t empty_entry(uintptr_t va, int level);

static inline bool is_empty(pte_t entry)
{
	return !(entry & PTE_PRESENT) || entry & PTE_SHARED;
}

/**
 * paging_lookup() - the entry that decides about @va: a leaf, or one that is not present.
 * @level: gets its level
 *
 * Any context; concurrent changes are seen or not.
 */
pte_t paging_lookup(uintptr_t va, int *level);

/** paging_allows() - would the tables allow an access that faulted with this error code? */
bool paging_allows(uintptr_t va, uint64_t error);

/* The bits of a leaf besides its address and size. */
#define MAP_DATA (PTE_LEAF | PTE_WRITE | PTE_NX)
#define MAP_CONST (PTE_LEAF | PTE_NX)
#define MAP_CODE (PTE_LEAF)
#define MAP_DEVICE (PTE_LEAF | PTE_WRITE | PTE_NX | PTE_UNCACHED | PTE_WRITE_THROUGH)

/**
 * paging_map() - port_map() for any address and any rights.
 * @leaf: bits of the leaves, one of MAP_*
 * @large: may use leaves of 2 MiB
 * @pool: NULL: frames of the image, while they last
 */
int paging_map(uintptr_t va, phys_addr_t pa, size_t size, pte_t leaf, bool large,
	       struct port_pool *pool);

/**
 * paging_prune() - take a table of 4 KiB leaves that holds nothing out of the tables.
 *
 * Return: the table, to be used again only after port_flush(); NULL if there is
 * none or it is in use.
 */
void *paging_prune(uintptr_t va);

/** paging_init_trampoline() - tables for the start of a CPU. Return: what goes into its CR3. */
phys_addr_t paging_init_trampoline(phys_addr_t page);

/** paging_own_frame() - a frame of the image for a table; NULL if none is left. */
void *paging_own_frame(void);

/** paging_own_left() - how many there are. */
size_t paging_own_left(void);

/** paging_is_own() - is it one of these? */
bool paging_is_own(const void *table);

/** paging_set_kernel_phys() - where the image is; before anything else. */
void paging_set_kernel_phys(phys_addr_t pa);

#endif
