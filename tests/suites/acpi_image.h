/* SPDX-License-Identifier: MIT */
/*
 * ACPI tables built byte by byte, in an image that stands for physical memory
 * from IMAGE_BASE on, one table after the other, the root table and the root
 * pointer last:
 *
 *	madt_begin(); madt_lapic(0, 0, 1); table_end();
 *	srat_begin(3); srat_cpu(0, 0, 1); table_end();
 *	acpi_parse(finish(2), map_image, &info);
 *
 * map_image() gives exactly the bytes that were asked for, on addresses that
 * are odd, and nothing outside.
 */
#ifndef TESTS_ACPI_IMAGE_H
#define TESTS_ACPI_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/string.h"

#define IMAGE_BASE 0xe0001ULL
#define IMAGE_SIZE 16384
#define MAX_ROOT 8

static uint8_t image[IMAGE_SIZE];
static size_t used, table;
static uint64_t root[MAX_ROOT];
static size_t nroot;

static inline void image_init(void)
{
	memset(image, 0xff, sizeof(image));
	used = 0;
	nroot = 0;
}

static inline const void *map_image(uint64_t pa, size_t len)
{
	if (pa < IMAGE_BASE || pa - IMAGE_BASE > used || len > used - (pa - IMAGE_BASE))
		return NULL;
	return image + (pa - IMAGE_BASE);
}

static inline void put(uint64_t value, size_t nbytes)
{
	while (nbytes--) {
		image[used++] = (uint8_t)value;
		value >>= 8;
	}
}

static inline void patch(size_t at, uint64_t value, size_t nbytes)
{
	for (; nbytes--; value >>= 8)
		image[at++] = (uint8_t)value;
}

static inline void fix_sum(size_t at, size_t len, size_t sum_at)
{
	uint8_t sum = 0;

	image[sum_at] = 0;
	for (size_t i = at; i < at + len; i++)
		sum += image[i];
	image[sum_at] = -sum;
}

static inline void table_begin(const char *name, uint8_t revision)
{
	table = used;
	for (int i = 0; i < 4; i++)
		put((uint8_t)name[i], 1);
	put(0, 4);
	put(revision, 1);
	put(0, 27);
}

static inline void table_end(void)
{
	patch(table + 4, used - table, 4);
	fix_sum(table, used - table, table + 9);
	root[nroot++] = IMAGE_BASE + table;
}

/* Root table and pointer; revision 0 has 32-bit addresses, 2 has both kinds. */
static inline uint64_t finish(uint8_t revision)
{
	uint64_t rsdt, xsdt = 0, rsdp;
	size_t n = nroot;

	table_begin("RSDT", 1);
	for (size_t i = 0; i < n; i++)
		put(root[i], 4);
	table_end();
	rsdt = root[n];
	if (revision) {
		table_begin("XSDT", 1);
		for (size_t i = 0; i < n; i++)
			put(root[i], 8);
		table_end();
		xsdt = root[n + 1];
	}
	table = used;
	rsdp = IMAGE_BASE + table;
	for (const char *p = "RSD PTR "; *p; p++)
		put((uint8_t)*p, 1);
	put(0, 7);
	put(revision, 1);
	put(rsdt, 4);
	fix_sum(table, 20, table + 8);
	if (revision) {
		put(36, 4);
		put(xsdt, 8);
		put(0, 4);
		fix_sum(table, 36, table + 32);
	}
	return rsdp;
}

static inline void madt_begin(void)
{
	table_begin("APIC", 3);
	put(0xfee00000, 4);
	put(1, 4);
}

static inline void madt_lapic(uint8_t uid, uint8_t id, uint32_t flags)
{
	put(0 | 8 << 8 | uid << 16 | (uint32_t)id << 24, 4);
	put(flags, 4);
}

static inline void madt_x2apic(uint32_t uid, uint32_t id, uint32_t flags)
{
	put(9 | 16 << 8, 4);
	put(id, 4);
	put(flags, 4);
	put(uid, 4);
}

static inline void srat_begin(uint8_t revision)
{
	table_begin("SRAT", revision);
	put(1, 4);
	put(0, 8);
}

static inline void srat_cpu(uint32_t domain, uint8_t id, uint32_t flags)
{
	put(0 | 16 << 8 | (domain & 0xff) << 16 | (uint32_t)id << 24, 4);
	put(flags, 4);
	put(0, 1);
	put(domain >> 8, 3);
	put(0, 4);
}

static inline void srat_x2apic(uint32_t domain, uint32_t id, uint32_t flags)
{
	put(2 | 24 << 8, 4);
	put(domain, 4);
	put(id, 4);
	put(flags, 4);
	put(0, 8);
}

static inline void srat_memory(uint32_t domain, uint64_t base, uint64_t size, uint32_t flags)
{
	put(1 | 40 << 8, 2);
	put(domain, 4);
	put(0, 2);
	put(base, 8);
	put(size, 8);
	put(0, 4);
	put(flags, 4);
	put(0, 8);
}

static inline void slit(uint64_t n, const uint8_t *distances)
{
	table_begin("SLIT", 1);
	put(n, 8);
	for (uint64_t i = 0; i < n * n; i++)
		put(distances[i], 1);
	table_end();
}

#endif
