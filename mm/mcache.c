// SPDX-License-Identifier: MIT
/* Per-CPU object caches; see mcache.h for the picture and the protocol. */
#include <spanheap/slab.h>

#include "lib/string.h"
#include "mm/fault.h"
#include "mm/mcache.h"
#include "mm/mcentral.h"
#include "mm/metaframe.h"
#include "mm/misuse.h"

/* Of empty spans a CPU keeps at most this much, and of partial ones per class so many. */
#define SPARE_BYTES (512UL << 10)
#define PARTIAL_MAX 64

struct span_class kmalloc_classes[SPAN_CLASSES];
const struct mcache empty_mcache;

static struct cpu_heap cpu_heaps[PORT_MAX_CPUS];

#ifndef PORT_HAS_CACHE_SLOT
void *port_cache_slots[PORT_MAX_CPUS][MM_NR_CONTEXTS];
#endif

/* An object that was freed twice, found when the two frees met. */
struct met {
	const void *object;
};

static struct cpu_heap *my_heap(void)
{
	return &cpu_heaps[port_cpu()];
}

/* All below here, up to the next such line: heap->lock of this CPU is held. */

static struct span_list *partial_of(struct cpu_heap *heap, const struct span_class *class)
{
	return class->cpu ? &class->cpu[heap - cpu_heaps]->partial : &heap->partial[class->index];
}

static bool is_real(const struct window *window)
{
	return window != &window_listed && window != &window_unlisted;
}

static size_t span_bytes(const struct span *span)
{
	return span->class->npages * PAGE_SIZE;
}

static void list_partial(struct cpu_heap *heap, struct span *span)
{
	span->window = &window_listed;
	span_list_add(partial_of(heap, span->class), span);
}

static void unlist_partial(struct cpu_heap *heap, struct span *span)
{
	span_list_del(partial_of(heap, span->class), span);
	span->window = &window_unlisted;
	if (span->spare) {
		span->spare = 0;
		heap->spare_bytes -= span_bytes(span);
	}
}

/* Fold in one word's remote frees; what is free already was freed twice. */
static void fold_word(struct span *span, unsigned word, struct met *met)
{
	uint64_t *remote = &span_remote(span)[word];
	const struct window *window = span->window;
	uint64_t freed, twice;

	if (likely(!atomic_load_relaxed(remote)))
		return;
	freed = atomic_xchg(remote, 0);
	twice = freed & ~span->used[word];
	for (uint64_t left = span->class->stack_window ? freed : 0; left; left &= left - 1)
		if (span_stacked(span)[lowest_bit(left)])
			twice |= left & -left;
	if (is_real(window) && window->word == word)
		twice |= freed & window->bits;
	if (unlikely(twice))
		met->object = span_object(span, word * 64UL + ctz64(twice));
	(void)cpu_local_and(&span->used[word], ~(freed & ~twice));
}

