/* SPDX-License-Identifier: MIT */
/*
 * The port to the small x86-64 kernel: constants and inline functions.
 *
 * Kernel only: GS base points to the running CPU's block at all times, so that
 * what a CPU asks about itself is one load. The reads are asm without
 * "volatile" on purpose: a task stays on its CPU and a context ends where it
 * began, so for any one flow of code the answers never change.
 *
 *	0x0000000000000000	nothing, once the final tables are loaded
 *	0xffff888000000000	direct map, 64 TiB
 *	0xffffd00000000000	mm/'s window, 16 TiB; reads as zeroes where unmapped
 *	0xffffe00000000000	kernel stacks, a guard below each
 *	0xffffe80000000000	devices
 *	0xffffffff80000000	kernel image
 */
#ifndef SPANHEAP_PORT_X86_64_H
#define SPANHEAP_PORT_X86_64_H

#include <spanheap/types.h>

#define PORT_MAX_CPUS 64
#define PORT_POSSIBLE_CPUS port_possible_cpus
#define PORT_MAX_NODES 8
#define PORT_PHYS_BITS 46
#define PORT_HAS_MMU 1
#define PORT_MAP_MIN FRAME_SIZE
#define PORT_DIRECT_BASE 0xffff888000000000UL
#define PORT_WINDOW_BASE 0xffffd00000000000UL
#define PORT_WINDOW_SIZE 0x100000000000UL

/* As many as the firmware lists and the command line allows; set before mm_init(). */
extern unsigned port_possible_cpus;

/**
 * struct port_cpu - start of each CPU's block; the rest is the kernel's own.
 * @self: this block
 * @number: 0 .. PORT_MAX_CPUS - 1
 * @context: enum mm_context
 * @resched: a task should give way as soon as it may (PREEMPT)
 * @pinned: depth of port_pin() (PREEMPT)
 * @irqoff_since: when the present section with interrupts off began
 * @irqoff_ip: and where
 * @irqoff_max: the longest one so far
 * @irqoff_max_ip: and where it began
 * @cache_now, @frame_cache_now: those of the next two that the running context has
 * @cache, @frame_cache: what mm/ keeps here, by context
 */
struct port_cpu {
	struct port_cpu *self;
	uint32_t number;
	uint8_t context, resched;
	uint32_t pinned;
	uint64_t irqoff_since, irqoff_ip, irqoff_max, irqoff_max_ip;
	void *cache_now, *frame_cache_now;
	void *cache[MM_NR_CONTEXTS], *frame_cache[MM_NR_CONTEXTS];
};

#define PORT_CPU_SELF 0
#define PORT_CPU_NUMBER 8
#define PORT_CPU_CONTEXT 12
#define PORT_CPU_RESCHED 13
#define PORT_CPU_PINNED 16

_Static_assert(offsetof(struct port_cpu, self) == PORT_CPU_SELF, "asm reads it");
_Static_assert(offsetof(struct port_cpu, number) == PORT_CPU_NUMBER, "asm reads it");
_Static_assert(offsetof(struct port_cpu, context) == PORT_CPU_CONTEXT, "asm reads it");
_Static_assert(offsetof(struct port_cpu, resched) == PORT_CPU_RESCHED, "asm reads it");
_Static_assert(offsetof(struct port_cpu, pinned) == PORT_CPU_PINNED, "asm counts in it");

#define X86_FLAGS_IF 0x200UL

static inline unsigned port_cpu(void)
{
	uint32_t n;

	__asm__("movl %%gs:%c1, %0" : "=r"(n) : "i"(PORT_CPU_NUMBER));
	return n;
}

static inline enum mm_context port_context(void)
{
	uint32_t c;

	__asm__("movzbl %%gs:%c1, %0" : "=r"(c) : "i"(PORT_CPU_CONTEXT));
	return (enum mm_context)c;
}

static inline struct port_cpu *port_cpu_self(void)
{
	struct port_cpu *self;

	__asm__("movq %%gs:%c1, %0" : "=r"(self) : "i"(PORT_CPU_SELF));
	return self;
}

#define PORT_HAS_CACHE_SLOT

/* What is switched with the context is found by one load. */
static inline void *port_slot(unsigned long offset)
{
	void *cache;

	__asm__("movq %%gs:%c1, %0" : "=r"(cache) : "i"(offset));
	return cache;
}

#define port_cache() port_slot(offsetof(struct port_cpu, cache_now))
#define port_frame_cache() port_slot(offsetof(struct port_cpu, frame_cache_now))

/* On the way into an interrupt or NMI and out of it. An NMI in between does no harm. */
static inline void port_enter_context(struct port_cpu *cpu, uint8_t context)
{
	*(volatile uint8_t *)&cpu->context = context;
	*(void *volatile *)&cpu->cache_now = cpu->cache[context];
	*(void *volatile *)&cpu->frame_cache_now = cpu->frame_cache[context];
}

static inline void port_cache_set(enum mm_context context, void *cache)
{
	struct port_cpu *cpu = port_cpu_self();

	cpu->cache[context] = cache;
	port_enter_context(cpu, cpu->context);
	__asm__ volatile("" : : : "memory");
}

static inline void port_frame_cache_set(enum mm_context context, void *cache)
{
	struct port_cpu *cpu = port_cpu_self();

	cpu->frame_cache[context] = cache;
	port_enter_context(cpu, cpu->context);
	__asm__ volatile("" : : : "memory");
}

#ifdef CONFIG_PREEMPT
/* The last pin is gone and somebody waits for the CPU: give way, if this is a task. */
void port_unpin_slow(void);

static inline void port_pin(void)
{
	__asm__ volatile("incl %%gs:%c0" : : "i"(PORT_CPU_PINNED) : "memory", "cc");
}

static inline void port_unpin(void)
{
	uint32_t resched;

	__asm__ volatile("decl %%gs:%c1\n\tmovzbl %%gs:%c2, %0"
			 : "=r"(resched)
			 : "i"(PORT_CPU_PINNED), "i"(PORT_CPU_RESCHED)
			 : "memory", "cc");
	if (__builtin_expect(resched != 0, 0))
		port_unpin_slow();
}
#else
static inline void port_pin(void)
{
}

static inline void port_unpin(void)
{
}
#endif

#ifdef CONFIG_IRQ_TRACE
static inline uint64_t port_cycles(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static inline void irqoff_begin(void)
{
	struct port_cpu *cpu = port_cpu_self();

	__asm__ volatile("leaq 0(%%rip), %0" : "=r"(cpu->irqoff_ip));
	cpu->irqoff_since = port_cycles();
}

static inline void irqoff_end(void)
{
	struct port_cpu *cpu = port_cpu_self();
	uint64_t cycles = port_cycles() - cpu->irqoff_since;

	if (cycles > cpu->irqoff_max) {
		cpu->irqoff_max = cycles;
		cpu->irqoff_max_ip = cpu->irqoff_ip;
	}
}
#else
static inline void irqoff_begin(void)
{
}

static inline void irqoff_end(void)
{
}
#endif

static inline unsigned long port_irq_save(void)
{
	unsigned long flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	if (flags & X86_FLAGS_IF)
		irqoff_begin();
	return flags;
}

static inline void port_irq_restore(unsigned long flags)
{
	if (flags & X86_FLAGS_IF) {
		irqoff_end();
		__asm__ volatile("sti" : : : "memory");
	}
}

static inline void port_relax(void)
{
	__asm__ volatile("pause" : : : "memory");
}

#endif
