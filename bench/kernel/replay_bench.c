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
#include "tests/traces/replay.h"

static bool decode(struct trace_replay *r, const struct trace_file *file)
{
	struct trace_reader reader;
	uint32_t *slots;
	bool sound;

	if (!trace_open(&reader, file->start, trace_file_size(file)))
		return false;
	slots = alloc_pages_exact(reader.nslots * sizeof(*slots), GFP_KERNEL);
	r->event = alloc_pages_exact((reader.nevents + 1) * sizeof(*r->event), GFP_KERNEL);
	r->object = alloc_pages_exact(reader.nslots * sizeof(*r->object), GFP_KERNEL | __GFP_ZERO);
	if (!slots || !r->event || !r->object)
		return false;
	trace_slots_init(&reader.slots, slots, reader.nslots);
	sound = trace_decode(r, &reader);
	free_pages_exact(slots, reader.nslots * sizeof(*slots));
	return sound;
}

static inline void *alloc(size_t size)
{
	return kmalloc(size, GFP_KERNEL);
}

static inline void *zalloc(size_t size)
{
	return kzalloc(size, GFP_KERNEL);
}

static inline void *alloc_aligned(size_t align, size_t size)
{
	return kmalloc_aligned(size, align, GFP_KERNEL);
}

static inline void *resize(void *p, size_t size)
{
	return krealloc(p, size, GFP_KERNEL);
}

static inline void release(void *p)
{
	kfree(p);
}

static void replay_once(struct trace_replay *r)
{
	static const struct trace_calls calls = { alloc, zalloc, alloc_aligned, resize, release };

	trace_replay(r, &calls);
}

static void replay(struct kbench *b)
{
	const struct trace_file *file = &trace_files[b->arg];
	struct trace_replay r;
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
