// SPDX-License-Identifier: MIT
/*
 * Random calls on all CPUs, in tasks, interrupts and NMIs, against a shadow.
 *
 *	slot[]	FREE ──claim──► BUSY ──alloc──► FULL ──claim──► BUSY ──free──► FREE
 *
 * The slots are shared: what one CPU allocates another one checks, resizes or
 * frees, in whatever context it is. The content tells slot and generation, so
 * that an object which is handed out twice, or touched after its free, is found.
 * A slot is claimed without waiting: an NMI that meets a busy one takes another.
 *
 * The seed of each worker is printed; with one CPU a run repeats itself.
 */
#include <spanheap/fault.h>
#include <spanheap/slab.h>

#include <kernel/task.h>
#include "lib/spinlock.h"
#include "lib/string.h"
#include "mm/sizeclass.h"
#include "tests/suites/object_fixture.h"

#define CPUS_MAX 8
#define SLOTS 1024
#define YIELD_EVERY 16
#define EDGE 64 /* bytes looked at, at either end */

enum { FREE, FULL, BUSY };

struct slot {
	uint32_t state;
	uint32_t generation;
	size_t size;
	char *p;
};

static struct slot slot[SLOTS];
static uint64_t seed_of_run = 0x5eed0003;

struct worker {
	struct kunit *test;
	unsigned cpu, ops;
	uint64_t seed;
	size_t max_size;
	bool may_fail;
	struct task *task;
};

static uint64_t tag_of(const struct slot *s)
{
	return (uint64_t)(s - slot) << 32 | s->generation;
}

static void fill(const struct slot *s)
{
	size_t n = MIN(s->size, EDGE);

	object_fill(s->p, n, tag_of(s));
	object_fill(s->p + s->size - n, n, ~tag_of(s));
	if (s->size < 2 * EDGE)
		object_fill(s->p, n, tag_of(s));
}

static bool holds(const struct slot *s, size_t size)
{
	size_t n = MIN(s->size, EDGE);

	if (!object_holds(s->p, MIN(n, size), tag_of(s)))
		return false;
	return s->size < 2 * EDGE || size < s->size ||
	       object_holds(s->p + s->size - n, n, ~tag_of(s));
}

static size_t pick_size(uint64_t *rng, const struct worker *w)
{
	/* Half of them from few classes, so that spans fill and empty. */
	if (next_random(rng) % 2)
		return 1 + next_random(rng) % 4 * 40;
	return random_size(rng, w->max_size);
}

static void allocate(struct slot *s, uint64_t *rng, const struct worker *w)
{
	uint64_t r = next_random(rng);
	gfp_t gfp = (r & 1 ? __GFP_NOSCAN : 0) | (r & 6 ? 0 : __GFP_ZERO) |
		    (port_context() == MM_TASK ? GFP_KERNEL : GFP_ATOMIC);

	s->size = pick_size(rng, w);
	s->generation++;
	s->p = r % 50 ? kmalloc_any(s->size, gfp) : kmalloc_aligned(s->size, 256, gfp);
	if (!s->p) {
		KUNIT_EXPECT_TRUE(w->test, w->may_fail || port_context() == MM_NMI);
		return;
	}
	KUNIT_EXPECT_GE(w->test, ksize(s->p), s->size);
	if (gfp & __GFP_ZERO)
		KUNIT_EXPECT_TRUE(w->test, object_is_zero(s->p, MIN(s->size, 4096)));
	fill(s);
}

static void resize(struct slot *s, uint64_t *rng, const struct worker *w)
{
	size_t size = pick_size(rng, w), common = MIN(size, s->size);
	char *p = krealloc(s->p, size, GFP_ATOMIC);

	if (!p) {
		KUNIT_EXPECT_TRUE(w->test, w->may_fail || port_context() == MM_NMI);
		return;
	}
	s->p = p;
	KUNIT_EXPECT_TRUE_MSG(w->test, holds(s, common), "resized, slot %zu", s - slot);
	s->size = size;
	fill(s);
}

