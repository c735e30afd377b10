// SPDX-License-Identifier: MIT
/*
 * Replays what real programs asked of malloc (tests/traces), with a shadow: every
 * object carries a content that tells its slot and event, and is looked at before it
 * is resized or freed. When the most bytes are live, the frames in use are held
 * against them. And: a reader that is given damaged traces.
 */
#include <spanheap/page.h>
#include <spanheap/slab.h>

#include "lib/bits.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "tests/suites/object_fixture.h"
#include "tests/suites/traces.h"
#include "tests/traces/trace.h"

#define EDGE 64 /* bytes looked at, at either end of an object */

/*
 * Frames in use at the peak, caches empty, in percent of the bytes asked for. Classes
 * round these up, by a fourteenth here; the rest is free places in spans, of which
 * small heaps like these have many for each class. Measured: 133 (python3) to 135.
 */
#define HELD_PERCENT_MAX 145

struct shadow {
	char *p;
	size_t size;
	uint64_t tag;
};

struct replay {
	struct kunit *test;
	struct trace_reader reader;
	struct shadow *object;
	uint32_t *slots;
	size_t live_bytes;
	uint32_t nevents;
};

/* ---- Objects that tell who they are ---- */

static void mark(struct shadow *s)
{
	size_t n = MIN(s->size, EDGE);

	object_fill(s->p + s->size - n, n, ~s->tag);
	object_fill(s->p, n, s->tag);
}

/* Is what mark() wrote there, in the first @size bytes? */
static bool marked(const struct shadow *s, size_t size)
{
	size_t n = MIN(s->size, EDGE);

	if (!object_holds(s->p, MIN(n, size), s->tag))
		return false;
	return s->size < 2 * EDGE || size < s->size || object_holds(s->p + s->size - n, n, ~s->tag);
}

static void check(struct replay *r, const struct shadow *s)
{
	KUNIT_EXPECT_TRUE_MSG(r->test, marked(s, s->size), "event %u, slot %zu, %zu bytes",
			      r->nevents, (size_t)(s - r->object), s->size);
}

static void replay_new(struct replay *r, struct shadow *s, const struct trace_event *e)
{
	size_t align = (size_t)1 << e->align_shift;

	s->size = e->size;
	s->tag = (uint64_t)r->nevents << 32 | e->slot;
	if (e->op == TRACE_ALIGNED)
		s->p = kmalloc_aligned(e->size, align, GFP_KERNEL);
	else
		s->p = kmalloc(e->size, GFP_KERNEL | (e->op == TRACE_CALLOC ? __GFP_ZERO : 0));
	KUNIT_ASSERT_NOT_NULL(r->test, s->p);
	KUNIT_EXPECT_EQ(r->test, (uintptr_t)s->p % align, 0);
	KUNIT_EXPECT_GE(r->test, ksize(s->p), s->size);
	if (e->op == TRACE_CALLOC)
		KUNIT_EXPECT_TRUE(r->test, object_is_zero(s->p, s->size));
	mark(s);
	r->live_bytes += s->size;
}

