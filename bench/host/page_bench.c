// SPDX-License-Identifier: MIT
/*
 * Frames on this machine: our frame layer beside a buddy allocator with and
 * without per-CPU lists (buddy.h), in one run, rounds taken in turns.
 *
 *	page_pair/order0/1thread	allocate and free one, again and again
 *	page_pair/order0/2threads	the same on two threads at once
 *	page_bulk_alloc/512, _free/512	512 single frames, then freed in order
 *	page_random_free/lost-2M	1 GiB taken frame by frame, half of it freed
 *					at random: 2 MiB runs that cannot be had,
 *					of those that the free memory would hold
 *	page_batch_churn/lost-2M	from there on, 200 times: a sixteenth of what
 *					is in use freed at random, and as much
 *					allocated
 *
 * Lines are bench<TAB>case<TAB>allocator<TAB>unit<TAB>value; the times are medians.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <host_port.h>
#include <spanheap/boot.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>

#include "bench/host/buddy.h"

#define GIB (1ULL << 30)
#define NFRAMES ((uint32_t)(GIB / FRAME_SIZE))
#define ROUNDS 61
#define PAIRS 50000
#define BULK 512
#define BULKS 50
#define CHURN_ROUNDS 200
#define ROOM (2 * GIB) /* ours also holds metadata */

enum side { SPANHEAP, BUDDY_LISTS, BUDDY, SIDES };

static const char *const names[SIDES] = { "spanheap", "buddy+lists", "buddy" };
static struct buddy *buddies[SIDES];

/* Frame numbers for all; ours counts from the address of frame 0. */
static inline uint32_t take(enum side side, unsigned cpu, unsigned order)
{
	void *p;

	if (side != SPANHEAP)
		return buddy_alloc(buddies[side], cpu, order);
	p = order ? __get_free_pages(GFP_KERNEL, order) : __get_free_pages(GFP_KERNEL, 0);
	return p ? (uint32_t)(virt_to_phys(p) >> FRAME_SHIFT) : BUDDY_NONE;
}

static inline void give(enum side side, unsigned cpu, uint32_t frame, unsigned order)
{
	void *p = phys_to_virt((phys_addr_t)frame << FRAME_SHIFT);

	if (side != SPANHEAP)
		buddy_free(buddies[side], cpu, frame, order);
	else if (order)
		free_pages(p, order);
	else
		free_pages(p, 0);
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

static void report(const char *name, enum side side, const char *unit, double value)
{
	printf("bench\t%s\t%s\t%s\t%.2f\n", name, names[side], unit, value);
}

/* ---- Pairs ---- */

struct pair_thread {
	enum side side;
	unsigned cpu;
	bool attach;
	double ns;
};

static pthread_barrier_t barrier;

static double time_pairs(enum side side, unsigned cpu)
{
	double start;

	for (unsigned i = 0; i < 1000; i++)
		give(side, cpu, take(side, cpu, 0), 0);
	start = now_ns();
	/* The choice of the side is made outside of the loop. */
	if (side == SPANHEAP)
		for (unsigned i = 0; i < PAIRS; i++)
			free_pages(__get_free_pages(GFP_KERNEL, 0), 0);
	else
		for (unsigned i = 0; i < PAIRS; i++)
			buddy_free(buddies[side], cpu, buddy_alloc(buddies[side], cpu, 0), 0);
	return (now_ns() - start) / PAIRS;
}

static void *pair_thread(void *arg)
{
	struct pair_thread *t = arg;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(t->cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	if (t->attach && (host_cpu_attach(t->cpu) || mm_init_cpu()))
		abort();
	pthread_barrier_wait(&barrier);
	t->ns = time_pairs(t->side, t->cpu);
	if (t->attach) {
		mm_exit_cpu();
		host_cpu_detach();
	}
	return NULL;
}

static double pairs_on_two(enum side side)
{
	struct pair_thread t[2] = { { side, 0, false, 0 }, { side, 1, true, 0 } };
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, pair_thread, &t[1]);
	pair_thread(&t[0]);
	pthread_join(thread, NULL);
	return t[0].ns > t[1].ns ? t[0].ns : t[1].ns;
}

static void pairs(void)
{
	static double one[SIDES][ROUNDS], two[SIDES][ROUNDS];

	for (unsigned r = 0; r < ROUNDS; r++)
		for (unsigned s = 0; s < SIDES; s++) {
			one[s][r] = time_pairs((enum side)s, 0);
			two[s][r] = pairs_on_two((enum side)s);
		}
	for (unsigned s = 0; s < SIDES; s++)
		report("page_pair/order0/1thread", (enum side)s, "ns", median(one[s]));
	for (unsigned s = 0; s < SIDES; s++)
		report("page_pair/order0/2threads", (enum side)s, "ns", median(two[s]));
}

/* ---- 512 at a time ---- */

static void time_bulk(enum side side, double *alloc_ns, double *free_ns)
{
	static uint32_t f[BULK];

	*alloc_ns = *free_ns = 0;
	for (unsigned k = 0; k < BULKS; k++) {
		double start = now_ns(), middle;

		for (unsigned i = 0; i < BULK; i++)
			f[i] = take(side, 0, 0);
		middle = now_ns();
		for (unsigned i = 0; i < BULK; i++)
			give(side, 0, f[i], 0);
		*alloc_ns += (middle - start) / BULK / BULKS;
		*free_ns += (now_ns() - middle) / BULK / BULKS;
	}
}

static double time_bulk_calls(void)
{
	static void *p[BULK];
	double start = now_ns();

	for (unsigned k = 0; k < BULKS; k++) {
		if (page_alloc_bulk(BULK, p, GFP_KERNEL) != BULK)
			abort();
		page_free_bulk(BULK, p);
	}
	return (now_ns() - start) / BULK / BULKS;
}

static void bulks(void)
{
	static double allocs[SIDES][ROUNDS], frees[SIDES][ROUNDS], calls[ROUNDS];

	for (unsigned r = 0; r < ROUNDS; r++) {
		for (unsigned s = 0; s < SIDES; s++)
			time_bulk((enum side)s, &allocs[s][r], &frees[s][r]);
		calls[r] = time_bulk_calls();
	}
	for (unsigned s = 0; s < SIDES; s++)
		report("page_bulk_alloc/512", (enum side)s, "ns", median(allocs[s]));
	for (unsigned s = 0; s < SIDES; s++)
		report("page_bulk_free/512", (enum side)s, "ns", median(frees[s]));
	report("page_bulk_call_pair/512", SPANHEAP, "ns", median(calls));
}

/* ---- Fragmentation ---- */

static uint64_t rng;

static uint32_t next_random(uint32_t below)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)((rng >> 32) * below >> 32);
}

