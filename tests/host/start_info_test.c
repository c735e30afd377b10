// SPDX-License-Identifier: MIT
/*
 * The page to start CPUs from that boot/pvh chooses, out of maps that no emulator
 * makes: entries that overlap, wrap, or lie at the borders.
 */
#include <kunit/test.h>

#include "boot/pvh/start_info.c"

char __image_start[1], __image_end[1];

void kernel_main(const struct boot_info *bi)
{
	(void)bi;
	__builtin_trap();
}

#define KIB(n) ((n) * 1024UL)
#define USABLE(from, to) { .base = (from), .size = (to) - (from), .type = BOOT_MEM_USABLE }
#define KEPT(from, to) { .base = (from), .size = (to) - (from), .type = BOOT_MEM_RESERVED }

static const struct {
	const char *what;
	struct boot_range range[4];
	uint64_t page;
} maps[] = {
	{ "nothing", { { 0 } }, 0 },
	{ "as firmware has it", { USABLE(0, KIB(639)), KEPT(KIB(639), KIB(640)) }, KIB(632) },
	{ "frame 0 alone", { USABLE(0, KIB(4)) }, 0 },
	{ "less than a frame", { USABLE(KIB(4), KIB(7)) }, 0 },
	{ "partial frames at both ends", { USABLE(KIB(5), KIB(15)) }, KIB(8) },
	{ "up to video memory only", { USABLE(0, KIB(4096)) }, KIB(636) },
	{ "wraps", { { .base = KIB(64), .size = UINT64_MAX, .type = BOOT_MEM_USABLE } }, KIB(636) },
	{ "two", { USABLE(KIB(64), KIB(128)), USABLE(KIB(8), KIB(32)) }, KIB(124) },
	{ "the top is reserved as well",
	  { USABLE(0, KIB(640)), KEPT(KIB(600), KIB(640)) }, KIB(596) },
	{ "reserved first, and in part of a frame",
	  { KEPT(KIB(634), KIB(638)), USABLE(0, KIB(640)), KEPT(KIB(639), KIB(700)) }, KIB(628) },
	{ "all of it is reserved", { USABLE(KIB(4), KIB(64)), KEPT(0, KIB(640)) }, 0 },
	{ "a hole between two that are reserved",
	  { USABLE(0, KIB(640)), KEPT(0, KIB(100)), KEPT(KIB(104), KIB(640)) }, KIB(100) },
	{ "reserved up to the end of all addresses",
	  { USABLE(0, KIB(640)), { KIB(320), UINT64_MAX, BOOT_MEM_RESERVED } },
	  KIB(316) },
};

static void the_page_is_nobody_elses(struct kunit *test)
{
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		static struct boot_info bi;

		bi.nranges = ARRAY_SIZE(maps[i].range);
		for (size_t r = 0; r < ARRAY_SIZE(maps[i].range); r++)
			bi.range[r] = maps[i].range[r];
		KUNIT_EXPECT_EQ_MSG(test, find_trampoline(&bi), maps[i].page, "%s", maps[i].what);
	}
}

static struct kunit_case start_info_cases[] = { KUNIT_CASE(the_page_is_nobody_elses), {} };
static struct kunit_suite start_info_suite = {
	.name = "start_info",
	.test_cases = start_info_cases,
};
kunit_test_suite(start_info_suite);
