// SPDX-License-Identifier: MIT
/* Per-CPU object caches; see mcache.h for the picture and the protocol. */
#include <spanheap/pressure.h>

#include "mm/asking.h"
#include "mm/fault.h"
#include "mm/mcache.h"
#include "mm/mcentral.h"
#include "mm/misuse.h"
#include "mm/retention.h"
#include "mm/tiny.h"

struct cpu_heap cpu_heaps[PORT_MAX_CPUS];

static struct cpu_heap *my_heap(void)
{
	return &cpu_heaps[port_cpu()];
}

/* All below here, up to the next such line: heap->lock of this CPU is held. */

static struct span_list *partial_of(struct cpu_heap *heap, const struct span_class *class)
{
	return class->cpu ? &class->cpu[heap - cpu_heaps]->partial : &heap->partial[class->index];
}

static void list_partial(struct cpu_heap *heap, struct span *span)
{
	heap_count(&heap->owned_bytes, span_bytes(span));
	atomic_store(&span->window, &window_listed);
	span_list_add(partial_of(heap, span->class), span);
}

void mcache_unlist(struct cpu_heap *heap, struct span *span)
{
	span_list_del(partial_of(heap, span->class), span);
	atomic_store(&span->window, &window_unlisted);
	heap_count(&heap->owned_bytes, -span_bytes(span));
	if (span_is_spare(span)) {
		span_set_spare(span, false);
		heap_count(&heap->spare_bytes, -span_bytes(span));
	}
}

/* A listed span is empty: last in its list, where mcache_shed() looks and refills look last. */
static void keep_spare(struct cpu_heap *heap, struct span *span)
{
	struct span_list *list = partial_of(heap, span->class);

	if (span != list->last) {
		span_list_del(list, span);
		span_list_add_last(list, span);
	}
	span_set_spare(span, true);
	heap_count(&heap->spare_bytes, span_bytes(span));
}

/* An empty span, in no list, is kept likewise. */
static void list_spare(struct cpu_heap *heap, struct span *span)
{
	heap_count(&heap->owned_bytes, span_bytes(span));
	heap_count(&heap->spare_bytes, span_bytes(span));
	atomic_store(&span->window, &window_listed);
	span_list_add_last(partial_of(heap, span->class), span);
	span_set_spare(span, true);
}

/* Move a word's free objects into the window. */
static bool load_word(struct cpu_heap *heap, struct window *window, struct span *span,
		      unsigned word, struct met *met)
{
	uint64_t bits;

	span_fold_word(span, word, met);
	bits = ~atomic_load_relaxed(&span->used[word]) & span_word_mask(span, word);
	if (!bits)
		return false;
	if (!window->span)
		heap_count(&heap->owned_bytes, span_bytes(span));
	window->base = (uintptr_t)span_object(span, word * 64UL);
	window->size = span->size;
	atomic_store_relaxed(&window->word, (uint16_t)word);
	window->nobjs = (uint16_t)MIN(64U, span->nobjs - word * 64U);
	atomic_store_relaxed(&window->span, span);
	atomic_store(&span->window, window);
	/* At no moment neither free nor in the window: an NMI may free one of them twice. */
	compiler_barrier();
	atomic_store(&window->taken, ~bits);
	compiler_barrier();
	cpu_local_or(&span->used[word], bits);
	heap_count(&heap->loaded, popcount64(bits));
	return true;
}

static bool load_span(struct cpu_heap *heap, struct window *window, struct span *span,
		      unsigned first_word, struct met *met)
{
	for (unsigned i = 0, w = first_word; i < span->nwords; i++, w++)
		if (load_word(heap, window, span, w < span->nwords ? w : w - span->nwords, met))
			return true;
	return false;
}

/* A span's free objects onto the stack, as many as find room; onto a closed one, one. */
static bool load_stack(struct cpu_heap *heap, struct window *window, struct span *span,
		       struct met *met)
{
	struct object_stack *stack =
		&heap->mcache[port_context()]->stack[span->class->index - STACK_FIRST];
	struct stack_slot *top = window->top;
	uint64_t bits;

