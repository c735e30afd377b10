// SPDX-License-Identifier: MIT
/*
 * The memory of the object caches.
 *
 *	port_cache() ──► empty_mcache	until the context's first allocation, and
 *					while failures are injected: const, windows
 *					empty, stacks closed
 *		     ──► struct mcache	from then on
 *
 * Any CPU and context so can be asked for its cache at any time, and the hot
 * paths need not test whether there is one.
 */
#include "lib/string.h"
#include "mm/fault.h"
#include "mm/mcache.h"
#include "mm/metaframe.h"

const struct object_stack no_stack;
const struct mcache empty_mcache = {
	.window = { [0 ... SPAN_CLASSES - 1] = { .taken = ~0ULL, .top = STACK_CLOSED } },
};

#ifndef PORT_HAS_CACHE_SLOT
/* So who allocates too early comes to mcache_first_use(), which says so. */
void *port_cache_slots[PORT_MAX_CPUS][MM_NR_CONTEXTS] = {
	[0 ... PORT_MAX_CPUS - 1] = {
		[0 ... MM_NR_CONTEXTS - 1] = (void *)(uintptr_t)&empty_mcache,
	},
};
#endif

static size_t mcache_frames(void)
{
	return (sizeof(struct mcache) + FRAME_SIZE - 1) / FRAME_SIZE;
}

static void make_empty(struct mcache *mcache)
{
	memset(mcache, 0, sizeof(*mcache));
	for (unsigned i = 0; i < SPAN_CLASSES; i++)
		mcache->window[i].taken = ~0ULL;
	for (unsigned i = STACK_FIRST; i < SPAN_CLASSES; i++)
		mcache->window[i].top = port_context() == MM_NMI ?
						STACK_CLOSED :
						&mcache->stack[i - STACK_FIRST].slot[1];
}

/* Memory for the windows of the running context, or of a class, that has none yet. */
static void *new_windows(const struct span_class *class)
{
	struct mcache *mcache;

	if (class->cpu)
		return class_cpu_alloc();
	mcache = metaframe_alloc_run(mcache_frames());
	if (mcache)
		make_empty(mcache);
	return mcache;
}

/* A context of this CPU allocates for the first time, or the CPU from a class of its own. */
bool mcache_first_use(struct span_class *class)
{
	struct cpu_heap *heap;
	unsigned long flags;
	void *memory;

	if (!mcache_heap(port_cpu())->mcache[port_context()])
		port_panic("a CPU allocates before its mm_init_cpu()");
	memory = new_windows(class);
	if (!memory)
		return false;
	flags = port_irq_save();
	heap = mcache_heap(port_cpu());
	if (class->cpu) {
		struct class_cpu *none = NULL;

		/* An NMI may have been here first. */
		if (atomic_cas(&class->cpu[port_cpu()], &none, memory))
			memory = NULL;
	} else if (heap->mcache[port_context()] == &empty_mcache) {
		((struct mcache *)memory)->slot = MCACHE_SLOT(port_cpu(), port_context());
		atomic_store(&heap->mcache[port_context()], memory);
		if (!atomic_load_relaxed(&mm_fail_armed))
			port_cache_set(port_context(), memory);
		memory = NULL;
	}
	port_irq_restore(flags);
	if (memory && class->cpu)
		class_cpu_free(memory);
	else if (memory)
		metaframe_free_run(memory, mcache_frames());
	return true;
}

unsigned mcache_slot(void)
{
	/* Not port_cache(): it may be hidden. */
	struct mcache *const *mcache = &mcache_heap(port_cpu())->mcache[port_context()];

	if (*mcache == &empty_mcache)
		(void)mcache_first_use(&kmalloc_classes[1]);
	return (*mcache)->slot;
}

void mcache_init_cpu(void)
{
	struct cpu_heap *heap = mcache_heap(port_cpu());

	/* That of tasks last: who finds it finds all. */
	for (unsigned c = MM_NR_CONTEXTS; c-- > 0;) {
		port_cache_set((enum mm_context)c, (struct mcache *)&empty_mcache);
		atomic_store(&heap->mcache[c], (struct mcache *)&empty_mcache);
	}
}

void mcache_leave_cpu(void)
{
	struct cpu_heap *heap = mcache_heap(port_cpu());

	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++) {
		unsigned long flags = spin_lock_irqsave(&heap->lock);
		struct mcache *memory = heap->mcache[c];

		if (memory != &empty_mcache)
			heap_count(&heap->loaded, mcache_allocs(memory));
		atomic_store(&heap->mcache[c], (struct mcache *)&empty_mcache);
		port_cache_set((enum mm_context)c, (struct mcache *)&empty_mcache);
		spin_unlock_irqrestore(&heap->lock, flags);
		if (memory != &empty_mcache)
			metaframe_free_run(memory, mcache_frames());
	}
}
