// SPDX-License-Identifier: MIT
/*
 * Sequences of malloc calls against a shadow model.
 *
 * The input is a program: each step is an operation, a place and a size class. A
 * place holds what the model knows of its object: size, pattern, alignment. Every
 * object is filled when it is made and looked at before it is changed or freed;
 * two that overlap would spoil each other's pattern. Now and then the caches are
 * emptied, and the whole heap is checked by mm_validate(). The heap lives on from
 * input to input, as in a process; the places are emptied.
 *
 * The library's sources are compiled in under other names: the sanitizer's own
 * malloc is not touched.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <spanheap/stats.h>

#include "malloc/heap.h"

#define PLACES 48

static struct place {
	unsigned char *p;
	size_t size;
	unsigned char byte;
} place[PLACES];

static const uint8_t *input, *input_end;
static unsigned made;

static unsigned next(void)
{
	return input < input_end ? *input++ : 0;
}

/* All scales: small sizes often, large ones seldom. */
static size_t next_size(void)
{
	unsigned scale = next(), low = next();

	switch (scale % 8) {
	case 0:
	case 1:
	case 2:
		return low;
	case 3:
	case 4:
		return low * 8 + scale / 8;
	case 5:
		return low * 128 + scale / 8;
	case 6:
		return low * 1024;
	default:
		return scale > 200 ? low * 16384 : 32768 + low - 128;
	}
}

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void look(const struct place *o)
{
	for (size_t i = 0; i < o->size; i++)
		require(o->p[i] == o->byte);
}

static void keep(struct place *o, void *p, size_t size, size_t align)
{
	require(p && (uintptr_t)p % align == 0);
	require(malloc_usable_size(p) >= size);
	*o = (struct place){ p, size, (unsigned char)(++made % 255 + 1) };
	memset(p, o->byte, size);
}

static void drop(struct place *o, unsigned how)
{
	look(o);
	if (how % 3 == 0)
		free_sized(o->p, o->size);
	else
		free(o->p);
	*o = (struct place){ 0 };
}

static void make(struct place *o, unsigned how)
{
	size_t size = next_size(), align = 8UL << next() % 14;

	if (o->p)
		drop(o, how);
	switch (how % 4) {
	case 0:
		o->p = calloc(1, size);
		o->size = size;
		o->byte = 0;
		require(o->p);
		look(o);
		keep(o, o->p, size, 8);
		break;
	case 1:
		keep(o, aligned_alloc(align, size), size, align);
		break;
	default:
		keep(o, malloc(size), size, size < 16 ? 8 : 16);
	}
}

static void resize(struct place *o)
{
	size_t size = next_size(), both = size < o->size ? size : o->size;
	unsigned char byte = o->byte;
	void *p = realloc(o->p, size);

	if (o->p && !size) {
		require(!p);
		*o = (struct place){ 0 };
		return;
	}
	*o = (struct place){ p, both, byte };
	look(o);
	keep(o, p, size, 8);
}

static void check_heap(void)
{
	heap_enter();
	require(!mm_validate());
	heap_leave();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	input = data;
	input_end = data + n;
	while (input < input_end) {
		unsigned what = next();
		struct place *o = &place[next() % PLACES];

		switch (what % 8) {
		case 0:
		case 1:
		case 2:
		case 3:
			make(o, what / 8);
			break;
		case 4:
			resize(o);
			break;
		case 5:
			if (what > 250)
				malloc_trim(0);
			/* fall through */
		default:
			if (o->p)
				drop(o, what / 8);
		}
	}
	for (unsigned i = 0; i < PLACES; i++)
		if (place[i].p)
			drop(&place[i], i);
	if (made % 64 == 0)
		check_heap();
	return 0;
}
