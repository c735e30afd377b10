// SPDX-License-Identifier: MIT
/*
 * Stacks: frames of the page heap, mapped a second time in a window where a hole
 * lies below each.
 *
 *	slot of 64 KiB	| unmapped, 4 KiB or more | stack, growing down |
 *	block of 2 MiB	32 slots under one table of 4 KiB leaves
 *	window of 1 GiB	512 blocks under one PD, which is in the image
 *
 * The table of a block is made with its first stack and goes with its last, so
 * that a stack leaves nothing behind. The lowest free slot is taken.
 *
 * A slot that is being freed is out of the count of its block at once, but stays
 * taken until every CPU has forgotten its mapping.
 *
 * Locking: stacks.lock, interrupts off, for the scan and the mapping of one stack.
 */
#include <kernel/sched.h>
#include <spanheap/page.h>
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/kstack.h"
#include "arch/x86_64/paging.h"
#include "lib/bits.h"

#define SLOT_SIZE 0x10000UL
#define BLOCKS 512
#define BLOCK_SLOTS (CHUNK_SIZE / SLOT_SIZE)

_Static_assert(BLOCK_SLOTS == 32, "one word of bits a block");
_Static_assert(KSTACK_MAX < SLOT_SIZE, "a guard below every stack");

static struct {
	struct spinlock lock;
	uint32_t taken[BLOCKS];	/* a bit for each slot */
	uint8_t mapped[BLOCKS];	/* stacks that the block's table maps */
} stacks;

static uintptr_t slot_top(unsigned slot)
{
	return STACK_WINDOW_BASE + (slot + 1) * SLOT_SIZE;
}

static unsigned slot_of(uintptr_t top)
{
	return (unsigned)((top - STACK_WINDOW_BASE) / SLOT_SIZE) - 1;
}

/* Under the lock. Return: the top, or 0. */
static uintptr_t map_stack(size_t size, const void *frames, struct port_pool *pool)
{
	for (unsigned block = 0; block < BLOCKS; block++) {
		unsigned bit = ctz64((uint32_t)~stacks.taken[block]);
		uintptr_t top;

		if (bit == 64)
			continue;
		top = slot_top(block * BLOCK_SLOTS + bit);
		if (port_map(top - size, virt_to_phys(frames), size, PORT_READ | PORT_WRITE, pool))
			return 0;
		stacks.taken[block] |= 1U << bit;
		stacks.mapped[block]++;
		return top;
	}
	return 0;
}

static void *frames_of(uintptr_t bottom)
{
	int level;

	return phys_to_virt(paging_lookup(bottom, &level) & PTE_ADDRESS);
}

uintptr_t kstack_alloc(size_t size)
{
	struct port_pool pool = { 0 };
	void *frames = alloc_pages_exact(size, GFP_KERNEL);
	void *table = alloc_pages_exact(FRAME_SIZE, GFP_KERNEL);
	unsigned long flags;
	uintptr_t top = 0;

	if (frames && table) {
		port_pool_give(&pool, table);
		flags = spin_lock_irqsave(&stacks.lock);
		top = map_stack(size, frames, &pool);
		spin_unlock_irqrestore(&stacks.lock, flags);
		table = port_pool_take(&pool);
	}
	free_pages_exact(table, FRAME_SIZE);
	if (!top)
		free_pages_exact(frames, size);
	return top;
}

void kstack_free(uintptr_t top, size_t size)
{
	unsigned slot = slot_of(top), block = slot / BLOCK_SLOTS;
	void *frames, *table = NULL;
	unsigned long flags;

	if (!top)
		return;
	frames = frames_of(top - size);
	flags = spin_lock_irqsave(&stacks.lock);
	/* Whole leaves only: nothing to split, so nothing can fail. */
	port_unmap(top - size, size, NULL);
	if (!--stacks.mapped[block])
		table = paging_prune(top - size);
	spin_unlock_irqrestore(&stacks.lock, flags);

	port_flush(top - size, size);

	flags = spin_lock_irqsave(&stacks.lock);
	stacks.taken[block] &= ~(1U << slot % BLOCK_SLOTS);
	spin_unlock_irqrestore(&stacks.lock, flags);
	free_pages_exact(frames, size);
	free_pages_exact(table, FRAME_SIZE);
}

bool kstack_is_guard(uintptr_t va)
{
	uintptr_t guard;

	if (va - STACK_WINDOW_BASE < BLOCKS * CHUNK_SIZE)
		return true;
	for (unsigned i = 0; (guard = boot_stack_guard(i)); i++)
		if (va - guard < FRAME_SIZE)
			return true;
	return false;
}
