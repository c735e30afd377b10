/* SPDX-License-Identifier: MIT */
/*
 * mm/span.c, mm/mcentral.c and mm/mcache.c compiled once more, with a scheduling
 * point at each atomic access, over stubs:
 *
 *	page heap	eight pages, the lowest free one first
 *	page map	an array
 *	CPUs		one for each actor; an actor may also be an interrupt or NMI
 *			of another one's CPU: it begins at any point of that one,
 *			which then stands still until it is over
 *
 * Included by one file.
 */
#ifndef TESTS_HOST_HANDOVER_FIXTURE_H
#define TESTS_HOST_HANDOVER_FIXTURE_H

#include <host_port.h>

#include "tests/host/sched.h"

static void actor_point(void);
static unsigned actor_cpu(void);
static enum mm_context actor_context(void);
static unsigned long actor_irq_save(void);
static void actor_irq_restore(unsigned long flags);

#define ATOMIC_POINT() actor_point()
#define port_relax sched_relax
#define port_cpu() actor_cpu()
#define port_context() actor_context()
#define port_irq_save() actor_irq_save()
#define port_irq_restore(flags) actor_irq_restore(flags)
#define port_pin() ((void)0)
#define port_unpin() ((void)0)
#define port_cache() ((void *)&empty_mcache)
#define port_cache_set(context, cache) ((void)(context), (void)(cache))
#include "lib/atomic.h"
#include "lib/bits.h"

/* One instruction: nothing comes in between, but something may before it. */
#define cpu_local_or(p, m) (actor_point(), cpu_local_or(p, m))
#define cpu_local_and(p, m) (actor_point(), cpu_local_and(p, m))
#define cpu_local_xchg(p, v) (actor_point(), cpu_local_xchg(p, v))

/* And between plain stores that only what comes on the same CPU can see. */
#undef compiler_barrier
#define compiler_barrier() actor_point()
#define popcount64(x) (actor_point(), popcount64(x))

/* What is compiled twice must not meet the other copy. */
#define class_cpu_alloc ho_class_cpu_alloc
#define class_cpu_free ho_class_cpu_free
#define cpu_heaps ho_cpu_heaps
#define empty_mcache ho_empty_mcache
#define inner_pages_alloc ho_inner_pages_alloc
#define inner_pages_free ho_inner_pages_free
#define kmalloc_classes ho_kmalloc_classes
#define mcache_alloc ho_mcache_alloc
#define mcache_allocs ho_mcache_allocs
#define mcache_count ho_mcache_count
#define mcache_exit_cpu ho_mcache_exit_cpu
#define mcache_first_use ho_mcache_first_use
#define mcache_flush ho_mcache_flush
#define mcache_flush_class ho_mcache_flush_class
#define mcache_free ho_mcache_free
#define mcache_hide ho_mcache_hide
#define mcache_init ho_mcache_init
#define mcache_init_cpu ho_mcache_init_cpu
#define mcache_leave_cpu ho_mcache_leave_cpu
#define mcache_offset ho_mcache_offset
#define mcache_post ho_mcache_post
#define mcache_make_room ho_mcache_make_room
#define mcache_shed ho_mcache_shed
#define mcache_slot ho_mcache_slot
#define mcache_tell ho_mcache_tell
#define mcache_unhide ho_mcache_unhide
#define mcache_unlist ho_mcache_unlist
#define mcache_word_empty ho_mcache_word_empty
#define mcentral_alloc ho_mcentral_alloc
#define mcentral_allocs ho_mcentral_allocs
#define mcentral_flush_spare ho_mcentral_flush_spare
#define mcentral_next_generation ho_mcentral_next_generation
#define mcentral_of ho_mcentral_of
#define mcentral_put ho_mcentral_put
#define mcentral_settle ho_mcentral_settle
#define mcentral_spare_bytes ho_mcentral_spare_bytes
#define mcentral_swept ho_mcentral_swept
#define mcentral_take ho_mcentral_take
#define metaframe_alloc ho_metaframe_alloc
#define metaframe_alloc_run ho_metaframe_alloc_run
#define metaframe_free_run ho_metaframe_free_run
#define mm_report_misuse ho_report_misuse
#define no_stack ho_no_stack
#define numa_node_of ho_numa_node_of
#define numa_order ho_numa_order
#define pagemap_clear ho_pagemap_clear
#define pagemap_find ho_pagemap_find
#define pagemap_set ho_pagemap_set
#define port_cache_slots ho_port_cache_slots
#define span_class_init ho_span_class_init
#define span_create ho_span_create
#define span_create_large ho_span_create_large
#define span_destroy ho_span_destroy
#define span_fold_remote ho_span_fold_remote
#define span_fold_word ho_span_fold_word
#define span_for_each ho_span_for_each
#define span_free_slowly ho_span_free_slowly
#define span_handed_out ho_span_handed_out
#define span_has_free ho_span_has_free
#define span_is_empty ho_span_is_empty
#define span_let_go ho_span_let_go
#define span_note_window ho_span_note_window
#define span_word_live ho_span_word_live

#include "mm/mcache.h"

static struct chunk any_chunk;
static void note_holder(const void *object);