	if (top == STACK_CLOSED)
		top = &stack->slot[STACK_SLOTS - 1];
	span_fold_word(span, 0, met);
	bits = ~atomic_load_relaxed(&span->used[0]) & span_word_mask(span, 0);
	for (; bits && !stack_is_full(top); bits &= bits - 1) {
		unsigned index = (unsigned)lowest_bit(bits);

		/* Its mark is not of one that is handed out. */
		cpu_local_or(&span->used[0], 1ULL << index);
		*top++ = (struct stack_slot){ span_object(span, index), span_marks(span) + index };
		heap_count(&heap->loaded, 1);
	}
	if (bits)
		list_partial(heap, span);
	if (!top[-1].object)
		return false;
	atomic_store_relaxed(&window->top, top);
	return true;
}

void mcache_post(struct span *span, struct met *met)
{
	for (;;) {
		uint32_t cpu = span_owner(span);
		struct span *first;

		/* mcentral's lock may be held by what an NMI interrupted: its CPU does it later. */
		if (cpu == SPAN_CENTRAL && port_context() == MM_NMI)
			cpu = port_cpu();
		if (cpu == SPAN_CENTRAL) {
			if (mcentral_settle(span, met))
				return;
			continue;
		}
		if (span_owner(span) == cpu)
			atomic_store(&span->cpu, span_owned_by(span, cpu) | SPAN_MAIL);
		(void)atomic_fetch_add(&cpu_heaps[cpu].inbox_bytes, span_bytes(span));
		first = atomic_load(&cpu_heaps[cpu].inbox);
		do
			atomic_store(&span->inbox_next, first ? first : SPAN_CLAIMED);
		while (!atomic_cas(&cpu_heaps[cpu].inbox, &first, span));
		return;
	}
}

static void tell(struct span *span, struct met *met)
{
	if (!atomic_load(&span->inbox_next) && span_claim(span))
		mcache_post(span, met);
}

/* A remote free, and a message to the owner unless one is under way. Pinned. */
static bool free_afar(struct span *span, unsigned index, struct met *met)
{
	uint64_t bit = 1ULL << index % 64;

	if (atomic_fetch_or(&span_remote(span)[index / 64], bit) & bit)
		return false;
	atomic_fence_after();
	tell(span, met);
	return true;
}

/* Back to their spans with @n objects of a stack. A span may have been given up meanwhile. */
static void unload_stack(struct cpu_heap *heap, struct window *window, unsigned n, struct met *met)
{
	for (struct stack_slot *slot = window->top; n && (--slot)->object; n--) {
		struct span *span = pagemap_span(pagemap_entry_at(slot->object));
		unsigned index;
		bool empty;

		if (unlikely(span == &null_span))
			span = pagemap_find(virt_to_phys(slot->object));
		index = (unsigned)(slot->mark - span_marks(span));

		window->top = slot;
		heap_count(&heap->loaded, -1ULL);
		if (span_owner(span) != (uint32_t)(heap - cpu_heaps)) {
			atomic_store_relaxed(slot->mark, MARK_OUT);
			if (!free_afar(span, index, met))
				met->object = slot->object;
			continue;
		}
		empty = cpu_local_and(&span->used[0], ~(1ULL << index));
		if (span->window == &window_unlisted && empty)
			list_spare(heap, span);
		else if (span->window == &window_unlisted)
			list_partial(heap, span);
		else if (empty && !span_is_spare(span))
			keep_spare(heap, span);
	}
}

/* Take the window off its span and give what it did not hand out back. */
static void unload(struct cpu_heap *heap, struct window *window)
{
	struct span *span = window->span;
	uint64_t bits;

	if (!span)
		return;
	window->nobjs = 0;
	compiler_barrier();
	bits = ~cpu_local_xchg(&window->taken, ~0ULL);
	span_note_window(span, window->word, bits);
	heap_count(&heap->loaded, -(uint64_t)popcount64(bits));
	(void)cpu_local_and(&span->used[window->word], ~bits);
	atomic_store_relaxed(&window->span, NULL);
	window->base = 0;
	heap_count(&heap->owned_bytes, -span_bytes(span));
	atomic_store(&span->window, &window_unlisted);
	if (span_has_free(span))
		list_partial(heap, span);
}