/* Move a word's free objects into the window. */
static bool load_word(struct cpu_heap *heap, struct window *window, struct span *span,
		      unsigned word, struct met *met)
{
	uint64_t bits;

	fold_word(span, word, met);
	bits = ~atomic_load_relaxed(&span->used[word]) & span_word_mask(span, word);
	if (!bits)
		return false;
	cpu_local_or(&span->used[word], bits);
	window->base = (uintptr_t)span_object(span, word * 64UL);
	window->size = span->size;
	window->word = word;
	window->span = span;
	span->window = window;
	compiler_barrier();
	window->bits = bits;
	heap->loaded += popcount64(bits);
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

/* Objects of listed spans onto the stack. */
static bool load_stack(struct cpu_heap *heap, struct object_stack *stack, struct span *span,
		       struct met *met)
{
	uint64_t bits;

	fold_word(span, 0, met);
	bits = ~atomic_load_relaxed(&span->used[0]) & span_word_mask(span, 0);
	for (; bits && stack->n < STACK_SLOTS; bits &= bits - 1) {
		unsigned index = lowest_bit(bits);

		cpu_local_or(&span->used[0], 1ULL << index);
		span_stacked(span)[index] = 1;
		stack->slot[stack->n++] = (struct stack_slot){ span_object(span, index),
							       span_stacked(span) + index };
		heap->loaded++;
	}
	if (bits)
		list_partial(heap, span);
	return stack->n;
}

/* Back to their spans with the objects of a stack down to @keep. */
static void unload_stack(struct cpu_heap *heap, struct object_stack *stack, unsigned keep)
{
	while (stack->n > keep) {
		struct stack_slot *slot = &stack->slot[--stack->n];
		struct span *span = pagemap_find(virt_to_phys(slot->object));
		unsigned index = (unsigned)(slot->mark - span_stacked(span));

		*slot->mark = 0;
		heap->loaded--;
		if (span->window == &window_unlisted)
			list_partial(heap, span);
		if (cpu_local_and(&span->used[0], ~(1ULL << index)) && !span->spare) {
			span->spare = 1;
			heap->spare_bytes += span_bytes(span);
		}
	}
}

/* Take the window off its span and give what it did not hand out back. */
static void unload(struct cpu_heap *heap, struct window *window)
{
	struct span *span = window->span;
	uint64_t bits;

	if (!span) {
		if (window->base)
			unload_stack(heap, (struct object_stack *)window->base, 0);
		return;
	}
	bits = cpu_local_xchg(&window->bits, 0);
	heap->loaded -= popcount64(bits);
	(void)cpu_local_and(&span->used[window->word], ~bits);
	window->span = NULL;
	window->base = 0;
	span->window = &window_unlisted;
	if (span_has_free(span))
		list_partial(heap, span);
}

static bool claim(struct span *span)
{
	struct span *unclaimed = NULL;

	return atomic_cas(&span->inbox_next, &unclaimed, SPAN_CLAIMED);
}

/*
 * A listed span has become empty: keep it, or have it destroyed by the caller
 * after it has let go of the lock. Only a task may end a span.
 */
static struct span *became_empty(struct cpu_heap *heap, struct span *span)
{
	if (span->spare)
		return NULL;
	if (heap->spare_bytes + span_bytes(span) > SPARE_BYTES && port_context() == MM_TASK &&
	    claim(span)) {
		unlist_partial(heap, span);
		return span;
	}
	span->spare = 1;
	heap->spare_bytes += span_bytes(span);
	return NULL;
}

/* Spans in which others have freed: list those that have something free now. */
static void drain_inbox(struct cpu_heap *heap, struct met *met)
{
	struct span *span, *next;

	if (likely(!atomic_load_relaxed(&heap->inbox)))
		return;
	span = atomic_xchg(&heap->inbox, NULL);
	for (; span && span != SPAN_CLAIMED; span = next) {
		next = atomic_xchg(&span->inbox_next, NULL);
		for (unsigned w = 0; w < span->nwords; w++)
			fold_word(span, w, met);
		if (span->window == &window_unlisted && span_has_free(span))
			list_partial(heap, span);
		if (span->window == &window_listed && span_is_empty(span)) {
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
	if (span->class->stack_window && window->base)
		return load_stack(heap, (struct object_stack *)window->base, span, met);
	return load_span(heap, window, span, 0, met);
}

/* Objects into the window from what the CPU owns or mcentral has. */
static bool load_window(struct cpu_heap *heap, struct span_class *class, struct window *window,
			struct met *met)
{
	struct span_list *partial = partial_of(heap, class);
	struct span *span = window->span;

	drain_inbox(heap, met);
	if (span) {
		if (load_span(heap, window, span, window->word + 1, met))
			return true;
		unload(heap, window);
	}
	while ((span = partial->first)) {
		unlist_partial(heap, span);
		if (load_from(heap, window, span, met))
			return true;
	}
	while ((span = mcentral_take(class, port_cpu()))) {
		span->window = &window_unlisted;
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
	return mcache != &empty_mcache ? &mcache->window[class->index] : NULL;
}

static size_t mcache_frames(void)
{
	return (sizeof(struct mcache) + FRAME_SIZE - 1) / FRAME_SIZE;
}

static void set_stacks(struct mcache *mcache)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SPAN_CLASSES; i++)
		if (kmalloc_classes[i].stack_window)
			mcache->window[i].base = (uintptr_t)&mcache->stack[n++];
}

/* A context of this CPU allocates for the first time. */
static bool first_use(struct span_class *class)
{
	size_t nframes = class->cpu ? 1 : mcache_frames();
	void *memory = metaframe_alloc_run(nframes);
	struct cpu_heap *heap;
	unsigned long flags;

	if (!memory)
		return false;
	memset(memory, 0, nframes * FRAME_SIZE);
	flags = port_irq_save();
	heap = my_heap();
	if (class->cpu && !class->cpu[heap - cpu_heaps]) {
		atomic_store(&class->cpu[heap - cpu_heaps], memory);
		memory = NULL;
	} else if (!class->cpu && heap->mcache[port_context()] == &empty_mcache) {
		set_stacks(memory);
		heap->mcache[port_context()] = memory;
		port_cache_set(port_context(), memory);
		memory = NULL;
	}
	port_irq_restore(flags);
	if (memory)
		metaframe_free_run(memory, nframes);
	return true;
}

/* One object out of @window, which has some; nothing stays in it while failures are injected. */
static void *take_one(struct cpu_heap *heap, struct window *window)
{
	void *object = NULL;

	if (!window_take(window, &object))
		stack_pop(window, &object);
	if (unlikely(atomic_load_relaxed(&mm_fail_armed)))
		unload(heap, window);
	return object;
}

/* Any of what the CPU has; *first_time: the context has no windows yet. */
static void *refill_from_spans(struct span_class *class, struct span *fresh, bool *first_time)
{
	struct cpu_heap *heap;
	struct window *window;
	struct met met = { 0 };
	unsigned long flags;
	void *object = NULL;

	port_pin();
	heap = my_heap();
	if (!spin_lock_context(&heap->lock, &flags)) {
		port_unpin();
		return NULL;
	}
	window = my_window(heap, class);
	*first_time = !window;
	if (fresh && window) {
		atomic_store(&fresh->cpu, (uint32_t)(heap - cpu_heaps));
		list_partial(heap, fresh);
	}
	if (window && (window->bits || load_window(heap, class, window, &met)))
		object = take_one(heap, window);
	spin_unlock_irqrestore(&heap->lock, flags);
	port_unpin();
	report_met(&met);
	return object;
}

void *mcache_alloc(struct span_class *class, gfp_t gfp)
{
	bool first_time;
	void *object = refill_from_spans(class, NULL, &first_time);

	while (!object) {
		struct span *fresh;

		if (first_time && !first_use(class))
			return NULL;
		fresh = first_time ? NULL : span_create(class, gfp);
		if (!first_time && !fresh)
			return NULL;
		object = refill_from_spans(class, fresh, &first_time);
		if (!object && fresh && atomic_load(&fresh->cpu) == SPAN_NOBODY) {
			/* An NMI that could not lock, or a CPU without windows. */
			span_destroy(fresh);
			if (!first_time)
				return NULL;
		}
	}
	return object;
}

static int double_or_invalid(const struct span *span, unsigned index)
{
	return index < span->nobjs ? MM_DOUBLE_FREE : MM_INVALID_FREE;
}

/* Free on the owning CPU; heap->lock is held. *end: span to be destroyed. */
static int free_local(struct cpu_heap *heap, struct span *span, unsigned index, struct span **end)
{
	unsigned word = index / 64;
	uint64_t bit = 1ULL << index % 64;
	struct met met = { 0 };

	fold_word(span, word, &met);
	if (!(span->used[word] & bit))
		return double_or_invalid(span, index);
	if (is_real(span->window) && span->window->word == word && span->window->bits & bit)
		return MM_DOUBLE_FREE;
	if (span->class->stack_window && span_stacked(span)[index])
		return MM_DOUBLE_FREE;
	if (span->window == &window_unlisted)
		list_partial(heap, span);
	if (cpu_local_and(&span->used[word], ~bit) && span->window == &window_listed &&
	    span_is_empty(span))
		*end = became_empty(heap, span);
	return -1;
}

/* Is the object in its owner's window? Looked at under the owner's lock, bits can only go. */
static bool in_window(struct span *span, unsigned index, uint32_t cpu)
{
	struct window *window;
	unsigned long flags;
	bool found;

	window = atomic_load(&span->window);
	if (!is_real(window) || !(atomic_load_relaxed(&window->bits) >> index % 64 & 1))
		return false;
	if (!spin_lock_context(&cpu_heaps[cpu].lock, &flags))
		return false;
	window = span->window;
	found = span->cpu == cpu && is_real(window) && window->word == index / 64 &&
		window->bits >> index % 64 & 1;
	spin_unlock_irqrestore(&cpu_heaps[cpu].lock, flags);
	return found;
}

/* Put a claimed span where its owner looks, whoever that is by now. */
static void post(struct span *span)
{
	for (;;) {
		uint32_t cpu = atomic_load(&span->cpu);
		struct span *first;

		if (cpu == SPAN_CENTRAL) {
			if (mcentral_settle(span))
				return;
			continue;
		}
		first = atomic_load(&cpu_heaps[cpu].inbox);
		do
			atomic_store(&span->inbox_next, first ? first : SPAN_CLAIMED);
		while (!atomic_cas(&cpu_heaps[cpu].inbox, &first, span));
		return;
	}
}

static int free_remote(struct span *span, unsigned index, uint32_t cpu)
{
	uint64_t bit = 1ULL << index % 64;
	uint64_t *remote = &span_remote(span)[index / 64];

	if (!(atomic_load(&span->used[index / 64]) & bit))
		return double_or_invalid(span, index);
	if (cpu != SPAN_CENTRAL && in_window(span, index, cpu))
		return MM_DOUBLE_FREE;
	if (span->class->stack_window && span_stacked(span)[index])
		return MM_DOUBLE_FREE;
	if (atomic_fetch_or(remote, bit) & bit)
		return MM_DOUBLE_FREE;
	if (!atomic_load(&span->inbox_next) && claim(span))
		post(span);
	return -1;
}

int mcache_free(struct span *span, unsigned index)
{
	struct cpu_heap *heap;
	struct span *end = NULL;
	unsigned long flags;
	uint32_t cpu;
	int bad;

	port_pin();
	heap = my_heap();
	cpu = atomic_load(&span->cpu);
	if (cpu == (uint32_t)(heap - cpu_heaps) && spin_lock_context(&heap->lock, &flags)) {
		bad = free_local(heap, span, index, &end);
		spin_unlock_irqrestore(&heap->lock, flags);
	} else if (cpu == SPAN_NOBODY || cpu == SPAN_LARGE) {
		bad = MM_INVALID_FREE;
	} else {
		bad = free_remote(span, index, cpu);
	}
	port_unpin();
	if (end)
		span_destroy(end);
	return bad;
}

void mcache_word_empty(const void *p, struct span *span)
{
	struct span *end = NULL;
	struct cpu_heap *heap;
	unsigned long flags;

	(void)p;
	/* Mostly it is the one that objects are taken from. */
	if (span->window != &window_listed)
		return;
	port_pin();
	heap = my_heap();
	if (spin_lock_context(&heap->lock, &flags)) {
		if (span->cpu == (uint32_t)(heap - cpu_heaps) && span->window == &window_listed &&
		    span_is_empty(span))
			end = became_empty(heap, span);
		spin_unlock_irqrestore(&heap->lock, flags);
	}
	port_unpin();
	if (end)
		span_destroy(end);
}

/* Give up every listed span of a list; heap->lock is held, and dropped meanwhile. */
static void give_up_list(struct cpu_heap *heap, struct span_list *list, unsigned long *flags)
{
	struct span *span = list->first, *next;

	for (; span; span = next) {
		next = span->next;
		if (!claim(span))
			continue;
		unlist_partial(heap, span);
		spin_unlock_irqrestore(&heap->lock, *flags);
		mcentral_put(span);
		*flags = spin_lock_irqsave(&heap->lock);
		next = list->first;
	}
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
			unload(heap, &heap->mcache[c]->window[i]);
	drain_inbox(heap, &met);
	for (unsigned i = 0; i < SPAN_CLASSES; i++)
		give_up_list(heap, &heap->partial[i], &flags);
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
		give_up_list(heap, &cpu->partial, &flags);
	}
	spin_unlock_irqrestore(&heap->lock, flags);
	port_unpin();
	report_met(&met);
}

/* What kmalloc() looks up: where the window for a size is in struct mcache. */
uint16_t mcache_offset[MCACHE_OFFSETS];

static void fill_offsets(void)
{
	size_t at = 1;

	for (unsigned class = 1; class < NR_SIZE_CLASSES; class++) {
		uint16_t offset = (uint16_t)KMALLOC_WINDOW(class);

		/* kmalloc() passes over one class; what would be its falls to the next. */
		if (class == KMALLOC_SKIPPED_CLASS)
			continue;
		while (at * 8 <= size_classes[class].size)
			mcache_offset[at++] = offset;
	}
}

void mcache_init(void)
{
	fill_offsets();
	for (unsigned i = 0; i < SPAN_CLASSES; i++) {
		const struct size_class *row = &size_classes[i / 2];

		if (!row->size)
			continue;
		span_class_init(&kmalloc_classes[i], row->size, row->npages, 1U << row->align_shift);
		kmalloc_classes[i].index = (uint8_t)i;
		if (row->nobjs <= STACK_MAX_OBJS)
			kmalloc_classes[i].stack_window = (uint16_t)(i * sizeof(struct window));
	}
}

int mcache_init_cpu(void)
{
	struct cpu_heap *heap = my_heap();

	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++) {
		heap->mcache[c] = (struct mcache *)&empty_mcache;
		port_cache_set((enum mm_context)c, heap->mcache[c]);
	}
	return 0;
}