static void replay_resize(struct replay *r, struct shadow *s, const struct trace_event *e)
{
	char *p;

	check(r, s);
	p = krealloc(s->p, e->size, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(r->test, p);
	s->p = p;
	KUNIT_EXPECT_TRUE_MSG(r->test, marked(s, MIN(s->size, e->size)),
			      "event %u: %zu bytes became %zu", r->nevents, s->size,
			      (size_t)e->size);
	r->live_bytes += e->size - s->size;
	s->size = e->size;
	mark(s);
}

static void replay_free(struct replay *r, struct shadow *s)
{
	check(r, s);
	kfree(s->p);
	r->live_bytes -= s->size;
	*s = (struct shadow){ 0 };
}

static void replay_event(struct replay *r, const struct trace_event *e)
{
	struct shadow *s = &r->object[e->slot];

	if (e->op == TRACE_FREE)
		replay_free(r, s);
	else if (e->op == TRACE_REALLOC)
		replay_resize(r, s, e);
	else
		replay_new(r, s, e);
}

/* ---- Whole traces ---- */

static void replay_open(struct replay *r, const struct trace_file *file)
{
	KUNIT_ASSERT_TRUE(r->test, trace_open(&r->reader, file->start, trace_file_size(file)));
	trace_slots_init(&r->reader.slots, r->slots, r->reader.nslots);
	r->nevents = 0;
}

/* When the most bytes are live: how many events are past then. */
static uint32_t find_peak(struct replay *r, const struct trace_file *file)
{
	struct trace_event e;
	size_t live = 0, most = 0;
	uint32_t peak = 0;
	int got;

	replay_open(r, file);
	while ((got = trace_next(&r->reader, &e)) > 0) {
		struct shadow *s = &r->object[e.slot];

		live += e.size - s->size;
		s->size = e.size;
		r->nevents++;
		if (live > most) {
			most = live;
			peak = r->nevents;
		}
	}
	KUNIT_EXPECT_EQ(r->test, got, 0);
	KUNIT_EXPECT_EQ(r->test, r->nevents, r->reader.nevents);
	KUNIT_EXPECT_EQ(r->test, r->reader.slots.nslots, r->reader.nslots);
	memset(r->object, 0, r->reader.nslots * sizeof(*r->object));
	return peak;
}

static size_t held_bytes(const struct mm_stats *before)
{
	struct mm_stats now;

	mm_stats(&now);
	return (now.frames_used - before->frames_used) * FRAME_SIZE;
}

static void look_at_peak(struct replay *r, const char *name, const struct mm_stats *before)
{
	size_t usable = 0, held = held_bytes(before), drained, percent;

	for (uint32_t i = 0; i < r->reader.nslots; i++)
		if (r->object[i].p)
			usable += ksize(r->object[i].p);
	mm_drain();
	drained = held_bytes(before);
	percent = drained * 100 / r->live_bytes;
	kunit_info(r->test,
		   "%s: %u events; at the peak: %zu KiB asked for, %zu usable, %zu in frames, %zu "
		   "without caches: %zu%%",
		   name, r->reader.nevents, r->live_bytes >> 10, usable >> 10, held >> 10,
		   drained >> 10, percent);
	KUNIT_EXPECT_GE(r->test, usable, r->live_bytes);
	KUNIT_EXPECT_GE(r->test, drained, usable);
	KUNIT_EXPECT_GE(r->test, held, drained);
	KUNIT_EXPECT_LE(r->test, percent, HELD_PERCENT_MAX);
}

static void replay_trace(struct kunit *test, const struct trace_file *file)
{
	struct replay r = { .test = test };
	struct trace_event e;
	struct mm_stats before;
	size_t object_bytes, slot_bytes;
	uint32_t peak;

	KUNIT_ASSERT_TRUE(test, trace_open(&r.reader, file->start, trace_file_size(file)));
	object_bytes = r.reader.nslots * sizeof(*r.object);
	slot_bytes = r.reader.nslots * sizeof(*r.slots);
	r.object = alloc_pages_exact(object_bytes, GFP_KERNEL | __GFP_ZERO);
	r.slots = alloc_pages_exact(slot_bytes, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, r.object);
	KUNIT_ASSERT_NOT_NULL(test, r.slots);
	peak = find_peak(&r, file);

	books_open(&before);
	replay_open(&r, file);
	while (trace_next(&r.reader, &e) > 0) {
		replay_event(&r, &e);
		if (++r.nevents == peak)
			look_at_peak(&r, file->name, &before);
	}
	for (uint32_t i = 0; i < r.reader.nslots; i++)
		if (r.object[i].p)
			replay_free(&r, &r.object[i]);
	KUNIT_EXPECT_EQ(test, r.live_bytes, 0);
	books_close(test, &before);
	free_pages_exact(r.object, object_bytes);
	free_pages_exact(r.slots, slot_bytes);
}

static void programs(struct kunit *test)
{
	replay_trace(test, test->param_value);
}

static void describe_trace(const struct trace_file *file, char *desc)
{
	fmt_print(desc, KUNIT_PARAM_DESC_SIZE, "%s", file->name);
}

KUNIT_ARRAY_PARAM(trace_file, trace_files, describe_trace);

/* ---- The format ---- */

static void events_come_back(struct kunit *test)
{
	static const uint64_t sizes[] = {
		0, 1, 30, 31, 32, 158, 159, 4096, 1ULL << 31, 1ULL << 47
	};
	uint8_t data[ARRAY_SIZE(sizes) * 4 * 21 + TRACE_HEADER] = TRACE_MAGIC;
	uint8_t *at = data + TRACE_HEADER;
	uint32_t slots[1];
	struct trace_reader r;
	struct trace_event e;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct trace_event aligned = { .op = TRACE_ALIGNED, .size = sizes[i] };
		struct trace_event resized = { .op = TRACE_REALLOC, .size = ~sizes[i] >> 16 };
		struct trace_event freed = { .op = TRACE_FREE };

		aligned.align_shift = (uint8_t)(i * 4);
		at = trace_put_event(at, &aligned);
		at = trace_put_event(at, &resized);
		at = trace_put_event(at, &freed);
	}
	KUNIT_ASSERT_TRUE(test, trace_open(&r, data, (size_t)(at - data)));
	trace_slots_init(&r.slots, slots, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		KUNIT_EXPECT_EQ(test, trace_next(&r, &e), 1);
		KUNIT_EXPECT_EQ(test, e.op, TRACE_ALIGNED);
		KUNIT_EXPECT_EQ(test, e.size, sizes[i]);
		KUNIT_EXPECT_EQ(test, e.align_shift, i * 4);
		KUNIT_EXPECT_EQ(test, trace_next(&r, &e), 1);
		KUNIT_EXPECT_EQ(test, e.op, TRACE_REALLOC);
		KUNIT_EXPECT_EQ(test, e.size, ~sizes[i] >> 16);
		KUNIT_EXPECT_EQ(test, trace_next(&r, &e), 1);
		KUNIT_EXPECT_EQ(test, e.op, TRACE_FREE);
	}
	KUNIT_EXPECT_EQ(test, trace_next(&r, &e), 0);
}

