// SPDX-License-Identifier: MIT
/*
 * The last 20 MiB of PORT_PHYS_BITS addresses, under sanitizers: frames and objects to
 * the last one, moves and plugging at the end of the world and beyond it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spanheap.h"

#define END (1ULL << PORT_PHYS_BITS)
#define NHELD 8000

static unsigned char ram[20 << 20] __attribute__((aligned(CHUNK_SIZE)));
uintptr_t direct_base = (uintptr_t)ram;
static void *held[NHELD];

void port_panic(const char *why)
{
	puts(why);
	exit(1);
}

void port_log(const char *line)
{
	puts(line);
}

static void expect(bool good, const char *what)
{
	if (!good)
		port_panic(what);
}

static size_t size_of(size_t i)
{
	return i % 3 ? FRAME_SIZE << i % 5 : i * 17 % 70000 + 1;
}

static size_t take_all(void)
{
	size_t n = 0;

	for (; n < NHELD; n++) {
		held[n] = n % 3 ? alloc_pages_exact(size_of(n), GFP_KERNEL)
				: kmalloc(size_of(n), GFP_KERNEL);
		if (!held[n])
			break;
		memset(held[n], 1, size_of(n));
	}
	return n;
}

static void give_all(size_t n)
{
	while (n--) {
		if (n % 3)
			free_pages_exact(held[n], size_of(n));
		else
			kfree(held[n]);
	}
}

static void borders(void)
{
	void *last = page_alloc_range(1, 0, END - FRAME_SIZE, ~0ULL, GFP_KERNEL);

	expect(last == ram + sizeof(ram) - FRAME_SIZE, "the last frame is not to be had");
	expect(!page_alloc_range(1, 0, END, ~0ULL, GFP_KERNEL), "a frame beyond the end");
	free_pages_exact(last, FRAME_SIZE);
	expect(mem_state(END - 1) == MEM_READY, "the last frame is not Ready");
	expect(mem_state(END) == MEM_NONE && mem_state(~0ULL) == MEM_NONE, "RAM beyond the end");
	expect(mem_map(END - FRAME_SIZE, 2 * FRAME_SIZE) == -EINVAL, "a move over the end");
	expect(mm_add_memory(END, CHUNK_SIZE, 0) == -EINVAL, "a module beyond the end");
	expect(mm_add_memory(END - CHUNK_SIZE, CHUNK_SIZE, 0) == -EEXIST, "a module over RAM");
}

int main(void)
{
	struct mm_stats s;
	size_t n;

	direct_base -= END - sizeof(ram);
	/* Twice as long as there is room: cut. */
	expect(!memblock_add(END - sizeof(ram), 2 * sizeof(ram), NUMA_NO_NODE), "no RAM");
	expect(!mm_init() && !mm_init_cpu(), "no start");
	n = take_all();
	expect(n > 500, "too few");
	give_all(n);
	borders();
	mm_drain();
	mm_stats(&s);
	expect(!s.objects_live && !s.frames_used && s.ram_bytes == sizeof(ram), "counts");
	expect(mm_scavenge(~0ULL) > 0 && !mm_validate(), "an invariant is broken");
	puts("ok");
	return 0;
}
