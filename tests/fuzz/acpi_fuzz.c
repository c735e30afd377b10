// SPDX-License-Identifier: MIT
/*
 * The ACPI parser under a fuzzer. Physical memory is the root pointer and root
 * table, made here, and the input behind them: tables with their headers. A
 * fuzzer does not find checksums, so all sums of what looks like a table are put
 * right first, unless the input asks for wrong ones.
 *
 *	input	byte 0: bit 0 RSDT only, bit 1 leave sums alone
 *		byte 1: bytes between two places where a table is tried
 *		the rest: memory from TABLES on
 *
 * The map function copies what is asked for into a block of exactly that size,
 * so that the address sanitizer sees each byte read beyond it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/bits.h"
#include "lib/string.h"
#include "tests/suites/acpi_check.h"

#define RSDP 0x1000
#define RSDT 0x2000
#define XSDT 0x3000
#define TABLES 0x4001
#define MAX_TABLES 8
#define MAX_MAPPED 4096

static uint8_t memory[TABLES + 4096];
static size_t memory_end;
static void *mapped[MAX_MAPPED];
static size_t nmapped;
static struct acpi_info info;

static const void *map_copy(uint64_t pa, size_t len)
{
	if (pa >= memory_end || len > memory_end - pa || nmapped == MAX_MAPPED)
		return NULL;
	mapped[nmapped] = malloc(len);
	if (!mapped[nmapped])
		return NULL;
	return memcpy(mapped[nmapped++], memory + pa, len);
}

static void put_number(size_t at, uint64_t value, size_t nbytes)
{
	for (; nbytes--; value >>= 8)
		memory[at++] = (uint8_t)value;
}

static void fix_sum(size_t at, size_t len, size_t sum_at)
{
	uint8_t sum = 0;

	memory[sum_at] = 0;
	for (size_t i = at; i < at + len; i++)
		sum += memory[i];
	memory[sum_at] = -sum;
}

static void make_root(size_t at, const char *name, size_t entry_size, const size_t *tables)
{
	size_t len = 36 + MAX_TABLES * entry_size;

	memcpy(memory + at, name, 4);
	put_number(at + 4, len, 4);
	for (size_t i = 0; i < MAX_TABLES; i++)
		put_number(at + 36 + i * entry_size, tables[i], entry_size);
	fix_sum(at, len, at + 9);
}

static void make_rsdp(bool old)
{
	memcpy(memory + RSDP, "RSD PTR ", 8);
	memory[RSDP + 15] = old ? 0 : 2;
	put_number(RSDP + 16, RSDT, 4);
	fix_sum(RSDP, 20, RSDP + 8);
	put_number(RSDP + 20, 36, 4);
	put_number(RSDP + 24, XSDT, 8);
	fix_sum(RSDP, 36, RSDP + 32);
}

static void fix_table(size_t at)
{
	uint32_t len;

	if (memory_end - at < 36)
		return;
	len = memory[at + 4] | memory[at + 5] << 8;
	if (len >= 36 && len <= memory_end - at)
		fix_sum(at, len, at + 9);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t tables[MAX_TABLES];
	int err;

	if (size < 2 || size - 2 > sizeof(memory) - TABLES)
		return 0;
	memset(memory, 0, sizeof(memory));
	memcpy(memory + TABLES, data + 2, size - 2);
	memory_end = TABLES + size - 2;
	for (size_t i = 0; i < MAX_TABLES; i++) {
		tables[i] = TABLES + i * MAX(data[1], 36);
		if (!(data[0] & 2) && tables[i] < memory_end)
			fix_table(tables[i]);
	}
	make_root(RSDT, "RSDT", 4, tables);
	make_root(XSDT, "XSDT", 8, tables);
	make_rsdp(data[0] & 1);

	err = acpi_parse(RSDP, map_copy, &info);
	if (err || !acpi_info_is_sane(&info)) {
		fprintf(stderr, "acpi_fuzz: result %d, or a senseless acpi_info\n", err);
		abort();
	}
	while (nmapped)
		free(mapped[--nmapped]);
	return 0;
}
