// SPDX-License-Identifier: MIT
/*
 * CPUs, nodes and distances out of the firmware's ACPI tables; see acpi.h.
 *
 *	RSDP (20 or 36 bytes)	checksum, address of RSDT and XSDT
 *	each table		signature 4, length 4, revision 1, checksum 1, ...
 *				36 bytes in all, then what is its own
 *	MADT, SRAT		a list of entries: type 1, length 1, ...
 *	SLIT			n, then n * n distances
 *
 * All of it is read byte by byte, since nothing need be aligned, and nothing is
 * read before the length that covers it was checked. So the code is good for
 * tables that somebody made up, runs on any machine, and is tested there.
 *
 * Cost: O(bytes of the tables); nodes are found by one pass over the SRAT each.
 */
#include <kernel/acpi.h>

#include "lib/bits.h"
#include "lib/string.h"

#define ACPI_HEADER 36
#define ACPI_MAX_TABLE (1U << 20)
#define ACPI_MAX_TABLES 1024
#define LAPIC_DEFAULT_BASE 0xfee00000

enum madt_type { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_LAPIC_ADDRESS = 5, MADT_X2APIC = 9 };
enum srat_type { SRAT_LAPIC = 0, SRAT_MEMORY = 1, SRAT_X2APIC = 2 };
enum { SRAT_ENABLED = 1, SRAT_HOTPLUG = 2, SRAT_PERSISTENT = 4 };

typedef const void *acpi_map_fn(uint64_t pa, size_t len);

/* A table whose length and checksum are good; at is NULL if there is none. */
struct acpi_table {
	const uint8_t *at;
	uint32_t len;
};

struct acpi_tables {
	struct acpi_table madt, srat, slit;
};

/* What an SRAT entry says, whatever its type. */
struct srat_entry {
	enum srat_type type;
	uint32_t domain, apic_id, flags;
	uint64_t base, size;
};

static bool acpi_find_root(uint64_t rsdp, acpi_map_fn *map, struct acpi_info *out,
			   struct acpi_table *root, size_t *entry_size);
static void acpi_find_tables(const struct acpi_table *root, size_t entry_size, acpi_map_fn *map,
			     struct acpi_info *out, struct acpi_tables *found);
static void acpi_read_madt(const struct acpi_table *madt, struct acpi_info *out);
static void acpi_read_nodes(const struct acpi_table *srat, struct acpi_info *out);
static void acpi_read_srat(const struct acpi_table *srat, struct acpi_info *out);
static void acpi_read_slit(const struct acpi_table *slit, struct acpi_info *out);
static void acpi_default_distances(struct acpi_info *out);

int acpi_parse(uint64_t rsdp, acpi_map_fn *map, struct acpi_info *out)
{
	struct acpi_tables found = { 0 };
	struct acpi_table root;
	size_t entry_size;

	memset(out, 0, sizeof(*out));
	out->lapic_base = LAPIC_DEFAULT_BASE;
	out->nnodes = 1;
	acpi_default_distances(out);
	if (!rsdp)
		return -ENOENT;
	if (!acpi_find_root(rsdp, map, out, &root, &entry_size))
		return -EINVAL;
	acpi_find_tables(&root, entry_size, map, out, &found);
	if (found.madt.at)
		acpi_read_madt(&found.madt, out);
	if (!found.srat.at)
		return 0;
	acpi_read_nodes(&found.srat, out);
	acpi_read_srat(&found.srat, out);
	if (found.slit.at)
		acpi_read_slit(&found.slit, out);
	return 0;
}

int acpi_node_of(const struct acpi_info *info, uint64_t pa, uint64_t *end)
{
	const struct acpi_memory *best = NULL;

	*end = UINT64_MAX;
	for (unsigned i = 0; i < info->nmemory; i++) {
		const struct acpi_memory *m = &info->memory[i];

		if (m->base > pa) {
			*end = MIN(*end, m->base);
			break;
		}
		if (m->size <= pa - m->base)
			continue;
		*end = MIN(*end, m->base + m->size);
		if (!best || best->hotplug || !m->hotplug)
			best = m;
	}
	return best ? best->node : 0;
}

