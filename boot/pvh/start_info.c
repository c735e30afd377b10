// SPDX-License-Identifier: MIT
/*
 * From QEMU's start info to struct boot_info.
 *
 * The start info and what it points to lie below 4 GiB, where the entry code
 * has mapped everything at its own address. Its memory map has E820's types.
 * Nothing in it is trusted more than needed: counts are capped, pointers that
 * cannot be reached are left out.
 */
#include <kernel/arch.h>
#include <kernel/image.h>
#include "lib/bits.h"

#define START_INFO_MAGIC 0x336ec578
#define IDENTITY_END (4UL << 30)
#define LOW_END 0xa0000UL

struct start_info {
	uint32_t magic, version, flags, nmodules;
	uint64_t modules, cmdline, rsdp;
	/* from version 1 on */
	uint64_t memmap;
	uint32_t nmemmap, reserved;
};

struct memmap_entry {
	uint64_t base, size;
	uint32_t type, reserved;
};

void pvh_main(uint32_t start_info_pa);

static struct boot_info pvh_boot_info;

static uint32_t type_of(uint32_t e820)
{
	static const uint8_t types[] = {
		[1] = BOOT_MEM_USABLE, [2] = BOOT_MEM_RESERVED, [3] = BOOT_MEM_ACPI,
		[4] = BOOT_MEM_NVS,    [5] = BOOT_MEM_BAD,	[7] = BOOT_MEM_PERSISTENT,
	};

	if (e820 < ARRAY_SIZE(types) && types[e820])
		return types[e820];
	return BOOT_MEM_RESERVED;
}

static void take_memmap(struct boot_info *bi, const struct start_info *si)
{
	const struct memmap_entry *map = (const void *)si->memmap;
	uint32_t n = MIN(si->nmemmap, (uint32_t)BOOT_MAX_RANGES);

	if (si->version < 1 || !si->memmap || si->memmap >= IDENTITY_END - n * sizeof(*map))
		return;
	for (uint32_t i = 0; i < n; i++)
		bi->range[i] = (struct boot_range){ .base = map[i].base,
						    .size = map[i].size,
						    .type = type_of(map[i].type),
						    .firmware_type = map[i].type };
	bi->nranges = n;
}

static void take_cmdline(struct boot_info *bi, uint64_t pa)
{
	const char *text = (const char *)pa;

	if (!pa || pa >= IDENTITY_END - BOOT_CMDLINE_MAX)
		return;
	for (size_t i = 0; i < BOOT_CMDLINE_MAX - 1 && text[i]; i++)
		bi->cmdline[i] = text[i];
}

/* Sizes are the firmware's: base + size may wrap, so it is not computed. */
static bool holds(const struct boot_range *r, uint64_t at)
{
	return r->base <= at && r->size >= at - r->base + FRAME_SIZE;
}

static bool touches(const struct boot_range *r, uint64_t at)
{
	if (r->base > at)
		return r->base - at < FRAME_SIZE && r->size;
	return r->size > at - r->base;
}

/* Usable as a whole, and nobody else's by another entry. */
static bool is_usable(const struct boot_info *bi, uint64_t at)
{
	bool usable = false;

	for (uint32_t i = 0; i < bi->nranges; i++) {
		const struct boot_range *r = &bi->range[i];

		if (r->type != BOOT_MEM_USABLE && touches(r, at))
			return false;
		usable |= r->type == BOOT_MEM_USABLE && holds(r, at);
	}
	return usable;
}

/* The highest frame of usable memory below the video memory, but never frame 0. */
static uint64_t find_trampoline(const struct boot_info *bi)
{
	for (uint64_t at = LOW_END - FRAME_SIZE; at; at -= FRAME_SIZE)
		if (is_usable(bi, at))
			return at;
	return 0;
}

void pvh_main(uint32_t start_info_pa)
{
	const struct start_info *si = (const void *)(uintptr_t)start_info_pa;
	struct boot_info *bi = &pvh_boot_info;

	bi->magic = BOOT_INFO_MAGIC;
	bi->path = BOOT_PVH;
	bi->kernel_size = (uint64_t)(__image_end - __image_start);
	if (si->magic == START_INFO_MAGIC) {
		bi->rsdp = si->rsdp;
		take_memmap(bi, si);
		take_cmdline(bi, si->cmdline);
		bi->trampoline = find_trampoline(bi);
	}
	kernel_main(bi);
}