/* The moment at which an object has a holder. */
static inline bool take_and_note(struct window *window, void **object)
{
	bool taken = window_take(window, object);

	if (taken)
		note_holder(*object);
	return taken;
}
#define window_take take_and_note
#define chunk_find(index, pa) ((void)(index), (void)(pa), &any_chunk)

#include "mm/kmalloc_classes.c"
#include "mm/mcache_hide.c"
#include "mm/mcache.c"
#include "mm/mcache_memory.c"
#include "mm/mcentral.c"
#include "mm/span.c"

#include <kunit/test.h>

#include "lib/fmt.h"

#define CPUS 3
#define PAGES 8
#define CLASSES 2
#define OBJS_MAX 8
#define FIRST_PA (64UL << 20)

/* ---- Actors ---- */

struct actor {
	unsigned cpu;
	enum mm_context context;
};

static struct actor actor[SCHED_MAX_THREADS], outside;
static bool inside;		     /* a thread of the explorer runs */
static enum mm_context active[CPUS]; /* what each CPU is doing */
static bool irqs_off[CPUS];

static struct actor *self(void)
{
	return inside ? &actor[sched_self()] : &outside;
}

static unsigned actor_cpu(void)
{
	return self()->cpu;
}

static enum mm_context actor_context(void)
{
	return self()->context;
}

static void actor_point(void)
{
	sched_point();
	while (inside && active[self()->cpu] > self()->context)
		sched_relax();
}

static unsigned long actor_irq_save(void)
{
	unsigned long was = irqs_off[self()->cpu];

	irqs_off[self()->cpu] = true;
	return was;
}

static void actor_irq_restore(unsigned long flags)
{
	irqs_off[self()->cpu] = flags;
}

/* Cut into what the CPU does. An interrupt waits until it may. */
static enum mm_context enter(void)
{
	const struct actor *me = self();
	enum mm_context was;

	sched_point();
	while (active[me->cpu] >= me->context || (me->context == MM_IRQ && irqs_off[me->cpu]))
		sched_relax();
	was = active[me->cpu];
	active[me->cpu] = me->context;
	return was;
}

static void leave(enum mm_context was)
{
	active[self()->cpu] = was;
}

/* ---- Stubs ---- */

static struct span_class class[CLASSES];
static struct class_cpu class_cpu[CLASSES][CPUS];
static struct class_cpu *class_cpus[CLASSES][PORT_MAX_CPUS];
static struct {
	struct span *span;
	bool used;
	uint8_t held[OBJS_MAX];
} page[PAGES];
static char frames[4][FRAME_SIZE] __attribute__((aligned(FRAME_SIZE)));
static unsigned nframes, reports;

static unsigned page_of(phys_addr_t pa)
{
	return (unsigned)((pa - FIRST_PA) / PAGE_SIZE);
}

void *inner_pages_alloc(size_t n, size_t align, gfp_t gfp)
{
	(void)align, (void)gfp;
	actor_point();
	for (unsigned i = 0; i < PAGES && n == PAGE_FRAMES; i++)
		if (!page[i].used) {
			page[i].used = true;
			return phys_to_virt(FIRST_PA + i * PAGE_SIZE);
		}
	return NULL;
}

void inner_pages_free(void *pages, size_t n)
{
	unsigned nr = page_of(virt_to_phys(pages));

	(void)n;
	actor_point();
	for (unsigned i = 0; i < OBJS_MAX; i++)
		if (page[nr].held[i])
			sched_fail("a span ended under an object");
	if (!page[nr].used)
		sched_fail("a span ended twice");
	page[nr].used = false;
}

bool pagemap_set(phys_addr_t pa, size_t npages, struct span *span)
{
	(void)npages;
	page[page_of(pa)].span = span;
	return true;
}

void pagemap_clear(phys_addr_t pa, size_t npages)
{
	(void)npages;
	page[page_of(pa)].span = NULL;
}

struct span *pagemap_find(phys_addr_t pa)
{
	return page[page_of(pa)].span ?: &gone_span;
}

void *metaframe_alloc(void)
{
	return nframes < ARRAY_SIZE(frames) ? frames[nframes++] : NULL;
}

void *metaframe_alloc_run(size_t n)
{
	(void)n;
	return NULL;
}

void metaframe_free_run(void *run, size_t n)
{
	(void)run, (void)n;
}

struct class_cpu *class_cpu_alloc(void)
{
	return NULL;
}

/* Spare bytes are never what they seem here, see reset(). */
void mcache_shed(void)
{
}

void mcache_make_room(void)
{
}

void class_cpu_free(struct class_cpu *cpu)
{
	(void)cpu;
}

const struct node_order *numa_order(unsigned node)
{
	static const struct node_order order = { .n = 1 };

	(void)node;
	return &order;
}

uint64_t mcache_allocs(const struct mcache *mcache)
{
	(void)mcache;
	return 0;
}

unsigned numa_node_of(unsigned cpu)
{
	(void)cpu;
	return 0;
}

void mm_report_misuse(enum mm_misuse kind, const void *addr, size_t size, const void *caller)
{
	(void)kind, (void)addr, (void)size, (void)caller;
	reports++;
}

#endif
