/* SPDX-License-Identifier: MIT */
/* What holds of every struct acpi_info, however broken the tables were. */
#ifndef TESTS_ACPI_CHECK_H
#define TESTS_ACPI_CHECK_H

#include <kernel/acpi.h>

static inline bool acpi_cpus_are_sane(const struct acpi_info *info)
{
	if (info->ncpus > ACPI_MAX_CPUS || info->nioapics > ACPI_MAX_IOAPICS)
		return false;
	for (unsigned i = 0; i < info->ncpus; i++) {
		if (info->cpu[i].apic_id >= ACPI_MAX_CPUS || info->cpu[i].node < 0 ||
		    (unsigned)info->cpu[i].node >= info->nnodes)
			return false;
		for (unsigned j = 0; j < i; j++)
			if (info->cpu[j].apic_id == info->cpu[i].apic_id)
				return false;
	}
	return info->lapic_base && !(info->lapic_base & 0xfff);
}

static inline bool acpi_memory_is_sane(const struct acpi_info *info)
{
	if (info->nmemory > ACPI_MAX_MEMORY)
		return false;
	for (unsigned i = 0; i < info->nmemory; i++) {
		const struct acpi_memory *m = &info->memory[i];

		if (!m->size || m->base + m->size < m->base || m->node < 0 ||
		    (unsigned)m->node >= info->nnodes || (i && m[-1].base > m->base))
			return false;
	}
	return true;
}

static inline bool acpi_nodes_are_sane(const struct acpi_info *info)
{
	if (info->nnodes < 1 || info->nnodes > ACPI_MAX_NODES)
		return false;
	for (unsigned i = 0; i < info->nnodes; i++) {
		if (i && info->domain[i - 1] >= info->domain[i])
			return false;
		for (unsigned j = 0; j < info->nnodes; j++)
			if (i == j ? info->distance[i][j] != ACPI_DISTANCE_LOCAL
				   : info->distance[i][j] <= ACPI_DISTANCE_LOCAL)
				return false;
	}
	return true;
}

/* acpi_node_of() cuts all addresses into pieces, each of them within one node. */
static inline bool acpi_pieces_are_sane(const struct acpi_info *info)
{
	uint64_t at = 0, next;

	for (unsigned i = 0; i <= 2 * info->nmemory; i++, at = next) {
		int node = acpi_node_of(info, at, &next);
		uint64_t again;

		if (node < 0 || (unsigned)node >= info->nnodes || next <= at)
			return false;
		if (acpi_node_of(info, next - 1, &again) != node || again != next)
			return false;
		if (next == UINT64_MAX)
			return true;
	}
	return false;
}

static inline bool acpi_info_is_sane(const struct acpi_info *info)
{
	return acpi_nodes_are_sane(info) && acpi_cpus_are_sane(info) && acpi_memory_is_sane(info) &&
	       acpi_pieces_are_sane(info);
}

#endif
