// SPDX-License-Identifier: MIT
/*
 * Object pools: objects stay made, are found on other CPUs, live for two ages,
 * and all are unmade in the end.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/objpool.h>
#include <spanheap/slab.h>
#include "lib/atomic.h"
#include "lib/bits.h"
#include "tests/suites/object_fixture.h"

#define MANY 100

struct dear {
	uint64_t tag;
	void *buffer;
};

static uint64_t made, unmade;
static bool refuse;
static void *object[MANY];

static int make_dear(void *p, gfp_t gfp, void *arg)
{
	struct dear *dear = p;

	dear->buffer = refuse ? NULL : kmalloc(100, gfp);
	if (!dear->buffer)
		return -ENOMEM;
	dear->tag = (uintptr_t)p ^ (uintptr_t)arg;
	(void)atomic_fetch_add(&made, 1);
	return 0;
}

static void unmake_dear(void *p, void *arg)
{
	struct dear *dear = p;

	(void)arg;
	kfree(dear->buffer);
	dear->tag = 0;
	(void)atomic_fetch_add(&unmade, 1);
}

static const struct objpool_ops dear_ops = { make_dear, unmake_dear, (void *)0x1234 };

static bool is_made(const void *p)
{
	const struct dear *dear = p;

	return dear->tag == ((uintptr_t)p ^ 0x1234);
}

static struct objpool *pool;

static int objpool_test_init(struct kunit *test)
{
	made = unmade = 0;
	refuse = false;
	pool = objpool_create("dear", sizeof(struct dear), 0, &dear_ops);
	return pool ? object_test_init(test) : -ENOMEM;
}

static void objpool_test_exit(struct kunit *test)
{
	mm_fail_off();
	KUNIT_EXPECT_EQ(test, objpool_destroy(pool), 0);
	KUNIT_EXPECT_EQ(test, made, unmade);
	object_test_exit(test);
}

static void get_many(struct kunit *test, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		object[i] = objpool_get(pool, GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, object[i]);
		KUNIT_EXPECT_TRUE(test, is_made(object[i]));
	}
}

static void put_many(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		objpool_put(pool, object[i]);
}

static void stays_made(struct kunit *test)
{
	for (unsigned round = 0; round < 100; round++) {
		get_many(test, 1);
		put_many(1);
	}
	KUNIT_EXPECT_EQ(test, made, 1);
	KUNIT_EXPECT_EQ(test, unmade, 0);
	for (unsigned round = 0; round < 10; round++) {
		get_many(test, 10);
		put_many(10);
	}
	KUNIT_EXPECT_EQ(test, made, 10);
	KUNIT_EXPECT_EQ(test, unmade, 0);
	objpool_put(pool, NULL);
}

static void is_bounded(struct kunit *test)
{
	get_many(test, MANY);
	put_many(MANY);
	KUNIT_EXPECT_EQ(test, made, MANY);
	KUNIT_EXPECT_GE(test, unmade, MANY - OBJPOOL_KEEPS);
	KUNIT_EXPECT_LE(test, unmade, MANY - OBJPOOL_KEEPS / 2);
}

static void lives_two_ages(struct kunit *test)
{
	get_many(test, 8);
	put_many(8);
	objpool_age(pool);
	KUNIT_EXPECT_EQ(test, unmade, 0);
	/* Out of the older generation, and young again. */
	get_many(test, 3);
	KUNIT_EXPECT_EQ(test, made, 8);
	put_many(3);
	objpool_age(pool);
	KUNIT_EXPECT_EQ(test, unmade, 5);
	get_many(test, 3);
	KUNIT_EXPECT_EQ(test, made, 8);
	put_many(3);
	objpool_age_all();
	objpool_age_all();
	KUNIT_EXPECT_EQ(test, unmade, 8);
	objpool_age(pool);
	KUNIT_EXPECT_EQ(test, unmade, 8);
}

static void drain_empties(struct kunit *test)
{
	struct mm_stats before, after;

	mm_drain();
	mm_stats(&before);
	get_many(test, 12);
	put_many(12);
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, unmade, 12);
	KUNIT_EXPECT_EQ(test, after.objects_live, before.objects_live);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
}

static void making_may_fail(struct kunit *test)
{
	struct mm_stats before, after;
	uint64_t got = 0;

	mm_drain();
	mm_stats(&before);
	refuse = true;
	KUNIT_EXPECT_NULL(test, objpool_get(pool, GFP_KERNEL));
	refuse = false;
	for (uint64_t nth = 1; nth < 10; nth++) {
		void *p;

		mm_drain();
		mm_fail_nth(nth);
		p = objpool_get(pool, GFP_KERNEL);
		mm_fail_off();
		got += !!p;
		objpool_put(pool, p);
	}
	KUNIT_EXPECT_GE(test, got, 1);
	KUNIT_EXPECT_LT(test, got, 9);
	for (uint64_t nth = 1; nth < 12; nth++) {
		struct objpool *other;

		mm_fail_nth(nth);
		other = objpool_create("other", 100, 0, NULL);
		mm_fail_off();
		KUNIT_EXPECT_EQ(test, objpool_destroy(other), 0);
	}
	mm_drain();
	mm_stats(&after);
	KUNIT_EXPECT_EQ(test, after.objects_live, before.objects_live);
	KUNIT_EXPECT_EQ(test, after.frames_used, before.frames_used);
}

