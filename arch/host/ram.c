// SPDX-License-Identifier: MIT
/*
 * A process's memory as a machine's RAM: the mapping half of the port.
 *
 *	            direct map                       window
 *	enforced    memfd, shared; mprotect()        zeroes; memfd pages over it
 *	preload     anonymous, always writable       anonymous, always writable
 *	flat        anonymous, always writable       none
 *
 * One reserved range is the direct map: physical address 0 is its start. Which
 * of it is RAM, memblock is told; the rest is never touched.
 *
 * The window of the preload back end is memory of its own, and mm/ is told:
 * port_map() puts nothing there, the frames it is given stay untouched and cost
 * nothing, and what is written through the window does not show in the direct map.
 *
 * Every back end keeps book of what is mapped, to hold mm/ to the contract: a
 * second port_map() is -EEXIST, a port_unmap() of what is not mapped panics.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/host/host.h"

#define GIB (1ULL << 30)
#define HOST_DIRT 0xd1

/* Largest and smallest window that is tried. ThreadSanitizer leaves less room. */
#ifdef HOST_TSAN
#define WINDOW_MAX (1ULL << 38)
#else
#define WINDOW_MAX (1ULL << 44)
#endif
#define WINDOW_MIN (1ULL << 36)

struct host_port host_port;

static struct host_region direct, window;
static enum host_backend backend;
static int ram_fd = -1;
static uint64_t *soiled; /* a bit for a frame: its first content was made */
static phys_addr_t bad_base;
static uint64_t bad_size;
static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const backend_name[HOST_NR_BACKENDS] = {
	[HOST_ENFORCED] = "enforced",
	[HOST_PRELOAD] = "preload",
	[HOST_FLAT] = "flat",
};