static void release(struct slot *s, uint64_t r)
{
	if (r % 3)
		kfree(s->p);
	else
		kfree_bulk(1, (void **)&s->p);
	s->p = NULL;
}

/* One step at a random slot that nobody is busy with. */
static void step(uint64_t *rng, const struct worker *w)
{
	struct slot *s;
	uint32_t state;

	do {
		s = &slot[next_random(rng) % SLOTS];
		state = atomic_load(&s->state);
	} while (state == BUSY || !atomic_cas(&s->state, &state, BUSY));
	if (state == FREE) {
		allocate(s, rng, w);
	} else {
		KUNIT_EXPECT_TRUE_MSG(w->test, holds(s, s->size),
				      "slot %zu, %zu bytes at %p, cpu %u, context %u", s - slot,
				      s->size, s->p, this_cpu(), port_context());
		if (next_random(rng) % 4)
			release(s, next_random(rng));
		else
			resize(s, rng, w);
	}
	atomic_store(&s->state, s->p ? FULL : FREE);
}

struct visit {
	const struct worker *worker;
	uint64_t rng;
	unsigned n;
};

static void visit(void *arg)
{
	struct visit *v = arg;

	for (unsigned i = 0; i < v->n; i++)
		step(&v->rng, v->worker);
}

static void work(void *arg)
{
	struct worker *w = arg;
	uint64_t rng = w->seed;

	for (unsigned i = 0; i < w->ops; i++) {
		struct visit v = { .worker = w, .n = 1 + next_random(&rng) % 4 };
		unsigned cpu = (unsigned)(next_random(&rng) % cpu_count());

		v.rng = next_random(&rng);
		switch (next_random(&rng) % 32) {
		case 0:
			run_in_irq(cpu, visit, &v);
			break;
		case 1:
			run_in_nmi(cpu, visit, &v);
			break;
		default:
			visit(&v);
		}
		if (i % YIELD_EVERY == 0)
			task_yield();
		if (i % 1024 == 512 + w->cpu)
			mm_drain();
	}
}

/* @one_in: of so many points one fails; 0: none. Not before the tasks have their stacks. */
static void run_workers(struct kunit *test, unsigned ops, size_t max_size, uint32_t one_in)
{
	unsigned n = MIN(cpu_count(), CPUS_MAX);
	struct worker worker[CPUS_MAX];

	memset(slot, 0, sizeof(slot));
	for (unsigned i = 0; i < n; i++) {
		worker[i] = (struct worker){ .test = test,
					     .cpu = i,
					     .ops = ops,
					     .max_size = max_size,
					     .seed = next_random(&seed_of_run),
					     .may_fail = one_in };
		kunit_info(test, "worker %u: seed 0x%llx", i, (unsigned long long)worker[i].seed);
	}
	for (unsigned i = 0; i < n; i++) {
		worker[i].task = task_start(i, work, &worker[i], "stress");
		KUNIT_ASSERT_NOT_NULL(test, worker[i].task);
	}
	mm_fail_rate(one_in, 0x5eed);
	for (unsigned i = 0; i < n; i++)
		task_join(worker[i].task);
	mm_fail_off();
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* By whichever CPU, in whichever context. */
static void release_part(void *arg)
{
	for (unsigned i = (unsigned)(uintptr_t)arg; i < SLOTS; i += 8)
		if (slot[i].state == FULL)
			release(&slot[i], i);
}

static void release_slots(void)
{
	for (uintptr_t i = 0; i < 8; i++) {
		unsigned cpu = (unsigned)i % cpu_count();

		if (i % 4 == 1)
			run_in_irq(cpu, release_part, (void *)i);
		else if (i % 4 == 2)
			run_in_nmi(cpu, release_part, (void *)i);
		else if (i % 4 == 3)
			task_join(task_start(cpu, release_part, (void *)i, "release"));
		else
			release_part((void *)i);
	}
}

static void random_calls(struct kunit *test)
{
	struct mm_stats before, after;
	uint64_t live = 0, bytes = 0;

	books_open(&before);
	run_workers(test, 4000, 70000, 0);
	mm_drain();
	mm_stats(&after);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slot[i].state == FULL) {
			live++;
			bytes += ksize(slot[i].p);
		}
	KUNIT_EXPECT_EQ(test, after.objects_live, before.objects_live + live);
	KUNIT_EXPECT_EQ(test, after.objects_live_bytes, before.objects_live_bytes + bytes);
	KUNIT_EXPECT_EQ(test, after.alloc_calls - after.free_calls,
			before.alloc_calls - before.free_calls + live);
	release_slots();
	books_close(test, &before);
}

