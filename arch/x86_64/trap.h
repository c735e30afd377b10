/* SPDX-License-Identifier: MIT */
/*
 * Traps: exceptions and interrupts, from the entry code to their handlers.
 */
#ifndef ARCH_X86_64_TRAP_H
#define ARCH_X86_64_TRAP_H

#define TRAP_DB 1
#define TRAP_NMI 2
#define TRAP_DF 8
#define TRAP_GP 13
#define TRAP_PF 14
#define TRAP_MC 18
#define TRAP_EXCEPTIONS 32

/* Priorities of the local APIC go by the vector's upper four bits. */
#define VECTOR_TIMER 0x40
#define VECTOR_KICK 0x41
#define VECTOR_CALL 0x50
#define VECTOR_SPURIOUS 0xff

/* Offsets in struct trap_frame. */
#define FRAME_VECTOR 120
#define FRAME_ERROR 128
#define FRAME_RIP 136
#define FRAME_RFLAGS 152
#define FRAME_RSP 160

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** struct trap_frame - the interrupted flow, as the entry code saves it. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

_Static_assert(offsetof(struct trap_frame, vector) == FRAME_VECTOR, "asm reads it");
_Static_assert(offsetof(struct trap_frame, error) == FRAME_ERROR, "asm reads it");
_Static_assert(offsetof(struct trap_frame, rip) == FRAME_RIP, "asm reads it");
_Static_assert(offsetof(struct trap_frame, rflags) == FRAME_RFLAGS, "asm reads it");
_Static_assert(offsetof(struct trap_frame, rsp) == FRAME_RSP, "asm reads it");

#define PF_PRESENT (1UL << 0)
#define PF_WRITE (1UL << 1)
#define PF_RESERVED (1UL << 3)
#define PF_FETCH (1UL << 4)

/* 256 entries of 16 bytes each. */
extern const char trap_stubs[];

/* The hlt of irq_enable_and_halt(), one byte. */
extern const char halt_instruction[];

/** irq_enable_and_halt() - sleep until an interrupt; one that is pending ends it at once. */
void irq_enable_and_halt(void);

/** trap_init() - fill the IDT. */
void trap_init(void);

/** trap_dispatch() - called by the entry code for every vector, interrupts off. */
void trap_dispatch(struct trap_frame *frame);

/** trap_name() - of an exception. */
const char *trap_name(unsigned long vector);

/** panic_trap() - a trap that nobody can handle: panic with its registers. */
__attribute__((noreturn)) void panic_trap(const struct trap_frame *frame, const char *why);

/** panic_requested() - another CPU panics: an NMI sees it here and stays. */
bool panic_requested(void);

/**
 * fault_fixup() - where to go on after a fault at an instruction that may fault.
 *
 * Return: address, or 0 if @ip is not such an instruction.
 */
uintptr_t fault_fixup(uintptr_t ip);

/** try_read64() - read a word that may not be there. Any context. Return: 0 or -EFAULT. */
int try_read64(uintptr_t addr, uint64_t *value);

#endif
#endif
