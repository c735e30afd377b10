/* SPDX-License-Identifier: MIT */
/*
 * What a boot path hands to the kernel: one structure for UEFI and PVH.
 *
 * boot/efi fills it in the loader and passes its physical address in rdi;
 * boot/pvh fills it from QEMU's start info. The kernel copies it at once.
 */
#ifndef KERNEL_BOOT_INFO_H
#define KERNEL_BOOT_INFO_H

#include <stdint.h>

#define BOOT_INFO_MAGIC 0x50414548534e5053ULL
#define BOOT_MAX_RANGES 512
#define BOOT_CMDLINE_MAX 1024

enum boot_mem_type {
	BOOT_MEM_USABLE = 1,	/* free for us */
	BOOT_MEM_RESERVED,	/* firmware's, or unknown: hands off */
	BOOT_MEM_ACPI,		/* tables; not reclaimed */
	BOOT_MEM_NVS,		/* firmware keeps it across sleep */
	BOOT_MEM_BAD,		/* defective RAM */
	BOOT_MEM_RUNTIME,	/* UEFI runtime services */
	BOOT_MEM_MMIO,		/* devices */
	BOOT_MEM_PERSISTENT,	/* NVDIMM */
	BOOT_MEM_LOADER,	/* kernel image, boot_info, loader's tables */
};

/* One entry as the firmware gave it: any order, may be empty or overlap. */
struct boot_range {
	uint64_t base, size;
	uint32_t type;		/* enum boot_mem_type */
	uint32_t firmware_type;	/* the number the firmware used */
};

enum boot_path { BOOT_PVH = 1, BOOT_UEFI };

struct boot_info {
	uint64_t magic;
	uint32_t path;		/* enum boot_path */
	uint32_t nranges;
	uint64_t kernel_phys;	/* where linker address KERNEL_VMA lies */
	uint64_t kernel_size;
	uint64_t rsdp;		/* 0 if the firmware has none */
	uint64_t trampoline;	/* a free page below 1 MiB to start CPUs, or 0 */
	char cmdline[BOOT_CMDLINE_MAX];
	struct boot_range range[BOOT_MAX_RANGES];
};

#endif
