/* SPDX-License-Identifier: MIT */
/*
 * The port to a Linux process that belongs to somebody else: constants and
 * inline functions of <spanheap/port.h>. arch/malloc/port.h has the rest.
 *
 * Threads are CPUs. What the hot path asks, who am I and where are my caches,
 * is in thread-local storage at a fixed distance from the thread pointer
 * (initial-exec): one load each, and no call that could allocate.
 *
 * There is one context, MM_TASK, and nothing masks interrupts: a signal handler
 * that allocates where it has cut into an allocation is found out at the gate
 * (slots.c), not served.
 */
#ifndef MALLOC_SPANHEAP_PORT_H
#define MALLOC_SPANHEAP_PORT_H

#define PORT_MAX_CPUS 4096
#define PORT_SEEN_CPUS malloc_slots()
#define PORT_MAX_NODES 1
#define PORT_PHYS_BITS 40
#define PORT_MAP_MIN FRAME_SIZE
#define PORT_HAS_MMU 0
#define PORT_RAM_IS_ZERO 1
#define PORT_WINDOW_IS_MEMORY 1
#define PORT_HAS_WINDOW 1
/* 424 instructions a pair of many objects of 16 KiB; 470 with 16, 570 with 8. */
#define PORT_STACK_SLOTS 32

/**
 * struct malloc_port - what malloc_ram_init() reserved.
 * @direct_base: physical address 0 would lie here; RAM starts MALLOC_RAM_BASE above
 * @window_base: range for mm/'s own mappings
 * @window_size: its bytes
 * @held_zero: the word of held bits for address 0 would lie here (malloc/magazine.h)
 * @align_max: up to which physical addresses are aligned as virtual ones are
 */
struct malloc_port {
	uintptr_t direct_base, window_base, held_zero;
	size_t window_size, align_max;
};

extern struct malloc_port malloc_port;

#define PORT_DIRECT_BASE malloc_port.direct_base
#define PORT_WINDOW_BASE malloc_port.window_base
#define PORT_WINDOW_SIZE malloc_port.window_size

/* Not a number that a span can have as its owner. */
#define MALLOC_NO_CPU 0xfffffff0U

/**
 * struct malloc_self - what a thread is as a CPU. Nobody else looks at it.
 * @cache: of objects; empty while the thread is no CPU
 * @frame_cache: of frames
 * @magazines: of malloc/magazine.h
 * @cpu: number, or MALLOC_NO_CPU
 * @calls: that went beyond the caches
 * @upkeeps: how many there had been when it last looked
 * @relaxed: calls of port_relax()
 * @leaving: the thread has run its destructors: it borrows a CPU for each call
 * @known: somebody will be told when the thread ends
 */
struct malloc_self {
	void *cache, *magazines, *frame_cache;
	unsigned cpu, calls, upkeeps, relaxed;
	bool leaving, known;
};

extern __thread struct malloc_self malloc_self __attribute__((tls_model("initial-exec")));

void malloc_relax(void);

/** malloc_slots() - no CPU from this number on was ever any thread's. */
unsigned malloc_slots(void);

void malloc_set_cache(void *cache);
void malloc_set_frame_cache(void *cache);
void malloc_set_magazines(void *magazines);

static inline unsigned port_cpu(void)
{
	return malloc_self.cpu;
}

static inline enum mm_context port_context(void)
{
	return MM_TASK;
}

static inline void port_pin(void)
{
}

static inline void port_unpin(void)
{
}

static inline unsigned long port_irq_save(void)
{
	return 0;
}

static inline void port_irq_restore(unsigned long was)
{
	(void)was;
}

static inline void port_relax(void)
{
	malloc_relax();
}

#define PORT_HAS_CACHE_SLOT 1

static inline void *port_cache(void)
{
	return malloc_self.cache;
}

static inline void port_cache_set(enum mm_context context, void *cache)
{
	if (context == MM_TASK)
		malloc_set_cache(cache);
}

static inline void *port_frame_cache(void)
{
	return malloc_self.frame_cache;
}

static inline void port_frame_cache_set(enum mm_context context, void *cache)
{
	if (context == MM_TASK)
		malloc_set_frame_cache(cache);
}

#endif