/* ---- Bytes ---- */

static uint32_t acpi_u32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t acpi_u64(const uint8_t *p)
{
	return acpi_u32(p) | (uint64_t)acpi_u32(p + 4) << 32;
}

static bool acpi_sums_to_zero(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += *p++;
	return !sum;
}

static const uint8_t *acpi_map(acpi_map_fn *map, uint64_t pa, size_t len)
{
	return pa && pa + len > pa ? map(pa, len) : NULL;
}

static bool acpi_is_named(const uint8_t *header, const char *name)
{
	return !memcmp(header, name, 4);
}

/*
 * Entries of a MADT or SRAT, one at each call; NULL at the end. An entry that
 * is too short to be one or runs over the end of its table ends the walk.
 */
struct acpi_walk {
	const uint8_t *next, *end;
	bool broken;
};

static struct acpi_walk acpi_walk_from(const struct acpi_table *t, size_t offset)
{
	const uint8_t *end = t->at + t->len;

	return (struct acpi_walk){ .next = t->at + MIN(offset, t->len), .end = end };
}

static const uint8_t *acpi_walk_next(struct acpi_walk *w)
{
	const uint8_t *p = w->next;
	size_t left = (size_t)(w->end - p);

	if (w->broken || !left)
		return NULL;
	if (left < 2 || p[1] < 2 || p[1] > left) {
		w->broken = true;
		return NULL;
	}
	w->next = p + p[1];
	return p;
}

/* ---- Root and tables ---- */

/* Whether there is a good table at @pa; @name NULL: whatever its name. */
static bool acpi_open(uint64_t pa, acpi_map_fn *map, const char *name, struct acpi_table *t)
{
	const uint8_t *header = acpi_map(map, pa, ACPI_HEADER);

	if (!header || (name && !acpi_is_named(header, name)))
		return false;
	t->len = acpi_u32(header + 4);
	if (t->len < ACPI_HEADER || t->len > ACPI_MAX_TABLE)
		return false;
	t->at = acpi_map(map, pa, t->len);
	return t->at && acpi_sums_to_zero(t->at, t->len);
}

static bool acpi_find_root(uint64_t rsdp, acpi_map_fn *map, struct acpi_info *out,
			   struct acpi_table *root, size_t *entry_size)
{
	const uint8_t *p = acpi_map(map, rsdp, 20), *full;

	if (!p || memcmp(p, "RSD PTR ", 8) || !acpi_sums_to_zero(p, 20))
		return false;
	if (p[15] >= 2) {
		full = acpi_map(map, rsdp, 36);
		*entry_size = 8;
		if (full && acpi_u32(full + 20) == 36 && acpi_sums_to_zero(full, 36) &&
		    acpi_open(acpi_u64(full + 24), map, "XSDT", root))
			return true;
		/* The older half is good by itself. */
		out->ntables_bad++;
	}
	*entry_size = 4;
	return acpi_open(acpi_u32(p + 16), map, "RSDT", root);
}

static void acpi_find_tables(const struct acpi_table *root, size_t entry_size, acpi_map_fn *map,
			     struct acpi_info *out, struct acpi_tables *found)
{
	size_t n = MIN((root->len - ACPI_HEADER) / entry_size, ACPI_MAX_TABLES);

	for (size_t i = 0; i < n; i++) {
		const uint8_t *entry = root->at + ACPI_HEADER + i * entry_size, *header;
		uint64_t pa = entry_size == 8 ? acpi_u64(entry) : acpi_u32(entry);
		struct acpi_table t, *want;

		header = acpi_map(map, pa, ACPI_HEADER);
		if (!header)
			continue;
		if (acpi_is_named(header, "APIC"))
			want = &found->madt;
		else if (acpi_is_named(header, "SRAT"))
			want = &found->srat;
		else if (acpi_is_named(header, "SLIT"))
			want = &found->slit;
		else
			continue;
		if (want->at)
			continue;
		if (acpi_open(pa, map, NULL, &t))
			*want = t;
		else
			out->ntables_bad++;
	}
}

