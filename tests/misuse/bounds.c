// SPDX-License-Identifier: MIT
/* Accesses beside an object that is in use. */
#include <spanheap/slab.h>

#include "tests/misuse/misuse.h"

#define SIZE 64
#define ODD_SIZE 61
#define LARGE (100UL << 10)

/* A guarded object ends where a page does that nobody may touch, if its alignment lets it. */
static void expect_fault(const char *at, const char *how)
{
	if (is_guarded())
		expect("panic: page fault at 0x%lx (%s, not present)", (unsigned long)at, how);
}

static void expect_damage(const char *at, size_t size)
{
	if (is_guarded())
		expect("panic: write beside an object: address %p size %zu ", (void *)at, size);
}

/* Upwards, byte by byte. */
static void overwrite(char *p, size_t n)
{
	volatile char *at = opaque(p);

	for (size_t i = 0; i < n; i++)
		at[i] = 0x66;
}

static void one_byte(void)
{
	char *p = take(ODD_SIZE);

	expect_damage(p + ODD_SIZE, ODD_SIZE);
	overwrite(p + ODD_SIZE, 1);
	kfree(p);
	heap_works();
}

static void eight_bytes(void)
{
	char *p = take(SIZE);

	expect_fault(p + SIZE, "write");
	overwrite(p + SIZE, 8);
	kfree(p);
	heap_works();
}

static void underflow(void)
{
	char *p = take(SIZE);

	expect_damage(p - 8, SIZE);
	overwrite(p - 8, 8);
	kfree(p);
	heap_works();
}

static void large(void)
{
	char *p = take(LARGE);

	expect_fault(p + ksize(p), "write");
	overwrite(p + ksize(p), 8);
	kfree(p);
	heap_works();
}

static void unterminated(void)
{
	char *p = take(SIZE);
	volatile char *at = p;

	expect_fault(p + SIZE, "read");
	while (*at && at < p + 2 * SIZE)
		at++;
	require(at >= p + SIZE);
	kfree(p);
	heap_works();
}

static void copy_past_the_end(void)
{
	char *p = take(SIZE), *q = take(2 * SIZE);

	expect_fault(p + SIZE, "write");
	for (size_t i = 0; i < 2 * SIZE; i++)
		((volatile char *)p)[i] = q[i];
	kfree(p);
	kfree(q);
	heap_works();
}

const struct misuse bounds_misuses[] = {
	{ 9, UNSEEN, FOUND, "overflow by 1 byte, small object", one_byte },
	{ 10, UNSEEN, FOUND, "overflow by 8 bytes, small object", eight_bytes },
	{ 11, UNSEEN, FOUND, "underflow before the object", underflow },
	{ 12, UNSEEN, FOUND, "string without terminator read past the end", unterminated },
	{ 13, UNSEEN, FOUND, "overflow of a large object", large },
	{ 14, UNSEEN, FOUND, "memcpy past the end of an object", copy_past_the_end },
	{ 0 },
};
