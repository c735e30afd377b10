/* SPDX-License-Identifier: MIT */
/*
 * What the suites of objects share: books that must balance, and a handler that
 * keeps reports of misuse instead of panicking.
 *
 *	books_open()     ... any allocations and frees ...  books_close()
 *	reports_start()  ... a wrong free ...  expect_report()  ...  reports_stop()
 */
#ifndef TESTS_SUITES_OBJECT_FIXTURE_H
#define TESTS_SUITES_OBJECT_FIXTURE_H

#include <kunit/test.h>
#include <spanheap/misuse.h>
#include <spanheap/stats.h>

/** frames_used() - of all that is held, all caches empty. */
uint64_t frames_used(void);

/** books_open() - remember what is held, all caches empty. */
void books_open(struct mm_stats *before);

/**
 * books_close() - all that was allocated since is freed: frames, objects, bytes
 * and the numbers of calls agree, and every invariant holds.
 */
void books_close(struct kunit *test, const struct mm_stats *before);

/** reports_start() - keep reports from now on. reports_stop() - panic again. */
void reports_start(void);
void reports_stop(void);

/** reports_count() - since reports_start(). */
unsigned reports_count(void);

/** reports_last() - the latest. */
struct mm_misuse_report reports_last(void);

/** expect_report() - there was one, of this kind, about @addr, with a caller; then start anew. */
void expect_report(struct kunit *test, enum mm_misuse kind, const void *addr);

/**
 * object_test_init(), object_test_exit() - of a suite whose cases each end with all
 * reports expected, and leave every invariant whole.
 */
int object_test_init(struct kunit *test);
void object_test_exit(struct kunit *test);

/** next_random() - xorshift64; the state must not be 0. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/** random_size() - 1 .. @max, small ones as likely as large ones. */
static inline size_t random_size(uint64_t *state, size_t max)
{
	uint64_t limit = 8ULL << next_random(state) % 48;

	return 1 + next_random(state) % (limit < max ? limit : max);
}

/** object_fill() - a content that tells @tag and place. object_holds() - is it still there? */
void object_fill(void *p, size_t size, uint64_t tag);
bool object_holds(const void *p, size_t size, uint64_t tag);

/** object_is_zero() - do all bytes read as zeroes? */
bool object_is_zero(const void *p, size_t size);

#endif