static void random_small_calls(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	run_workers(test, 4000, 200, 0);
	release_slots();
	books_close(test, &before);
}

static void random_failures(struct kunit *test)
{
	struct mm_stats before;

	books_open(&before);
	run_workers(test, 1500, 70000, 7);
	release_slots();
	books_close(test, &before);
}

/* ---- One CPU that is interrupted all the time ---- */

static struct {
	struct kunit *test;
	bool stop;
	void *lot[64]; /* freed in interrupts, filled by the task */
} target;

static void interrupt(void *arg)
{
	uint64_t rng = (uint64_t)(uintptr_t)arg;
	void **left = &target.lot[next_random(&rng) % ARRAY_SIZE(target.lot)];
	void *p = kmalloc_any(64, GFP_ATOMIC), *q = kmalloc_any(8192, GFP_ATOMIC);

	if (p)
		memset(p, 0xdd, 64);
	kfree(atomic_xchg(left, NULL));
	kfree(q);
	kfree(atomic_xchg(left, p));
}

static void be_interrupted(void *arg)
{
	uint64_t rng = 0x5eed0004;

	(void)arg;
	for (unsigned i = 0; !atomic_load(&target.stop); i++) {
		void **left = &target.lot[next_random(&rng) % ARRAY_SIZE(target.lot)];
		size_t size = i & 1 ? 64 : 8192 << (i & 2);
		unsigned char *p = kmalloc_any(size, GFP_KERNEL), *q = kmalloc_any(64, GFP_KERNEL);

		memset(p, 0x77, 64);
		memset(q, 0x78, 64);
		kfree(atomic_xchg(left, NULL));
		KUNIT_EXPECT_EQ(target.test, p[0] + p[63], 2 * 0x77);
		KUNIT_EXPECT_EQ(target.test, q[0] + q[63], 2 * 0x78);
		kfree(atomic_xchg(left, q));
		kfree(p);
		if (i % YIELD_EVERY == 0)
			task_yield();
	}
}

static void interrupted_at_any_instruction(struct kunit *test)
{
	struct mm_stats before;
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	books_open(&before);
	memset(&target, 0, sizeof(target));
	target.test = test;
	t = task_start((this_cpu() + 1) % cpu_count(), be_interrupted, NULL, "target");
	for (uintptr_t i = 1; i <= 6000; i++) {
		unsigned cpu = (this_cpu() + 1) % cpu_count();

		if (i % 3)
			run_in_nmi(cpu, interrupt, (void *)(i * 0x9e3779b9));
		else
			run_in_irq(cpu, interrupt, (void *)(i * 0x9e3779b9));
		if (i % 500 == 0)
			mm_drain();
	}
	atomic_store(&target.stop, true);
	task_join(t);
	kfree_bulk(ARRAY_SIZE(target.lot), target.lot);
	books_close(test, &before);
}

/* ---- Made here, freed there ---- */

#define BATCH 200

static struct {
	void *object[BATCH];
	uint32_t turn, ncpus, rounds;
	size_t size;
	uint64_t frames[2]; /* used early, and at the end */
} ring;