/*
 * A listed span has become empty: keep it, or have it destroyed by the caller
 * after it has let go of the lock. Only a task may end a span.
 */
static struct span *became_empty(struct cpu_heap *heap, struct span *span)
{
	if (span_is_spare(span))
		return NULL;
	if (heap->spare_bytes + span_bytes(span) > atomic_load_relaxed(&retention.spare) &&
	    port_context() == MM_TASK && span_claim(span)) {
		mcache_unlist(heap, span);
		return span;
	}
	keep_spare(heap, span);
	return NULL;
}

/*
 * Spans in which others have freed: list those that have something free now. A
 * span that is not ours is one that an NMI could not settle.
 */
static void drain_inbox(struct cpu_heap *heap, struct met *met)
{
	struct span *span, *next;

	if (likely(!atomic_load_relaxed(&heap->inbox)))
		return;
	span = atomic_xchg(&heap->inbox, NULL);
	for (; span && span != SPAN_CLAIMED; span = next) {
		next = atomic_load(&span->inbox_next);
		(void)atomic_fetch_sub(&heap->inbox_bytes, span_bytes(span));
		if (span_owner(span) != (uint32_t)(heap - cpu_heaps)) {
			mcache_post(span, met);
			continue;
		}
		atomic_store(&span->cpu, span_owned_by(span, (uint32_t)(heap - cpu_heaps)));
		(void)atomic_xchg(&span->inbox_next, NULL);
		atomic_fence_after();
		span_fold_remote(span, met);
		if (span->window == &window_unlisted && span_has_free(span))
			list_partial(heap, span);
		if (span_is_listed(span) && span_is_empty(span)) {
			struct span *end = became_empty(heap, span);

			if (end)
				span_destroy(end);
		}
	}
}

/* Objects of a span that is in no list into the window, or the stack in its place. */
static bool load_from(struct cpu_heap *heap, struct window *window, struct span *span,
		      struct met *met)
{
	if (span->stack)
		return load_stack(heap, window, span, met);
	return load_span(heap, window, span, 0, met);
}

/* Is a stack, if it is one, so empty that the next span's objects are wanted too? */
static bool wants_more(const struct window *window, const struct span *span)
{
	return span->stack && !stack_is_full(window->top) && stack_size(window) < STACK_HALF;
}

/* Objects into the window from what the CPU owns or mcentral has. */
static bool load_window(struct cpu_heap *heap, struct span_class *class, struct window *window,
			struct met *met)
{
	struct span_list *partial = partial_of(heap, class);
	struct span *span = window->span;
	bool loaded = false;

	drain_inbox(heap, met);
	if (span) {
		span_note_window(span, window->word, 0);
		if (load_span(heap, window, span, window->word + 1, met))
			return true;
		unload(heap, window);
	}
	while ((span = partial->first)) {
		mcache_unlist(heap, span);
		loaded |= load_from(heap, window, span, met);
		if (loaded && !wants_more(window, span))
			return true;
	}
	if (loaded)
		return true;
	while ((span = mcentral_take(class, port_cpu()))) {
		atomic_store(&span->window, &window_unlisted);
		if (load_from(heap, window, span, met))
			return true;
	}
	return false;
}

/* All above here: heap->lock of this CPU is held. */

static void report_met(const struct met *met)
{
	if (unlikely(met->object))
		mm_report_misuse(MM_DOUBLE_FREE, met->object, 0, NULL);
}

void mcache_tell(struct span *span)
{
	struct met met = { 0 };

	port_pin();
	tell(span, &met);
	port_unpin();
	report_met(&met);
}

