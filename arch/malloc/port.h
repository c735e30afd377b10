/* SPDX-License-Identifier: MIT */
/*
 * What the port offers to malloc/, beyond <spanheap/port.h>.
 *
 *	malloc_ram_init()	address space for the heap; once
 *	malloc_enter()		the thread is a CPU, and fork() waits for it
 *	... calls of mm/ ...
 *	malloc_leave()
 */
#ifndef ARCH_MALLOC_PORT_H
#define ARCH_MALLOC_PORT_H

#include <spanheap/port.h>

/* What a thread has that is no CPU: caches in which nothing is found. By malloc/heap.c. */
extern const struct malloc_nothing {
	const void *cache, *magazines;
} malloc_nothing;

/* A larger alignment cannot be had. */
#define MALLOC_ALIGN_MAX (1ULL << 30)

/* Below it lie the windows for devices, which a process has no use for. */
#define MALLOC_RAM_BASE (4ULL << 30)

/**
 * malloc_ram_init() - reserve address space for the heap and the page map.
 *
 * As much as PORT_PHYS_BITS allow; half as much, and so on, where limits
 * (RLIMIT_AS) forbid it. Nothing of it counts as used memory.
 *
 * Return: bytes of RAM from MALLOC_RAM_BASE on, or 0 if there is no address space.
 */
uint64_t malloc_ram_init(void);

/** malloc_growth - how often memory has become writable for the heap. */
extern uint64_t malloc_growth;

/**
 * malloc_slots_init() - make the calling thread a CPU, so that mm_init() can be called.
 *
 * From here on a thread's end is noticed.
 */
void malloc_slots_init(void);

/**
 * malloc_slots_at_fork() - have fork() wait until no thread is between enter and leave.
 * @heap_enter: malloc_enter(), and what is to be done for a new CPU
 */
void malloc_slots_at_fork(void (*heap_enter)(void));

/**
 * malloc_enter() - from here to malloc_leave() the thread is a CPU and may call mm/.
 *
 * A thread keeps its CPU from its first call to its end. Beyond PORT_MAX_CPUS
 * threads, and after a thread's destructors have run, it borrows one for the
 * call. Waits while another thread forks. A second entry by one thread, from a
 * signal handler that has interrupted the first, is reported and ends the process.
 *
 * Return: true if the CPU is new: mm_init_cpu() is to be called.
 */
bool malloc_enter(void);
void malloc_leave(void);

/** malloc_asked() - has another thread asked this CPU to empty its caches? Once. */
bool malloc_asked(void);

/** malloc_serve_idle() - run @fn as each CPU that no thread is any more; after malloc_enter(). */
void malloc_serve_idle(void (*fn)(void *arg), void *arg);

/** malloc_threads() - how many threads have a CPU of their own now. */
unsigned malloc_threads(void);

#endif
