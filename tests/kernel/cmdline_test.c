// SPDX-License-Identifier: MIT
/* The kernel's command line: numbers, and the words this boot was given. */
#include <kernel/cmdline.h>
#include <kunit/test.h>

static const struct number_row {
	const char *text;
	uint64_t value;
	bool ok;
} number_rows[] = {
	{ "0", 0, true },
	{ "42", 42, true },
	{ "4K", 4096, true },
	{ "1m", 1 << 20, true },
	{ "3G", 3ULL << 30, true },
	{ "1T", 1ULL << 40, true },
	{ "0x10", 16, true },
	{ "0xffffffffffffffff", UINT64_MAX, true },
	{ "0x1K", 1024, true },
	{ "18446744073709551615", UINT64_MAX, true },
	{ "18446744073709551616", 0, false },
	{ "0xfffffffffffffffK", 0, false },
	{ "", 0, false },
	{ "0x", 0, false },
	{ "K", 0, false },
	{ "1Q", 0, false },
	{ "1KK", 0, false },
	{ "-1", 0, false },
	{ "12 ", 0, false },
};

static void numbers(struct kunit *test)
{
	for (size_t i = 0; i < sizeof(number_rows) / sizeof(number_rows[0]); i++) {
		const struct number_row *row = &number_rows[i];
		uint64_t value = 0;

		KUNIT_EXPECT_EQ_MSG(test, parse_number(row->text, &value), row->ok, "\"%s\"",
				    row->text);
		KUNIT_EXPECT_EQ_MSG(test, value, row->value, "\"%s\"", row->text);
	}
}

static void words(struct kunit *test)
{
	char mode[16] = "";
	char cut[4];

	KUNIT_EXPECT_TRUE(test, cmdline_get("mode", mode, sizeof(mode)));
	KUNIT_EXPECT_TRUE(test, cmdline_flag("mode"));
	KUNIT_EXPECT_TRUE(test, cmdline_get("mode", cut, sizeof(cut)));
	KUNIT_EXPECT_MEMEQ(test, cut, mode, sizeof(cut) - 1);
	KUNIT_EXPECT_FALSE(test, cmdline_get("mod", mode, sizeof(mode)));
	KUNIT_EXPECT_FALSE(test, cmdline_flag("no_such_key"));
	KUNIT_EXPECT_EQ(test, cmdline_number("no_such_key", 7), 7);
}

static void later_words_win(struct kunit *test)
{
	cmdline_add("cmdline_test=1 cmdline_test=0x20", 32);
	KUNIT_EXPECT_EQ(test, cmdline_number("cmdline_test", 7), 0x20);
	cmdline_add("cmdline_test=0 ignored", 14);
	KUNIT_EXPECT_EQ(test, cmdline_number("cmdline_test", 7), 0);
	KUNIT_EXPECT_FALSE(test, cmdline_flag("cmdline_test"));
	KUNIT_EXPECT_FALSE(test, cmdline_flag("ignored"));
}

static struct kunit_case cmdline_cases[] = {
	KUNIT_CASE(numbers),
	KUNIT_CASE(words),
	KUNIT_CASE(later_words_win),
	{},
};

static struct kunit_suite cmdline_suite = { .name = "cmdline", .test_cases = cmdline_cases };

kunit_test_suite(cmdline_suite);
