// SPDX-License-Identifier: MIT
/*
 * What `make run` prints before its prompt: the memory map, the CPUs, and the
 * verdict of a quick check.
 *
 * The firmware's entries are sorted, and neighbours of one type are joined; what
 * state their frames are in comes from mem_walk().
 */
#include <kernel/arch.h>
#include <kernel/console.h>
#include <kernel/startup.h>
#include <kernel/task.h>
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include <spanheap/state.h>
#include <spanheap/stats.h>
#include "lib/bits.h"
#include "lib/fmt.h"
#include "lib/string.h"

#define NR_STATES (MEM_READY + 1)
#define NR_TYPES (BOOT_MEM_LOADER + 1)
#define CHECK_RUN (1UL << 20)

static const char *const state_name[NR_STATES] = { "None", "Reserved", "Prepared", "Ready" };

static const struct {
	const char *name;
	bool ram;
} type_info[NR_TYPES] = {
	[BOOT_MEM_USABLE] = { "usable", true },
	[BOOT_MEM_RESERVED] = { "reserved", false },
	[BOOT_MEM_ACPI] = { "ACPI tables", true },
	[BOOT_MEM_NVS] = { "ACPI NVS", true },
	[BOOT_MEM_BAD] = { "defective", true },
	[BOOT_MEM_RUNTIME] = { "firmware runtime", true },
	[BOOT_MEM_MMIO] = { "devices", false },
	[BOOT_MEM_PERSISTENT] = { "persistent", false },
	[BOOT_MEM_LOADER] = { "kernel, loader", true },
};

static unsigned type_of(const struct boot_range *r)
{
	return r->type < NR_TYPES && type_info[r->type].name ? r->type : BOOT_MEM_RESERVED;
}

/* "1023.5 MiB": one digit after the point, in the largest unit that fits. */
static const char *size_text(char buf[16], uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	uint64_t tenths = bytes * 10;
	unsigned u = 0;

	if (bytes >= UINT64_MAX / 10)
		tenths = UINT64_MAX;
	for (; tenths >= 10240 && u + 1 < ARRAY_SIZE(unit); u++)
		tenths >>= 10;
	if (tenths % 10)
		fmt_print(buf, 16, "%llu.%llu %s", (unsigned long long)tenths / 10,
			  (unsigned long long)tenths % 10, unit[u]);
	else
		fmt_print(buf, 16, "%llu %s", (unsigned long long)tenths / 10, unit[u]);
	return buf;
}

/* ---- States of a range ---- */

struct state_sums {
	uint64_t lo, hi, bytes[NR_STATES];
};

static int add_state(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	struct state_sums *sums = arg;
	uint64_t lo = MAX(base, sums->lo), hi = MIN(base + size, sums->hi);

	if (lo < hi)
		sums->bytes[s] += hi - lo;
	return base >= sums->hi;
}

static struct state_sums states_of(uint64_t base, uint64_t size)
{
	struct state_sums sums = { .lo = base, .hi = base + size };

	mem_walk(add_state, &sums);
	sums.bytes[MEM_NONE] = size;
	for (unsigned s = MEM_RESERVED; s < NR_STATES; s++)
		sums.bytes[MEM_NONE] -= sums.bytes[s];
	return sums;
}

/* "Ready", or "None 4 KiB, Reserved 636 KiB". */
static void states_text(char *buf, size_t size, const struct state_sums *sums)
{
	char number[16];
	size_t n = 0;

	buf[0] = 0;
	for (unsigned s = 0; s < NR_STATES; s++) {
		if (!sums->bytes[s])
			continue;
		if (sums->bytes[s] == sums->hi - sums->lo)
			n += fmt_print(buf + n, size - n, "%s", state_name[s]);
		else
			n += fmt_print(buf + n, size - n, "%s%s %s", n ? ", " : "", state_name[s],
				       size_text(number, sums->bytes[s]));
	}
}

/* ---- The map ---- */

/* The firmware's map as ascending ranges of one type; shared with nobody. */
static struct boot_range sorted[BOOT_MAX_RANGES];

