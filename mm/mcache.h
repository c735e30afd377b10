/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU object caches: a window per class and context, and the spans that the
 * CPU owns.
 *
 *	 context:   task        irq         NMI
 *	 mcache   [windows]   [windows]   [windows]     no lock, no atomics
 *	              │           │           │
 *	              └───────────┼───────────┘   refill, interrupts off
 *	 cpu_heap        partial spans, inbox           of one CPU
 *	                          │
 *	 span_class      mcentral: partial, full        of one node
 *	                          │
 *	                      page heap
 *
 * An allocation takes the lowest bit of its window. A free on the owning CPU
 * clears the object's bit in the span by one instruction; on another CPU it sets
 * a bit in the span's remote set and puts the span into the owner's inbox if it
 * is not there yet.
 *
 * Handing over. A span changes its owner, or ends, only in task context of its
 * owner: so nothing of that CPU can be halfway through a free in it. And only
 * while it is claimed: inbox_next is taken from NULL by compare-and-swap. Who
 * frees from elsewhere sets the remote bit first and looks at inbox_next then;
 * who hands over lets go of inbox_next first and looks at the remote bits then.
 * So one of the two sees the other, and no bit is left behind. A claimed span
 * stays with its owner until whoever claimed it is done.
 *
 * Locking: cpu_heap->lock, interrupts off: the CPU's lists. Others than its CPU
 * take it only to confirm a suspicion. An NMI tries, and else frees as if from
 * another CPU, or allocates from nothing but its window. A span of mcentral's in
 * which an NMI frees goes into the inbox of the NMI's CPU, which passes it on.
 */
#ifndef MM_MCACHE_H
#define MM_MCACHE_H

#include "mm/span.h"

#define SPAN_CLASSES (2 * NR_SIZE_CLASSES)

/*
 * Classes with so few objects a span would refill and list at nearly each call:
 * they have a stack of objects, of several spans, in place of a window. An
 * object in a stack counts as handed out by its span's bits and is marked in
 * span_stacked(). NMIs have neither: a stack could not be emptied while an NMI may
 * come, and a window says nothing of the marks. They take one object at a time.
 */
#define STACK_MAX_OBJS 8
#define STACK_SLOTS 8
#define STACK_CLASSES 72

/**
 * struct object_stack
 * @n: objects in it
 * @pushed: by kfree(), since the start
 */
struct object_stack {
	uint64_t n, pushed;
	struct stack_slot {
		void *object;
		uint8_t *mark;
	} slot[STACK_SLOTS];
};

/**
 * struct mcache - what one context of a CPU hands out, by span class.
 * @window: those of classes with a stack are always empty; their base is where
 *	the stack is
 * @slot: MCACHE_SLOT() of the context
 */
struct mcache {
	struct window window[SPAN_CLASSES];
	struct object_stack stack[STACK_CLASSES];
	unsigned slot;
};

/* A number for each context of each CPU, from 1; 0 stands for empty_mcache. */
#define MCACHE_SLOT(cpu, context) ((cpu)*MM_NR_CONTEXTS + (context) + 1)
#define MCACHE_SLOTS MCACHE_SLOT(PORT_MAX_CPUS, 0)

/**
 * struct cpu_heap - what a CPU owns.
 * @inbox: spans in which others have freed; ended by SPAN_CLAIMED
 * @mcache: by context; empty_mcache until first used
 * @partial: by span class: spans with free objects, in no window
 * @spare_bytes: of empty spans among them
 * @loaded: objects taken into windows, less those that came back unused
 */
struct cpu_heap {
	struct spinlock lock;
	struct span *inbox;
	struct mcache *mcache[MM_NR_CONTEXTS];
	struct span_list partial[SPAN_CLASSES];
	size_t spare_bytes;
	uint64_t loaded;
};

extern struct span_class kmalloc_classes[SPAN_CLASSES];
extern const struct mcache empty_mcache;

/** mcache_heap() - what @cpu owns. */
struct cpu_heap *mcache_heap(unsigned cpu);

/** mcache_init() - the classes; before any CPU. */
void mcache_init(void);

/** mcache_init_cpu() - of the calling CPU. Return: 0 or -ENOMEM. */
int mcache_init_cpu(void);

/** mcache_exit_cpu() - give all that the calling CPU owns to mcentral and the page heap. Task
 * context. */
void mcache_exit_cpu(void);

#define MCACHE_OFFSETS (KMALLOC_MAX_SMALL / 8 + 1)
static_assert(sizeof(struct mcache) <= UINT16_MAX, "offsets of windows have 16 bits");

/* By (size + 7) / 8: offset of the window in struct mcache, of scan spans. */
extern uint16_t mcache_offset[MCACHE_OFFSETS];

static inline struct window *mcache_window(struct mcache *mcache, size_t offset)
{
	return (struct window *)((char *)mcache + offset);
}

/** window_take() - an object of a window of the running context, pinned; false if there is none. */
static inline bool window_take(struct window *window, void **object)
{
	uint64_t bits = window->bits;

	if (unlikely(!bits))
		return false;
	atomic_store_relaxed(&window->bits, bits & (bits - 1));
	*object = (void *)(window->base + lowest_bit(bits) * window->size);
	return true;
}

