// SPDX-License-Identifier: MIT
/*
 * A project with a kmalloc() of its own, in the very file that uses Spanheap's:
 * both sides build with -DSPANHEAP_PREFIX=xyz_. Compiled as C and as C++.
 *
 * mm_stats and mem_state are names of a function and of a type.
 */
#include "spanheap.h"

static unsigned char ram[4 << 20];
static unsigned own;

static void *kmalloc(unsigned long size)
{
	own++;
	return &ram[size];
}

void port_panic(const char *why)
{
	(void)why;
	for (;;)
		__builtin_trap();
}

struct thing {
	long number;
};

int main(void)
{
	struct mm_stats s;
	struct kmem_cache *things;
	long *n, *each;
	void *p;

	if (xyz_memblock_add(xyz_virt_to_phys(ram), sizeof(ram), 0) || xyz_mm_init() ||
	    xyz_mm_init_cpu())
		return 1;
	n = (long *)xyz_kmalloc(sizeof(*n), GFP_KERNEL);
	things = KMEM_CACHE(thing, 0);
	p = things ? xyz_kmem_cache_zalloc(things, GFP_KERNEL) : 0;
	each = alloc_percpu(long);
	if (!n || !p || !each || kmalloc(16) != &ram[16] || own != 1)
		return 2;
	*n = *this_cpu_ptr(each);
	xyz_mm_stats(&s);
	if (s.objects_live < 2 || xyz_mem_state(xyz_virt_to_phys(n)) != MEM_READY)
		return 3;
	xyz_kfree(n);
	xyz_kmem_cache_free(things, p);
	xyz_free_percpu(each);
	return xyz_kmem_cache_destroy(things) || xyz_mm_validate() ? 4 : 0;
}
