// SPDX-License-Identifier: MIT
/*
 * Records what a program asks of malloc, as a trace (tests/traces/trace.h):
 *
 *	SPANHEAP_TRACE=out.trace LD_PRELOAD=build/librecord.so sqlite3 ...
 *
 * The calls are glibc's; this library stands before them and writes. "%p" in the
 * name becomes the process number. A file that exists is left alone and its process
 * not recorded, so that without "%p" the first of several processes is. What is
 * allocated before this library's constructor runs is not in the trace, nor are
 * calls that fail. A child made by fork() is not recorded unless it calls exec().
 *
 * The file is mapped, at its largest size, and is complete after each call: it can
 * be read even if the program is killed. At exit it is cut to what is used.
 *
 *	live[]	address -> slot, open addressing, at most half full
 *
 * Locking: one lock around each event. It is held over realloc(), and free() is
 * recorded before it happens: a trace never gives an address to two objects.
 */
#define _GNU_SOURCE
#include "tests/traces/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_MAX ((size_t)1 << 30)
#define EVENT_MAX 21u /* bytes, as trace_put_event() says */
#define SLOTS_MAX (1u << 26)
#define LIVE_FIRST (1u << 12)

/* What glibc calls its own, for libraries like this one. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

struct live {
	uintptr_t address; /* 0: empty */
	uint32_t slot;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t *file, *at; /* file: NULL if not recording */
static int file_fd;
static uint32_t nevents;
static struct trace_slots slots;
static struct live *live;
static size_t live_size, nlive;

static void complain(const char *what, const char *why)
{
	dprintf(STDERR_FILENO, "record: %s: %s\n", what, why);
}

/* Zeroed memory from the kernel; NULL if there is none. */
static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* ---- Addresses to slots ---- */

static size_t live_home(uintptr_t address)
{
	return (size_t)(address * 0x9e3779b97f4a7c15ULL >> 20) & (live_size - 1);
}

/* Where @address is, or else where it belongs. */
static struct live *live_find(uintptr_t address)
{
	size_t i = live_home(address);

	while (live[i].address && live[i].address != address)
		i = (i + 1) & (live_size - 1);
	return &live[i];
}

static bool live_grow(void)
{
	struct live *old = live;
	size_t old_size = live_size, size = old_size ? 2 * old_size : LIVE_FIRST;
	struct live *new = map(size * sizeof(*new));

	if (!new)
		return false;
	live = new;
	live_size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].address)
			*live_find(old[i].address) = old[i];
	if (old)
		munmap(old, old_size * sizeof(*old));
	return true;
}

/* Close the gap: move up what would no longer be found from its home. */
static void live_remove(struct live *gap)
{
	size_t hole = (size_t)(gap - live), i = hole;

	for (;;) {
		i = (i + 1) & (live_size - 1);
		if (!live[i].address)
			break;
		if (((i - live_home(live[i].address)) & (live_size - 1)) >=
		    ((i - hole) & (live_size - 1))) {
			live[hole] = live[i];
			hole = i;
		}
	}
	live[hole].address = 0;
	nlive--;
}

/* ---- The file ---- */

static void stop(void)
{
	size_t used = (size_t)(at - file);

	munmap(file, FILE_MAX);
	file = NULL;
	if (ftruncate(file_fd, (off_t)used))
		complain("trace", strerror(errno));
	close(file_fd);
}

static void put(const struct trace_event *e)
{
	at = trace_put_event(at, e);
	trace_put32(file + 8, ++nevents);
	trace_put32(file + 12, slots.nslots);
	if (at + EVENT_MAX >= file + FILE_MAX) {
		complain("trace", "full; the rest of the program is not recorded");
		stop();
	}
}

static void put_new(uint8_t op, const void *p, uint64_t size, uint64_t align)
{
	struct trace_event e = { .op = op, .size = size };

	if (2 * nlive >= live_size && !live_grow())
		return;
	if (align > 1)
		e.align_shift = (uint8_t)__builtin_ctzll(align);
	e.slot = trace_slot_take(&slots);
	if (e.slot == TRACE_NONE)
		return;
	*live_find((uintptr_t)p) = (struct live){ .address = (uintptr_t)p, .slot = e.slot };
	nlive++;
	put(&e);
}

