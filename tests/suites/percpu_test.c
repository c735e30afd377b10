// SPDX-License-Identifier: MIT
/*
 * Per-CPU memory: copies that are apart, zeroed and aligned; every wrong free;
 * a random run against a model; and each CPU counting in its own copy.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include <spanheap/fault.h>
#include <spanheap/percpu.h>
#include <spanheap/slab.h>
#include "lib/bits.h"
#include "lib/string.h"
#include "tests/suites/object_fixture.h"

#define MANY 200

static uint8_t *object[MANY];
static size_t size_of[MANY];

/* The copies of CPUs that nobody looks at closely are all the same. */
static unsigned some_cpu(unsigned i)
{
	return i < 4 ? MIN(i, PORT_POSSIBLE_CPUS - 1) : PORT_POSSIBLE_CPUS - 1;
}

#define SOME_CPUS 5

static void fill(unsigned i)
{
	for (unsigned k = 0; k < SOME_CPUS; k++)
		memset(per_cpu_ptr(object[i], some_cpu(k)), (int)(i * 7 + k), size_of[i]);
}

static void expect_filled(struct kunit *test, unsigned i)
{
	for (unsigned k = 0; k < SOME_CPUS; k++) {
		const uint8_t *copy = per_cpu_ptr(object[i], some_cpu(k));
		/* On a machine with few CPUs the last one is written more than once. */
		bool last = some_cpu(k) == PORT_POSSIBLE_CPUS - 1;
		uint8_t value = (uint8_t)(i * 7 + (last ? SOME_CPUS - 1 : k));

		KUNIT_ASSERT_EQ(test, copy[0], value);
		KUNIT_ASSERT_EQ(test, copy[size_of[i] / 2], value);
		KUNIT_ASSERT_EQ(test, copy[size_of[i] - 1], value);
	}
}

static void zeroed_and_aligned(struct kunit *test)
{
	uint64_t before = frames_used();

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 100; i++) {
			size_t align = 1UL << i % 13;

			size_of[i] = i * 13 % 500 + 1;
			object[i] = __alloc_percpu(size_of[i], align);
			KUNIT_ASSERT_NOT_NULL(test, object[i]);
			for (unsigned k = 0; k < SOME_CPUS; k++) {
				uint8_t *copy = per_cpu_ptr(object[i], some_cpu(k));

				KUNIT_EXPECT_EQ(test, (uintptr_t)copy % align, 0);
				for (size_t b = 0; b < size_of[i]; b++)
					KUNIT_ASSERT_EQ(test, copy[b], 0);
			}
			fill(i);
		}
		for (unsigned i = 0; i < 100; i++)
			expect_filled(test, i);
		for (unsigned i = 0; i < 100; i++)
			free_percpu(object[i]);
	}
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

static void limits(struct kunit *test)
{
	void *whole = __alloc_percpu(PERCPU_STRIDE, FRAME_SIZE), *other;

	KUNIT_EXPECT_NOT_NULL(test, whole);
	other = __alloc_percpu(PERCPU_STRIDE, 8);
	KUNIT_EXPECT_NOT_NULL(test, other);
	KUNIT_EXPECT_PTR_NE(test, whole, other);
	KUNIT_EXPECT_NULL(test, __alloc_percpu(0, 8));
	KUNIT_EXPECT_NULL(test, __alloc_percpu(PERCPU_STRIDE + 1, 8));
	KUNIT_EXPECT_NULL(test, __alloc_percpu((size_t)-1, 8));
	KUNIT_EXPECT_NULL(test, __alloc_percpu(8, 0));
	KUNIT_EXPECT_NULL(test, __alloc_percpu(8, 24));
	KUNIT_EXPECT_NULL(test, __alloc_percpu(8, 2 * FRAME_SIZE));
	free_percpu(whole);
	free_percpu(other);
	free_percpu(NULL);
}

static void every_misuse(struct kunit *test)
{
	char *keeps_area = __alloc_percpu(64, 64), *p = __alloc_percpu(40, 8);
	char *plain = kmalloc(64, GFP_KERNEL);

	free_percpu(p + 4);
	expect_report(test, MM_INVALID_FREE, p + 4);
	free_percpu(p + 8);
	expect_report(test, MM_INVALID_FREE, p + 8);
	free_percpu(p + 40);
	expect_report(test, MM_INVALID_FREE, p + 40);
	free_percpu(per_cpu_ptr(p, 1));
	expect_report(test, MM_INVALID_FREE, per_cpu_ptr(p, 1));
	free_percpu(plain);
	expect_report(test, MM_INVALID_FREE, plain);
	kfree(p);
	expect_report(test, MM_INVALID_FREE, p);
	free_percpu(p);
	free_percpu(p);
	expect_report(test, MM_DOUBLE_FREE, p);
	free_percpu(keeps_area);
	free_percpu(keeps_area);
	expect_report(test, MM_INVALID_FREE, keeps_area);
	kfree(plain);
}

