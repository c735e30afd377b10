// SPDX-License-Identifier: MIT
/* Threads: objects that change hands, threads that come and go, and more than there are slots. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/malloc/test.h"

#define SMALL_STACK (64 << 10)

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static size_t random_size(uint32_t *state)
{
	uint32_t r = next_random(state);

	return r % 64 ? r / 64 % 600 + 1 : r / 64 % 100000 + 1;
}

/* ---- Objects in a common pool: who draws one checks it, frees it and puts another there ---- */

#define PLACES 1024
#define TRADERS 6

struct object {
	size_t size;
	uint32_t mark;
	unsigned char rest[];
};

static struct object *place[PLACES];

static struct object *make_object(uint32_t *state)
{
	size_t n = random_size(state) + sizeof(struct object);
	struct object *o = malloc(n);

	o->size = n;
	o->mark = (uint32_t)(uintptr_t)o * 2654435761U;
	memset(o->rest, (int)o->mark, n - sizeof(*o));
	return o;
}

static void end_object(struct object *o)
{
	size_t n = o->size - sizeof(*o);

	CHECK(o->mark == (uint32_t)(uintptr_t)o * 2654435761U);
	CHECK(!n || (o->rest[0] == (unsigned char)o->mark &&
		     o->rest[n - 1] == (unsigned char)o->mark));
	free(o);
}

static void *trade(void *arg)
{
	uint32_t state = (uint32_t)(uintptr_t)arg;
	unsigned rounds = test_slow ? 5000 : test_sanitized ? 50000 : 300000;

	for (unsigned i = 0; i < rounds; i++) {
		struct object *mine = make_object(&state), *old;

		old = __atomic_exchange_n(&place[next_random(&state) % PLACES], mine,
					  __ATOMIC_ACQ_REL);
		if (old)
			end_object(old);
	}
	return NULL;
}

static void objects_change_hands(void)
{
	pthread_t t[TRADERS];

	for (size_t i = 0; i < TRADERS; i++)
		pthread_create(&t[i], NULL, trade, (void *)(i * 7919 + 1));
	for (size_t i = 0; i < TRADERS; i++)
		pthread_join(t[i], NULL);
	for (size_t i = 0; i < PLACES; i++) {
		if (place[i])
			end_object(place[i]);
		place[i] = NULL;
	}
}

/* ---- One makes, the other frees: memory must not grow ---- */

#define RING 512

static void *ring[RING];
static unsigned head, tail;

static unsigned ring_rounds(void)
{
	return test_slow ? 20000 : 1000000;
}

static void *produce(void *unused)
{
	for (unsigned i = 0; i < ring_rounds(); i++) {
		void *p = memset(malloc(200), (int)i, 200);

		while (i - __atomic_load_n(&tail, __ATOMIC_ACQUIRE) >= RING)
			sched_yield();
		ring[i % RING] = p;
		__atomic_store_n(&head, i + 1, __ATOMIC_RELEASE);
	}
	return unused;
}

static void *consume(void *unused)
{
	for (unsigned i = 0; i < ring_rounds(); i++) {
		unsigned char *p;

		while (__atomic_load_n(&head, __ATOMIC_ACQUIRE) == i)
			sched_yield();
		p = ring[i % RING];
		CHECK(p[0] == (unsigned char)i && p[199] == (unsigned char)i);
		free(p);
		__atomic_store_n(&tail, i + 1, __ATOMIC_RELEASE);
	}
	return unused;
}

static void one_makes_the_other_frees(void)
{
	size_t before = mallinfo2().arena;
	pthread_t t[2];

	head = tail = 0;
	pthread_create(&t[0], NULL, produce, NULL);
	pthread_create(&t[1], NULL, consume, NULL);
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	CHECK(mallinfo2().arena < before + (16 << 20));
}

/* ---- Threads that end: what they had is used again ---- */

static void *leave_behind(void *unused)
{
	void **list = NULL;

	for (unsigned i = 0; i < 2000; i++) {
		void **p = malloc(16 + i % 700);

		*p = list;
		list = p;
	}
	(void)unused;
	return list;
}

