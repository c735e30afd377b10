/* SPDX-License-Identifier: MIT */
/*
 * Traces: what a program asked of malloc, in order, without its addresses.
 *
 *	"spantrc1"  nevents u32  nslots u32  event ...          little-endian
 *
 *	event	byte vvvvv ooo: o is the operation, v a value below 31, or 31 and
 *		the value less 31 follows as a varint: 7 bits a byte, lowest first,
 *		the top bit set on all but the last
 *
 *	TRACE_END	(a zero byte)
 *	TRACE_MALLOC	value: size
 *	TRACE_CALLOC	value: size
 *	TRACE_ALIGNED	value: log2 of the alignment; a varint: size
 *	TRACE_REALLOC	value: slot; a varint: size
 *	TRACE_FREE	value: slot
 *
 * A new object's slot is not written: it is the one freed last, or, if none is
 * free, the next never used. So a slot is a small number, nslots is the most
 * objects that lived at once, and a reader needs a word for each.
 *
 * The recorder (tools/record.c) follows all threads of a program and writes one
 * sequence: who made a call is not in a trace.
 */
#ifndef TESTS_TRACES_TRACE_H
#define TESTS_TRACES_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_MAGIC "spantrc1"
#define TRACE_HEADER 16u    /* bytes before the first event */
#define TRACE_VALUE_MAX 31u /* this and above: a varint follows */

enum trace_op { TRACE_END, TRACE_MALLOC, TRACE_CALLOC, TRACE_ALIGNED, TRACE_REALLOC, TRACE_FREE };

/** struct trace_event - one call. @size and @align (a power of two) where it has them. */
struct trace_event {
	uint64_t size;
	uint32_t slot;
	uint8_t op; /* enum trace_op */
	uint8_t align_shift;
};

/** struct trace_slots - which slots are in use: for a writer and a reader alike. */
struct trace_slots {
	uint32_t *next; /* of a free slot: the one freed before it; TRACE_LIVE if in use */
	uint32_t nslots, capacity, free;
};

#define TRACE_LIVE 0xffffffffu
#define TRACE_NONE 0xfffffffeu

struct trace_reader {
	const uint8_t *at, *end;
	uint32_t nevents, nslots; /* as the header says */
	struct trace_slots slots;
};

/** trace_slots_init() - none in use; @next is an array of @capacity. */
static inline void trace_slots_init(struct trace_slots *s, uint32_t *next, uint32_t capacity)
{
	*s = (struct trace_slots){ .next = next, .capacity = capacity, .free = TRACE_NONE };
}

/** trace_slot_take() - for a new object. Return: TRACE_NONE if all of the capacity is in use. */
static inline uint32_t trace_slot_take(struct trace_slots *s)
{
	uint32_t slot = s->free;

	if (slot != TRACE_NONE)
		s->free = s->next[slot];
	else if (s->nslots < s->capacity)
		slot = s->nslots++;
	else
		return TRACE_NONE;
	s->next[slot] = TRACE_LIVE;
	return slot;
}

static inline bool trace_slot_live(const struct trace_slots *s, uint64_t slot)
{
	return slot < s->nslots && s->next[slot] == TRACE_LIVE;
}

static inline void trace_slot_give(struct trace_slots *s, uint32_t slot)
{
	s->next[slot] = s->free;
	s->free = slot;
}

static inline uint32_t trace_get32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void trace_put32(uint8_t *p, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(value >> 8 * i);
}

static inline bool trace_get_varint(struct trace_reader *r, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; shift < 63 && r->at < r->end; shift += 7) {
		uint8_t byte = *r->at++;

		*value |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return true;
	}
	return false;
}

static inline uint8_t *trace_put_varint(uint8_t *p, uint64_t value)
{
	for (; value > 127; value >>= 7)
		*p++ = (uint8_t)value | 128;
	*p++ = (uint8_t)value;
	return p;
}

/** trace_put_event() - append to @p, at most 21 bytes. Return: the place behind. */
static inline uint8_t *trace_put_event(uint8_t *p, const struct trace_event *e)
{
	bool slot_first = e->op == TRACE_REALLOC || e->op == TRACE_FREE;
	uint64_t value = e->op == TRACE_ALIGNED ? e->align_shift : slot_first ? e->slot : e->size;

	*p++ = (uint8_t)(e->op | (value < TRACE_VALUE_MAX ? value : TRACE_VALUE_MAX) << 3);
	if (value >= TRACE_VALUE_MAX)
		p = trace_put_varint(p, value - TRACE_VALUE_MAX);
	if (e->op == TRACE_ALIGNED || e->op == TRACE_REALLOC)
		p = trace_put_varint(p, e->size);
	return p;
}

/** trace_open() - read @size bytes at @data from their start. Return: is it a trace? */
static inline bool trace_open(struct trace_reader *r, const void *data, size_t size)
{
	const uint8_t *p = data;

	if (size < TRACE_HEADER)
		return false;
	for (unsigned i = 0; i < sizeof(TRACE_MAGIC) - 1; i++)
		if (p[i] != (uint8_t)TRACE_MAGIC[i])
			return false;
	*r = (struct trace_reader){ .at = p + TRACE_HEADER,
				    .end = p + size,
				    .nevents = trace_get32(p + 8),
				    .nslots = trace_get32(p + 12) };
	return true;
}

/**
 * trace_next() - the next event, its slot filled in. Before the first one the
 * caller has given @r->slots room for nslots (trace_slots_init()).
 *
 * Return: 1, or 0 at the end, or -1 if the trace is damaged.
 */
static inline int trace_next(struct trace_reader *r, struct trace_event *e)
{
	uint64_t value, more;

	if (r->at == r->end)
		return 0;
	*e = (struct trace_event){ .op = *r->at & 7 };
	value = *r->at++ >> 3;
	if (e->op == TRACE_END)
		return value ? -1 : 0;
	if (value == TRACE_VALUE_MAX) {
		if (!trace_get_varint(r, &more))
			return -1;
		value += more;
	}
	if (e->op == TRACE_ALIGNED || e->op == TRACE_REALLOC) {
		if (!trace_get_varint(r, &e->size))
			return -1;
	} else {
		e->size = value;
	}
	switch (e->op) {
	case TRACE_ALIGNED:
		if (value > 47)
			return -1;
		e->align_shift = (uint8_t)value;
		/* fall through */
	case TRACE_MALLOC:
	case TRACE_CALLOC:
		e->slot = trace_slot_take(&r->slots);
		return e->slot == TRACE_NONE ? -1 : 1;
	case TRACE_FREE:
		e->size = 0;
		/* fall through */
	case TRACE_REALLOC:
		if (!trace_slot_live(&r->slots, value))
			return -1;
		e->slot = (uint32_t)value;
		if (e->op == TRACE_FREE)
			trace_slot_give(&r->slots, e->slot);
		return 1;
	default:
		return -1;
	}
}

#endif
