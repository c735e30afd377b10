/* SPDX-License-Identifier: MIT */
/*
 * A trace decoded beforehand and made again, call for call: what benchmarks time.
 *
 *	trace_open() ─► trace_decode() ─► trace_replay() ... as often as wanted
 */
#ifndef TESTS_TRACES_REPLAY_H
#define TESTS_TRACES_REPLAY_H

#include "tests/traces/trace.h"

/** struct trace_replay - @event has room for one more than nevents, @object for nslots NULLs. */
struct trace_replay {
	struct trace_event *event;
	void **object;
	uint32_t nevents, nslots;
};

/** struct trace_calls - what is asked; a constant, so that the calls become direct ones. */
struct trace_calls {
	void *(*alloc)(size_t size);
	void *(*zalloc)(size_t size);
	void *(*alloc_aligned)(size_t align, size_t size);
	void *(*resize)(void *p, size_t size);
	void (*free)(void *p);
};

/**
 * trace_decode() - all events of an open trace; its slots are initialised.
 *
 * Return: is it sound, with as many events as its header says? @r->nevents: how many were.
 */
static inline bool trace_decode(struct trace_replay *r, struct trace_reader *reader)
{
	int got = 0;

	r->nslots = reader->nslots;
	for (r->nevents = 0; r->nevents <= reader->nevents; r->nevents++)
		if ((got = trace_next(reader, &r->event[r->nevents])) <= 0)
			break;
	return !got && r->nevents == reader->nevents;
}

/** trace_replay() - every call, then free what the program left. */
static inline __attribute__((__always_inline__)) void trace_replay(struct trace_replay *r,
								   const struct trace_calls *calls)
{
	for (struct trace_event *e = r->event, *end = e + r->nevents; e != end; e++) {
		void **object = &r->object[e->slot];

		switch (e->op) {
		case TRACE_MALLOC:
			*object = calls->alloc(e->size);
			break;
		case TRACE_CALLOC:
			*object = calls->zalloc(e->size);
			break;
		case TRACE_ALIGNED:
			*object = calls->alloc_aligned((size_t)1 << e->align_shift, e->size);
			break;
		case TRACE_REALLOC:
			*object = calls->resize(*object, e->size);
			break;
		default:
			calls->free(*object);
			*object = NULL;
		}
	}
	for (uint32_t i = 0; i < r->nslots; i++) {
		calls->free(r->object[i]);
		r->object[i] = NULL;
	}
}

#endif
