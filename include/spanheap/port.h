/* SPDX-License-Identifier: MIT */
/*
 * What a machine or kernel supplies so that Spanheap can run on it.
 *
 *	mm/  ──►  this header  ──►  <spanheap_port.h>  (found on the include path)
 *	                            arch/x86_64/include/  the small kernel
 *	                            arch/host/include/    a Linux process
 *
 * <spanheap_port.h> defines the constants and the seven inline functions; the
 * other nine functions are ordinary ones, declared below. Nothing else of the
 * machine is visible to mm/. It may use the types above its place in this file,
 * and includes what else it needs.
 *
 * What a machine lacks is said in one line and has a default then:
 *   PORT_ONE_CPU	1: PORT_MAX_CPUS, port_cpu(), port_relax()
 *   PORT_NO_INTERRUPTS	1: nothing interrupts code that calls mm/: port_context(),
 *			port_irq_save(), port_irq_restore()
 *   PORT_NO_PREEMPTION	1: a task runs until it gives way: port_pin(), port_unpin()
 *   PORT_HAS_MMU	left out: states are tracked, not enforced
 * Of the ordinary functions only port_panic() has no default; mm/port.c has the
 * others, which are weak symbols.
 *
 * Constants; those marked * may be left out:
 *   PORT_MAX_CPUS	CPUs are numbered 0 .. PORT_MAX_CPUS-1
 *   PORT_MAX_NODES	* NUMA nodes are numbered 0 .. PORT_MAX_NODES-1; at most 64; 1
 *   PORT_PHYS_BITS	* no RAM has an address of more bits; 36 .. 52; 46
 *   PORT_DIRECT_BASE	virtual address of physical address 0 in the direct map; a
 *			multiple of CHUNK_SIZE. An expression, need not be a constant
 *   PORT_HAS_MMU	* 1 if port_map() and port_unmap() change what faults; 0
 *   PORT_MAP_MIN	* smallest unit that port_unmap() can take out of a larger
 *			leaf: FRAME_SIZE, or CHUNK_SIZE on a port that cannot
 *			split a live leaf
 *   PORT_WINDOW_BASE	* virtual range, apart from the direct map, that mm/ may
 *   PORT_WINDOW_SIZE	fill by port_map(), and that reads as zeroes elsewhere; 0
 *			without an MMU
 *   PORT_POSSIBLE_CPUS	* no CPU has a number as high as this; an expression that never
 *			changes after mm_init(); PORT_MAX_CPUS
 *   PORT_SEEN_CPUS	* no CPU has had a number as high as this so far; an expression,
 *			which may grow; PORT_MAX_CPUS
 *   PORT_RAM_IS_ZERO	* 1 if RAM reads as zeroes when it is first mapped; 0
 *   PORT_STACK_SLOTS	* one more than the objects above KMALLOC_WINDOW_MAX that a CPU
 *			keeps at hand of each class; a power of two; 8
 *   PORT_HAS_WINDOW	* 0 if there is no window; decided by PORT_WINDOW_SIZE
 *   PORT_WINDOW_IS_MEMORY  * 1 if the window is memory of its own: what port_map() maps
 *			there reads as zeroes at first, and the frames it is given are
 *			not touched; 0
 *
 * Inline functions. All may be called in every context.
 *
 * unsigned port_cpu(void)
 *	The number of the CPU that runs this. Stable only while pinned.
 * enum mm_context port_context(void)
 *	What this CPU is doing: MM_TASK, MM_IRQ or MM_NMI. What can interrupt an
 *	irq counts as MM_NMI.
 * void port_pin(void), void port_unpin(void)
 *	Between them the caller stays on its CPU and no other task runs there.
 *	Interrupts may still come. They nest. Empty in a kernel that never
 *	preempts tasks.
 * unsigned long port_irq_save(void), void port_irq_restore(unsigned long)
 *	Mask maskable interrupts on this CPU and say how it was; put it back.
 * void port_relax(void)
 *	Once round a spin loop.
 */
