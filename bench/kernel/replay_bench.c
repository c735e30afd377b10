// SPDX-License-Identifier: MIT
/*
 * What real programs asked of malloc (tests/traces), call for call: an operation is
 * one event of the trace, the frees of what the program left included. Counted once
 * after once to warm up; the events are decoded beforehand.
 */
#include <kernel/bench.h>
#include <kernel/console.h>
#include <spanheap/page.h>
#include <spanheap/slab.h>
#include "tests/suites/traces.h"
#include "tests/traces/trace.h"

struct replay {
	struct trace_event *event;
	void **object;
	uint32_t nevents, nslots;
};

static bool decode(struct replay *r, const struct trace_file *file)
{
	struct trace_reader reader;
	uint32_t *slots;
	int got;

	if (!trace_open(&reader, file->start, trace_file_size(file)))
		return false;
	*r = (struct replay){ .nevents = reader.nevents, .nslots = reader.nslots };
	slots = alloc_pages_exact(r->nslots * sizeof(*slots), GFP_KERNEL);
	r->event = alloc_pages_exact((r->nevents + 1) * sizeof(*r->event), GFP_KERNEL);
	r->object = alloc_pages_exact(r->nslots * sizeof(*r->object), GFP_KERNEL | __GFP_ZERO);
	if (!slots || !r->event || !r->object)
		return false;
	trace_slots_init(&reader.slots, slots, r->nslots);
	for (uint32_t i = 0; i < r->nevents; i++)
		if ((got = trace_next(&reader, &r->event[i])) <= 0)
			return false;
	free_pages_exact(slots, r->nslots * sizeof(*slots));
	return true;
}

static void replay_once(struct replay *r)
{
	for (struct trace_event *e = r->event, *end = e + r->nevents; e != end; e++) {
		void **object = &r->object[e->slot];

		switch (e->op) {
		case TRACE_MALLOC:
			*object = kmalloc(e->size, GFP_KERNEL);
			break;
		case TRACE_CALLOC:
			*object = kzalloc(e->size, GFP_KERNEL);
			break;
		case TRACE_ALIGNED:
			*object = kmalloc_aligned(e->size, (size_t)1 << e->align_shift, GFP_KERNEL);
			break;
		case TRACE_REALLOC:
			*object = krealloc(*object, e->size, GFP_KERNEL);
			break;
		default:
			kfree(*object);
			*object = NULL;
		}
	}
	for (uint32_t i = 0; i < r->nslots; i++) {
		kfree(r->object[i]);
		r->object[i] = NULL;
	}
}

static void replay(struct kbench *b)
{
	const struct trace_file *file = &trace_files[b->arg];
	struct replay r;
	uint64_t start;

	if (!decode(&r, file)) {
		console_printf("# %s: damaged, or no memory for it\n", b->name);
		return;
	}
	replay_once(&r);
	start = port_clock();
	replay_once(&r);
	kbench_report(b, port_clock() - start, r.nevents);
	free_pages_exact(r.event, (r.nevents + 1) * sizeof(*r.event));
	free_pages_exact(r.object, r.nslots * sizeof(*r.object));
}

KBENCH_CASE_ARG("replay/perl", replay, 0);
KBENCH_CASE_ARG("replay/python3", replay, 1);
KBENCH_CASE_ARG("replay/sqlite3", replay, 2);
