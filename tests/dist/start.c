// SPDX-License-Identifier: MIT
/*
 * What a port can get wrong around mm_init(), one case for each run:
 *
 *	early	allocates before mm_init()
 *	nocpu	allocates on a CPU that had no mm_init_cpu()
 *	joins	nothing wrong: RAM that begins with a chunk, which becomes Ready bit by
 *		bit, so that it is offered to a port_join() that is nobody's
 *
 * Compiled so that a variable without a value has a wild one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spanheap.h"

static unsigned char ram[16 << 20] __attribute__((aligned(CHUNK_SIZE)));
static void *frame[sizeof(ram) / FRAME_SIZE];

void port_panic(const char *why)
{
	puts(why);
	exit(1);
}

static void start(void)
{
	if (mm_init_cpu() != -EINVAL)
		port_panic("a CPU before mm_init()");
	if (memblock_add(virt_to_phys(ram), sizeof(ram), NUMA_NO_NODE) || mm_init())
		port_panic("no start");
}

static void joins(void)
{
	size_t n = 0;

	while ((frame[n] = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL)))
		n++;
	mm_drain();
	page_free_bulk(n, frame);
	mm_drain();
	if (mm_validate())
		port_panic("an invariant is broken");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "early"))
		start();
	if (strcmp(what, "joins"))
		kfree(kmalloc(100, GFP_KERNEL));
	else if (!mm_init_cpu())
		joins();
	puts("ok");
	return 0;
}