static unsigned sort_map(void)
{
	unsigned n = 0, out = 0;

	for (unsigned i = 0; i < boot_info.nranges; i++) {
		unsigned at = n;

		if (!boot_info.range[i].size)
			continue;
		for (; at > 0 && sorted[at - 1].base > boot_info.range[i].base; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = boot_info.range[i];
		n++;
	}
	for (unsigned i = 0; i < n; i++) {
		struct boot_range *last = out ? &sorted[out - 1] : NULL;

		if (last && type_of(last) == type_of(&sorted[i]) &&
		    last->base + last->size == sorted[i].base)
			last->size += sorted[i].size;
		else
			sorted[out++] = sorted[i];
	}
	return out;
}

static void show_range(const struct boot_range *r)
{
	struct state_sums sums = states_of(r->base, r->size);
	char size[16], states[96];

	states_text(states, sizeof(states), &sums);
	console_printf("  %014llx-%014llx %10s  %-16s %s\n", (unsigned long long)r->base,
		       (unsigned long long)(r->base + r->size - 1), size_text(size, r->size),
		       type_info[type_of(r)].name, states);
}

static void show_sum(const char *what, uint64_t bytes)
{
	char size[16];

	if (bytes)
		console_printf("    %-18s %15llu bytes %10s\n", what, (unsigned long long)bytes,
			       size_text(size, bytes));
}

/* By type and by state, over all that is RAM: two sums that must agree. */
static void show_totals(unsigned nranges)
{
	struct state_sums all = states_of(0, 1ULL << PORT_PHYS_BITS);
	uint64_t by_type[NR_TYPES] = { 0 }, ram = 0, owned = 0, none = 0;
	struct dimm_counts modules;

	/* Not in the firmware's map. */
	dimm_counts(&modules);
	for (unsigned i = 0; i < nranges; i++) {
		unsigned type = type_of(&sorted[i]);

		by_type[type] += sorted[i].size;
		if (type_info[type].ram) {
			ram += sorted[i].size;
			none += states_of(sorted[i].base, sorted[i].size).bytes[MEM_NONE];
		}
	}
	for (unsigned s = MEM_RESERVED; s < NR_STATES; s++)
		owned += all.bytes[s];
	console_printf("  by type\n");
	for (unsigned t = 0; t < NR_TYPES; t++)
		if (type_info[t].ram)
			show_sum(type_info[t].name, by_type[t]);
	if (modules.bytes) {
		show_sum("memory modules", modules.bytes);
		ram += modules.bytes;
	}
	show_sum("RAM", ram);
	console_printf("  by state\n");
	show_sum(state_name[MEM_NONE], none);
	for (unsigned s = MEM_RESERVED; s < NR_STATES; s++)
		show_sum(state_name[s], all.bytes[s]);
	show_sum("RAM", none + owned);
	if (none + owned != ram)
		console_printf("    the sums differ: the firmware's ranges overlap\n");
}

void show_memory(void)
{
	unsigned nranges = sort_map();

	console_printf("memory map: %u entries from the firmware, %u ranges\n", boot_info.nranges,
		       nranges);
	console_printf("  %-29s %10s  %-16s %s\n", "physical addresses", "size", "type",
		       "state of its frames");
	for (unsigned i = 0; i < nranges; i++)
		show_range(&sorted[i]);
	show_totals(nranges);
}

void show_firmware_map(void)
{
	char size[16];

	for (unsigned i = 0; i < boot_info.nranges; i++) {
		const struct boot_range *r = &boot_info.range[i];

		console_printf("  %3u  %014llx %10s  %2u %s\n", i, (unsigned long long)r->base,
			       size_text(size, r->size), r->firmware_type,
			       type_info[type_of(r)].name);
	}
}

/* ---- CPUs ---- */

void show_cpus(void)
{
	unsigned listed = 0;

	for (unsigned i = 0; i < acpi_info.ncpus; i++)
		listed += acpi_info.cpu[i].enabled;
	console_printf("CPUs: %u running, %u listed by the firmware; NUMA nodes: %u\n", cpu_count(),
		       listed, acpi_info.nnodes);
}

/* ---- Quick check ---- */

/* One task on each CPU allocates, writes, reads back and frees; @arg counts what went wrong. */
static void check_frames(void *arg)
{
	uint32_t *wrong = arg;
	uint64_t *run = alloc_pages_exact(CHECK_RUN, GFP_KERNEL);
	uint64_t mark = (uintptr_t)run ^ this_cpu();

	if (!run) {
		__atomic_add_fetch(wrong, 1, __ATOMIC_RELAXED);
		return;
	}
	for (size_t i = 0; i < CHECK_RUN / sizeof(*run); i++)
		run[i] = mark + i;
	task_yield();
	for (size_t i = 0; i < CHECK_RUN / sizeof(*run); i++) {
		if (run[i] != mark + i) {
			__atomic_add_fetch(wrong, 1, __ATOMIC_RELAXED);
			break;
		}
	}
	if (mem_state(virt_to_phys(run)) != MEM_READY)
		__atomic_add_fetch(wrong, 1, __ATOMIC_RELAXED);
	free_pages_exact(run, CHECK_RUN);
}

/* Reserved memory must fault. Return: true if the first such frame, if any, does. */
static int find_reserved(phys_addr_t base, uint64_t size, enum mem_state s, void *arg)
{
	(void)size;
	if (s != MEM_RESERVED)
		return 0;
	*(phys_addr_t *)arg = base;
	return 1;
}

static bool reserved_faults(void)
{
	phys_addr_t pa;

	return !mem_walk(find_reserved, &pa) || probe_read(phys_to_virt(pa)) == -EFAULT;
}

bool self_check(void)
{
	struct task *task[PORT_MAX_CPUS];
	struct mm_stats before, after;
	uint32_t wrong = 0;
	unsigned ncpus = cpu_count();
	int violations;

	mm_drain();
	mm_stats(&before);
	for (unsigned cpu = 0; cpu < ncpus; cpu++)
		task[cpu] = task_start(cpu, check_frames, &wrong, "self-check");
	for (unsigned cpu = 0; cpu < ncpus; cpu++) {
		if (task[cpu])
			task_join(task[cpu]);
		else
			wrong++;
	}
	mm_drain();
	mm_stats(&after);
	violations = mm_validate();
	wrong += after.frames_used != before.frames_used;
	wrong += !reserved_faults();
	console_printf("self-check: %s (%lu KiB written and read back on each of %u CPUs: "
		       "%u errors, %d broken invariants)\n",
		       wrong || violations ? "FAILED" : "passed", CHECK_RUN >> 10, ncpus, wrong,
		       violations);
	return !wrong && !violations;
}
