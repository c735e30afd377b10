// SPDX-License-Identifier: MIT
/*
 * lib/: text from numbers, bits, memory and strings, locks.
 *
 * On the host the memory and string functions are the C library's; the same
 * table then checks the table.
 */
#include <kernel/task.h>
#include <kunit/test.h>
#include "lib/bits.h"
#include "lib/fmt.h"
#include "lib/spinlock.h"
#include "lib/string.h"

/* ---- fmt ---- */

#define FMT_CASE(test, want, ...)                                      \
	do {                                                           \
		char buf[96];                                          \
		size_t len = fmt_print(buf, sizeof(buf), __VA_ARGS__); \
                                                                       \
		KUNIT_EXPECT_STREQ(test, buf, want);                   \
		KUNIT_EXPECT_EQ(test, len, sizeof(want) - 1);          \
	} while (0)

static void fmt_numbers(struct kunit *test)
{
	FMT_CASE(test, "", "%s", "");
	FMT_CASE(test, "plain 100%", "plain %d%%", 100);
	FMT_CASE(test, "0 -1 1", "%d %d %i", 0, -1, 1);
	FMT_CASE(test, "-2147483648", "%d", (int)0x80000000);
	FMT_CASE(test, "4294967295 ffffffff FFFFFFFF", "%u %x %X", ~0U, ~0U, ~0U);
	FMT_CASE(test, "-9223372036854775808", "%lld", (long long)(1ULL << 63));
	FMT_CASE(test, "-9223372036854775808", "%ld", (long)(1UL << 63));
	FMT_CASE(test, "18446744073709551615", "%llu", ~0ULL);
	FMT_CASE(test, "18446744073709551615", "%lu", ~0UL);
	FMT_CASE(test, "18446744073709551615", "%zu", (size_t)-1);
	FMT_CASE(test, "ffffffffffffffff", "%lx", ~0UL);
	FMT_CASE(test, "0xdeadbeef", "%p", (void *)0xdeadbeefUL);
	FMT_CASE(test, "7 65535", "%hhu %hu", (unsigned char)7, (unsigned short)65535);
}

static void fmt_width(struct kunit *test)
{
	FMT_CASE(test, "|   42|", "|%5d|", 42);
	FMT_CASE(test, "|42   |", "|%-5d|", 42);
	FMT_CASE(test, "|00042|", "|%05d|", 42);
	FMT_CASE(test, "|-0042|", "|%05d|", -42);
	FMT_CASE(test, "|  -42|", "|%5d|", -42);
	FMT_CASE(test, "|-42  |", "|%-5d|", -42);
	FMT_CASE(test, "|123456|", "|%3d|", 123456);
	FMT_CASE(test, "|00000000000000ff|", "|%016lx|", 255UL);
	FMT_CASE(test, "|    7|", "|%*d|", 5, 7);
	FMT_CASE(test, "|  x|x  |", "|%3c|%-3c|", 'x', 'x');
}

static void fmt_strings(struct kunit *test)
{
	const char unterminated[3] = { 'a', 'b', 'c' };
	const char *volatile nothing = NULL; /* gcc knows what its own printf does */

	FMT_CASE(test, "|abc  |  abc|", "|%-5s|%5s|", "abc", "abc");
	FMT_CASE(test, "|ab|", "|%.2s|", "abc");
	FMT_CASE(test, "|abc|", "|%.*s|", 3, unterminated);
	FMT_CASE(test, "||", "|%.0s|", "abc");
	FMT_CASE(test, "|   ab|", "|%5.2s|", "abc");
	FMT_CASE(test, "(null)", "%s", nothing);
}

static void fmt_truncates(struct kunit *test)
{
	char buf[8] = "zzzzzzz";

	KUNIT_EXPECT_EQ(test, fmt_print(buf, 4, "%d", 123456), 6);
	KUNIT_EXPECT_STREQ(test, buf, "123");
	KUNIT_EXPECT_EQ(test, buf[4], 'z');
	KUNIT_EXPECT_EQ(test, fmt_print(buf, 1, "abc"), 3);
	KUNIT_EXPECT_STREQ(test, buf, "");
	buf[0] = 'q';
	KUNIT_EXPECT_EQ(test, fmt_print(buf, 0, "abc"), 3);
	KUNIT_EXPECT_EQ(test, buf[0], 'q');
	KUNIT_EXPECT_EQ(test, fmt_print(buf, 4, "abc"), 3);
	KUNIT_EXPECT_STREQ(test, buf, "abc");
}

