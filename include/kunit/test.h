/* SPDX-License-Identifier: MIT */
/*
 * Unit tests with the names and the meaning of Linux's KUnit, in the kernel and
 * on the host.
 *
 *	static void adds(struct kunit *test)
 *	{
 *		KUNIT_EXPECT_EQ(test, 1 + 1, 2);
 *	}
 *
 *	static struct kunit_case sum_cases[] = { KUNIT_CASE(adds), {} };
 *	static struct kunit_suite sum_suite = { .name = "sum", .test_cases = sum_cases };
 *	kunit_test_suite(sum_suite);
 *
 * A failed EXPECT is reported and the case goes on; a failed ASSERT leaves the
 * case. Both may stand in code that other tasks, interrupts, NMIs or CPUs run
 * for the case, as long as the case waits for them; there an ASSERT cannot leave
 * the case and goes on like an EXPECT.
 *
 * Suites find their way into the image by the linker section kunit_suites; who
 * runs them is in <kunit/run.h>.
 */
#ifndef KUNIT_TEST_H
#define KUNIT_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lib/string.h"

#define KUNIT_PARAM_DESC_SIZE 128
#define KUNIT_STATUS_SIZE 96

struct kunit_suite;

/**
 * struct kunit - one run of one case.
 * @priv: the suite's, for instance set by its init
 * @name: the case's
 * @param_value: what the generator of a KUNIT_CASE_PARAM gave for this run
 * @param_index: and its number, from 0
 *
 * The rest belongs to the runner.
 */
struct kunit {
	void *priv;
	const char *name;
	const void *param_value;
	int param_index;

	const struct kunit_suite *suite;
	uint32_t failures, skipped;
	bool quiet;			/* failures are counted, not printed */
	char status[KUNIT_STATUS_SIZE];	/* why it was skipped */
	const void *owner;		/* who may leave by @resume */
	void *resume[5];		/* as __builtin_setjmp() wants it */
};

/**
 * struct kunit_case - made by the KUNIT_CASE macros; an array of them ends with {}.
 * @generate_params: gives the parameter after @prev, first for NULL, and NULL at
 *	the end; may write a description
 * @dies: text that the report of the panic must contain, for a case that must
 *	end in one
 * @slow: may be left out of a quick run
 */
struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
	const void *(*generate_params)(const void *prev, char *desc);
	const char *dies;
	bool slow;
};

/**
 * struct kunit_suite - cases with a common preparation.
 * @suite_init: once before the cases; not 0 fails the suite
 * @suite_exit: once after them, also after a failed suite_init
 * @init: before each case; not 0 or a failed check fails the case, which is not run
 * @exit: after each case, whatever became of it
 */
