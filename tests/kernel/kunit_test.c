// SPDX-License-Identifier: MIT
/*
 * The test library tests itself: what a failed check prints and counts, leaving
 * a case by ASSERT, checks in other tasks, interrupts and NMIs, skipping, init
 * and exit, parameters, the filter. What fails on purpose fails in a struct
 * kunit of its own, which stands for a case beside the real one.
 */
#include <kernel/panic.h>
#include <kernel/task.h>
#include <kunit/run.h>
#include "lib/string.h"

/* ---- Checks that hold ---- */

static void comparisons(struct kunit *test)
{
	uint8_t small = 200;
	int minus = -1;
	size_t three = 3;
	void *p = &three;

	KUNIT_EXPECT_TRUE(test, three == 3);
	KUNIT_EXPECT_FALSE(test, three == 4);
	KUNIT_EXPECT_EQ(test, three, 3);
	KUNIT_EXPECT_NE(test, three, 4);
	KUNIT_EXPECT_LT(test, minus, 0);
	KUNIT_EXPECT_LE(test, small, 200);
	KUNIT_EXPECT_GT(test, small, 199);
	KUNIT_EXPECT_GE(test, three, 0);
	KUNIT_EXPECT_EQ(test, p, (void *)&three);
	KUNIT_EXPECT_PTR_EQ(test, p, &three);
	KUNIT_EXPECT_PTR_NE(test, p, test);
	KUNIT_EXPECT_NULL(test, NULL);
	KUNIT_EXPECT_NOT_NULL(test, p);
	KUNIT_EXPECT_NOT_ERR_OR_NULL(test, p);
	KUNIT_ASSERT_EQ_MSG(test, three, 3, "%zu is not three", three);
}

static void strings(struct kunit *test)
{
	const char one[8] = "one", other[8] = "one";

	KUNIT_EXPECT_STREQ(test, one, other);
	KUNIT_EXPECT_STRNEQ(test, one, "two");
	KUNIT_EXPECT_STRNEQ(test, one, NULL);
	KUNIT_EXPECT_MEMEQ(test, one, other, sizeof(one));
	KUNIT_EXPECT_MEMNEQ(test, one, "one more", 8);
}

static void operands_are_evaluated_once(struct kunit *test)
{
	int n = 0;

	KUNIT_EXPECT_EQ(test, n++, 0);
	KUNIT_EXPECT_TRUE(test, n++ == 1);
	KUNIT_EXPECT_NOT_NULL(test, (n++, test));
	KUNIT_EXPECT_EQ(test, n, 3);
}

/* ---- Checks that fail, in a case of their own ---- */

static unsigned steps;

static void fails_twice(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, steps, 99);
	steps++;
	KUNIT_EXPECT_TRUE_MSG(test, false, "on purpose");
	steps++;
}

static void asserts_first(struct kunit *test)
{
	steps++;
	KUNIT_ASSERT_NULL(test, test);
	steps += 100;
}

static void skips(struct kunit *test)
{
	kunit_skip(test, "on purpose, %d", 7);
	steps += 100;
}

static void other_flow(void *arg)
{
	struct kunit *test = arg;

	KUNIT_ASSERT_EQ(test, steps, 99);
	steps++;
}

static void fails_elsewhere(struct kunit *test)
{
	struct task *t = task_start(this_cpu(), other_flow, test, "kunit");

	KUNIT_ASSERT_NOT_NULL(test, t);
	task_join(t);
	run_in_irq(this_cpu(), other_flow, test);
	run_in_nmi(this_cpu(), other_flow, test);
	run_in_irq(cpu_count() - 1, other_flow, test);
}

static int init_gives_up(struct kunit *test)
{
	(void)test;
	return -1;
}

static int init_asserts(struct kunit *test)
{
	KUNIT_ASSERT_TRUE(test, false);
	return 0;
}

static void count_exit(struct kunit *test)
{
	(void)test;
	steps += 1000;
}

/*
 * Run one case of a suite that is not in the image; what fails in it does not
 * count in the case around it.
 */
static struct kunit run_apart(void (*fn)(struct kunit *), int (*init)(struct kunit *))
{
	struct kunit_suite suite = { .name = "apart", .init = init, .exit = count_exit };
	struct kunit_case c = { .run_case = fn, .name = "on_purpose" };
	struct kunit apart = { .name = c.name, .suite = &suite, .quiet = true };

	steps = 0;
	kunit_run_once(&apart, &c);
	return apart;
}

