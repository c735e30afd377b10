// SPDX-License-Identifier: MIT
/*
 * Memory modules that come and go at run time: QEMU's ACPI memory hotplug, by its
 * I/O ports, without any AML. Polled; the board would announce a change by an ACPI
 * event, for which nothing here listens.
 *
 *	port	read			write
 *	0xa00	address, low half	the slot that the other ports speak of
 *	0xa04	address, high half	event of which the status follows
 *	0xa08	length, low half	status: how it went
 *	0xa0c	length, high half
 *	0xa10	proximity domain
 *	0xa14	flags			what to do
 *
 * Slots also tell of modules that were there at the start: the firmware's memory
 * map does not.
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/startup.h>
#include <spanheap/boot.h>
#include "arch/x86_64/x86.h"
#include "lib/bits.h"

#define SLOT_SELECT 0xa00
#define SLOT_BASE_LOW 0xa00
#define SLOT_BASE_HIGH 0xa04
#define SLOT_SIZE_LOW 0xa08
#define SLOT_SIZE_HIGH 0xa0c
#define SLOT_DOMAIN 0xa10
#define SLOT_FLAGS 0xa14
#define SLOT_OST_EVENT 0xa04
#define SLOT_OST_STATUS 0xa08

#define FLAG_ENABLED 1
#define FLAG_INSERTED 2
#define FLAG_REMOVE 4
#define NOTHING_THERE 0xff

#define DO_CLEAR_INSERTED 2
#define DO_CLEAR_REMOVE 4
#define DO_EJECT 8

#define OST_EVENT_EJECT 3
#define OST_STATUS_FAILED 1

#define MAX_SLOTS 256

enum slot_state { SLOT_EMPTY, SLOT_OURS, SLOT_NOT_OURS };

static struct {
	uint64_t base, size;
	uint8_t state; /* enum slot_state */
} slots[MAX_SLOTS];

static struct dimm_counts so_far;

static uint64_t read_pair(uint16_t low, uint16_t high)
{
	return inl(low) | (uint64_t)inl(high) << 32;
}

/* The node of the slot's proximity domain; one that the SRAT never named goes by address. */
static int slot_node(uint64_t base)
{
	uint32_t domain = inl(SLOT_DOMAIN);
	uint64_t end;

	for (unsigned i = 0; i < acpi_info.nnodes; i++)
		if (acpi_info.nmemory && acpi_info.domain[i] == domain)
			return (int)i;
	return acpi_node_of(&acpi_info, base, &end);
}

static void slot_add(unsigned nr)
{
	uint64_t base = read_pair(SLOT_BASE_LOW, SLOT_BASE_HIGH);
	uint64_t size = read_pair(SLOT_SIZE_LOW, SLOT_SIZE_HIGH);
	int err = mm_add_memory(base, size, slot_node(base));

	slots[nr].base = base;
	slots[nr].size = size;
	slots[nr].state = err ? SLOT_NOT_OURS : SLOT_OURS;
	if (err) {
		so_far.failed++;
		console_printf("dimm: slot %u: 0x%llx+0x%llx cannot be used (error %d)\n", nr,
			       (unsigned long long)base, (unsigned long long)size, err);
		return;
	}
	so_far.added++;
	so_far.bytes += size;
	so_far.last_base = base;
	so_far.last_size = size;
}

static bool slot_remove(unsigned nr)
{
	bool ours = slots[nr].state == SLOT_OURS;

	/* The request stays with the slot, and would meet the next module. */
	outb(SLOT_FLAGS, DO_CLEAR_REMOVE);
	if (ours && mm_remove_memory(slots[nr].base, slots[nr].size)) {
		outl(SLOT_OST_EVENT, OST_EVENT_EJECT);
		outl(SLOT_OST_STATUS, OST_STATUS_FAILED);
		so_far.refused++;
		return false;
	}
	slots[nr].state = SLOT_EMPTY;
	outb(SLOT_FLAGS, DO_EJECT);
	so_far.removed++;
	so_far.bytes -= ours ? slots[nr].size : 0;
	return true;
}

static bool slot_poll(unsigned nr)
{
	bool changed = false;
	uint8_t flags;

	outl(SLOT_SELECT, nr);
	flags = inb(SLOT_FLAGS);
	if (flags == NOTHING_THERE)
		return false;
	if (flags & FLAG_ENABLED && slots[nr].state == SLOT_EMPTY) {
		slot_add(nr);
		changed = true;
	}
	if (flags & FLAG_INSERTED)
		outb(SLOT_FLAGS, DO_CLEAR_INSERTED);
	if (flags & FLAG_REMOVE)
		changed |= slot_remove(nr);
	return changed;
}

/* Behind the last slot everything reads as 0; without slots nothing is there. */
unsigned dimm_poll(void)
{
	unsigned changed = 0;

	outl(SLOT_SELECT, 0);
	if (inb(SLOT_FLAGS) == NOTHING_THERE)
		return 0;
	for (unsigned nr = 0; nr < MAX_SLOTS; nr++)
		changed += slot_poll(nr);
	return changed;
}

void dimm_counts(struct dimm_counts *counts)
{
	*counts = so_far;
}
