// SPDX-License-Identifier: MIT
/*
 * What the states mean for a touch, and the moves under contention.
 *
 * Ready memory works and all other faults, on every CPU and in every context,
 * also where a CPU has used the page a moment ago; content lives as long as the
 * memory is Ready, whatever its neighbours do; several CPUs that move the same
 * memory end in a state that the page tables agree with.
 */
#include <kernel/task.h>
#include <spanheap/page.h>
#include <spanheap/stats.h>

#include "heap_fixture.h"
#include "lib/string.h"
#include "mm/addrstate.h"
#include "state_fixture.h"

#define F FRAME_SIZE
#define C CHUNK_SIZE

static phys_addr_t need(struct kunit *test, uint64_t size)
{
	phys_addr_t base = state_find(size, C, 0);

	if (!base)
		kunit_skip(test, "no Reserved memory");
	return base;
}

/* ---- Touching ---- */

struct touch {
	void *addr;
	int read, write;
};

static void touch(void *arg)
{
	struct touch *t = arg;

	t->read = probe_read(t->addr);
	t->write = probe_write(t->addr);
}

/* In a task, an interrupt and an NMI of every CPU. */
static void expect_touch(struct kunit *test, phys_addr_t pa, int want)
{
	void (*const in_context[])(unsigned cpu, void (*fn)(void *), void *arg) = { run_in_irq,
										    run_in_nmi };

	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct touch t = { .addr = phys_to_virt(pa) };
		struct task *task = task_start(cpu, touch, &t, "touch");

		KUNIT_ASSERT_NOT_NULL(test, task);
		task_join(task);
		KUNIT_EXPECT_EQ_MSG(test, t.read, want, "read at 0x%llx in a task of CPU %u",
				    (unsigned long long)pa, cpu);
		KUNIT_EXPECT_EQ_MSG(test, t.write, want, "write at 0x%llx in a task of CPU %u",
				    (unsigned long long)pa, cpu);
		for (unsigned i = 0; i < ARRAY_SIZE(in_context); i++) {
			in_context[i](cpu, touch, &t);
			KUNIT_EXPECT_EQ(test, t.read, want);
			KUNIT_EXPECT_EQ(test, t.write, want);
		}
	}
}

/* None, Reserved and Prepared fault without an MMU to enforce it only in the books. */
static int if_not_ready(void)
{
	return PORT_HAS_MMU ? -EFAULT : 0;
}

static void only_ready_can_be_touched(struct kunit *test)
{
	static const struct {
		uint64_t first, size;
	} ranges[] = { { 0, C }, { 17 * F, F }, { C - F, 2 * F }, { 5 * F, 2 * C } };
	phys_addr_t area = need(test, 3 * C);

	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
		phys_addr_t base = area + ranges[i].first, last = base + ranges[i].size - 1;
		uint64_t size = ranges[i].size;

		for (unsigned state = MEM_NONE; state <= MEM_READY; state++) {
			int want = state == MEM_READY ? 0 : if_not_ready();

			KUNIT_ASSERT_EQ(
				test, state_bring(base, size, MEM_RESERVED, (enum mem_state)state),
				0);
			expect_touch(test, base, want);
			expect_touch(test, base + size / 2, want);
			expect_touch(test, last, want);
			/* The frames beside it stayed what they were. */
			expect_touch(test, base - 1, if_not_ready());
			expect_touch(test, last + 1, if_not_ready());
			KUNIT_ASSERT_EQ(
				test, state_bring(base, size, (enum mem_state)state, MEM_RESERVED),
				0);
			expect_touch(test, base, if_not_ready());
		}
	}
}

