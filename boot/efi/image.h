/* SPDX-License-Identifier: MIT */
/*
 * The kernel's ELF file in memory: checked once, then loaded and mapped.
 */
#ifndef BOOT_EFI_IMAGE_H
#define BOOT_EFI_IMAGE_H

#include <stddef.h>
#include <stdint.h>
#include <kernel/image.h>

#define PAGE_SIZE 4096ULL
#define LARGE_PAGE_SIZE 0x200000ULL

/**
 * struct image - a file that passed image_check().
 * @file: its bytes
 * @entry: where to jump
 * @first: lowest address of its segments, rounded down to a large page
 * @size: bytes from there to the end of the last one, whole pages
 */
struct image {
	const uint8_t *file;
	uint64_t entry, first, size;
};

/** image_check() - is this a kernel we can load? Return: NULL, or what is wrong with it. */
const char *image_check(struct image *image, const void *file, size_t size);

/** image_load() - copy the segments to @to, where image->size bytes are ours. */
void image_load(const struct image *image, void *to);

/** image_tables() - pages that image_map() needs. */
size_t image_tables(const struct image *image);

/**
 * image_map() - page tables for the start of the kernel.
 * @phys: where image_load() put it; a multiple of LARGE_PAGE_SIZE
 * @tables: image_tables() pages, one after the other, at their physical address
 *
 * Identity for the first 4 GiB, and the image at its addresses with the rights
 * its segments ask for. Return: the root, for CR3.
 */
uint64_t image_map(const struct image *image, uint64_t phys, void *tables);

#endif