static void expect_goes_on(struct kunit *test)
{
	struct kunit apart = run_apart(fails_twice, NULL);

	KUNIT_EXPECT_EQ(test, apart.failures, 2);
	KUNIT_EXPECT_EQ(test, steps, 1002);
}

static void assert_leaves(struct kunit *test)
{
	struct kunit apart = run_apart(asserts_first, NULL);

	KUNIT_EXPECT_EQ(test, apart.failures, 1);
	KUNIT_EXPECT_EQ(test, steps, 1001);
}

static void skip_leaves(struct kunit *test)
{
	struct kunit apart = run_apart(skips, NULL);

	KUNIT_EXPECT_EQ(test, apart.failures, 0);
	KUNIT_EXPECT_EQ(test, apart.skipped, 1);
	KUNIT_EXPECT_STREQ(test, apart.status, "on purpose, 7");
	KUNIT_EXPECT_EQ(test, steps, 1000);
}

static void other_flows_only_mark(struct kunit *test)
{
	struct kunit apart = run_apart(fails_elsewhere, NULL);

	KUNIT_EXPECT_EQ(test, apart.failures, 4);
	KUNIT_EXPECT_EQ(test, steps, 1004);
}

static void failed_init_stops(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, run_apart(asserts_first, init_gives_up).failures, 1);
	KUNIT_EXPECT_EQ(test, steps, 1000);
	KUNIT_EXPECT_EQ(test, run_apart(asserts_first, init_asserts).failures, 1);
	KUNIT_EXPECT_EQ(test, steps, 1000);
}

static void knows_its_case(struct kunit *test)
{
	KUNIT_EXPECT_PTR_EQ(test, kunit_get_current_test(), test);
}

/* ---- Parameters ---- */

static const int squares[] = { 0, 1, 4, 9 };

KUNIT_ARRAY_PARAM(squares, squares, NULL)

static void with_parameters(struct kunit *test)
{
	const int *square = test->param_value;

	KUNIT_EXPECT_EQ(test, *square, test->param_index * test->param_index);
}

/* ---- The filter ---- */

static const struct match_row {
	const char *filter, *suite, *name;
	bool matches;
} match_rows[] = {
	{ "", "page", "one", true },
	{ "page", "page", "one", true },
	{ "page", "pages", "one", false },
	{ "page*", "pageheap", "one", true },
	{ "*heap", "pageheap", "one", true },
	{ "p*h*p", "pageheap", "one", true },
	{ "p?ge", "page", "one", true },
	{ "p?ge", "pge", "one", false },
	{ "page.one", "page", "one", true },
	{ "page.one", "page", "two", false },
	{ "*.two", "page", "two", true },
	{ "page.t*", "page", "two", true },
	{ "page.t*", "page", NULL, true },
	{ "none,page.one", "page", "one", true },
	{ "none,page.one", "page", "two", false },
	{ "page.one,page.two", "page", "two", true },
	{ "**", "page", "one", true },
};

static void describe_row(const struct match_row *row, char *desc)
{
	const char *from = *row->filter ? row->filter : "empty";
	size_t n = strlen(from) + 1;

	memcpy(desc, from, n < KUNIT_PARAM_DESC_SIZE ? n : KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(match, match_rows, describe_row)

static void filter(struct kunit *test)
{
	const struct match_row *row = test->param_value;

	KUNIT_EXPECT_EQ(test, kunit_match(row->filter, row->suite, row->name), row->matches);
}

/* ---- Death ---- */

static void panics(struct kunit *test)
{
	(void)test;
	panic("the case kunit.panics says %d", 42);
}

static struct kunit_case kunit_cases[] = {
	KUNIT_CASE(comparisons),
	KUNIT_CASE(strings),
	KUNIT_CASE(operands_are_evaluated_once),
	KUNIT_CASE(expect_goes_on),
	KUNIT_CASE(assert_leaves),
	KUNIT_CASE(skip_leaves),
	KUNIT_CASE(other_flows_only_mark),
	KUNIT_CASE(failed_init_stops),
	KUNIT_CASE(knows_its_case),
	KUNIT_CASE_PARAM(with_parameters, squares_gen_params),
	KUNIT_CASE_PARAM(filter, match_gen_params),
	KUNIT_CASE_DIES(panics, "panic: the case kunit.panics says 42"),
	{},
};

static struct kunit_suite kunit_suite = { .name = "kunit", .test_cases = kunit_cases };

kunit_test_suite(kunit_suite);