/* Visit every span, in no order. What is made or ends meanwhile may be missed. */
static void for_each_span(void (*fn)(struct span *span, void *arg), void *arg)
{
	for_each_arena(a, &main_map.index)
		for (uint64_t at = a->base; at < a->base + ARENA_SIZE; at += PAGE_SIZE) {
			struct span *span = pagemap_find(at);

			if (span == &null_span && at % CHUNK_SIZE == 0 &&
			    !chunk_find(&main_map.index, round_down(at, 2 * CHUNK_SIZE))->spans)
				at += CHUNK_SIZE - PAGE_SIZE;
			else if (span != &null_span && span->base == at)
				fn(span, arg);
		}
}

static void count_span(struct span *span, void *arg)
{
	struct mcache_counts *counts = arg;
	const uint64_t *remote = span_remote(span);
	const struct window *window = span->window;
	uint64_t live = 0;

	if (!span->class) {
		counts->live++;
		counts->live_bytes += span->size * PAGE_SIZE;
		return;
	}
	for (unsigned w = 0; w < span->nwords; w++)
		live += popcount64(span->used[w] & ~remote[w]);
	if (is_real(window))
		live -= popcount64(window->bits);
	for (unsigned i = 0; span->class->stack_window && i < span->nobjs; i++)
		live -= span_stacked(span)[i];
	counts->live += live;
	counts->live_bytes += live * span->size;
}

