/* SPDX-License-Identifier: MIT */
/*
 * What the ACPI tables of the firmware say about CPUs, memory nodes and the
 * distances between them. The parser touches no hardware.
 *
 *	RSDP ──► XSDT or RSDT ──┬─► MADT  CPUs, local APIC, I/O APICs
 *	                        ├─► SRAT  node of each CPU and memory range
 *	                        └─► SLIT  distance of each pair of nodes
 *
 * The firmware numbers its proximity domains as it likes, with gaps; here nodes
 * are 0 .. nnodes-1, in the order of the domains' numbers, and always below
 * PORT_MAX_NODES. Without an SRAT everything belongs to node 0.
 */
#ifndef KERNEL_ACPI_H
#define KERNEL_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <spanheap/port.h>

#define ACPI_MAX_CPUS 255	/* xAPIC ids 0 .. 254; 255 is the broadcast */
#define ACPI_MAX_MEMORY 256
#define ACPI_MAX_IOAPICS 16
#define ACPI_MAX_NODES PORT_MAX_NODES

/* Distances as in the SLIT: a node to itself, and the guess for any other. */
#define ACPI_DISTANCE_LOCAL 10
#define ACPI_DISTANCE_REMOTE 20

/**
 * struct acpi_cpu - one CPU of the MADT.
 * @apic_id: 0 .. 254; what an inter-processor interrupt is sent to
 * @uid: the firmware's number for it, for messages
 * @node: 0 .. nnodes-1
 * @enabled: can be started now; else it is an empty socket or switched off
 */
struct acpi_cpu {
	uint32_t apic_id;
	uint32_t uid;
	int node;
	bool enabled;
};

/**
 * struct acpi_memory - one enabled, non-empty memory range of the SRAT.
 * @base: first byte
 * @size: bytes; the range does not wrap
 * @node: 0 .. nnodes-1
 * @hotplug: memory may arrive here, or be a plugged module already
 * @persistent: an NVDIMM
 *
 * It says to which node an address belongs, never that there is RAM: that is
 * the firmware's memory map to say.
 */
struct acpi_memory {
	uint64_t base, size;
	int node;
	bool hotplug, persistent;
};

/**
 * struct acpi_info - all that was found.
 * @lapic_base: physical address of the local APIC's registers
 * @ncpus, @cpu: in the firmware's order; ids are unique
 * @ncpus_skipped: enabled CPUs whose id an xAPIC cannot reach
 * @nioapics, @ioapic: physical addresses of the I/O APICs
 * @nmemory, @memory: sorted by base; may overlap if the firmware is wrong
 * @nmemory_skipped: ranges that did not fit
 * @nnodes: at least 1
 * @domain: the proximity domain of each node
 * @domains_lost: there were more than ACPI_MAX_NODES; what belongs to those with
 *	the highest numbers went to node 0
 * @distance: of each pair of nodes; from the SLIT, or the two defaults above
 * @ntables_bad: tables with a wrong checksum, length or content: not used from
 *	there on
 */
struct acpi_info {
	uint64_t lapic_base;
	unsigned ncpus, ncpus_skipped;
	unsigned nioapics;
	unsigned nmemory, nmemory_skipped;
	unsigned nnodes;
	unsigned ntables_bad;
	bool domains_lost;
	struct acpi_cpu cpu[ACPI_MAX_CPUS];
	uint64_t ioapic[ACPI_MAX_IOAPICS];
	struct acpi_memory memory[ACPI_MAX_MEMORY];
	uint32_t domain[ACPI_MAX_NODES];
	uint8_t distance[ACPI_MAX_NODES][ACPI_MAX_NODES];
};

/**
 * acpi_parse() - read the tables.
 * @rsdp: physical address of the root pointer, or 0
 * @map: gives a readable address of @len bytes at @pa, good until acpi_parse()
 *	returns, or NULL if it cannot; @pa and the result may be unaligned
 * @out: always left complete and consistent: one node, no CPU, the usual APIC
 *	address if nothing was found
 *
 * Trusts nothing: each table's length and checksum are checked before it is
 * used, and a table that is broken is skipped. @out is large: not on a stack.
 *
 * Return: 0; -ENOENT if @rsdp is 0, -EINVAL if the root pointer or root table
 * is broken or cannot be mapped.
 */
int acpi_parse(uint64_t rsdp, const void *(*map)(uint64_t pa, size_t len), struct acpi_info *out);

/**
 * acpi_node_of() - to which node an address belongs.
 * @end: gets the first address above @pa for which the answer may differ;
 *	UINT64_MAX if there is none
 *
 * Cuts a range of RAM by node:
 *
 *	for (at = base; at < base + size; at = next) {
 *		node = acpi_node_of(info, at, &next);
 *		next = MIN(next, base + size);
 *		memblock_add(at, next - at, node);
 *	}
 *
 * Return: the node, 0 where the SRAT says nothing. Of overlapping ranges those
 * that are no hotplug window win, then the one that starts last.
 */
int acpi_node_of(const struct acpi_info *info, uint64_t pa, uint64_t *end);

#endif