/* Every way out of Ready, after every CPU has used the page. */
static void leaving_ready_is_seen_everywhere(struct kunit *test)
{
	static const enum state_move out[] = { DO_UNUSED, DO_FAULT, DO_RELEASE };
	static const uint64_t sizes[] = { C, F, 3 * F };
	phys_addr_t base = need(test, C);

	for (unsigned i = 0; i < ARRAY_SIZE(out) * ARRAY_SIZE(sizes); i++) {
		enum state_move move = out[i / ARRAY_SIZE(sizes)];
		uint64_t size = sizes[i % ARRAY_SIZE(sizes)];

		/* All of the chunk is Ready, so that a part is cut out of a large leaf. */
		KUNIT_ASSERT_EQ(test, state_bring(base, C, MEM_RESERVED, MEM_READY), 0);
		expect_touch(test, base + 7, 0);
		KUNIT_ASSERT_EQ(test, state_move(move, base, size), 0);
		expect_touch(test, base + 7, if_not_ready());
		expect_touch(test, base + size - 1, if_not_ready());
		if (size < C)
			expect_touch(test, base + size, 0);
		KUNIT_ASSERT_EQ(test, state_bring(base, size, mem_state(base), MEM_RESERVED), 0);
		if (size < C)
			KUNIT_ASSERT_EQ(test, mem_fault(base + size, C - size), 0);
	}
}

struct toucher {
	void *addr;
	uint32_t gone, stop, rounds;
	uint64_t late, touched;
};

/* A touch that began after the move had returned must fault. */
static void touch_all_the_time(void *arg)
{
	struct toucher *t = arg;

	while (!atomic_load(&t->stop)) {
		uint32_t gone = atomic_load(&t->gone);
		int err = probe_write(t->addr);

		if (!err)
			t->touched++;
		if (!err && gone && atomic_load(&t->gone) == gone)
			t->late++;
		atomic_store(&t->rounds, t->rounds + 1);
	}
}

static void wait_for_round(struct toucher *t)
{
	uint32_t seen = atomic_load(&t->rounds);

	while (atomic_load(&t->rounds) - seen < 2)
		port_relax();
}

/* CPU 1 writes to the page without pause while CPU 0 takes it away and gives it back. */
static void no_touch_after_the_move(struct kunit *test)
{
	phys_addr_t base = need(test, C);
	struct toucher t = { .addr = phys_to_virt(base + 40 * F), .gone = 1 };
	struct task *task;

	if (!PORT_HAS_MMU || cpu_count() < 2)
		kunit_skip(test, "no MMU or no other CPU");
	KUNIT_ASSERT_EQ(test, mem_map(base, C), 0);
	task = task_start(1, touch_all_the_time, &t, "toucher");
	KUNIT_ASSERT_NOT_NULL(test, task);
	for (uint32_t i = 0; i < 100; i++) {
		uint64_t size = i % 2 ? C : F;
		phys_addr_t at = i % 2 ? base : base + 40 * F;

		atomic_store(&t.gone, 0);
		KUNIT_EXPECT_EQ(test, mem_used(at, size), 0);
		wait_for_round(&t);
		KUNIT_EXPECT_EQ(test, mem_unused(at, size), 0);
		atomic_store(&t.gone, i + 1);
		wait_for_round(&t);
	}
	atomic_store(&t.stop, 1);
	task_join(task);
	KUNIT_EXPECT_EQ(test, t.late, 0);
	KUNIT_EXPECT_GT(test, t.touched, 0);
	KUNIT_EXPECT_EQ(test, mem_fault(base, C), 0);
}

/* ---- Content ---- */

static void fill(phys_addr_t base, uint64_t size)
{
	for (phys_addr_t at = base; at < base + size; at += 8)
		*(uint64_t *)phys_to_virt(at) = at * 0x9e3779b97f4a7c15ULL;
}

static uint64_t differs(phys_addr_t base, uint64_t size)
{
	for (phys_addr_t at = base; at < base + size; at += 8)
		if (*(uint64_t *)phys_to_virt(at) != at * 0x9e3779b97f4a7c15ULL)
			return at;
	return 0;
}