struct kunit_suite {
	const char *name;
	int (*suite_init)(struct kunit_suite *suite);
	void (*suite_exit)(struct kunit_suite *suite);
	int (*init)(struct kunit *test);
	void (*exit)(struct kunit *test);
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(fn) { .run_case = (fn), .name = #fn }
#define KUNIT_CASE_SLOW(fn) { .run_case = (fn), .name = #fn, .slow = true }
#define KUNIT_CASE_PARAM(fn, gen) { .run_case = (fn), .name = #fn, .generate_params = (gen) }

/*
 * A case that must end in a panic whose report contains @text. An ordinary run
 * skips it; the runner boots a machine (or forks a process) for it alone.
 */
#define KUNIT_CASE_DIES(fn, text) { .run_case = (fn), .name = #fn, .dies = (text) }

/* KUNIT_ARRAY_PARAM() - a generator name_gen_params() that walks an array. */
#define KUNIT_ARRAY_PARAM(name, array, get_desc)                                                   \
	static const void *name##_gen_params(const void *prev, char *desc)                         \
	{                                                                                          \
		__typeof__(&(array)[0]) next = prev;                                               \
		void (*describe)(__typeof__(next), char *) = get_desc;                             \
                                                                                                   \
		next = next ? next + 1 : (array);                                                  \
		if (next >= (array) + sizeof(array) / sizeof((array)[0]))                          \
			return NULL;                                                               \
		if (describe)                                                                      \
			describe(next, desc);                                                      \
		return next;                                                                       \
	}

#define KUNIT_GLUE2(a, b) a##b
#define KUNIT_GLUE(a, b) KUNIT_GLUE2(a, b)

/* kunit_test_suites(&one, &other) - put suites into the image. */
#define kunit_test_suites(...)                                                                     \
	static struct kunit_suite *KUNIT_GLUE(kunit_registered_, __LINE__)[]                       \
		__attribute__((used, section("kunit_suites"), aligned(8))) = { __VA_ARGS__ }
#define kunit_test_suite(suite) kunit_test_suites(&(suite))

/* ---- What the macros below come down to ---- */

/** struct kunit_check - a check as it stands in the source. */
struct kunit_check {
	const char *file;
	int line;
	bool assert;
	const char *left, *op, *right;
};

/*
 * Count and report a failed check. @fmt, if not NULL, is the caller's message.
 * The value functions get both operands widened to 64 bits, and whether each
 * had a signed type.
 */
__attribute__((format(printf, 3, 4))) void
kunit_failed(struct kunit *test, const struct kunit_check *check, const char *fmt, ...);
__attribute__((format(printf, 5, 6))) void
kunit_failed_truth(struct kunit *test, const struct kunit_check *check, bool wanted, bool is,
		   const char *fmt, ...);
__attribute__((format(printf, 7, 8))) void
kunit_failed_values(struct kunit *test, const struct kunit_check *check, uint64_t left,
		    bool left_signed, uint64_t right, bool right_signed, const char *fmt, ...);
__attribute__((format(printf, 5, 6))) void
kunit_failed_pointers(struct kunit *test, const struct kunit_check *check, const void *left,
		      const void *right, const char *fmt, ...);
__attribute__((format(printf, 5, 6))) void
kunit_failed_strings(struct kunit *test, const struct kunit_check *check, const char *left,
		     const char *right, const char *fmt, ...);
__attribute__((format(printf, 6, 7))) void
kunit_failed_memory(struct kunit *test, const struct kunit_check *check, const void *left,
		    const void *right, size_t size, const char *fmt, ...);

bool kunit_same_string(const char *left, const char *right);
bool kunit_same_memory(const void *left, const void *right, size_t size);

/** kunit_abort() - leave the case; returns if the caller is not the case's own task. */
void kunit_abort(struct kunit *test);

/** kunit_get_current_test() - the case that runs, or NULL. */
struct kunit *kunit_get_current_test(void);

#define KUNIT_CHECK(is_assert, l, o, r)                                                            \
	static const struct kunit_check kunit_check_ = { .file = __FILE__,                         \
							 .line = __LINE__,                         \
							 .assert = (is_assert),                    \
							 .left = (l),                              \
							 .op = (o),                                \
							 .right = (r) }

#define KUNIT_LEAVE(test, is_assert)                                                               \
	do {                                                                                       \
		if (is_assert)                                                                     \
			kunit_abort(test);                                                         \
	} while (0)

#define KUNIT_TRUTH(test, is_assert, text, cond, wanted, ...)                                      \
	do {                                                                                       \
		KUNIT_CHECK(is_assert, text, NULL, NULL);                                          \
		bool kunit_is_ = !!(cond);                                                         \
                                                                                                   \
		if (__builtin_expect(kunit_is_ == (wanted), 1))                                    \
			break;                                                                     \
		kunit_failed_truth(test, &kunit_check_, wanted, kunit_is_, __VA_ARGS__);           \
		KUNIT_LEAVE(test, is_assert);                                                      \
	} while (0)

#define KUNIT_IS_SIGNED(x)                                                                         \
	_Generic((x), char: true, signed char: true, short: true, int: true, long: true,           \
		 long long: true, default: false)

/* The operands are compared as C compares them; -Wextra would mind mixed signs. */
#define KUNIT_COMPARE(test, is_assert, ltext, l, op, rtext, r, ...)                                \
	do {                                                                                       \
		KUNIT_CHECK(is_assert, ltext, #op, rtext);                                         \
		const __typeof__(l) kunit_l_ = (l);                                                \
		const __typeof__(r) kunit_r_ = (r);                                                \
		_Pragma("GCC diagnostic push")                                                     \
		_Pragma("GCC diagnostic ignored \"-Wsign-compare\"")                               \
		_Pragma("GCC diagnostic ignored \"-Wtype-limits\"")                                \
		if (__builtin_expect(!!(kunit_l_ op kunit_r_), 1))                                 \
			break;                                                                     \
		_Pragma("GCC diagnostic pop")                                                      \
		kunit_failed_values(test, &kunit_check_, (uint64_t)kunit_l_,                       \
				    KUNIT_IS_SIGNED(kunit_l_), (uint64_t)kunit_r_,                 \
				    KUNIT_IS_SIGNED(kunit_r_), __VA_ARGS__);                       \
		KUNIT_LEAVE(test, is_assert);                                                      \
	} while (0)

#define KUNIT_COMPARE_PTR(test, is_assert, ltext, l, op, rtext, r, ...)                            \
	do {                                                                                       \
		KUNIT_CHECK(is_assert, ltext, #op, rtext);                                         \
		const void *kunit_l_ = (const void *)(l);                                          \
		const void *kunit_r_ = (const void *)(r);                                          \
                                                                                                   \
		if (__builtin_expect(kunit_l_ op kunit_r_, 1))                                     \
			break;                                                                     \
		kunit_failed_pointers(test, &kunit_check_, kunit_l_, kunit_r_, __VA_ARGS__);       \
		KUNIT_LEAVE(test, is_assert);                                                      \
	} while (0)

#define KUNIT_COMPARE_STR(test, is_assert, ltext, l, op, rtext, r, ...)                            \
	do {                                                                                       \
		KUNIT_CHECK(is_assert, ltext, #op, rtext);                                         \
		const char *kunit_l_ = (l);                                                        \
		const char *kunit_r_ = (r);                                                        \
                                                                                                   \
		if (__builtin_expect(kunit_same_string(kunit_l_, kunit_r_) op true, 1))            \
			break;                                                                     \
		kunit_failed_strings(test, &kunit_check_, kunit_l_, kunit_r_, __VA_ARGS__);        \
		KUNIT_LEAVE(test, is_assert);                                                      \
	} while (0)

#define KUNIT_COMPARE_MEM(test, is_assert, ltext, l, op, rtext, r, n, ...)                         \
	do {                                                                                       \
		KUNIT_CHECK(is_assert, ltext, #op, rtext);                                         \
		const void *kunit_l_ = (l);                                                        \
		const void *kunit_r_ = (r);                                                        \
		const size_t kunit_n_ = (n);                                                       \
                                                                                                   \
		if (__builtin_expect(kunit_same_memory(kunit_l_, kunit_r_, kunit_n_) op true, 1))  \
			break;                                                                     \
		kunit_failed_memory(test, &kunit_check_, kunit_l_, kunit_r_, kunit_n_,             \
				    __VA_ARGS__);                                                  \
		KUNIT_LEAVE(test, is_assert);                                                      \
	} while (0)

/* NULL and the error numbers that Linux hides in pointers. */
#define KUNIT_NOT_ERR_OR_NULL(test, is_assert, text, p, ...)                                       \
	do {                                                                                       \
		KUNIT_CHECK(is_assert, text, "!=", "an error or NULL");                            \
		const void *kunit_p_ = (const void *)(p);                                          \
                                                                                                   \
		if (__builtin_expect((uintptr_t)kunit_p_ - 1 < (uintptr_t)-4096, 1))               \
			break;                                                                     \
		kunit_failed_pointers(test, &kunit_check_, kunit_p_, NULL, __VA_ARGS__);           \
		KUNIT_LEAVE(test, is_assert);                                                      \
	} while (0)

/* ---- The checks ---- */

#define KUNIT_SUCCEED(test) ((void)(test))
#define KUNIT_FAIL(test, ...)                                                                      \
	do {                                                                                       \
		KUNIT_CHECK(false, NULL, NULL, NULL);                                              \
		kunit_failed(test, &kunit_check_, __VA_ARGS__);                                    \
	} while (0)
#define KUNIT_FAIL_AND_ABORT(test, ...)                                                            \
	do {                                                                                       \
		KUNIT_CHECK(true, NULL, NULL, NULL);                                               \
		kunit_failed(test, &kunit_check_, __VA_ARGS__);                                    \
		kunit_abort(test);                                                                 \
	} while (0)

#define KUNIT_EXPECT_TRUE(test, c) KUNIT_TRUTH(test, false, #c, c, true, NULL)
#define KUNIT_EXPECT_FALSE(test, c) KUNIT_TRUTH(test, false, #c, c, false, NULL)
#define KUNIT_EXPECT_EQ(test, l, r) KUNIT_COMPARE(test, false, #l, l, ==, #r, r, NULL)
#define KUNIT_EXPECT_NE(test, l, r) KUNIT_COMPARE(test, false, #l, l, !=, #r, r, NULL)
#define KUNIT_EXPECT_LT(test, l, r) KUNIT_COMPARE(test, false, #l, l, <, #r, r, NULL)
#define KUNIT_EXPECT_LE(test, l, r) KUNIT_COMPARE(test, false, #l, l, <=, #r, r, NULL)
#define KUNIT_EXPECT_GT(test, l, r) KUNIT_COMPARE(test, false, #l, l, >, #r, r, NULL)
#define KUNIT_EXPECT_GE(test, l, r) KUNIT_COMPARE(test, false, #l, l, >=, #r, r, NULL)
#define KUNIT_EXPECT_PTR_EQ(test, l, r) KUNIT_COMPARE_PTR(test, false, #l, l, ==, #r, r, NULL)
#define KUNIT_EXPECT_PTR_NE(test, l, r) KUNIT_COMPARE_PTR(test, false, #l, l, !=, #r, r, NULL)
#define KUNIT_EXPECT_NULL(test, p) KUNIT_COMPARE_PTR(test, false, #p, p, ==, "NULL", NULL, NULL)
#define KUNIT_EXPECT_NOT_NULL(test, p) KUNIT_COMPARE_PTR(test, false, #p, p, !=, "NULL", NULL, NULL)
#define KUNIT_EXPECT_NOT_ERR_OR_NULL(test, p) KUNIT_NOT_ERR_OR_NULL(test, false, #p, p, NULL)
#define KUNIT_EXPECT_STREQ(test, l, r) KUNIT_COMPARE_STR(test, false, #l, l, ==, #r, r, NULL)
#define KUNIT_EXPECT_STRNEQ(test, l, r) KUNIT_COMPARE_STR(test, false, #l, l, !=, #r, r, NULL)
#define KUNIT_EXPECT_MEMEQ(test, l, r, n) KUNIT_COMPARE_MEM(test, false, #l, l, ==, #r, r, n, NULL)
#define KUNIT_EXPECT_MEMNEQ(test, l, r, n) KUNIT_COMPARE_MEM(test, false, #l, l, !=, #r, r, n, NULL)

#define KUNIT_ASSERT_TRUE(test, c) KUNIT_TRUTH(test, true, #c, c, true, NULL)
#define KUNIT_ASSERT_FALSE(test, c) KUNIT_TRUTH(test, true, #c, c, false, NULL)
#define KUNIT_ASSERT_EQ(test, l, r) KUNIT_COMPARE(test, true, #l, l, ==, #r, r, NULL)
#define KUNIT_ASSERT_NE(test, l, r) KUNIT_COMPARE(test, true, #l, l, !=, #r, r, NULL)
#define KUNIT_ASSERT_LT(test, l, r) KUNIT_COMPARE(test, true, #l, l, <, #r, r, NULL)
#define KUNIT_ASSERT_LE(test, l, r) KUNIT_COMPARE(test, true, #l, l, <=, #r, r, NULL)
#define KUNIT_ASSERT_GT(test, l, r) KUNIT_COMPARE(test, true, #l, l, >, #r, r, NULL)
#define KUNIT_ASSERT_GE(test, l, r) KUNIT_COMPARE(test, true, #l, l, >=, #r, r, NULL)
#define KUNIT_ASSERT_PTR_EQ(test, l, r) KUNIT_COMPARE_PTR(test, true, #l, l, ==, #r, r, NULL)
#define KUNIT_ASSERT_PTR_NE(test, l, r) KUNIT_COMPARE_PTR(test, true, #l, l, !=, #r, r, NULL)
#define KUNIT_ASSERT_NULL(test, p) KUNIT_COMPARE_PTR(test, true, #p, p, ==, "NULL", NULL, NULL)
#define KUNIT_ASSERT_NOT_NULL(test, p) KUNIT_COMPARE_PTR(test, true, #p, p, !=, "NULL", NULL, NULL)
#define KUNIT_ASSERT_NOT_ERR_OR_NULL(test, p) KUNIT_NOT_ERR_OR_NULL(test, true, #p, p, NULL)
#define KUNIT_ASSERT_STREQ(test, l, r) KUNIT_COMPARE_STR(test, true, #l, l, ==, #r, r, NULL)
#define KUNIT_ASSERT_STRNEQ(test, l, r) KUNIT_COMPARE_STR(test, true, #l, l, !=, #r, r, NULL)
#define KUNIT_ASSERT_MEMEQ(test, l, r, n) KUNIT_COMPARE_MEM(test, true, #l, l, ==, #r, r, n, NULL)
#define KUNIT_ASSERT_MEMNEQ(test, l, r, n) KUNIT_COMPARE_MEM(test, true, #l, l, !=, #r, r, n, NULL)

/* The same with a message: a format and its arguments. */
#define KUNIT_EXPECT_TRUE_MSG(test, c, ...) KUNIT_TRUTH(test, false, #c, c, true, __VA_ARGS__)
#define KUNIT_EXPECT_FALSE_MSG(test, c, ...) KUNIT_TRUTH(test, false, #c, c, false, __VA_ARGS__)
#define KUNIT_EXPECT_EQ_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, false, #l, l, ==, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_NE_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, false, #l, l, !=, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_LT_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, false, #l, l, <, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_LE_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, false, #l, l, <=, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_GT_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, false, #l, l, >, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_GE_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, false, #l, l, >=, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_PTR_EQ_MSG(test, l, r, ...)                                                   \
	KUNIT_COMPARE_PTR(test, false, #l, l, ==, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_PTR_NE_MSG(test, l, r, ...)                                                   \
	KUNIT_COMPARE_PTR(test, false, #l, l, !=, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_NULL_MSG(test, p, ...)                                                        \
	KUNIT_COMPARE_PTR(test, false, #p, p, ==, "NULL", NULL, __VA_ARGS__)
#define KUNIT_EXPECT_NOT_NULL_MSG(test, p, ...)                                                    \
	KUNIT_COMPARE_PTR(test, false, #p, p, !=, "NULL", NULL, __VA_ARGS__)
#define KUNIT_EXPECT_NOT_ERR_OR_NULL_MSG(test, p, ...)                                             \
	KUNIT_NOT_ERR_OR_NULL(test, false, #p, p, __VA_ARGS__)
#define KUNIT_EXPECT_STREQ_MSG(test, l, r, ...)                                                    \
	KUNIT_COMPARE_STR(test, false, #l, l, ==, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_STRNEQ_MSG(test, l, r, ...)                                                   \
	KUNIT_COMPARE_STR(test, false, #l, l, !=, #r, r, __VA_ARGS__)
#define KUNIT_EXPECT_MEMEQ_MSG(test, l, r, n, ...)                                                 \
	KUNIT_COMPARE_MEM(test, false, #l, l, ==, #r, r, n, __VA_ARGS__)
#define KUNIT_EXPECT_MEMNEQ_MSG(test, l, r, n, ...)                                                \
	KUNIT_COMPARE_MEM(test, false, #l, l, !=, #r, r, n, __VA_ARGS__)

#define KUNIT_ASSERT_TRUE_MSG(test, c, ...) KUNIT_TRUTH(test, true, #c, c, true, __VA_ARGS__)
#define KUNIT_ASSERT_FALSE_MSG(test, c, ...) KUNIT_TRUTH(test, true, #c, c, false, __VA_ARGS__)
#define KUNIT_ASSERT_EQ_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, true, #l, l, ==, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_NE_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, true, #l, l, !=, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_LT_MSG(test, l, r, ...) KUNIT_COMPARE(test, true, #l, l, <, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_LE_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, true, #l, l, <=, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_GT_MSG(test, l, r, ...) KUNIT_COMPARE(test, true, #l, l, >, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_GE_MSG(test, l, r, ...)                                                       \
	KUNIT_COMPARE(test, true, #l, l, >=, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_PTR_EQ_MSG(test, l, r, ...)                                                   \
	KUNIT_COMPARE_PTR(test, true, #l, l, ==, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_PTR_NE_MSG(test, l, r, ...)                                                   \
	KUNIT_COMPARE_PTR(test, true, #l, l, !=, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_NULL_MSG(test, p, ...)                                                        \
	KUNIT_COMPARE_PTR(test, true, #p, p, ==, "NULL", NULL, __VA_ARGS__)
#define KUNIT_ASSERT_NOT_NULL_MSG(test, p, ...)                                                    \
	KUNIT_COMPARE_PTR(test, true, #p, p, !=, "NULL", NULL, __VA_ARGS__)
#define KUNIT_ASSERT_NOT_ERR_OR_NULL_MSG(test, p, ...)                                             \
	KUNIT_NOT_ERR_OR_NULL(test, true, #p, p, __VA_ARGS__)
#define KUNIT_ASSERT_STREQ_MSG(test, l, r, ...)                                                    \
	KUNIT_COMPARE_STR(test, true, #l, l, ==, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_STRNEQ_MSG(test, l, r, ...)                                                   \
	KUNIT_COMPARE_STR(test, true, #l, l, !=, #r, r, __VA_ARGS__)
#define KUNIT_ASSERT_MEMEQ_MSG(test, l, r, n, ...)                                                 \
	KUNIT_COMPARE_MEM(test, true, #l, l, ==, #r, r, n, __VA_ARGS__)
#define KUNIT_ASSERT_MEMNEQ_MSG(test, l, r, n, ...)                                                \
	KUNIT_COMPARE_MEM(test, true, #l, l, !=, #r, r, n, __VA_ARGS__)

/* ---- Messages and skipping ---- */

/** kunit_log() - a diagnostic line of the case. Any context. */
__attribute__((format(printf, 2, 3))) void kunit_log(struct kunit *test, const char *fmt, ...);

#define kunit_info(test, ...) kunit_log(test, __VA_ARGS__)
#define kunit_warn(test, ...) kunit_log(test, __VA_ARGS__)
#define kunit_err(test, ...) kunit_log(test, __VA_ARGS__)

/** kunit_mark_skipped() - the case counts as skipped, unless a check fails; it goes on. */
__attribute__((format(printf, 2, 3))) void kunit_mark_skipped(struct kunit *test, const char *fmt,
							      ...);

/* kunit_skip() - the same, and leave the case. */
#define kunit_skip(test, ...)                                                                      \
	do {                                                                                       \
		kunit_mark_skipped(test, __VA_ARGS__);                                             \
		kunit_abort(test);                                                                 \
	} while (0)

#endif