/* Each in turn frees what the one before made, and makes as much. */
static void ring_task(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;
	struct mm_stats stats;

	for (uint32_t turn = me; turn < ring.rounds; turn += ring.ncpus) {
		while (atomic_load(&ring.turn) != turn)
			task_yield();
		kfree_bulk(BATCH, ring.object);
		for (unsigned i = 0; i < BATCH; i++)
			ring.object[i] = kmalloc_any(ring.size, GFP_KERNEL);
		if (turn == ring.rounds / 4 || turn == ring.rounds - 1) {
			mm_stats(&stats);
			ring.frames[turn == ring.rounds - 1] = stats.frames_used;
		}
		atomic_store(&ring.turn, turn + 1);
	}
}

static void ring_does_not_grow(struct kunit *test)
{
	static const size_t sizes[] = { 16, 64, 1000, 8192, 40000 };
	struct mm_stats before;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct task *t[CPUS_MAX];

		books_open(&before);
		memset(&ring, 0, sizeof(ring));
		ring.size = sizes[i];
		ring.ncpus = MIN(cpu_count(), CPUS_MAX);
		ring.rounds = 400;
		for (uintptr_t c = 0; c < ring.ncpus; c++)
			t[c] = task_start((unsigned)c, ring_task, (void *)c, "ring");
		for (unsigned c = 0; c < ring.ncpus; c++)
			task_join(t[c]);
		/* Stacks of tasks that ended, and a span or two: not what 300 rounds would leave.
		 */
		KUNIT_EXPECT_LE_MSG(test, ring.frames[1],
				    ring.frames[0] + 64 + BATCH * sizes[i] / 4096, "%zu bytes",
				    sizes[i]);
		kfree_bulk(BATCH, ring.object);
		books_close(test, &before);
	}
}

static struct {
	void *ready[64];
	uint32_t made, freed, total;
	size_t size;
} pipe;

static void consume(void *arg)
{
	(void)arg;
	while (atomic_load(&pipe.freed) < pipe.total) {
		uint32_t n = atomic_load(&pipe.freed);

		if (n == atomic_load(&pipe.made)) {
			task_yield();
			continue;
		}
		kfree(pipe.ready[n % ARRAY_SIZE(pipe.ready)]);
		atomic_store(&pipe.freed, n + 1);
	}
}

/* One only allocates, the other only frees, both at once. */
static void pipe_does_not_grow(struct kunit *test)
{
	struct mm_stats before, early, late;
	struct task *t;

	if (cpu_count() < 2)
		kunit_skip(test, "needs two CPUs");
	for (size_t size = 32; size <= 32768; size *= 32) {
		books_open(&before);
		memset(&pipe, 0, sizeof(pipe));
		pipe.total = 60000;
		t = task_start((this_cpu() + 1) % cpu_count(), consume, NULL, "consumer");
		for (uint32_t n = 0; n < pipe.total; n++) {
			while (n - atomic_load(&pipe.freed) >= ARRAY_SIZE(pipe.ready))
				task_yield();
			pipe.ready[n % ARRAY_SIZE(pipe.ready)] = kmalloc_any(size, GFP_KERNEL);
			atomic_store(&pipe.made, n + 1);
			if (n == pipe.total / 4)
				mm_stats(&early);
		}
		mm_stats(&late);
		KUNIT_EXPECT_LE_MSG(test, late.frames_used,
				    early.frames_used + 64 + 64 * size / 4096, "%zu bytes", size);
		task_join(t);
		books_close(test, &before);
	}
}

static struct kunit_case object_stress_cases[] = {
	KUNIT_CASE_SLOW(random_calls),
	KUNIT_CASE_SLOW(random_small_calls),
	KUNIT_CASE_SLOW(random_failures),
	KUNIT_CASE_SLOW(interrupted_at_any_instruction),
	KUNIT_CASE_SLOW(ring_does_not_grow),
	KUNIT_CASE_SLOW(pipe_does_not_grow),
	{},
};

static struct kunit_suite object_stress_suite = { .name = "object_stress",
						  .test_cases = object_stress_cases };
kunit_test_suite(object_stress_suite);
