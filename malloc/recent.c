// SPDX-License-Identifier: MIT
/* Recently freed objects; see recent.h for the picture. */
#include "malloc/recent.h"

static struct recent recent[PORT_MAX_CPUS][NR_SIZE_CLASSES];

void recent_init(void)
{
	malloc_set_recent(recent[malloc_self.cpu]);
	for (unsigned class = 1; class < NR_SIZE_CLASSES; class++)
		if (!kmalloc_classes[2 * class].stack_window)
			recent[malloc_self.cpu][class].size = kmalloc_classes[2 * class].size;
}

/* The first of a full span's objects that kfree() frees makes it listed. */
void recent_flush(void)
{
	for (unsigned class = 1; class < NR_SIZE_CLASSES; class++) {
		struct recent *own = &recent[malloc_self.cpu][class];

		while (own->n) {
			void *p = recent_take(own);

			if (p)
				kfree(p);
		}
	}
}