static void drain(enum side side)
{
	if (side == SPANHEAP)
		mm_drain();
	else
		buddy_drain(buddies[side], 0);
}

static uint32_t held[2 * NFRAMES];

static uint32_t hold(enum side side, uint32_t n)
{
	uint32_t i = 0;

	while (i < n && (held[i] = take(side, 0, 0)) != BUDDY_NONE)
		i++;
	return i;
}

/* Frame @i out of @n that are held goes. */
static void give_one(enum side side, uint32_t i, uint32_t n)
{
	give(side, 0, held[i], 0);
	held[i] = held[n - 1];
}

/* How many of @possible 2 MiB runs are not to be had; all that is held goes afterwards. */
static void report_runs(const char *name, enum side side, uint32_t n, uint32_t possible)
{
	static uint32_t runs[2 * NFRAMES / 512];
	uint32_t got = 0;

	drain(side);
	while (got < possible && (runs[got] = take(side, 0, 9)) != BUDDY_NONE)
		got++;
	report(name, side, "runs", possible - got);
	printf("# %s: %s had %u of %u runs of 2 MiB\n", name, names[side], got, possible);
	for (uint32_t i = 0; i < got; i++)
		give(side, 0, runs[i], 9);
	for (uint32_t i = 0; i < n; i++)
		give(side, 0, held[i], 0);
	drain(side);
}

/* All is taken, then half of it freed at random. */
static uint32_t hold_half(enum side side)
{
	uint32_t n = hold(side, NFRAMES), half = n / 2;

	rng = 0x9e3779b97f4a7c15ULL;
	for (; n > half; n--)
		give_one(side, next_random(n), n);
	return n;
}

static void random_free(enum side side)
{
	uint32_t n = hold_half(side);

	report_runs("page_random_free/lost-2M", side, n, n / 512);
}

static void batch_churn(enum side side)
{
	uint32_t n = hold_half(side), batch = n / 16;

	for (unsigned r = 0; r < CHURN_ROUNDS; r++) {
		for (uint32_t i = 0; i < batch; i++, n--)
			give_one(side, next_random(n), n);
		for (uint32_t i = 0; i < batch; i++)
			held[n++] = take(side, 0, 0);
	}
	report_runs("page_batch_churn/lost-2M", side, n, n / 512);
}

/* As much as 1 GiB of frames is to be had from ours: what is more is taken away. */
static void trim_to_gib(void)
{
	uint32_t n = hold(SPANHEAP, 2 * NFRAMES);

	for (uint32_t i = 0; i < n && n - i > NFRAMES; i++)
		held[i] = BUDDY_NONE;
	for (uint32_t i = 0; i < n; i++)
		if (held[i] != BUDDY_NONE)
			give(SPANHEAP, 0, held[i], 0);
	mm_drain();
}

int main(void)
{
	int err = host_ram_init(ROOM, HOST_FLAT);

	/* One GiB at a chunk's start, and some more below it for metadata. */
	if (err || host_cpu_add(1) || memblock_add(GIB - (16 << 20), GIB + (16 << 20), 0) ||
	    mm_init() || mm_init_cpu()) {
		fprintf(stderr, "page-bench: no memory\n");
		return 1;
	}
	for (unsigned s = BUDDY_LISTS; s < SIDES; s++) {
		buddies[s] = buddy_new(NFRAMES, s == BUDDY_LISTS);
		if (!buddies[s])
			return 1;
	}
	pairs();
	bulks();
	trim_to_gib();
	for (unsigned s = 0; s < SIDES; s++)
		random_free((enum side)s);
	for (unsigned s = 0; s < SIDES; s++)
		batch_churn((enum side)s);
	for (unsigned s = BUDDY_LISTS; s < SIDES; s++)
		buddy_delete(buddies[s]);
	if (mm_validate()) {
		fprintf(stderr, "page-bench: the page heap is not in order\n");
		return 1;
	}
	return 0;
}
