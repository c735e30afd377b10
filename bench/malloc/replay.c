// SPDX-License-Identifier: MIT
/*
 * Replays a recorded trace (tests/traces/trace.h), --trace=FILE: each round makes
 * all its calls and then frees what the program left. The events are decoded
 * beforehand. An operation is one event.
 */
#define _GNU_SOURCE
#include "bench/malloc/bench.h"
#include "tests/traces/trace.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define EVENTS_WANTED 1000000 /* in a round: short traces are made several times over */

struct replay {
	struct trace_event *event;
	uint32_t nevents, nslots;
	void **object;
};

static void replay_prepare(struct bench *b)
{
	struct replay *r = b->state = bench_memory(sizeof(*r));
	struct trace_reader reader;
	struct stat st;
	const void *data;
	int fd, got;

	if (!bench_trace_file)
		bench_die("replay needs --trace=FILE");
	fd = open(bench_trace_file, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) || !st.st_size)
		bench_die("%s: cannot be read", bench_trace_file);
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED || !trace_open(&reader, data, (size_t)st.st_size))
		bench_die("%s: not a trace", bench_trace_file);
	r->event = bench_memory((reader.nevents + 1) * sizeof(*r->event));
	r->object = bench_memory((reader.nslots + 1) * sizeof(*r->object));
	r->nslots = reader.nslots;
	trace_slots_init(&reader.slots, bench_memory((reader.nslots + 1) * sizeof(uint32_t)),
			 reader.nslots);
	while ((got = trace_next(&reader, &r->event[r->nevents])) > 0)
		if (r->nevents++ == reader.nevents)
			got = -1;
	if (got || r->nevents != reader.nevents)
		bench_die("%s: damaged at event %u", bench_trace_file, r->nevents);
	b->ops = b->ops / (r->nevents + 1) * r->nevents ?: r->nevents;
}

static void replay_once(struct replay *r)
{
	for (struct trace_event *e = r->event, *end = e + r->nevents; e != end; e++) {
		void **object = &r->object[e->slot];

		switch (e->op) {
		case TRACE_MALLOC:
			*object = bench_touch(malloc(e->size));
			break;
		case TRACE_CALLOC:
			*object = bench_touch(calloc(1, e->size));
			break;
		case TRACE_ALIGNED:
			*object = bench_touch(aligned_alloc((size_t)1 << e->align_shift, e->size));
			break;
		case TRACE_REALLOC:
			*object = bench_touch(realloc(*object, e->size));
			break;
		default:
			free(*object);
			*object = NULL;
		}
	}
	for (uint32_t i = 0; i < r->nslots; i++) {
		free(r->object[i]);
		r->object[i] = NULL;
	}
}

static void replay_round(struct bench *b)
{
	struct replay *r = b->state;

	for (uint64_t done = 0; done < b->ops; done += r->nevents)
		replay_once(r);
}

struct bench bench_replay[] = {
	{ .name = "replay",
	  .round = replay_round,
	  .prepare = replay_prepare,
	  .ops = EVENTS_WANTED,
	  .holds = true },
	{ 0 },
};
