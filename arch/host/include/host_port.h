/* SPDX-License-Identifier: MIT */
/*
 * What the host port offers to programs around mm/, beyond <spanheap/port.h>.
 *
 *	host_ram_init()			before any memblock_add()
 *	host_cpu_enter()		each thread, before it calls mm/
 *	... mm_init(), mm_init_cpu(), work, mm_exit_cpu() ...
 *	host_cpu_leave()		before the thread ends
 */
#ifndef HOST_PORT_H
#define HOST_PORT_H

#include <spanheap/port.h>

/* HOST_TSAN: built with ThreadSanitizer. */
#if defined(__SANITIZE_THREAD__)
#define HOST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOST_TSAN 1
#endif
#endif

/**
 * enum host_backend - what stands for the machine's RAM.
 * @HOST_ENFORCED: a memfd; a frame that is not mapped faults, the window shows
 *	the same memory a second time, and page tables are accounted for as an
 *	x86 would need them (tables.c). RAM is dirty. For tests.
 * @HOST_PRELOAD: private anonymous memory, readable and writable all the time,
 *	given back by madvise(): one mapping, and it survives fork().
 * @HOST_FLAT: a machine without an MMU and without anybody who wants memory
 *	back: no window, port_discard() says false, RAM counts as dirty.
 */
enum host_backend { HOST_ENFORCED, HOST_PRELOAD, HOST_FLAT, HOST_NR_BACKENDS };

/**
 * host_ram_init() - make the physical address space 0 .. @phys_size.
 * @phys_size: rounded up to 1 GiB; only what memblock is told of is used, the
 *	rest costs address space alone
 *
 * Once per process, before anything else of Spanheap. The caller becomes CPU 0.
 *
 * Return: 0, or a negative errno if the address space is not to be had.
 */
int host_ram_init(uint64_t phys_size, enum host_backend backend);

enum host_backend host_backend(void);

/** host_backend_name() - "enforced", "preload", "flat". */
const char *host_backend_name(enum host_backend backend);

/** host_bad_memory() - from now on port_map() of this range gives -EIO; size 0: none. */
void host_bad_memory(phys_addr_t base, uint64_t size);

/** host_table_frames() - page-table frames that the port holds now. */
size_t host_table_frames(void);

/**
 * host_use_signals() - let requests interrupt threads by a signal.
 *
 * Without it they are honoured at the target's next port_irq_restore(),
 * port_unpin() or host_poll() only. Uses SIGURG and SIGRTMAX.
 */
void host_use_signals(void);

/**
 * host_cpu_enter() - the calling thread becomes a CPU.
 *
 * Return: the lowest free number, or -ENOSPC.
 */
int host_cpu_enter(void);

/** host_cpu_leave() - it is none any more; its number may be used again. */
void host_cpu_leave(void);

/*
 * Several threads may share a CPU, one at a time, as tasks do:
 * host_cpu_attach() waits in line for an existing CPU, host_cpu_detach() lets
 * the next one have it. While nobody is attached, whoever makes a request by
 * port_run_on() carries it out himself. host_cpu_line_up() only takes the place
 * in the line, for the thread that then calls host_cpu_take(). host_cpu_add()
 * makes a CPU that nobody is attached to.
 */
int host_cpu_add(unsigned cpu);
int host_cpu_attach(unsigned cpu);
int host_cpu_line_up(unsigned cpu, uint64_t *ticket);
void host_cpu_take(unsigned cpu, uint64_t ticket);
void host_cpu_detach(void);

/** host_cpu_yield() - let the threads in line for this CPU run first. */
void host_cpu_yield(void);

/** host_poll() - carry out what others asked of this CPU, as far as its context allows. */
void host_poll(void);

/** host_set_context() - pretend to be in another context. Return: the one before. */
enum mm_context host_set_context(enum mm_context context);

/** host_set_log() - where port_log() goes; NULL: standard error. */
void host_set_log(void (*fn)(const char *line));

/** host_set_panic() - called by port_panic() before it aborts; need not return. */
void host_set_panic(void (*fn)(const char *why));

#endif
