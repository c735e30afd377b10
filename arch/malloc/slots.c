// SPDX-License-Identifier: MIT
/*
 * CPU slots: which thread is which CPU, and the gate in front of mm/.
 *
 *	free[]	a bit for each slot that no thread has. Who clears it has the slot
 *	slot[]	what a thread takes over with it: its caches. Nothing is given
 *		back when a thread ends: the next thread, which gets the lowest
 *		free slot, goes on where it stopped, and what stays idle is emptied
 *		by whoever passes (malloc_serve_idle())
 *
 * The first SHARED slots are for those who find no other: they hold one for the
 * length of a call. No slot from nslots on was ever used; whoever looks at all
 * stops there.
 *
 * The hot paths of malloc() and free() touch nothing of this file: a thread without
 * a CPU has an empty cache and owns no span, so that it comes here by itself.
 *
 * Beyond the hot paths a thread is between malloc_enter() and malloc_leave():
 * slot.busy. Who forks stops the others there and waits until they are out: then no
 * lock of mm/ is held and nothing is half done, except a hot path, which leaves
 * everything sound wherever it is cut off (at worst an object is lost). So the
 * child need not know of any lock; it has one thread, and all other slots are free.
 * Busy before the look at stopped, stopped before the look at busy: one of the two
 * sees the other. Likewise nslots, which is raised before.
 *
 * port_run_on() does not wait for a thread, which may sleep for ever. A CPU that
 * nobody is it does itself, in its place; any other is asked to empty its
 * caches when it comes by, and counts as not running.
 */
#include <errno.h>
#include <pthread.h>

#include "lib/bits.h"
#include "arch/malloc/port.h"

#define SHARED 16
#define WORD_BITS 64

static struct slot {
	uint32_t busy;	/* the thread is beyond the hot path */
	uint32_t asked; /* to empty its caches */
	bool started;	/* it was a CPU before */
	void *cache, *magazines, *frame_cache;
} __attribute__((aligned(64))) slot[PORT_MAX_CPUS];

static uint64_t free_slots[PORT_MAX_CPUS / WORD_BITS] = {
	[0 ... PORT_MAX_CPUS / WORD_BITS - 1] = ~0ULL,
};
static unsigned nslots = SHARED;
static uint32_t stopped;
static unsigned stopper;
static pthread_key_t thread_end;
static bool has_key;

/* Return: true if the caller has the slot now. */
static bool claim(unsigned cpu)
{
	uint64_t bit = 1ULL << cpu % WORD_BITS;

	return __atomic_load_n(&free_slots[cpu / WORD_BITS], __ATOMIC_RELAXED) & bit &&
	       __atomic_fetch_and(&free_slots[cpu / WORD_BITS], ~bit, __ATOMIC_ACQUIRE) & bit;
}

static void release(unsigned cpu)
{
	__atomic_fetch_or(&free_slots[cpu / WORD_BITS], 1ULL << cpu % WORD_BITS, __ATOMIC_RELEASE);
}

static unsigned claim_among(unsigned from, unsigned end)
{
	for (unsigned cpu = from; cpu < end; cpu++) {
		if (!__atomic_load_n(&free_slots[cpu / WORD_BITS], __ATOMIC_RELAXED))
			cpu |= WORD_BITS - 1;
		else if (claim(cpu))
			return cpu;
	}
	return MALLOC_NO_CPU;
}

