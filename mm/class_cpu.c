// SPDX-License-Identifier: MIT
/*
 * What CPUs have of classes: structures of three cache lines, cut from frames that
 * are never given back. A cache that goes leaves its own for the next one.
 */
#include <spanheap/page.h>

#include "lib/string.h"
#include "mm/metaframe.h"
#include "mm/span.h"

union class_cpu_slot {
	struct class_cpu cpu;
	union class_cpu_slot *next;
	char lines[192];
};

static_assert(sizeof(union class_cpu_slot) == 192, "no CPU writes another one's line");

static struct {
	struct spinlock lock;
	union class_cpu_slot *free;
} slots;

/* slots.lock is held. */
static void cut_slots(void)
{
	union class_cpu_slot *slot = metaframe_alloc();

	for (size_t i = 0; slot && i < FRAME_SIZE / sizeof(*slot); i++) {
		slot[i].next = slots.free;
		slots.free = &slot[i];
	}
}

struct class_cpu *class_cpu_alloc(void)
{
	union class_cpu_slot *slot;
	unsigned long flags;

	if (!spin_lock_context(&slots.lock, &flags))
		return NULL;
	if (!slots.free)
		cut_slots();
	slot = slots.free;
	if (slot)
		slots.free = slot->next;
	spin_unlock_irqrestore(&slots.lock, flags);
	if (!slot)
		return NULL;
	memset(slot, 0, sizeof(*slot));
	for (unsigned i = 0; i < MM_NR_CONTEXTS; i++)
		slot->cpu.window[i].taken = ~0ULL;
	return &slot->cpu;
}

void class_cpu_free(struct class_cpu *cpu)
{
	union class_cpu_slot *slot = container_of(cpu, union class_cpu_slot, cpu);
	unsigned long flags;

	/* An NMI that cannot lock has made one too many for nothing: let it go. */
	if (!spin_lock_context(&slots.lock, &flags))
		return;
	slot->next = slots.free;
	slots.free = slot;
	spin_unlock_irqrestore(&slots.lock, flags);
}
