/* SPDX-License-Identifier: MIT */
/*
 * Size classes: which object size a request gets, and how a span of it divides.
 *
 *	request ──► class 1 .. 67 ──► span of whole 8 KiB pages
 *	                              ┌────┬────┬────┬─────┬────┬──────┐
 *	                              │ 0  │ 1  │ 2  │ ... │ n-1│ tail │
 *	                              └────┴────┴────┴─────┴────┴──────┘
 *
 * Class 0 stands for everything that no class holds: 0 bytes, and more than
 * KMALLOC_MAX_SMALL. The classes are the Go runtime's: tools/sizeclass.c has the
 * rules and generates the table. Object counts are what the span holds, because
 * no metadata lives in it.
 *
 * kmalloc() promises an alignment of 16 from 16 bytes up, which objects of 24
 * bytes cannot have: it uses every class but that one, and 17 .. 24 bytes get
 * 32. Its lookup is the only table; the lookup of all classes corrects it by one
 * comparison.
 *
 * A class whose size is a power of two is aligned naturally if its spans are
 * aligned to 1 << align_shift, which no span's size falls short of.
 */
#ifndef MM_SIZECLASS_H
#define MM_SIZECLASS_H

#include <stddef.h>
#include <stdint.h>
#include <spanheap/kmalloc_class.h>
#include "lib/bits.h"
#include "mm/sizeclass_table.h"

/**
 * struct size_class - one row.
 * @magic: 2^32 / size, rounded up; see object_starts()
 * @size: bytes of an object
 * @nobjs: objects in a span
 * @tail: bytes of a span behind the last object
 * @worst: what a span wastes at most, in hundredths of a percent: every object
 *	asked for with one byte more than the class below holds
 * @npages: 8 KiB pages in a span
 * @align_shift: log2 of the largest power of two that divides the size
 */
struct size_class {
	uint32_t magic;
	uint32_t size;
	uint16_t nobjs;
	uint16_t tail;
	uint16_t worst;
	uint8_t npages;
	uint8_t align_shift;
};

extern const struct size_class size_classes[NR_SIZE_CLASSES];
extern const uint8_t kmalloc_class_small[(KMALLOC_SMALL_MAX >> KMALLOC_SMALL_SHIFT) + 1];
extern const uint8_t kmalloc_class_large[(KMALLOC_MAX_SMALL >> KMALLOC_LARGE_SHIFT) + 1];

/**
 * kmalloc_class() - the class that kmalloc() takes for @size bytes.
 *
 * Five instructions up to 1 KiB, seven above, none if the compiler knows @size.
 * One table with 8-byte steps would save the two, and cost 4 KiB of first-level
 * cache where these two tables have 386 bytes.
 *
 * Return: a class, or 0 if none holds @size or @size is 0.
 */
static force_inline unsigned kmalloc_class(size_t size)
{
	if (__builtin_constant_p(size))
		return KMALLOC_CLASS_CONST(size);
	if (likely(size <= KMALLOC_SMALL_MAX))
		return kmalloc_class_small[(size + 7) >> KMALLOC_SMALL_SHIFT];
	if (likely(size <= KMALLOC_MAX_SMALL))
		return kmalloc_class_large[(size + 127) >> KMALLOC_LARGE_SHIFT];
	return 0;
}

/**
 * size_class_of() - the smallest class of all for @size bytes: for those who
 * need no more than the alignment that the class happens to have.
 *
 * Return: as kmalloc_class().
 */
static inline unsigned size_class_of(size_t size)
{
	if (size - KMALLOC_SKIPPED_MIN < KMALLOC_SKIPPED_MAX + 1 - KMALLOC_SKIPPED_MIN)
		return KMALLOC_SKIPPED_CLASS;
	return kmalloc_class(size);
}

/**
 * size_class_aligned() - the smallest class for @size bytes whose objects are
 * all aligned to @align, a power of two.
 *
 * Return: a class, or 0 if there is none or @size is 0. Not for the hot path.
 */
unsigned size_class_aligned(size_t size, size_t align);

/**
 * object_starts() - does an object of a span start at an offset, and which one?
 * @offset: bytes from the span's start; less than the span's size
 * @magic: of the span's class
 * @index: of the object; nobjs of the class at the tail
 *
 * A division by the object size, exact for every offset of every class: the
 * product's high half is the quotient, and its low half is below the magic for a
 * multiple of the size, and for nothing else. With a magic of 0 none starts anywhere.
 */
static inline bool object_starts(uint64_t offset, uint64_t magic, unsigned *index)
{
	uint64_t product = offset * magic;

	*index = (unsigned)(product >> 32);
	return (uint32_t)product < magic;
}

/** reciprocal_of() - 2^64 / @size, rounded up, of a size above 1. */
static inline uint64_t reciprocal_of(uint32_t size)
{
	return ~0ULL / size + 1;
}

/**
 * object_at() - the same by the 128 bits of a product: nothing need be shifted.
 * @reciprocal: reciprocal_of() the size, or 0
 *
 * Let it be (2^64 + e) / size, e < size. At i * size + r the product's lower half is
 * i * e + r * reciprocal: below the reciprocal if r is 0, as i * e is far below 2^49,
 * and no less otherwise. The upper half is i.
 */
static inline bool object_at(uint64_t offset, uint64_t reciprocal, uint64_t *index)
{
	return multiply_wide(offset, reciprocal, index) < reciprocal;
}

#endif