/* Before the slot is busy, so that who forks looks at it: see above. */
static void note_slot(unsigned cpu)
{
	unsigned n = __atomic_load_n(&nslots, __ATOMIC_RELAXED);

	while (n <= cpu && !__atomic_compare_exchange_n(&nslots, &n, cpu + 1, false,
							__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
}

static unsigned claim_any(void)
{
	unsigned cpu = claim_among(SHARED, PORT_MAX_CPUS);

	while (cpu == MALLOC_NO_CPU) {
		port_relax();
		cpu = claim_among(0, SHARED);
	}
	note_slot(cpu);
	return cpu;
}

void malloc_set_cache(void *cache)
{
	slot[malloc_self.cpu].cache = cache;
	malloc_self.cache = cache;
}

void malloc_set_frame_cache(void *cache)
{
	slot[malloc_self.cpu].frame_cache = cache;
	malloc_self.frame_cache = cache;
}

void malloc_set_magazines(void *magazines)
{
	slot[malloc_self.cpu].magazines = magazines;
	malloc_self.magazines = magazines;
}

static bool is_started(unsigned cpu)
{
	return __atomic_load_n(&slot[cpu].started, __ATOMIC_RELAXED);
}

static void put_on(unsigned cpu)
{
	malloc_self.cpu = cpu;
	malloc_self.frame_cache = slot[cpu].frame_cache;
	malloc_self.cache = is_started(cpu) ? slot[cpu].cache : (void *)malloc_nothing.cache;
	malloc_self.magazines =
		is_started(cpu) ? slot[cpu].magazines : (void *)malloc_nothing.magazines;
}

static void take_off(void)
{
	malloc_self.cache = (void *)malloc_nothing.cache;
	malloc_self.magazines = (void *)malloc_nothing.magazines;
	malloc_self.cpu = MALLOC_NO_CPU;
}

/* The thread ends, or has only borrowed the slot. */
static void detach(void)
{
	unsigned cpu = malloc_self.cpu;

	if (cpu == MALLOC_NO_CPU)
		return;
	take_off();
	release(cpu);
}

static void on_thread_end(void *unused)
{
	(void)unused;
	malloc_self.leaving = true;
	detach();
}

/* Wait until nobody forks, out of the gate. */
static void wait_for_fork(struct slot *s)
{
	__atomic_store_n(&s->busy, 0, __ATOMIC_RELEASE);
	while (__atomic_load_n(&stopped, __ATOMIC_ACQUIRE))
		port_relax();
}

static void pass_gate(void)
{
	struct slot *s = &slot[malloc_self.cpu];

	for (;;) {
		if (__atomic_exchange_n(&s->busy, 1, __ATOMIC_SEQ_CST))
			port_panic("malloc or free in a signal handler that interrupted the same");
		if (likely(!__atomic_load_n(&stopped, __ATOMIC_SEQ_CST)) ||
		    stopper == malloc_self.cpu)
			return;
		wait_for_fork(s);
	}
}

bool malloc_enter(void)
{
	if (unlikely(malloc_self.cpu == MALLOC_NO_CPU))
		put_on(claim_any());
	pass_gate();
	if (likely(is_started(malloc_self.cpu)))
		return false;
	__atomic_store_n(&slot[malloc_self.cpu].started, true, __ATOMIC_RELAXED);
	return true;
}

bool malloc_asked(void)
{
	struct slot *s = &slot[malloc_self.cpu];

	if (likely(!__atomic_load_n(&s->asked, __ATOMIC_RELAXED)))
		return false;
	__atomic_store_n(&s->asked, 0, __ATOMIC_RELAXED);
	return true;
}

void malloc_leave(void)
{
	__atomic_store_n(&slot[malloc_self.cpu].busy, 0, __ATOMIC_RELEASE);
	if (unlikely(malloc_self.leaving || malloc_self.cpu < SHARED)) {
		detach();
	} else if (unlikely(!malloc_self.known) && has_key) {
		/* May allocate, which must find this done. */
		malloc_self.known = true;
		pthread_setspecific(thread_end, &malloc_self);
	}
}

/* Run as another CPU, which the caller has claimed. */
static void stand_in(unsigned cpu, void (*fn)(void *), void *arg)
{
	unsigned own = malloc_self.cpu;

	take_off();
	put_on(cpu);
	fn(arg);
	take_off();
	release(cpu);
	put_on(own);
}

unsigned malloc_slots(void)
{
	return __atomic_load_n(&nslots, __ATOMIC_SEQ_CST);
}

int port_run_on(unsigned cpu, enum mm_context context, void (*fn)(void *), void *arg)
{
	(void)context;
	if (cpu == malloc_self.cpu) {
		fn(arg);
		return 0;
	}
	if (cpu >= malloc_slots() || !is_started(cpu))
		return -ENOENT;
	if (!claim(cpu)) {
		__atomic_store_n(&slot[cpu].asked, 1, __ATOMIC_RELAXED);
		return -ENOENT;
	}
	stand_in(cpu, fn, arg);
	return 0;
}

void malloc_serve_idle(void (*fn)(void *arg), void *arg)
{
	unsigned n = malloc_slots();

	for (unsigned cpu = 0; cpu < n; cpu++)
		if (cpu != malloc_self.cpu && is_started(cpu) && claim(cpu))
			stand_in(cpu, fn, arg);
}

unsigned malloc_threads(void)
{
	unsigned n = malloc_slots(), threads = 0;

	for (unsigned cpu = 0; cpu < n; cpu++)
		threads += !(__atomic_load_n(&free_slots[cpu / WORD_BITS], __ATOMIC_RELAXED) >>
				     cpu % WORD_BITS &
			     1);
	return threads;
}

/* ---- fork() ---- */

static pthread_mutex_t one_forks = PTHREAD_MUTEX_INITIALIZER;
static void (*enter)(void);

/* The thread is a CPU, so that what runs before and after can pass the gate. */
static void before_fork(void)
{
	unsigned self;

	pthread_mutex_lock(&one_forks);
	enter();
	self = malloc_self.cpu;
	stopper = self;
	__atomic_store_n(&stopped, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&slot[self].busy, 0, __ATOMIC_RELEASE);
	for (unsigned cpu = 0, n = malloc_slots(); cpu < n; cpu++)
		while (cpu != self && __atomic_load_n(&slot[cpu].busy, __ATOMIC_SEQ_CST))
			port_relax();
}

static void after_fork(void)
{
	__atomic_store_n(&stopped, 0, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&one_forks);
}

/* Whatever other thread had a slot is not in this process. */
static void in_child(void)
{
	for (unsigned cpu = 0, n = malloc_slots(); cpu < n; cpu++)
		if (cpu != malloc_self.cpu) {
			slot[cpu].busy = 0;
			slot[cpu].asked = 0;
			release(cpu);
		}
	after_fork();
}

void malloc_slots_init(void)
{
	put_on(claim_any());
	__atomic_store_n(&slot[malloc_self.cpu].started, true, __ATOMIC_RELAXED);
	has_key = !pthread_key_create(&thread_end, on_thread_end);
}

void malloc_slots_at_fork(void (*heap_enter)(void))
{
	enter = heap_enter;
	pthread_atfork(before_fork, after_fork, in_child);
}
