// SPDX-License-Identifier: MIT
/* Accesses beside an object that is in use. */
#include <string.h>

#include <spanheap/slab.h>

#include "tests/misuse/misuse.h"

#define SIZE 64
#define LARGE (100UL << 10)

static void write_beside(size_t size, ptrdiff_t at, size_t n)
{
	char *p = take(size);

	memset(opaque(p + at), 0x66, n);
	kfree(p);
	heap_works();
}

static void one_byte(void)
{
	write_beside(SIZE, SIZE, 1);
}

static void eight_bytes(void)
{
	write_beside(SIZE, SIZE, 8);
}

static void underflow(void)
{
	write_beside(SIZE, -8, 8);
}

static void large(void)
{
	size_t room = ksize(take(LARGE));

	write_beside(LARGE, (ptrdiff_t)room, 8);
}

static void unterminated(void)
{
	char *p = take(SIZE), *behind = take(SIZE);

	require(strnlen(p, 2 * SIZE) >= SIZE);
	kfree(p);
	kfree(behind);
	heap_works();
}

static void copy_past_the_end(void)
{
	char *p = take(SIZE), *q = take(2 * SIZE);

	memcpy(opaque(p), q, 2 * SIZE);
	kfree(p);
	kfree(q);
	heap_works();
}

const struct misuse bounds_misuses[] = {
	{ 9, UNSEEN, "overflow by 1 byte, small object", one_byte },
	{ 10, UNSEEN, "overflow by 8 bytes, small object", eight_bytes },
	{ 11, UNSEEN, "underflow before the object", underflow },
	{ 12, UNSEEN, "string without terminator read past the end", unterminated },
	{ 13, UNSEEN, "overflow of a large object", large },
	{ 14, UNSEEN, "memcpy past the end of an object", copy_past_the_end },
	{ 0 },
};
