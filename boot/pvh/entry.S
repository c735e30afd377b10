/* SPDX-License-Identifier: MIT */
/*
 * The PVH entry: QEMU's -kernel finds the note, loads the ELF and jumps here in
 * 32-bit mode without paging, ebx pointing to the start info.
 *
 * Makes tables that map the first 4 GiB at their own addresses, and the first
 * GiB at KERNEL_VMA too, by leaves of 2 MiB with all rights; arch_paging_init()
 * replaces them. Then goes on in C with 64 bits.
 */
#include "arch/x86_64/cpu.h"

#define KERNEL_VMA 0xffffffff80000000
#define PHYS(symbol) ((symbol) - KERNEL_VMA)

#define PTE_TABLE 0x3		/* present, writable */
#define PTE_LEAF_2M 0x83
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define COM1 0x3f8
#define COM1_LINE_STATUS 0x3fd
#define COM1_READY 0x20		/* takes a byte */
#define DEBUG_EXIT 0xf4		/* QEMU's isa-debug-exit, and as include/kernel/arch.h has it: */
#define EXIT_FAILED 0x11
#define CR0_KERNEL 0x80010033	/* as arch/x86_64/x86.h has it */

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 8, 18	/* name and value lengths; XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.quad	PHYS(pvh_start)

	.section .text.boot, "ax", @progbits
	.code32
	.globl	pvh_start
pvh_start:
	cli
	cld
	lgdt	PHYS(boot_gdt_pointer)

	/* No RAM takes a write: the image's last word tells if it is all there. */
	movl	%ebx, PHYS(__image_end) - 4
	cmpl	%ebx, PHYS(__image_end) - 4
	jne	no_room
	movl	$0, PHYS(__image_end) - 4

	/* pd[i] = i * 2 MiB, for all four page directories, which lie in a row. */
	movl	$PHYS(boot_pd), %edi
	movl	$PTE_LEAF_2M, %eax
1:	movl	%eax, (%edi)
	movl	$0, 4(%edi)
	addl	$8, %edi
	addl	$0x200000, %eax
	jnc	1b

	movl	$PHYS(boot_pdpt), %edi
	movl	$PHYS(boot_pd) + PTE_TABLE, %eax
	movl	%eax, (%edi)
	addl	$0x1000, %eax
	movl	%eax, 8(%edi)
	addl	$0x1000, %eax
	movl	%eax, 16(%edi)
	addl	$0x1000, %eax
	movl	%eax, 24(%edi)
	movl	$PHYS(boot_pd) + PTE_TABLE, PHYS(boot_pdpt_high) + 510 * 8
	movl	$PHYS(boot_pdpt) + PTE_TABLE, PHYS(boot_pml4)
	movl	$PHYS(boot_pdpt_high) + PTE_TABLE, PHYS(boot_pml4) + 511 * 8

	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$PHYS(boot_pml4), %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME_NXE, %eax
	wrmsr
	movl	$CR0_KERNEL, %eax
	movl	%eax, %cr0
	ljmp	$SEL_CODE, $PHYS(long_mode)

no_room:
	movl	$PHYS(no_room_text), %esi
	movl	$(no_room_end - no_room_text), %ecx
1:	movw	$COM1_LINE_STATUS, %dx
2:	inb	%dx, %al
	testb	$COM1_READY, %al
	jz	2b
	movw	$COM1, %dx
	outsb
	loop	1b
	movl	$EXIT_FAILED, %eax
	outl	%eax, $DEBUG_EXIT
3:	hlt
	jmp	3b

	.code64
long_mode:
	/* Still at the physical address. */
	movq	$high, %rax
	jmp	*%rax
high:
	movl	$SEL_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movq	$boot_stack_memory + BOOT_STACK_TOP_OFFSET, %rsp
	xorl	%ebp, %ebp
	movl	%ebx, %edi
	call	load_boot_gs
	call	pvh_main
1:	hlt
	jmp	1b

	.section .rodata
no_room_text:
	.ascii	"not enough memory: it ends before the kernel image does\n"
no_room_end:
	.balign	8
boot_gdt:
	.quad	0
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
boot_gdt_pointer:
	.word	boot_gdt_pointer - boot_gdt - 1
	.long	PHYS(boot_gdt)

	/* QEMU clears .bss; what is not written above reads as "not present". */
	.section .bss
	.balign	4096
boot_pml4:
	.skip	4096
boot_pdpt:
	.skip	4096
boot_pdpt_high:
	.skip	4096
boot_pd:
	.skip	4 * 4096

	.section .note.GNU-stack, "", @progbits