/* The slot freed last is taken first, then new ones. */
static void slots_are_taken_again(struct kunit *test)
{
	uint32_t next[5];
	struct trace_slots s;

	trace_slots_init(&s, next, 4);
	for (uint32_t i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, trace_slot_take(&s), i);
	trace_slot_give(&s, 0);
	trace_slot_give(&s, 2);
	KUNIT_EXPECT_FALSE(test, trace_slot_live(&s, 2));
	KUNIT_EXPECT_TRUE(test, trace_slot_live(&s, 1));
	KUNIT_EXPECT_EQ(test, trace_slot_take(&s), 2);
	KUNIT_EXPECT_EQ(test, trace_slot_take(&s), 0);
	KUNIT_EXPECT_EQ(test, trace_slot_take(&s), 3);
	KUNIT_EXPECT_EQ(test, trace_slot_take(&s), TRACE_NONE);
	KUNIT_EXPECT_FALSE(test, trace_slot_live(&s, 4));
}

/* Events by their bytes, and after how many of them the reader must see the damage. */
static const struct damage {
	const char *name;
	uint8_t size, data[16];
	uint8_t good;
} damages[] = {
	{ "free of what never was", 1, { 5 }, 0 },
	{ "free of what is free", 3, { 1 | 8 << 3, 5, 5 }, 2 },
	{ "realloc of what is free", 4, { 1, 5, 4, 8 }, 2 },
	{ "cut in a varint", 2, { 1 | 31 << 3, 128 }, 0 },
	{ "cut before a size", 2, { 1, 4 }, 1 },
	{ "endless varint", 12, { 249, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1 }, 0 },
	{ "alignment out of range", 4, { 3 | 31 << 3, 17, 8, 0 }, 0 },
	{ "no such operation", 1, { 6 }, 0 },
	{ "end with a value", 1, { 8 }, 0 },
	{ "more objects than slots", 3, { 1, 1, 1 }, 2 },
};

static void damage_is_seen(struct kunit *test)
{
	const struct damage *d = test->param_value;
	uint8_t data[TRACE_HEADER + sizeof(d->data)] = TRACE_MAGIC;
	uint32_t slots[2];
	struct trace_reader r;
	struct trace_event e;

	memcpy(data + TRACE_HEADER, d->data, d->size);
	KUNIT_ASSERT_TRUE(test, trace_open(&r, data, TRACE_HEADER + d->size));
	trace_slots_init(&r.slots, slots, ARRAY_SIZE(slots));
	for (unsigned i = 0; i < d->good; i++)
		KUNIT_EXPECT_EQ(test, trace_next(&r, &e), 1);
	KUNIT_EXPECT_EQ(test, trace_next(&r, &e), -1);
}

static void describe_damage(const struct damage *d, char *desc)
{
	fmt_print(desc, KUNIT_PARAM_DESC_SIZE, "%s", d->name);
}

KUNIT_ARRAY_PARAM(damage, damages, describe_damage);

static void not_a_trace(struct kunit *test)
{
	uint8_t data[TRACE_HEADER] = TRACE_MAGIC;
	struct trace_reader r;

	KUNIT_EXPECT_TRUE(test, trace_open(&r, data, TRACE_HEADER));
	KUNIT_EXPECT_FALSE(test, trace_open(&r, data, TRACE_HEADER - 1));
	data[7] ^= 1;
	KUNIT_EXPECT_FALSE(test, trace_open(&r, data, TRACE_HEADER));
}

static struct kunit_case replay_cases[] = {
	KUNIT_CASE(slots_are_taken_again),
	KUNIT_CASE(events_come_back),
	KUNIT_CASE(not_a_trace),
	KUNIT_CASE_PARAM(damage_is_seen, damage_gen_params),
	KUNIT_CASE_PARAM(programs, trace_file_gen_params),
	{},
};

static struct kunit_suite replay_suite = { .name = "replay", .test_cases = replay_cases };
kunit_test_suite(replay_suite);
