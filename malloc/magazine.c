// SPDX-License-Identifier: MIT
/* Magazines of small objects; see magazine.h for the picture. */
#include "malloc/magazine.h"

static struct magazine magazines[PORT_MAX_CPUS][MAGAZINES];

uint16_t magazine_offset[KMALLOC_WINDOW_MAX / 16 + 1];

void magazines_init(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(magazine_offset); i++) {
		unsigned class = kmalloc_class(MAX(i * 16, 16UL));

		magazine_offset[i] = (uint16_t)(class * sizeof(struct magazine));
	}
}

void magazines_init_cpu(void)
{
	malloc_set_magazines(magazines[malloc_self.cpu]);
}

/* Downwards, so that the magazine, which is empty, hands them out upwards. */
bool magazine_shut(struct magazine *magazine)
{
	struct window *window = magazine_window(magazine);
	uint64_t bits = ~window->taken;
	uint32_t n = 0;

	if (magazine->max)
		return false;
	atomic_store_relaxed(&window->taken, ~0ULL);
	while (bits) {
		unsigned i = 63 - (unsigned)__builtin_clzll(bits);
		void *p = (void *)(window->base + (uint64_t)i * window->size);

		bits ^= 1ULL << i;
		hold(p);
		magazine->object[n++] = p;
	}
	magazine->max = MAGAZINE_OBJECTS;
	compiler_barrier();
	atomic_store_relaxed(&magazine->n, n);
	return true;
}

void magazines_flush(void)
{
	struct magazine *own = malloc_self.magazines;

	for (unsigned class = 2; class < MAGAZINES; class ++)
		while (own[class].n)
			kfree(magazine_take(&own[class], own[class].n));
}

uint64_t magazines_bytes(void)
{
	uint64_t bytes = 0;

	for (unsigned cpu = 0; cpu < malloc_slots(); cpu++)
		for (unsigned class = 2; class < MAGAZINES; class ++)
			bytes += (uint64_t)atomic_load_relaxed(&magazines[cpu][class].n) *
				 kmalloc_classes[2 * class].size;
	return bytes;
}