/* Return: is it one of ours? It is no longer live then; its slot is kept if @keep. */
static bool take_live(const void *p, uint32_t *slot)
{
	struct live *l = nlive ? live_find((uintptr_t)p) : NULL;

	if (!l || !l->address)
		return false;
	*slot = l->slot;
	live_remove(l);
	return true;
}

static void *record_new(uint8_t op, void *p, uint64_t size, uint64_t align)
{
	int saved = errno;

	if (!p || !file)
		return p;
	pthread_mutex_lock(&lock);
	if (file)
		put_new(op, p, size, align);
	pthread_mutex_unlock(&lock);
	errno = saved;
	return p;
}

static void in_child(void)
{
	file = NULL;
	pthread_mutex_init(&lock, NULL);
}

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void in_parent(void)
{
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void record_start(void)
{
	const char *name = getenv("SPANHEAP_TRACE"), *pid_here;
	char path[4096];
	uint8_t *mapped;
	uint32_t *next;

	if (!name)
		return;
	pid_here = strstr(name, "%p");
	if (pid_here)
		snprintf(path, sizeof(path), "%.*s%d%s", (int)(pid_here - name), name, getpid(),
			 pid_here + 2);
	else
		snprintf(path, sizeof(path), "%s", name);
	file_fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (file_fd < 0) {
		complain(path, strerror(errno));
		return;
	}
	next = map(SLOTS_MAX * sizeof(*next));
	mapped = MAP_FAILED;
	if (next && live_grow() && !ftruncate(file_fd, (off_t)FILE_MAX))
		mapped = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, file_fd, 0);
	if (mapped == MAP_FAILED) {
		complain(path, strerror(errno));
		close(file_fd);
		unlink(path);
		return;
	}
	trace_slots_init(&slots, next, SLOTS_MAX);
	memcpy(mapped, TRACE_MAGIC, sizeof(TRACE_MAGIC) - 1);
	at = mapped + TRACE_HEADER;
	pthread_atfork(before_fork, in_parent, in_child);
	file = mapped;
}

__attribute__((destructor)) static void record_end(void)
{
	pthread_mutex_lock(&lock);
	if (file)
		stop();
	pthread_mutex_unlock(&lock);
}

/* ---- What the program calls ---- */

#define EXPORT __attribute__((visibility("default")))

EXPORT void *malloc(size_t size)
{
	return record_new(TRACE_MALLOC, __libc_malloc(size), size, 0);
}

EXPORT void *calloc(size_t n, size_t size)
{
	return record_new(TRACE_CALLOC, __libc_calloc(n, size), n * size, 0);
}

EXPORT void free(void *p)
{
	struct trace_event e = { .op = TRACE_FREE };
	int saved = errno;

	if (p && file) {
		pthread_mutex_lock(&lock);
		if (file && take_live(p, &e.slot)) {
			trace_slot_give(&slots, e.slot);
			put(&e);
		}
		pthread_mutex_unlock(&lock);
		errno = saved;
	}
	__libc_free(p);
}

EXPORT void *realloc(void *p, size_t size)
{
	struct trace_event e = { .op = TRACE_REALLOC, .size = size };
	void *new;

	if (!p)
		return malloc(size);
	if (!size) {
		free(p);
		return NULL;
	}
	if (!file)
		return __libc_realloc(p, size);
	pthread_mutex_lock(&lock);
	new = __libc_realloc(p, size);
	if (new &&file && take_live(p, &e.slot)) {
		*live_find((uintptr_t) new) =
			(struct live){ .address = (uintptr_t) new, .slot = e.slot };
		nlive++;
		put(&e);
	}
	pthread_mutex_unlock(&lock);
	return new;
}

EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

EXPORT void *memalign(size_t align, size_t size)
{
	return record_new(TRACE_ALIGNED, __libc_memalign(align, size), size, align);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

EXPORT int posix_memalign(void **p, size_t align, size_t size)
{
	void *new;

	if (align % sizeof(void *) || !align || align & (align - 1))
		return EINVAL;
	new = memalign(align, size);
	if (!new)
		return ENOMEM;
	*p = new;
	return 0;
}

EXPORT void *valloc(size_t size)
{
	return memalign((size_t)sysconf(_SC_PAGESIZE), size);
}
