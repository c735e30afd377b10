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
 * An allocation takes the lowest object that its window has. A free on the owning CPU
 * clears the object's bit in the span by one instruction; on another CPU it sets
 * a bit in the span's remote set and puts the span into the owner's inbox if it
 * is not there yet.
 *
 * Handing over. A CPU's span changes its owner, or ends, only in task context of
 * that CPU: so nothing there can be halfway through a free in it. And only while it
 * is claimed (a span of mcentral's may go to a CPU unclaimed, under mcentral's lock,
 * which who settles it takes): inbox_next is taken from NULL by compare-and-swap. Who
 * frees from elsewhere sets the remote bit first and looks at inbox_next then;
 * who hands over lets go of inbox_next first and looks at the remote bits then.
 * Between the two steps each has a full fence (atomic_fence_after()): acquire and
 * release do not keep a load behind a store to another place. So one of the two
 * sees the other, and no bit is left behind. A claimed span stays with its owner
 * until whoever claimed it is done.
 *
 * Locking: cpu_heap->lock, interrupts off: the CPU's lists. Others than its CPU
 * take it only to confirm a suspicion. An NMI tries, and else frees as if from
 * another CPU, or allocates from nothing but its window. A span of mcentral's in
 * which an NMI frees goes into the inbox of the NMI's CPU, which passes it on.
 */
#ifndef MM_MCACHE_H
#define MM_MCACHE_H

#include <spanheap/slab.h>

#include "mm/retention.h"
#include "mm/span.h"

#define SPAN_CLASSES (2 * NR_SIZE_CLASSES)

/*
 * Classes with few objects a span would refill at nearly each call: they have a
 * stack of objects, of several spans, in place of a window. An object on a stack
 * counts as in use by its span's bits, and its mark says that no caller has it.
 *
 *	window.top ──────────────────┐
 *	| NULL | object | object |   ▼    |        |  aligned to its size
 *	|      | mark   | mark   |        |        |
 *
 * Once full, it gives half back to the spans with the next free; once empty, it is
 * filled up to half at least, from several spans if there are.
 *
 * Neither end needs a count: below is no object, and behind the last slot top is
 * aligned to the stack's size. NMIs put nothing on their stacks and leave nothing
 * there, as a stack could not be emptied while an NMI may come: theirs is closed,
 * that is, full and empty at once.
 */
#define STACK_SLOTS PORT_STACK_SLOTS /* with the one that stays empty */
#define STACK_HALF (STACK_SLOTS / 2)
#define STACK_CLASSES 72
#define STACK_FIRST (SPAN_CLASSES - STACK_CLASSES)

struct stack_slot {
	void *object;
	uint8_t *mark;
};

struct object_stack {
	struct stack_slot slot[STACK_SLOTS];
} __attribute__((aligned(STACK_SLOTS * sizeof(struct stack_slot))));

extern const struct object_stack no_stack;

#define STACK_CLOSED ((struct stack_slot *)(uintptr_t)&no_stack.slot[STACK_SLOTS])

/**
 * struct mcache - what one context of a CPU hands out, by span class.
 * @window, @stack: the context's own, pinned; loaded and emptied by the CPU, under
 *	the heap's lock or from the context itself. Others read them at any time
 * @slot: MCACHE_SLOT() of the context
 * @reloaded: objects put into windows beside what struct cpu_heap counts as loaded
 */
struct mcache {
	struct window window[SPAN_CLASSES];
	struct object_stack stack[STACK_CLASSES];
	unsigned slot;
	uint64_t reloaded;
};

/* A number for each context of each CPU, from 1; 0 stands for empty_mcache. */
#define MCACHE_SLOT(cpu, context) ((cpu)*MM_NR_CONTEXTS + (context) + 1)
#define MCACHE_SLOTS MCACHE_SLOT(PORT_MAX_CPUS, 0)

/**
 * struct cpu_heap - what a CPU owns.
 * @lock: see above
 * @inbox: spans in which others have freed; ended by SPAN_CLAIMED. Anybody adds by
 *	compare-and-swap, the CPU takes all by an exchange
 * @mcache: by context; empty_mcache until first used. Written by the CPU, interrupts
 *	off; taken away under the lock, which others hold while they look
 * @partial: by span class: spans with free objects, in no window. Under the lock
 * @spare_bytes: of empty spans among them. Under the lock; others read a hint
 * @owned_bytes: of spans in @partial, in such a list of a cache, or in a window.
 *	Likewise
 * @inbox_bytes: of spans in @inbox; changed atomically, a moment behind it
 * @loaded: objects taken into windows, less those that came back unused. As
 *	@spare_bytes
 * @asked: enum mcache_asked: do others want what it owns? See asking.c
 */
