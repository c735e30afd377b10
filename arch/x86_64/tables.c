// SPDX-License-Identifier: MIT
/*
 * Descriptor tables: segments, the task state with the stacks for traps, and
 * the interrupt vectors. One GDT and TSS per CPU; one IDT for all.
 *
 *	vector  0..31	exceptions; #DF, NMI, #MC and #PF on stacks of their own:
 *			the stack they came on may be the very thing that is broken
 *	       32..255	interrupts, on the stack of whoever runs
 *
 * The GDT is in writable memory because ltr sets the busy bit in it. CPU 0's
 * stacks are in .bss, with a page below each that paging.c leaves unmapped.
 */
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/trap.h"
#include "arch/x86_64/x86.h"

#define GDT_CODE64 0x00af9b000000ffffUL
#define GDT_DATA 0x00cf93000000ffffUL
#define GDT_TSS_PRESENT 0x0000890000000000UL

#define GATE_INTERRUPT 0x8e
#define STUB_SIZE 16

struct idt_gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, reserved;
};

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

struct guarded_stacks {
	uint8_t guard_boot[FRAME_SIZE];
	uint8_t boot[BOOT_STACK_SIZE];
	uint8_t guard_idle[FRAME_SIZE];
	uint8_t idle[SCHED_STACK_SIZE];
	uint8_t guard_df[FRAME_SIZE];
	uint8_t df[DF_STACK_SIZE];
	uint8_t guard_nmi[FRAME_SIZE];
	uint8_t nmi[NMI_STACK_SIZE];
	uint8_t guard_mc[FRAME_SIZE];
	uint8_t mc[MC_STACK_SIZE];
	uint8_t guard_pf[FRAME_SIZE];
	uint8_t pf[PF_STACK_SIZE];
};

struct guarded_stacks boot_stack_memory __attribute__((aligned(4096)));
_Static_assert(offsetof(struct guarded_stacks, boot) + BOOT_STACK_SIZE == BOOT_STACK_TOP_OFFSET,
	       "entry code starts there");

/* The entry code has GS base point here before anything is set up. */
struct cpu boot_cpu = { .port.self = &boot_cpu.port };
static struct idt_gate idt[256] __attribute__((aligned(4096)));

struct cpu_stacks boot_stacks(void)
{
	struct guarded_stacks *s = &boot_stack_memory;

	return (struct cpu_stacks){
		.idle = (uintptr_t)(s->idle + sizeof(s->idle)),
		.df = (uintptr_t)(s->df + sizeof(s->df)),
		.nmi = (uintptr_t)(s->nmi + sizeof(s->nmi)),
		.mc = (uintptr_t)(s->mc + sizeof(s->mc)),
		.pf = (uintptr_t)(s->pf + sizeof(s->pf)),
	};
}

uintptr_t boot_stack_guard(unsigned i)
{
	struct guarded_stacks *s = &boot_stack_memory;
	const uint8_t *guards[] = { s->guard_boot, s->guard_idle, s->guard_df,
				    s->guard_nmi,  s->guard_mc,	  s->guard_pf };

	return i < sizeof(guards) / sizeof(guards[0]) ? (uintptr_t)guards[i] : 0;
}

static void fill_gdt(struct cpu *cpu)
{
	uintptr_t tss = (uintptr_t)&cpu->tss;

	cpu->gdt[0] = 0;
	cpu->gdt[SEL_CODE / 8] = GDT_CODE64;
	cpu->gdt[SEL_DATA / 8] = GDT_DATA;
	cpu->gdt[SEL_TSS / 8] = GDT_TSS_PRESENT | (sizeof(struct tss) - 1) |
				(tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
	cpu->gdt[SEL_TSS / 8 + 1] = tss >> 32;
}

static void fill_tss(struct cpu *cpu)
{
	cpu->tss.iomap = sizeof(struct tss);
	cpu->tss.ist[IST_DF - 1] = cpu->stacks.df;
	cpu->tss.ist[IST_NMI - 1] = cpu->stacks.nmi;
	cpu->tss.ist[IST_MC - 1] = cpu->stacks.mc;
	cpu->tss.ist[IST_PF - 1] = cpu->stacks.pf;
}

static uint8_t ist_of(unsigned vector)
{
	switch (vector) {
	case TRAP_DF:
		return IST_DF;
	case TRAP_NMI:
		return IST_NMI;
	case TRAP_MC:
		return IST_MC;
	case TRAP_PF:
		return IST_PF;
	default:
		return 0;
	}
}

void trap_init(void)
{
	for (unsigned v = 0; v < 256; v++) {
		uintptr_t stub = (uintptr_t)trap_stubs + v * STUB_SIZE;

		idt[v] = (struct idt_gate){
			.offset_low = (uint16_t)stub,
			.offset_mid = (uint16_t)(stub >> 16),
			.offset_high = (uint32_t)(stub >> 32),
			.selector = SEL_CODE,
			.ist = ist_of(v),
			.type = GATE_INTERRUPT,
		};
	}
}

void cpu_load_tables(struct cpu *cpu)
{
	struct table_pointer gdtr = { sizeof(cpu->gdt) - 1, (uint64_t)cpu->gdt };
	struct table_pointer idtr = { sizeof(idt) - 1, (uint64_t)idt };

	cpu->port.self = &cpu->port;
	fill_tss(cpu);
	fill_gdt(cpu);
	__asm__ volatile("lgdt %0" : : "m"(gdtr));
	/* A far return is the way to load CS; the data segments have no use here. */
	__asm__ volatile("pushq %0\n\t"
			 "leaq 1f(%%rip), %%rax\n\t"
			 "pushq %%rax\n\t"
			 "lretq\n"
			 "1:\tmovl %1, %%eax\n\t"
			 "movl %%eax, %%ds\n\t"
			 "movl %%eax, %%es\n\t"
			 "movl %%eax, %%ss\n\t"
			 "xorl %%eax, %%eax\n\t"
			 "movl %%eax, %%fs\n\t"
			 "movl %%eax, %%gs"
			 :
			 : "i"(SEL_CODE), "i"(SEL_DATA)
			 : "rax", "memory");
	wrmsr(MSR_GS_BASE, (uint64_t)cpu);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

void cpu_load_control(void)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	write_cr0(CR0_KERNEL);
	write_cr4(CR4_PAE);
}