#ifndef SPANHEAP_PORT_H
#define SPANHEAP_PORT_H

#include <stdarg.h>
#include <spanheap/types.h>

/** enum mm_context - who is asking. Each has caches of its own on each CPU. */
enum mm_context { MM_TASK, MM_IRQ, MM_NMI, MM_NR_CONTEXTS };

#include <spanheap_port.h>

#if defined(PORT_ONE_CPU) && defined(PORT_MAX_CPUS)
#error "spanheap_port.h: PORT_ONE_CPU says how many CPUs there are; PORT_MAX_CPUS is too much"
#elif !defined(PORT_ONE_CPU) && !defined(PORT_MAX_CPUS)
#error "spanheap_port.h: how many CPUs? PORT_MAX_CPUS, or PORT_ONE_CPU"
#endif
#ifndef PORT_DIRECT_BASE
#error "spanheap_port.h: where is the direct map? PORT_DIRECT_BASE, 0 if addresses are physical"
#endif

#ifdef PORT_ONE_CPU
#define PORT_MAX_CPUS 1

static inline unsigned port_cpu(void)
{
	return 0;
}

static inline void port_relax(void)
{
}
#endif

#ifdef PORT_NO_INTERRUPTS
static inline enum mm_context port_context(void)
{
	return MM_TASK;
}

static inline unsigned long port_irq_save(void)
{
	return 0;
}

static inline void port_irq_restore(unsigned long was)
{
	(void)was;
}
#endif

#ifdef PORT_NO_PREEMPTION
static inline void port_pin(void)
{
}

static inline void port_unpin(void)
{
}
#endif

#ifndef PORT_MAX_NODES
#define PORT_MAX_NODES 1
#endif

#ifndef PORT_PHYS_BITS
#define PORT_PHYS_BITS 46
#endif

#ifndef PORT_HAS_MMU
#define PORT_HAS_MMU 0
#endif

#ifndef PORT_MAP_MIN
#define PORT_MAP_MIN FRAME_SIZE
#endif

#ifndef PORT_WINDOW_SIZE
#define PORT_WINDOW_BASE 0
#define PORT_WINDOW_SIZE 0
#endif

#ifndef PORT_POSSIBLE_CPUS
#define PORT_POSSIBLE_CPUS PORT_MAX_CPUS
#endif

#ifndef PORT_HAS_WINDOW
#define PORT_HAS_WINDOW (PORT_WINDOW_SIZE != 0)
#endif

#ifndef PORT_WINDOW_IS_MEMORY
#define PORT_WINDOW_IS_MEMORY 0
#endif

#ifndef PORT_SEEN_CPUS
#define PORT_SEEN_CPUS PORT_MAX_CPUS
#endif

#ifndef PORT_STACK_SLOTS
#define PORT_STACK_SLOTS 8
#endif

#ifndef PORT_RAM_IS_ZERO
#define PORT_RAM_IS_ZERO 0
#endif

#ifndef PORT_HAS_CACHE_SLOT
/*
 * Two words for each context of each CPU, which mm/ keeps its caches in: of
 * objects and of frames. A port with a faster place for them (a segment register,
 * thread-local storage) defines PORT_HAS_CACHE_SLOT and these four itself:
 *
 * void *port_cache(void), void *port_frame_cache(void)
 *	That of the running CPU and context.
 * void port_cache_set(enum mm_context context, void *cache),
 * void port_frame_cache_set(enum mm_context context, void *cache)
 *	Set the running CPU's. NULL until it was set.
 */
extern void *port_cache_slots[PORT_MAX_CPUS][MM_NR_CONTEXTS];
extern void *port_frame_cache_slots[PORT_MAX_CPUS][MM_NR_CONTEXTS];

static inline void *port_cache(void)
{
	return port_cache_slots[port_cpu()][port_context()];
}