/* ---- MADT ---- */

static struct acpi_cpu *acpi_cpu_of(struct acpi_info *out, uint32_t apic_id)
{
	for (unsigned i = 0; i < out->ncpus; i++)
		if (out->cpu[i].apic_id == apic_id)
			return &out->cpu[i];
	return NULL;
}

/* Room is no question: there are no more ids than places. */
static void acpi_add_cpu(struct acpi_info *out, uint32_t apic_id, uint32_t uid, bool enabled)
{
	struct acpi_cpu *cpu;

	if (apic_id >= ACPI_MAX_CPUS) {
		out->ncpus_skipped += enabled;
		return;
	}
	cpu = acpi_cpu_of(out, apic_id);
	if (!cpu) {
		cpu = &out->cpu[out->ncpus++];
		*cpu = (struct acpi_cpu){ .apic_id = apic_id, .uid = uid };
	}
	cpu->enabled |= enabled;
}

static void acpi_set_lapic(struct acpi_info *out, uint64_t base)
{
	if (base && !(base & 0xfff))
		out->lapic_base = base;
}

static void acpi_read_madt(const struct acpi_table *madt, struct acpi_info *out)
{
	struct acpi_walk walk = acpi_walk_from(madt, 44);
	const uint8_t *e;

	if (madt->len < 44) {
		out->ntables_bad++;
		return;
	}
	acpi_set_lapic(out, acpi_u32(madt->at + 36));
	while ((e = acpi_walk_next(&walk))) {
		if (e[0] == MADT_LAPIC && e[1] >= 8)
			acpi_add_cpu(out, e[3], e[2], e[4] & 1);
		else if (e[0] == MADT_X2APIC && e[1] >= 16)
			acpi_add_cpu(out, acpi_u32(e + 4), acpi_u32(e + 12), e[8] & 1);
		else if (e[0] == MADT_LAPIC_ADDRESS && e[1] >= 12)
			acpi_set_lapic(out, acpi_u64(e + 4));
		else if (e[0] == MADT_IOAPIC && e[1] >= 12 && out->nioapics < ACPI_MAX_IOAPICS)
			out->ioapic[out->nioapics++] = acpi_u32(e + 4);
	}
	out->ntables_bad += walk.broken;
}

/* ---- SRAT ---- */

/*
 * The next enabled entry that says something. The domain's upper bytes mean
 * nothing before revision 2.
 */
static bool srat_next(const struct acpi_table *srat, struct acpi_walk *walk, struct srat_entry *s)
{
	uint32_t domains = srat->at[8] < 2 ? 0xff : ~0U;
	const uint8_t *e;

	while ((e = acpi_walk_next(walk))) {
		*s = (struct srat_entry){ .type = e[0] };
		if (e[0] == SRAT_LAPIC && e[1] >= 16) {
			s->domain = e[2] | (acpi_u32(e + 8) & ~0xffU);
			s->apic_id = e[3];
			s->flags = acpi_u32(e + 4);
		} else if (e[0] == SRAT_X2APIC && e[1] >= 24) {
			s->domain = acpi_u32(e + 4);
			s->apic_id = acpi_u32(e + 8);
			s->flags = acpi_u32(e + 12);
		} else if (e[0] == SRAT_MEMORY && e[1] >= 40) {
			s->domain = acpi_u32(e + 2);
			s->base = acpi_u64(e + 8);
			s->size = MIN(acpi_u64(e + 16), UINT64_MAX - s->base);
			s->flags = acpi_u32(e + 28);
		}
		s->domain &= domains;
		if (s->flags & SRAT_ENABLED && (s->size || s->type != SRAT_MEMORY))
			return true;
	}
	return false;
}

