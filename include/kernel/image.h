/* SPDX-License-Identifier: MIT */
/*
 * Borders of the kernel image, set by linker.ld. All but the sections' own
 * tables and the core's code are multiples of FRAME_SIZE.
 */
#ifndef KERNEL_IMAGE_H
#define KERNEL_IMAGE_H

#include <stdint.h>

/* Where physical address boot_info.kernel_phys is linked. */
#define KERNEL_VMA 0xffffffff80000000UL

extern char __image_start[], __image_end[];
extern char __text_start[], __text_end[];	/* read, execute */
extern char __core_text_start[], __core_text_end[];	/* of mm/, lib/ and arch/ */
extern char __rodata_start[], __rodata_end[];	/* read */
extern char __data_start[], __data_end[];	/* read, write; with .bss */

/* One instruction that may fault, and where to go on then. */
struct fault_fixup {
	uintptr_t ip, resume;
};

extern const struct fault_fixup __start_fault_fixups[], __stop_fault_fixups[];

#endif