/* The window of a class for the running CPU and context; NULL if there is no memory for it. */
static struct window *my_window(struct cpu_heap *heap, struct span_class *class)
{
	enum mm_context context = port_context();
	struct mcache *mcache;

	if (class->cpu) {
		struct class_cpu *cpu = class->cpu[heap - cpu_heaps];

		return cpu ? &cpu->window[context] : NULL;
	}
	mcache = heap->mcache[context];
	return mcache && mcache != &empty_mcache ? &mcache->window[class->index] : NULL;
}

/* An object of @window, if it has some; nothing stays in a cache's while failures are injected. */
static void *take_one(struct cpu_heap *heap, const struct span_class *class,
		      struct window *window)
{
	void *object = NULL;

	if (class->stack_window) {
		(void)stack_pop_at((struct mcache *)window, 0, &object);
		if (port_context() == MM_NMI)
			window->top = STACK_CLOSED;
		return object;
	}
	(void)window_take(window, &object);
	if (class->cpu && unlikely(atomic_load_relaxed(&mm_fail_armed)))
		unload(heap, window);
	return object;
}

/*
 * Any of what the CPU has, and *fresh, which is the CPU's then and NULL here;
 * *first_time: the context has no windows yet.
 */
static void *refill_from_spans(struct span_class *class, struct span **fresh, bool *first_time)
{
	struct cpu_heap *heap;
	struct window *window;
	struct met met = { 0 };
	unsigned long flags;
	void *object = NULL;

	*first_time = false;
	port_pin();
	heap = my_heap();
	if (!spin_lock_context(&heap->lock, &flags)) {
		port_unpin();
		return NULL;
	}
	mcache_unhide(heap);
	window = my_window(heap, class);
	*first_time = !window;
	if (*fresh && window) {
		atomic_store(&(*fresh)->cpu, span_owned_by(*fresh, (uint32_t)(heap - cpu_heaps)));
		list_partial(heap, *fresh);
		atomic_store(&(*fresh)->inbox_next, NULL);
		*fresh = NULL;
	}
	if (window)
		object = take_one(heap, class, window);
	if (window && !object && load_window(heap, class, window, &met))
		object = take_one(heap, class, window);
	spin_unlock_irqrestore(&heap->lock, flags);
	port_unpin();
	report_met(&met);
	if (unlikely(mcache_must_shed(heap)))
		mcache_shed();
	if (unlikely(mm_is_asked()) && port_context() == MM_TASK)
		mm_give_back();
	return object;
}

void *mcache_alloc(struct span_class *class, gfp_t gfp)
{
	struct span *fresh = NULL;
	bool first_time;
	void *object = refill_from_spans(class, &fresh, &first_time);

	while (!object) {
		if (first_time && !mcache_first_use(class))
			return NULL;
		mcache_make_room();
		if (!first_time && asking_next(gfp) &&
		    (object = refill_from_spans(class, &fresh, &first_time)))
			break;
		fresh = first_time ? NULL : span_create(class, gfp);
		if (!first_time && !fresh)
			return NULL;
		object = refill_from_spans(class, &fresh, &first_time);
		if (fresh) {
			/* An NMI that could not lock, or a CPU without windows. */
			span_destroy(fresh);
			if (!first_time)
				return NULL;
		}
	}
	return object;
}

/* After a free: the span that is to end, and others if there are too many. */
static void end_spans(struct cpu_heap *heap, struct span *end)
{
	if (end)
		span_destroy(end);
	if (unlikely(mcache_must_shed(heap)))
		mcache_shed();
}

static int double_or_invalid(const struct span *span, unsigned index)
{
	return span_handed_out(span, index) ? MM_DOUBLE_FREE : MM_INVALID_FREE;
}

/* Free on the owning CPU; heap->lock is held. *end: span to be destroyed. */
static int free_local(struct cpu_heap *heap, struct span *span, unsigned index, struct span **end,
		      struct met *met)
{
	unsigned word = index / 64;
	uint64_t bit = 1ULL << index % 64;