static void wrong_puts(struct kunit *test)
{
	void *foreign = kmalloc(sizeof(struct dear), GFP_KERNEL);

	get_many(test, 3);
	put_many(3);
	for (unsigned i = 0; i < 3; i++) {
		objpool_put(pool, object[i]);
		expect_report(test, MM_DOUBLE_FREE, object[i]);
	}
	mm_drain();
	KUNIT_EXPECT_EQ(test, unmade, 3);
	KUNIT_EXPECT_EQ(test, reports_count(), 0);

	objpool_put(pool, foreign);
	mm_drain();
	expect_report(test, MM_WRONG_CACHE, foreign);
	KUNIT_EXPECT_EQ(test, unmade, 3);
	kfree(foreign);
}

static void destroy_in_use(struct kunit *test)
{
	get_many(test, 4);
	put_many(3);
	KUNIT_EXPECT_EQ(test, objpool_destroy(pool), -EBUSY);
	KUNIT_EXPECT_EQ(test, unmade, 3);
	objpool_put(pool, object[3]);
	KUNIT_EXPECT_PTR_EQ(test, objpool_get(pool, GFP_KERNEL), object[3]);
	objpool_put(pool, object[3]);
}

static void nothing_to_make(struct kunit *test)
{
	struct objpool *plain = objpool_create("plain", 64, 64, NULL);
	void *p;

	KUNIT_ASSERT_NOT_NULL(test, plain);
	p = objpool_get(plain, GFP_KERNEL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_EQ(test, (uintptr_t)p % 64, 0);
	objpool_put(plain, p);
	KUNIT_EXPECT_EQ(test, objpool_destroy(plain), 0);
	KUNIT_EXPECT_NULL(test, objpool_create("zero", 0, 0, NULL));
}

/* ---- CPUs and contexts ---- */

static unsigned wrong;

static void get_there(void *arg)
{
	void **p = arg;

	*p = objpool_get(pool, GFP_ATOMIC);
	if (!*p || !is_made(*p))
		wrong++;
}

static void put_there(void *arg)
{
	objpool_put(pool, *(void **)arg);
}

/* What lies with one CPU and context serves the others before anything is made. */
static void found_elsewhere(struct kunit *test)
{
	void (*const go[])(unsigned, void (*)(void *), void *) = { run_in_irq, run_in_nmi };
	void *p = NULL;

	wrong = 0;
	for (unsigned round = 0; round < 16; round++) {
		go[round & 1](round % cpu_count(), get_there, &p);
		go[round >> 1 & 1]((round >> 2) % cpu_count(), put_there, &p);
		p = objpool_get(pool, GFP_KERNEL);
		objpool_put(pool, p);
		if (round % 5 == 4)
			objpool_age(pool);
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ(test, made, 1);
}

static void churn(void *arg)
{
	uint64_t random = (uintptr_t)arg;
	void *held[6] = { NULL };

	for (unsigned round = 0; round < 4000; round++) {
		void **p = &held[random >> 33 & 3];

		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		if (*p) {
			if (!is_made(*p) ||
			    *(uint64_t *)((struct dear *)*p)->buffer != (uintptr_t)p)
				(void)atomic_fetch_add(&wrong, 1);
			objpool_put(pool, *p);
			*p = NULL;
		} else {
			*p = objpool_get(pool, GFP_KERNEL);
			if (*p)
				*(uint64_t *)((struct dear *)*p)->buffer = (uintptr_t)p;
		}
		if (round % 256 == 0)
			objpool_age(pool);
		if (round % 64 == 0)
			task_yield();
	}
	for (unsigned i = 0; i < 6; i++)
		objpool_put(pool, held[i]);
}

static void churn_on_all_cpus(struct kunit *test)
{
	struct task *task[4];
	unsigned n = MIN(4U, cpu_count());

	wrong = 0;
	for (unsigned i = 0; i < n; i++) {
		task[i] = task_start(i, churn, (void *)(uintptr_t)(i + 11), "churn");
		KUNIT_ASSERT_NOT_NULL(test, task[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(task[i]);
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

static struct kunit_case objpool_cases[] = { KUNIT_CASE(stays_made),
					     KUNIT_CASE(is_bounded),
					     KUNIT_CASE(lives_two_ages),
					     KUNIT_CASE(drain_empties),
					     KUNIT_CASE(making_may_fail),
					     KUNIT_CASE(wrong_puts),
					     KUNIT_CASE(destroy_in_use),
					     KUNIT_CASE(nothing_to_make),
					     KUNIT_CASE(found_elsewhere),
					     KUNIT_CASE(churn_on_all_cpus),
					     {} };

static struct kunit_suite objpool_suite = {
	.name = "objpool",
	.init = objpool_test_init,
	.exit = objpool_test_exit,
	.test_cases = objpool_cases,
};
kunit_test_suite(objpool_suite);