static void free_list(void **list)
{
	while (list) {
		void **next = *list;

		free(list);
		list = next;
	}
}

static void threads_come_and_go(void)
{
	unsigned rounds = test_slow ? 20 : 300;
	size_t before = 0;

	for (unsigned i = 0; i < rounds; i++) {
		pthread_t t;
		void *list;

		pthread_create(&t, NULL, leave_behind, NULL);
		pthread_join(t, &list);
		free_list(list);
		if (i == 10)
			before = mallinfo2().arena;
	}
	CHECK(mallinfo2().arena <= before + (4 << 20));
}

/* All that ended threads own is free: it can be given back. */
static void ended_threads_keep_nothing(void)
{
	enum { THREADS = 40 };
	pthread_t t[THREADS];
	void *list[THREADS];
	size_t before;

	malloc_trim(0);
	before = mallinfo2().uordblks;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, leave_behind, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], &list[i]);
	CHECK(mallinfo2().uordblks > before + THREADS * 2000 * 16);
	for (unsigned i = 0; i < THREADS; i++)
		free_list(list[i]);
	malloc_trim(0);
	CHECK(mallinfo2().uordblks < before + (256 << 10));
}

/* ---- Destructors that allocate, before and after the library's own ---- */

static pthread_key_t keys[8];
static unsigned destroyed;

static void destroy(void *p)
{
	void *q = malloc(300);

	memset(q, 1, 300);
	free(p);
	free(q);
	free(calloc(1, 50000));
	__atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
}

static void *set_keys(void *unused)
{
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		pthread_setspecific(keys[i], malloc(100));
	return unused;
}

static void destructors_may_allocate(void)
{
	pthread_t t;

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		pthread_key_create(&keys[i], destroy);
	destroyed = 0;
	for (unsigned i = 0; i < 50; i++) {
		pthread_create(&t, NULL, set_keys, NULL);
		pthread_join(t, NULL);
	}
	CHECK(destroyed == 50 * ARRAY_SIZE(keys));
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		pthread_key_delete(keys[i]);
}

/* ---- More threads than there are slots ---- */

#define CROWD 4300

static pthread_barrier_t everybody;

static void *stand_and_wait(void *arg)
{
	unsigned char *p[20];

	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = malloc(i * 50 + 1);
		memset(p[i], (int)(uintptr_t)arg, i * 50 + 1);
	}
	pthread_barrier_wait(&everybody);
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		CHECK(p[i][0] == (unsigned char)(uintptr_t)arg);
		CHECK(p[i][i * 50] == (unsigned char)(uintptr_t)arg);
		free(p[i]);
	}
	return NULL;
}

static void crowd(void)
{
	static pthread_t t[CROWD];
	pthread_attr_t attr;
	size_t n;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, SMALL_STACK);
	pthread_barrier_init(&everybody, NULL, CROWD);
	for (n = 0; n < CROWD; n++)
		if (pthread_create(&t[n], &attr, stand_and_wait, (void *)n)) {
			/* The system does not want so many: then there is nothing to see here. */
			fprintf(stderr, "# %zu threads at most\n", n);
			_exit(0);
		}
	while (n)
		pthread_join(t[--n], NULL);
	pthread_attr_destroy(&attr);
}

static void more_threads_than_slots(void)
{
	if (!test_slow && !test_sanitized)
		expect_survival(crowd, 60);
}

const struct test thread_tests[] = {
	{ "threads.objects_change_hands", objects_change_hands },
	{ "threads.one_makes_the_other_frees", one_makes_the_other_frees },
	{ "threads.come_and_go", threads_come_and_go },
	{ "threads.ended_threads_keep_nothing", ended_threads_keep_nothing },
	{ "threads.destructors_may_allocate", destructors_may_allocate },
	{ "threads.more_than_slots", more_threads_than_slots },
	{ NULL, NULL },
};
