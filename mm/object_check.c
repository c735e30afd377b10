// SPDX-License-Identifier: MIT
/*
 * Do spans, lists, windows, stacks, inboxes and page map agree?
 *
 * Two walks over the same things, whose sums are compared:
 *
 *	by the page map		each span, alone: its bits, owner, window, entries;
 *				and where it says that it is
 *	by the owners		each list, inbox, window and stack, and whether what
 *				is in it says so
 *
 * What is in a list is there once, as the links are checked; so if all of a list's
 * members belong there, and there are as many as spans that say so, the list is
 * right. No locks: the caller sees to it that nothing changes.
 *
 * A span that is in no list may have free objects nevertheless: when an interrupt
 * took it off its list in the middle of a free. The next free in it lists it.
 */
#include "mm/kmem_cache.h"
#include "mm/log.h"
#include "mm/mcache.h"
#include "mm/mcentral.h"
#include "mm/medium.h"
#include "mm/object_check.h"
#include "mm/tiny.h"

#define LOGGED_MAX 20

/* What both walks count. */
struct tally {
	uint64_t listed, central_partial, central_full, in_inbox, windows, stacked, medium;
	uint64_t spare_bytes[PORT_MAX_CPUS], owned_bytes[PORT_MAX_CPUS], central_spare;
};

struct check {
	unsigned bad;
	uint64_t nspans;
	struct tally said, found; /* by the spans; by those who have them */
};

static void fault(struct check *check, const struct span *span, const char *what)
{
	if (check->bad++ >= LOGGED_MAX)
		return;
	mm_log("span %p at 0x%llx, %u objects of %u bytes, owner 0x%x: %s", (const void *)span,
	       (unsigned long long)span->base, span->nobjs, span->size, span->cpu, what);
}

static void differ(struct check *check, const char *what, uint64_t said, uint64_t found)
{
	if (said == found)
		return;
	mm_log("objects: %llu %s, but %llu found there", (unsigned long long)said, what,
	       (unsigned long long)found);
	check->bad++;
}

/* ---- Each span ---- */

static void check_entries(struct check *check, struct span *span)
{
	size_t npages = span->class ? span->class->npages : span->size;

	for (size_t i = 0; i < npages; i++) {
		struct span *entry = pagemap_find(span->base + i * PAGE_SIZE);
		bool here = span->class || !i;

		if (here != (entry == span) || (!here && pagemap_is_span(entry))) {
			fault(check, span, "wrong entries in the page map");
			return;
		}
	}
}

static void check_large(struct check *check, struct span *span)
{
	bool waits = span->cpu == SPAN_NOBODY;

	check->said.medium += waits;
	if ((span->cpu != SPAN_LARGE && span->cpu != SPAN_KEPT && !waits) || span->magic ||
	    span->nobjs != 1 || span->used[0] != 1 || !span->inbox_next)
		fault(check, span, "not as a large object is");
}

static void check_bits(struct check *check, struct span *span)
{
	const struct window *window = span->window;
	unsigned marks = 0;

	for (unsigned w = 0; w < span->nwords; w++) {
		uint64_t used = span->used[w], remote = span_remote(span)[w];

		if (w * 64 >= span->nobjs ? used : used & ~span_word_mask(span, w))
			fault(check, span, "used bits of no object");
		if (remote & ~used)
			fault(check, span, "freed from afar, and free");
		if (remote && !span->inbox_next)
			fault(check, span, "freed from afar, and nobody is told");
		if (window_is_real(window) && window->word == w && window_bits(window) & ~used)
			fault(check, span, "in the window, and free");
	}
	for (unsigned i = 0; span->stack && i < span->nobjs; i++) {
		bool used = span->used[0] >> i & 1;
		uint8_t mark = span_mark(span, i);

		marks += used && mark != MARK_OUT;
		if ((!used && mark == MARK_OUT) || (mark & ~MARK_BACK && mark != MARK_OUT))
			fault(check, span, "an object has a wrong mark");
	}
	check->said.stacked += marks;
}

