/* SPDX-License-Identifier: MIT */
/*
 * How a CPU gets from its reset state to C.
 *
 * smp.c copies the code up to trampoline_end into a page below 1 MiB and fills
 * the page's end with a struct trampoline_data. The start-up interrupt makes the
 * CPU begin there in real mode, CS:0 being the page. It goes through 32-bit mode
 * to long mode on the trampoline's own page tables, then jumps into the image.
 *
 * Any number of CPUs may do so at once: nothing is written, and each finds its
 * stack by its APIC id in ap_cpu[].
 */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/trampoline.h"

#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define CR0_PE_ET 0x11
#define CR0_KERNEL 0x80010033	/* as x86.h has it */

	.section .rodata
	.balign	16
	.globl	trampoline_start, trampoline_32, trampoline_64, trampoline_end
trampoline_start:
	.code16
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds
	movzwl	%ax, %ebx
	shll	$4, %ebx
	lgdtl	TRAMPOLINE_GDTR
	movl	$CR0_PE_ET, %eax
	movl	%eax, %cr0
	ljmpl	*TRAMPOLINE_FAR32

	/* ebx: physical address of the page */
	.code32
trampoline_32:
	movw	$TRAMPOLINE_DATA32, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	TRAMPOLINE_CR3(%ebx), %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	xorl	%edx, %edx
	movl	$EFER_LME_NXE, %eax
	wrmsr
	movl	$CR0_KERNEL, %eax
	movl	%eax, %cr0
	ljmpl	*TRAMPOLINE_FAR64(%ebx)

	.code64
trampoline_64:
	movq	$ap_start, %rax
	jmp	*%rax
trampoline_end:

	.text
ap_start:
	/* The trampoline's tables map nothing but itself and the image. */
	movq	ap_cr3, %rax
	movq	%rax, %cr3
	/* Initial APIC id: leaf 1, top byte of ebx. */
	movl	$1, %eax
	cpuid
	shrl	$24, %ebx
	movq	ap_cpu(, %rbx, 8), %rdi
	testq	%rdi, %rdi
	jz	1f
	movq	AP_STACK(%rdi), %rsp
	xorl	%ebp, %ebp
	call	ap_main
	/* Nobody asked for this one. */
1:	cli
	hlt
	jmp	1b

	.section .note.GNU-stack, "", @progbits
