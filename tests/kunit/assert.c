// SPDX-License-Identifier: MIT
/*
 * Reports of failed checks, as diagnostics of KTAP:
 *
 *	# case: EXPECTATION FAILED at tests/suites/page_test.c:40
 *	#     Expected n == 3, but
 *	#         n == 4 (0x4)
 *	#     message of the caller, if any
 *
 * Any context and several CPUs at once: nothing here is kept or locked.
 */
#include <stdarg.h>

#include <kunit/run.h>
#include "lib/atomic.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "tests/kunit/kunit.h"

#define DUMP_BYTES 16

bool kunit_same_string(const char *left, const char *right)
{
	if (!left || !right)
		return left == right;
	return !strcmp(left, right);
}

bool kunit_same_memory(const void *left, const void *right, size_t size)
{
	if (!left || !right)
		return left == right;
	return !memcmp(left, right, size);
}

static void open_report(struct kunit *test, const struct kunit_check *check)
{
	atomic_fetch_add(&test->failures, 1);
	kunit_log(test, "%s FAILED at %s:%d", check->assert ? "ASSERTION" : "EXPECTATION",
		  check->file, check->line);
}

static void close_report(struct kunit *test, const char *fmt, va_list args)
{
	char text[KUNIT_LINE_SIZE / 2];

	if (!fmt)
		return;
	fmt_vprint(text, sizeof(text), fmt, args);
	kunit_diagnostic(test, "    %s", text);
}

void kunit_failed(struct kunit *test, const struct kunit_check *check, const char *fmt, ...)
{
	va_list args;

	open_report(test, check);
	va_start(args, fmt);
	close_report(test, fmt, args);
	va_end(args);
}

void kunit_failed_truth(struct kunit *test, const struct kunit_check *check, bool wanted, bool is,
			const char *fmt, ...)
{
	va_list args;

	open_report(test, check);
	kunit_diagnostic(test, "    Expected %s to be %s, but is %s", check->left,
			 wanted ? "true" : "false", is ? "true" : "false");
	va_start(args, fmt);
	close_report(test, fmt, args);
	va_end(args);
}

/* What is its own text, like 3 or 0x1000, need not be explained. */
static bool is_literal(const char *text)
{
	if (*text == '-')
		text++;
	for (; *text; text++)
		if (!(*text >= '0' && *text <= '9') && !(*text >= 'a' && *text <= 'f') &&
		    !(*text >= 'A' && *text <= 'F') && !strchr("xXuUlL", *text))
			return false;
	return true;
}

static void show_value(struct kunit *test, const char *text, uint64_t value, bool is_signed)
{
	if (*text >= '-' && *text <= '9' && is_literal(text))
		return;
	if (is_signed)
		kunit_diagnostic(test, "        %s == %lld (0x%llx)", text, (long long)value,
				 (unsigned long long)value);
	else
		kunit_diagnostic(test, "        %s == %llu (0x%llx)", text,
				 (unsigned long long)value, (unsigned long long)value);
}

static void show_expected(struct kunit *test, const struct kunit_check *check)
{
	kunit_diagnostic(test, "    Expected %s %s %s, but", check->left, check->op, check->right);
}

void kunit_failed_values(struct kunit *test, const struct kunit_check *check, uint64_t left,
			 bool left_signed, uint64_t right, bool right_signed, const char *fmt, ...)
{
	va_list args;

	open_report(test, check);
	show_expected(test, check);
	show_value(test, check->left, left, left_signed);
	show_value(test, check->right, right, right_signed);
	va_start(args, fmt);
	close_report(test, fmt, args);
	va_end(args);
}

void kunit_failed_pointers(struct kunit *test, const struct kunit_check *check, const void *left,
			   const void *right, const char *fmt, ...)
{
	va_list args;

	open_report(test, check);
	show_expected(test, check);
	kunit_diagnostic(test, "        %s == %p", check->left, left);
	if (right)
		kunit_diagnostic(test, "        %s == %p", check->right, right);
	va_start(args, fmt);
	close_report(test, fmt, args);
	va_end(args);
}

static void show_string(struct kunit *test, const char *text, const char *value)
{
	if (*text == '"')
		return;
	if (value)
		kunit_diagnostic(test, "        %s == \"%.*s\"", text, KUNIT_LINE_SIZE / 2, value);
	else
		kunit_diagnostic(test, "        %s == NULL", text);
}

void kunit_failed_strings(struct kunit *test, const struct kunit_check *check, const char *left,
			  const char *right, const char *fmt, ...)
{
	va_list args;

	open_report(test, check);
	show_expected(test, check);
	show_string(test, check->left, left);
	show_string(test, check->right, right);
	va_start(args, fmt);
	close_report(test, fmt, args);
	va_end(args);
}

/* The bytes from @at on, as many as fit in a line. */
static void show_bytes(struct kunit *test, const char *text, const void *memory, size_t at,
		       size_t size)
{
	const uint8_t *byte = memory;
	char hex[DUMP_BYTES * 3 + 1] = "";
	size_t n = size - at < DUMP_BYTES ? size - at : DUMP_BYTES;

	if (!memory) {
		kunit_diagnostic(test, "        %s == NULL", text);
		return;
	}
	for (size_t i = 0; i < n; i++)
		fmt_print(hex + 3 * i, 4, " %02x", byte[at + i]);
	kunit_diagnostic(test, "        %s, byte %zu of %zu:%s", text, at, size, hex);
}

void kunit_failed_memory(struct kunit *test, const struct kunit_check *check, const void *left,
			 const void *right, size_t size, const char *fmt, ...)
{
	const uint8_t *l = left, *r = right;
	size_t at = 0;
	va_list args;

	open_report(test, check);
	show_expected(test, check);
	if (l && r)
		while (at < size && l[at] == r[at])
			at++;
	if (at == size)
		at = 0;
	show_bytes(test, check->left, left, at, size);
	show_bytes(test, check->right, right, at, size);
	va_start(args, fmt);
	close_report(test, fmt, args);
	va_end(args);
}