static inline void port_cache_set(enum mm_context context, void *cache)
{
	port_cache_slots[port_cpu()][context] = cache;
}

static inline void *port_frame_cache(void)
{
	return port_frame_cache_slots[port_cpu()][port_context()];
}

static inline void port_frame_cache_set(enum mm_context context, void *cache)
{
	port_frame_cache_slots[port_cpu()][context] = cache;
}
#endif

/* What a port cannot mean. An expression that is no constant passes: C++ sees none. */
#ifndef __cplusplus
#define PORT_KNOWN(x) __builtin_choose_expr(__builtin_constant_p(x), (uint64_t)(x), 0)

_Static_assert(sizeof(void *) == 8 && sizeof(long) == 8, "a machine of 64 bits, and long as well");
_Static_assert(PORT_MAX_CPUS >= 1, "PORT_MAX_CPUS: at least 1");
_Static_assert(PORT_MAX_NODES >= 1 && PORT_MAX_NODES <= 64, "PORT_MAX_NODES: 1 .. 64");
_Static_assert(PORT_PHYS_BITS >= 36 && PORT_PHYS_BITS <= 52, "PORT_PHYS_BITS: 36 .. 52");
_Static_assert(PORT_MAP_MIN == FRAME_SIZE || PORT_MAP_MIN == CHUNK_SIZE,
	       "PORT_MAP_MIN: FRAME_SIZE or CHUNK_SIZE");
_Static_assert(PORT_KNOWN(PORT_DIRECT_BASE) % CHUNK_SIZE == 0,
	       "PORT_DIRECT_BASE: a multiple of CHUNK_SIZE");
_Static_assert(PORT_KNOWN(PORT_DIRECT_BASE) / 2 + (1ULL << (PORT_PHYS_BITS - 1)) <= 1ULL << 63,
	       "PORT_DIRECT_BASE: the direct map passes the last address");
_Static_assert((PORT_KNOWN(PORT_WINDOW_BASE) | PORT_KNOWN(PORT_WINDOW_SIZE)) % FRAME_SIZE == 0,
	       "PORT_WINDOW_BASE, PORT_WINDOW_SIZE: multiples of FRAME_SIZE");
#endif

/** enum port_prot - rights of a mapping; nothing is ever executable here. */
enum port_prot { PORT_READ = 1, PORT_WRITE = 2 };

/**
 * struct port_pool - frames for page tables, taken by the port.
 * @head: first frame, by its virtual address; each frame's first word leads on
 * @nframes: how many
 *
 * Filled by the caller to the worst case (port_pool_worst()) before it takes
 * any lock. The port takes what it needs by port_pool_take() and zeroes it; it
 * gives tables that became empty back by port_pool_give(), after no CPU can
 * still walk them. One owner at a time; no lock.
 */
struct port_pool {
	void *head;
	size_t nframes;
};

static inline void *port_pool_take(struct port_pool *pool)
{
	void *frame = pool->head;

	if (frame) {
		pool->head = *(void **)frame;
		pool->nframes--;
	}
	return frame;
}

static inline void port_pool_give(struct port_pool *pool, void *frame)
{
	*(void **)frame = pool->head;
	pool->head = frame;
	pool->nframes++;
}

/**
 * port_pool_worst() - page-table frames that one mapping call can need.
 * @size: bytes to be mapped or unmapped
 *
 * Two tables of 4 KiB leaves at the ends, and the tables above them. That holds
 * where va and pa lie at the same place of a CHUNK_SIZE block, as in the direct
 * map; else no large leaf fits, and one more is needed for each CHUNK_SIZE.
 */
static inline size_t port_pool_worst(uint64_t size)
{
	return PORT_HAS_MMU ? 2 + 2 + 2 + (size >> 30) + (size >> 39) : 0;
}