static void check_place(struct check *check, struct span *span)
{
	bool listed = span_is_listed(span), real = window_is_real(span->window);
	uint32_t owner = span_owner(span);

	if (owner != SPAN_CENTRAL && owner >= PORT_MAX_CPUS) {
		fault(check, span, "nobody's, but in the page map");
		return;
	}
	if (listed && !span_has_free(span))
		fault(check, span, "listed, and full");
	if (span_is_spare(span) && (!listed || !span_is_empty(span) || owner == SPAN_CENTRAL))
		fault(check, span, "not spare, but said to be");
	if (owner == SPAN_CENTRAL && real)
		fault(check, span, "in a window of nobody's");
	if (owner != SPAN_CENTRAL && span->cpu & SPAN_MAIL && !span->inbox_next)
		fault(check, span, "marked for mail, but in no inbox");

	check->said.windows += real;
	check->said.in_inbox += span->inbox_next != NULL;
	if (owner == SPAN_CENTRAL) {
		check->said.central_partial += listed;
		check->said.central_full += !listed;
		check->said.central_spare += span_is_empty(span) ? span_bytes(span) : 0;
	} else {
		check->said.listed += listed;
		check->said.owned_bytes[owner] +=
			listed || real ? span_bytes(span) : 0;
		check->said.spare_bytes[owner] +=
			span_is_spare(span) ? span_bytes(span) : 0;
	}
}

static void check_object_span(struct span *span, void *arg)
{
	struct check *check = arg;
	const struct span_class *class = span->class;

	check_entries(check, span);
	if (!class) {
		check_large(check, span);
		return;
	}
	check->nspans++;
	if (span->size != class->size || span->magic != class->magic ||
	    span->reciprocal != class->reciprocal ||
	    span->nobjs != class->nobjs || span_fresh(span) > span->nobjs ||
	    span->start != (uintptr_t)phys_to_virt(span->base) || span->base & (class->align - 1))
		fault(check, span, "not as its class is");
	check_bits(check, span);
	check_place(check, span);
}

/* ---- Who has them ---- */

enum place { BY_CPU, CENTRAL_PARTIAL, CENTRAL_FULL };

static uint64_t check_list(struct check *check, const struct span_list *list,
			   const struct span_class *class, enum place place, uint32_t owner)
{
	const struct span *prev = NULL;
	uint64_t n = 0;

	for (struct span *span = list->first; span; prev = span, span = span->next, n++) {
		if (span->prev != prev || n > list->n) {
			fault(check, span, "wrong links in a list");
			break;
		}
		if (span->class != class || span_owner(span) != owner ||
		    span_is_listed(span) != (place != CENTRAL_FULL) ||
		    pagemap_find(span->base) != span)
			fault(check, span, "in a wrong list");
	}
	differ(check, "counted in a list", list->n, n);
	differ(check, "last of a list", (uintptr_t)list->last, (uintptr_t)prev);
	return n;
}

static void check_window(struct check *check, const struct window *window, uint32_t owner)
{
	const struct span *span = window->span;

	if (!span) {
		differ(check, "objects in a window without a span", window_bits(window), 0);
		return;
	}
	check->found.windows++;
	if (span->window != window || span_owner(span) != owner || window->word >= span->nwords ||
	    window->size != span->size ||
	    window->base != (uintptr_t)span_object(span, window->word * 64UL))
		fault(check, span, "not in the window that has it");
}

/* Both lists of a half; what is in them knows the half and belongs to these lists. */
static void check_central(struct check *check, const struct span_class *class,
			  const struct mcentral *central, unsigned half)
{
	const struct span_list *list[] = { &central->partial[half], &central->full[half] };

	check->found.central_partial +=
		check_list(check, list[0], class, CENTRAL_PARTIAL, SPAN_CENTRAL);
	check->found.central_full += check_list(check, list[1], class, CENTRAL_FULL, SPAN_CENTRAL);
	for (unsigned i = 0; i < 2; i++)
		for (const struct span *span = list[i]->first; span; span = span->next)
			if (mcentral_of(span) != central ||
			    !!(span->fresh & SPAN_HALF) != half)
				fault(check, span, "in the lists of another place or half");
}

static void check_class(struct span_class *class, void *arg)
{
	struct check *check = arg;

	for (unsigned i = 0; i < PORT_MAX_NODES * MEM_WINDOWS * 2; i++) {
		unsigned node = i / 2 / MEM_WINDOWS, window = i / 2 % MEM_WINDOWS;

		check_central(check, class, &class->central[node][window], i % 2);
	}
	for (unsigned cpu = 0; class->cpu && cpu < PORT_MAX_CPUS; cpu++) {
		const struct class_cpu *own = class->cpu[cpu];

		if (!own)
			continue;
		check->found.listed += check_list(check, &own->partial, class, BY_CPU, cpu);
		for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
			check_window(check, &own->window[c], cpu);
	}
}

