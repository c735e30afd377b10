// SPDX-License-Identifier: MIT
/*
 * The final page tables, the same for every CPU, and how they are walked.
 *
 *	PML4 ─┬─ direct map	empty at first; filled by port_map()
 *	      ├─ window ──► zero PDPT ──► zero PD ──► zero PT ──► zero page
 *	      │		    (each of 512 entries leads to the same next one)
 *	      ├─ stacks		one PDPT and PD of the image's; PTs come and go
 *	      ├─ devices	uncached
 *	      └─ image		4 KiB leaves: text R-X, rodata R--, data RW-, and
 *				nothing where a boot stack's guard page is
 *
 * The window so reads as zeroes everywhere at the cost of four frames; map.c
 * puts real tables in place of the shared ones where something is mapped.
 *
 * The first tables are frames in .bss: there is no other memory yet. A table's
 * virtual address follows from its physical one: in the image, else direct map.
 */
#include <kernel/arch.h>
#include <kernel/image.h>
#include <kernel/panic.h>
#include <spanheap/page.h>
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/trap.h"
#include "arch/x86_64/x86.h"
#include "lib/bits.h"

/* 2 for the image and 1 per 2 MiB of it; the rest for devices and what mm_init() maps first. */
#define OWN_TABLES 64

struct table {
	pte_t entry[PTE_COUNT];
} __attribute__((aligned(4096)));

static struct table root;
static struct table own[OWN_TABLES];
static unsigned own_used;
static struct table zero_page, zero_table[PAGING_TOP];
static struct table trampoline_table[PAGING_TOP + 1];
static struct table stack_pdpt, stack_pd;
static phys_addr_t kernel_phys;
static struct spinlock mmio_lock;
static uintptr_t mmio_next = MMIO_WINDOW_BASE;

static void map_image(void);
static void make_zero_window(void);
static void map_part(const char *from, const char *to, pte_t leaf);

void paging_set_kernel_phys(phys_addr_t pa)
{
	kernel_phys = pa;
}

pte_t *paging_root(void)
{
	return root.entry;
}

phys_addr_t arch_image_base(void)
{
	return (uintptr_t)__image_start - KERNEL_VMA + kernel_phys;
}

uint64_t arch_image_size(void)
{
	return (uint64_t)(__image_end - __image_start);
}

phys_addr_t table_pa(const void *va)
{
	if ((uintptr_t)va >= KERNEL_VMA)
		return (uintptr_t)va - KERNEL_VMA + kernel_phys;
	return virt_to_phys(va);
}

pte_t *table_of(pte_t entry)
{
	phys_addr_t pa = entry & PTE_ADDRESS;

	if (pa - arch_image_base() < arch_image_size())
		return (pte_t *)(pa - kernel_phys + KERNEL_VMA);
	return phys_to_virt(pa);
}

pte_t empty_entry(uintptr_t va, int level)
{
	const void *shared;

	if (!in_window(va))
		return 0;
	shared = level ? &zero_table[level - 1] : &zero_page;
	/* The zero page is read-only at the leaf; above, rights are left to the leaf. */
	return table_pa(shared) | PTE_SHARED | PTE_PRESENT | PTE_ACCESSED |
	       (level ? PTE_WRITE : PTE_NX);
}

pte_t paging_lookup(uintptr_t va, int *level)
{
	const pte_t *table = root.entry;

	for (*level = PAGING_TOP;; --*level) {
		pte_t entry = atomic_load_relaxed(&table[pte_index(va, *level)]);

		if (!*level || !(entry & PTE_PRESENT) || (*level == 1 && entry & PTE_LARGE))
			return entry;
		table = table_of(entry);
	}
}

bool paging_allows(uintptr_t va, uint64_t error)
{
	int level;
	pte_t entry;

	/* Below the top half nothing is mapped; in between no address is valid at all. */
	if (error & PF_RESERVED || va < PORT_DIRECT_BASE)
		return false;
	entry = paging_lookup(va, &level);
	if (!(entry & PTE_PRESENT) || (error & PF_WRITE && !(entry & PTE_WRITE)))
		return false;
	return !(error & PF_FETCH && entry & PTE_NX);
}

