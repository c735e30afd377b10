// SPDX-License-Identifier: MIT
/*
 * Replays a recorded trace (tests/traces/trace.h), --trace=FILE: each round makes
 * all its calls and then frees what the program left. The events are decoded
 * beforehand. An operation is one event.
 */
#define _GNU_SOURCE
#include "bench/malloc/bench.h"
#include "tests/traces/replay.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define EVENTS_WANTED 1000000 /* in a round: short traces are made several times over */

static void replay_prepare(struct bench *b)
{
	struct trace_replay *r = b->state = bench_memory(sizeof(*r));
	struct trace_reader reader;
	struct stat st;
	const void *data;
	int fd;

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
	trace_slots_init(&reader.slots, bench_memory((reader.nslots + 1) * sizeof(uint32_t)),
			 reader.nslots);
	if (!trace_decode(r, &reader))
		bench_die("%s: damaged at event %u", bench_trace_file, r->nevents);
	b->ops = b->ops / (r->nevents + 1) * r->nevents ?: r->nevents;
}

static inline void *alloc(size_t size)
{
	return bench_touch(malloc(size));
}

static inline void *zalloc(size_t size)
{
	return bench_touch(calloc(1, size));
}

static inline void *alloc_aligned(size_t align, size_t size)
{
	return bench_touch(aligned_alloc(align, size));
}

static inline void *resize(void *p, size_t size)
{
	return bench_touch(realloc(p, size));
}

static void replay_round(struct bench *b)
{
	struct trace_replay *r = b->state;

	static const struct trace_calls calls = { alloc, zalloc, alloc_aligned, resize, free };

	for (uint64_t done = 0; done < b->ops; done += r->nevents)
		trace_replay(r, &calls);
}

struct bench bench_replay[] = {
	{ .name = "replay",
	  .round = replay_round,
	  .prepare = replay_prepare,
	  .ops = EVENTS_WANTED,
	  .holds = true },
	{ 0 },
};
