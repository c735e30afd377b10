// SPDX-License-Identifier: MIT
/*
 * Start-up of the small kernel, from the boot path's struct boot_info to what
 * the command line asks for:
 *
 *	console, command line		nothing else is needed for these
 *	traps, ACPI tables		still on the boot path's page tables
 *	memblock			what is RAM, what is not ours
 *	final page tables		no RAM is mapped any longer
 *	mm_init				the memory manager maps what it uses
 *	the other CPUs
 *	devices that give memory or take it back
 *	run, selftest, kbench or list
 */
#include <kernel/arch.h>
#include <kernel/bench.h>
#include <kernel/cmdline.h>
#include <kernel/console.h>
#include <kernel/panic.h>
#include <kernel/sched.h>
#include <kernel/startup.h>
#include <kunit/run.h>
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include "lib/bits.h"
#include "lib/fmt.h"
#include "lib/string.h"

#define IDENTITY_LIMIT (1ULL << 32)

/* The suites fill chunks, exhaust and shrink; with less RAM they would fail for nothing. */
#define SELFTEST_MIN_RAM (32ULL << 20)

struct boot_info boot_info;
struct acpi_info acpi_info;
uint64_t boot_mm_init_cycles;

/* ---- Before there is memory ---- */

static void collect_cmdline(void)
{
	static char extra[BOOT_CMDLINE_MAX];
	long len = fw_cfg_read("opt/spanheap/cmdline", extra, sizeof(extra));

	cmdline_add(boot_info.cmdline, sizeof(boot_info.cmdline));
	if (len > 0)
		cmdline_add(extra, MIN((size_t)len, sizeof(extra)));
}

/* The boot paths map the first 4 GiB where they lie; the tables are nearly always there. */
static const void *identity(uint64_t pa, size_t len)
{
	if (pa >= IDENTITY_LIMIT || len > IDENTITY_LIMIT - pa)
		return NULL;
	return (const void *)(uintptr_t)pa;
}

/* ---- Memory ---- */

static void add_usable(const struct boot_range *range)
{
	uint64_t end = range->base + range->size, next;

	if (end < range->base)
		end = UINT64_MAX;
	for (uint64_t at = range->base; at < end; at = next) {
		int node = acpi_node_of(&acpi_info, at, &next);

		next = MIN(next, end);
		if (memblock_add(at, next - at, node))
			console_printf("no room to note memory %llx-%llx: it stays unused\n",
				       (unsigned long long)at, (unsigned long long)next - 1);
	}
}

/* What can't be kept from others must not be started with. */
static void keep(phys_addr_t base, uint64_t size)
{
	int err = memblock_reserve(base, size);

	if (err)
		panic("no room to reserve memory %llx-%llx (error %d)", (unsigned long long)base,
		      (unsigned long long)(base + size - 1), err);
}

/* What is nobody's to give: everything but usable RAM, and what holds us up. */
static void give_memory(void)
{
	for (unsigned i = 0; i < boot_info.nranges; i++) {
		const struct boot_range *range = &boot_info.range[i];

		if (range->type == BOOT_MEM_USABLE)
			add_usable(range);
		else if (range->size)
			keep(range->base, range->size);
	}
	keep(0, FRAME_SIZE);
	keep(arch_image_base(), arch_image_size());
	if (arch_trampoline())
		keep(arch_trampoline(), FRAME_SIZE);
}

/* What the SLIT says, and where CPU 0 is; arch_smp_init() says it of the others. */
static void tell_nodes(void)
{
	mm_set_cpu_node(0, arch_boot_node(&acpi_info));
	for (unsigned a = 0; a < acpi_info.nnodes; a++)
		for (unsigned b = 0; b < acpi_info.nnodes; b++)
			mm_set_node_distance((int)a, (int)b, acpi_info.distance[a][b]);
}

static uint64_t usable_bytes(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < boot_info.nranges; i++)
		if (boot_info.range[i].type == BOOT_MEM_USABLE)
			sum += boot_info.range[i].size;
	return sum;
}

static void start_mm(void)
{
	uint64_t start = port_clock();
	int err = mm_init();

	boot_mm_init_cycles = port_clock() - start;
	if (!err)
		err = mm_init_cpu();
	if (err)
		panic("not enough memory: %llu KiB usable (error %d)",
		      (unsigned long long)usable_bytes() >> 10, err);
}

/* ---- Tests ---- */

void kunit_out(const char *line)
{
	console_printf("%s\n", line);
}

const void *kunit_current(void)
{
	return port_context() == MM_TASK ? sched_current() : NULL;
}

static unsigned selftest(const char *filter)
{
	struct kunit_options options = {
		.filter = filter,
		.dies = cmdline_flag("dies"),
		.quick = cmdline_flag("quick"),
	};
	struct kunit_results results;

	if (usable_bytes() < SELFTEST_MIN_RAM) {
		console_printf("not enough memory: %llu KiB usable, the suites need %llu KiB\n",
			       (unsigned long long)usable_bytes() >> 10, SELFTEST_MIN_RAM >> 10);
		return EXIT_FAILED;
	}
	if (kunit_run(&options, &results))
		return EXIT_FAILED;
	return results.passed || results.skipped ? EXIT_PASSED : EXIT_NOTHING;
}

/* ---- What was asked for ---- */

static unsigned run_mode(const char *mode)
{
	char filter[512] = "";
	bool healthy;

	cmdline_get("filter", filter, sizeof(filter));
	if (!strcmp(mode, "selftest"))
		return selftest(filter);
	if (!strcmp(mode, "kbench"))
		return kbench_run(filter) ? EXIT_PASSED : EXIT_NOTHING;
	if (!strcmp(mode, "list")) {
		kunit_list(filter);
		return EXIT_PASSED;
	}
	if (strcmp(mode, "run"))
		panic("mode=%s: there is run, selftest, kbench and list", mode);
	show_memory();
	show_cpus();
	healthy = self_check();
	background_start();
	monitor(healthy);
}

void kernel_main(const struct boot_info *bi)
{
	char mode[16] = "run";

	serial_init();
	memcpy(&boot_info, bi, sizeof(boot_info));
	collect_cmdline();
	/* Firmware may leave the cursor in the middle of a line. */
	console_printf("\nSpanheap, started by %s: %s\n",
		       boot_info.path == BOOT_UEFI ? "UEFI" : "PVH", cmdline());

	if (boot_info.magic != BOOT_INFO_MAGIC || boot_info.nranges > BOOT_MAX_RANGES)
		panic("the loader is of another version than the kernel");
	arch_early_init(&boot_info);
	if (acpi_parse(boot_info.rsdp, identity, &acpi_info))
		console_printf("no usable ACPI tables: one CPU, one node\n");
	arch_count_cpus(&acpi_info, (unsigned)cmdline_number("cpus", 0));
	give_memory();
	tell_nodes();
	arch_paging_init();
	start_mm();
	arch_smp_init(&acpi_info);
	balloon_init();
	dimm_poll();

	cmdline_get("mode", mode, sizeof(mode));
	machine_exit(run_mode(mode));
}