void mcache_count(struct mcache_counts *counts)
{
	*counts = (struct mcache_counts){ 0 };
	for_each_span(count_span, counts);
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++) {
		const struct cpu_heap *heap = &cpu_heaps[cpu];

		counts->allocs += heap->loaded;
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
			for (unsigned i = 0; heap->mcache[c] && i < SPAN_CLASSES; i++)
				counts->allocs -= popcount64(heap->mcache[c]->window[i].bits);
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
			for (unsigned i = 0; heap->mcache[c] && i < STACK_CLASSES; i++)
				counts->allocs += heap->mcache[c]->stack[i].pushed -
						  heap->mcache[c]->stack[i].n;
	}
}

/* A span that the CPU still owns goes to mcentral. */
static void disown(struct span *span, void *arg)
{
	struct cpu_heap *heap = arg;

	if (span->class && span->cpu == (uint32_t)(heap - cpu_heaps) && claim(span))
		mcentral_put(span);
}

void mcache_exit_cpu(void)
{
	struct cpu_heap *heap;

	mcache_flush();
	port_pin();
	heap = my_heap();
	for_each_span(disown, heap);
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
		if (heap->mcache[c] != &empty_mcache) {
			void *memory = heap->mcache[c];

			heap->mcache[c] = (struct mcache *)&empty_mcache;
			port_cache_set((enum mm_context)c, heap->mcache[c]);
			metaframe_free_run(memory, mcache_frames());
		}
	port_unpin();
}