void *paging_own_frame(void)
{
	unsigned n = atomic_load_relaxed(&own_used);

	do {
		if (n == OWN_TABLES)
			return NULL;
	} while (!atomic_cas(&own_used, &n, n + 1));
	return &own[n];
}

size_t paging_own_left(void)
{
	return OWN_TABLES - atomic_load_relaxed(&own_used);
}

bool paging_is_own(const void *table)
{
	return (uintptr_t)table >= KERNEL_VMA;
}

void arch_paging_init(void)
{
	make_zero_window();
	map_image();
	root.entry[pte_index(STACK_WINDOW_BASE, 3)] = table_pa(&stack_pdpt) | PTE_TABLE;
	stack_pdpt.entry[0] = table_pa(&stack_pd) | PTE_TABLE;
	cpu_load_control();
	write_cr3(table_pa(&root));
}

static void make_zero_window(void)
{
	for (int level = 0; level < PAGING_TOP; level++)
		for (unsigned i = 0; i < PTE_COUNT; i++)
			zero_table[level].entry[i] = empty_entry(PORT_WINDOW_BASE, level);
	for (uint64_t at = 0; at < PORT_WINDOW_SIZE; at += 1UL << pte_shift(PAGING_TOP))
		root.entry[pte_index(PORT_WINDOW_BASE + at, PAGING_TOP)] =
			empty_entry(PORT_WINDOW_BASE, PAGING_TOP);
}

static void map_image(void)
{
	uintptr_t guard;

	map_part(__text_start, __text_end, MAP_CODE);
	map_part(__rodata_start, __rodata_end, MAP_CONST);
	map_part(__data_start, __data_end, MAP_DATA);
	/* Not seen by any CPU yet: no pool is needed to split, and no flush. */
	for (unsigned i = 0; (guard = boot_stack_guard(i)); i++)
		port_unmap(guard, FRAME_SIZE, NULL);
}

static void map_part(const char *from, const char *to, pte_t leaf)
{
	uintptr_t va = (uintptr_t)from;

	if (paging_map(va, table_pa(from), (size_t)(to - from), leaf, false, NULL))
		panic("no frames for the page tables of the image");
}

/* Only ever grows: devices stay. */
void *mmio_map(phys_addr_t pa, size_t size)
{
	phys_addr_t first = round_down(pa, FRAME_SIZE);
	size_t bytes = round_up(pa + size, FRAME_SIZE) - first;
	unsigned long flags = spin_lock_irqsave(&mmio_lock);
	uintptr_t va = mmio_next;
	int err = -ENOSPC;

	if (bytes <= MMIO_WINDOW_BASE + MMIO_WINDOW_SIZE - va)
		err = paging_map(va, first, bytes, MAP_DEVICE, false, NULL);
	if (!err)
		mmio_next += bytes;
	spin_unlock_irqrestore(&mmio_lock, flags);
	return err ? NULL : (void *)(va + (pa - first));
}

/*
 * A CPU that starts turns paging on in a page below 1 MiB, which must be mapped
 * at its own address then. That one page is, executable and read-only, in a tree
 * of its own, beside the image.
 */
phys_addr_t paging_init_trampoline(phys_addr_t page)
{
	for (int level = PAGING_TOP; level > 0; level--)
		trampoline_table[level].entry[pte_index(page, level)] =
			table_pa(&trampoline_table[level - 1]) | PTE_TABLE;
	trampoline_table[0].entry[pte_index(page, 0)] = page | MAP_CODE;
	trampoline_table[PAGING_TOP].entry[PTE_COUNT - 1] = root.entry[PTE_COUNT - 1];
	return table_pa(&trampoline_table[PAGING_TOP]);
}
