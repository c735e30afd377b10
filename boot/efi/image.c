// SPDX-License-Identifier: MIT
/*
 * What the loader knows of ELF and of page tables. Nothing here talks to the
 * firmware; nothing in the file is believed before it is checked.
 *
 *	root[0]   -> 4 tables of 2 MiB leaves: physical 0 .. 4 GiB, all rights
 *	root[511] -> [510] -> KERNEL_VMA .. + 1 GiB, 4 KiB leaves for the image
 */
#include <stdbool.h>

#include "boot/efi/image.h"

struct elf_header {
	uint8_t ident[16];
	uint16_t type, machine;
	uint32_t version;
	uint64_t entry, phoff, shoff;
	uint32_t flags;
	uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_segment {
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

_Static_assert(sizeof(struct elf_header) == 64, "as the ELF standard has it");
_Static_assert(sizeof(struct elf_segment) == 56, "as the ELF standard has it");

enum { ELF_EXEC = 2, ELF_X86_64 = 62, ELF_LOAD = 1, ELF_CAN_EXEC = 1, ELF_CAN_WRITE = 2 };

#define PTE_PRESENT (1ULL << 0)
#define PTE_WRITE (1ULL << 1)
#define PTE_LARGE (1ULL << 7)
#define PTE_NX (1ULL << 63)
#define ENTRIES 512

#define IDENTITY_GIB 4
#define IMAGE_MAX (1ULL << 30)

static uint64_t page_up(uint64_t x)
{
	return (x + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
}

static const struct elf_header *header(const struct image *image)
{
	return (const void *)image->file;
}

static const struct elf_segment *segment(const struct image *image, unsigned i)
{
	const struct elf_header *h = header(image);

	return (const void *)(image->file + h->phoff + (uint64_t)i * h->phentsize);
}

static const char *check_header(const struct elf_header *h, size_t size)
{
	static const uint8_t magic[6] = { 0x7f, 'E', 'L', 'F', 2, 1 };

	if (size < sizeof(*h))
		return "too short for an ELF file";
	for (unsigned i = 0; i < 4; i++)
		if (h->ident[i] != magic[i])
			return "not an ELF file";
	if (h->ident[4] != magic[4] || h->ident[5] != magic[5] || h->machine != ELF_X86_64)
		return "for another machine, not x86-64";
	if (h->type != ELF_EXEC)
		return "not a linked executable";
	if (h->phnum == 0)
		return "no segments";
	if (h->phoff % _Alignof(struct elf_segment) || h->phentsize % _Alignof(struct elf_segment))
		return "unaligned program headers";
	if (h->phentsize < sizeof(struct elf_segment) || h->phoff > size ||
	    (uint64_t)h->phnum * h->phentsize > size - h->phoff)
		return "truncated: program headers";
	return NULL;
}

static const char *check_segment(const struct elf_segment *s, size_t size)
{
	if (s->offset > size || s->filesz > size - s->offset)
		return "truncated: a segment's bytes are missing";
	if (s->filesz > s->memsz || s->vaddr < KERNEL_VMA || s->vaddr >= KERNEL_VMA + IMAGE_MAX ||
	    s->memsz > KERNEL_VMA + IMAGE_MAX - s->vaddr)
		return "a segment lies outside the kernel's addresses";
	return NULL;
}

const char *image_check(struct image *image, const void *file, size_t size)
{
	const struct elf_header *h = file;
	const char *wrong = check_header(h, size);
	uint64_t first = UINT64_MAX, last = 0;
	bool entry_ok = false;

	*image = (struct image){ .file = file };
	for (unsigned i = 0; !wrong && i < h->phnum; i++) {
		const struct elf_segment *s = segment(image, i);

		if (s->type != ELF_LOAD || s->memsz == 0)
			continue;
		wrong = check_segment(s, size);
		if (s->vaddr < first)
			first = s->vaddr;
		if (s->vaddr + s->memsz > last)
			last = s->vaddr + s->memsz;
		entry_ok |= (s->flags & ELF_CAN_EXEC) && h->entry - s->vaddr < s->memsz;
	}
	if (wrong)
		return wrong;
	if (!last)
		return "no segments";
	if (!entry_ok)
		return "the entry point is not in its code";
	image->entry = h->entry;
	image->first = first & ~(LARGE_PAGE_SIZE - 1);
	image->size = page_up(last - image->first);
	return NULL;
}

void image_load(const struct image *image, void *to)
{
	uint8_t *base = to;

	__builtin_memset(base, 0, image->size);
	for (unsigned i = 0; i < header(image)->phnum; i++) {
		const struct elf_segment *s = segment(image, i);

		if (s->type == ELF_LOAD)
			__builtin_memcpy(base + (s->vaddr - image->first), image->file + s->offset,
					 s->filesz);
	}
}

static size_t image_leaf_tables(const struct image *image)
{
	return (image->size + LARGE_PAGE_SIZE - 1) / LARGE_PAGE_SIZE;
}

size_t image_tables(const struct image *image)
{
	/* Root, two of the second level, the third levels, the leaves. */
	return 1 + 2 + IDENTITY_GIB + 1 + image_leaf_tables(image);
}

static uint64_t link_to(const uint64_t *table)
{
	return (uintptr_t)table | PTE_PRESENT | PTE_WRITE;
}

/* Pages that two segments share get the rights of both. */
static void map_segment(const struct image *image, const struct elf_segment *s, uint64_t phys,
			uint64_t *leaves)
{
	uint64_t at = (s->vaddr & ~(PAGE_SIZE - 1)) - image->first;
	uint64_t end = page_up(s->vaddr + s->memsz - image->first);

	for (; at < end; at += PAGE_SIZE) {
		uint64_t *pte = &leaves[at / PAGE_SIZE];
		uint64_t nx = s->flags & ELF_CAN_EXEC ? 0 : PTE_NX;

		if (*pte)
			nx &= *pte;
		*pte = (*pte & ~PTE_NX) | (phys + at) | PTE_PRESENT | nx |
		       (s->flags & ELF_CAN_WRITE ? PTE_WRITE : 0);
	}
}

uint64_t image_map(const struct image *image, uint64_t phys, void *tables)
{
	uint64_t(*table)[ENTRIES] = tables;
	uint64_t *root = table[0], *low = table[1], *high = table[2], *window = table[3];
	uint64_t *identity = table[4], *leaves = table[4 + IDENTITY_GIB];
	size_t first_leaf = (image->first - KERNEL_VMA) / LARGE_PAGE_SIZE;

	__builtin_memset(tables, 0, image_tables(image) * PAGE_SIZE);
	root[0] = link_to(low);
	root[ENTRIES - 1] = link_to(high);
	high[ENTRIES - 2] = link_to(window);
	for (unsigned i = 0; i < IDENTITY_GIB; i++)
		low[i] = link_to(identity + i * ENTRIES);
	for (uint64_t i = 0; i < IDENTITY_GIB * ENTRIES; i++)
		identity[i] = i * LARGE_PAGE_SIZE | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
	for (size_t i = 0; i < image_leaf_tables(image); i++)
		window[first_leaf + i] = link_to(leaves + i * ENTRIES);
	for (unsigned i = 0; i < header(image)->phnum; i++)
		if (segment(image, i)->type == ELF_LOAD && segment(image, i)->memsz)
			map_segment(image, segment(image, i), phys, leaves);
	return (uintptr_t)root;
}
