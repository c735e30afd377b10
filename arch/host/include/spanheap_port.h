/* SPDX-License-Identifier: MIT */
/*
 * The port to a Linux process: constants and inline functions of
 * <spanheap/port.h>. What the host offers beyond them is in <host_port.h>.
 *
 * Threads are CPUs; the number and the context are in thread-local storage.
 * The back end is chosen at run time, so the addresses and PORT_HAS_MMU are
 * expressions here.
 *
 * CONFIG_PREEMPT counts pins, so that another thread's request can be honoured
 * wherever this one is not pinned, as a preempting kernel would; without it
 * port_pin() is empty.
 */
#ifndef HOST_SPANHEAP_PORT_H
#define HOST_SPANHEAP_PORT_H

#define PORT_MAX_CPUS 256
#define PORT_MAX_NODES 8
#define PORT_PHYS_BITS 46
#define PORT_MAP_MIN FRAME_SIZE

/**
 * struct host_port - what host_ram_init() decided.
 * @direct_base: physical address 0 lies here
 * @window_base: range for mm/'s own mappings
 * @window_size: its bytes; 0 without an MMU
 * @phys_size: physical addresses end here
 * @has_mmu: mapping and unmapping change what faults
 * @ram_is_zero: RAM reads as zeroes when it is first mapped
 * @window_is_memory: it does not show the frames that are mapped there
 */
struct host_port {
	uintptr_t direct_base, window_base;
	size_t window_size;
	uint64_t phys_size;
	bool has_mmu, ram_is_zero, window_is_memory;
};

extern struct host_port host_port;

#define PORT_DIRECT_BASE host_port.direct_base
#define PORT_WINDOW_BASE host_port.window_base
#define PORT_WINDOW_SIZE host_port.window_size
#define PORT_HAS_MMU host_port.has_mmu
#define PORT_RAM_IS_ZERO host_port.ram_is_zero
#define PORT_WINDOW_IS_MEMORY host_port.window_is_memory

#define HOST_NO_CPU (~0U)

/**
 * struct host_self - what a thread is as a CPU. Written by its thread alone,
 * signal handlers included, except @pending.
 * @cpu: number, or HOST_NO_CPU
 * @context: enum mm_context
 * @irq_off: interrupts are masked
 * @pins: depth of port_pin()
 * @pending: somebody's request waits for this thread
 * @relaxed: calls of port_relax() so far
 */
struct host_self {
	volatile unsigned cpu;
	volatile uint8_t context, irq_off;
	volatile uint32_t pins;
	uint32_t pending;
	uint32_t relaxed;
};

extern __thread struct host_self host_self __attribute__((tls_model("initial-exec")));

void host_serve(void);
void host_relax(void);

static inline unsigned port_cpu(void)
{
	return host_self.cpu;
}

static inline enum mm_context port_context(void)
{
	return (enum mm_context)host_self.context;
}

/* Keeps the compiler from moving accesses out of a masked or pinned section. */
static inline void host_signal_fence(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline bool host_is_pending(void)
{
	return __builtin_expect(__atomic_load_n(&host_self.pending, __ATOMIC_RELAXED) != 0, 0);
}

#ifdef CONFIG_PREEMPT
static inline void port_pin(void)
{
	host_self.pins++;
	host_signal_fence();
}

static inline void port_unpin(void)
{
	host_signal_fence();
	host_self.pins--;
	if (host_is_pending())
		host_serve();
}
#else
#define PORT_NO_PREEMPTION 1
#endif

static inline unsigned long port_irq_save(void)
{
	unsigned long was = host_self.irq_off;

	host_self.irq_off = 1;
	host_signal_fence();
	return was;
}

static inline void port_irq_restore(unsigned long was)
{
	host_signal_fence();
	host_self.irq_off = (uint8_t)was;
	if (!was && host_is_pending())
		host_serve();
}

static inline void port_relax(void)
{
	host_relax();
}

#endif