struct cpu_heap {
	struct spinlock lock;
	struct span *inbox;
	struct mcache *mcache[MM_NR_CONTEXTS];
	struct span_list partial[SPAN_CLASSES];
	uint64_t spare_bytes, owned_bytes, inbox_bytes, loaded;
	uint32_t asked;
};

static_assert(STACK_FIRST == 2 * (KMALLOC_CLASS_CONST(KMALLOC_WINDOW_MAX) + 1),
	      "the classes above that size have stacks");

extern struct span_class kmalloc_classes[SPAN_CLASSES];
extern const struct mcache empty_mcache;

extern struct cpu_heap cpu_heaps[PORT_MAX_CPUS];

/** mcache_heap() - what @cpu owns. */
static inline struct cpu_heap *mcache_heap(unsigned cpu)
{
	return &cpu_heaps[cpu];
}

/* The CPU counts, under the lock; others look without it. */
static inline void heap_count(uint64_t *count, uint64_t n)
{
	atomic_store_relaxed(count, *count + n);
}

/** mcache_owned() - bytes of the spans that a CPU owns and that may have free objects. */
static inline size_t mcache_owned(const struct cpu_heap *heap)
{
	return atomic_load_relaxed(&heap->owned_bytes) + atomic_load_relaxed(&heap->inbox_bytes);
}

/** mcache_init() - the classes; before any CPU. */
void mcache_init(void);

/** mcache_init_cpu() - the calling CPU has the empty caches from now on. */
void mcache_init_cpu(void);

/**
 * mcache_first_use() - the running context allocates for the first time, or its CPU
 * from a class of its own: make what it needs for that.
 *
 * Any context. Return: false if there is no memory.
 */
bool mcache_first_use(struct span_class *class);

/** mcache_leave_cpu() - give back what mcache_first_use() made. Pinned, task context. */
void mcache_leave_cpu(void);

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
	uint64_t taken = window->taken, index = lowest_clear_bit(taken);

	if (unlikely(!give_bit(&taken, index)))
		return false;
	atomic_store_relaxed(&window->taken, taken);
	*object = (void *)(window->base + (uint32_t)index * window->size);
	return true;
}

/*
 * Likewise, of the window at an offset of a cache. The offset is hidden after each
 * use, lest the compiler add the two up instead of using both in each address.
 */
static force_inline bool window_take_at(struct mcache *mcache, size_t offset, void **object)
{
	uint64_t taken = mcache_window(mcache, offset)->taken, index = lowest_clear_bit(taken);
	uint32_t distance;

	if (unlikely(!give_bit(&taken, index)))
		return false;
	HIDE_VALUE(offset);
	atomic_store_relaxed(&mcache_window(mcache, offset)->taken, taken);
	HIDE_VALUE(offset);
	distance = (uint32_t)index * mcache_window(mcache, offset)->size;
	HIDE_VALUE_AFTER(offset, distance);
	*object = (void *)(mcache_window(mcache, offset)->base + distance);
	return true;
}

/**
 * window_reload() - objects of the window's word that were freed on this CPU since
 * it was loaded, into the window once more. Of the running context, pinned.
 *
 * No lock and no masking: of this CPU's contexts only the running one puts objects
 * of this span into a window, others clear bits of them at most.
 *
 * Return: how many.
 */
static inline unsigned window_reload(struct window *window)
{
	struct span *span = window->span;
	uint64_t bits, *word;

	if (!span || atomic_load_relaxed(&span_remote(span)[window->word]) ||
	    atomic_load_relaxed(&mcache_heap(port_cpu())->inbox))
		return 0;
	word = &span->used[window->word];
	bits = ~atomic_load_relaxed(word) & mask_low(window->nobjs);
	/* At no moment neither free nor in the window: an NMI may free one of them twice. */
	atomic_store_relaxed(&window->taken, ~bits);
	compiler_barrier();
	cpu_local_or(word, bits);
	return popcount64(bits);
}

