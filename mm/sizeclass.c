// SPDX-License-Identifier: MIT
/*
 * The size-class tables, built from the generated header. All is read-only, so
 * there is nothing to lock and nothing to start.
 */
#include "mm/sizeclass.h"

#define ROW(sc, bytes, pages, objs, rest, worst_waste, align, reciprocal) \
	[sc] = {                                                          \
		.magic = reciprocal,                                      \
		.size = bytes,                                            \
		.nobjs = objs,                                            \
		.tail = rest,                                             \
		.worst = worst_waste,                                     \
		.npages = pages,                                          \
		.align_shift = __builtin_ctz(align),                      \
	},

const struct size_class size_classes[NR_SIZE_CLASSES] = { SIZE_CLASS_ROWS(ROW) };

const uint8_t kmalloc_class_small[] = { KMALLOC_SMALL_LOOKUP };
const uint8_t kmalloc_class_large[] = { KMALLOC_LARGE_LOOKUP };

/* The hot path finds a row by a shift. */
static_assert(sizeof(struct size_class) == 16, "a row is 16 bytes");

unsigned size_class_aligned(size_t size, size_t align)
{
	unsigned sc = size_class_of(size);

	if (!sc)
		return 0;
	while (sc < NR_SIZE_CLASSES && align > (size_t)1 << size_classes[sc].align_shift)
		sc++;
	return sc < NR_SIZE_CLASSES ? sc : 0;
}
