// SPDX-License-Identifier: MIT
/* kmalloc()'s span classes, and the table from a size to its window. */
#include <spanheap/slab.h>

#include "mm/mcache.h"

struct span_class kmalloc_classes[SPAN_CLASSES];
uint16_t mcache_offset[MCACHE_OFFSETS];

static void fill_offsets(void)
{
	size_t at = 1;

	for (unsigned class = 1; class < NR_SIZE_CLASSES; class ++) {
		/* kmalloc() passes over one class; what would be its falls to the next. */
		if (class == KMALLOC_SKIPPED_CLASS)
			continue;
		while (at * 8 <= size_classes[class].size)
			mcache_offset[at++] = (uint16_t)KMALLOC_WINDOW(class);
	}
}

void mcache_init(void)
{
	fill_offsets();
	for (unsigned i = 0; i < SPAN_CLASSES; i++) {
		const struct size_class *row = &size_classes[i / 2];

		if (!row->size)
			continue;
		span_class_init(&kmalloc_classes[i], row->size, row->npages,
				1U << row->align_shift);
		kmalloc_classes[i].index = (uint8_t)i;
		if (i >= STACK_FIRST)
			kmalloc_classes[i].stack_window = (uint16_t)(i * sizeof(struct window));
	}
}
