// SPDX-License-Identifier: MIT
/* The buddy allocator to compare with; see buddy.h. */
#include <stdlib.h>

#include "bench/host/buddy.h"

#define LIST_ORDERS 5 /* 0 to 3, and 9 */
#define LIST_BATCH 63
#define LIST_HIGH 378
#define NOT_FREE 0xff

struct frame {
	uint32_t next, prev;
	uint8_t order; /* of the free block that starts here, or NOT_FREE */
};

struct list {
	uint32_t lock;
	uint32_t head[LIST_ORDERS];
	unsigned count; /* frames */
} __attribute__((aligned(128)));

struct buddy {
	struct frame *frame;
	uint32_t nframes;
	bool lists;
	uint32_t head[BUDDY_ORDERS];
	uint32_t lock __attribute__((aligned(64)));
	struct list list[BUDDY_THREADS];
};

static bool try_lock(uint32_t *lock)
{
	return !__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE);
}

static void take_lock(uint32_t *lock)
{
	while (!try_lock(lock))
		while (__atomic_load_n(lock, __ATOMIC_RELAXED))
			__builtin_ia32_pause();
}

static void drop_lock(uint32_t *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

static void block_add(struct buddy *b, uint32_t f, unsigned order)
{
	struct frame *frame = &b->frame[f];

	frame->order = (uint8_t)order;
	frame->prev = BUDDY_NONE;
	frame->next = b->head[order];
	if (frame->next != BUDDY_NONE)
		b->frame[frame->next].prev = f;
	b->head[order] = f;
}

static void block_del(struct buddy *b, uint32_t f, unsigned order)
{
	struct frame *frame = &b->frame[f];

	frame->order = NOT_FREE;
	if (frame->prev == BUDDY_NONE)
		b->head[order] = frame->next;
	else
		b->frame[frame->prev].next = frame->next;
	if (frame->next != BUDDY_NONE)
		b->frame[frame->next].prev = frame->prev;
}

/* The lock is held. */
static uint32_t block_alloc(struct buddy *b, unsigned order)
{
	unsigned from = order;
	uint32_t f;

	while (from < BUDDY_ORDERS && b->head[from] == BUDDY_NONE)
		from++;
	if (from == BUDDY_ORDERS)
		return BUDDY_NONE;
	f = b->head[from];
	block_del(b, f, from);
	while (from > order) {
		from--;
		block_add(b, f + (1U << from), from);
	}
	return f;
}

static void block_free(struct buddy *b, uint32_t f, unsigned order)
{
	for (; order < BUDDY_ORDERS - 1; order++) {
		uint32_t other = f ^ 1U << order;

		if (other >= b->nframes || b->frame[other].order != order)
			break;
		block_del(b, other, order);
		f &= ~(1U << order);
	}
	block_add(b, f, order);
}

struct buddy *buddy_new(uint32_t nframes, bool lists)
{
	struct buddy *b = aligned_alloc(128, (sizeof(*b) + 127) / 128 * 128);

	if (!b)
		return NULL;
	*b = (struct buddy){ .nframes = nframes, .lists = lists };
	b->frame = malloc(nframes * sizeof(*b->frame));
	if (!b->frame) {
		free(b);
		return NULL;
	}
	for (unsigned o = 0; o < BUDDY_ORDERS; o++)
		b->head[o] = BUDDY_NONE;
	for (unsigned cpu = 0; cpu < BUDDY_THREADS; cpu++)
		for (unsigned i = 0; i < LIST_ORDERS; i++)
			b->list[cpu].head[i] = BUDDY_NONE;
	for (uint32_t f = 0; f < nframes; f++)
		b->frame[f].order = NOT_FREE;
	/* The lowest block is on top at first. */
	for (uint32_t n = nframes >> (BUDDY_ORDERS - 1); n-- > 0;)
		block_add(b, n << (BUDDY_ORDERS - 1), BUDDY_ORDERS - 1);
	return b;
}

void buddy_delete(struct buddy *b)
{
	free(b->frame);
	free(b);
}

/* Which list serves an order; LIST_ORDERS: none. */
static unsigned list_of(const struct buddy *b, unsigned order)
{
	if (!b->lists)
		return LIST_ORDERS;
	return order <= 3 ? order : (order == 9 ? 4 : LIST_ORDERS);
}

static unsigned order_of(unsigned list)
{
	return list <= 3 ? list : 9;
}

/* Both locks are held from the list's on. */
static void list_refill(struct buddy *b, struct list *l, unsigned i)
{
	unsigned order = order_of(i), n = LIST_BATCH >> order;

	take_lock(&b->lock);
	for (n = n ? n : 1; n; n--) {
		uint32_t f = block_alloc(b, order);

		if (f == BUDDY_NONE)
			break;
		b->frame[f].next = l->head[i];
		l->head[i] = f;
		l->count += 1U << order;
	}
	drop_lock(&b->lock);
}

static void list_spill(struct buddy *b, struct list *l, unsigned nframes)
{
	take_lock(&b->lock);
	for (unsigned i = 0; i < LIST_ORDERS; i++)
		while (nframes && l->head[i] != BUDDY_NONE) {
			uint32_t f = l->head[i];
			unsigned n = 1U << order_of(i);

			l->head[i] = b->frame[f].next;
			l->count -= n;
			nframes -= n < nframes ? n : nframes;
			block_free(b, f, order_of(i));
		}
	drop_lock(&b->lock);
}

uint32_t buddy_alloc(struct buddy *b, unsigned cpu, unsigned order)
{
	unsigned i = list_of(b, order);
	uint32_t f;

	if (i < LIST_ORDERS) {
		struct list *l = &b->list[cpu];

		if (try_lock(&l->lock)) {
			if (l->head[i] == BUDDY_NONE)
				list_refill(b, l, i);
			f = l->head[i];
			if (f != BUDDY_NONE) {
				l->head[i] = b->frame[f].next;
				l->count -= 1U << order;
			}
			drop_lock(&l->lock);
			return f;
		}
	}
	take_lock(&b->lock);
	f = block_alloc(b, order);
	drop_lock(&b->lock);
	return f;
}

void buddy_free(struct buddy *b, unsigned cpu, uint32_t frame, unsigned order)
{
	unsigned i = list_of(b, order);

	if (i < LIST_ORDERS) {
		struct list *l = &b->list[cpu];

		if (try_lock(&l->lock)) {
			b->frame[frame].next = l->head[i];
			l->head[i] = frame;
			l->count += 1U << order;
			if (l->count >= LIST_HIGH + (512U << (i == 4)))
				list_spill(b, l, LIST_BATCH);
			drop_lock(&l->lock);
			return;
		}
	}
	take_lock(&b->lock);
	block_free(b, frame, order);
	drop_lock(&b->lock);
}

void buddy_drain(struct buddy *b, unsigned cpu)
{
	list_spill(b, &b->list[cpu], UINT32_MAX);
}
