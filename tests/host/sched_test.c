// SPDX-License-Identifier: MIT
/*
 * The systematic scheduler finds what it must, and nothing where nothing is.
 * The lock is the real one of lib/spinlock.h, compiled with scheduling points.
 */
#include <host_port.h>

#include "tests/host/sched.h"

#define ATOMIC_POINT() sched_point()
#define port_relax sched_relax
#include "lib/spinlock.h"

#include <kunit/test.h>

/* ---- A counter ---- */

static struct spinlock lock;
static uint32_t count;

static void reset(void *arg)
{
	(void)arg;
	lock = (struct spinlock){ 0 };
	count = 0;
}

static void add_torn(void *arg)
{
	uint32_t seen = atomic_load(&count);

	(void)arg;
	atomic_store(&count, seen + 1);
}

static void add_whole(void *arg)
{
	(void)arg;
	atomic_fetch_add(&count, 1);
}

static void add_locked(void *arg)
{
	(void)arg;
	spin_lock(&lock);
	add_torn(arg);
	spin_unlock(&lock);
}

static void expect_three(void *arg)
{
	(void)arg;
	if (count != 3)
		sched_fail("an addition was lost");
}

static struct sched three_of(void (*add)(void *), unsigned preemptions)
{
	return (struct sched){ .setup = reset,
			       .thread = { add, add, add },
			       .check = expect_three,
			       .preemptions = preemptions };
}

static void finds_lost_update(struct kunit *test)
{
	struct sched none = three_of(add_torn, 0), one = three_of(add_torn, 1);

	KUNIT_EXPECT_TRUE(test, sched_explore(&none));
	KUNIT_EXPECT_FALSE(test, sched_explore(&one));
	KUNIT_EXPECT_STREQ(test, one.why, "an addition was lost");
	KUNIT_EXPECT_STREQ(test, one.trail, "run 2, choices 5:1");
}

/* Three threads of one step each, without a bound in effect: all 3! orders. */
static void sees_every_order(struct kunit *test)
{
	struct sched s = three_of(add_whole, 8);

	KUNIT_EXPECT_TRUE(test, sched_explore(&s));
	KUNIT_EXPECT_GE(test, s.runs, 6);
}

static void lock_excludes(struct kunit *test)
{
	struct sched s = three_of(add_locked, 2);

	KUNIT_EXPECT_TRUE_MSG(test, sched_explore(&s), "%s: %s", s.why, s.trail);
	KUNIT_EXPECT_GT(test, s.runs, 100);
}

static void take_and_keep(void *arg)
{
	(void)arg;
	spin_lock(&lock);
}

static void finds_deadlock(struct kunit *test)
{
	struct sched s = { .setup = reset, .thread = { take_and_keep, take_and_keep } };

	KUNIT_EXPECT_FALSE(test, sched_explore(&s));
	KUNIT_EXPECT_STREQ(test, s.why, "the threads wait for each other");
}

/* ---- A stack of free slots: the ABA problem, and a version number against it ---- */

#define SLOTS 3
#define NOTHING 0xffU

static struct {
	uint32_t head; /* slot in the low byte, version above */
	uint32_t next[SLOTS];
	uint32_t owned[SLOTS];
	uint32_t version_step;
} pile;

static void pile_init(void *arg)
{
	pile.version_step = *(const uint32_t *)arg;
	pile.head = 0;
	for (unsigned i = 0; i < SLOTS; i++) {
		pile.next[i] = i + 1 < SLOTS ? i + 1 : NOTHING;
		pile.owned[i] = 0;
	}
}

static uint32_t pop(void)
{
	uint32_t old = atomic_load(&pile.head), new;

	do {
		if ((old & 0xff) == NOTHING)
			return NOTHING;
		new = atomic_load(&pile.next[old & 0xff]) | ((old & ~0xffU) + pile.version_step);
	} while (!atomic_cas(&pile.head, &old, new));
	if (pile.owned[old & 0xff]++)
		sched_fail("a slot has two owners");
	return old & 0xff;
}

static void push(uint32_t slot)
{
	uint32_t old = atomic_load(&pile.head), new;

	pile.owned[slot]--;
	do {
		atomic_store(&pile.next[slot], old & 0xff);
		new = slot | ((old & ~0xffU) + pile.version_step);
	} while (!atomic_cas(&pile.head, &old, new));
}

static void take_one(void *arg)
{
	(void)arg;
	pop();
}

static void shuffle(void *arg)
{
	uint32_t a = pop(), b = pop();

	(void)arg;
	if (a != NOTHING)
		push(a);
	if (b != NOTHING)
		pop();
}

static void finds_aba(struct kunit *test)
{
	uint32_t step = 0;
	struct sched s = {
		.setup = pile_init, .thread = { take_one, shuffle }, .arg = &step, .preemptions = 2
	};

	KUNIT_EXPECT_FALSE(test, sched_explore(&s));
	KUNIT_EXPECT_STREQ(test, s.why, "a slot has two owners");
	step = 0x100;
	s.preemptions = 4;
	KUNIT_EXPECT_TRUE_MSG(test, sched_explore(&s), "%s: %s", s.why, s.trail);
	KUNIT_EXPECT_GT(test, s.runs, 100);
}

static int sched_init(struct kunit *test)
{
#ifdef HOST_TSAN
	kunit_skip(test, "ThreadSanitizer does not know coroutines");
#endif
	(void)test;
	return 0;
}

static struct kunit_case sched_cases[] = {
	KUNIT_CASE(finds_lost_update), KUNIT_CASE(sees_every_order), KUNIT_CASE(lock_excludes),
	KUNIT_CASE(finds_deadlock),    KUNIT_CASE(finds_aba),	     {},
};

static struct kunit_suite sched_suite = { .name = "host_sched",
					  .init = sched_init,
					  .test_cases = sched_cases };
kunit_test_suite(sched_suite);