static void *reserve(uint64_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *host_book(uint64_t size)
{
	return reserve(size, PROT_READ | PROT_WRITE);
}

static int make_region(struct host_region *r, uintptr_t base, uint64_t size)
{
	r->base = base;
	r->size = size;
	r->mapped = host_book(size / FRAME_SIZE / 8);
	r->leaf = host_book(size / CHUNK_SIZE);
	r->table = host_book(size / CHUNK_SIZE * sizeof(void *));
	r->upper[0] = host_book(size / GIB + 1);
	r->upper[1] = host_book(size / GIB / 512 + 1);
	if (!r->mapped || !r->leaf || !r->table || !r->upper[0] || !r->upper[1])
		return -ENOMEM;
	return 0;
}

/* A range that starts at a multiple of 1 GiB, so that leaves can be as on a CPU. */
static uintptr_t reserve_aligned(uint64_t size, int prot)
{
	uintptr_t at = (uintptr_t)reserve(size + GIB, prot);
	uintptr_t base = (at + GIB - 1) & ~(GIB - 1);

	if (!at)
		return 0;
	if (base > at)
		munmap((void *)at, base - at);
	if (at + GIB > base)
		munmap((void *)(base + size), at + GIB - base);
	return base;
}

static int make_window(void)
{
	int prot = backend == HOST_ENFORCED ? PROT_READ : PROT_READ | PROT_WRITE;
	uintptr_t base = 0;
	uint64_t size;

	if (backend == HOST_FLAT)
		return 0;
	for (size = WINDOW_MAX; !base && size >= WINDOW_MIN; size /= 2)
		base = reserve_aligned(size, prot);
	if (!base)
		return -ENOMEM;
	size *= 2;
	host_port.window_base = base;
	host_port.window_size = size;
	return make_region(&window, base, size);
}

static int make_memfd(void)
{
	void *at = (void *)direct.base;

	ram_fd = memfd_create("spanheap-ram", MFD_CLOEXEC);
	if (ram_fd < 0 || ftruncate(ram_fd, (off_t)direct.size))
		return -errno;
	if (mmap(at, direct.size, PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, ram_fd, 0) !=
	    at)
		return -errno;
	soiled = host_book(direct.size / FRAME_SIZE / 8);
	return soiled ? 0 : -ENOMEM;
}

int host_ram_init(uint64_t phys_size, enum host_backend wanted)
{
	int prot = wanted == HOST_ENFORCED ? PROT_NONE : PROT_READ | PROT_WRITE;
	uint64_t size = (phys_size + GIB - 1) & ~(GIB - 1);
	uintptr_t base;
	int err;

	if (direct.size)
		return -EBUSY;
	if (!size || size > 1ULL << PORT_PHYS_BITS || wanted >= HOST_NR_BACKENDS)
		return -EINVAL;
	base = reserve_aligned(size, prot);
	if (!base)
		return -ENOMEM;
	backend = wanted;
	host_port.direct_base = base;
	host_port.phys_size = size;
	host_port.has_mmu = backend == HOST_ENFORCED;
	host_port.ram_is_zero = backend == HOST_PRELOAD;
	host_port.window_is_memory = backend == HOST_PRELOAD;
	err = make_region(&direct, base, size);
	if (!err && backend == HOST_ENFORCED)
		err = make_memfd();
	if (!err)
		err = make_window();
	if (err)
		return err;
	err = host_cpu_enter();
	return err < 0 ? err : 0;
}

enum host_backend host_backend(void)
{
	return backend;
}

const char *host_backend_name(enum host_backend which)
{
	return which < HOST_NR_BACKENDS ? backend_name[which] : "?";
}

void host_bad_memory(phys_addr_t base, uint64_t size)
{
	bad_base = base;
	bad_size = size;
}

static unsigned long lock_maps(void)
{
	unsigned long flags = port_irq_save();

	if (port_context() == MM_NMI)
		port_panic("port_map or port_unmap in an NMI");
	pthread_mutex_lock(&map_lock);
	return flags;
}

static void unlock_maps(unsigned long flags)
{
	pthread_mutex_unlock(&map_lock);
	port_irq_restore(flags);
}

static struct host_region *region_of(uintptr_t va, size_t size)
{
	struct host_region *r = va - direct.base < direct.size ? &direct : &window;

	if ((va | size) % FRAME_SIZE || !size)
		port_panic("port: unaligned or empty range");
	if (va - r->base >= r->size || size > r->size - (va - r->base))
		port_panic("port: range is neither in the direct map nor in the window");
	return r;
}

static uint64_t frame_index(const struct host_region *r, uintptr_t va)
{
	return (va - r->base) / FRAME_SIZE;
}

/* Bits [from, from + n) that lie in the word of bit @at. */
static uint64_t word_mask(uint64_t at, uint64_t end)
{
	unsigned shift = at % 64;
	uint64_t n = end - at < 64 - shift ? end - at : 64 - shift;

	return (n == 64 ? ~0ULL : (1ULL << n) - 1) << shift;
}

bool host_bits_all(const uint64_t *bits, uint64_t from, uint64_t n)
{
	for (uint64_t at = from, end = from + n; at < end; at = (at | 63) + 1)
		if (~bits[at / 64] & word_mask(at, end))
			return false;
	return true;
}

bool host_bits_none(const uint64_t *bits, uint64_t from, uint64_t n)
{
	for (uint64_t at = from, end = from + n; at < end; at = (at | 63) + 1)
		if (bits[at / 64] & word_mask(at, end))
			return false;
	return true;
}

static void bits_put(uint64_t *bits, uint64_t from, uint64_t n, bool value)
{
	for (uint64_t at = from, end = from + n; at < end; at = (at | 63) + 1) {
		if (value)
			bits[at / 64] |= word_mask(at, end);
		else
			bits[at / 64] &= ~word_mask(at, end);
	}
}

/* RAM holds anything at power-on; what was discarded since reads as zeroes. */
static void soil(uintptr_t va, phys_addr_t pa, size_t size)
{
	for (size_t at = 0; at < size; at += FRAME_SIZE) {
		uint64_t frame = (pa + at) / FRAME_SIZE;

		if (!host_bits_none(soiled, frame, 1))
			continue;
		bits_put(soiled, frame, 1, true);
		memset((void *)(va + at), HOST_DIRT, FRAME_SIZE);
	}
}

static bool map_enforced(const struct host_region *r, uintptr_t va, phys_addr_t pa, size_t size,
			 unsigned prot)
{
	int p = PROT_READ | (prot & PORT_WRITE ? PROT_WRITE : 0);
	void *at = (void *)va;

	if (r == &direct && mprotect(at, size, p))
		return false;
	if (r == &window &&
	    mmap(at, size, p, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, ram_fd, (off_t)pa) != at)
		return false;
	if (prot & PORT_WRITE)
		soil(va, pa, size);
	return true;
}

static bool unmap_enforced(const struct host_region *r, uintptr_t va, size_t size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
	void *at = (void *)va;

	if (r == &direct)
		return !mprotect(at, size, PROT_NONE);
	return mmap(at, size, PROT_READ, flags, -1, 0) == at;
}

static int map_locked(struct host_region *r, uintptr_t va, phys_addr_t pa, size_t size,
		      unsigned prot, struct port_pool *pool)
{
	if (!host_bits_none(r->mapped, frame_index(r, va), size / FRAME_SIZE))
		return -EEXIST;
	if (pa < bad_base + bad_size && bad_base < pa + size)
		return -EIO;
	if (backend == HOST_ENFORCED) {
		int err = host_tables_map(r, va, pa, size, pool);

		if (err)
			return err;
		if (!map_enforced(r, va, pa, size, prot))
			port_panic("port_map: the host has no more mappings");
	}
	bits_put(r->mapped, frame_index(r, va), size / FRAME_SIZE, true);
	return 0;
}

int port_map(uintptr_t va, phys_addr_t pa, size_t size, unsigned prot, struct port_pool *pool)
{
	struct host_region *r = region_of(va, size);
	unsigned long flags;
	int err;

	if (pa % FRAME_SIZE || (r == &direct && va - r->base != pa) || !(prot & PORT_READ))
		port_panic("port_map: wrong physical address or rights");
	if (pa >= direct.size || size > direct.size - pa)
		return -EIO;
	flags = lock_maps();
	err = map_locked(r, va, pa, size, prot, pool);
	unlock_maps(flags);
	return err;
}

static int unmap_locked(struct host_region *r, uintptr_t va, size_t size, struct port_pool *pool)
{
	if (!host_bits_all(r->mapped, frame_index(r, va), size / FRAME_SIZE))
		port_panic("port_unmap: not mapped");
	if (backend == HOST_ENFORCED) {
		int err = host_tables_unmap(r, va, size, pool);

		if (err)
			return err;
		if (!unmap_enforced(r, va, size))
			port_panic("port_unmap: the host has no more mappings");
	} else if (r == &window) {
		madvise((void *)va, size, MADV_DONTNEED);
	}
	bits_put(r->mapped, frame_index(r, va), size / FRAME_SIZE, false);
	return 0;
}

int port_unmap(uintptr_t va, size_t size, struct port_pool *pool)
{
	struct host_region *r = region_of(va, size);
	unsigned long flags = lock_maps();
	int err = unmap_locked(r, va, size, pool);

	unlock_maps(flags);
	return err;
}

bool port_join(uintptr_t va, void **table)
{
	struct host_region *r = region_of(va, CHUNK_SIZE);
	unsigned long flags;
	bool joined;

	if (va % CHUNK_SIZE || r != &direct)
		port_panic("port_join: no chunk of the direct map");
	*table = NULL;
	if (backend != HOST_ENFORCED)
		return false;
	flags = lock_maps();
	joined = host_tables_join(r, va, table);
	unlock_maps(flags);
	return joined;
}

/* The kernel has flushed before mprotect() or mmap() came back. */
void port_flush(uintptr_t va, size_t size)
{
	region_of(va, size);
	if (port_context() != MM_TASK || host_self.irq_off)
		port_panic("port_flush: not in a task with interrupts on");
}

bool port_discard(phys_addr_t pa, uint64_t size)
{
	uintptr_t va = direct.base + pa;
	struct host_region *r = region_of(va, size);
	bool zero = false;
	unsigned long flags;

	if (port_context() != MM_TASK || host_self.irq_off)
		port_panic("port_discard: not in a task with interrupts on");
	flags = lock_maps();
	if (!host_bits_none(r->mapped, frame_index(r, va), size / FRAME_SIZE))
		port_panic("port_discard: still mapped");
	if (backend == HOST_ENFORCED) {
		zero = !fallocate(ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)pa,
				  (off_t)size);
		if (zero)
			bits_put(soiled, pa / FRAME_SIZE, size / FRAME_SIZE, true);
	} else if (backend == HOST_PRELOAD) {
		zero = !madvise((void *)va, size, MADV_DONTNEED);
	}
	unlock_maps(flags);
	return zero;
}
