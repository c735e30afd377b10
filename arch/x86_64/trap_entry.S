/* SPDX-License-Identifier: MIT */
/*
 * Where the CPU enters on an exception or interrupt.
 *
 * Each vector has a stub of 16 bytes that makes the stack alike (an error code,
 * a vector number) and goes on in common code, which saves the registers as a
 * struct trap_frame and calls trap_dispatch(). Below the frame it puts what
 * looks like a called function's frame, so that a backtrace goes on from a
 * handler into the code that was interrupted, at the very instruction.
 *
 * Two things are not as usual:
 *
 * - #PF and NMI move the stack top for page faults down while they last
 *   (PF_STACK_STEP). Page faults nest: in their own handler, and in an NMI that
 *   comes before the first one has moved it or after it has moved it back.
 *
 * - In an NMI, exceptions return by popf and ret. iret would also end the
 *   blocking of NMIs, and the next one would overwrite this one's stack.
 */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/trap.h"

	.text
	.balign 4096
	.globl	trap_stubs
trap_stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	/* The CPU pushes an error code for these: 8, 10-14, 17, 21, 29, 30. */
	.if	vector >= TRAP_EXCEPTIONS
	pushq	$0
	.elseif	!((0x60227d00 >> vector) & 1)
	pushq	$0
	.endif
	pushq	$vector
	.if	vector == TRAP_NMI
	jmp	nmi_entry
	.elseif	vector == TRAP_PF
	jmp	pf_entry
	.elseif	vector < TRAP_EXCEPTIONS
	jmp	exception_entry
	.else
	jmp	irq_entry
	.endif
	.set	vector, vector + 1
	.endr
	.balign	16

	.macro	SAVE
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rbx
	pushq	%rbp
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	cld
	.endm

	.macro	RESTORE
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rbx
	popq	%rdx
	popq	%rcx
	popq	%rax
	.endm

	/* rsp is a multiple of 16 here: the CPU aligns it, and 22 words are on top. */
	.macro	DISPATCH
	movq	%rsp, %rdi
	pushq	FRAME_RIP(%rsp)
	pushq	%rbp
	movq	%rsp, %rbp
	call	trap_dispatch
	addq	$16, %rsp
	.endm

	/*
	 * Leaves by iretq, or in an NMI by popf and ret on the interrupted stack. If
	 * that is this very stack, what is pushed there overwrites the frame's ss and
	 * rsp; so all is read before, and the stack pointer waits in the error's place.
	 */
	.macro	EXCEPTION_RETURN shift
	cmpb	$CONTEXT_NMI, %gs:CPU_CONTEXT
	je	1f
	RESTORE
	.if	\shift
	addq	$PF_STACK_STEP, %gs:CPU_TSS + TSS_IST_PF
	.endif
	addq	$16, %rsp
	iretq
1:	movq	FRAME_RSP(%rsp), %rax
	movq	FRAME_RFLAGS(%rsp), %rcx
	movq	FRAME_RIP(%rsp), %rdx
	subq	$16, %rax
	movq	%rcx, (%rax)
	movq	%rdx, 8(%rax)
	movq	%rax, FRAME_ERROR(%rsp)
	RESTORE
	.if	\shift
	addq	$PF_STACK_STEP, %gs:CPU_TSS + TSS_IST_PF
	.endif
	movq	FRAME_ERROR - FRAME_VECTOR(%rsp), %rsp
	popfq
	ret
	.endm

exception_entry:
	SAVE
	DISPATCH
	EXCEPTION_RETURN 0

pf_entry:
	subq	$PF_STACK_STEP, %gs:CPU_TSS + TSS_IST_PF
	SAVE
	DISPATCH
	EXCEPTION_RETURN 1

nmi_entry:
	subq	$PF_STACK_STEP, %gs:CPU_TSS + TSS_IST_PF
	SAVE
	DISPATCH
	RESTORE
	addq	$PF_STACK_STEP, %gs:CPU_TSS + TSS_IST_PF
	addq	$16, %rsp
	iretq

irq_entry:
	SAVE
	DISPATCH
	RESTORE
	addq	$16, %rsp
	iretq

	.section .note.GNU-stack, "", @progbits
