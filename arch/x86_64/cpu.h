/* SPDX-License-Identifier: MIT */
/*
 * What one CPU has of its own, and where its stacks are.
 *
 *	GS base ──► struct cpu { port_cpu | TSS | GDT | call lists | scheduler }
 *
 * CPU 0's block and stacks are in the image, so that traps work before there
 * is memory; those of the others are made by smp.c.
 */
#ifndef ARCH_X86_64_CPU_H
#define ARCH_X86_64_CPU_H

/* Offsets and numbers for assembler files; checked below. */
#define CPU_CONTEXT 12
#define CPU_TSS 120
#define TSS_IST_PF 60	/* ist[IST_PF - 1] in the TSS */

#define AP_STACK 272	/* stacks.idle in struct cpu */

#define IST_DF 1
#define IST_NMI 2
#define IST_MC 3
#define IST_PF 4

/*
 * A page fault may come while another one is handled (in an NMI that broke in,
 * or in the handler itself), and the CPU would start at the same stack top again.
 * So the entry moves the top down by this much, and the exit moves it back.
 */
#define PF_STACK_STEP 0x1000

#define BOOT_STACK_SIZE 0x10000
#define BOOT_STACK_TOP_OFFSET (0x1000 + BOOT_STACK_SIZE)

#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_TSS 0x18

#define CONTEXT_NMI 2	/* MM_NMI */

#ifndef __ASSEMBLER__
#include <kernel/sched.h>
#include <spanheap/port.h>
#include "lib/bits.h"
#include "lib/spinlock.h"

#define DF_STACK_SIZE 0x2000UL
#define NMI_STACK_SIZE 0x4000UL
#define MC_STACK_SIZE 0x2000UL
#define PF_STACK_SIZE 0x4000UL

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, iomap;
} __attribute__((packed));

/** struct cpu_stacks - tops of the stacks that a CPU needs besides its tasks'. */
struct cpu_stacks {
	uintptr_t idle, df, nmi, mc, pf;
};

struct call_link;

/** enum cpu_state - how far a CPU has come. */
enum cpu_state {
	CPU_STARTING,	/* was sent a start-up interrupt, or will be */
	CPU_ARRIVED,	/* runs our code and waits to get its number */
	CPU_NUMBERED,	/* may go on: port.number is set */
	CPU_ONLINE,	/* takes part */
	CPU_LEFT_OUT,	/* did not come in time, or had no memory; sleeps for good */
};

/**
 * struct cpu
 * @port: what the inline functions of the port know; first
 * @tss, @gdt: descriptor tables
 * @apic_id: where interrupts for it are sent
 * @state: enum cpu_state
 * @stacks: its own
 * @calls: for each context, functions that others want run here; see call.c
 * @in_task_calls: those of MM_TASK are being run
 * @rq: run queue and current task, init/task.c's
 * @node: NUMA node
 */
struct cpu {
	struct port_cpu port;
	struct tss tss;
	uint64_t gdt[5];
	uint32_t apic_id;
	uint32_t state;
	struct cpu_stacks stacks;
	struct call_link *calls[MM_NR_CONTEXTS];
	bool in_task_calls;
	struct sched_queue rq;
	int node;
} cacheline_aligned;

_Static_assert(CPU_CONTEXT == PORT_CPU_CONTEXT, "asm reads it");
_Static_assert(offsetof(struct cpu, tss) == CPU_TSS, "asm finds the TSS there");
_Static_assert(offsetof(struct tss, ist[IST_PF - 1]) == TSS_IST_PF, "asm shifts it");
_Static_assert(CONTEXT_NMI == MM_NMI, "asm compares with it");

extern struct cpu boot_cpu;

static inline struct cpu *cpu_self(void)
{
	return (struct cpu *)port_cpu_self();
}

/** cpu_by_number() - the block of a running CPU, or NULL. */
struct cpu *cpu_by_number(unsigned number);

/** cpu_load_tables() - on the CPU itself: GS base, GDT, TSS, IDT. */
void cpu_load_tables(struct cpu *cpu);

/** cpu_load_control() - on the CPU itself: the same CR0, CR4 and EFER everywhere. */
void cpu_load_control(void);

/** boot_stacks() - CPU 0's, in the image. */
struct cpu_stacks boot_stacks(void);

/** boot_stack_guard() - the i-th guard page of these, or 0 if there are no more. */
uintptr_t boot_stack_guard(unsigned i);

#endif
#endif
