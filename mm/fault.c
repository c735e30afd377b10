// SPDX-License-Identifier: MIT
/*
 * Failure injection.
 *
 * Armed or not is one word that every point reads. What an armed point decides
 * depends on one counter for all CPUs, so that a run on one CPU repeats.
 */
#include "mm/fault.h"

enum fail_mode { FAIL_OFF, FAIL_NTH, FAIL_RATE, FAIL_NEVER };

uint32_t mm_fail_armed;
void (*mm_fail_hide)(void);
uint32_t mm_fail_spared;

static uint64_t points;	/* passed since armed */
static uint64_t fail_at;
static uint32_t fail_one_in;
static uint64_t fail_seed;
static bool watched; /* somebody wants to see every request */

static void arm(enum fail_mode mode)
{
	atomic_store_relaxed(&points, 0);
	atomic_store(&mm_fail_armed, mode);
	if (mm_fail_hide)
		mm_fail_hide();
}

void mm_fail_nth(uint64_t n)
{
	mm_fail_off();
	atomic_store_relaxed(&fail_at, n);
	if (n)
		arm(FAIL_NTH);
}

void mm_fail_rate(uint32_t one_in, uint64_t seed)
{
	mm_fail_off();
	atomic_store_relaxed(&fail_one_in, one_in);
	atomic_store_relaxed(&fail_seed, seed);
	if (one_in)
		arm(FAIL_RATE);
}

void mm_fail_off(void)
{
	atomic_store(&mm_fail_armed, atomic_load_relaxed(&watched) ? FAIL_NEVER : FAIL_OFF);
}

void mm_fail_watch(bool on)
{
	uint32_t mode = on ? FAIL_OFF : FAIL_NEVER;

	atomic_store(&watched, on);
	if (atomic_cas(&mm_fail_armed, &mode, on ? FAIL_NEVER : FAIL_OFF) && on && mm_fail_hide)
		mm_fail_hide();
}

/* The finaliser of splitmix64: neighbouring inputs give unrelated outputs. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

bool mm_fail_decide(void)
{
	uint32_t one_in = atomic_load_relaxed(&fail_one_in);
	uint64_t point;

	if (atomic_load_relaxed(&mm_fail_spared))
		return false;
	point = atomic_fetch_add(&points, 1) + 1;
	switch (atomic_load(&mm_fail_armed)) {
	case FAIL_NTH:
		if (point != atomic_load_relaxed(&fail_at))
			return false;
		mm_fail_off();
		return true;
	case FAIL_RATE:
		return one_in && mix(point ^ atomic_load_relaxed(&fail_seed)) % one_in == 0;
	default:
		return false;
	}
}