/**
 * port_map() - map physical memory, no-execute.
 * @va: where; a multiple of FRAME_SIZE, in the direct map or the window
 * @pa: what; likewise
 * @size: bytes; likewise, not 0
 * @prot: enum port_prot bits
 * @pool: frames for tables; NULL only before mm_init(), when one CPU runs: then
 *	the port uses frames of its own
 *
 * Uses the largest leaves that fit. Only fills entries that are not present,
 * so nothing need be flushed, except that a page of the window that read as
 * zeroes without being mapped may go on doing so on a CPU until it flushes.
 * Any context but NMI; never waits. Calls on ranges that do not touch the same
 * CHUNK_SIZE block may run at once on several CPUs.
 *
 * Return: 0; -EEXIST if a page is mapped already, -ENOMEM if the pool ran dry,
 * -EIO if the machine refuses this memory: then nothing has changed.
 */
int port_map(uintptr_t va, phys_addr_t pa, size_t size, unsigned prot, struct port_pool *pool);

/**
 * port_unmap() - make a range fault, once port_flush() has returned.
 * @va: what was mapped by port_map(); every page of it is mapped
 * @size: bytes, a multiple of FRAME_SIZE
 * @pool: takes a frame for each leaf that must be split (at most two)
 *
 * Tables are kept for the next port_map(). Any context but NMI; never waits.
 *
 * Return: 0; -ENOMEM if the pool ran dry, -EOPNOTSUPP if a leaf cannot be
 * split: then nothing has changed.
 */
int port_unmap(uintptr_t va, size_t size, struct port_pool *pool);

/**
 * port_join() - make one large leaf again of a chunk that was split.
 * @va: start of a chunk of the direct map, a multiple of CHUNK_SIZE
 * @table: always set: to the frame of the table that is gone, or to NULL if it was
 *	none of mm/'s or nothing was joined; CPUs may go on reading it until the caller
 *	has flushed
 *
 * Does nothing unless all pages of the chunk are mapped, in order, alike.
 * Task context, interrupts on; the caller calls port_flush() afterwards.
 *
 * Return: true if it joined.
 */
bool port_join(uintptr_t va, void **table);

/**
 * port_flush() - no CPU uses an old translation of the range any longer.
 *
 * Task context, interrupts on, no lock held: it waits for the other CPUs.
 */
void port_flush(uintptr_t va, size_t size);

/**
 * port_discard() - the content of this unmapped memory is not needed.
 *
 * A host, hypervisor or balloon may take the memory behind the addresses and
 * must put some back on the next touch. Task context; may wait.
 *
 * Return: true if the memory will read as zeroes when it is mapped again.
 */
bool port_discard(phys_addr_t pa, uint64_t size);

/**
 * port_run_on() - run a function on a CPU in a context, and wait for its end.
 * @context: MM_TASK: pinned; MM_IRQ: in an interrupt; MM_NMI: in an NMI
 *
 * Task context, interrupts on, no lock held. A CPU that is not running (not yet
 * started, or stopped) is skipped. For MM_TASK the function may run wherever the
 * task of that CPU is not pinned: between two tasks, in one that is preempted, in an
 * interrupt that finds it in code that never pins. A port whose CPUs are threads may
 * let the other do it at its next slow path.
 *
 * Return: 0 once @fn has returned; -ENOENT if the CPU is not running, and @fn was not
 * called.
 */
int port_run_on(unsigned cpu, enum mm_context context, void (*fn)(void *), void *arg);

/**
 * port_flush_objects() - free what the port keeps of objects on the calling CPU.
 *
 * Task context, nothing pinned or locked: the CPU's own caches are emptied next.
 */
void port_flush_objects(void);

/** port_clock() - a counter that only rises; cycles, or ns on a host. Any context. */
uint64_t port_clock(void);

/** port_log() - one line for the log, without a newline. Any context. Default: nowhere. */
void port_log(const char *line);

/** port_panic() - say why and stop the machine. Any context. */
__attribute__((noreturn)) void port_panic(const char *why);

#endif