/** stack_pop() - an object of a class with few objects a span, pinned; false if there is none. */
static inline bool stack_pop(struct window *window, void **object)
{
	struct object_stack *stack = (struct object_stack *)window->base;
	struct stack_slot *slot;

	if (window->span || !stack || !stack->n)
		return false;
	slot = &stack->slot[--stack->n];
	atomic_store_relaxed(slot->mark, STACKED_BEFORE);
	*object = slot->object;
	return true;
}

/** stack_push() - free into the stack of the running context, pinned; false if it cannot be. */
static inline bool stack_push(struct span *span, unsigned index, const void *p)
{
	size_t offset = span->class->stack_window;
	uint8_t *mark = span_stacked(span) + index;
	struct object_stack *stack;
	struct window *window;

	if (!offset || atomic_peek(&span->window) != &window_unlisted ||
	    atomic_peek(&span->cpu) != port_cpu() ||
	    *mark & STACKED)
		return false;
	/* In use, and not freed by another CPU before: behind the last object is neither. */
	if (!bit_of(span->used[0] & ~atomic_load_relaxed(span_remote(span)), index))
		return false;
	window = mcache_window(port_cache(), offset);
	stack = (struct object_stack *)window->base;
	if (window->span || !stack || stack->n >= STACK_SLOTS)
		return false;
	atomic_store_relaxed(mark, STACKED_BEFORE | STACKED);
	stack->slot[stack->n] = (struct stack_slot){ (void *)p, mark };
	stack->pushed++;
	stack->n++;
	return true;
}

/** mcache_slot() - of the running context, which gets windows now if it has none. Pinned. */
unsigned mcache_slot(void);

/**
 * mcache_alloc() - an object of a class, also when its window has none.
 *
 * Any context, not pinned. Return: NULL if there is no memory.
 */
void *mcache_alloc(struct span_class *class, gfp_t gfp);

/** mcache_post() - put a claimed span where its owner looks, whoever that is by now. Pinned. */
void mcache_post(struct span *span, struct met *met);

/**
 * mcache_free() - free an object whose free could not be done in a few instructions.
 * @span: the object's; its owner may be anybody
 * @index: the object's number, less than 64 * nwords
 *
 * Any context, not pinned. Return: -1, or the enum mm_misuse found.
 */
int mcache_free(struct span *span, unsigned index);

/**
 * mcache_hide() - injection was armed: no CPU's cache serves anybody for now.
 *
 * In a task it reaches all CPUs, waiting for them; elsewhere only the own one.
 */
void mcache_hide(void);

/** mcache_unhide() - put the own caches back if nothing is armed any more. heap->lock is held. */
void mcache_unhide(struct cpu_heap *heap);

/** mcache_flush() - empty the windows and lists of the calling CPU. Task context. */
void mcache_flush(void);

/** mcache_flush_class() - likewise, of a class that is not kmalloc's. Task context. */
void mcache_flush_class(struct span_class *class);

/**
 * mcache_word_empty() - no object is left in a word of one of the CPU's own spans.
 * @p: what was freed; not looked at, but then kfree() need not move it
 *
 * Any context.
 */
void mcache_word_empty(const void *p, struct span *span);

/* Is the object, which is in use by its span's bits, in a window? Or the span to be listed? */
static inline bool span_needs_care(const struct span *span, uint64_t index)
{
	const struct window *window = span->window;

	if (likely(!bit_of(window->bits, index)))
		return false;
	/* The same bit of another word says nothing. */
	return window->span != span || window->word == index / 64;
}

/**
 * span_free_quickly() - all of a free, if this CPU owns the span and nothing changes but a bit.
 * @span: what pagemap_lookup() gives for @pa
 * @p: the object, whose physical address is @pa
 *
 * Any context, not pinned. Return: false if nothing was done.
 *
 * Written for few instructions: @p stays in its register for the long way, the
 * magic is compared in memory, and the word's number is kept apart from the
 * product that it comes from, lest the compiler make one address of both. What
 * it found is not handed to the long way, which would cost the short one.
 */
static inline bool span_free_quickly(struct span *span, phys_addr_t pa, const void *p)
{
	uint64_t product = (pa - span->base) * span->magic, index, word;
	bool done = false;

	/* Exact for a multiple of the size, and below the magic for no other offset. */
	if (unlikely((uint32_t)product >= atomic_load_relaxed(&span->magic)))
		return false;
	port_pin();
	if (likely(atomic_peek(&span->cpu) == port_cpu())) {
		index = word = product >> 32;
		HIDE_VALUE(word);
		word /= 64;
		if (likely(bit_of(span->used[word], index)) &&
		    likely(!span_needs_care(span, index))) {
			if (unlikely(cpu_local_and(&span->used[word], all_but(index))))
				mcache_word_empty(p, span);
			done = true;
		}
	}
	port_unpin();
	return done;
}

/**
 * span_free_slowly() - the same, whatever it takes.
 * @span: what pagemap_find() gives for @pa
 *
 * Any context, not pinned. Return: -1, or the enum mm_misuse found.
 */
int span_free_slowly(struct span *span, phys_addr_t pa);

/** mcache_count() - objects that callers hold, and what was ever handed out. */
struct mcache_counts {
	uint64_t live, live_bytes, allocs;
};

void mcache_count(struct mcache_counts *counts);

#endif
