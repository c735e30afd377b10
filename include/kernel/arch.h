/* SPDX-License-Identifier: MIT */
/*
 * What the small kernel asks of the machine, in the order of a start-up:
 *
 *	serial_init()		the console works (console.h)
 *	arch_early_init()	descriptor tables, traps, per-CPU data of CPU 0
 *	arch_count_cpus()	how much memory to keep for each of them
 *	arch_paging_init()	the final page tables: W^X image, guard pages; the
 *				boot path's identity map is gone afterwards
 *	(mm_init, mm_init_cpu)
 *	arch_smp_init()		local APIC, timer, the other CPUs, interrupts on
 */
#ifndef KERNEL_ARCH_H
#define KERNEL_ARCH_H

#include <kernel/boot_info.h>
#include <spanheap/types.h>

struct acpi_info;

/** kernel_main() - where both boot paths end; on CPU 0's boot stack, interrupts off. */
__attribute__((noreturn)) void kernel_main(const struct boot_info *bi);

/**
 * arch_early_init() - make traps and per-CPU data of CPU 0 work.
 *
 * Runs on the boot path's tables. Remembers bi->kernel_phys and bi->trampoline;
 * @bi itself may go away afterwards.
 */
void arch_early_init(const struct boot_info *bi);

/**
 * arch_paging_init() - load the final page tables.
 *
 * Made of frames in the image only. No RAM is in the direct map afterwards:
 * what lies elsewhere than in the image is reachable through mmio_map() or,
 * once mm/ has mapped it, phys_to_virt().
 */
void arch_paging_init(void);

/**
 * arch_count_cpus() - how many CPUs there can be, before mm_init().
 * @acpi: local APICs as the MADT lists them; an empty list: CPU 0 only
 * @limit: at most so many CPUs in all; 0: as many as there are
 */
void arch_count_cpus(const struct acpi_info *acpi, unsigned limit);

/**
 * arch_smp_init() - start the other CPUs, as far as they were counted.
 *
 * Turns interrupts on. After mm_init_cpu() of CPU 0; each further CPU calls
 * mm_init_cpu() itself. A CPU that does not come, or has no memory, is left
 * out; the others are numbered without gaps in MADT order.
 */
void arch_smp_init(const struct acpi_info *acpi);

/** arch_image_base() - first physical byte of the kernel image, page tables in BSS included. */
phys_addr_t arch_image_base(void);

/** arch_image_size() - its bytes, a multiple of FRAME_SIZE. */
uint64_t arch_image_size(void);

/** arch_boot_node() - on which NUMA node CPU 0 is. */
int arch_boot_node(const struct acpi_info *acpi);

/** arch_trampoline() - page below 1 MiB that starts CPUs, to be reserved; 0 if there is none. */
phys_addr_t arch_trampoline(void);

/**
 * mmio_map() - map device memory, uncached, for good.
 *
 * Return: its address, or NULL if the window for it is full.
 */
void *mmio_map(phys_addr_t pa, size_t size);

/**
 * fw_cfg_read() - read a file that the emulator offers, e.g. "opt/spanheap/cmdline".
 * @buf: gets at most @size bytes; no zero is added
 *
 * Return: length of the file, which may be more than @size; -1 if there is none.
 */
long fw_cfg_read(const char *name, void *buf, size_t size);

/** enum exit_code - what is written to isa-debug-exit; QEMU's status is code * 2 + 1. */
enum exit_code {
	EXIT_PASSED = 0x10,
	EXIT_FAILED = 0x11,
	EXIT_PANIC = 0x12,
	EXIT_NOTHING = 0x13,
};

/** machine_exit() - end the run with a status; halts for good where nothing listens. */
__attribute__((noreturn)) void machine_exit(unsigned code);

/** machine_reboot() - start the machine anew. */
__attribute__((noreturn)) void machine_reboot(void);

/**
 * clock_us() - microseconds since some moment of the start-up. Any context.
 *
 * The first call, or arch_smp_init() with more than one CPU, calibrates the
 * counter, which takes some milliseconds.
 */
uint64_t clock_us(void);

/** clock_delay_us() - wait, with interrupts as they are. */
void clock_delay_us(uint64_t us);

/** arch_sleep_us() - let other tasks of this CPU run; sleep when there are none. Task context. */
void arch_sleep_us(uint64_t us);

/**
 * irqoff_max() - longest section with interrupts off since irqoff_reset(), over
 * all CPUs, in clock cycles (instructions under -icount). 0 unless the image was
 * built with CONFIG_IRQ_TRACE. The console's own sections are not counted.
 * @where: if not NULL, gets the address of code where that section began
 */
uint64_t irqoff_max(uintptr_t *where);

/** irqoff_reset() - forget what was measured so far. */
void irqoff_reset(void);

/** balloon_init() - look for a balloon device, and give it what mm/ discards. After mm_init(). */
void balloon_init(void);

/**
 * dimm_poll() - look after the memory slots of the board (ACPI's, as QEMU has them).
 *
 * Adds modules that have come, those that were there at the start too; gives up
 * those that are wanted back, if nothing of them is in use, else says no. Task
 * context, one caller at a time.
 *
 * Return: how many modules came or went.
 */
unsigned dimm_poll(void);

/**
 * struct dimm_counts - what has happened at the slots so far.
 * @added, @removed: modules
 * @refused: times that one was wanted back while it was in use
 * @failed: modules that could not be used
 * @bytes: of the modules in use now
 * @last_base, @last_size: the module that was added last
 */
struct dimm_counts {
	unsigned added, removed, refused, failed;
	uint64_t bytes;
	uint64_t last_base, last_size;
};

void dimm_counts(struct dimm_counts *counts);

/** arch_set_discard() - who is behind port_discard(); NULL: nobody. */
void arch_set_discard(bool (*fn)(phys_addr_t pa, uint64_t size));

#endif