static void check_stack(struct check *check, const struct window *window,
			const struct span_class *class)
{
	for (const struct stack_slot *slot = window->top; (--slot)->object;) {
		struct span *span = pagemap_find(virt_to_phys(slot->object));
		size_t index = (size_t)(slot->mark - span_marks(span));

		check->found.stacked++;
		if (span->class != class || index >= span->nobjs ||
		    span_object(span, index) != slot->object ||
		    !bit_of(span->used[0], index) || !span_is_stacked(span, (unsigned)index))
			fault(check, span, "an object is on a stack, but is not said to be");
	}
}

static void check_mcache(struct check *check, const struct mcache *mcache, uint32_t cpu)
{
	for (unsigned i = 0; i < SPAN_CLASSES; i++) {
		const struct window *window = &mcache->window[i];

		check_window(check, window, cpu);
		if (kmalloc_classes[i].stack_window)
			check_stack(check, window, &kmalloc_classes[i]);
	}
}

static void check_inbox(struct check *check, const struct cpu_heap *heap)
{
	uint64_t n = 0, bytes = 0;

	for (const struct span *span = heap->inbox; span && span != SPAN_CLAIMED;
	     span = span->inbox_next) {
		bytes += span_bytes(span);
		if (n++ > check->nspans) {
			fault(check, span, "an inbox has no end");
			break;
		}
	}
	check->found.in_inbox += n;
	differ(check, "bytes of spans in an inbox", heap->inbox_bytes, bytes);
}

static void check_cpu(struct check *check, uint32_t cpu)
{
	const struct cpu_heap *heap = mcache_heap(cpu);

	for (unsigned i = 0; i < SPAN_CLASSES; i++)
		check->found.listed +=
			check_list(check, &heap->partial[i], &kmalloc_classes[i], BY_CPU, cpu);
	for (unsigned c = 0; c < MM_NR_CONTEXTS; c++)
		if (heap->mcache[c] && heap->mcache[c] != &empty_mcache)
			check_mcache(check, heap->mcache[c], cpu);
	check_inbox(check, heap);
	differ(check, "spare bytes", heap->spare_bytes, check->said.spare_bytes[cpu]);
	differ(check, "bytes of spans in lists and windows", heap->owned_bytes,
	       check->said.owned_bytes[cpu]);
}

static void count_spans(struct span_class *class, void *arg)
{
	*(uint64_t *)arg += atomic_load_relaxed(&class->nspans);
}

static void check_medium(struct span *span, void *arg)
{
	struct check *check = arg;

	check->found.medium++;
	if (span->class || span->cpu != SPAN_NOBODY || pagemap_find(span->base) != span)
		fault(check, span, "waits as a medium run, but is none");
}

unsigned object_check(void)
{
	struct check check = { 0 };
	uint64_t nspans = 0;

	span_for_each(check_object_span, &check);
	for (unsigned i = 0; i < SPAN_CLASSES; i++) {
		count_spans(&kmalloc_classes[i], &nspans);
		check_class(&kmalloc_classes[i], &check);
	}
	count_spans(&tiny_class, &nspans);
	check_class(&tiny_class, &check);
	kmem_cache_for_each_class(count_spans, &nspans);
	kmem_cache_for_each_class(check_class, &check);
	for (unsigned cpu = 0; cpu < PORT_MAX_CPUS; cpu++)
		check_cpu(&check, cpu);
	medium_for_each(check_medium, &check);

	differ(&check, "spans counted by their classes", nspans, check.nspans);
	differ(&check, "spans say they are listed", check.said.listed, check.found.listed);
	differ(&check, "spans say they are with mcentral, with free objects",
	       check.said.central_partial, check.found.central_partial);
	differ(&check, "bytes of empty spans with mcentral", mcentral_spare_bytes(),
	       check.said.central_spare);
	differ(&check, "spans say they are with mcentral, full", check.said.central_full,
	       check.found.central_full);
	differ(&check, "spans say they are in an inbox", check.said.in_inbox, check.found.in_inbox);
	differ(&check, "spans say they are in a window", check.said.windows, check.found.windows);
	differ(&check, "runs say they are free", check.said.medium, check.found.medium);
	differ(&check, "marks of objects on a stack", check.said.stacked, check.found.stacked);
	return check.bad;
}