/* Random moves of the frames of three chunks; every sixteenth frame stays and is looked at. */
static void content_outlives_neighbours(struct kunit *test)
{
	phys_addr_t base = need(test, 3 * C);
	uint64_t rng = 0x5eed0011;

	KUNIT_ASSERT_EQ(test, state_bring(base, 3 * C, MEM_RESERVED, MEM_READY), 0);
	for (phys_addr_t at = base; at < base + 3 * C; at += 16 * F)
		fill(at, F);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t r = fix_rng(&rng);
		phys_addr_t at = base + r % 96 * 16 * F + F + (r >> 10) % 8 * F;
		uint64_t size = (1 + (r >> 20) % 7) * F;

		state_move((enum state_move)((r >> 30) % STATE_MOVES), at, size);
		if (i % 100 == 50)
			mm_drain();
	}
	for (phys_addr_t at = base; at < base + 3 * C; at += 16 * F) {
		KUNIT_EXPECT_EQ(test, mem_state(at), MEM_READY);
		KUNIT_ASSERT_EQ(test, differs(at, F), 0);
	}
	for (phys_addr_t at = base; at < base + 3 * C; at += F) {
		bool ready = mem_state(at) == MEM_READY;

		KUNIT_EXPECT_EQ(test, probe_write(phys_to_virt(at)), ready ? 0 : if_not_ready());
		KUNIT_ASSERT_EQ(test, state_bring(at, F, mem_state(at), MEM_RESERVED), 0);
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

/* A split leaf costs a table; mm_drain() joins the leaf and takes the table back. */
static void split_leaves_are_joined(struct kunit *test)
{
	phys_addr_t base = need(test, 2 * C);
	size_t whole;

	if (!PORT_HAS_MMU)
		kunit_skip(test, "no MMU");
	/* What earlier cases have split is whole again after this. */
	KUNIT_ASSERT_EQ(test, state_bring(base, 2 * C, MEM_RESERVED, MEM_READY), 0);
	mm_drain();
	whole = meta_count().used[META_FRAME];
	fill(base, 2 * C);
	/* A part goes and comes back. */
	KUNIT_ASSERT_EQ(test, mem_unused(base + C - F, 2 * F), 0);
	KUNIT_EXPECT_EQ(test, meta_count().used[META_FRAME], whole + 2);
	mm_drain();
	KUNIT_EXPECT_EQ(test, meta_count().used[META_FRAME], whole + 2);
	KUNIT_ASSERT_EQ(test, mem_used(base + C - F, 2 * F), 0);
	fill(base + C - F, 2 * F);
	mm_drain();
	KUNIT_EXPECT_EQ(test, meta_count().used[META_FRAME], whole);
	KUNIT_EXPECT_EQ(test, differs(base, 2 * C), 0);
	/* All goes, and comes back piece by piece. */
	KUNIT_ASSERT_EQ(test, mem_unused(base, 2 * C), 0);
	KUNIT_ASSERT_EQ(test, mem_used(base, F), 0);
	KUNIT_ASSERT_EQ(test, mem_used(base + F, C), 0);
	KUNIT_ASSERT_EQ(test, mem_used(base + C + F, C - F), 0);
	KUNIT_EXPECT_EQ(test, meta_count().used[META_FRAME], whole + 2);
	fill(base, 2 * C);
	mm_drain();
	KUNIT_EXPECT_EQ(test, meta_count().used[META_FRAME], whole);
	KUNIT_EXPECT_EQ(test, differs(base, 2 * C), 0);
	expect_touch(test, base + C, 0);
	KUNIT_ASSERT_EQ(test, mem_fault(base, 2 * C), 0);
	expect_touch(test, base + C, if_not_ready());
}

/* ---- Contention ---- */

struct mover {
	phys_addr_t base;
	uint64_t seed, done, wrong;
};

static void move_at_random(void *arg)
{
	struct mover *m = arg;
	uint64_t rng = m->seed;

	for (unsigned i = 0; i < 300; i++) {
		uint64_t r = fix_rng(&rng);
		unsigned shape = r % 5;
		phys_addr_t base = m->base + (shape == 1 ? C : 0) + (shape == 3 ? C - F : 0) +
				   (shape == 4 ? 9 * F : 0);
		uint64_t size = shape == 2 ? 2 * C : shape == 3 ? 2 * F : shape == 4 ? 3 * F : C;
		int err = state_move((enum state_move)((r >> 10) % STATE_MOVES), base, size);

		m->done += !err;
		m->wrong += err && err != -EBUSY;
		if (r >> 20 & 1)
			task_yield();
	}
}

/* All CPUs move the same two chunks; afterwards the page tables say what the states say. */
static void movers_agree_with_the_tables(struct kunit *test)
{
	static struct mover mover[PORT_MAX_CPUS];
	static struct task *task[PORT_MAX_CPUS];
	unsigned ntasks = MIN(cpu_count() * 2, PORT_MAX_CPUS);
	phys_addr_t base = need(test, 2 * C);
	uint64_t done = 0;

	for (unsigned i = 0; i < ntasks; i++) {
		mover[i] = (struct mover){ .base = base, .seed = 0x5eed0021 + i };
		task[i] = task_start(i % cpu_count(), move_at_random, &mover[i], "mover");
		KUNIT_EXPECT_NOT_NULL(test, task[i]);
	}
	for (unsigned i = 0; i < ntasks; i++) {
		if (task[i])
			task_join(task[i]);
		KUNIT_EXPECT_EQ(test, mover[i].wrong, 0);
		done += mover[i].done;
	}
	KUNIT_EXPECT_GT(test, done, 0);
	for (phys_addr_t at = base; at < base + 2 * C; at += F) {
		bool ready = mem_state(at) == MEM_READY;

		KUNIT_ASSERT_EQ_MSG(test, probe_write(phys_to_virt(at)), ready ? 0 : if_not_ready(),
				    "frame %u is %s", (unsigned)((at - base) / F),
				    state_name(mem_state(at)));
		KUNIT_ASSERT_EQ(test, state_bring(at, F, mem_state(at), MEM_RESERVED), 0);
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
	mm_drain();
}

struct rival {
	phys_addr_t base;
	uint32_t stop, rounds;
	bool maps;
};

static void rival_moves(void *arg)
{
	struct rival *r = arg;

	while (!atomic_load(&r->stop)) {
		if (r->maps) {
			mem_map(r->base, F);
			mem_used(r->base, F);
		} else {
			mem_fault(r->base, F);
		}
		atomic_store_relaxed(&r->rounds, r->rounds + 1);
		/* Of two CPUs one has the test's task as well. */
		task_yield();
	}
}

/* One CPU makes a frame Ready, another takes it away, whatever state it is in just then. */
static void fault_against_used(struct kunit *test)
{
	phys_addr_t base = need(test, C);
	struct rival r[2] = { { .base = base, .maps = true }, { .base = base } };
	struct task *task[2];

	if (cpu_count() < 2)
		kunit_skip(test, "one CPU");
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < 2; i++) {
			r[i].stop = r[i].rounds = 0;
			task[i] = task_start(cpu_count() - 1 - i, rival_moves, &r[i], "rival");
			KUNIT_ASSERT_NOT_NULL(test, task[i]);
		}
		while (atomic_load(&r[0].rounds) < 20 || atomic_load(&r[1].rounds) < 20)
			task_yield();
		for (unsigned i = 0; i < 2; i++)
			atomic_store(&r[i].stop, 1);
		for (unsigned i = 0; i < 2; i++)
			task_join(task[i]);
		KUNIT_ASSERT_EQ(test, probe_write(phys_to_virt(base)),
				mem_state(base) == MEM_READY ? 0 : if_not_ready());
		KUNIT_ASSERT_EQ(test, state_bring(base, F, mem_state(base), MEM_RESERVED), 0);
	}
	KUNIT_EXPECT_EQ(test, mm_validate(), 0);
}

static struct kunit_case touch_cases[] = {
	KUNIT_CASE(only_ready_can_be_touched), KUNIT_CASE(leaving_ready_is_seen_everywhere),
	KUNIT_CASE(no_touch_after_the_move),   KUNIT_CASE(content_outlives_neighbours),
	KUNIT_CASE(split_leaves_are_joined),   KUNIT_CASE_SLOW(movers_agree_with_the_tables),
	KUNIT_CASE_SLOW(fault_against_used),   {},
};

static struct kunit_suite touch_suite = {
	.name = "addrstate_touch",
	.test_cases = touch_cases,
};
kunit_test_suite(touch_suite);