static void random_run(struct kunit *test)
{
	uint64_t before = frames_used(), random = 7;

	memset(object, 0, sizeof(object));
	for (unsigned round = 0; round < 4000; round++) {
		unsigned i;

		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		i = (unsigned)(random >> 33) % MANY;
		if (object[i]) {
			expect_filled(test, i);
			free_percpu(object[i]);
			object[i] = NULL;
			continue;
		}
		size_of[i] = (random >> 20) % (random >> 60 ? 200 : 3000) + 1;
		object[i] = __alloc_percpu(size_of[i], 1UL << (random >> 50) % 8);
		KUNIT_ASSERT_NOT_NULL(test, object[i]);
		fill(i);
		if (round % 1024 == 0)
			KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	}
	for (unsigned i = 0; i < MANY; i++)
		free_percpu(object[i]);
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

static void fails_on_purpose(struct kunit *test)
{
	uint64_t before = frames_used();

	for (uint64_t nth = 1; nth < 8; nth++) {
		mm_fail_nth(nth);
		object[0] = __alloc_percpu(100, 8);
		mm_fail_off();
		if (nth == 1)
			KUNIT_EXPECT_NULL(test, object[0]);
		free_percpu(object[0]);
	}
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

/* ---- CPUs ---- */

static uint64_t *counter;

static void count_here(void *arg)
{
	uint64_t n = (uintptr_t)arg;

	for (uint64_t i = 0; i < n; i++) {
		port_pin();
		(*this_cpu_ptr(counter))++;
		port_unpin();
		if (i % 1000 == 0)
			task_yield();
	}
}

static void each_cpu_its_own(struct kunit *test)
{
	struct task *task[8];
	unsigned n = MIN(8U, cpu_count());

	counter = alloc_percpu(uint64_t);
	KUNIT_ASSERT_NOT_NULL(test, counter);
	for (unsigned i = 0; i < n; i++) {
		task[i] = task_start(i, count_here, (void *)(uintptr_t)(10000 + i), "count");
		KUNIT_ASSERT_NOT_NULL(test, task[i]);
	}
	for (unsigned i = 0; i < n; i++)
		task_join(task[i]);
	for (unsigned i = 0; i < n; i++)
		KUNIT_EXPECT_EQ(test, *per_cpu_ptr(counter, i), 10000 + i);
	free_percpu(counter);
}

static void *from_elsewhere;

static void alloc_elsewhere(void *arg)
{
	(void)arg;
	from_elsewhere = __alloc_percpu_gfp(24, 8, GFP_ATOMIC);
}

static void in_irq_and_nmi(struct kunit *test)
{
	void (*const go[])(unsigned, void (*)(void *), void *) = { run_in_irq, run_in_nmi };
	uint64_t before = frames_used();

	for (unsigned i = 0; i < 4; i++) {
		go[i & 1](i % cpu_count(), alloc_elsewhere, NULL);
		KUNIT_EXPECT_NOT_NULL(test, from_elsewhere);
		if (i & 2)
			run_in_irq(0, free_percpu, from_elsewhere);
		else
			free_percpu(from_elsewhere);
	}
	KUNIT_EXPECT_EQ(test, reports_count(), 0);
	KUNIT_EXPECT_EQ(test, frames_used(), before);
}

static struct kunit_case percpu_cases[] = {
	KUNIT_CASE(zeroed_and_aligned), KUNIT_CASE(limits),
	KUNIT_CASE(every_misuse),	KUNIT_CASE(random_run),
	KUNIT_CASE(fails_on_purpose),	KUNIT_CASE(each_cpu_its_own),
	KUNIT_CASE(in_irq_and_nmi),	{}
};

static struct kunit_suite percpu_suite = {
	.name = "percpu",
	.init = object_test_init,
	.exit = object_test_exit,
	.test_cases = percpu_cases,
};
kunit_test_suite(percpu_suite);
