// SPDX-License-Identifier: MIT
/*
 * The suite runner: walks the suites of the image and prints KTAP.
 *
 *	KTAP version 1
 *	# dies: suite.case<tab>text		for each case left to a boot of its own
 *	1..1
 *	  KTAP version 1
 *	  # Subtest: suite
 *	  1..2
 *	  ok 1 case
 *	  not ok 2 other_case
 *	# suite: pass:1 fail:1 skip:0 total:2
 *	not ok 1 suite
 *	# Totals: pass:1 fail:1 skip:0 total:2
 *
 * Cases run one after the other in the caller's task. A failed ASSERT comes back
 * to guarded() by the compiler's own setjmp, which needs no library and works
 * in code that is compiled without floating point.
 */
#include <stdarg.h>

#include <kunit/run.h>
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "tests/kunit/kunit.h"

extern struct kunit_suite *__start_kunit_suites[], *__stop_kunit_suites[];

/* The case that runs, and how deep its lines are indented; one case at a time. */
static struct kunit *running;
static unsigned depth;

static const struct kunit_options run_all;

#define for_each_suite(s)                                                                          \
	for (struct kunit_suite **s = __start_kunit_suites; s < __stop_kunit_suites; s++)
#define for_each_case(c, suite) for (struct kunit_case *c = (suite)->test_cases; c->run_case; c++)

__attribute__((format(printf, 2, 0))) static void vsay(const char *prefix, const char *fmt,
						       va_list args)
{
	char line[KUNIT_LINE_SIZE];
	size_t n = fmt_print(line, sizeof(line), "%*s%s", (int)(2 * depth), "", prefix);

	fmt_vprint(line + n, sizeof(line) - n, fmt, args);
	kunit_out(line);
}

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsay("", fmt, args);
	va_end(args);
}

void kunit_diagnostic(const struct kunit *test, const char *fmt, ...)
{
	va_list args;

	if (test->quiet)
		return;
	va_start(args, fmt);
	vsay("# ", fmt, args);
	va_end(args);
}

void kunit_log(struct kunit *test, const char *fmt, ...)
{
	char text[KUNIT_LINE_SIZE];
	va_list args;

	va_start(args, fmt);
	fmt_vprint(text, sizeof(text), fmt, args);
	va_end(args);
	kunit_diagnostic(test, "%s: %s", test->name, text);
}

void kunit_mark_skipped(struct kunit *test, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fmt_vprint(test->status, sizeof(test->status), fmt, args);
	va_end(args);
	atomic_store(&test->skipped, 1);
}

struct kunit *kunit_get_current_test(void)
{
	return atomic_load(&running);
}

/* ---- Choosing ---- */

/* @end is where the pattern stops. */
static bool glob(const char *pattern, const char *end, const char *text)
{
	const char *star = NULL, *retry = NULL;

	while (*text) {
		if (pattern < end && *pattern == '*') {
			star = pattern++;
			retry = text;
		} else if (pattern < end && (*pattern == '?' || *pattern == *text)) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++retry;
		} else {
			return false;
		}
	}
	while (pattern < end && *pattern == '*')
		pattern++;
	return pattern == end;
}

static const char *find(const char *from, const char *end, char c)
{
	while (from < end && *from != c)
		from++;
	return from;
}

bool kunit_match(const char *filter, const char *suite, const char *name)
{
	if (!filter || !*filter)
		return true;
	for (const char *end, *stop = filter + strlen(filter);; filter = end + 1) {
		const char *dot;

		end = find(filter, stop, ',');
		dot = find(filter, end, '.');
		if (glob(filter, dot, suite) && (!name || dot == end || glob(dot + 1, end, name)))
			return true;
		if (end == stop)
			return false;
	}
}

static bool chosen(const struct kunit_options *o, const struct kunit_suite *suite,
		   const struct kunit_case *c)
{
	return kunit_match(o->filter, suite->name, c->name) && (!o->dies || c->dies);
}

static unsigned count_chosen(const struct kunit_options *o, const struct kunit_suite *suite)
{
	unsigned n = 0;

	for_each_case(c, suite)
		n += chosen(o, suite, c);
	return n;
}

/* ---- Running one case ---- */

void kunit_abort(struct kunit *test)
{
	const void *me = kunit_current();

	if (me && me == atomic_load(&test->owner))
		__builtin_longjmp(test->resume, 1);
}

/*
 * Run fn(test), and come back here when it ends or aborts. On its own, so that
 * no variable of a caller is in a register when the longjmp lands.
 */
__attribute__((noinline)) static void guarded(struct kunit *test, void (*fn)(struct kunit *))
{
	if (!__builtin_setjmp(test->resume)) {
		atomic_store(&test->owner, kunit_current());
		fn(test);
	}
	atomic_store(&test->owner, NULL);
}

static void call_init(struct kunit *test)
{
	int err = test->suite->init(test);

	if (err)
		KUNIT_FAIL(test, "init of suite %s gave %d", test->suite->name, err);
}