/* The lowest domain of at least @from; false if there is none. */
static bool srat_domain_from(const struct acpi_table *srat, uint64_t from, uint32_t *domain)
{
	struct acpi_walk walk = acpi_walk_from(srat, 48);
	struct srat_entry s;
	uint64_t lowest = UINT64_MAX;

	while (srat_next(srat, &walk, &s))
		if (s.domain >= from)
			lowest = MIN(lowest, s.domain);
	*domain = (uint32_t)lowest;
	return lowest != UINT64_MAX;
}

static void acpi_read_nodes(const struct acpi_table *srat, struct acpi_info *out)
{
	uint32_t domain = 0;
	uint64_t from = 0;

	out->nnodes = 0;
	while (srat_domain_from(srat, from, &domain)) {
		if (out->nnodes == ACPI_MAX_NODES) {
			out->domains_lost = true;
			break;
		}
		out->domain[out->nnodes++] = domain;
		from = (uint64_t)domain + 1;
	}
	if (!out->nnodes)
		out->nnodes = 1;
}

static int acpi_node_of_domain(const struct acpi_info *out, uint32_t domain)
{
	for (unsigned i = 0; i < out->nnodes; i++)
		if (out->domain[i] == domain)
			return (int)i;
	return 0;
}

/* Keeps the list sorted; ranges that start alike stay in the firmware's order. */
static void acpi_add_memory(struct acpi_info *out, const struct srat_entry *s)
{
	unsigned at = out->nmemory;

	if (at == ACPI_MAX_MEMORY) {
		out->nmemory_skipped++;
		return;
	}
	for (; at > 0 && out->memory[at - 1].base > s->base; at--)
		out->memory[at] = out->memory[at - 1];
	out->memory[at] = (struct acpi_memory){
		.base = s->base,
		.size = s->size,
		.node = acpi_node_of_domain(out, s->domain),
		.hotplug = s->flags & SRAT_HOTPLUG,
		.persistent = s->flags & SRAT_PERSISTENT,
	};
	out->nmemory++;
}

static void acpi_read_srat(const struct acpi_table *srat, struct acpi_info *out)
{
	struct acpi_walk walk = acpi_walk_from(srat, 48);
	struct srat_entry s;

	while (srat_next(srat, &walk, &s)) {
		struct acpi_cpu *cpu;

		if (s.type == SRAT_MEMORY) {
			acpi_add_memory(out, &s);
			continue;
		}
		cpu = acpi_cpu_of(out, s.apic_id);
		if (cpu)
			cpu->node = acpi_node_of_domain(out, s.domain);
	}
	out->ntables_bad += walk.broken || srat->len < 48;
}

/* ---- SLIT ---- */

static void acpi_default_distances(struct acpi_info *out)
{
	for (unsigned i = 0; i < ACPI_MAX_NODES; i++)
		for (unsigned j = 0; j < ACPI_MAX_NODES; j++)
			out->distance[i][j] = i == j ? ACPI_DISTANCE_LOCAL : ACPI_DISTANCE_REMOTE;
}

/*
 * A pair of nodes whose domains the table does not cover keeps the default. One
 * senseless distance (a node not at 10 to itself, or another that near) makes
 * the whole table unworthy of trust.
 */
static void acpi_read_slit(const struct acpi_table *slit, struct acpi_info *out)
{
	uint64_t n = slit->len >= 44 ? acpi_u64(slit->at + 36) : 0;

	if (!n || n > ACPI_MAX_TABLE || n * n > slit->len - 44) {
		out->ntables_bad++;
		return;
	}
	for (unsigned i = 0; i < out->nnodes; i++) {
		for (unsigned j = 0; j < out->nnodes; j++) {
			uint8_t distance;

			if (out->domain[i] >= n || out->domain[j] >= n)
				continue;
			distance = slit->at[44 + out->domain[i] * n + out->domain[j]];
			if ((distance == ACPI_DISTANCE_LOCAL) != (i == j) ||
			    distance < ACPI_DISTANCE_LOCAL) {
				acpi_default_distances(out);
				out->ntables_bad++;
				return;
			}
			out->distance[i][j] = distance;
		}
	}
}
