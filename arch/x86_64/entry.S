/* SPDX-License-Identifier: MIT */
/*
 * The 64-bit entry: the UEFI loader jumps here with the physical address of the
 * boot_info in rdi, which the loader's tables map at the same virtual address.
 */
#include "arch/x86_64/cpu.h"

#define MSR_GS_BASE 0xc0000101

	.section .text.boot, "ax", @progbits
	.globl	_start
_start:
	cli
	cld
	leaq	boot_stack_memory + BOOT_STACK_TOP_OFFSET(%rip), %rsp
	xorl	%ebp, %ebp
	call	load_boot_gs
	call	kernel_main
1:	hlt
	jmp	1b

	/* From the first line of C on, GS base is right. Keeps rdi. */
	.globl	load_boot_gs
load_boot_gs:
	leaq	boot_cpu(%rip), %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	movl	$MSR_GS_BASE, %ecx
	wrmsr
	ret

/*
 * void arch_switch(uintptr_t *from, uintptr_t to)
 * What C expects to find unchanged goes onto the stack, the rest is the caller's.
 */
	.text
	.globl	arch_switch
arch_switch:
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	ret

/*
 * void irq_enable_and_halt(void)
 * Sleep until an interrupt. One that is pending is taken only after the
 * instruction that follows sti, so it ends the sleep. An NMI in between would
 * undo that: handle_nmi() skips the hlt then.
 */
	.globl	irq_enable_and_halt, halt_instruction
irq_enable_and_halt:
	sti
halt_instruction:
	hlt
	ret

	.section .note.GNU-stack, "", @progbits