void kunit_run_once(struct kunit *test, const struct kunit_case *c)
{
	struct kunit *outer = atomic_xchg(&running, test);

	if (test->suite->init)
		guarded(test, call_init);
	if (!atomic_load(&test->failures) && !atomic_load(&test->skipped))
		guarded(test, c->run_case);
	if (test->suite->exit)
		guarded(test, test->suite->exit);
	atomic_store(&running, outer);
}

static void add_results(struct kunit_results *to, const struct kunit_results *r)
{
	to->passed += r->passed;
	to->failed += r->failed;
	to->skipped += r->skipped;
}

static void report(const struct kunit *test, unsigned number, const char *name,
		   struct kunit_results *results)
{
	if (test->failures) {
		results->failed++;
		say("not ok %u %s", number, name);
	} else if (test->skipped) {
		results->skipped++;
		say("ok %u %s # SKIP %s", number, name, test->status);
	} else {
		results->passed++;
		say("ok %u %s", number, name);
	}
}

/* One subtest for each parameter; the case fails if one does. */
static void run_params(struct kunit *test, const struct kunit_case *c)
{
	struct kunit_results results = { 0 };
	char desc[KUNIT_PARAM_DESC_SIZE];
	const void *param = NULL;
	unsigned n = 0;

	while ((param = c->generate_params(param, desc)))
		n++;
	depth++;
	say("KTAP version 1");
	say("# Subtest: %s", c->name);
	say("1..%u", n);
	for (unsigned i = 0; i < n; i++) {
		struct kunit one = { .name = c->name, .suite = test->suite, .param_index = (int)i };

		fmt_print(desc, sizeof(desc), "param-%u", i);
		param = c->generate_params(param, desc);
		one.param_value = param;
		kunit_run_once(&one, c);
		report(&one, i + 1, desc, &results);
	}
	depth--;
	test->failures = results.failed;
	if (!results.passed && !results.failed)
		kunit_mark_skipped(test, "no parameter ran");
}

static void run_case(const struct kunit_options *o, const struct kunit_suite *suite,
		     const struct kunit_case *c, unsigned number, struct kunit_results *results)
{
	struct kunit test = { .name = c->name, .suite = suite };

	if (c->dies && !o->dies) {
		kunit_mark_skipped(&test, "dies: %s", c->dies);
	} else if (c->slow && o->quick) {
		kunit_mark_skipped(&test, "slow");
	} else if (c->generate_params) {
		run_params(&test, c);
	} else {
		kunit_run_once(&test, c);
		if (c->dies)
			KUNIT_FAIL(&test, "still alive; a panic with \"%s\" was due", c->dies);
	}
	report(&test, number, c->name, results);
}

/* ---- Running all ---- */

static int start_suite(struct kunit_suite *suite)
{
	int err = suite->suite_init ? suite->suite_init(suite) : 0;

	if (err)
		say("# %s: suite_init gave %d", suite->name, err);
	return err;
}

/* Return: true if all is well. */
static bool run_suite(const struct kunit_options *o, struct kunit_suite *suite,
		      struct kunit_results *total)
{
	struct kunit_results results = { 0 };
	unsigned number = 0;
	int err;

	depth++;
	say("KTAP version 1");
	say("# Subtest: %s", suite->name);
	err = start_suite(suite);
	say("1..%u", err ? 0 : count_chosen(o, suite));
	for_each_case(c, suite)
		if (!err && chosen(o, suite, c))
			run_case(o, suite, c, ++number, &results);
	if (suite->suite_exit)
		suite->suite_exit(suite);
	depth--;
	say("# %s: pass:%u fail:%u skip:%u total:%u", suite->name, results.passed, results.failed,
	    results.skipped, number);
	add_results(total, &results);
	total->failed += err != 0;
	return !err && !results.failed;
}

/* The boots that are still to come, for the runner to see before the plan. */
static void announce_deaths(const struct kunit_options *o)
{
	for_each_suite(s)
		for_each_case(c, *s)
			if (c->dies && !o->dies && !o->quick && chosen(o, *s, c))
				say("# dies: %s.%s\t%s", (*s)->name, c->name, c->dies);
}

unsigned kunit_run(const struct kunit_options *options, struct kunit_results *results)
{
	const struct kunit_options *o = options ? options : &run_all;
	unsigned nsuites = 0, number = 0;

	*results = (struct kunit_results){ 0 };
	for_each_suite(s)
		nsuites += count_chosen(o, *s) > 0;
	say("KTAP version 1");
	announce_deaths(o);
	say("1..%u", nsuites);
	for_each_suite(s) {
		if (!count_chosen(o, *s))
			continue;
		number++;
		if (run_suite(o, *s, results))
			say("ok %u %s", number, (*s)->name);
		else
			say("not ok %u %s", number, (*s)->name);
	}
	say("# Totals: pass:%u fail:%u skip:%u total:%u", results->passed, results->failed,
	    results->skipped, results->passed + results->failed + results->skipped);
	return results->failed;
}

void kunit_list(const char *filter)
{
	for_each_suite(s)
		for_each_case(c, *s)
			if (kunit_match(filter, (*s)->name, c->name))
				say("%s.%s%s%s", (*s)->name, c->name, c->dies ? "\t" : "",
				    c->dies ? c->dies : "");
}