static size_t vprint_twice(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t first, second;

	va_start(args, fmt);
	first = fmt_vprint(buf, size, fmt, args);
	second = fmt_vprint(buf + first, size - first, fmt, args);
	va_end(args);
	return first + second;
}

/* The caller's va_list is as it was, so that a second try with a larger buffer works. */
static void fmt_keeps_arguments(struct kunit *test)
{
	char buf[32];

	KUNIT_EXPECT_EQ(test, vprint_twice(buf, sizeof(buf), "%s%d;", "n", 7), 6);
	KUNIT_EXPECT_STREQ(test, buf, "n7;n7;");
}

/* ---- bits ---- */

static unsigned slow_ctz(uint64_t x)
{
	unsigned n = 0;

	for (; n < 64 && !(x >> n & 1); n++)
		;
	return n;
}

static unsigned slow_clz(uint64_t x)
{
	unsigned n = 0;

	for (; n < 64 && !(x >> (63 - n) & 1); n++)
		;
	return n;
}

static unsigned slow_popcount(uint64_t x)
{
	unsigned n = 0;

	for (; x; x >>= 1)
		n += x & 1;
	return n;
}

static void bits_count(struct kunit *test)
{
	uint64_t x = 0x9e3779b97f4a7c15ULL;

	KUNIT_EXPECT_EQ(test, ctz64(0), 64);
	KUNIT_EXPECT_EQ(test, clz64(0), 64);
	KUNIT_EXPECT_EQ(test, popcount64(0), 0);
	KUNIT_EXPECT_EQ(test, popcount64(~0ULL), 64);
	for (unsigned i = 0; i < 64; i++) {
		KUNIT_EXPECT_EQ(test, ctz64(1ULL << i), i);
		KUNIT_EXPECT_EQ(test, clz64(1ULL << i), 63 - i);
		KUNIT_EXPECT_TRUE(test, is_pow2(1ULL << i));
	}
	for (unsigned i = 0; i < 4096; i++) {
		uint64_t part = i & 1 ? x & x >> 7 & x << 9 : x >> i % 64;

		KUNIT_EXPECT_EQ(test, ctz64(part), slow_ctz(part));
		KUNIT_EXPECT_EQ(test, clz64(part), slow_clz(part));
		KUNIT_EXPECT_EQ(test, popcount64(part), slow_popcount(part));
		KUNIT_EXPECT_EQ(test, is_pow2(part), slow_popcount(part) == 1);
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
}

static void bits_masks(struct kunit *test)
{
	for (unsigned n = 0; n <= 64; n++) {
		KUNIT_EXPECT_EQ(test, popcount64(mask_low(n)), n);
		KUNIT_EXPECT_EQ(test, ctz64(~mask_low(n)), n);
	}
	for (unsigned from = 0; from < 64; from++) {
		for (unsigned n = 0; from + n <= 64; n++) {
			uint64_t m = mask_range(from, n);

			KUNIT_EXPECT_EQ(test, popcount64(m), n);
			if (n) {
				KUNIT_EXPECT_EQ(test, ctz64(m), from);
				KUNIT_EXPECT_EQ(test, 63 - clz64(m), from + n - 1);
			}
		}
	}
}

static void bits_round(struct kunit *test)
{
	static const struct {
		uint64_t x, align, down, up;
	} row[] = {
		{ 0, 1, 0, 0 },
		{ 1, 1, 1, 1 },
		{ 0, 4096, 0, 0 },
		{ 1, 4096, 0, 4096 },
		{ 4095, 4096, 0, 4096 },
		{ 4096, 4096, 4096, 4096 },
		{ 4097, 8, 4096, 4104 },
		{ (1ULL << 63) - 1, 1ULL << 62, 1ULL << 62, 1ULL << 63 },
		{ ~0ULL - 7, 8, ~0ULL - 7, ~0ULL - 7 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		KUNIT_EXPECT_EQ(test, round_down(row[i].x, row[i].align), row[i].down);
		KUNIT_EXPECT_EQ(test, round_up(row[i].x, row[i].align), row[i].up);
	}
	KUNIT_EXPECT_FALSE(test, is_pow2(0));
	KUNIT_EXPECT_FALSE(test, is_pow2(~0ULL));
}

/* ---- string ---- */

#define AREA 96

/* Like memmove, byte by byte through a second buffer. */
static void slow_move(uint8_t *area, size_t to, size_t from, size_t n)
{
	uint8_t copy[AREA];

	for (size_t i = 0; i < n; i++)
		copy[i] = area[from + i];
	for (size_t i = 0; i < n; i++)
		area[to + i] = copy[i];
}

static void fill_both(uint8_t *a, uint8_t *b)
{
	for (size_t i = 0; i < AREA; i++)
		a[i] = b[i] = (uint8_t)(i * 7 + 1);
}

/* Every alignment, every overlap, lengths around the word size. */
static void string_move(struct kunit *test)
{
	static const size_t lengths[] = { 0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 40 };
	uint8_t area[AREA], want[AREA];

	for (size_t l = 0; l < ARRAY_SIZE(lengths); l++) {
		for (size_t from = 0; from < 48; from += 3) {
			for (size_t to = 0; to < 48; to++) {
				fill_both(area, want);
				slow_move(want, to, from, lengths[l]);
				KUNIT_EXPECT_PTR_EQ(test,
						    memmove(area + to, area + from, lengths[l]),
						    area + to);
				KUNIT_EXPECT_MEMEQ(test, area, want, AREA);
			}
		}
	}
}

static void string_copy_and_set(struct kunit *test)
{
	uint8_t area[AREA], want[AREA];

	for (size_t at = 0; at < 16; at++) {
		for (size_t n = 0; n <= 32; n++) {
			fill_both(area, want);
			slow_move(want, at, 48, n);
			KUNIT_EXPECT_PTR_EQ(test, memcpy(area + at, area + 48, n), area + at);
			for (size_t i = 0; i < n; i++)
				want[48 + i] = (uint8_t)n;
			KUNIT_EXPECT_PTR_EQ(test, memset(area + 48, (int)(n + 256), n), area + 48);
			KUNIT_EXPECT_MEMEQ(test, area, want, AREA);
		}
	}
}

static void string_compare(struct kunit *test)
{
	/* Bytes above 127 come last: they are compared as unsigned. */
	KUNIT_EXPECT_EQ(test, memcmp("abc", "abd", 2), 0);
	KUNIT_EXPECT_LT(test, memcmp("abc", "abd", 3), 0);
	KUNIT_EXPECT_GT(test, memcmp("\xff", "\x01", 1), 0);
	KUNIT_EXPECT_EQ(test, memcmp("a", "b", 0), 0);
	KUNIT_EXPECT_EQ(test, strcmp("", ""), 0);
	KUNIT_EXPECT_LT(test, strcmp("", "a"), 0);
	KUNIT_EXPECT_GT(test, strcmp("ab", "a"), 0);
	KUNIT_EXPECT_GT(test, strcmp("\xff", "a"), 0);
	KUNIT_EXPECT_EQ(test, strncmp("abX", "abY", 2), 0);
	KUNIT_EXPECT_LT(test, strncmp("abX", "abY", 3), 0);
	KUNIT_EXPECT_EQ(test, strncmp("a", "a", 100), 0);
	KUNIT_EXPECT_EQ(test, strncmp("a", "b", 0), 0);
}

static void string_search(struct kunit *test)
{
	const char *s = "one,two,,three";

	KUNIT_EXPECT_EQ(test, strlen(""), 0);
	KUNIT_EXPECT_EQ(test, strlen(s), 14);
	KUNIT_EXPECT_PTR_EQ(test, strchr(s, 'o'), s);
	KUNIT_EXPECT_PTR_EQ(test, strchr(s, ','), s + 3);
	KUNIT_EXPECT_PTR_EQ(test, strchr(s, 0), s + 14);
	KUNIT_EXPECT_NULL(test, strchr(s, 'x'));
	KUNIT_EXPECT_PTR_EQ(test, strstr(s, ""), s);
	KUNIT_EXPECT_PTR_EQ(test, strstr(s, "two"), s + 4);
	KUNIT_EXPECT_PTR_EQ(test, strstr(s, ",,t"), s + 7);
	KUNIT_EXPECT_NULL(test, strstr(s, "threes"));
	KUNIT_EXPECT_STREQ(test, strstr("aab", "ab"), "ab");
}

/* ---- locks ---- */

#define LOCK_ROUNDS 20000
#define LOCK_TASKS 8

static struct spinlock counter_lock;
static uint64_t counter;

static void count_up(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < LOCK_ROUNDS; i++) {
		unsigned long flags = spin_lock_irqsave(&counter_lock);

		counter++;
		spin_unlock_irqrestore(&counter_lock, flags);
		if (i % 1024 == 0)
			task_yield();
	}
}

static void spinlock_excludes(struct kunit *test)
{
	struct task *task[LOCK_TASKS];

	counter = 0;
	for (unsigned i = 0; i < LOCK_TASKS; i++) {
		task[i] = task_start(i % cpu_count(), count_up, NULL, "count_up");
		KUNIT_EXPECT_NOT_NULL(test, task[i]);
	}
	for (unsigned i = 0; i < LOCK_TASKS; i++)
		if (task[i])
			task_join(task[i]);
	KUNIT_EXPECT_EQ(test, counter, (uint64_t)LOCK_ROUNDS * LOCK_TASKS);
	KUNIT_EXPECT_TRUE(test, spin_trylock(&counter_lock));
	KUNIT_EXPECT_FALSE(test, spin_trylock(&counter_lock));
	spin_unlock(&counter_lock);
}

struct nmi_try {
	bool got;
	enum mm_context context;
};

static void try_in_nmi(void *arg)
{
	struct nmi_try *try = arg;
	unsigned long flags;

	try->context = port_context();
	try->got = spin_lock_context(&counter_lock, &flags);
	if (try->got)
		spin_unlock_irqrestore(&counter_lock, flags);
}

/* An NMI gets a free lock, and does not wait for one that the CPU under it holds. */
static void spinlock_nmi_only_tries(struct kunit *test)
{
	struct nmi_try try = { 0 };
	unsigned long flags;

	run_in_nmi(0, try_in_nmi, &try);
	KUNIT_EXPECT_EQ(test, try.context, MM_NMI);
	KUNIT_EXPECT_TRUE(test, try.got);
	spin_lock(&counter_lock);
	run_in_nmi(0, try_in_nmi, &try);
	spin_unlock(&counter_lock);
	KUNIT_EXPECT_FALSE(test, try.got);
	KUNIT_EXPECT_TRUE(test, spin_lock_context(&counter_lock, &flags));
	spin_unlock_irqrestore(&counter_lock, flags);
}

static struct kunit_case lib_cases[] = {
	KUNIT_CASE(fmt_numbers),
	KUNIT_CASE(fmt_width),
	KUNIT_CASE(fmt_strings),
	KUNIT_CASE(fmt_truncates),
	KUNIT_CASE(fmt_keeps_arguments),
	KUNIT_CASE(bits_count),
	KUNIT_CASE(bits_masks),
	KUNIT_CASE(bits_round),
	KUNIT_CASE(string_move),
	KUNIT_CASE(string_copy_and_set),
	KUNIT_CASE(string_compare),
	KUNIT_CASE(string_search),
	KUNIT_CASE(spinlock_excludes),
	KUNIT_CASE(spinlock_nmi_only_tries),
	{},
};

static struct kunit_suite lib_suite = { .name = "lib", .test_cases = lib_cases };
kunit_test_suite(lib_suite);
