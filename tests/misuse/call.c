// SPDX-License-Identifier: MIT
/* Requests that make no sense, and calls from where they are not expected. */
#include <stdio.h>

#include <kernel/task.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>

#include "tests/misuse/misuse.h"

static void zero_size(void)
{
	volatile char *p = opaque(kmalloc(0, GFP_KERNEL));

	require(p);
	expect("panic: page fault at 0x%lx (write, not present)", (unsigned long)p);
	*p = 1;
}

static void absurd_size(void)
{
	volatile size_t huge = SIZE_MAX;

	expect("refused: counts and sizes that no machine has");
	require(!kcalloc(huge / 8 + 2, 8, GFP_KERNEL));
	require(!kmalloc_array(huge, huge, GFP_KERNEL));
	require(!kmalloc(huge, GFP_KERNEL));
	require(!kmalloc(huge - 4096, GFP_KERNEL));
	require(!krealloc(take(64), huge / 2, GFP_KERNEL));
	require(!kmalloc_aligned(huge - 64, 4096, GFP_KERNEL));
	require(!alloc_pages_exact(huge, GFP_KERNEL));
	require(!__get_free_pages(GFP_KERNEL, 63));
	require(!page_alloc_range(huge, 0, 0, ~0ULL, GFP_KERNEL));
	heap_works();
	/* All of them gave NULL, which is how a request is refused. */
	puts("refused: counts and sizes that no machine has");
}

/* Flags that promise to be a task, in an interrupt and in an NMI. */
static void allocate(void *arg)
{
	void **p = arg;

	for (unsigned i = 0; i < 100; i++)
		p[i] = kmalloc(1 + i * 50, GFP_KERNEL);
	for (unsigned i = 100; i < 200; i++)
		p[i] = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);
}

static void forbidden_context(void)
{
	static void *from_irq[200], *from_nmi[200];

	kfree(take(64));
	run_in_irq(0, allocate, from_irq);
	run_in_nmi(1, allocate, from_nmi);
	for (unsigned i = 0; i < 200; i++) {
		require(from_irq[i]);
		if (i < 100) {
			kfree(from_irq[i]);
			kfree(from_nmi[i]);
		} else {
			free_pages_exact(from_irq[i], FRAME_SIZE);
			free_pages_exact(from_nmi[i], FRAME_SIZE);
		}
	}
	harmless("no allocation waits, so that every context may allocate");
}

const struct misuse call_misuses[] = {
	{ 22, FOUND, FOUND, "zero-size object dereferenced", zero_size },
	{ 23, FOUND, FOUND, "count x size overflow, absurd size", absurd_size },
	{ 29, HARMLESS, HARMLESS, "allocation in a forbidden context", forbidden_context },
	{ 30, KERNEL, NOT_RUN, "stack runs into the next object", NULL,
	  "task.stack_overflow_is_caught" },
	{ 0 },
};
