// SPDX-License-Identifier: MIT
/*
 * Address space of a process as a machine's RAM.
 *
 *	direct map	private, anonymous, no access; a chunk becomes writable when
 *			the heap grows by it and stays so
 *	held bits	private, anonymous, no access; what belongs to a chunk becomes
 *			writable with it (malloc/magazine.h)
 *	window		private, anonymous, reads as zeroes; a page becomes writable
 *			when mm/ maps it: memory of its own
 *
 * So reserving a TiB counts for nothing, not even where the system refuses to
 * promise more than it has. The heap grows upwards and neighbours have the same
 * rights, so that the kernel keeps them as one mapping: a handful in all. Memory
 * goes back by madvise(), which makes no mapping, either.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "arch/malloc/port.h"

/* Page-map entries are a word for each 8 KiB. */
#define WINDOW_SHARE 1024
/* A bit for each 16 bytes. */
#define HELD_SHARE 128
#define RAM_MIN (64ULL << 20)

struct malloc_port malloc_port;

uint64_t malloc_growth;

static uint64_t ram_size;

static uintptr_t reserve(uint64_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? 0 : (uintptr_t)p;
}

static void release(uintptr_t va, uint64_t size)
{
	if (va)
		munmap((void *)va, size);
}

static bool reserve_all(uint64_t size)
{
	uint64_t window = (MALLOC_RAM_BASE + size) / WINDOW_SHARE;
	/* Physical addresses are to be aligned as virtual ones are. */
	uint64_t align = size > MALLOC_ALIGN_MAX ? MALLOC_ALIGN_MAX : CHUNK_SIZE;
	uintptr_t ram = reserve(size + align, PROT_NONE);
	uintptr_t held = reserve(size / HELD_SHARE, PROT_NONE);

	malloc_port.window_base = reserve(window, PROT_READ);
	if (!ram || !held || !malloc_port.window_base) {
		release(ram, size + align);
		release(held, size / HELD_SHARE);
		release(malloc_port.window_base, window);
		return false;
	}
	malloc_port.align_max = align;
	malloc_port.window_size = window;
	ram = (ram + align - 1) & ~(align - 1);
	malloc_port.direct_base = ram - MALLOC_RAM_BASE;
	malloc_port.held_zero = held - ram / HELD_SHARE;
	return true;
}

uint64_t malloc_ram_init(void)
{
	uint64_t size = (1ULL << PORT_PHYS_BITS) - MALLOC_RAM_BASE;

	while (size >= RAM_MIN && !reserve_all(size))
		size = (size / 2) & ~(CHUNK_SIZE - 1);
	ram_size = size >= RAM_MIN ? size : 0;
	return ram_size;
}

static bool in_window(uintptr_t va)
{
	return va - malloc_port.window_base < malloc_port.window_size;
}

/* The held bits of a part of the direct map. */
static bool map_held(uintptr_t va, size_t size)
{
	uintptr_t from = malloc_port.held_zero + va / HELD_SHARE;
	uintptr_t to = malloc_port.held_zero + (va + size) / HELD_SHARE;

	from &= ~(FRAME_SIZE - 1);
	to = (to + FRAME_SIZE - 1) & ~(FRAME_SIZE - 1);
	__atomic_fetch_add(&malloc_growth, 1, __ATOMIC_RELAXED);
	return !mprotect((void *)from, to - from, PROT_READ | PROT_WRITE);
}

int port_map(uintptr_t va, phys_addr_t pa, size_t size, unsigned prot, struct port_pool *pool)
{
	int saved = errno;
	bool done;

	(void)prot;
	(void)pool;
	if (pa < MALLOC_RAM_BASE || pa - MALLOC_RAM_BASE >= ram_size)
		return -EIO;
	done = !mprotect((void *)va, size, PROT_READ | PROT_WRITE) &&
	       (in_window(va) || map_held(va, size));
	errno = saved;
	return done ? 0 : -ENOMEM;
}

/* What lies in the window is forgotten; what lies in the direct map may be discarded next. */
int port_unmap(uintptr_t va, size_t size, struct port_pool *pool)
{
	int saved = errno;

	(void)pool;
	if (in_window(va))
		madvise((void *)va, size, MADV_DONTNEED);
	errno = saved;
	return 0;
}

bool port_join(uintptr_t va, void **table)
{
	(void)va;
	*table = NULL;
	return false;
}

void port_flush(uintptr_t va, size_t size)
{
	(void)va;
	(void)size;
}

bool port_discard(phys_addr_t pa, uint64_t size)
{
	int saved = errno;
	bool zero = !madvise((void *)(malloc_port.direct_base + pa), size, MADV_DONTNEED);

	errno = saved;
	return zero;
}