/** mcache_reload() - window_reload() of one of a cache's windows. Return: was there anything? */
static inline bool mcache_reload(struct mcache *mcache, struct window *window)
{
	unsigned n = window_reload(window);

	/* empty_mcache cannot be written. */
	if (n)
		mcache->reloaded += n;
	return n;
}

static inline bool stack_is_full(const struct stack_slot *top)
{
	return !((uintptr_t)top % sizeof(struct object_stack));
}

/* How many objects are on the stack of a class that has one. */
static inline unsigned stack_size(const struct window *window)
{
	const struct stack_slot *slot = atomic_load_relaxed(&window->top);
	unsigned n = 0;

	while (atomic_load_relaxed(&(--slot)->object))
		n++;
	return n;
}

/** stack_pop_at() - an object of the stack at an offset, pinned; false if there is none. */
static force_inline bool stack_pop_at(struct mcache *mcache, size_t offset, void **object)
{
	struct stack_slot *top = mcache_window(mcache, offset)->top;

	*object = top[-1].object;
	if (unlikely(!*object))
		return false;
	HIDE_VALUE(offset);
	atomic_store_relaxed(&mcache_window(mcache, offset)->top, top - 1);
	atomic_store_relaxed(top[-1].mark, MARK_OUT);
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

/** mcache_unlist() - off the list of partial spans. heap->lock is held. */
void mcache_unlist(struct cpu_heap *heap, struct span *span);

/** mcache_must_shed() - does a CPU keep more empty spans than it may, and is this its task? */
static inline bool mcache_must_shed(const struct cpu_heap *heap)
{
	return atomic_load_relaxed(&heap->spare_bytes) > atomic_load_relaxed(&retention.spare) &&
	       port_context() == MM_TASK;
}

/** mcache_shed() - end empty spans of the calling CPU until it keeps no more than it may. Task
 * context, not pinned. */
void mcache_shed(void);

/**
 * mcache_make_room() - end half of the empty spans of kmalloc's classes that the calling CPU
 * keeps beyond retention.spare_low, before it takes memory that none of them serves.
 *
 * Any context, not pinned; only in a task anything is done.
 */
void mcache_make_room(void);

/** mcache_trim() - likewise, all that it keeps beyond. Task context. */
void mcache_trim(void);

/** mcache_shed_class() - likewise, of a class that is not kmalloc's. Return: is it enough? */
bool mcache_shed_class(struct span_class *class);

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
 * @entry: the span's
 *
 * Any context.
 */
void mcache_word_empty(const void *p, pagemap_entry_t entry);

/*
 * May an object be freed by clearing its bit: is it in use by its span's bits, not
 * in a window, and the span not to be listed?
 */
static force_inline bool span_bit_is_enough(pagemap_entry_t *entry, uint64_t index, uint64_t *word)
{
	const struct window *window = PAGEMAP_SPAN_ONCE(*entry)->window;
	uint64_t used = PAGEMAP_SPAN_ONCE(*entry)->used[*word];

	HIDE_VALUE_AFTER(*word, used);
	if (likely(bit_of(window->taken & used, index)))
		return true;
	/* The same bit of another word of the window's span says nothing. */
	HIDE_VALUE_HERE(index);
	return window->span == PAGEMAP_SPAN_ONCE(*entry) && window->word != index / 64 &&
	       bit_of(PAGEMAP_SPAN_ONCE(*entry)->used[index / 64], index);
}

/* object_at(), for few instructions: which object of a span starts at @p? */
static force_inline bool span_find_object(pagemap_entry_t *entry, const void *p, uint64_t *index)
{
	uint64_t offset = (uintptr_t)p - PAGEMAP_SPAN_ONCE(*entry)->start, fraction;

	HIDE_VALUE_AFTER(*entry, offset);
	fraction = multiply_wide(offset, atomic_peek(&pagemap_span(*entry)->reciprocal), index);
	HIDE_VALUE_AFTER(*entry, fraction);
	if (unlikely(fraction >= atomic_peek(&pagemap_span(*entry)->reciprocal)))
		return false;
	HIDE_VALUE(*index);
	return true;
}

/*
 * Clear the bit of an object that is handed out. The number of the word is kept
 * apart from the object's, lest the compiler make one address of both.
 */
static force_inline bool span_clear_bit(pagemap_entry_t *entry, uint64_t index, const void *p)
{
	uint64_t word = index;

	HIDE_VALUE(word);
	word /= 64;
	if (unlikely(!span_bit_is_enough(entry, index, &word)))
		return false;
	if (unlikely(cpu_local_and(&PAGEMAP_SPAN_ONCE(*entry)->used[word], all_but(index))))
		mcache_word_empty(p, *entry);
	return true;
}

/* Onto the running context's stack with an object that is handed out. */
static force_inline bool stack_push(pagemap_entry_t *entry, uint64_t index, const void *p)
{
	size_t offset = PAGEMAP_SPAN_ONCE(*entry)->stack;
	struct mcache *mcache = port_cache();
	struct stack_slot *top = mcache_window(mcache, offset)->top;
	uint8_t *mark = span_marks(PAGEMAP_SPAN_ONCE(*entry)) + index;

	HIDE_VALUE(mark);
	if (unlikely(stack_is_full(top)) || unlikely(!cpu_local_rotate(mark)))
		return false;
	atomic_store_relaxed(&top->object, (void *)p);
	top->mark = mark;
	top++;
	HIDE_VALUE_AFTER(offset, top);
	atomic_store_relaxed(&mcache_window(mcache, offset)->top, top);
	HIDE_VALUE_AFTER(mcache, top);
	cpu_local_add(&mcache_window(mcache, offset)->pushed, 1);
	return true;
}

/**
 * span_free_afar_quickly() - free an object of a span that is not this CPU's and waits to be
 * looked at already, in its owner's inbox or claimed: one atomic instruction.
 * @index: the object's number, exact
 * @tell: who was to look has done so meanwhile: mcache_tell() another
 *
 * Pinned. Return: false if nothing was done; the long way finds out why.
 *
 * The bit first, the inbox then: see above on handing over. A window that is filled
 * meanwhile may be missed: then it is the owner, folding, who finds the double free.
 */
static inline bool span_free_afar_quickly(struct span *span, uint64_t index, bool *tell)
{
	uint64_t *remote = span_remote(span) + index / 64, bit = 1ULL << index % 64;
	uint32_t cpu = span_owner(span);
	const struct window *window;

	if (cpu >= SPAN_KEPT || cpu == port_cpu() || !atomic_load_relaxed(&span->inbox_next))
		return false;
	window = atomic_load(&span->window);
	if (window_is_real(window) && bit_of(window_bits(window), index))
		return false;
	if (!(atomic_load_relaxed(&span->used[index / 64]) & bit) ||
	    span_is_stacked(span, (unsigned)index))
		return false;
	if (atomic_load_relaxed(remote) & bit || atomic_fetch_or(remote, bit) & bit)
		return false;
	atomic_fence_after();
	*tell = !atomic_load(&span->inbox_next);
	return true;
}

/** mcache_tell() - a remote bit was set in @span: have its owner look. Any context, not pinned. */
void mcache_tell(struct span *span);

/**
 * span_free_quickly() - all of a free, if this CPU owns the span and nothing changes but
 * a bit; or, of a class with a stack, if there is room on it.
 * @entry: what pagemap_entry_at() gives for @p
 * @stacks: may the class have a stack? A constant
 *
 * Any context, not pinned. Return: false if nothing was done.
 *
 * Written for few instructions: @p stays in its register for the long way, and
 * what is found here is not handed to that, which would cost the short one.
 */
static force_inline bool span_free_quickly(pagemap_entry_t entry, const void *p, bool stacks)
{
	bool done = false;
	uint64_t index;

	port_pin();
	if (likely(atomic_peek(&PAGEMAP_SPAN_ONCE(entry)->cpu) == port_cpu())) {
		if (likely(span_find_object(&entry, p, &index)))
			done = span_clear_bit(&entry, index, p);
	} else if (stacks &&
		   atomic_peek(&PAGEMAP_SPAN_ONCE(entry)->cpu) == (port_cpu() | SPAN_STACKED)) {
		if (likely(span_find_object(&entry, p, &index)))
			done = stack_push(&entry, index, p);
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

/** mcache_allocs() - what a cache has handed out, less what refills have put into it. */
uint64_t mcache_allocs(const struct mcache *mcache);

/** mcache_count() - objects that callers hold, and what was ever handed out. */
struct mcache_counts {
	uint64_t live, live_bytes, allocs;
};

void mcache_count(struct mcache_counts *counts);

/** mcache_stacked() - bytes of objects on the stacks of a CPU. Any context but NMI. */
size_t mcache_stacked(unsigned cpu);

#endif