	span_fold_word(span, word, met);
	if (!(span->used[word] & bit))
		return double_or_invalid(span, index);
	if (window_is_real(span->window) && span->window->word == word &&
	    window_bits(span->window) & bit)
		return double_or_invalid(span, index);
	if (span_is_stacked(span, index)) {
		/* kfree() may have changed it in vain. */
		if (span_mark(span, index))
			span_set_back(span, index);
		return double_or_invalid(span, index);
	}
	if (span->window == &window_unlisted)
		list_partial(heap, span);
	span_set_back(span, index);
	if (cpu_local_and(&span->used[word], ~bit) && span_is_listed(span) && span_is_empty(span))
		*end = became_empty(heap, span);
	return -1;
}

/* Bits first: those of another span come after the window's change of span. */
static bool window_holds(const struct span *span, unsigned index)
{
	const struct window *window = atomic_load(&span->window);

	return window_is_real(window) && bit_of(window_bits(window), index) &&
	       atomic_load(&window->span) == span &&
	       atomic_load_relaxed(&window->word) == index / 64;
}

/*
 * Is the object in its owner's window? The owner's own NMI sees it standing still;
 * others confirm it under the owner's lock, or, if they cannot have it, look twice.
 */
static bool in_window(const struct span *span, unsigned index, uint32_t cpu)
{
	unsigned long flags;
	bool found;

	if (!window_holds(span, index))
		return false;
	if (PORT_MAX_CPUS == 1 || cpu == port_cpu())
		return true;
	if (!spin_lock_context(&cpu_heaps[cpu].lock, &flags))
		return window_holds(span, index);
	found = span_owner(span) == cpu && window_holds(span, index);
	spin_unlock_irqrestore(&cpu_heaps[cpu].lock, flags);
	return found;
}

static int free_remote(struct span *span, unsigned index, uint32_t cpu, struct met *met)
{
	uint64_t bit = 1ULL << index % 64;

	if (!(atomic_load(&span->used[index / 64]) & bit))
		return double_or_invalid(span, index);
	if (cpu != SPAN_CENTRAL && in_window(span, index, cpu))
		return double_or_invalid(span, index);
	if (span_is_stacked(span, index))
		return double_or_invalid(span, index);
	return free_afar(span, index, met) ? -1 : MM_DOUBLE_FREE;
}

/* A full stack sends frees the long way: half of it goes back, so that the next ones are short. */
static void spill_stack(struct cpu_heap *heap, struct span_class *class, struct met *met)
{
	struct window *window = my_window(heap, class);

	if (window && stack_is_full(window->top))
		unload_stack(heap, window, STACK_HALF, met);
}

int mcache_free(struct span *span, unsigned index)
{
	struct cpu_heap *heap;
	struct span *end = NULL;
	struct met met = { 0 };
	unsigned long flags;
	uint32_t cpu;
	int bad;

	port_pin();
	heap = my_heap();
	cpu = span_owner(span);
	if (cpu == (uint32_t)(heap - cpu_heaps) && spin_lock_context(&heap->lock, &flags)) {
		bad = free_local(heap, span, index, &end, &met);
		if (span->stack && bad < 0)
			spill_stack(heap, span->class, &met);
		spin_unlock_irqrestore(&heap->lock, flags);
	} else if (cpu == SPAN_NOBODY || cpu == SPAN_LARGE) {
		bad = MM_DOUBLE_FREE; /* it has ended since it was looked up */
	} else {
		bad = free_remote(span, index, cpu, &met);
	}
	port_unpin();
	end_spans(heap, end);
	report_met(&met);
	return bad;
}

void mcache_word_empty(const void *p, pagemap_entry_t entry)
{
	struct span *span = pagemap_span(entry), *end = NULL;
	struct cpu_heap *heap;
	unsigned long flags;

	(void)p;
	/* Mostly it is the one that objects are taken from. */
	if (span->window != &window_listed || !span_is_empty(span))
		return;
	port_pin();
	heap = my_heap();
	if (spin_lock_context(&heap->lock, &flags)) {
		if (atomic_load_relaxed(&span->cpu) == (uint32_t)(heap - cpu_heaps) &&
		    span->window == &window_listed && span_is_empty(span))
			end = became_empty(heap, span);
		spin_unlock_irqrestore(&heap->lock, flags);
	}
	port_unpin();
	end_spans(heap, end);
}

