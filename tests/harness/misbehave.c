// SPDX-License-Identifier: MIT
/*
 * Suites that go wrong, for the test of the runner itself: tests/matrix.py builds
 * them with EXTRA=tests/harness and expects each to be reported as what it is.
 */
#include <kunit/test.h>

static void wrong_value(struct kunit *test)
{
	int answer = 41;

	KUNIT_EXPECT_EQ(test, answer, 42);
}

static void fine(struct kunit *test)
{
	KUNIT_SUCCEED(test);
}

static struct kunit_case fails_cases[] = { KUNIT_CASE(fine), KUNIT_CASE(wrong_value), {} };
static struct kunit_suite fails_suite = { .name = "harness_fails", .test_cases = fails_cases };

/* The panic's first line must lead here. */
static void write_to_nowhere(struct kunit *test)
{
	uint32_t *nowhere = (uint32_t *)16;

	KUNIT_SUCCEED(test);
	__asm__ volatile("" : "+r"(nowhere));
	*nowhere = 1;
}

static struct kunit_case crashes_cases[] = { KUNIT_CASE(fine), KUNIT_CASE(write_to_nowhere), {} };
static struct kunit_suite crashes_suite = { .name = "harness_crashes",
					    .test_cases = crashes_cases };

static void never_ends(struct kunit *test)
{
	while (!*(volatile uint32_t *)&test->failures)
		;
}

static struct kunit_case hangs_cases[] = { KUNIT_CASE(fine), KUNIT_CASE(never_ends), {} };
static struct kunit_suite hangs_suite = { .name = "harness_hangs", .test_cases = hangs_cases };

/* No IDT and a trap: the processor resets, as after a triple fault in earnest. */
static void triple_fault(struct kunit *test)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) nothing = { 0, 0 };

	KUNIT_SUCCEED(test);
	__asm__ volatile("lidt %0\n\tint3" : : "m"(nothing));
}

static struct kunit_case resets_cases[] = { KUNIT_CASE(fine), KUNIT_CASE(triple_fault), {} };
static struct kunit_suite resets_suite = { .name = "harness_resets", .test_cases = resets_cases };

static int refuse(struct kunit_suite *suite)
{
	(void)suite;
	return -1;
}

static struct kunit_case refuses_cases[] = { KUNIT_CASE(fine), {} };
static struct kunit_suite refuses_suite = { .name = "harness_refuses",
					    .suite_init = refuse,
					    .test_cases = refuses_cases };

static void survives(struct kunit *test)
{
	KUNIT_SUCCEED(test);
}

static struct kunit_case survives_cases[] = { KUNIT_CASE_DIES(survives, "a panic that never comes"),
					      {} };
static struct kunit_suite survives_suite = { .name = "harness_survives",
					     .test_cases = survives_cases };

kunit_test_suites(&fails_suite, &crashes_suite, &hangs_suite, &resets_suite, &refuses_suite,
		  &survives_suite);
