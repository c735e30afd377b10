/* SPDX-License-Identifier: MIT */
/*
 * The page in which a started CPU finds itself; see trampoline.S.
 */
#ifndef ARCH_X86_64_TRAMPOLINE_H
#define ARCH_X86_64_TRAMPOLINE_H

/* Offset of what smp.c fills in, at the end of the page. */
#define TRAMPOLINE_DATA 0xf00
#define TRAMPOLINE_GDT 0xf00
#define TRAMPOLINE_GDTR 0xf20
#define TRAMPOLINE_FAR32 0xf28
#define TRAMPOLINE_FAR64 0xf30
#define TRAMPOLINE_CR3 0xf38

/* Selectors in its descriptor table. */
#define TRAMPOLINE_CODE64 0x08
#define TRAMPOLINE_DATA32 0x10
#define TRAMPOLINE_CODE32 0x18

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

struct trampoline_far {
	uint32_t offset;
	uint16_t selector;
} __attribute__((packed));

struct trampoline_data {
	uint64_t gdt[4];
	uint16_t gdt_limit;
	uint32_t gdt_base;
	uint16_t pad0;
	struct trampoline_far far32;	/* to 32-bit code in the same page */
	uint16_t pad1;
	struct trampoline_far far64;
	uint16_t pad2;
	uint32_t cr3;
} __attribute__((packed));

#define TRAMPOLINE_PLACED(member, at)                                                              \
	_Static_assert(offsetof(struct trampoline_data, member) == (at) - TRAMPOLINE_DATA,         \
		       "asm reads it there")

TRAMPOLINE_PLACED(gdt_limit, TRAMPOLINE_GDTR);
TRAMPOLINE_PLACED(far32, TRAMPOLINE_FAR32);
TRAMPOLINE_PLACED(far64, TRAMPOLINE_FAR64);
TRAMPOLINE_PLACED(cr3, TRAMPOLINE_CR3);

extern const char trampoline_start[], trampoline_32[], trampoline_64[], trampoline_end[];

#endif
#endif