/*
 * To mcentral, or to the page heap: a span that this CPU owns, has claimed and
 * has not listed. heap->lock is held, and dropped meanwhile.
 */
static void give_up(struct cpu_heap *heap, struct span *span, unsigned long *flags, struct met *met)
{
	bool stays = mcentral_put(span, met);

	spin_unlock_irqrestore(&heap->lock, *flags);
	if (!stays)
		span_destroy(span);
	else if (span_let_go(span))
		mcache_post(span, met);
	*flags = spin_lock_irqsave(&heap->lock);
}

/* Give up every listed span of a list; heap->lock is held, and dropped meanwhile. */
static void give_up_list(struct cpu_heap *heap, struct span_list *list, unsigned long *flags,
			 struct met *met)
{
	for (struct span *span = list->first, *next; span; span = next) {
		next = span->next;
		if (!span_claim(span))
			continue;
		mcache_unlist(heap, span);
		give_up(heap, span, flags, met);
		next = list->first;
	}
}

/* What is in the window or stack of a class goes back; heap->lock is held, dropped at times. */
static void unload_class(struct cpu_heap *heap, struct mcache *mcache, unsigned i,
			 unsigned long *flags, struct met *met)
{
	if (i < STACK_FIRST)
		unload(heap, &mcache->window[i]);
	else
		unload_stack(heap, &mcache->window[i], STACK_SLOTS, met);
	if (i % 16)
		return;
	spin_unlock_irqrestore(&heap->lock, *flags);
	*flags = spin_lock_irqsave(&heap->lock);
}

void mcache_flush(void)
{
	struct cpu_heap *heap;
	struct met met = { 0 };
	unsigned long flags;

	port_pin();
	heap = my_heap();
	flags = spin_lock_irqsave(&heap->lock);
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
		for (unsigned i = 0; heap->mcache[c] != &empty_mcache && i < SPAN_CLASSES; i++)
			unload_class(heap, heap->mcache[c], i, &flags, &met);
	drain_inbox(heap, &met);
	for (unsigned i = 0; i < SPAN_CLASSES; i++)
		give_up_list(heap, &heap->partial[i], &flags, &met);
	spin_unlock_irqrestore(&heap->lock, flags);
	port_unpin();
	report_met(&met);
}

void mcache_flush_class(struct span_class *class)
{
	struct cpu_heap *heap;
	struct class_cpu *cpu;
	struct met met = { 0 };
	unsigned long flags;

	port_pin();
	heap = my_heap();
	cpu = class->cpu[heap - cpu_heaps];
	flags = spin_lock_irqsave(&heap->lock);
	if (cpu) {
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
			unload(heap, &cpu->window[c]);
		drain_inbox(heap, &met);
		give_up_list(heap, &cpu->partial, &flags, &met);
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	port_unpin();
	report_met(&met);
}

/* A span that the CPU still owns goes to mcentral. */
static void disown(struct span *span, void *arg)
{
	struct cpu_heap *heap = arg;
	struct met met = { 0 };
	unsigned long flags = spin_lock_irqsave(&heap->lock);

	if (span->class && span_owner(span) == (uint32_t)(heap - cpu_heaps) &&
	    !window_is_real(span->window) && span_claim(span)) {
		if (span_is_listed(span))
			mcache_unlist(heap, span);
		give_up(heap, span, &flags, &met);
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	report_met(&met);
}

void mcache_exit_cpu(void)
{
	struct cpu_heap *heap;

	mcache_flush();
	port_pin();
	heap = my_heap();
	span_for_each(disown, heap);
	mcache_leave_cpu();
	port_unpin();
}
